"""Exercises of lesson 5."""

import numpy as np
import pytest
import torch

from course_lib.exercises import ____, lesson_05
from course_lib.surfaces import bump, descend, plateau
from exercise_rules import ExerciseRules


def displacement(gradients, lr, momentum):
    velocity = moved = 0
    for gradient in gradients:
        velocity = momentum * velocity + gradient
        moved -= lr * velocity
    return moved


def path(momentum=0.95, *, surface=bump, start=(-4.5, 1.0), lr=0.01, steps=1_000):
    return descend(surface, start, steps=steps, lr=lr, momentum=momentum)


def rolled_back():
    """A path that crosses the hill and ends in front of it again."""
    return path().assign(x=lambda frame: frame.x.where(frame.step < 999, -2.7))


class TestLesson5(ExerciseRules):
    lesson = lesson_05
    right = [
        (lesson_05.q1, 0.05),
        (lesson_05.q1, 1 * (1 - 0.95)),
        (lesson_05.q2, 0.19),
        (lesson_05.q2, 2 * (1 + 0.9) / 20),
        (lesson_05.q3, 0.125),
        (lesson_05.q3, 0.1 * (64 * 0.5) / (256 * 0.1)),
        (lesson_05.q4, displacement),
        (lesson_05.q4, lesson_05.moved),
        (lesson_05.q5, path(0.95)),
        (lesson_05.q5, path(0.97)),
    ]
    wrong = [
        (lesson_05.q1, 0.1, "count 20 times instead of 10"),
        (lesson_05.q1, 0.2, "other way round"),
        (lesson_05.q1, 1, "1 is the effective rate"),
        (lesson_05.q1, 2, "2 is the effective rate of 0.1 at momentum 0.95"),
        (lesson_05.q1, 0.1 * 0.95 / 0.9, "not lr x momentum"),
        (lesson_05.q1, 0.07, "must be 0.1 / 0.1 = 1 again"),
        (lesson_05.q1, "0.05", "is text"),
        (lesson_05.q2, 0.1, "limit without momentum"),
        (lesson_05.q2, 3.8, "Divide by the curvature"),
        (lesson_05.q2, 0.01, "kept the effective rate"),
        (lesson_05.q2, 0.095, "not 1 \\+ beta"),
        (lesson_05.q2, 1, "divided by 1 - beta"),
        (lesson_05.q2, 0.2, "Stable is"),
        (lesson_05.q3, 0.025, "for the batch alone"),
        (lesson_05.q3, 0.5, "for the momentum alone"),
        (lesson_05.q3, 0.005, "Less momentum makes less noise"),
        (lesson_05.q3, 2, "A smaller batch makes more noise"),
        (lesson_05.q3, 0.1, "by the factor"),
        (lesson_05.q3, 0.3, "Keep lr"),
        (lesson_05.q4, lambda g, s, b: -displacement(g, s, b), "goes uphill"),
        (lesson_05.q4, lesson_05.last_step, "last update alone"),
        (lesson_05.q4, lambda g, s, b: -s * g.sum(), "plain descent"),
        (lesson_05.q4, lambda g, s, b: displacement(g, s * (1 - b), b), "averaged form"),
        (lesson_05.q4, lambda g, s, b: -s * g.sum() / (1 - b), "still have work to do"),
        (
            lesson_05.q4,
            lambda g, s, b: 1.0,
            r"`displacement\(\[1.0\], 0.1, 0.0\)` gives 1; -0.1 would",
        ),
        (lesson_05.q4, lambda g, s, b: np.nan, "gives nan"),
        (lesson_05.q4, lambda g, s, b: None, "single number"),
        (lesson_05.q4, lambda g: g, "`TypeError`"),
        (lesson_05.q4, -0.1, "the function itself"),
        (lesson_05.q5, path(0.9), "x = -2.72, in front of the hill"),
        (lesson_05.q5, path(0.999), "still rolling"),
        (lesson_05.q5, rolled_back(), "rolled back over it"),
        (lesson_05.q5, path(0.9, lr=0.1), "not that of `lr=0.01`"),
        (lesson_05.q5, path(0.95, surface=plateau), "not that of"),
        (lesson_05.q5, path(0.95, steps=400), "1,000 steps"),
        (lesson_05.q5, path(0.95, start=(-1.0, 1.0)), "steps from"),
        (lesson_05.q5, 0.95, "not a value of type `float`"),
    ]


def test_a_blank_inside_a_function_is_not_answered_yet():
    verdict = lesson_05.q4.verdict(lambda gradients, lr, momentum: lr * ____)
    assert verdict.message.startswith("**Not answered yet.**")


def test_the_displacement_is_pytorchs():
    gradients, lr, momentum = lesson_05.CASES[-1]
    weight = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=lr, momentum=momentum)
    for gradient in gradients:
        weight.grad = torch.tensor([gradient])
        optimizer.step()
    assert lesson_05.moved(gradients, lr, momentum) == pytest.approx(weight.item())
