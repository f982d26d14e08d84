"""Train many seeds at once: `fit`, `sweep` and `collect`."""

from course_lib.training.fit import Run, fit
from course_lib.training.sweep import collect, sweep

__all__ = ["Run", "collect", "fit", "sweep"]
