"""Exercises of lesson 7: learning rate and batch size.

q1. Three rules, starting from B = 4 at the rate 1/32, drawn as final loss against batch size, have
    lost their labels. A rises slowly, B stays level and then rises steeply, C rises at once. Which
    one is "fixed", which "linear", which "square root"? `check(a, b, c)`
q2. Design the control. "With the linear rule my training fails at B = 256 and the rate 2, so
    batches of 256 are too large." Another says: "No, the rate is." Which further run of this
    lesson's network tells who is right? `check({"batch_size": ..., "lr": ...})`
q3. Find the bug. Adam's beta2 is 0.999 for batches of 256. `beta2(batch_size)` was meant to let
    the memory of the second average reach back over as many samples for any other batch size:

        def beta2(batch_size):
            return 0.999 * 256 / batch_size

    `check(beta2)`
q4. Is 2/h a law? Take a network of your own on this lesson's images, measure the largest curvature
    h at its initial weights, and find the largest rate at which it trains, in 100 updates or more
    with 8 seeds or more: a rate that trains (a median training loss below half of what it was), and
    one, at most 1.5 times as large, that fails. `check(h, {rate: run, rate: run})`
q5. AdamW has the rate 0.001, weight decay 0.1 and batches of 256. With batches of 1,024 and twice
    the rate, which weight decay keeps the weights an average over as many epochs as before?
    `check(weight_decay)`
"""

from collections.abc import Callable
from math import inf

import numpy as np
import pandas as pd

from course_lib.exercises.judges import number, numeric, repeated_run, require_function, returned
from course_lib.exercises.question import Mistake, Question

RULES = {"fixed": {"constant", "leave it alone"}, "linear": set(), "square root": {"sqrt", "root"}}


def named_rule(answer: object) -> str:
    """The rule that a word stands for."""
    if not isinstance(answer, str):
        raise Mistake('Hand in three words: `check("fixed", "linear", "square root")`.')
    word = answer.strip().lower().replace("-", " ").removesuffix(" scaling").removesuffix(" rule")
    for name, others in RULES.items():
        if word in {name, *others}:
            return name
    raise Mistake(f'{answer!r} is none of "fixed", "linear" and "square root".')


def judge_curves(a: object, b: object, c: object) -> None:
    given = [named_rule(answer) for answer in (a, b, c)]
    if len(set(given)) < len(given):
        raise Mistake("Each of the three rules is drawn once.")
    if given[1] == "fixed":
        raise Mistake(
            "B stays level while the batch grows eightfold and more. At a fixed rate every "
            "doubling halves the updates, and nothing makes up for it."
        )
    if given[2] == "linear":
        raise Mistake(
            "C rises from the first doubling on. From a rate as small as 1/32, far below the "
            "limit, linear scaling should change nothing at first."
        )
    if given[1] == "square root":
        raise Mistake(
            "B ends with a steep rise: its rate has passed the limit. By which rule does the rate "
            "grow fastest?"
        )
    if given[0] == "fixed":
        raise Mistake("Two of them rise at once. Which rule makes up for half of the lost way?")


q1 = Question(
    judge=judge_curves,
    right="From a careful start the linear rule holds longest, and ends most abruptly; here the "
    "square root has nothing to recommend it.",
    hints=[
        "1/32 is far below the rate at which training fails. What does each rule do to the "
        "distance that an epoch covers when the batch doubles?",
        "Linear: the same distance. Square root: 1/1.41 of it. Fixed: half of it.",
        "Which rule reaches a rate of 1 or 2 first, and what happens there?",
    ],
    answer="A is the **square root**, B is **linear**, C is **fixed**. At a small rate an epoch "
    "covers a distance of about rate x updates. The linear rule keeps it, until the rate nears the "
    "limit at B = 128; the fixed rate halves it with every doubling, the square root does half of "
    "that on a logarithmic scale. From B = 4 at 1/8, as in the lesson, the square root looked "
    "best, since there the best rate soon stops growing.",
)

SIZE, RATE = 256, 2.0
SAFE = 0.75  # trains at every batch size of the grid


