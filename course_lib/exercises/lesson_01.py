"""Exercises of lesson 1: epoch, batch, iteration.

q1. A Keras script trains on 50,000 images with batch_size=32, steps_per_epoch=1_563 and epochs=10,
    from a stream that repeats the images without end. Somebody changes the batch size to 128 and
    nothing else. The log still says "10 epochs". How many times has each image been used, on
    average? `check(40)`
q2. Find the bugs. A colleague deals the samples of each epoch with this function:

        def batches(n, batch_size):
            order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
            return [order[i * batch_size : (i + 1) * batch_size] for i in range(n // batch_size)]

    Some samples are never used, and every epoch is the same. Repair it: it returns the batches of
    one epoch, a list of tensors with sample numbers. `check(batches)`
q3. Somebody has trained on 1,437 images. In the curve of the loss there is a dot at the end of
    each epoch, every 12 updates. Which batch sizes are possible? `check((smallest, largest))`
q4. Design the control. "More data helps," says somebody who has copied each of the 1,437 training
    images twice, so that he has three of each, and trained with B = 16 for five epochs. Which run
    with the original images should he have compared with? `check(run)`
q5. A network of your own. Train it with small batches for a few epochs. Predict after how many
    epochs a batch size at least four times as large will have the same training loss, at the same
    rate; only then train with it, long enough. A factor of 1.5 either way counts as right.
    `check(predicted, small, large)`
"""

from collections.abc import Callable, Iterable
from math import ceil, inf
from typing import Any

from course_lib.exercises.judges import (
    called,
    near,
    number,
    numeric,
    repeated_run,
    require_function,
    returned,
    single_run,
)
from course_lib.exercises.question import Mistake, Question, plain
from course_lib.history import reached

N = 1_437  # training images of the lesson

q1 = Question(
    judge=numeric(
        40.0,
        mistakes={
            10: "Ten is what the log says. But an epoch of this log is 1,563 updates, and each of "
            "them uses 128 images now.",
            2.5: "You divided by four where you should multiply: as many updates as before, and "
            "each uses four times as many images.",
            4: "Four passes are one epoch of the log; it has ten.",
            15_630: "15,630 updates is right. How many images do they use?",
            2_000_640: "So many images were used, counted each time. There are 50,000 of them.",
        },
        otherwise="Updates times images an update, divided by the number of images.",
        tolerance=0.1,
    ),
    right="The log counts ten epochs, the data were read forty times. Four times the training, "
    "and whoever compares the two runs 'after ten epochs' will praise the large batch for it.",
    hints=[
        "What does `steps_per_epoch=1_563` fix: the samples of an epoch, or its updates?",
        "Ten epochs are 15,630 updates, whatever the batch size. How many images does each use?",
        "15,630 x 128 images were used in all, of 50,000 different ones.",
    ],
    answer="10 x 1,563 updates of 128 images use 2,000,640 images; each of the 50,000 has been "
    "used **40** times. With 32 it was ten, since 1,563 is 50,000 / 32, rounded up. After the "
    "change `steps_per_epoch` should have been 50,000 / 128, rounded up: 391.",
)

Batches = Callable[[int, int], Iterable]
CASES = [(N, 64), (100, 20), (22, 4), (30, 30)]  # so many that equal orders are no accident


def judge_batches(batches: object) -> None:
    function = require_function(batches, "batches")
    for n, size in CASES:
        first, second = (dealt(function, n, size) for _ in range(2))
        call = f"`batches({n}, {size})`"
        compare(call, first, n, size)
        order = sum(first, [])
        if order == sorted(order):
            raise Mistake(f"{call} gives the samples in the order in which they are stored.")
        if first == second:
            raise Mistake(
                f"{call}, called twice, gives the same order. Every epoch needs a new one: what "
                "does `manual_seed(0)` do at each call?"
            )


