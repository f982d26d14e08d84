"""Exercises of lesson 1."""

import math
import re
from functools import partial

import pandas as pd
import pytest
import torch

from course_lib.datasets import Digits
from course_lib.exercises import ____, lesson_01
from course_lib.models import MLP
from course_lib.training import fit
from exercise_rules import ExerciseRules, made_up_run

control = partial(made_up_run, 16)


def batches(n, batch_size):
    return list(torch.randperm(n).split(batch_size))


def dealt_alike(n, batch_size):
    return list(torch.randperm(n, generator=torch.Generator().manual_seed(0)).split(batch_size))


def small(batch_size=16, epochs=5, **options):
    return made_up_run(batch_size, epochs, loss=0.2, **options)


def large(batch_size=256, epochs=75, loss=0.2, **options):
    """A made-up run that has the small one's loss at its end, and twice as much at the start."""
    history = made_up_run(batch_size, epochs, loss=loss, **options)
    return history.assign(train_loss=history.train_loss.where(history.epoch > 0, 0.4))


class TestLesson1(ExerciseRules):
    lesson = lesson_01
    right = [
        (lesson_01.q1, 40),
        (lesson_01.q1, torch.tensor(40.0)),
        (lesson_01.q1, 1_563 * 128 * 10 / 50_000),
        (lesson_01.q2, batches),
        (lesson_01.q2, lambda n, b: [part.tolist() for part in torch.randperm(n).split(b)]),
        (lesson_01.q2, lambda n, b: torch.randperm(n).split(b)),
        (lesson_01.q3, (120, 130)),
        (lesson_01.q3, [120, 130]),
        (lesson_01.q4, control(15)),
        (lesson_01.q5, 75, small(), large()),
        (lesson_01.q5, 51, small(), large()),
        (lesson_01.q5, 112, small(), large()),
    ]
    wrong = [
        (lesson_01.q1, 10, "what the log says"),
        (lesson_01.q1, 2.5, "divided by four"),
        (lesson_01.q1, 4, "one epoch of the log"),
        (lesson_01.q1, 15_630, "How many images do they use"),
        (lesson_01.q1, 2_000_640, "50,000 of them"),
        (lesson_01.q1, 41, "Updates times images"),
        (lesson_01.q1, math.nan, "Updates times images"),
        (lesson_01.q1, "40", "'40' is text"),
        (lesson_01.q2, lambda n, b: batches(n, b)[: n // b], r"leaves out 29 of the 1437"),
        (lesson_01.q2, dealt_alike, "called twice, gives the same order"),
        (lesson_01.q2, lambda n, b: list(torch.arange(n).split(b)), "in which they are stored"),
        (lesson_01.q2, lambda n, b: list(torch.randint(n, (n,)).split(b)), "with replacement"),
        (lesson_01.q2, lambda n, b: batches(n, b) + batches(n, b), "more than once"),
        (lesson_01.q2, lambda n, b: [1 + part for part in batches(n, b)], "from 0 to 1436"),
        (lesson_01.q2, lambda n, b: batches(n, b + 1), "not of 64 and a rest"),
        (lesson_01.q2, lambda n, b: torch.randperm(n), "a list of batches"),
        (lesson_01.q2, lambda n, b: None, "returns None"),
        (lesson_01.q2, lambda n, b: 1 / 0, "stops with `ZeroDivisionError`"),
        (lesson_01.q2, lambda n: n, "stops with `TypeError`"),
        (lesson_01.q2, batches(22, 4), "the function itself"),
        (lesson_01.q3, (130, 120), "wrong order"),
        (lesson_01.q3, (111, 119), "were dropped"),
        (lesson_01.q3, (120, 120), "121 makes 12 updates as well"),
        (lesson_01.q3, (119, 130), "13th update"),
        (lesson_01.q3, (120, 131), "eleven updates are enough"),
        (lesson_01.q3, (119.75, 1_437 / 11), "a whole number"),
        (lesson_01.q3, (100, 144), "rounded up, equal to 12"),
        (lesson_01.q3, 125, "Hand in 2 numbers"),
        (lesson_01.q3, ("120", 130), "is text"),
        (lesson_01.q4, control(5), "makes 450 updates, in five epochs"),
        (lesson_01.q4, control(5, samples=3 * 1_437), "has the copies"),
        (lesson_01.q4, control(14), "makes 1,260 updates, fewer"),
        (lesson_01.q4, control(45), "makes 4,050 updates, more"),
        (lesson_01.q4, made_up_run(48, 5), "Leave it at 16"),
        (lesson_01.q4, 15, "not a value of type `int`"),
        (lesson_01.q5, 5, small(), large(), "Equal epochs are not equal"),
        (lesson_01.q5, 450, small(), large(), "right in updates"),
        (lesson_01.q5, 50 * 1.5**2, small(), large(epochs=50), "try a smaller rate"),
        (lesson_01.q5, 20, small(), large(), "try a smaller rate"),
        (lesson_01.q5, 75, small(), large(loss=0.3), "have not reached the loss 0.2 "),
        (lesson_01.q5, 75, large(), small(), "small batches first"),
        (lesson_01.q5, 75, small(), large(batch_size=32), "4 times as large"),
        (lesson_01.q5, 75, small(seeds=7), large(), "has 7 seeds"),
        (lesson_01.q5, -1, small(), large(), "-1 is not a number of epochs"),
        (lesson_01.q5, math.nan, small(), large(), "nan is not a number of epochs"),
        (lesson_01.q5, "75", small(), large(), "is text"),
        (lesson_01.q5, 75, pd.concat([small(), large()]), large(), "several batch sizes"),
        (lesson_01.q5, 75, small(), 75, "not a value of type `int`"),
    ]


def test_a_blank_inside_a_function_is_not_answered_yet():
    for blank in (lambda n, b: ____, lambda n, b: [____], lambda n, b: list(range(____))):
        assert lesson_01.q2.verdict(blank).message.startswith("**Not answered yet.**")


def test_a_forgotten_argument_is_asked_for():
    assert "`check(predicted, small, large)`, not 1" in lesson_01.q5.verdict(2).message


def test_the_bounds_of_question_3_are_those_that_make_12_updates():
    sizes = [size for size in range(1, 1_438) if math.ceil(1_437 / size) == 12]
    assert (min(sizes), max(sizes)) == (120, 130)
    dropping = [size for size in range(1, 1_438) if 1_437 // size == 12]
    assert (min(dropping), max(dropping)) == (111, 119)


def test_the_colleague_of_question_2_is_told_of_both_bugs_in_turn():
    def buggy(n, size):
        order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
        return [order[i * size : (i + 1) * size] for i in range(n // size)]

    assert "leaves out 29" in lesson_01.q2.verdict(buggy).message
    assert "same order" in lesson_01.q2.verdict(dealt_alike).message


def names_in(solution, **names):
    """What the code of a solution makes, as the learner is shown it."""
    [code] = re.findall(r"```python\n(.*?)```", solution, re.DOTALL)
    exec(code, names)
    return names


def test_the_solution_of_question_2():
    assert lesson_01.q2.verdict(names_in(lesson_01.q2.answer, torch=torch)["batches"]).correct


@pytest.mark.slow
def test_the_solution_of_question_4_on_digits():
    images, network = Digits(split="seed"), partial(MLP, hidden=(32, 32))
    run = names_in(lesson_01.q4.answer, fit=fit, network=network, images=images)["run"]
    assert lesson_01.q4.verdict(run).correct


@pytest.mark.slow
def test_the_solution_of_question_5_on_digits():
    given = {"partial": partial, "MLP": MLP, "Digits": Digits, "fit": fit, "ceil": math.ceil}
    names = names_in(lesson_01.q5.answer, **given)
    runs = names["small"], names["large"]
    assert names["predicted"] == 37.5
    assert lesson_01.q5.verdict(37.5, *runs).correct
    assert "Equal epochs" in lesson_01.q5.verdict(5, *runs).message
