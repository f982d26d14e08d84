"""Exercises of lesson 4: sharp and flat minima.

q1. On paper: a flat minimum has curvature 0.5, a sharp one 8; the test loss is the training loss
    shifted by 0.3. How much higher is the test loss at each? `check((flat, sharp))`
q2. On paper: the training loss is 0.25; in the box it can rise to 0.5. What is Keskar's
    sharpness, in percent? `check(20)`
q3. Change the learning rate for batch size 20 so that its solutions are as flat as those of batch
    size 5 at the rate of the lesson: median top eigenvalue within a quarter, 8 or more seeds.
    `check(eigenvalues, eigenvalues_of_5)`
q4. On paper: the hidden layer is divided by 10 and the next one's weights are multiplied by 10. A
    weight of the hidden layer had the second derivative 0.02. What has it now, and by what
    factor do the outputs change? `check((derivative, factor))`
"""

import numpy as np
from numpy.typing import ArrayLike

from course_lib.claims import MIN_SEEDS
from course_lib.exercises.judges import numeric
from course_lib.exercises.question import Mistake, Question

q1 = Question(
    judge=numeric(
        (0.0225, 0.36),
        mistakes={
            (0.36, 0.0225): "The right numbers in the wrong order: first the flat minimum.",
            (0.045, 0.72): "You took h s². A parabola of curvature h is h w² / 2.",
            (0.15, 2.4): "You took h s, which is the slope there. The rise is h s² / 2.",
            (0.075, 1.2): "The shift comes in squared: 0.3² = 0.09.",
        },
        otherwise="Near the minimum the loss is h w² / 2. Put in w = s, once for each curvature.",
        tolerance=1e-6,
    ),
    right="16 times the curvature, 16 times the loss on new data.",
    hints=[
        "At the training minimum, the test loss's minimum is 0.3 away.",
        "A loss of curvature h rises by h s² / 2 over the distance s.",
        "The flat one: 0.5 x 0.3² / 2.",
    ],
    answer="0.5 x 0.09 / 2 = **0.0225** and 8 x 0.09 / 2 = **0.36**.",
)

q2 = Question(
    judge=numeric(
        20,
        mistakes={
            25: "0.25 is the rise. It is divided by 1 + the loss at the minimum.",
            100: "You divided by the loss. Keskar divides by 1 + the loss, so that a loss near "
            "zero does no harm.",
            0.2: "0.2 is right as a share. In percent it is 100 times as much.",
            100 / 6: "You divided by 1 + the highest loss. It is 1 + the loss at the minimum.",
            40: "You took the highest loss itself. It is the rise that counts.",
        },
        otherwise="The formula is 100 x (highest loss - loss) / (1 + loss).",
        tolerance=0.005,
    ),
    right="The loss can rise by 0.25, which is 20 % of 1.25.",
    hints=[
        "By how much can the loss rise?",
        "Divide the rise by 1 + the loss at the minimum, and take it in percent.",
    ],
    answer="100 x (0.5 - 0.25) / (1 + 0.25) = **20** percent.",
)

ALIKE = 1.25  # medians within this factor count as equally flat


def judge_as_flat(eigenvalues: ArrayLike, eigenvalues_of_5: ArrayLike) -> None:
    mine, others = (_numbers(values) for values in (eigenvalues, eigenvalues_of_5))
    if len(mine) < MIN_SEEDS:
        raise Mistake(
            f"These are {len(mine)} eigenvalues. Show it for {MIN_SEEDS} or more seeds; a seed is "
            "missing where training did not get below the target loss."
        )
    factor = np.median(mine) / np.median(others)
    if factor > ALIKE:
        raise Mistake(
            f"Your solutions are {factor:.2g} times as sharp. More noise makes them flatter: which "
            "way must the learning rate go?"
        )
    if factor < 1 / ALIKE:
        raise Mistake(
            f"Your solutions are flatter than wanted, {factor:.2g} times as sharp. A smaller "
            "learning rate makes less noise."
        )


def _numbers(answer: ArrayLike) -> np.ndarray:
    values = np.asarray(answer)
    if values.ndim != 1 or values.dtype.kind not in "iuf" or not values.size:
        raise Mistake("Hand in two lists of eigenvalues, one number for each seed.")
    return values


q3 = Question(
    judge=judge_as_flat,
    right="Another batch size, and as flat: it is the ratio that counts.",
    hints=[
        "Flatness follows learning rate / batch size.",
        "Batch size 20 is four times 5. What keeps the ratio?",
        "Four times the learning rate.",
    ],
    answer="""Equal ratio, so four times the rate for four times the batch:
```python
lr = 4 * rate
_, networks = solutions(20, lr)
eigenvalues = [top_eigenvalue(net, training(seed)) for seed, net in networks.items()]
```""",
)

q4 = Question(
    judge=numeric(
        (2, 1),
        mistakes={
            (0.2, 1): "A second derivative divides by the scale twice: the factor is 10², not 10.",
            (0.0002, 1): "The other way round: a step of the same length now means ten times as "
            "much to the smaller weight.",
            (0.002, 1): "The other way round, and squared: the smaller weight has become more "
            "sensitive.",
            (2, 10): "The second derivative is right. But one layer's 10 undoes the other's 1/10.",
            (0.02, 1): "The outputs stay as they are, but the weight has become ten times smaller: "
            "a step of the same length is ten times more of it.",
        },
        otherwise="The network's function stays. The weight v = w / 10: write the loss as L(10 v).",
        tolerance=1e-9,
    ),
    right="The same function, a hundred times the curvature.",
    hints=[
        "Does a positive factor pass through ReLU?",
        "The new weight is v = w / 10, so the loss is L(10 v).",
        "Differentiate L(10 v) twice by v.",
    ],
    answer="The outputs stay: factor **1**. With v = w / 10 the loss is L(10 v), whose second "
    "derivative is 10² L'' = 100 x 0.02 = **2**.",
)
