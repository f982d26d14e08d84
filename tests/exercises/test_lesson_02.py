"""Exercises of lesson 2."""

import math
import re

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from course_lib.datasets import Digits
from course_lib.exercises import ____, lesson_02
from course_lib.models import MLP
from course_lib.noise import gradient_noise
from exercise_rules import ExerciseRules


def network():
    torch.manual_seed(0)
    return MLP(hidden=(16,))


NETWORK = network()
SIGNAL, TRACE, SCALE = gradient_noise(NETWORK, cross_entropy, (Digits().x_train, Digits().y_train))


def looped(weight, sample_gradients, lr):
    for g in sample_gradients:
        weight = weight - lr * g / len(sample_gradients)
    return weight


def colleague(weight, sample_gradients, lr):
    for g in sample_gradients:
        weight = weight - lr * g
    return weight


def step(rule):
    return lambda weight, gradients, lr: weight - lr * rule(gradients)


class TestLesson2(ExerciseRules):
    lesson = lesson_02
    right = [
        (lesson_02.q1, "QRSP"),
        (lesson_02.q1, " q, r, s, p"),
        (lesson_02.q2, (2, 1, 1)),
        (lesson_02.q2, np.array([2.0, 1.0, 1.0])),
        (lesson_02.q3, 2 * 0.87**2 - 1),
        (lesson_02.q3, 0.51),
        (lesson_02.q3, math.cos(2 * math.acos(0.87))),
        (lesson_02.q4, looped),
        (lesson_02.q4, step(np.mean)),
        (lesson_02.q4, step(lambda g: torch.tensor(g).mean())),
        (lesson_02.q5, SCALE, NETWORK),
        (lesson_02.q5, SCALE * 1.29, NETWORK),
        (lesson_02.q5, np.float32(SCALE / 1.29), NETWORK),
    ]
    wrong = [
        (lesson_02.q1, "QRPS", "Which of the four walks has no noise"),
        (lesson_02.q1, "SRQP", "S falls slowly"),
        (lesson_02.q1, "QSRP", "S falls slowly"),
        (lesson_02.q1, "RQSP", "Q and R fall equally quickly"),
        (lesson_02.q1, "QRS", "are not the four letters"),
        (lesson_02.q1, "QQRS", "are not the four letters"),
        (lesson_02.q1, 4, "in quotation marks"),
        (lesson_02.q2, (1, 1, 1), "Count the updates"),
        (lesson_02.q2, (0.5, 1, 1), "are these fewer"),
        (lesson_02.q2, (2, 2, 1), "two means over samples"),
        (lesson_02.q2, (2, 0.5, 1), "two means over samples"),
        (lesson_02.q2, (2, 1, 2), "None of them has changed"),
        (lesson_02.q2, (2, 1, 0.5), "None of them has changed"),
        (lesson_02.q2, (2, 1, 1.41), "has that changed"),
        (lesson_02.q2, (2, 1, 0.71), "Copies are no new information"),
        (lesson_02.q2, (3, 3, 3), "a mean over samples, or a number"),
        (lesson_02.q2, 2, "Hand in 3 numbers"),
        (lesson_02.q3, 0.87, "other half does not"),
        (lesson_02.q3, 0.76, "two \\*independent\\* parts"),
        (lesson_02.q3, 1, "an error as long as his"),
        (lesson_02.q3, 0, "full gradient in common, and that is not nothing"),
        (lesson_02.q3, -1, "Only their errors are opposite"),
        (lesson_02.q3, 0.13, "difference of cosines"),
        (lesson_02.q3, 0.74, "square of the cosine"),
        (lesson_02.q3, 0.3, "Draw G"),
        (lesson_02.q3, "0.51", "is text"),
        (lesson_02.q4, colleague, "still adds up"),
        (lesson_02.q4, step(sum), "still adds up"),
        (lesson_02.q4, step(lambda g: sum(g) / len(g) ** 0.5), "root of the batch size"),
        (lesson_02.q4, step(lambda g: sum(g) / 8), "right for B = 8 only"),
        (lesson_02.q4, step(lambda g: sum(g) / 256), "right for B = 256 only"),
        (lesson_02.q4, step(lambda g: g[-1]), "ignores the others"),
        (lesson_02.q4, step(lambda g: g[0]), "only the first sample"),
        (lesson_02.q4, step(lambda g: -np.mean(g)), "goes uphill"),
        (lesson_02.q4, lambda weight, g, lr: weight, "does not move at all"),
        (lesson_02.q4, step(np.median), "would be right"),
        (lesson_02.q4, step(max), r"`update\(2.0, \[1.0, 3.0\], 0.1\)` gives 1.7; 1.8 would be"),
        (lesson_02.q4, lambda weight, g, lr: None, "returns None"),
        (lesson_02.q4, lambda weight: weight, "stops with `TypeError`"),
        (lesson_02.q4, 1.8, "the function itself"),
        (lesson_02.q5, TRACE, NETWORK, "That is tr Σ"),
        (lesson_02.q5, SIGNAL, NETWORK, r"That is \|G\|²"),
        (lesson_02.q5, 1 / SCALE, NETWORK, "upside down"),
        (lesson_02.q5, SCALE**0.5, NETWORK, "its root"),
        (lesson_02.q5, SCALE * 1.5, NETWORK, "Average"),
        (lesson_02.q5, -3, NETWORK, "Average"),
        (lesson_02.q5, math.nan, NETWORK, "Average"),
        (lesson_02.q5, SCALE, torch.nn.Linear(64, 10), "cannot be measured"),
        (lesson_02.q5, SCALE, "MLP", "Hand in the network as the second answer"),
        (lesson_02.q5, NETWORK, SCALE, "single number"),
    ]


def test_a_blank_inside_a_function_is_not_answered_yet():
    for answer in (step(lambda g: ____), lambda weight, g, lr: weight - lr * int(____)):
        assert lesson_02.q4.verdict(answer).message.startswith("**Not answered yet.**")


def test_a_network_without_a_gradient_is_refused():
    idle = network()
    torch.nn.init.zeros_(idle[-1].weight)
    for name, weight in idle.named_parameters():
        weight.requires_grad_(name.startswith("1."))
    assert "gradient is zero" in lesson_02.q5.verdict(40, idle).message


@pytest.mark.slow
def test_the_solution_of_question_5_on_digits():
    """The code as the learner is shown it."""
    [code] = re.findall(r"```python\n(.*?)```", lesson_02.q5.answer, re.DOTALL)
    torch.manual_seed(0)
    names = {"MLP": MLP, "Digits": Digits, "torch": torch, "cross_entropy": cross_entropy}
    exec(code, names)
    assert lesson_02.q5.verdict(names["scale"], names["network"]).correct
