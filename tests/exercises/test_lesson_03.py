"""Exercises of lesson 3."""

import math
import re
import statistics
from functools import partial

import numpy as np
import pandas as pd
import pytest

from course_lib.datasets import Digits
from course_lib.exercises import ____, lesson_03
from course_lib.history import reached
from course_lib.models import MLP
from course_lib.training import fit
from exercise_rules import ExerciseRules, made_up_run

inf = math.inf
run = partial(made_up_run, batch_size=32, epochs=10)  # at 90 % after 423.5 updates, 9.4 epochs


def dropped(epochs):
    arrived = [e for e in epochs if e < inf]
    return sum(arrived) / len(arrived)


def replaced(value, average=statistics.mean):
    return lambda epochs: average([min(e, value) for e in epochs])


def last_in_place(epochs):
    return replaced(max(e for e in epochs if e < inf))(epochs)


def control(batch_size=256, lr=0.1, **length):
    return {"batch_size": batch_size, "lr": lr, **length}


def some(arrived, seeds=8):
    """A run of which only some seeds reached 90 %."""
    history = run(seeds=seeds)
    return history.assign(val_accuracy=history.val_accuracy - 0.1 * (history.seed >= arrived))


class TestLesson3(ExerciseRules):
    lesson = lesson_03
    right = [
        (lesson_03.q1, "updates"),
        (lesson_03.q1, " Number of Updates"),
        (lesson_03.q1, "optimizer steps"),
        (lesson_03.q1, "ITERATIONS"),
        (lesson_03.q2, 4_800**0.5),
        (lesson_03.q2, 65),
        (lesson_03.q2, np.float32(75)),
        (lesson_03.q3, statistics.median),
        (lesson_03.q3, statistics.median_low),
        (lesson_03.q3, statistics.median_high),
        (lesson_03.q3, np.median),
        (lesson_03.q3, lambda epochs: pd.Series(epochs).median()),
        (lesson_03.q3, lambda epochs: sorted(epochs)[len(epochs) // 2]),
        (lesson_03.q4, control(max_epochs=375)),
        (lesson_03.q4, control(max_steps=2_250)),
        (lesson_03.q4, control(max_epochs=378)),
        (lesson_03.q4, {"max_epochs": 375}),
        (lesson_03.q5, 423, run()),
        (lesson_03.q5, 423 * 1.29, run()),
        (lesson_03.q5, np.float64(423 / 1.29), run(seeds=16)),
        (lesson_03.q5, 424, some(5)),
    ]
    wrong = [
        (lesson_03.q1, "epochs", "one update in each epoch"),
        (lesson_03.q1, "Samples", "as they do against epochs"),
        (lesson_03.q1, "images", "as they do against epochs"),
        (lesson_03.q1, "time", "behind on the clock"),
        (lesson_03.q1, "accuracy", "is none of"),
        (lesson_03.q1, 3, "in quotation marks"),
        (lesson_03.q2, 24, "24 is B_noise"),
        (lesson_03.q2, 24**0.5, "root of B_noise alone"),
        (lesson_03.q2, 0.35, "wrong way round"),
        (lesson_03.q2, 6.93, "left out b"),
        (lesson_03.q2, 200, "200 is a / b"),
        (lesson_03.q2, 4_800, "square root"),
        (lesson_03.q2, 112, "half of their sum"),
        (lesson_03.q2, 2_191, "a in milliseconds and b in seconds"),
        (lesson_03.q2, 2.19, "a in seconds and b in milliseconds"),
        (lesson_03.q2, 179, "S_min = 160"),
        (lesson_03.q2, 876, "E_min = 3,840"),
        (lesson_03.q2, 16, "864 ms"),
        (lesson_03.q2, 64, "Where is its minimum"),
        (lesson_03.q2, 32, "geometric mean of the two sizes"),
        (lesson_03.q2, 40, "middle of the two sizes"),
        (lesson_03.q2, 76, "Two equations"),
        (lesson_03.q2, math.nan, "Two equations"),
        (lesson_03.q2, "69", "is text"),
        (lesson_03.q3, dropped, "leaves out the runs that failed"),
        (
            lesson_03.q3,
            lambda e: np.nanmedian(np.where(np.isinf(e), np.nan, e)),
            "A median, but only",
        ),
        (lesson_03.q3, np.mean, "A single failed run makes the mean infinite"),
        (lesson_03.q3, replaced(25), "replaces `inf` by the last epoch"),
        (lesson_03.q3, replaced(25, statistics.median), "replaces `inf` by the last epoch"),
        (lesson_03.q3, last_in_place, "replaces `inf` by the last epoch"),
        (lesson_03.q3, replaced(99, statistics.median), "although most .* It should be inf"),
        (lesson_03.q3, lambda e: np.mean(np.where(np.isinf(e), 0, e)), "fastest of all"),
        (lesson_03.q3, lambda e: e[len(e) // 2], "Sort it first"),
        (lesson_03.q3, min, "takes the best run"),
        (lesson_03.q3, max, "takes the worst run"),
        (lesson_03.q3, lambda e: 4, r"`typical\(\[8, 3, 5, 20\]\)` gives 4; 6.5 would be right"),
        (
            lesson_03.q3,
            lambda e: statistics.median(e) if min(e) < inf else 1 / 0,
            "stops with `Zero",
        ),
        (lesson_03.q3, lambda e: statistics.median(e) if min(e) < inf else 25, "should be inf"),
        (lesson_03.q3, lambda e: sum(e) - sum(e), "gives nan"),
        (lesson_03.q3, lambda e: None, "returns None"),
        (lesson_03.q3, lambda e: e, "single number"),
        (lesson_03.q3, 18, "the function itself"),
        (lesson_03.q4, control(max_epochs=25), "equal epochs"),
        (lesson_03.q4, control(max_steps=150), "25 epochs of 6"),
        (lesson_03.q4, control(max_steps=140), "as many samples"),
        (lesson_03.q4, control(max_epochs=400), "150 more than B = 16"),
        (lesson_03.q4, control(max_epochs=2_250), "13,500 updates"),
        (lesson_03.q4, control(max_steps=375), "hand it in as `max_epochs`"),
        (lesson_03.q4, control(max_steps=400), "far from the 2,250"),
        (lesson_03.q4, control(max_steps=2_245), "makes 2,245 updates, B = 16 made more"),
        (lesson_03.q4, control(max_steps=25 * 1_437 / 16), "Round up first"),
        (lesson_03.q4, control(max_epochs=374.5), "not a whole number"),
        (lesson_03.q4, control(max_epochs=374), "makes 2,244 updates, B = 16 made more"),
        (lesson_03.q4, control(max_epochs=379), "makes 2,274 updates, more than B = 16"),
        (lesson_03.q4, control(16, max_epochs=25), "B = 256 that has made few"),
        (lesson_03.q4, control(64, max_steps=2_250), "about batches of 256"),
        (lesson_03.q4, control(lr=1.6, max_epochs=25), "two things change at once"),
        (lesson_03.q4, control(lr=0.4, max_steps=2_250), "two things change at once"),
        (lesson_03.q4, control(max_steps=2_250, momentum=0.9), "Leave `momentum` as it was"),
        (lesson_03.q4, control(max_steps=2_250, max_epochs=375), "one of the two"),
        (lesson_03.q4, control(), "one of the two"),
        (lesson_03.q4, control(max_epochs="375"), "is text"),
        (lesson_03.q4, control(max_epochs=math.nan), "is not a whole number"),
        (lesson_03.q4, control(max_steps=inf), "is not a whole number"),
        (lesson_03.q4, 375, "Hand in a dictionary"),
        (lesson_03.q5, 423, run(seeds=7), "has 7 seeds"),
        (lesson_03.q5, 423, some(3), "3 of 8 seeds reached 90%.*more epochs"),
        (lesson_03.q5, 423, some(4), "4 of 8 seeds reached 90%.*more epochs"),
        (lesson_03.q5, 43, run(epochs=1), "within the first epoch"),
        (lesson_03.q5, 9.4, run(), "You predicted epochs.*it took 424"),
        (lesson_03.q5, 13_500, run(), "You predicted samples.*it took 424"),
        (lesson_03.q5, 423 * 1.4, run(), "straight in 1 / B"),
        (lesson_03.q5, 423 / 1.4, run(), "the law is rough"),
        (lesson_03.q5, -3, run(), "-3 is not a number of updates"),
        (lesson_03.q5, math.nan, run(), "nan is not a number of updates"),
        (lesson_03.q5, "423", run(), "is text"),
        (lesson_03.q5, (100, 423), run(), "single number"),
        (lesson_03.q5, 423, pd.concat([run(), run(batch_size=64)]), "several batch sizes"),
        (lesson_03.q5, run(), 423, "single number"),
        (lesson_03.q5, 423, 423, "not a value of type `int`"),
    ]


def test_a_blank_inside_a_function_or_among_the_arguments_is_not_answered_yet():
    blanks = [(lesson_03.q3, lambda epochs: ____), (lesson_03.q3, lambda epochs: int(____))]
    for question, answer in [*blanks, (lesson_03.q4, control(max_epochs=____))]:
        assert question.verdict(answer).message.startswith("**Not answered yet.**")


def test_the_time_of_question_2_is_least_where_its_solution_says():
    sizes = np.arange(1, 1_438)
    milliseconds = 160 * (1 + 24 / sizes) * (2 + 0.01 * sizes)
    assert sizes[milliseconds.argmin()] == 69
    assert [round(milliseconds[size - 1]) for size in (69, 64, 16)] == [580, 581, 864]


@pytest.mark.slow
def test_the_lesson_of_question_4_on_digits():
    """B = 256 has as few of its training images right after 25 epochs as of the others."""
    deep = partial(MLP, hidden=(32, 32, 32))
    trained = fit(
        deep, Digits(split="seed"), batch_size=256, lr=0.1, max_epochs=25, progress=False
    ).history
    last = trained[trained.step == 150]
    assert last.val_accuracy.median() == pytest.approx(0.85, abs=0.03)
    assert abs(last.train_accuracy.median() - last.val_accuracy.median()) < 0.02


@pytest.mark.slow
def test_the_solution_of_question_5_on_digits():
    """The code as the learner is shown it."""
    [code] = re.findall(r"```python\n(.*?)```", lesson_03.q5.answer, re.DOTALL)
    names = {"partial": partial, "MLP": MLP, "fit": fit, "Digits": Digits, "reached": reached}
    exec(code, names)
    small, large, predicted, third = (names[n] for n in ("small", "large", "predicted", "run"))
    assert lesson_03.q5.verdict(predicted, third).correct
    straight_in_b = small + (large - small) * (32 - 8) / (128 - 8)
    assert re.search("straight in 1 / B", lesson_03.q5.verdict(straight_in_b, third).message)
