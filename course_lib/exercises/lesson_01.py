"""Exercises of lesson 1: epoch, batch, iteration.

q1. On paper: 50,000 images, batch size 250, 20 epochs: how many times do the weights change?
    `check(4000)`
q2. On paper: 1,437 samples, batch size 64: how many updates has one epoch, without and with
    `drop_last`? `check((a, b))`
q3. Write `updates(n, batch_size, epochs, drop_last)`, the number of updates of a whole training.
    `check(updates)`
q4. Change the batch size of a run of 4 epochs so that it makes at least 300 updates, with as few
    of them to spare as possible: which is the largest batch size that will do? `check(run)`
q5. At which epoch should this run have stopped? Take the lowest held-out loss, median over
    seeds. `check(history, epoch)`
"""

import math
from typing import Any

from course_lib.exercises.judges import number, numeric, single_run
from course_lib.exercises.question import Mistake, Question, require_answer

q1 = Question(
    judge=numeric(
        4_000,
        mistakes={
            200: "200 updates are one epoch; the run has 20 epochs.",
            1_000_000: "A million is how many samples pass by. Each update uses 250 of them.",
            5_000: "250 x 20 multiplies batch size and epochs. What becomes of the 50,000 images?",
            10: "You divided by the epochs. More epochs mean more updates, not fewer.",
            50_000: "50,000 would be one update for each image of one epoch: batch size 1.",
        },
        otherwise="Count the batches in one pass over the data, then the passes.",
    ),
    right="200 batches an epoch, 20 epochs: the weights change 4,000 times.",
    hints=[
        "The weights change once for each batch.",
        "How many batches of 250 does it take to see 50,000 images once?",
        "Multiply the batches of one epoch by the number of epochs.",
    ],
    answer="50,000 / 250 = 200 updates an epoch; 200 x 20 = **4,000** updates.",
)

q2 = Question(
    judge=numeric(
        (23, 22),
        mistakes={
            (22, 23): "The two numbers are the right ones, in the wrong order: first without "
            "`drop_last`.",
            (22, 22): "Without `drop_last` the 29 samples that are left over still make a batch.",
            (23, 23): "With `drop_last` the last, incomplete batch is left out.",
            (1437 / 64, 1437 / 64): "There is no 0.45 of an update. What happens to the samples "
            "that are left over?",
        },
        otherwise="How many full batches of 64 are there in 1,437, and is anything left over?",
    ),
    right="22 full batches, and 29 samples left over: they make a 23rd batch or are dropped.",
    hints=[
        "How often does 64 go into 1,437, and what remains?",
        "The remainder is a smaller batch of its own. `drop_last` leaves it out.",
        "Without `drop_last`: round 1437 / 64 up. With it: round down.",
    ],
    answer="1,437 = 22 x 64 + 29. Without `drop_last` the 29 make a batch of their own: **23** "
    "updates. With it they are dropped: **22**.",
)