def judge_control(arguments: object) -> None:
    if not isinstance(arguments, dict):
        raise Mistake('Hand in a dictionary: `{"batch_size": ..., "lr": ...}`.')
    if others := set(arguments) - {"batch_size", "lr"}:
        raise Mistake(f"Leave `{min(map(str, others))}` as it was.")
    size, lr = number(arguments.get("batch_size", SIZE)), number(arguments.get("lr", RATE))
    if not (1 <= size <= 1_024 and size % 1 == 0 and 0 < lr < inf):
        raise Mistake("A batch has 1 to 1,024 images here, and a rate is above 0.")
    if size == SIZE and lr == RATE:
        raise Mistake("That is the run that failed. Change one of the two.")
    if size != SIZE and lr != RATE:
        raise Mistake(
            "Two things have changed. If it trains now, was it the batch size or the rate?"
        )
    if size == SIZE:
        judge_rate(lr)
    elif size > SIZE:
        raise Mistake("A larger batch at the rate 2 fails by either story. It tells nothing.")


def judge_rate(lr: float) -> None:
    if lr > RATE:
        raise Mistake("A larger rate fails by either story. It tells nothing.")
    if lr > SAFE:
        raise Mistake(
            f"The rate {lr:g} is near the limit itself. If it fails, too, nobody is the wiser: "
            "take one well below."
        )
    if lr < 1 / 32:
        raise Mistake(
            "With so small a rate and four updates an epoch the run hardly moves. Is it then the "
            "batch size that fails, or the patience?"
        )


q2 = Question(
    judge=judge_control,
    right="One suspect stays, the other is gone. In the lesson's grid you can read how it ends: "
    "the batch of 256 trains at smaller rates, and the rate 2 fails at smaller batches.",
    hints=[
        "A control changes one suspect and leaves the other.",
        "If the batch size is to blame, what happens at B = 256 with a small rate? And if the "
        "rate is?",
        "It may also be a smaller batch at the same rate of 2.",
    ],
    answer="""Keep the batch of 256 and take a rate well below the limit, or keep the rate 2 and
take a smaller batch:
```python
{"batch_size": 256, "lr": 1 / 4}  # trains: the batch size is innocent
{"batch_size": 64, "lr": 2}  # fails: the rate is enough
```
A run with both changed, such as B = 64 at 1/2, trains and tells nothing.""",
)

START, FIRST = 256, 0.999
CASES = [256, 64, 1_024, 16, 4_096, 1]


def true_beta2(size: int) -> float:
    return FIRST ** (size / START)


WRONG_BETAS = {
    "It divides beta2 itself. What is to be in proportion to the batch is the loss of memory in an "
    "update, 1 - beta2; a beta2 above 1 would even grow without bound.": (
        lambda size: FIRST * START / size
    ),
    "It is upside down: a small batch needs the longer memory in updates, a beta2 nearer to 1.": (
        lambda size: FIRST ** (START / size)
    ),
    "It leaves beta2 as it is, so the memory in samples grows with the batch.": lambda size: FIRST,
    "It takes the square root of the factor, which is for the rate, if at all. Memory counts "
    "samples, so the factor itself is wanted.": lambda size: FIRST ** ((size / START) ** 0.5),
    "It is upside down: 1 - beta2 must grow with the batch.": (
        lambda size: 1 - (1 - FIRST) * START / size
    ),
}


def judge_beta2(function: object) -> None:
    function = require_function(function, "beta2")
    answers = np.array([value_of(function, size) for size in CASES])
    for message, wrong in WRONG_BETAS.items():
        if np.allclose(answers, [wrong(size) for size in CASES], atol=1e-9):
            raise Mistake(message)
    for size, answer in zip(CASES, answers, strict=True):
        # 1 - 0.001 B / 256 is the same to first order, and as good
        if not abs(answer - true_beta2(size)) < 0.02 * (1 - true_beta2(size)):
            raise Mistake(
                f"`beta2({size})` gives {answer:.6g}; {true_beta2(size):.6g} would be right."
            )


def value_of(function: Callable[[int], object], size: int) -> float:
    """What the learner's function makes of a batch size."""
    return number(returned(function, f"`beta2({size})`", size))


