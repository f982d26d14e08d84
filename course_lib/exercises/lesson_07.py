"""Exercises of lesson 7: learning rate and batch size.

q1. On paper: batches of 256 have the rate 0.1. Which rate do batches of 8,192 get by the linear
    rule, and which by the square-root rule? Two decimals will do. `check((linear, square_root))`
q2. On paper: 50,000 images, 200 epochs. The batch size is 128, from epoch 60 on 640, from 120 on
    3,200, from 160 on 16,000. How many updates are that, last partial batches included?
    `check(updates)`
q3. On paper: rate 0.1, momentum 0.9, batches of 128. With rate 0.2 and momentum 0.95, which batch
    size keeps Smith and Le's noise scale? `check(batch_size)`
q4. Batches of 256 at the rate 1/16 end 5 epochs far above the training loss 0.65. Change the rate
    so that 8 seeds or more all end below it, with batches of 256 and 5 epochs. `check(run)`
q5. On paper: the largest useful rate is 1, the noise scale 32 samples. Which rates does
    McCandlish's formula give for B = 16 and B = 512? Two decimals will do. `check((small, large))`
"""

from course_lib.exercises.judges import numeric, repeated_run
from course_lib.exercises.question import Mistake, Question

q1 = Question(
    judge=numeric(
        (3.2, 0.1 * 32**0.5),
        mistakes={
            (0.1 * 32**0.5, 3.2): "It is the other way round: the first rate is the linear rule's.",
            (3.2, 3.2): "The second rate grows only by the square root of the factor.",
            (0.1, 0.1): "That is the third answer, to leave the rate alone.",
            (0.1 / 32, 0.1 / 32**0.5): "You divided. A larger batch gets a larger rate.",
            (3.2, 0.32): "The batch grows by the factor 32. What is the square root of 32?",
            (32, 32**0.5): "These are the factors. Multiply the rate 0.1 by them.",
        },
        otherwise="By what factor does the batch grow? Multiply the rate by it, or by its root.",
        tolerance=0.005,
    ),
    right="32 times the rate, or 5.66 times. Goyal et al. took 3.2, with warm-up.",
    hints=[
        "By what factor does the batch grow?",
        "8,192 / 256 = 32.",
        "Multiply 0.1 by 32, and by the square root of 32.",
    ],
    answer="The factor is 8,192 / 256 = 32. Linear: 0.1 x 32 = **3.2**. Square root: "
    "$0.1 \\sqrt{32} \\approx$ **0.57**.",
)

q2 = Question(
    judge=numeric(
        29_000,
        mistakes={
            78_200: "That is the whole training with batches of 128, as with a falling rate.",
            28_800: "You rounded down: the last partial batch of an epoch is an update, too.",
            28_876: "You rounded once for each part; every epoch has a last batch of its own.",
        },
        otherwise="Count each part by itself: its epochs, times the updates of one epoch.",
    ),
    right="With a falling rate they would be 78,200: nearly three times as many.",
    hints=[
        "Four parts, of 60, 60, 40 and 40 epochs. How many updates has one epoch of each?",
        "50,000 / 128, 50,000 / 640, 50,000 / 3,200 and 50,000 / 16,000, rounded up.",
        "60 x 391 + 60 x 79 + 40 x 16 + 40 x 4.",
    ],
    answer="Updates an epoch: 391, 79, 16, 4. In all 60 x 391 + 60 x 79 + 40 x 16 + 40 x 4 = "
    "**29,000**, where the falling rate needs 200 x 391 = 78,200.",
)

q3 = Question(
    judge=numeric(
        512,
        mistakes={
            256: "Rate or momentum, you took account of one. Both double the noise scale.",
            128: "At the old batch size the noise scale grows: rate and momentum both raise it.",
            32: "A larger noise scale is made up for by a larger batch, not by a smaller one.",
            128 * 2 * 0.95 / 0.9: "Momentum m stands in the formula as 1 - m.",
            64: "You took a larger momentum to lower the noise scale. 1 - m stands below the line.",
        },
        otherwise="Write down rate / (B (1 - momentum)) before and after, and set them equal.",
        tolerance=0.5,
    ),
    right="Twice for the rate, twice for the momentum.",
    hints=[
        "N stays, so rate / (B (1 - m)) must stay.",
        "By what factor does the rate grow, and by what factor does 1 - m fall?",
        "Both are 2.",
    ],
    answer="0.1 / (128 x 0.1) = 0.2 / (B x 0.05), so B = 128 x 2 x 2 = **512**.",
)

TARGET, BATCH, EPOCHS = 0.65, 256, 5
NOTHING_LEARNT = 2.0  # ten classes, no idea: log(10) = 2.3


def judge_rate(run: object) -> None:
    history = repeated_run(run, batch_size=BATCH, epochs=EPOCHS)
    losses = history.loc[history["epoch"] == EPOCHS, "train_loss"]
    if not losses.median() < NOTHING_LEARNT:
        raise Mistake(
            f"The median loss is {losses.median():.2f}: nothing was learnt. The rate is beyond the "
            "limit, or much too small."
        )
    below, seeds = (losses < TARGET).sum(), history["seed"].nunique()
    if below < seeds:
        raise Mistake(f"{below} of {seeds} seeds ended below {TARGET}. Look at the row of B = 256.")


q4 = Question(
    judge=judge_rate,
    right="From 1/16 up, in proportion to B, but not beyond the limit.",
    hints=[
        "At the ratio 1/32, which was best for B = 4, the rate would be 8. Is that possible?",
        "Look at the column of 256 in the grid: which rates are best?",
        "Try 1/2.",
    ],
    answer="""The largest rate that is safely below the limit:
```python
run = fit(network, images, batch_size=256, lr=unit / 2, max_epochs=5)
```
At 1/4 five epochs are too few updates, at 1 some seeds fall behind, at 2 all fail.""",
)

q5 = Question(
    judge=numeric(
        (1 / 3, 16 / 17),
        mistakes={
            (16 / 17, 1 / 3): "It is the other way round: the small batch gets the small rate.",
            (0.5, 16): "That is linear scaling, B / 32. The formula ends at the largest rate.",
            (0.5, 1): "That is linear scaling with a limit. The formula bends gently.",
            (2 / 3, 1 / 17): "You took B over the noise scale: it is the noise scale over B.",
            (1, 1): "That is the largest rate. Divide it by 1 + noise scale / B.",
        },
        otherwise="Divide the largest rate, 1, by 1 + 32 / B.",
        tolerance=0.005,
    ),
    right="32 times the batch, and less than three times the rate: the noise scale lies between.",
    hints=[
        "The formula is largest / (1 + noise scale / B).",
        "For B = 16 the noise scale is twice B.",
        "1 / (1 + 2), and 1 / (1 + 1/16).",
    ],
    answer="1 / (1 + 32/16) = **0.33** and 1 / (1 + 32/512) = **0.94**.",
)
