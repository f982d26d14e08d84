"""Judges that several lessons share: of numbers, and of runs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from course_lib.claims import MIN_SEEDS
from course_lib.exercises.question import Mistake, Unanswered, plain, require_answer
from course_lib.history import reached


def number(answer: object) -> float:
    """The answer as a number."""
    if isinstance(answer, str):
        raise Mistake(f"{answer!r} is text. Give a number, without quotation marks.")
    try:
        values = np.asarray(plain(answer))
    except ValueError:  # lists of unequal length
        values = np.empty(0)
    if values.size != 1 or values.dtype.kind not in "iuf":
        raise Mistake(f"A single number is wanted here, not `{answer!r}`.")
    return values.item()


def near(guess: float, measured: float, factor: float = 1.3) -> bool:
    """Whether a guess is right within a factor, either way."""
    return measured / factor <= guess <= measured * factor


def require_function(answer: object, name: str) -> Callable:
    """The function handed in, which the exercise calls `name`."""
    if not callable(answer):
        raise Mistake(f"Hand in the function itself, `check({name})`, without calling it.")
    return answer


def called(function: Callable, call: str, *arguments: Any) -> Any:
    """What a learner's function gives; a Mistake where it stops, which says in what `call`."""
    try:
        answer = function(*arguments)
        require_answer(answer)
    except Unanswered:
        raise
    except Exception as error:
        raise Mistake(f"{call} stops with `{type(error).__name__}`: {error}.") from error
    return answer


def returned(function: Callable, call: str, *arguments: Any) -> Any:
    """As `called`; a Mistake also where the function has no `return`."""
    if (answer := called(function, call, *arguments)) is None:
        raise Mistake("The function returns None. Is there a `return` in front of the result?")
    return answer


def single_run(
    answer: object,
    *,
    batch_size: int | None = None,
    largest: int | None = None,
    epochs: int | None = None,
) -> pd.DataFrame:
    """The history of the one run handed in.

    Args:
        answer: what was handed in.
        batch_size, epochs: what the exercise does not let the learner change.
        largest: the largest batch size allowed.
    """
    history = getattr(answer, "history", answer)
    if not isinstance(history, pd.DataFrame) or "batch_size" not in history:
        raise Mistake(
            f"Hand in what `fit` returned, not a value of type `{type(answer).__name__}`."
        )
    if history["batch_size"].nunique() != 1:
        raise Mistake("These are runs of several batch sizes. Hand in a single run.")
    size = history["batch_size"].iloc[0]
    if batch_size and size != batch_size:
        raise Mistake(f"The batch size is {size}. Leave it at {batch_size}.")
    if largest and size > largest:
        raise Mistake(f"The batch size is {size}. Leave it at {largest} or below.")
    if epochs and (last := history["epoch"].max()) != epochs:
        raise Mistake(f"The run has {last:g} epochs. Leave it at {epochs}.")
    return history


def repeated_run(answer: object, **fixed: int) -> pd.DataFrame:
    """The history of the one run handed in, which has enough seeds to show something.

    Args:
        answer: what was handed in.
        **fixed: what the learner may not change, as in `single_run`.
    """
    history = single_run(answer, **fixed)
    if (seeds := history["seed"].nunique()) < MIN_SEEDS:
        raise Mistake(f"This run has {seeds} seeds. Show it for {MIN_SEEDS} or more.")
    return history


def too_late(history: pd.DataFrame, val_accuracy: float, within: int | None = None) -> str:
    """How many seeds reached a held-out accuracy (within some epochs); "" where all of them did."""
    last = history["epoch"].max() if within is None else within
    arrived = int((reached(history, val_accuracy=val_accuracy)["epoch"] <= last).sum())
    if arrived >= (seeds := history["seed"].nunique()):
        return ""
    limit = "" if within is None else f" within {within} epochs"
    return f"{arrived} of {seeds} seeds reached {val_accuracy:.0%}{limit}."


def numeric(
    expected: float | tuple, mistakes: dict, otherwise: str, tolerance: float = 0.0
) -> Callable:
    """A judge of a number, or of a tuple of numbers.

    Args:
        expected: the right answer.
        mistakes: wrong answers that learners give, each with what went wrong.
        otherwise: what to say about any other wrong answer.
        tolerance: how far rounding may take the answer from these values.
    """

    def judge(answer: object) -> None:
        values: float | list[float]
        if isinstance(expected, tuple):
            answer = plain(answer)
            if not isinstance(answer, list | tuple) or len(answer) != len(expected):
                raise Mistake(f"Hand in {len(expected)} numbers, as `check((a, b))`.")
            values = [number(part) for part in answer]
        else:
            values = number(answer)
        for wrong, message in mistakes.items():
            if np.allclose(values, wrong, rtol=1e-9, atol=tolerance):
                raise Mistake(message)
        if not np.allclose(values, expected, rtol=1e-9, atol=tolerance):
            raise Mistake(otherwise)

    return judge