q3 = Question(
    judge=judge_beta2,
    right="Four updates of 64 forget as much as one of 256.",
    hints=[
        "After n updates a square counts beta2 ** n times what it did. How many updates of B "
        "make 256 samples?",
        "beta2 ** (256 / B) should be 0.999.",
        "Solve for beta2. What is it for B = 64, and for B = 1,024?",
    ],
    answer="""Batches of B take 256 / B updates for 256 samples, after which a square should count
0.999 times what it did: beta2 ** (256 / B) = 0.999.
```python
def beta2(batch_size):
    return 0.999 ** (batch_size / 256)
```
For B = 64 that is 0.99975, for 1,024 it is 0.996. To first order 1 - beta2 is in proportion to the
batch, as in the rule of Malladi and others.""",
)

UPDATES, CLOSE = 100, 1.5


def judge_bracket(h: object, runs: object) -> None:
    curvature = number(h)
    if not 0 < curvature < inf:
        raise Mistake("The largest curvature at the initial weights is a number above 0.")
    if not isinstance(runs, dict) or len(runs) != 2:
        raise Mistake("Hand in two runs with their rates: `{rate: run, rate: run}`.")
    (low, good), (high, bad) = sorted(
        ((number(rate), repeated_run(run)) for rate, run in runs.items()), key=lambda pair: pair[0]
    )
    if not 0 < low < high:
        raise Mistake("Hand in two different rates above 0.")
    if not trains(good):
        raise Mistake(f"The run at the rate {low:g} does not train. Take a smaller one.")
    if trains(bad):
        raise Mistake(f"The run at the rate {high:g} trains as well. Take a larger one.")
    if high > CLOSE * low:
        raise Mistake(
            f"Between {low:g} and {high:g} there is room for more than a factor of {CLOSE}. "
            "Try a rate between them."
        )


def trains(history: pd.DataFrame) -> bool:
    """Whether the median training loss has come down to half of what it was."""
    if history.step.max() < UPDATES:
        raise Mistake(f"A run has {history.step.max()} updates. Make it {UPDATES} or more.")
    by_step = history.fillna({"train_loss": inf}).groupby("step").train_loss.median()
    return bool(by_step.iloc[-1] < by_step.iloc[0] / 2)


q4 = Question(
    judge=judge_bracket,
    right="Compare the bracket with 2/h. With one hidden layer it is near; with two, training "
    "often fails earlier, since the curvature rises from its small beginning; very wide layers "
    "survive more.",
    hints=[
        "`torch.manual_seed(0)`, then your network, then `steepest(net, 0)` of the lesson.",
        "Start with the rate 2/h. If it trains, multiply by 1.4 until one fails; if not, divide.",
        "Two hidden layers of 32 have h = 0.6 or so, which promises rates up to 3. Try 1.",
    ],
    answer="""For example, two hidden layers:
```python
network = partial(MLP, images.shape, hidden=(32, 32))
torch.manual_seed(0)
h = steepest(network(), 0)

def run(rate):
    return fit(network, images, batch_size=128, lr=rate, seeds=8, max_epochs=20)

runs = {rate: run(rate) for rate in (1.0, 1.5)}
```
Here 2/h promises about 3, and training fails at half of it: the initial weights lie in a valley
much flatter than the one they come to.""",
)

q5 = Question(
    judge=numeric(
        0.2,
        mistakes={
            0.1: "It stays only if the rate is scaled linearly; you have doubled it, the batch is "
            "four times as large.",
            0.4: "Four times the decay makes up for the batch alone; the rate has doubled, too.",
            0.05: "It is upside down: there are fewer updates, so each has to shrink more.",
            0.025: "It is upside down, and leaves out the rate.",
            0.8: "You multiplied by the rate's factor where you should divide.",
        },
        otherwise="An average over 1 / (rate x decay) updates is one over B / (rate x decay x N) "
        "epochs. Keep it.",
        tolerance=1e-6,
    ),
    right="Four times fewer updates, each twice as long, and twice the decay.",
    hints=[
        "Over how many updates do the weights average, and how many epochs are they?",
        "B / (rate x decay x N): B is four times as large, the rate twice.",
        "So the decay must double.",
    ],
    answer="The average reaches over B / (rate x decay x N) epochs. B has quadrupled and the rate "
    "doubled, so the decay must double, to **0.2**.",
)
