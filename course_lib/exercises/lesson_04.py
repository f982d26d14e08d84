"""Exercises of lesson 4: sharp and flat minima.

q1. Somebody has recorded the curvature of three runs of one tanh network at one rate, with batches
    of 8, of 32, and with the full batch, and has lost both the names and the rate. Which curve is
    the full batch, and what was the rate? `check(("A", 0.3))`
q2. Predict, then run. At which rate will batches of 10 end as flat as batches of 5 do at the rate
    of the lesson? The medians of the top eigenvalue over 8 seeds or more should agree to a
    quarter. `check(eigenvalues, eigenvalues_of_5)`
q3. Design the control. A report compares batches of 16 and of 128, both at the rate 0.1, both
    trained to a training loss of 0.01. The larger batch ends twice as sharp. "It is the batch
    size," says the report; "it is the ratio of rate and batch size," says its reviewer. Which one
    further run can tell? `check({"batch_size": ..., "lr": ..., "train_loss": ...})`
q4. Use a network of your own: any with ReLU, trained on digits or not trained at all. Hand in it
    and a twin that computes the same function and is at least a thousand times as sharp by its top
    eigenvalue. `check(network, twin)`
q5. Find the bug. A colleague's `largest(times_H, n)` multiplies a random vector of length n 500
    times by the Hessian and reports how much it grows, with its sign. It once reported -5 for a
    network in which other directions have the curvature 3. Write a better one. `check(largest)`
"""

import copy
from collections.abc import Callable
from math import isclose, isnan

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.sparse.linalg import eigsh
from torch import nn
from torch.nn.functional import cross_entropy

from course_lib.claims import MIN_SEEDS
from course_lib.curvature import hessian
from course_lib.datasets import Digits
from course_lib.exercises.judges import called, number, require_function
from course_lib.exercises.question import Mistake, Question, plain

FULL, LOST_RATES = "B", (0.12, 0.024)  # on digits, and on MNIST
OTHER_LETTERS = {
    "A": "A settles below another curve. Nothing averages out more noise than the full batch: "
    "which curve can lie highest?",
    "C": "C is the lowest: it has the most noise, so it is the smallest batch.",
}


def judge_curves(answer: object) -> None:
    answer = plain(answer)
    if not isinstance(answer, list | tuple) or len(answer) != 2:
        raise Mistake('Hand in a pair, the letter and the rate: `check(("A", 0.3))`.')
    letter, rate = answer
    if not isinstance(letter, str) or letter.strip().upper() not in {FULL, *OTHER_LETTERS}:
        raise Mistake(f"{letter!r} is none of the curves A, B and C.")
    if (letter := letter.strip().upper()) != FULL:
        raise Mistake(OTHER_LETTERS[letter])
    judge_rate(number(rate))


def judge_rate(rate: float) -> None:
    if any(isclose(rate, lost, rel_tol=0.15) for lost in LOST_RATES):
        return
    if any(isclose(rate, 2 / lost, rel_tol=0.15) for lost in LOST_RATES):
        raise Mistake("B is right. That is the curvature at which it settles; what rate has it?")
    if any(isclose(rate, lost / 2, rel_tol=0.15) for lost in LOST_RATES):
        raise Mistake("B is right. But the edge of stability lies at 2 / rate, not at 1 / rate.")
    raise Mistake("B is right. At which height does it settle, and which rate has its edge there?")


q1 = Question(
    judge=judge_curves,
    right="The full batch stops at 2 / rate, and nothing else had to be known of it.",
    hints=[
        "Which batch has the least noise, and does noise make the curvature higher or lower?",
        "The full batch settles at the edge of stability. Where is it, for the rate η?",
    ],
    answer="The less noise, the sharper: the highest curve, **B**, is the full batch. On digits it "
    "settles a little below 17, and 2 / 0.12 = 16.7: the rate was **0.12** (on MNIST 0.024).",
)

ALIKE = 1.25  # medians within this factor count as equally flat


def judge_as_flat(eigenvalues: ArrayLike, eigenvalues_of_5: ArrayLike) -> None:
    mine, others = (_numbers(values) for values in (eigenvalues, eigenvalues_of_5))
    if len(mine) < MIN_SEEDS:
        raise Mistake(f"These are {len(mine)} eigenvalues. Show it for {MIN_SEEDS} or more seeds.")
    factor = np.median(mine) / np.median(others)
    if factor > ALIKE:
        raise Mistake(
            f"Your solutions are {factor:.2g} times as sharp. More noise makes them flatter: which "
            "way must the learning rate go?"
        )
    if not factor >= 1 / ALIKE:
        raise Mistake(
            f"Your solutions are flatter than wanted, {factor:.2g} times as sharp. A smaller "
            "learning rate makes less noise."
        )


