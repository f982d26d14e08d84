"""Exercises of lesson 3: the batch-size trade-off.

q1. Somebody has trained one network in batches of 4, 16, 64 and 256 and on the full set, all at
    the same learning rate, and has forgotten to name the horizontal axis. In the figure the curves
    of 64, 256 and the full batch lie almost on top of one another, 16 is a little behind, and 4
    lags far behind. What is on the axis: "epochs", "updates", "samples" or "seconds"?
    `check("...")`
q2. Two runs are enough to choose a batch size. With B = 16 a network took 400 updates to the
    target, with B = 64 it took 220. On your machine an update takes 2 ms plus 0.01 ms for each
    sample of the batch. Which batch size reaches the target first, if the law of this lesson
    holds? `check(batch_size)`
q3. Find the bug. A colleague sums up the runs of each batch size by the epochs they took to the
    target; all had 25 epochs, and `inf` stands for those that never got there:

        def typical(epochs):
            reached = [e for e in epochs if e < inf]
            return sum(reached) / len(reached)

    In his table the batch size that fails most often looks fastest. Write a better
    `typical(epochs)`: a finite number as long as fewer than half of the runs fail, and one that
    never looks better because a run has failed. `check(typical)`
q4. Design the control. After 25 epochs on the 1,437 digits, a network trained in batches of 16
    recognizes 97 % of the held-out images; trained in batches of 256, at the same rate of 0.1,
    only 84 %. "Large batches generalize worse," somebody concludes. But perhaps the second network
    has simply made too few updates. Which further run with batches of 256 can tell? Hand in its
    arguments: `check({"batch_size": ..., "lr": ..., "max_epochs": ...})`, or with `max_steps`
    instead of `max_epochs`.
q5. Does the law hold for a network of your own? Take one that this lesson does not train: a class
    that you write, other widths, `LeNet`. Train it on `Digits(split="seed")` at one learning rate
    and two batch sizes, such as 8 and 128, with 8 seeds or more, and read off the median number of
    updates to 90 %: `reached(run.history, val_accuracy=0.9, interpolate=True)`. Predict from these
    two numbers how many updates a batch size between them will take, and write it down. Only then
    train that one, and hand in your prediction with what `fit` returned. Choose a rate at which
    even the smaller batch takes more than one epoch, since nothing is measured before the first
    one is over. A factor of 1.3 either way counts as right: on the four networks that we tried,
    the law was off by 2 to 21 %. `check(predicted, run)`
"""

from collections.abc import Callable, Sequence
from math import inf, isnan
from statistics import median, median_high, median_low

import numpy as np

from course_lib.exercises.judges import (
    near,
    number,
    numeric,
    repeated_run,
    require_function,
    returned,
    too_late,
)
from course_lib.exercises.question import Mistake, Question
from course_lib.history import reached

AXES = {
    "updates": {"update", "step", "steps", "iteration", "iterations"},
    "epochs": {"epoch", "passes"},
    "samples": {"sample", "examples", "example", "images"},
    "seconds": {"second", "s", "ms", "milliseconds", "time", "wall-clock time"},
}
WRONG_AXES = {
    "epochs": "Against epochs the full batch would be far behind: one update in each epoch, where "
    "B = 4 makes hundreds.",
    "samples": "Every size uses the same N samples in an epoch, so the curves would look as they "
    "do against epochs, with the full batch far behind.",
    "seconds": "An update of the full batch takes longer than one of 64. If they need about as "
    "many, the full batch would be behind on the clock.",
}


def judge_axis(axis: object) -> None:
    if not isinstance(axis, str):
        raise Mistake('Hand in one of the four words, in quotation marks: `check("epochs")`.')
    word = axis.strip().lower().removeprefix("number of ").removeprefix("optimizer ")
    named = next((name for name, others in AXES.items() if word in {name, *others}), None)
    if named is None:
        raise Mistake(f'{axis!r} is none of "epochs", "updates", "samples" and "seconds".')
    if named in WRONG_AXES:
        raise Mistake(WRONG_AXES[named])


