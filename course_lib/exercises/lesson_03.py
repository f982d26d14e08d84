"""Exercises of lesson 3: the batch-size trade-off.

q1. On paper: seven runs had 30 epochs each. Five reached the target, after 12, 15, 18, 20 and 14
    epochs; two never did. What is the median number of epochs to the target? `check(median)`
q2. On paper: one update takes 2 ms plus 0.05 ms for each sample of the batch. How many seconds
    does an epoch over 60,000 images take at batch size 10, and at batch size 1,000?
    `check((at_10, at_1000))`
q3. On paper: B = 8 needs 3 epochs of 60 seconds each, B = 64 needs 5 epochs of 15 seconds, and
    B = 1,024 needs 20 epochs of 6 seconds. Which one reaches the target first, and after how
    many seconds? `check((batch_size, seconds))`
q4. On paper: four runs of A needed 4, 5, 6 and 7 epochs, four runs of B 6, 7, 8 and 9. Somebody
    has one run of each, drawn at random. With which probability is A's run not the earlier one?
    `check(share)`
q5. Batches of 256 at the learning rate 0.1 do not bring a single seed to 90 % held-out accuracy
    within 25 epochs. Change one number of the run, not the batch size, so that all seeds, 8 or
    more, get there in as many epochs. `check(run)`
"""

import pandas as pd

from course_lib.exercises.judges import numeric, repeated_run, too_late
from course_lib.exercises.question import Mistake, Question

q1 = Question(
    judge=numeric(
        18,
        mistakes={
            15: "15 is the median of the runs that arrived. The other two ran as well, and they "
            "need more than 30.",
            14: "You counted the two that never arrived as the fastest of all.",
            20: "20 stands in the middle of the list as it is written. Sort it first.",
            15.8: "15.8 is the mean of the runs that arrived. Two runs are missing, and a median "
            "is asked for.",
            139 / 7: "That is a mean with 30 for the two that never arrived. They need more than "
            "30, nobody knows how much more; the median does not ask.",
            float("inf"): "A mean would be infinite. The median is finite as long as more than "
            "half of the runs arrive.",
        },
        otherwise="Sort all seven, with the two that never arrived at the end.",
        tolerance=0.01,
    ),
    right="Where the two would have arrived does not matter: the fourth of seven is the same.",
    hints=[
        "The median of seven runs is the fourth one, from the earliest to the latest.",
        "A run that never arrived is later than every run that did.",
        "Sorted: 12, 14, 15, 18, 20, never, never.",
    ],
    answer="Sorted, with the censored runs last: 12, 14, 15, **18**, 20, never, never. The fourth "
    "of seven is 18.",
)

q2 = Question(
    judge=numeric(
        (15, 3.12),
        mistakes={
            (2.5, 52): "That is one update in milliseconds. How many updates has an epoch?",
            (15_000, 3_120): "Those are milliseconds. The question asks for seconds.",
            (150, 3_120): "You counted an update for each image. There is one for each batch.",
            (12, 0.12): "That is the fixed part, 2 ms an update. The samples take time, too.",
            (3, 3): "That is what the samples take. The 2 ms of each update are missing.",
            (3.12, 15): "The two numbers are right, in the wrong order: first B = 10.",
        },
        otherwise="An epoch takes (number of updates) x (time of one update).",
        tolerance=1e-6,
    ),
    right="A hundred times the batch, a fifth of the time. It can never be less than 3 s.",
    hints=[
        "How many updates does an epoch have at each batch size?",
        "One update takes 2 + 0.05 B milliseconds: 2.5 ms at B = 10.",
        "6,000 updates of 2.5 ms, and 60 updates of 52 ms.",
    ],
    answer="B = 10: 6,000 x 2.5 ms = **15 s**. B = 1,000: 60 x 52 ms = **3.12 s**. The samples "
    "alone take 60,000 x 0.05 ms = 3 s; that is where the gain ends.",
)

q3 = Question(
    judge=numeric(
        (64, 75),
        mistakes={
            (8, 180): "It needs the fewest epochs, but each of them takes a minute.",
            (1_024, 120): "Its epochs are the shortest, but it needs 20 of them.",
            (64, 15): "The batch size is right. 15 s is one epoch; it needs 5.",
            (1_024, 6): "6 s is one epoch of 20.",
            (8, 60): "60 s is one epoch of 3.",
            (75, 64): "The two numbers are right, in the wrong order: first the batch size.",
        },
        otherwise="Multiply epochs by seconds per epoch, for each batch size; then compare.",
    ),
    right="Neither the fewest epochs nor the shortest ones win, but their product.",
    hints=[
        "Time to target = epochs to target x seconds per epoch.",
        "B = 8: 3 x 60 = 180 s. Now the other two.",
    ],
    answer="3 x 60 = 180 s, 5 x 15 = 75 s, 20 x 6 = 120 s: **B = 64** is first, after **75 s**.",
)

q4 = Question(
    judge=numeric(
        3 / 16,
        mistakes={
            0: "The best against the best, the second against the second ...: those are only 4 of "
            "the 16 pairs that can be drawn.",
            1 / 16: "You left out the pairs with equal numbers. There A's run is not the earlier "
            "one either.",
            13 / 16: "That is the probability that A's run is the earlier one.",
            3: "3 pairs is right. Out of how many?",
            0.5: "At least one of A's runs overlaps with B's. Now count the pairs.",
        },
        otherwise="Count the pairs, of all 4 x 4, in which A needs at least as many epochs as B.",
        tolerance=0.005,
    ),
    right="In about one experiment of five a single seed would not have shown the difference.",
    hints=[
        "There are 4 x 4 pairs, each as likely as the others.",
        "A's runs with 4 and 5 epochs are earlier than every run of B.",
        "6 meets 6; 7 meets 6 and 7.",
    ],
    answer="In three of the 16 pairs A is not earlier: 6 against 6, 7 against 6, 7 against 7. "
    "3 / 16 is about **0.19**.",
)

BATCH_SIZE, TARGET, EPOCHS = 256, 0.90, 25


def judge_large_batches(run: object) -> None:
    history = repeated_run(run, batch_size=BATCH_SIZE)
    if late := too_late(history, TARGET, within=EPOCHS):
        raise Mistake(f"{late} {advice(history)}")


def advice(history: pd.DataFrame) -> str:
    """What to change, by the training loss of each seed."""
    losses = history.pivot(index="epoch", columns="seed", values="train_loss")
    if (losses.iloc[-1] < losses.iloc[0]).all():
        return "All training losses fell, but too slowly: which number makes each step longer?"
    return "A training loss ended no lower than it began: the steps are too long."


q5 = Question(
    judge=judge_large_batches,
    right="As many epochs, as few updates; only the steps are longer.",
    hints=[
        "In batches of 256, 25 epochs are few updates. Each of them must go further.",
        "Which argument of `fit` says how far a step goes? The lesson has tuned it.",
        "Try learning rates between 0.2 and 0.5.",
    ],
    answer="""With larger batches go larger learning rates (lesson 7 says how much larger):
```python
run = fit(deep, Digits(), batch_size=256, lr=0.4, max_epochs=25)
```""",
)
