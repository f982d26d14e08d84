"""Exercises of lesson 5: momentum.

q1. Find the bug. A colleague has written momentum himself:

        def step(weight, gradient, memory, lr, momentum):
            weight = weight - lr * (momentum * memory + gradient)
            memory = gradient
            return weight, memory

    It is hardly faster than without, whatever momentum he sets. Correct his step, so that it walks
    PyTorch's path, also when `lr` changes. It returns the new weight and memory. `check(step)`
q2. The losses of four runs in a ravine. One has rate and momentum chosen well, one too little
    momentum, one too much, and one a rate next to its limit. Which is which?
    `check({"A": ..., "B": ..., "C": ..., "D": ...})`, of "well", "little", "much" and "rate".
q3. A loss has three directions, of curvatures 2, 10 and 50. Find a rate and a momentum with which
    all three weights, from 1 and at rest, are within a thousandth after 30 steps.
    `check(rate, momentum)`
q4. Criticise a comparison. A blog trains in batches of 8 at the rate 0.002. With momentum 0.9 the
    target is reached in a tenth of the updates that it takes without. "Momentum makes training ten
    times as fast," it says. Which one further run would tell? Hand in its arguments:
    `check({"batch_size": ..., "lr": ..., "momentum": ...})`
q5. Train a network of your own on `Digits(split="seed")` in batches of 8, at the rate 0.05 and
    without momentum, with 8 seeds or more, and read off the median number of updates to 90 %.
    Predict how many it takes at the rate 0.005 with momentum 0.9. Only then train that, and hand
    in your prediction with what `fit` returned. A factor of 1.3 either way counts as right; on the
    four networks that we tried, the two were within 11 %. `check(predicted, run)`
"""

from collections.abc import Callable
from math import inf

import numpy as np

from course_lib.exercises.judges import (
    called,
    near,
    number,
    repeated_run,
    require_function,
    too_late,
)
from course_lib.exercises.question import Mistake, Question
from course_lib.history import reached

Rule = Callable[[float, float], tuple[float, float, float, float]]
GRADIENTS = [2.0, -1.0, 0.5, 3.0, 1.0, -2.0]
RATES = [0.1, 0.1, 0.1, 0.02, 0.02, 0.02]
MOMENTA = [0.0, 0.5, 0.9]
# A rule takes lr and momentum m and returns a, b, c, d: the memory v becomes a v + b g for the
# gradient g, and the weight moves by -(c v + d g).
WRONG: dict[str, Rule] = {
    "It still remembers the last gradient only, whatever the momentum. What should be kept is the "
    "sum, `momentum * memory + gradient`.": lambda lr, m: (0, 1, lr * m, lr),
    "It goes uphill: a step is taken against the gradient.": lambda lr, m: (m, 1, -lr * m, -lr),
    "It uses the old memory, which this gradient has not yet entered.": lambda lr, m: (m, 1, lr, 0),
    "The new gradient counts twice: in the memory, and once more beside it.": (
        lambda lr, m: (m, 1, lr * m, 2 * lr)
    ),
    "That is the averaged form. PyTorch does not multiply the gradient by 1 - momentum.": (
        lambda lr, m: (m, 1 - m, lr * m, lr * (1 - m))
    ),
    "That is the textbooks' convention. At a constant rate it walks the same path, but when `lr` "
    "drops, the memory still holds the old rate. Keep `lr` out of the memory.": (
        lambda lr, m: (m, -lr, -m, lr)
    ),
    "That is plain descent: the memory never comes in.": lambda lr, m: (1, 0, 0, lr),
}


def pytorch(lr: float, m: float) -> tuple[float, float, float, float]:
    return m, 1, lr * m, lr


def walked(step: Callable[..., tuple[float, float]]) -> np.ndarray:
    """The weights after each gradient, at each momentum, from 1 and without memory."""
    path = []
    for momentum in MOMENTA:
        weight, memory = 1.0, 0.0
        for gradient, lr in zip(GRADIENTS, RATES, strict=True):
            weight, memory = step(weight, gradient, memory, lr, momentum)
            path.append(weight)
    return np.array(path)


def walked_by(rule: Rule) -> np.ndarray:
    def step(w: float, g: float, v: float, lr: float, momentum: float) -> tuple[float, float]:
        a, b, c, d = rule(lr, momentum)
        return w - (c * v + d * g), a * v + b * g

    return walked(step)