q1 = Question(
    judge=judge_axis,
    right="Beyond the noise scale a better gradient hardly saves any updates.",
    hints=[
        "Take the two extremes. How many updates does the full batch make in one epoch, and how "
        "many does B = 4?",
        "On which of the four axes could the full batch keep up with 64, although each of its "
        "updates uses many times the samples and takes longer?",
        "S_min (1 + B_noise / B): what becomes of the bracket when B is large?",
    ],
    answer="**Updates.** S_min (1 + B_noise / B) goes to S_min as B grows: from 64 on, the curves "
    "nearly coincide, and only B = 4 must make up for its noise with more updates. Against epochs "
    "or samples (the same picture, since each epoch has N samples) the order is reversed: the full "
    "batch makes one update an epoch and comes last. Against seconds neither end would win: B = 4 "
    "makes many updates, the full batch expensive ones.",
)

blame = numeric(
    69.3,
    mistakes={
        24: "24 is B_noise. It says where more samples stop saving updates, but not yet what "
        "they cost on your machine.",
        4.9: "That is the root of B_noise alone. The machine comes in by a / b = 2 / 0.01.",
        (24 * 0.01 / 2) ** 0.5: "You have a and b the wrong way round: a = 2 ms is paid once for "
        "each update, b = 0.01 ms for each sample. B* grows with a / b.",
        (24 * 2) ** 0.5: "You left out b, what a sample costs: B* is the root of B_noise a / b.",
        200: "200 is a / b, where the samples cost as much as the fixed part. The updates that "
        "small batches need come in, too.",
        4_800: "That is B_noise a / b. Take its square root.",
        112: "Between 24 and 200 it is the geometric mean that is wanted, not half of their sum.",
        (24 * 2 / 1e-5) ** 0.5: "You measured a in milliseconds and b in seconds. Take one unit.",
        (24 * 2e-3 / 0.01) ** 0.5: "You measured a in seconds and b in milliseconds. Take one "
        "unit.",
        (160 * 200) ** 0.5: "You put S_min = 160, a number of updates, where B_noise belongs.",
        (3_840 * 200) ** 0.5: "You put E_min = 3,840 where B_noise = E_min / S_min belongs.",
        16: "16 is the slower one of the two that ran: 400 x 2.16 = 864 ms. The law also speaks "
        "of sizes that nobody has run.",
        64: "64 is the faster one of the two that ran, and a good choice. But the law also "
        "speaks of sizes that nobody has run. Where is its minimum?",
        32: "That is the geometric mean of the two sizes that ran. It is the law, and the "
        "price of an update, that say where the minimum is.",
        40: "That is the middle of the two sizes that ran. It is the law, and the price of an "
        "update, that say where the minimum is.",
    },
    otherwise="Two equations, 400 = S_min + E_min / 16 and 220 = S_min + E_min / 64, give B_noise "
    "= E_min / S_min. Then B* is the root of B_noise a / b.",
    tolerance=0.5,
)


def judge_fastest(batch_size: object) -> None:
    if not 65 <= number(batch_size) <= 75:
        blame(batch_size)


q2 = Question(
    judge=judge_fastest,
    right="The law puts the minimum at 69, and a flat one: 580 ms there, 581 ms at B = 64. What "
    "you should not do is stay at 16, with 864 ms.",
    hints=[
        "S = S_min + E_min / B. Two runs make two equations with two unknowns.",
        "Their difference: 180 = E_min (1/16 - 1/64). What is B_noise = E_min / S_min?",
        "E_min = 3,840, S_min = 160, B_noise = 24. With a = 2 and b = 0.01, where is "
        "(1 + 24 / B) (2 + 0.01 B) least?",
    ],
    answer="400 - 220 = 180 = E_min (1/16 - 1/64), so E_min = 180 / 0.046875 = 3,840 and S_min = "
    "400 - 3,840/16 = 160; B_noise = 3,840 / 160 = 24. The time is least at the square root of "
    "24 x 2 / 0.01 = 4,800, at B = **69**. In practice you would take 64: near the minimum the "
    "curve is flat.",
)