def dealt(batches: Batches, n: int, size: int) -> list[list[int]]:
    """What the learner's function makes of n samples, as lists; a Mistake where it makes none."""
    call = f"`batches({n}, {size})`"
    answer = returned(batches, call, n, size)
    parts = called(lambda: [plain(part) for part in answer], call)
    if not all(isinstance(part, list) and all(type(i) is int for i in part) for part in parts):
        raise Mistake(f"{call} should give a list of batches, each a tensor of sample numbers.")
    return parts


def compare(call: str, parts: list[list[int]], n: int, size: int) -> None:
    """Raise a Mistake unless every sample comes once, in batches of this size and a rest."""
    used = sum(parts, [])
    if strangers := set(used) - set(range(n)):
        raise Mistake(f"{call} has the number {min(strangers)}; samples go from 0 to {n - 1}.")
    lacking = n - len(set(used))
    if lacking and len(used) > len(set(used)):
        raise Mistake(
            f"{call} uses some samples twice and {lacking} not at all: that is drawing with "
            "replacement. Deal each of them once."
        )
    if lacking:
        raise Mistake(
            f"{call} leaves out {lacking} of the {n} samples. What remains after the full batches "
            "is a batch, too, if a smaller one."
        )
    if len(used) > n:
        raise Mistake(f"{call} uses some samples more than once in an epoch.")
    sizes = [len(part) for part in parts]
    if sizes != [min(size, n - start) for start in range(0, n, size)]:
        raise Mistake(f"{call} makes batches of {sizes[:3]} ... samples, not of {size} and a rest.")


q2 = Question(
    judge=judge_batches,
    right="Every sample once, in a new order each time, and nobody is left out.",
    hints=[
        "There are two mistakes. Which samples does `range(n // batch_size)` never reach? And "
        "what does a generator do that is made, and seeded, at each call?",
        "`//` rounds down. The formula of the lesson rounds up.",
        "`torch.randperm(n)` without a generator, and a method of tensors that cuts them into "
        "parts of a given size and a rest: look at the loop of the lesson.",
    ],
    answer="""`n // batch_size` rounds down, so the rest is dropped; and since the generator starts
from the same seed at every call, it is the same rest in each epoch. (Dropping the rest, as
`drop_last` does, is harmless only where each epoch drops others.)
```python
def batches(n, batch_size):
    return list(torch.randperm(n).split(batch_size))
```""",
)

q3 = Question(
    judge=numeric(
        (120, 130),
        mistakes={
            (130, 120): "The two numbers are the right ones, in the wrong order.",
            (111, 119): "That would be so if the last, smaller batch were dropped. Here it makes "
            "an update like the others.",
            (120, 120): "120 is the smallest. But 121 makes 12 updates as well, the last of them "
            "a little smaller. Up to where?",
            (119, 130): "119 x 12 = 1,428: nine images remain, and make a 13th update.",
            (120, 131): "131 x 11 = 1,441 is more than there are: eleven updates are enough.",
            (119.75, 130 + 7 / 11): "A batch size is a whole number. On which side of these?",
        },
        otherwise="For which B is 1,437 / B, rounded up, equal to 12? Read off the dots how many "
        "updates an epoch has.",
        tolerance=0.01,
    ),
    right="Eleven batches are not enough, twelve are: 11 B < 1,437 <= 12 B.",
    hints=[
        "How many updates lie between two dots? That is one epoch.",
        "12 updates an epoch: 12 batches of B hold all 1,437 images, and 11 do not.",
        "B is at least 1,437 / 12 = 119.75, and less than 1,437 / 11 = 130.6.",
    ],
    answer="The dots are 12 updates apart. Twelve batches must hold the 1,437 images, so B is at "
    "least 119.75; eleven must not, so B is less than 130.6. Any size from **120 to 130** is "
    "possible (it was 125).",
)

SIZE, COPIED_UPDATES = 16, 5 * ceil(3 * N / 16)


