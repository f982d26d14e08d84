"""Exercises of lesson 8."""

import numpy as np

from course_lib.exercises import lesson_08
from course_lib.noise import two_batch_noise
from exercise_rules import ExerciseRules, made_up_run


def run(batch_size=64, steps=115, **options):
    """A history of `steps` updates, 23 an epoch."""
    options = {"samples": 23 * batch_size, "loss": 0.09, **options}
    return made_up_run(batch_size, steps / 23, **options)


class TestLesson8(ExerciseRules):
    lesson = lesson_08
    right = [
        (lesson_08.q1, 40),
        (lesson_08.q2, (100, 800)),
        (lesson_08.q2, [100.0, 800.0]),
        (lesson_08.q3, run()),
        (lesson_08.q3, run(batch_size=128, steps=84)),
        (lesson_08.q4, (6.5, 13)),
        (lesson_08.q5, 400),
    ]
    wrong = [
        (lesson_08.q1, 1, "squared length of the full gradient"),
        (lesson_08.q1, 30, "difference of the batch sizes"),
        (lesson_08.q1, 0.025, "other way round"),
        (lesson_08.q1, 3, "difference of the two lengths"),
        (lesson_08.q1, 20, "2 is that of batches of 40"),
        (lesson_08.q1, 8, "5 is that of batches of 10"),
        (lesson_08.q1, 100, "Two equations"),
        (lesson_08.q1, "40", "is text"),
        (lesson_08.q2, (800, 100), "other way round"),
        (lesson_08.q2, (300, 400), "not the end yet"),
        (lesson_08.q2, (100, 80_000), "80,000 is E_min"),
        (lesson_08.q2, (100, 200), "150 updates"),
        (lesson_08.q2, (1, 1), "Two equations"),
        (lesson_08.q2, 100, "Hand in 2 numbers"),
        (lesson_08.q3, run(batch_size=512, steps=60), "30,720 samples, more than 12,000"),
        (lesson_08.q3, run(batch_size=8, steps=450), "450 updates, more than 160"),
        (lesson_08.q3, run(loss=0.2), "does not reach"),
        (lesson_08.q3, run(seeds=7), "has 7 seeds"),
        (lesson_08.q3, 64, "not a value of type `int`"),
        (lesson_08.q4, (13, 6.5), "other way round"),
        (lesson_08.q4, (12, 13), "a twelfth of the updates"),
        (lesson_08.q4, (6.5, 12), "13 S_min"),
        (lesson_08.q4, (6, 12), "not 12 S_min"),
        (lesson_08.q4, (12, 12), "Count the updates"),
        (lesson_08.q4, (1, 2), "Speed-up ="),
        (lesson_08.q5, 1_600, "is the critical batch size"),
        (lesson_08.q5, 100, "knee of the time"),
        (lesson_08.q5, 160_000, "square root of the product"),
        (lesson_08.q5, 850, "geometric mean"),
        (lesson_08.q5, 4, "not 0.02 / 2"),
        (lesson_08.q5, 500, "critical batch size x knee"),
    ]


# What the library and plain arithmetic say to the questions on paper.


def test_the_estimator_gives_the_noise_scale_of_the_answer():
    assert lesson_08.q1.verdict(two_batch_noise((10, 40), (5, 2)).noise_scale).correct


def test_two_runs_give_the_hyperbola_of_the_answer():
    steps_min, samples_min = np.linalg.solve([[1, 1 / 100], [1, 1 / 400]], [900, 300])
    assert lesson_08.q2.verdict((steps_min, samples_min / steps_min)).correct


def test_the_speed_up_of_the_answer():
    def updates(devices):
        return 1 + 6_000 / (500 * devices)

    assert lesson_08.q4.verdict((updates(1) / updates(12), updates(1) / updates(1e12))).correct


def test_no_batch_size_is_faster_than_the_answer():
    sizes = np.arange(1, 6_000)
    best = sizes[np.argmin((1 + 1_600 / sizes) * (2 + 0.02 * sizes))]
    assert lesson_08.q5.verdict(best).correct