Epochs = Sequence[float]
EPOCHS = 25
CASES: list[list[float]] = [
    [3, 9, 4],
    [8, 3, 5, 20],
    [12, inf, 15, 18, inf, 20, 14],
    [6, inf, 9, 7],
    [1, inf, 2, inf],
    [inf, 2, inf, 4, inf],
    [11],
]
ALL_FAILED = [inf, inf, inf, inf]


def mean(epochs: Epochs) -> float:
    return sum(epochs) / len(epochs)


def finished(epochs: Epochs) -> Epochs:
    """Only the runs that reached the target."""
    return [each for each in epochs if each < inf]


def counting(epochs: Epochs, failed: float) -> Epochs:
    """All runs, with a number instead of inf."""
    return [each if each < inf else failed for each in epochs]


UNFAIR: dict[str, list[Callable[[Epochs], float]]] = {
    "It still leaves out the runs that failed, as the colleague does.": [
        lambda epochs: mean(finished(epochs))
    ],
    "A median, but only of the runs that reached the target. The others take longer.": [
        lambda epochs: median(finished(epochs)),
        lambda epochs: median_low(finished(epochs)),
        lambda epochs: median_high(finished(epochs)),
    ],
    "A single failed run makes the mean infinite, and then nobody sees what the others did. Which "
    "average does not ask how late the latest are?": [mean],
    "It replaces `inf` by the last epoch. These runs take longer than that, nobody knows how much: "
    "a batch size that always fails would look like one that succeeds at the end.": [
        lambda epochs: mean(counting(epochs, EPOCHS)),
        lambda epochs: median(counting(epochs, EPOCHS)),
        lambda epochs: mean(counting(epochs, max(finished(epochs)))),
        lambda epochs: median(counting(epochs, max(finished(epochs)))),
    ],
    "It counts the runs that failed as the fastest of all.": [
        lambda epochs: mean(counting(epochs, 0)),
        lambda epochs: median(counting(epochs, 0)),
    ],
    "It takes the middle of the list as it stands. Sort it first.": [
        lambda epochs: epochs[len(epochs) // 2],
        lambda epochs: epochs[(len(epochs) - 1) // 2],
    ],
    "It takes the best run. One lucky seed is not typical.": [min],
    "It takes the worst run, so a single failure decides.": [max],
}


def judge_typical(typical: object) -> None:
    function = require_function(typical, "typical")
    answers = [answer_of(function, case) for case in CASES]
    for message, rules in UNFAIR.items():
        if any(np.allclose(answers, [rule(case) for case in CASES]) for rule in rules):
            raise Mistake(message)
    for case, answer in zip(CASES, answers, strict=True):
        compare(case, answer)
    compare(ALL_FAILED, answer_of(function, ALL_FAILED))


def answer_of(typical: Callable[[list[float]], object], epochs: list[float]) -> float:
    """What the learner's function makes of a list; a Mistake where it makes no number of it."""
    call = f"`typical({epochs})`"
    answer = returned(typical, call, epochs.copy())
    if isnan(value := number(answer)):
        raise Mistake(f"{call} gives nan, as inf - inf does. A median need not subtract.")
    return value


def compare(epochs: list[float], answer: float) -> None:
    """Raise a Mistake unless the answer is a median: of an even number, anything in the middle."""
    call = f"`typical({epochs})` gives {answer:g}"
    low, high = median_low(epochs), median_high(epochs)
    if low == inf > answer:
        raise Mistake(f"{call}, although most of these runs failed. It should be inf.")
    if not low <= answer <= high:
        raise Mistake(f"{call}; {median(epochs):g} would be right.")


q3 = Question(
    judge=judge_typical,
    right="A failed run is late, no matter how late: that is all the median needs to know.",
    hints=[
        "The function forgets somebody. What does it say of a batch size of which one lucky run "
        "takes 2 epochs and seven fail?",
        "A run that failed takes longer than all that did not. Nobody knows how much longer, "
        "so look for an average that does not ask.",
        "Sort the runs, failed ones last, and look at the one in the middle.",
    ],
    answer="""Dropping the runs that fail rewards a batch size for failing; the last epoch in
their stead makes them look as if they had succeeded. The median needs only their place in the
order, and that is known: they are last.
```python
from statistics import median

def typical(epochs):
    return median(epochs)  # inf where more than half of the runs failed
```""",
)

LARGE, RATE = 256, 0.1
PER_EPOCH, WANTED = 6, EPOCHS * 90  # updates, at B = 256 and at B = 16
UNROUNDED = EPOCHS * 1_437 / 16
LENGTHS = ("max_epochs", "max_steps")
NOT_EQUAL: dict[tuple[str, float], str] = {
    ("max_epochs", 25): "That is the run you have: equal epochs, and 150 updates against 2,250.",
    ("max_steps", 150): "That is the run you have: 25 epochs of 6 updates, against 2,250 updates.",
    ("max_steps", 140): "That is the run you have, with as many samples as B = 16 saw. Equal "
    "samples are equal epochs, and few updates.",
    ("max_epochs", 400): "25 x 16 = 400 goes by the ratio of the batch sizes, but the last batch "
    "of an epoch is an update, however small: 90 an epoch at B = 16, 6 at B = 256. In 400 epochs "
    "B = 256 would make 2,400 updates, 150 more than B = 16.",
    ("max_epochs", 2_250): "2,250 is right, but in updates: hand it in as `max_steps`. 2,250 "
    "epochs would be 13,500 updates.",
    ("max_steps", 375): "375 is right, but in epochs: hand it in as `max_epochs`.",
    ("max_steps", 400): "400 updates are still far from the 2,250 of B = 16.",
    ("max_steps", UNROUNDED): "25 x 1,437 / 16 is not a whole number: the last 13 images of each "
    "epoch are a batch as well. Round up first, then multiply by the epochs.",
}


def judge_control(arguments: object) -> None:
    if not isinstance(arguments, dict):
        raise Mistake('Hand in a dictionary: `{"batch_size": ..., "lr": ..., "max_epochs": ...}`.')
    if others := set(arguments) - {"batch_size", "lr", *LENGTHS}:
        raise Mistake(
            f"Leave `{min(map(str, others))}` as it was: what else changes may explain it."
        )
    size, lr = number(arguments.get("batch_size", LARGE)), number(arguments.get("lr", RATE))
    if size == 16:
        raise Mistake("B = 16 has made its 2,250 updates. It is B = 256 that has made few.")
    if size != LARGE:
        raise Mistake("The claim is about batches of 256. Let them have another chance.")
    if lr != RATE:
        raise Mistake(
            "With another rate two things change at once: if B = 256 catches up, was it the rate, "
            "or the number of updates? (The rate is a good question, too, but a second one.)"
        )
    given = [name for name in LENGTHS if name in arguments]
    if len(given) != 1:
        raise Mistake("Say how long to train: `max_epochs` or `max_steps`, one of the two.")
    judge_length(given[0], number(arguments[given[0]]))


def judge_length(name: str, length: float) -> None:
    if (name, length) in NOT_EQUAL:
        raise Mistake(NOT_EQUAL[name, length])
    if length % 1 != 0:
        raise Mistake(f"`{name}={length:g}` is not a whole number.")
    updates = length * PER_EPOCH if name == "max_epochs" else length
    made = f"This run makes {updates:,.0f} updates, "
    if updates < WANTED:
        raise Mistake(f"{made}B = 16 made more. If it is worse again, it may still be for that.")
    if updates > 1.01 * WANTED:
        raise Mistake(f"{made}more than B = 16. To be fair, give both equally many.")


q4 = Question(
    judge=judge_control,
    right="Both have made 2,250 updates now. If B = 256 has caught up, it was short of updates; if "
    "not, something else is the matter. Try it: it takes a few seconds.",
    hints=[
        "A control changes the suspect and nothing else. Who is the suspect?",
        "How many updates does B = 16 make in 25 epochs of 1,437 images? Count the last, smaller "
        "batches as well.",
        "90 updates an epoch, 2,250 in all. Batches of 256 make 6 an epoch.",
    ],
    answer="""Same batch size, same rate, as many updates as B = 16 made: 25 x 90 = 2,250, which
are 2,250 / 6 = **375** epochs.
```python
{"batch_size": 256, "lr": 0.1, "max_epochs": 375}  # or "max_steps": 2_250
```
With 8 seeds and a split for each we got 96 % after 2,250 updates: nearly all of the gap was a
matter of too few updates. There is a look that costs nothing, too: the *training* accuracy of
B = 256 after 25 epochs is no better than the held-out one. A network that has not yet learnt its
training images does not generalize badly; it is not trained.""",
)

TARGET = 0.90


def judge_prediction(predicted: object, run: object) -> None:
    guess, history = number(predicted), repeated_run(run)
    if not 0 < guess < inf:
        raise Mistake(f"{guess:g} is not a number of updates. What does the law say?")
    first = reached(history, val_accuracy=TARGET, interpolate=True)
    epochs, updates, samples = first[["epoch", "step", "examples"]].median()
    if updates == inf:
        raise Mistake(
            f"{too_late(history, TARGET)} Without more than half of them there is no median to "
            "compare with. Give the run more epochs."
        )
    if epochs < 1:
        raise Mistake(
            "The median seed gets there within the first epoch, before anything was measured. "
            "Take larger batches or a smaller rate, in all three runs."
        )
    if near(guess, updates):
        return
    if near(guess, epochs):
        raise Mistake(f"You predicted epochs. Predict updates: it took {updates:.0f}.")
    if near(guess, samples):
        raise Mistake(f"You predicted samples. Predict updates: it took {updates:.0f}.")
    raise Mistake(
        f"You predicted {guess:.0f} updates, it took {updates:.0f}. {advice(guess, updates)}"
    )


def advice(guess: float, updates: float) -> str:
    """Where a prediction may have gone wrong."""
    if guess > updates:
        return (
            "Did you draw a straight line between the two batch sizes? S = S_min + E_min / B is "
            "straight in 1 / B: most of the updates are saved at the small end."
        )
    return (
        "Did all three runs have the same rate, and did the smaller batch take more than one "
        "epoch? If they did, you have found a network for which the law is rough."
    )


q5 = Question(
    judge=judge_prediction,
    right="Two runs told you what the third would do, on a network that nobody had tried.",
    hints=[
        "Two runs, two equations: S = S_min + E_min / B at the smaller and at the larger size.",
        "E_min = (S_small - S_large) / (1 / B_small - 1 / B_large), and S_min = S_large - E_min / "
        "B_large.",
        "If you are short of ideas: `partial(MLP, hidden=(16, 16))` at the rate 0.1, with batches "
        "of 8, of 128, and then of 32.",
    ],
    answer="""For example, two narrow layers:
```python
network = partial(MLP, hidden=(16, 16))

def train(batch_size, epochs):
    options = {"lr": 0.1, "seeds": 8, "max_epochs": epochs, "stop_at": {"val_accuracy": 0.9}}
    return fit(network, Digits(split="seed"), batch_size=batch_size, **options)

def updates(run):
    return reached(run.history, val_accuracy=0.9, interpolate=True)["step"].median()

small, large = updates(train(8, 10)), updates(train(128, 60))
e_min = (small - large) / (1 / 8 - 1 / 128)
s_min = large - e_min / 128
predicted = s_min + e_min / 32
run = train(32, 20)
```
A straight line in B instead of 1 / B would predict far too many.""",
)