def _numbers(answer: ArrayLike) -> np.ndarray:
    values = np.asarray(answer)
    if values.ndim != 1 or values.dtype.kind not in "iuf" or not values.size:
        raise Mistake("Hand in two lists of eigenvalues, one number for each seed.")
    return values


q2 = Question(
    judge=judge_as_flat,
    right="Another batch size, and as flat: it is the ratio that counts.",
    hints=["Flatness follows rate / batch size.", "Batches of 10 are twice those of 5."],
    answer="""Equal ratio, so twice the rate for twice the batch:
```python
lr = 2 * rate
eigenvalues = solutions(10, lr)["top eigenvalue"]
```""",
)

SIZES, RATE, TARGET = (16, 128), 0.1, 0.01
CONTROLS = {16: RATE * 16 / 128, 128: RATE * 128 / 16}  # each at the ratio of the other
WRONG_RATES = {
    (16, 0.8): "B = 16 at eight times the rate has a ratio of 0.05, which neither of the runs has: "
    "if it ends flatter, both explanations may be right. The other way.",
    (128, 0.0125): "B = 128 at an eighth of the rate has a ratio that neither of the runs has: if "
    "it ends sharper, both explanations may be right. The other way.",
}


def judge_control(arguments: object) -> None:
    if not isinstance(arguments, dict):
        raise Mistake('Hand in a dictionary: `{"batch_size": ..., "lr": ..., "train_loss": ...}`.')
    if others := set(arguments) - {"batch_size", "lr", "train_loss"}:
        raise Mistake(f"Leave `{min(map(str, others))}` out: what else changes may explain it.")
    if missing := {"batch_size", "lr", "train_loss"} - set(arguments):
        raise Mistake(f"Say the `{min(missing)}` of the run, too.")
    size, lr, loss = (number(arguments[name]) for name in ("batch_size", "lr", "train_loss"))
    if size not in SIZES:
        raise Mistake(
            f"With B = {size:g} both the batch size and the noise are new. Take one of the two "
            "sizes of the report, so that one thing stays as it was."
        )
    if loss != TARGET:
        raise Mistake("Stop at the loss of the other runs, 0.01: curvature changes along training.")
    judge_ratio(size, lr)


def judge_ratio(size: float, lr: float) -> None:
    if isclose(lr, CONTROLS[int(size)], rel_tol=0.03):
        return
    if lr == RATE:
        raise Mistake("That is a run of the report. Which of the two things do you change?")
    for (wrong_size, wrong_rate), message in WRONG_RATES.items():
        if size == wrong_size and isclose(lr, wrong_rate, rel_tol=0.03):
            raise Mistake(message)
    raise Mistake(
        "Give this batch size the ratio of rate and batch size that the other run had. Then the "
        "two explanations say different things."
    )


q3 = Question(
    judge=judge_control,
    right="Now they part ways: does the run end like the one of its batch size, or like the one of "
    "its ratio?",
    hints=["Change one without the other.", "Give B = 16 the ratio of the other run."],
    answer="""One of the two batch sizes, at the ratio that the other had, to the same loss:
```python
{"batch_size": 16, "lr": 0.0125, "train_loss": 0.01}  # 0.1 x 16 / 128
```
As sharp as B = 128: the ratio. As flat as B = 16: the batch size. (128 at 0.8 would do, too.)""",
)

SHARPER = 1_000


def judge_twin(network: object, twin: object) -> None:
    if not isinstance(network, nn.Module) or not isinstance(twin, nn.Module):
        raise Mistake("Hand in two networks, `check(network, twin)`.")
    if network is twin:
        raise Mistake("Both are the same object. Change a copy: `copy.deepcopy(network)`.")
    digits = Digits()
    first, second = (copy_in_double(net) for net in (network, twin))
    inputs, labels = digits.x_train[:300].double(), digits.y_train[:300]
    one, other = (outputs_of(net, inputs) for net in (first, second))
    if not torch.allclose(one, other, rtol=1e-3, atol=1e-3 * one.abs().max().item()):
        raise Mistake(
            "The two compute different functions. What you multiply one layer by, divide the next "
            "layer's weights by; and the biases of the layer you multiply belong to it."
        )
    factor = eigenvalue(second, inputs, labels) / eigenvalue(first, inputs, labels)
    if not factor >= SHARPER:
        raise Mistake(
            f"The same function, and {factor:.3g} times the top eigenvalue; {SHARPER:,} were "
            "wanted. With what power of the factor does it grow?"
        )


