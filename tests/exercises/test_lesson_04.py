"""Exercises of lesson 4."""

import numpy as np
import torch

from course_lib.exercises import lesson_04
from exercise_rules import ExerciseRules

EIGHT = [0.09] * 7 + [5.0]  # one odd seed does not count


class TestLesson4(ExerciseRules):
    lesson = lesson_04
    right = [
        (lesson_04.q1, (0.0225, 0.36)),
        (lesson_04.q2, 20),
        (lesson_04.q2, 100 * 0.25 / 1.25),
        (lesson_04.q3, [0.1] * 8, EIGHT),
        (lesson_04.q3, np.full(9, 0.08), torch.tensor(EIGHT)),
        (lesson_04.q4, (2, 1)),
    ]
    wrong = [
        (lesson_04.q1, (0.36, 0.0225), "wrong order"),
        (lesson_04.q1, (0.045, 0.72), "You took h s²"),
        (lesson_04.q1, (0.15, 2.4), "which is the slope"),
        (lesson_04.q1, (0.075, 1.2), "comes in squared"),
        (lesson_04.q1, (0, 0), r"Put in w = s"),
        (lesson_04.q1, 0.36, "Hand in 2 numbers"),
        (lesson_04.q2, 25, "0.25 is the rise"),
        (lesson_04.q2, 100, "divided by the loss"),
        (lesson_04.q2, 0.2, "as a share"),
        (lesson_04.q2, 16.67, "1 \\+ the highest loss"),
        (lesson_04.q2, 40, "highest loss itself"),
        (lesson_04.q2, 50, "The formula is"),
        (lesson_04.q2, "20", "is text"),
        (lesson_04.q3, [0.2] * 8, EIGHT, "2.2 times as sharp. More noise"),
        (lesson_04.q3, [0.03] * 8, EIGHT, "flatter than wanted, 0.33"),
        (lesson_04.q3, [0.09] * 7, EIGHT, "These are 7 eigenvalues"),
        (lesson_04.q3, 0.8, EIGHT, "two lists"),
        (lesson_04.q3, [], EIGHT, "two lists"),
        (lesson_04.q3, ["0.1"] * 8, EIGHT, "two lists"),
        (lesson_04.q4, (0.2, 1), "10², not 10"),
        (lesson_04.q4, (0.0002, 1), "The other way round: a step"),
        (lesson_04.q4, (0.002, 1), "The other way round, and squared"),
        (lesson_04.q4, (2, 10), "one layer's 10 undoes"),
        (lesson_04.q4, (0.02, 1), "ten times smaller"),
        (lesson_04.q4, (1, 1), r"write the loss as L\(10 v\)"),
        (lesson_04.q4, 2, "Hand in 2 numbers"),
    ]
