"""Exercises of lesson 6."""

import re
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from course_lib.datasets import Digits
from course_lib.exercises import ____, lesson_06
from course_lib.training import fit
from exercise_rules import ExerciseRules, made_up_run

run = partial(made_up_run, batch_size=1, epochs=3)


def of(*layers):
    """A good run of such a network."""
    return SimpleNamespace(history=run(), networks=[nn.Sequential(*layers)])


def right_backward(g, x_hat, deviation):
    along = (g * x_hat).mean(1, keepdim=True)
    return (g - g.mean(1, keepdim=True) - x_hat * along) / deviation


def by_autograd(g, x_hat, deviation):
    x = (x_hat * deviation).requires_grad_()
    nn.functional.layer_norm(x, x.shape[1:], eps=0).backward(g)
    return x.grad


def of_batch(g, x_hat, deviation):
    return (g - g.mean(0) - x_hat * (g * x_hat).mean(0)) / deviation


def without_mean(g, x_hat, deviation):
    return right_backward(g, x_hat, deviation) + g.mean(1, keepdim=True) / deviation


def without_stretch(g, x_hat, deviation):
    return (g - g.mean(1, keepdim=True)) / deviation


def summed(g, x_hat, deviation):
    return (g - g.mean(1, keepdim=True) - x_hat * (g * x_hat).sum(1, keepdim=True)) / deviation


def measured(net, x, y):
    with torch.no_grad():
        return (net(x).argmax(1) == y).double().mean().item()


def repaired(net, x, y):
    mode = net.training
    net.eval()
    accuracy = measured(net, x, y)
    net.train(mode)
    return accuracy


def as_it_was(net, x, y, batch_size=64):
    parts = zip(x.split(batch_size), y.split(batch_size), strict=True)
    return sum(measured(net, *part) * len(part[1]) for part in parts) / len(y)


def left_in_eval(net, x, y):
    return measured(net.eval(), x, y)


def always_trained(net, x, y):
    accuracy = measured(net.eval(), x, y)
    net.train()
    return accuracy


def mean_of_parts(net, x, y):
    net.eval()
    parts = list(zip(x.split(64), y.split(64), strict=True))
    accuracy = sum(measured(net, *part) for part in parts) / len(parts)
    net.train()
    return accuracy + 0.01


