"""Exercises of lesson 7."""

import math
import re
from functools import partial

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import eigsh
from torch.nn.functional import cross_entropy

from course_lib import MLP, load_images
from course_lib.curvature import hessian
from course_lib.exercises import ____, lesson_07
from course_lib.training import fit
from exercise_rules import ExerciseRules, made_up_run

good = partial(made_up_run, batch_size=128, epochs=20)  # 240 updates
bad = partial(good, loss=2.3)


def control(batch_size, lr, **others):
    return {"batch_size": batch_size, "lr": lr, **others}


class TestLesson7(ExerciseRules):
    lesson = lesson_07
    right = [
        (lesson_07.q1, "square root", "linear", "fixed"),
        (lesson_07.q1, " Sqrt", "Linear scaling", "constant"),
        (lesson_07.q1, "square-root rule", "LINEAR", "fixed"),
        (lesson_07.q2, control(256, 1 / 4)),
        (lesson_07.q2, {"lr": 0.75}),
        (lesson_07.q2, control(64, 2)),
        (lesson_07.q2, {"batch_size": np.int64(32)}),
        (lesson_07.q3, lambda size: 0.999 ** (size / 256)),
        (lesson_07.q3, lambda size: np.float64(1 - 0.001 * size / 256)),
        (lesson_07.q4, 0.6, {1.0: good(), 1.5: bad()}),
        (lesson_07.q4, np.float32(2), {2: bad(), 1.4: good(seeds=16)}),
        (lesson_07.q4, 1, {1.0: good(), 1.2: good(loss=math.nan)}),
        (lesson_07.q5, 0.2),
        (lesson_07.q5, np.float64(0.1) * 2),
    ]
    wrong = [
        (lesson_07.q1, "linear", "fixed", "square root", "B stays level"),
        (lesson_07.q1, "fixed", "square root", "linear", "C rises from the first"),
        (lesson_07.q1, "square root", "fixed", "linear", "B stays level"),
        (lesson_07.q1, "linear", "square root", "fixed", "B ends with a steep rise"),
        (lesson_07.q1, "fixed", "linear", "square root", "Two of them rise at once"),
        (lesson_07.q1, "linear", "linear", "fixed", "drawn once"),
        (lesson_07.q1, "cubic", "linear", "fixed", "'cubic' is none of"),
        (lesson_07.q1, 1, "linear", "fixed", "Hand in three words"),
        (lesson_07.q2, control(256, 2), "the run that failed"),
        (lesson_07.q2, control(64, 1 / 2), "Two things have changed"),
        (lesson_07.q2, control(512, 2), "larger batch at the rate 2 fails by either"),
        (lesson_07.q2, control(256, 4), "larger rate fails by either"),
        (lesson_07.q2, control(256, 1.5), "near the limit itself"),
        (lesson_07.q2, control(256, 0.001), "hardly moves"),
        (lesson_07.q2, control(2_048, 2), "1 to 1,024"),
        (lesson_07.q2, control(256, -1), "1 to 1,024"),
        (lesson_07.q2, control(256, math.nan), "1 to 1,024"),
        (lesson_07.q2, control(256, "1/4"), "is text"),
        (lesson_07.q2, control(256, 0.25, momentum=0.9), "Leave `momentum`"),
        (lesson_07.q2, 0.25, "Hand in a dictionary"),
        (lesson_07.q3, lambda size: 0.999 * 256 / size, "divides beta2 itself"),
        (lesson_07.q3, lambda size: 0.999 ** (256 / size), "upside down: a small batch"),
        (lesson_07.q3, lambda size: 0.999, "leaves beta2 as it is"),
        (lesson_07.q3, lambda size: 0.999 ** math.sqrt(size / 256), "square root of the factor"),
        (lesson_07.q3, lambda size: 1 - 0.001 * 256 / size, "1 - beta2 must grow"),
        (lesson_07.q3, lambda size: 0.5, r"`beta2\(256\)` gives 0.5; 0.999 would be right"),
        (lesson_07.q3, lambda size: math.nan, "gives nan"),
        (lesson_07.q3, lambda size: 1 / 0, "stops with `ZeroDivisionError`"),
        (lesson_07.q3, lambda size: None, "returns None"),
        (lesson_07.q3, lambda size: "0.9", "is text"),
        (lesson_07.q3, 0.999, "the function itself"),
        (lesson_07.q4, -1, {1.0: good(), 1.5: bad()}, "a number above 0"),
        (lesson_07.q4, "h", {1.0: good(), 1.5: bad()}, "is text"),
        (lesson_07.q4, 1, good(), "Hand in two runs"),
        (lesson_07.q4, 1, {1.0: good()}, "Hand in two runs"),
        (lesson_07.q4, 1, {-1.0: good(), 1.5: bad()}, "two different rates above 0"),
        (lesson_07.q4, 1, {1.0: bad(), 1.5: bad()}, "at the rate 1 does not train"),
        (lesson_07.q4, 1, {1.0: good(), 1.5: good()}, "at the rate 1.5 trains as well"),
        (lesson_07.q4, 1, {1.0: good(), 2.0: bad()}, "room for more than a factor"),
        (lesson_07.q4, 1, {1.0: good(epochs=8), 1.5: bad()}, "has 96 updates"),
        (lesson_07.q4, 1, {1.0: good(seeds=7), 1.5: bad()}, "has 7 seeds"),
        (lesson_07.q4, 1, {1.0: 0.3, 1.5: bad()}, "not a value of type `float`"),
        (lesson_07.q5, 0.1, "scaled linearly"),
        (lesson_07.q5, 0.4, "the batch alone"),
        (lesson_07.q5, 0.05, "fewer updates"),
        (lesson_07.q5, 0.025, "leaves out the rate"),
        (lesson_07.q5, 0.8, "should divide"),
        (lesson_07.q5, 3, "Keep it"),
        (lesson_07.q5, "0.2", "is text"),
    ]


def test_a_blank_inside_an_answer_is_not_answered_yet():
    blanks = [(lesson_07.q2, control(256, ____)), (lesson_07.q3, lambda size: ____)]
    for question, *answer in [*blanks, (lesson_07.q1, ____, "linear", "fixed")]:
        assert question.verdict(*answer).message.startswith("**Not answered yet.**")


@pytest.mark.slow
def test_the_solution_of_question_2_on_digits():
    images = load_images(split="seed").part(1_024, 360)
    [text] = re.findall(r"```python\n(.*?)```", lesson_07.q2.answer, re.DOTALL)
    losses = []
    for line in text.splitlines():
        run = fit(MLP, images, **eval(line.partition("#")[0]), max_epochs=4, progress=False)
        losses.append(run.history[run.history.epoch == 4].train_loss.median())
    assert losses[0] < 1.5 < 2 < losses[1]


@pytest.mark.slow
def test_the_solution_of_question_4_on_digits():
    images = load_images(split="seed").part(1_024, 360)

    def steepest(net, seed):
        own = images.of_seed(seed)
        data = (own.x_train, own.y_train)
        return eigsh(hessian(net, cross_entropy, data), k=1, which="LA", tol=0.01)[0][0]

    names = {"partial": partial, "MLP": MLP, "fit": fit, "torch": torch}
    names |= {"images": images, "steepest": steepest}
    [text] = re.findall(r"```python\n(.*?)```", lesson_07.q4.answer, re.DOTALL)
    exec(text, names)
    verdict = lesson_07.q4.verdict(names["h"], names["runs"])
    assert verdict.correct, verdict.message
    assert 2 / names["h"] > 1.5 * max(names["runs"])
