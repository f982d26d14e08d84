"""Exercises of lesson 5: momentum.

q1. On paper: Goyal et al. (2017) train ResNet-50 in batches of 256 with learning rate 0.1 and
    momentum 0.9. Which learning rate goes with momentum 0.95, at the same effective rate?
    `check(lr)`
q2. On paper: the largest curvature of a loss is 20. Which learning rate is the largest stable one
    at momentum 0.9? `check(lr)`
q3. On paper: a run has batch size 256, learning rate 0.1 and momentum 0.9. Which learning rate
    has the same stationary noise at batch size 64 and momentum 0.5? `check(lr)`
q4. Write `displacement(gradients, lr, momentum)`, how far PyTorch's heavy ball has moved a weight
    after these gradients. `check(displacement)`
q5. At momentum 0.9 and step 0.01 the ball stays in front of the hill. Change the momentum, and
    nothing else, so that it lies within 0.1 of the lowest point after 1,000 steps. `check(path)`
"""

import numpy as np
import pandas as pd

from course_lib.exercises.judges import number, numeric
from course_lib.exercises.question import Mistake, Question, require_answer

q1 = Question(
    judge=numeric(
        0.05,
        mistakes={
            0.1: "At the same learning rate each gradient would now count 20 times instead of 10.",
            0.2: "It is the other way round: more momentum, a longer memory, a smaller rate.",
            1: "1 is the effective rate. Which learning rate has it at momentum 0.95?",
            2: "2 is the effective rate of 0.1 at momentum 0.95. It should be 1, as at 0.9.",
            0.1 * 0.95 / 0.9: "The effective rate is lr / (1 - momentum), not lr x momentum.",
        },
        otherwise="Effective rate = lr / (1 - momentum): it must be 0.1 / 0.1 = 1 again.",
        tolerance=1e-6,
    ),
    right="0.1 / 0.1 = 0.05 / 0.05 = 1. The batch size does not come in.",
    hints=[
        "A gradient counts 1 + beta + beta² + ... = 1 / (1 - beta) times in all.",
        "The effective rate is 0.1 / (1 - 0.9) = 1.",
        "lr / (1 - 0.95) = 1.",
    ],
    answer="The effective rate is 0.1 / (1 - 0.9) = 1. At momentum 0.95 that takes "
    "lr = 1 x (1 - 0.95) = **0.05**.",
)

q2 = Question(
    judge=numeric(
        0.19,
        mistakes={
            0.1: "2 / 20 is the limit without momentum.",
            3.8: "3.8 is the limit of learning rate x curvature. Divide by the curvature.",
            0.01: "You kept the effective rate at 2 / 20. But against swinging, momentum is a "
            "help: it pulls against each turn.",
            0.095: "The limit is 2 (1 + beta), not 1 + beta.",
            1: "You divided by 1 - beta. The limit has 1 + beta.",
        },
        otherwise="Stable is learning rate x curvature < 2 (1 + momentum).",
        tolerance=1e-6,
    ),
    right="Nearly twice the limit without momentum.",
    hints=[
        "Look at the map: where does it end at momentum 0.9?",
        "Learning rate x curvature < 2 (1 + momentum).",
        "lr x 20 < 3.8.",
    ],
    answer="2 (1 + 0.9) / 20 = 3.8 / 20 = **0.19**.",
)

q3 = Question(
    judge=numeric(
        0.125,
        mistakes={
            0.025: "That is for the batch alone. The momentum changes, too.",
            0.5: "That is for the momentum alone. The batch changes, too.",
            0.005: "Less momentum makes less noise: the learning rate may be larger, not smaller.",
            2: "A smaller batch makes more noise: its learning rate must be smaller.",
            0.1: "Then the noise would change by the factor (256 x 0.1) / (64 x 0.5) = 0.8.",
        },
        otherwise="Keep lr / (B (1 - beta)) as it is: 0.1 / (256 x 0.1).",
        tolerance=1e-6,
    ),
    right="0.1 / (256 x 0.1) = 0.125 / (64 x 0.5).",
    hints=[
        "Which combination of learning rate, batch size and momentum sets the noise?",
        "lr / (B (1 - beta)) shall stay the same.",
        "0.1 / (256 x 0.1) = lr / (64 x 0.5).",
    ],
    answer="lr = 0.1 x (64 x 0.5) / (256 x 0.1) = 0.1 x 32 / 25.6 = **0.125**.",
)


def moved(gradients: np.ndarray, lr: float, momentum: float) -> float:
    """Displacement of PyTorch's heavy ball: -lr Σ_i g_i (1 - beta^(t - i)) / (1 - beta)."""
    ages = np.arange(len(gradients), 0, -1)
    return -lr * float(np.sum(gradients * (1 - momentum**ages) / (1 - momentum)))