class TestLesson6(ExerciseRules):
    lesson = lesson_06
    right = [
        (lesson_06.q1, right_backward),
        (lesson_06.q1, by_autograd),
        (lesson_06.q2, repaired),
        (lesson_06.q3, ("layer", 2), ("pairs", 64)),
        (lesson_06.q3, ["layer", 2.0], ["pairs", 64]),
        (lesson_06.q4, (196, 1_568, 392)),
        (lesson_06.q5, run()),
        (lesson_06.q5, of(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8))),
    ]
    wrong = [
        (lesson_06.q1, of_batch, "its means run over the batch"),
        (lesson_06.q1, without_mean, "subtract the mean of g"),
        (lesson_06.q1, without_stretch, "the deviation as a constant"),
        (lesson_06.q1, lambda g, x_hat, deviation: g / deviation, "mean and deviation as"),
        (
            lesson_06.q1,
            lambda *a: a[2] * right_backward(*a),
            "division by the deviation is missing",
        ),
        (lesson_06.q1, lambda *a: a[2] ** 2 * right_backward(*a), "not multiplied"),
        (lesson_06.q1, summed, "not a sum"),
        (lesson_06.q1, lambda *a: -right_backward(*a), "Not what autograd says"),
        (lesson_06.q1, lambda *a: right_backward(*a).sum(), "the shape of g"),
        (lesson_06.q1, lambda *a: None, "returns None"),
        (lesson_06.q1, lambda *a: a[0].view(7), "stops with `RuntimeError`"),
        (lesson_06.q1, 3, "the function itself"),
        (lesson_06.q2, as_it_was, "changes the running statistics"),
        (lesson_06.q2, left_in_eval, "stays in eval mode"),
        (lesson_06.q2, always_trained, "came in eval mode"),
        (lesson_06.q2, mean_of_parts, "counted once"),
        (lesson_06.q2, lambda *a: "0.9", "is text"),
        (lesson_06.q2, 0.9, "the function itself"),
        (lesson_06.q3, ("batch", 2), ("pairs", 64), "run you have: gradient and statistics"),
        (lesson_06.q3, ("pairs", 2), ("pairs", 64), "under another name"),
        (lesson_06.q3, ("batch", 64), ("pairs", 64), "here 64 are averaged"),
        (lesson_06.q3, ("layer", 64), ("pairs", 64), "here 64 are averaged"),
        (lesson_06.q3, ("pairs", 64), ("layer", 2), "That is the second run"),
        (lesson_06.q3, ("layer", 2), ("batch", 2), "run you have"),
        (lesson_06.q3, ("layer", 2), ("pairs", 2), "two images as well"),
        (lesson_06.q3, ("layer", 2), ("batch", 64), "here they are of 64"),
        (lesson_06.q3, ("layer", 2), ("layer", 64), "no statistics of other images"),
        (lesson_06.q3, ("layer", 2), ("layer", 2), "That is the first run"),
        (lesson_06.q3, ("group", 2), ("pairs", 64), "none of the layers"),
        (lesson_06.q3, ("layer", 32), ("pairs", 64), "Take 2 or 64"),
        (lesson_06.q3, "layer", ("pairs", 64), "a pair of layer and batch size"),
        (lesson_06.q4, (4, 32, 392), "pixels count as well"),
        (lesson_06.q4, (1_568, 1_568, 392), "only its own 4 images"),
        (lesson_06.q4, (196, 196, 392), "of all eight devices"),
        (lesson_06.q4, (196, 1_568, 49), "several channels"),
        (lesson_06.q4, (196, 1_568, 8), "runs over the pixels, too"),
        (lesson_06.q4, (196, 1_568, 1_568), "one image alone"),
        (lesson_06.q4, (196, 1_568, 3_136), "layer normalization"),
        (lesson_06.q4, (12_544, 100_352, 392), "leave the 64 out"),
        (lesson_06.q4, (1, 1, 1), "Which of devices"),
        (lesson_06.q4, 196, "Hand in 3 numbers"),
        (lesson_06.q5, run(accuracy=0.8), "0 of 8 seeds reached 85%"),
        (lesson_06.q5, run(batch_size=2), "batch size is 2"),
        (lesson_06.q5, run(epochs=10), "has 10 epochs"),
        (lesson_06.q5, run(seeds=7), "has 7 seeds"),
        (lesson_06.q5, of(nn.Linear(64, 10)), "no batch normalization"),
        (lesson_06.q5, of(nn.Linear(64, 32), nn.LayerNorm(32)), "are no batch normalization"),
        (lesson_06.q5, "BatchNorm", "not a value of type `str`"),
    ]


def test_a_blank_inside_a_function_is_not_answered_yet():
    for question in (lesson_06.q1, lesson_06.q2):
        verdict = question.verdict(lambda *arguments: ____)
        assert verdict.message.startswith("**Not answered yet.**")


def solution_of(question, names):
    """The names that the worked solution defines, run as the learner is shown it."""
    [code] = re.findall(r"```python\n(.*?)```", question.answer, re.DOTALL)
    exec(code, names)
    return names


def test_the_solutions_of_questions_1_and_2_are_right():
    names = {"torch": torch}
    backward = solution_of(lesson_06.q1, names)["layer_norm_backward"]
    assert lesson_06.q1.verdict(backward).correct
    accuracy = solution_of(lesson_06.q2, names)["held_out_accuracy"]
    assert lesson_06.q2.verdict(accuracy).correct


def test_pytorch_takes_the_means_of_question_4_over_as_many_numbers():
    images = torch.randn(4, 64, 7, 7, dtype=torch.float64)
    groups = nn.GroupNorm(8, 64).double()(images).reshape(-1, 392)
    channels = nn.BatchNorm2d(64).double()(images).transpose(0, 1).reshape(-1, 196)
    for shared in (groups, channels):
        torch.testing.assert_close(shared.mean(1), torch.zeros(len(shared), dtype=torch.float64))


@pytest.mark.slow
def test_the_solution_of_question_5_on_digits():
    few = Digits(split="seed").part(512, 360)
    names = {"nn": nn, "fit": partial(fit, progress=False), "few": few, "BatchNorm": nn.BatchNorm2d}
    assert lesson_06.q5.verdict(solution_of(lesson_06.q5, names)["run"]).correct
