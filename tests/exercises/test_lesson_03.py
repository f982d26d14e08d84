"""Exercises of lesson 3."""

import math
import re
from functools import partial

import pandas as pd
import pytest

from course_lib.datasets import Digits
from course_lib.exercises import lesson_03
from course_lib.models import MLP
from course_lib.training import fit
from exercise_rules import ExerciseRules, made_up_run

run = partial(made_up_run, batch_size=256, epochs=25, loss=0.2)


class TestLesson3(ExerciseRules):
    lesson = lesson_03
    right = [
        (lesson_03.q1, 18),
        (lesson_03.q2, (15, 3.12)),
        (lesson_03.q2, (6_000 * 2.5e-3, 60 * 52e-3)),
        (lesson_03.q3, (64, 75)),
        (lesson_03.q4, 3 / 16),
        (lesson_03.q4, 0.19),
        (lesson_03.q5, run()),
        (lesson_03.q5, run(seeds=16, accuracy=0.90, epochs=10)),
    ]
    wrong = [
        (lesson_03.q1, 15, "median of the runs that arrived"),
        (lesson_03.q1, 14, "fastest of all"),
        (lesson_03.q1, 20, "Sort it first"),
        (lesson_03.q1, 15.8, "mean of the runs that arrived"),
        (lesson_03.q1, 139 / 7, "mean with 30"),
        (lesson_03.q1, math.inf, "finite as long as"),
        (lesson_03.q1, 16, "Sort all seven"),
        (lesson_03.q1, "18", "is text"),
        (lesson_03.q2, (2.5, 52), "one update in milliseconds"),
        (lesson_03.q2, (15_000, 3_120), "asks for seconds"),
        (lesson_03.q2, (150, 3_120), "one for each batch"),
        (lesson_03.q2, (12, 0.12), "fixed part"),
        (lesson_03.q2, (3, 3), "2 ms of each update are missing"),
        (lesson_03.q2, (3.12, 15), "wrong order"),
        (lesson_03.q2, (15, 15), "number of updates"),
        (lesson_03.q2, 15, "Hand in 2 numbers"),
        (lesson_03.q3, (8, 180), "each of them takes a minute"),
        (lesson_03.q3, (1_024, 120), "it needs 20 of them"),
        (lesson_03.q3, (64, 15), "it needs 5"),
        (lesson_03.q3, (1_024, 6), "one epoch of 20"),
        (lesson_03.q3, (8, 60), "one epoch of 3"),
        (lesson_03.q3, (75, 64), "wrong order"),
        (lesson_03.q3, (64, 76), "Multiply epochs by seconds"),
        (lesson_03.q4, 0, "only 4 of the 16"),
        (lesson_03.q4, 1 / 16, "equal numbers"),
        (lesson_03.q4, 13 / 16, "is the earlier one"),
        (lesson_03.q4, 3, "Out of how many"),
        (lesson_03.q4, 0.5, "count the pairs"),
        (lesson_03.q4, 0.25, "Count the pairs, of all"),
        (lesson_03.q5, run(batch_size=64), "batch size is 64"),
        (lesson_03.q5, run(seeds=7), "has 7 seeds"),
        (lesson_03.q5, run(accuracy=0.89), "0 of 8 seeds.*too slowly"),
        (lesson_03.q5, run(epochs=26), "0 of 8 seeds.*too slowly"),
        (lesson_03.q5, run(accuracy=0.1, loss=2.4), "0 of 8 seeds.*too long"),
        (lesson_03.q5, run(accuracy=0.1, loss=math.nan), "0 of 8 seeds.*too long"),
        (lesson_03.q5, pd.concat([run(), run(batch_size=64)]), "several batch sizes"),
        (lesson_03.q5, 0.4, "not a value of type `float`"),
    ]


# The experiment that question 5 asks for, run for real.


@pytest.mark.parametrize(("lr", "message"), [(0.4, "Right"), (0.1, "0 of 8.*too slowly")])
def test_the_solution_of_question_5_on_digits(lr, message):
    network = partial(MLP, hidden=(32, 32, 32))
    trained = fit(network, Digits(), batch_size=256, lr=lr, max_epochs=25, progress=False)
    assert re.search(message, lesson_03.q5.verdict(trained).message)
