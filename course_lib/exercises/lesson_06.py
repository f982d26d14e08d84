"""Exercises of lesson 6: batch normalization.

q1. On paper: one unit has the values 2, 4, 6, 8 in a batch of four. What does normalization make
    of the 8, before gamma and beta, with epsilon 0? Two decimals will do. `check(value)`
q2. On paper: the running variance of that unit was 1. What is it after this batch, with PyTorch's
    momentum 0.1? Two decimals will do. `check(variance)`
q3. On paper: in a batch of two, one unit has the values 3 and 7. What are the two normalized
    values (epsilon 0)? `check((first, second))`
q4. On paper: 32 images with 64 channels of 8 x 8 pixels. Over how many numbers does
    `nn.BatchNorm2d(64)` take each mean, and over how many does `nn.GroupNorm(8, 64)`?
    `check((batch, group))`
q5. A run with batch normalization and batches of 2 does not bring every seed to 75 % held-out
    accuracy in 3 epochs. Change the network so that 8 seeds or more get there, with batches of 2
    and 3 epochs. `check(run)`
"""

import math

from course_lib.exercises.judges import numeric, repeated_run, too_late
from course_lib.exercises.question import Mistake, Question

q1 = Question(
    judge=numeric(
        3 / math.sqrt(5),
        mistakes={
            3 / math.sqrt(20 / 3): "You divided the sum of squares by 3. For normalizing, the "
            "batch's variance is divided by B, here 4.",
            0.6: "You divided by the variance. Divide by its square root.",
            3: "3 is the distance from the mean. It is not yet divided by anything.",
            8 / math.sqrt(5): "The mean, 5, must be subtracted first.",
            -3 / math.sqrt(5): "That is what becomes of the 2. The 8 lies above the mean.",
        },
        otherwise="Subtract the mean of the four values, divide by their standard deviation.",
        tolerance=0.005,
    ),
    right="3 above the mean, with a standard deviation of the square root of 5.",
    hints=[
        "The mean is 5. How far above it is the 8?",
        "The squared distances from the mean are 9, 1, 1, 9; the variance is their mean.",
        "The variance is 5. Divide 3 by its square root.",
    ],
    answer="Mean 5, variance (9 + 1 + 1 + 9) / 4 = 5; $(8 - 5) / \\sqrt 5 \\approx$ **1.34**.",
)

q2 = Question(
    judge=numeric(
        0.9 + 0.1 * 20 / 3,
        mistakes={
            1.4: "5 is the variance that normalizes. What is remembered is the unbiased one.",
            0.1 + 0.9 * 20 / 3: "PyTorch's momentum is the weight of the new value, not the old.",
            0.1 + 0.9 * 5: "PyTorch's momentum is the weight of the new value, not the old; and "
            "what is remembered is the unbiased variance.",
            20 / 3: "That is the variance of this batch alone. The old value counts, too.",
            1 + 0.1 * 20 / 3: "The old value gives way: it counts 0.9, not 1.",
        },
        otherwise="Take 0.9 of the old value and 0.1 of the unbiased variance of the batch.",
        tolerance=0.005,
    ),
    right="0.9 of the old value and 0.1 of the unbiased variance.",
    hints=[
        "The new running value lies one tenth of the way from the old one to the batch's.",
        "The batch's variance for this purpose is unbiased: divide by B - 1.",
        "It is 20 / 3. The old value is 1.",
    ],
    answer="The unbiased variance is (9 + 1 + 1 + 9) / 3 = 6.67; 0.9 x 1 + 0.1 x 6.67 = **1.57**.",
)

q3 = Question(
    judge=numeric(
        (-1, 1),
        mistakes={
            (1, -1): "The first value, 3, lies below the mean.",
            (-2, 2): "These are the distances from the mean; divide by the standard deviation.",
            (-0.5, 0.5): "You divided by the variance. Divide by its square root.",
            (-math.sqrt(0.5), math.sqrt(0.5)): "You divided the sum of squares by 1. The batch's "
            "variance is divided by B, here 2.",
            (0, 0): "0 would be a batch of one, or of two equal values.",
        },
        otherwise="Mean 5; both values are 2 away from it. What is the standard deviation?",
        tolerance=0.005,
    ),
    right="Any two different values become -1 and 1: of the value only a sign is left.",
    hints=[
        "The mean is 5. How far from it are the two?",
        "Both squared distances are 4, so their mean is 4.",
        "Divide -2 and 2 by the square root of 4.",
    ],
    answer="Mean 5, variance 4: **(-1, 1)**. Any other two values a < b give the same: both are "
    "(b - a) / 2 away from the mean, and that is the standard deviation as well.",
)

q4 = Question(
    judge=numeric(
        (2_048, 512),
        mistakes={
            (512, 2_048): "It is the other way round: the first number is batch normalization's.",
            (32, 512): "A channel is one unit: its mean also runs over the pixels.",
            (2_048, 64): "A group has several channels: 64 channels in 8 groups.",
            (2_048, 16_384): "Group normalization looks at one image alone.",
            (131_072, 512): "Each channel has a mean of its own.",
            (2_048, 8): "A group's mean runs over the pixels, too.",
        },
        otherwise="Which of batch, channels and pixels does each mean run over?",
    ),
    right="Batch and pixels in one case; a group's channels and pixels of one image in the other.",
    hints=[
        "`nn.BatchNorm2d` has one mean a channel, over all images and pixels.",
        "`nn.GroupNorm(8, 64)` makes groups of 64 / 8 channels, in each image by itself.",
        "32 x 8 x 8 numbers, and 8 x 8 x 8 numbers.",
    ],
    answer="Batch normalization: 32 images x 64 pixels = **2,048**. Group normalization: 8 "
    "channels x 64 pixels of one image = **512**, whatever the batch size.",
)

TARGET, BATCH, EPOCHS = 0.75, 2, 3


def judge_small_batches(run: object) -> None:
    history = repeated_run(run, batch_size=BATCH, epochs=EPOCHS)
    if late := too_late(history, TARGET):
        raise Mistake(f"{late} Which layer needs no other sample of the batch?")


q5 = Question(
    judge=judge_small_batches,
    right="Every seed has arrived, with batches of two.",
    hints=[
        "Batch normalization in a batch of two leaves each unit a sign.",
        "Layer and group normalization look at one sample alone.",
        "`nn.LayerNorm` can stand where `BatchNorm` stands.",
    ],
    answer="""Another layer in front of each ReLU:
```python
run = fit(partial(network, nn.LayerNorm, depth=2), few, **settings)
```
`partial(nn.GroupNorm, 4)` does it as well.""",
)
