"""Exercises of lesson 2: full batch, SGD, mini-batch.

q1. On paper: at batch size 25 the standard deviation of a mini-batch gradient is 0.8. What is it
    at batch size 400 (drawn with replacement)? `check(0.2)`
q2. On paper: of 10 samples, batches of 9 are drawn with replacement; their gradient has the
    standard deviation 2. What is it when they are drawn without replacement? Two decimals will
    do. `check(std)`
q3. On paper: a run with batch size 50 and learning rate 0.1 uses the mean of the losses. Now it
    uses their sum (`reduction="sum"`). Which learning rate gives the same steps? `check(lr)`
q4. Rprop with mini-batches of 32 and learning rate 0.001 does not bring every seed to 90 %
    held-out accuracy within 10 epochs. Change one line of the run so that all of them, 8 or more,
    get there, with batches no larger than 32. `check(run)`
q5. On paper: a layer of 64 inputs and 32 ReLU units in float32 has 8,320 bytes of weights and
    biases, and stores 128 bytes of activations for one sample. How many bytes of each are there
    at batch size 100? `check((weights, activations))`
"""

import pandas as pd

from course_lib.exercises.judges import numeric, repeated_run, too_late
from course_lib.exercises.question import Mistake, Question

q1 = Question(
    judge=numeric(
        0.2,
        mistakes={
            0.05: "You divided by 16. The variance falls by the factor 16; the standard "
            "deviation is its square root.",
            3.2: "You multiplied by 4. A larger batch has less noise.",
            12.8: "You multiplied by 16. A larger batch has less noise.",
            0.8: "A mean over more samples is less noisy; 0.8 is the value at 25.",
        },
        otherwise="The standard deviation falls as one over the square root of the batch size.",
        tolerance=1e-6,
    ),
    right="16 times the samples, a quarter of the noise.",
    hints=[
        "How many times larger is the batch?",
        "The variance of a mean of B independent samples falls as 1/B.",
        "The standard deviation is the square root of the variance: it falls by sqrt(16).",
    ],
    answer="The batch is 16 times as large, so the standard deviation falls by $\\sqrt{16} = 4$: "
    "0.8 / 4 = **0.2**. Halving the noise costs four times the samples.",
)

q2 = Question(
    judge=numeric(
        2 / 3,
        mistakes={
            2: "2 is the value with replacement. Nine different samples of ten say more.",
            0: "It would be 0 with all ten samples in the batch. Here one is missing.",
            2 / 9: "(N - B) / (N - 1) is the factor of the variance. Take its square root.",
            2 * 0.1**0.5: "The factor has N - 1 below the line, not N.",
            0.2: "You took (N - B) / N. Below the line stands N - 1, and a square root is missing.",
        },
        otherwise="Multiply by the factor sqrt((N - B) / (N - 1)), with N = 10 and B = 9.",
        tolerance=0.005,
    ),
    right="Nine of ten samples without repetition: a third of the noise that repetition leaves.",
    hints=[
        "Without replacement there is a factor that is 1 at B = 1 and 0 at B = N.",
        "The factor is sqrt((N - B) / (N - 1)).",
        "N = 10 and B = 9: the root of 1/9.",
    ],
    answer="$2\\sqrt{(10 - 9) / (10 - 1)} = 2 / 3 \\approx$ **0.67**.",
)

q3 = Question(
    judge=numeric(
        0.002,
        mistakes={
            5: "You multiplied by 50: then each step would be 2,500 times too long.",
            0.1: "The same learning rate would make each step 50 times as long.",
            0.1 / 50**0.5: "The sum is 50 times the mean, exactly; no square root comes in.",
        },
        otherwise="How many times larger than the mean's gradient is the sum's gradient?",
        tolerance=1e-6,
    ),
    right="The gradient is 50 times as long, so the learning rate must be 50 times smaller.",
    hints=[
        "The sum of 50 losses is 50 times their mean, and so is its gradient.",
        "A step is learning rate x gradient. It shall stay the same.",
    ],
    answer="The gradient of the sum is 50 times that of the mean; 0.1 / 50 = **0.002** keeps "
    "learning rate x gradient as it was. With another batch size it is another number.",
)

TARGET, LARGEST, EPOCHS = 0.90, 32, 10


def judge_small_batches(run: object) -> None:
    history = repeated_run(run, largest=LARGEST)
    if late := too_late(history, TARGET, within=EPOCHS):
        raise Mistake(f"{late} {advice(history)}")


def advice(history: pd.DataFrame) -> str:
    """What to change, by the training loss (median over seeds)."""
    if history.groupby("epoch")["train_loss"].median().is_monotonic_decreasing:
        return (
            "The training loss fell in every epoch: a larger learning rate gets further in as "
            "many epochs."
        )
    return (
        "The training loss did not fall in every epoch: the steps are too long, or the optimizer "
        "goes by signs that a mini-batch often gets wrong, as Rprop does at any learning rate."
    )


q4 = Question(
    judge=judge_small_batches,
    right="Every seed has arrived, and on mini-batches.",
    hints=[
        "Rprop looks at the sign of each gradient and at its changes. On mini-batches the sign "
        "changes by chance.",
        "RMSprop divides by a running average of the gradient's size instead. It is "
        "`torch.optim.RMSprop`.",
        "The learning rate 0.001 will do for RMSprop.",
    ],
    answer="""One line is another:
```python
run = fit(network, data, batch_size=32, optimizer=torch.optim.RMSprop, lr=0.001, max_epochs=10)
```
It is not the only way: plain SGD with a suitable learning rate arrives as well.""",
)

q5 = Question(
    judge=numeric(
        (8_320, 12_800),
        mistakes={
            (832_000, 12_800): "There is one set of weights, however many samples use it.",
            (8_320, 128): "Each sample has activations of its own, and all wait for the backward "
            "pass.",
            (832_000, 128): "It is the other way round: weights are shared, activations are not.",
            (8_320, 3_200): "3,200 numbers are right. Each takes 4 bytes in float32.",
            (8_320, 1.28): "You divided by 100. More samples need more memory.",
        },
        otherwise="Which of the two depends on the samples that pass through the layer?",
    ),
    right="Activations grow with the batch; weights do not.",
    hints=[
        "Which of the two is different for each sample?",
        "All samples of a batch pass through the same weights.",
        "Activations are kept for each sample until the backward pass: 100 x 128 bytes.",
    ],
    answer="Weights and biases: (64 + 1) x 32 numbers of 4 bytes = **8,320** bytes at any batch "
    "size. Activations: 100 x 32 numbers of 4 bytes = **12,800** bytes.",
)