def last_step(gradients: np.ndarray, lr: float, momentum: float) -> float:
    """The last update alone: -lr Σ_i beta^(t - i - 1) g_i."""
    return -lr * float(np.sum(gradients * momentum ** np.arange(len(gradients))[::-1]))


CASES = [
    (np.array(gradients), lr, momentum)
    for gradients in ([1.0], [1.0, 0.0, 0.0], [2.0, -1.0, 0.5, 3.0])
    for lr in (0.1, 0.5)
    for momentum in (0.0, 0.5, 0.9)
]
WRONG_RULES = {
    "It goes uphill: a step is taken against the gradient.": lambda *case: -moved(*case),
    "That is the last update alone. Add up all of them.": last_step,
    "That is plain descent: a gradient must go on working after its own step.": (
        lambda gradients, lr, momentum: -lr * gradients.sum()
    ),
    "That is the averaged form. PyTorch does not multiply the gradient by 1 - momentum.": (
        lambda gradients, lr, momentum: moved(gradients, lr * (1 - momentum), momentum)
    ),
    "You gave each gradient its whole 1 / (1 - momentum). The young ones still have work to do.": (
        lambda gradients, lr, momentum: -lr * gradients.sum() / (1 - momentum)
    ),
}


def judge_displacement(displacement: object) -> None:
    if not callable(displacement):
        raise Mistake("Hand in the function itself, `check(displacement)`.")
    returned = [displacement(gradients.copy(), lr, beta) for gradients, lr, beta in CASES]
    require_answer(returned)
    answers = np.array([number(value) for value in returned])
    for message, rule in WRONG_RULES.items():
        if np.allclose(answers, [rule(*case) for case in CASES], atol=1e-6):
            raise Mistake(message)
    expected = np.array([moved(*case) for case in CASES])
    if (wrong := ~np.isclose(answers, expected, atol=1e-6)).any():
        case = int(wrong.argmax())
        gradients, lr, beta = CASES[case]
        raise Mistake(
            f"`displacement({gradients.tolist()}, {lr}, {beta})` gives {answers[case]:.4g}; "
            f"{expected[case]:.4g} would be right."
        )


q4 = Question(
    judge=judge_displacement,
    right="It agrees with the heavy ball in every case.",
    hints=[
        "Walk through it: `velocity = momentum * velocity + gradient`, then move by "
        "`-lr * velocity`.",
        "Start with `velocity = moved = 0`, and go through the gradients in a loop.",
        "In each round `moved -= lr * velocity`, after the velocity has taken in the gradient.",
    ],
    answer="""A loop will do, and so will the sum of the lesson:
```python
def displacement(gradients, lr, momentum):
    velocity = moved = 0
    for gradient in gradients:
        velocity = momentum * velocity + gradient
        moved -= lr * velocity
    return moved
```""",
)

START, STEP, STEPS, NEAR = (-4.5, 1.0), 0.01, 1_000, 0.1
FIRST_SLOPE = START[0] / 2  # the bump is not felt there


def judge_crossing(path: object) -> None:
    if not isinstance(path, pd.DataFrame) or not {"step", "x", "y"} <= set(path):
        raise Mistake(f"Hand in what `descend` returned, not a value of type `{kind(path)}`.")
    points = path.sort_values("step")[["x", "y"]].to_numpy()
    if len(points) != STEPS + 1 or not np.allclose(points[0], START):
        raise Mistake(f"Let one ball go {STEPS:,} steps from {START}.")
    if not np.isclose(points[0, 0] - points[1, 0], STEP * FIRST_SLOPE, rtol=0.01):
        raise Mistake(f"The first step is not that of `lr={STEP}` on the bump. Leave both alone.")
    if not np.isfinite(points).all() or np.hypot(*points[-1]) > NEAR:
        raise Mistake(where(points))


def kind(answer: object) -> str:
    return type(answer).__name__


def where(points: np.ndarray) -> str:
    """What has become of a ball that is not at the lowest point."""
    x = points[-1, 0]
    if points[:, 0].max() < -2:
        return f"The ball is at x = {x:.2f}, in front of the hill. It lost too much speed."
    if x < -2:
        return f"The ball is at x = {x:.2f}: it crossed the hill and rolled back over it."
    return f"The ball is at x = {x:.2f}: it has crossed the hill and is still rolling."


q5 = Question(
    judge=judge_crossing,
    right="Fast enough for the hill, and slow enough to come to rest.",
    hints=[
        "What slows the ball down is friction. What does momentum have to do with it?",
        "The friction is (1 - beta) / sqrt(s). Here it must be smaller, but not by much.",
        "Try 0.95.",
    ],
    answer="""More momentum is less friction; 0.95 is one value that will do:
```python
path = surfaces.descend(surfaces.bump, [-4.5, 1.0], steps=1_000, lr=0.01, momentum=0.95)
```
At 0.9 the ball stays in front of the hill, at 0.999 it is still rolling after 1,000 steps.""",
)
