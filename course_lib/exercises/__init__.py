"""Exercises with automatic check, hints and solution: one module a lesson, q1, q2, ... in each.

In a lesson::

    from course_lib.exercises import ____, lesson_01

    lesson_01.q1.check(____)  # put the answer in the place of ____
    # lesson_01.q1.hint()
    # lesson_01.q1.solution()
"""

from course_lib.exercises import (
    lesson_01,
    lesson_02,
    lesson_03,
    lesson_04,
    lesson_05,
    lesson_06,
    lesson_07,
    lesson_08,
)
from course_lib.exercises.question import ____

__all__ = [
    "____",
    "lesson_01",
    "lesson_02",
    "lesson_03",
    "lesson_04",
    "lesson_05",
    "lesson_06",
    "lesson_07",
    "lesson_08",
]