def count(n: int, batch_size: int, epochs: int, drop_last: bool) -> int:
    """The number of updates of a whole training."""
    return epochs * (n // batch_size if drop_last else math.ceil(n / batch_size))


CASES = [
    (n, batch_size, epochs, drop_last)
    for n in (1, 12, 1_437)
    for batch_size in (1, 5, 12, 64, 1_437)
    for epochs in (1, 3)
    for drop_last in (False, True)
    if batch_size <= n
]
CONFUSIONS = {
    "It drops the last partial batch always, also where `drop_last` is False.": (
        lambda n, b, epochs, drop: epochs * (n // b)
    ),
    "It keeps the last partial batch always, also where `drop_last` is True.": (
        lambda n, b, epochs, drop: epochs * math.ceil(n / b)
    ),
    "`drop_last` is the wrong way round: True leaves the last partial batch out.": (
        lambda n, b, epochs, drop: count(n, b, epochs, not drop)
    ),
    "It counts one epoch, whatever `epochs` is.": (lambda n, b, epochs, drop: count(n, b, 1, drop)),
    "It rounds once, at the end. A batch never holds samples of two epochs: round first, then "
    "multiply by the epochs.": (lambda n, b, epochs, drop: count(n * epochs, b, 1, drop)),
    "It gives fractions of an update. Round to whole batches.": (
        lambda n, b, epochs, drop: epochs * n / b
    ),
    "Where the batch size divides n, nothing is left over: there it counts a batch too many.": (
        lambda n, b, epochs, drop: epochs * (n // b + (not drop))
    ),
}


def judge_updates(updates: object) -> None:
    if not callable(updates):
        raise Mistake("Hand in the function itself, `check(updates)`, without calling it.")
    returned = [updates(*case) for case in CASES]
    require_answer(returned)
    if None in returned:
        raise Mistake("The function returns None. Is there a `return` in front of the result?")
    counted = [number(value) for value in returned]
    for message, confusion in CONFUSIONS.items():
        if counted == [confusion(*case) for case in CASES]:
            raise Mistake(message)
    for case, value in zip(CASES, counted, strict=True):
        if value != count(*case):
            raise Mistake(f"`updates{case}` gives {value}; {count(*case)} would be right.")


q3 = Question(
    judge=judge_updates,
    right="The function counts as PyTorch does, with and without a partial batch.",
    hints=[
        "First the updates of one epoch; the epochs only multiply them.",
        "`n // batch_size` rounds down, `math.ceil(n / batch_size)` rounds up.",
        "Which of the two is right with `drop_last`, which one without?",
    ],
    answer="""
```python
import math

def updates(n, batch_size, epochs, drop_last):
    per_epoch = n // batch_size if drop_last else math.ceil(n / batch_size)
    return epochs * per_epoch
```
Round first, then multiply: a batch never holds samples of two epochs.""",
)

EPOCHS, UPDATES = 4, 300


def judge_largest_batch(run: object) -> None:
    history = single_run(run, epochs=EPOCHS)
    batch_size, step, examples = history[["batch_size", "step", "examples"]].max()
    samples = round(examples / EPOCHS)
    if step < UPDATES:
        raise Mistake(
            f"Batch size {batch_size} makes {step:g} updates in {EPOCHS} epochs, not {UPDATES}. "
            "Smaller batches make more updates."
        )
    if math.ceil(samples / (batch_size + 1)) * EPOCHS >= UPDATES:
        raise Mistake(
            f"Batch size {batch_size} makes {step:g} updates, which is enough; but so does a "
            "larger batch. Which is the largest?"
        )


q4 = Question(
    judge=judge_largest_batch,
    right="One sample more in each batch, and there would be fewer than 300 updates.",
    hints=[
        "300 updates in 4 epochs: how many updates must one epoch have?",
        "N samples in batches of B are N / B updates, rounded up. It must be at least 75.",
        "Rounded up it is at least 75 as long as N / B is more than 74: B is less than N / 74.",
    ],
    answer="""4 epochs with 300 updates are 75 updates an epoch. N / B, rounded up, is at least 75
as long as N / B is more than 74. For the 1,437 digits B must be less than 1,437 / 74 = 19.4:
```python
run = fit(network, images, batch_size=19, seeds=1, lr=0.1, max_epochs=4)
```
That makes 76 updates an epoch, 304 in all. On the lesson's 6,000 images of MNIST it is B = 81.""",
)


def judge_best_epoch(history: Any, epoch: Any) -> None:
    history, epoch = single_run(history), number(epoch)
    middle = history.groupby("epoch").median(numeric_only=True)
    if epoch not in middle.index:
        raise Mistake(f"There was no evaluation at epoch {epoch:g}. Choose one of the history.")
    loss = middle["val_loss"]
    if loss[epoch] == loss.min():
        return
    if epoch == middle["train_loss"].idxmin():
        raise Mistake(
            "There the training loss is lowest. It goes on falling while the network over-fits; "
            "look at the held-out loss."
        )
    if epoch == middle["val_accuracy"].idxmax():
        raise Mistake("There the held-out accuracy is highest. The question is about the loss.")
    if epoch == history.loc[history["val_loss"].idxmin(), "epoch"]:
        raise Mistake("There one lucky seed is lowest. Take the median over seeds first.")
    if epoch < loss.idxmin():
        raise Mistake(f"After epoch {epoch:g} the median held-out loss still falls.")
    raise Mistake(f"At epoch {epoch:g} the median held-out loss has turned up already.")


q5 = Question(
    judge=judge_best_epoch,
    right="From there on the training loss still falls, but new data no longer gain by it.",
    hints=[
        'Group the history by "epoch" and take the median of "val_loss" in each group.',
        "`idxmin()` gives the label of the smallest entry, here the epoch.",
    ],
    answer="""
```python
epoch = history.groupby("epoch")["val_loss"].median().idxmin()
```
Stopping there is called early stopping.""",
)
