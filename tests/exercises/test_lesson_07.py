"""Exercises of lesson 7."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from course_lib.exercises import lesson_07
from exercise_rules import ExerciseRules, made_up_run

run = partial(made_up_run, batch_size=256, epochs=5, loss=0.4)


class TestLesson7(ExerciseRules):
    lesson = lesson_07
    right = [
        (lesson_07.q1, (3.2, 0.57)),
        (lesson_07.q1, [3.2, 0.1 * math.sqrt(32)]),
        (lesson_07.q2, 29_000),
        (lesson_07.q3, 512),
        (lesson_07.q4, run()),
        (lesson_07.q4, run(seeds=16, loss=(0.4, 0.59))),
        (lesson_07.q5, (0.33, 0.94)),
        (lesson_07.q5, (1 / (1 + 32 / 16), 1 / (1 + 32 / 512))),
    ]
    wrong = [
        (lesson_07.q1, (0.57, 3.2), "other way round"),
        (lesson_07.q1, (3.2, 3.2), "square root of the factor"),
        (lesson_07.q1, (0.1, 0.1), "leave the rate alone"),
        (lesson_07.q1, (0.003125, 0.017678), "You divided"),
        (lesson_07.q1, (3.2, 0.32), "square root of 32"),
        (lesson_07.q1, (32, 5.657), "These are the factors"),
        (lesson_07.q1, (6.4, 1), "By what factor"),
        (lesson_07.q1, 3.2, "Hand in 2 numbers"),
        (lesson_07.q2, 78_200, "as with a falling rate"),
        (lesson_07.q2, 28_800, "rounded down"),
        (lesson_07.q2, 28_876, "rounded once for each part"),
        (lesson_07.q2, 5_000, "Count each part"),
        (lesson_07.q2, "29,000", "is text"),
        (lesson_07.q3, 256, "Both double"),
        (lesson_07.q3, 128, "both raise it"),
        (lesson_07.q3, 32, "not by a smaller one"),
        (lesson_07.q3, 270, "as 1 - m"),
        (lesson_07.q3, 64, "below the line"),
        (lesson_07.q3, 1_024, "set them equal"),
        (lesson_07.q4, run(loss=1.4), "0 of 8 seeds"),
        (lesson_07.q4, run(loss=(0.4, 0.4, 0.4, 0.7)), "6 of 8 seeds"),
        (lesson_07.q4, run(loss=(0.4, 0.4, 0.4, math.nan)), "6 of 8 seeds"),
        (lesson_07.q4, run(loss=2.3), "nothing was learnt"),
        (lesson_07.q4, run(loss=math.nan), "nothing was learnt"),
        (lesson_07.q4, run(batch_size=64), "batch size is 64"),
        (lesson_07.q4, run(epochs=20), "has 20 epochs"),
        (lesson_07.q4, run(seeds=7), "has 7 seeds"),
        (lesson_07.q4, 0.5, "not a value of type `float`"),
        (lesson_07.q5, (0.94, 0.33), "other way round"),
        (lesson_07.q5, (0.5, 16), "B / 32"),
        (lesson_07.q5, (0.5, 1), "bends gently"),
        (lesson_07.q5, (0.67, 0.06), "noise scale over B"),
        (lesson_07.q5, (1, 1), "That is the largest rate"),
        (lesson_07.q5, (2, 3), "Divide the largest rate"),
    ]


# What PyTorch and simple arithmetic say to the questions on paper.


def test_loaders_have_as_many_batches_as_the_answer_says():
    epochs = {128: 60, 640: 60, 3_200: 40, 16_000: 40}
    images = range(50_000)
    updates = sum(len(DataLoader(images, size)) * count for size, count in epochs.items())
    assert lesson_07.q2.verdict(updates).correct


def test_the_noise_scale_is_kept():
    before, after = 0.1 / (128 * (1 - 0.9)), 0.2 / (512 * (1 - 0.95))
    assert before == pytest.approx(after)
    assert lesson_07.q3.verdict(512).correct


def test_equal_batches_scale_linearly():
    """32 times the same batch of 256: one step of rate 3.2 is 32 first-order steps of rate 0.1."""
    layer, x = nn.Linear(4, 1), torch.randn(256, 4)
    small = torch.autograd.grad(layer(x).mean(), layer.weight)[0]
    large = torch.autograd.grad(layer(x.repeat(32, 1)).mean(), layer.weight)[0]
    torch.testing.assert_close(3.2 * large, 32 * 0.1 * small)