def judge_step(step: object) -> None:
    function = require_function(step, "step")

    def checked(*arguments: float) -> tuple[float, float]:
        return moved(function, arguments)

    answers = walked(checked)
    for message, rule in WRONG.items():
        if np.allclose(answers, walked_by(rule)):
            raise Mistake(message)
    if not np.allclose(answers, right := walked_by(pytorch)):
        first = int(np.argmin(np.isclose(answers, right)))
        momentum, update = MOMENTA[first // len(RATES)], first % len(RATES) + 1
        raise Mistake(
            f"At momentum {momentum}, after {update} of the gradients {GRADIENTS}, the weight is "
            f"{answers[first]:.4g}; {right[first]:.4g} would be right."
        )


def moved(step: Callable[..., object], arguments: tuple[float, ...]) -> tuple[float, float]:
    """The new weight and memory; a Mistake where the function gives none."""
    answer = called(step, "The function", *arguments)
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise Mistake("The function should return two things: `return weight, memory`.")
    weight, memory = map(number, answer)
    return weight, memory


q1 = Question(
    judge=judge_step,
    right="What is kept is the sum. Its old gradients fade, and the rate stays outside.",
    hints=[
        "How many past gradients does his memory hold? And how many does that of the lesson hold?",
        "First `memory = momentum * memory + gradient`, then the weight moves along `memory`.",
    ],
    answer="""He kept the gradient where he should have kept the sum, so that everything older
than one step was forgotten.
```python
def step(weight, gradient, memory, lr, momentum):
    memory = momentum * memory + gradient
    return weight - lr * memory, memory
```""",
)

CURVES = {"A": (3.335, 0.67), "B": (0.8, 0.1), "C": (3.0, 0.7), "D": (1.0, 0.98)}
NAMES = {"A": "rate", "B": "little", "C": "well", "D": "much"}
CLUES = {
    "A": "A rises first and then falls evenly, without waves: a weight that jumps from wall to "
    "wall, and hardly less far each time.",
    "B": "B falls evenly from the start, without rising and without waves. Nothing swings there.",
    "C": "Which curve is lowest after 60 steps?",
    "D": "D comes in waves: the ball rolls through the minimum and back, and loses little.",
}


def judge_names(names: object) -> None:
    if not isinstance(names, dict) or set(names) != set(NAMES):
        raise Mistake('Hand in a dictionary: `{"A": "well", "B": "little", ...}`.')
    words = {letter: str(word).strip().lower() for letter, word in names.items()}
    if unknown := set(words.values()) - set(NAMES.values()):
        raise Mistake(f'"{min(unknown)}" is none of "well", "little", "much" and "rate".')
    if len(set(words.values())) < len(NAMES):
        raise Mistake("Each of the four words belongs to one curve.")
    for letter in "CDAB":
        if words[letter] != NAMES[letter]:
            raise Mistake(CLUES[letter])


q2 = Question(
    judge=judge_names,
    right="Waves: too much memory. A rise and then no end: a rate near its limit.",
    hints=[
        "What does a weight do that has complex roots? And one with a root near -1?",
        "The loss is a square: a slow swing shows as a wave, a jump from wall to wall does not.",
    ],
    answer='`{"A": "rate", "B": "little", "C": "well", "D": "much"}`. Next to its limit (A) the '
    "steep direction jumps with a root near -1, first further and then hardly less far. With "
    "little momentum (B) the flat direction creeps. With too much (D) both directions swing, and "
    "lose little.",
)

CURVATURES, ENOUGH, NEAR = np.array([2.0, 10.0, 50.0]), 30, 1e-3


def judge_ravine(rate: object, momentum: object) -> None:
    lr, beta = number(rate), number(momentum)
    if not (0 <= beta < 1 and lr > 0):
        raise Mistake("The rate is positive, and the momentum lies from 0 to just below 1.")
    if 50 * lr >= 2 * (1 + beta):
        raise Mistake(f"It explodes: 50 x {lr:g} is not below 2 (1 + {beta:g}).")
    weight, memory = np.ones(3), np.zeros(3)
    for _ in range(ENOUGH):
        memory = beta * memory + CURVATURES * weight
        weight = weight - lr * memory
    if abs(weight).max() > NEAR:
        raise Mistake(slowest(abs(weight), lr, beta))


def slowest(far: np.ndarray, lr: float, beta: float) -> str:
    """What has kept the slowest direction."""
    worst = int(far.argmax())
    h, sh = CURVATURES[worst], lr * CURVATURES[worst]
    found = f"After 30 steps the direction of curvature {h:g} is still at {far[worst]:.2g}"
    if sh <= (1 - beta**0.5) ** 2:
        return f"{found}: it creeps. More momentum, or a larger rate."
    if sh >= (1 + beta**0.5) ** 2:
        return f"{found}: it jumps from wall to wall. A smaller rate, or more momentum."
    return f"{found}: it swings, and loses only the root of {beta:g} a step. Less momentum."


q3 = Question(
    judge=judge_ravine,
    right="Both ends of the ravine are at the edge of the swings, and all else lies between.",
    hints=[
        "The direction in the middle takes care of itself. Which two matter?",
        "The condition number is 25, and its root is 5.",
        "The root of the momentum is (5 - 1) / (5 + 1). Which rate puts 2 and 50 at the edges?",
    ],
    answer="The condition number is 50 / 2 = 25. The momentum is ((5 - 1) / (5 + 1))² = **0.444**, "
    "the rate (2 / (√2 + √50))² = **0.0556**. Each step takes a third of the distance, but for the "
    "factor 1 + t / 3: 27 steps do.",
)

NO_CONTROLS: dict[tuple[float, float], str] = {
    (0.002, 0): "That is the blog's run without momentum.",
    (0.002, 0.9): "That is the blog's run with momentum.",
    (0.0002, 0): "The wrong way: without momentum, each gradient counts once instead of ten times.",
    (0.0002, 0.9): "That makes the effective rates equal, 0.002. But it only shows that the slower "
    "of the two can be made slow again. Can a plain run be as fast?",
}


def judge_control(arguments: object) -> None:
    if not isinstance(arguments, dict):
        raise Mistake('Hand in a dictionary: `{"batch_size": ..., "lr": ..., "momentum": ...}`.')
    if others := set(arguments) - {"batch_size", "lr", "momentum", "max_epochs", "max_steps"}:
        raise Mistake(f"Leave `{min(map(str, others))}` as it was.")
    if number(arguments.get("batch_size", 8)) != 8:
        raise Mistake("With another batch size, a third thing would differ. Leave it at 8.")
    lr, beta = number(arguments.get("lr", 0.002)), number(arguments.get("momentum", 0))
    for (rate, momentum), message in NO_CONTROLS.items():
        if np.isclose(lr, rate) and np.isclose(beta, momentum):
            raise Mistake(message)
    if beta != 0:
        raise Mistake("The suspect is the effective rate. Try it without any momentum.")
    if not np.isclose(lr, 0.02):
        raise Mistake("Which rate, without momentum, moves the weights as far as his in the end?")


q4 = Question(
    judge=judge_control,
    right="If that run is as fast, it was the rate. In batches of 8 it will be.",
    hints=[
        "How often does a gradient count in the end, with momentum 0.9?",
        "The effective rate of his fast run is 0.002 / (1 - 0.9).",
    ],
    answer="""His fast run has ten times the effective rate. The control has that rate and no
momentum:
```python
{"batch_size": 8, "lr": 0.02, "momentum": 0}
```
If the blog is right, it will be slow.""",
)

TARGET = 0.90


def judge_prediction(predicted: object, run: object) -> None:
    guess, history = number(predicted), repeated_run(run, batch_size=8)
    if not 0 < guess < inf:
        raise Mistake(f"{guess:g} is not a number of updates.")
    first = reached(history, val_accuracy=TARGET, interpolate=True)
    epochs, updates = first[["epoch", "step"]].median()
    if updates == inf:
        raise Mistake(f"{too_late(history, TARGET)} Give the run more epochs.")
    if near(guess, updates):
        return
    found = f"You predicted {guess:.0f} updates, it took {updates:.0f}."
    if near(guess, epochs):
        raise Mistake(f"You predicted epochs. Predict updates: it took {updates:.0f}.")
    if near(10 * guess, updates):
        raise Mistake(f"{found} Momentum is not ten times as fast: the rate is a tenth, too.")
    if near(guess / 10, updates):
        raise Mistake(f"{found} Each gradient counts ten times in the end.")
    raise Mistake(f"{found} Were both runs at the same effective rate, with the same seeds?")


q5 = Question(
    judge=judge_prediction,
    right="In batches of 8, momentum 0.9 is another name for ten times the rate.",
    hints=[
        "What is the effective rate of each of the two runs?",
        "If you are short of ideas: `partial(MLP, hidden=(16, 16))`, 15 epochs.",
    ],
    answer="""About as many as without momentum, since the effective rates are equal:
```python
network = partial(MLP, hidden=(16, 16))

def train(lr, momentum):
    options = {"batch_size": 8, "seeds": 8, "max_epochs": 15}
    return fit(network, Digits(split="seed"), lr=lr, momentum=momentum, **options)

def updates(run):
    return reached(run.history, val_accuracy=0.9, interpolate=True)["step"].median()

predicted = updates(train(0.05, 0))
run = train(0.005, 0.9)
```""",
)