def judge_control(run: object) -> None:
    history = single_run(run, batch_size=SIZE)
    last = history.iloc[history["step"].argmax()]
    epochs, updates, samples = last[["epoch", "step", "examples"]]
    if samples > 2 * N * epochs:
        raise Mistake("This run has the copies as well. Train on the original images, `images`.")
    made = f"This run makes {updates:,.0f} updates, "
    if epochs == 5:
        raise Mistake(
            f"{made}in five epochs. That is what he has compared with. An epoch of his has three "
            "times as many images: what else does it have three times?"
        )
    if updates < 0.99 * COPIED_UPDATES:
        raise Mistake(f"{made}fewer than his, which sees three of each image five times.")
    if updates > 1.01 * COPIED_UPDATES:
        raise Mistake(f"{made}more than his. To be fair, give both equally many.")


q4 = Question(
    judge=judge_control,
    right="Equally many updates, from the same images. Compare its training loss with his: there "
    "is nothing left for the copies to explain.",
    hints=[
        "The copies tell the network nothing new. What does it get more of, in five epochs?",
        "How many updates are five epochs of 3 x 1,437 images in batches of 16?",
        "1,350, three times as many as five epochs of the originals make.",
    ],
    answer="""His five epochs are 5 x 270 = 1,350 updates. The originals make 90 in an epoch, so
the control has 15 epochs:
```python
run = fit(network, images, batch_size=16, seeds=16, lr=0.05, max_epochs=15)
```
Its training loss is that of the copies. An epoch is a pass over whatever one calls the data; the
network knows only updates.""",
)

FACTOR, RATIO = 1.5, 4


def judge_prediction(predicted: object, small: object, large: object) -> None:
    guess = number(predicted)
    if not 0 < guess < inf:
        raise Mistake(f"{guess:g} is not a number of epochs.")
    histories = [repeated_run(run) for run in (small, large)]
    sizes = [int(history["batch_size"].iloc[0]) for history in histories]
    if sizes[1] < RATIO * sizes[0]:
        raise Mistake(
            f"The batch sizes are {sizes[0]} and {sizes[1]}. Hand in the run with small batches "
            f"first, and take large ones at least {RATIO} times as large."
        )
    last = histories[0][histories[0]["step"] == histories[0]["step"].max()]
    target = last["train_loss"].median()
    first = reached(histories[1], train_loss=target, interpolate=True)
    judge_epochs(guess, first["epoch"].median(), first["step"].median(), last, target)


def judge_epochs(guess: float, epochs: float, updates: float, last: Any, target: float) -> None:
    """Compare a prediction with the epochs that the large batches took, in the median."""
    if epochs == inf:
        raise Mistake(
            f"Most seeds of the large batch have not reached the loss {target:.3g} of the small "
            "one. Train it for more epochs."
        )
    if near(guess, epochs, FACTOR):
        return
    took = f"You predicted {guess:g} epochs, it took {epochs:.1f}. "
    if guess == last["epoch"].iloc[0]:
        raise Mistake(f"{took}You took the epochs of the small batches. Equal epochs are not equal "
                      "updates.")  # fmt: skip
    if near(guess, updates, FACTOR):
        raise Mistake(f"{took}That would be right in updates. How many of them has an epoch?")
    raise Mistake(
        f"{took}Did both runs have the same data and rate? If they did, noise matters for your "
        "network, as it does at high rates and in deep networks: try a smaller rate."
    )


q5 = Question(
    judge=judge_prediction,
    right="The number of updates has told you, on a network that nobody had tried.",
    hints=[
        "How many updates does the run with small batches make in all? Its history says so.",
        "Divide them by the updates that the large batches make in an epoch, N / B, rounded up.",
        "If you are short of ideas: `partial(MLP, hidden=(16,))` at the rate 0.05, five epochs "
        "with batches of 16, and then batches of 128.",
    ],
    answer="""For example, a narrow network:
```python
network = partial(MLP, hidden=(16,))
data = Digits(split="seed")
small = fit(network, data, batch_size=16, seeds=8, lr=0.05, max_epochs=5)
updates = small.history.step.max()        # 450
predicted = updates / ceil(1_437 / 128)   # 12 an epoch: 37.5 epochs
large = fit(network, data, batch_size=128, seeds=8, lr=0.05, max_epochs=60)
```
In epochs the two runs have nothing in common; in updates, nearly everything.""",
)
