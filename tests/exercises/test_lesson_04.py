"""Exercises of lesson 4."""

import copy
import math
import re

import numpy as np
import pytest
import torch
from torch import nn

from course_lib.exercises import ____, lesson_04
from course_lib.models import MLP, LeNet
from exercise_rules import ExerciseRules

EIGHT = [0.09] * 7 + [5.0]  # one odd seed does not count


def control(batch_size=16, lr=0.0125, train_loss=0.01, **others):
    return {"batch_size": batch_size, "lr": lr, "train_loss": train_loss, **others}


def rescaled(network, alpha, bias=True, undo=True, first=1, second=3):
    twin = copy.deepcopy(network)
    with torch.no_grad():
        twin[first].weight *= alpha
        twin[first].bias *= alpha if bias else 1
        twin[second].weight /= alpha if undo else 1
    return twin


def matrix(times_H, n):
    return np.stack([times_H(row) for row in np.eye(n)])


def power(times, n, rounds=500):
    v = np.random.default_rng(0).normal(size=n)
    for _ in range(rounds):
        v = times(v / np.linalg.norm(v))
    return v @ times(v) / (v @ v)


def shifted(times_H, n):
    size = abs(power(times_H, n))
    return power(lambda v: times_H(v) + size * v, n) - size


torch.manual_seed(0)
NETWORK, DEEP = MLP(), MLP(hidden=(16, 16))
TWIN = rescaled(NETWORK, 100)


class TestLesson4(ExerciseRules):
    lesson = lesson_04
    right = [
        (lesson_04.q1, ("B", 0.12)),
        (lesson_04.q1, [" b ", 2 / 17]),
        (lesson_04.q1, ("B", 0.024)),
        (lesson_04.q2, [0.1] * 8, EIGHT),
        (lesson_04.q2, np.full(9, 0.08), torch.tensor(EIGHT)),
        (lesson_04.q3, control()),
        (lesson_04.q3, control(128, 0.8)),
        (lesson_04.q3, control(16, 0.1 / 8)),
        (lesson_04.q4, NETWORK, TWIN),
        (lesson_04.q4, DEEP, rescaled(DEEP, 200, first=3, second=5)),
        (lesson_04.q5, shifted),
        (lesson_04.q5, lambda times_H, n: np.linalg.eigvalsh(matrix(times_H, n)).max()),
    ]
    wrong = [
        (lesson_04.q1, ("A", 0.12), "A settles below another"),
        (lesson_04.q1, ("C", 0.12), "the most noise"),
        (lesson_04.q1, ("D", 0.12), "none of the curves"),
        (lesson_04.q1, (0.12, "B"), "none of the curves"),
        (lesson_04.q1, ("B", 16.7), "That is the curvature"),
        (lesson_04.q1, ("B", 0.06), "not at 1 / rate"),
        (lesson_04.q1, ("B", 0.3), "At which height does it settle"),
        (lesson_04.q1, ("B", math.nan), "At which height does it settle"),
        (lesson_04.q1, ("B", "0.12"), "is text"),
        (lesson_04.q1, "B", "Hand in a pair"),
        (lesson_04.q2, [0.2] * 8, EIGHT, "2.2 times as sharp. More noise"),
        (lesson_04.q2, [0.03] * 8, EIGHT, "flatter than wanted, 0.33"),
        (lesson_04.q2, [math.nan] * 8, EIGHT, "flatter than wanted, nan"),
        (lesson_04.q2, [0.09] * 7, EIGHT, "These are 7 eigenvalues"),
        (lesson_04.q2, 0.8, EIGHT, "two lists"),
        (lesson_04.q2, [], EIGHT, "two lists"),
        (lesson_04.q2, ["0.1"] * 8, EIGHT, "two lists"),
        (lesson_04.q3, control(16, 0.1), "a run of the report"),
        (lesson_04.q3, control(128, 0.1), "a run of the report"),
        (lesson_04.q3, control(16, 0.8), "eight times the rate"),
        (lesson_04.q3, control(128, 0.0125), "an eighth of the rate"),
        (lesson_04.q3, control(16, 0.05), "the ratio of rate and batch size that the other"),
        (lesson_04.q3, control(64, 0.05), "With B = 64 both"),
        (lesson_04.q3, control(train_loss=0.001), "Stop at the loss of the other runs"),
        (lesson_04.q3, control(momentum=0.9), "Leave `momentum` out"),
        (lesson_04.q3, {"batch_size": 16, "lr": 0.0125}, "Say the `train_loss`"),
        (lesson_04.q3, control(lr="0.0125"), "is text"),
        (lesson_04.q3, 0.0125, "Hand in a dictionary"),
        (lesson_04.q4, NETWORK, NETWORK, "the same object"),
        (lesson_04.q4, NETWORK, copy.deepcopy(NETWORK), "and 1 times the top eigenvalue"),
        (lesson_04.q4, NETWORK, rescaled(NETWORK, 10), "times the top eigenvalue; 1,000 were"),
        (lesson_04.q4, NETWORK, rescaled(NETWORK, 100, bias=False), "different functions"),
        (lesson_04.q4, NETWORK, rescaled(NETWORK, 100, undo=False), "different functions"),
        (lesson_04.q4, LeNet((1, 28, 28)), LeNet((1, 28, 28)), "On digits it stops with"),
        (lesson_04.q4, nn.Flatten(), nn.Flatten(), "Ten outputs an image"),
        (lesson_04.q4, NETWORK, 100, "Hand in two networks"),
        (lesson_04.q5, power, "Power iteration knows no signs"),
        (lesson_04.q5, lambda t, n: abs(power(t, n)), "without its sign"),
        (lesson_04.q5, lambda t, n: np.linalg.eigvalsh(matrix(t, n))[0], "the smallest"),
        (lesson_04.q5, lambda times_H, n: 3.0, r"eigenvalues \[0.5, 1.0, 2.0, 4.0\] it gives 3"),
        (lesson_04.q5, lambda times_H, n: 1 / 0, "stops with `ZeroDivisionError`"),
        (lesson_04.q5, lambda times_H, n: math.nan, "It gives nan"),
        (lesson_04.q5, lambda times_H, n: None, "single number"),
        (lesson_04.q5, 3, "the function itself"),
    ]


def test_a_blank_among_the_arguments_is_not_answered_yet():
    blanks = [(lesson_04.q1, ("B", ____)), (lesson_04.q3, control(lr=____))]
    for question, answer in [*blanks, (lesson_04.q5, lambda times_H, n: ____)]:
        assert question.verdict(answer).message.startswith("**Not answered yet.**")


def test_networks_handed_in_stay_as_they_are():
    before = copy.deepcopy(NETWORK.state_dict())
    frozen = copy.deepcopy(NETWORK).train().requires_grad_(False)
    assert lesson_04.q4.verdict(frozen, rescaled(frozen, 100)).correct
    assert frozen.training and not any(p.requires_grad for p in frozen.parameters())
    assert all(torch.equal(before[name], value) for name, value in frozen.state_dict().items())


@pytest.mark.parametrize("question", [lesson_04.q4, lesson_04.q5])
def test_solutions_pass_as_they_are_shown(question):
    [code] = re.findall(r"```python\n(.*?)```", question.answer, re.DOTALL)
    names = {"MLP": MLP, "copy": copy, "torch": torch, "np": np}
    exec(code, names)
    handed = [names["largest"]] if question is lesson_04.q5 else [names["network"], names["twin"]]
    assert question.verdict(*handed).correct