def copy_in_double(network: nn.Module) -> nn.Module:
    """A copy whose rounding does not matter, and which the learner does not see changed."""
    return copy.deepcopy(network).double().requires_grad_().eval()


@torch.no_grad()
def outputs_of(network: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    try:
        outputs = network(inputs)
    except Exception as error:
        raise Mistake(f"On digits it stops with `{type(error).__name__}`: {error}.") from error
    if outputs.shape != (len(inputs), 10):
        raise Mistake(f"Ten outputs an image are wanted, not the shape {tuple(outputs.shape)}.")
    return outputs


def eigenvalue(network: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> float:
    operator = hessian(network, cross_entropy, (inputs, labels))
    return float(eigsh(operator, k=1, which="LA", tol=0.01, return_eigenvectors=False)[0])


q4 = Question(
    judge=judge_twin,
    right="By its sharpness your twin is a terrible solution, and it predicts the same.",
    hints=["Move a factor α from one layer to the next.", "The eigenvalue grows about as α²."],
    answer="""For the course's MLP, `[flatten, linear, ReLU, linear]`:
```python
network = MLP()
twin = copy.deepcopy(network)
with torch.no_grad():
    twin[1].weight *= 100
    twin[1].bias *= 100
    twin[3].weight /= 100
```""",
)

DIAGONALS = [[-5.0, 3.0, 1.0], [4.0, 2.0, 1.0, 0.5], [-9.0, -2.0, 0.5, 6.0, 6.5], [-3.0, -1.0]]
WRONG_EIGENVALUES: dict[str, Callable[[list[float]], float]] = {
    "It still returns the eigenvalue of the largest size, as the colleague's does: of -5 and 3 the "
    "-5. Power iteration knows no signs.": lambda values: max(values, key=abs),
    "It returns the largest size without its sign: -5 is no sharpness of 5.": (
        lambda values: max(map(abs, values))
    ),
    "It returns the smallest eigenvalue, the most negative curvature.": min,
}


def matrix_of(diagonal: list[float]) -> np.ndarray:
    """A symmetric matrix with these eigenvalues, in turned directions."""
    dice = np.random.default_rng(len(diagonal))
    turned, _ = np.linalg.qr(dice.normal(size=(len(diagonal), len(diagonal))))
    return turned @ np.diag(diagonal) @ turned.T


def judge_largest(largest: object) -> None:
    function = require_function(largest, "largest")
    answers = [largest_of(function, diagonal) for diagonal in DIAGONALS]
    for message, rule in WRONG_EIGENVALUES.items():
        if np.allclose(answers, [rule(diagonal) for diagonal in DIAGONALS], atol=0.02):
            raise Mistake(message)
    for diagonal, answer in zip(DIAGONALS, answers, strict=True):
        if not abs(answer - max(diagonal)) < 0.05:
            raise Mistake(
                f"For a matrix with the eigenvalues {sorted(diagonal)} it gives {answer:.3g}."
            )


def largest_of(largest: Callable, diagonal: list[float]) -> float:
    """What the learner's function makes of a matrix; a Mistake where it makes no number of it."""
    matrix = matrix_of(diagonal)
    answer = called(largest, "It", lambda v: matrix @ v, len(diagonal))
    if isnan(value := number(answer)):
        raise Mistake("It gives nan. Is the vector kept at a length of 1?")
    return value


q5 = Question(
    judge=judge_largest,
    right="The largest eigenvalue with its sign, whatever the most negative one is.",
    hints=["Which direction grows fastest?", "Adding c v to H v adds c to every eigenvalue."],
    answer="""Power iteration finds the eigenvalue of the largest *size*. Shifted by that size, all
are positive or zero, and the largest comes first:
```python
def power(times, n):
    v = np.random.default_rng(0).normal(size=n)
    for _ in range(500):
        v = times(v)
        v = v / np.linalg.norm(v)
    return v @ times(v)

def largest(times_H, n):
    size = abs(power(times_H, n))
    return power(lambda v: times_H(v) + size * v, n) - size
```
SciPy's `eigsh(..., which="LA")` asks for the largest with its sign; `which="LM"` does not.""",
)
