"""Exercises of lesson 6."""

import math
from functools import partial

import torch
from torch import nn

from course_lib.exercises import lesson_06
from exercise_rules import ExerciseRules, made_up_run

UNIT = torch.tensor([[2.0], [4.0], [6.0], [8.0]])

run = partial(made_up_run, batch_size=2, epochs=3)


class TestLesson6(ExerciseRules):
    lesson = lesson_06
    right = [
        (lesson_06.q1, 1.34),
        (lesson_06.q1, 3 / math.sqrt(5)),
        (lesson_06.q2, 1.57),
        (lesson_06.q2, 0.9 + 0.1 * 20 / 3),
        (lesson_06.q3, (-1, 1)),
        (lesson_06.q3, [-1.0, 1.0]),
        (lesson_06.q4, (2_048, 512)),
        (lesson_06.q5, run()),
    ]
    wrong = [
        (lesson_06.q1, 1.16, "divided the sum of squares by 3"),
        (lesson_06.q1, 0.6, "divided by the variance"),
        (lesson_06.q1, 3, "distance from the mean"),
        (lesson_06.q1, 3.58, "must be subtracted first"),
        (lesson_06.q1, -1.34, "what becomes of the 2"),
        (lesson_06.q1, 1, "Subtract the mean"),
        (lesson_06.q1, "1.34", "is text"),
        (lesson_06.q2, 1.4, "the unbiased one"),
        (lesson_06.q2, 6.1, "weight of the new value"),
        (lesson_06.q2, 4.6, "and what is remembered is the unbiased"),
        (lesson_06.q2, 6.67, "this batch alone"),
        (lesson_06.q2, 1.67, "it counts 0.9"),
        (lesson_06.q2, 2, "Take 0.9 of the old value"),
        (lesson_06.q3, (1, -1), "lies below the mean"),
        (lesson_06.q3, (-2, 2), "distances from the mean"),
        (lesson_06.q3, (-0.5, 0.5), "divided by the variance"),
        (lesson_06.q3, (-0.71, 0.71), "divided the sum of squares by 1"),
        (lesson_06.q3, (0, 0), "batch of one"),
        (lesson_06.q3, (3, 7), "both values are 2 away"),
        (lesson_06.q3, 1, "Hand in 2 numbers"),
        (lesson_06.q4, (512, 2_048), "other way round"),
        (lesson_06.q4, (32, 512), "also runs over the pixels"),
        (lesson_06.q4, (2_048, 64), "several channels"),
        (lesson_06.q4, (2_048, 16_384), "one image alone"),
        (lesson_06.q4, (131_072, 512), "a mean of its own"),
        (lesson_06.q4, (2_048, 8), "runs over the pixels, too"),
        (lesson_06.q4, (1, 1), "Which of batch, channels and pixels"),
        (lesson_06.q5, run(accuracy=0.7), "0 of 8 seeds reached 75%"),
        (lesson_06.q5, run(batch_size=32), "batch size is 32"),
        (lesson_06.q5, run(epochs=10), "has 10 epochs"),
        (lesson_06.q5, run(seeds=7), "has 7 seeds"),
        (lesson_06.q5, "LayerNorm", "not a value of type `str`"),
    ]


# What PyTorch says to the questions on paper.


def test_pytorch_normalizes_and_remembers_as_the_answers_say():
    layer = nn.BatchNorm1d(1)
    assert lesson_06.q1.verdict(layer(UNIT)[3].item()).correct
    assert lesson_06.q2.verdict(layer.running_var.item()).correct
    pair = nn.BatchNorm1d(1)(torch.tensor([[3.0], [7.0]]))
    assert lesson_06.q3.verdict(pair.flatten().tolist()).correct


def test_pytorch_takes_means_over_as_many_numbers_as_the_answer_says():
    images = torch.randn(32, 64, 8, 8, dtype=torch.float64)
    count, group = 32 * 8 * 8, 8 * 8 * 8
    channels = images.transpose(0, 1).reshape(-1, count)
    groups = images.reshape(-1, group)
    layers = {nn.BatchNorm2d(64): channels, nn.GroupNorm(8, 64): groups}
    for layer, rows in layers.items():
        deviation = rows.std(1, keepdim=True, correction=0)
        expected = (rows - rows.mean(1, keepdim=True)) / deviation
        out = layer.double()(images)
        out = out.transpose(0, 1) if layer.__class__ is nn.BatchNorm2d else out
        torch.testing.assert_close(out.reshape(rows.shape), expected, atol=1e-4, rtol=0)
    assert lesson_06.q4.verdict((count, group)).correct
