"""What a history is: the columns of the table that `fit` and `sweep` return, and their meaning.

One row for each seed and evaluation. COUNTS say where its run was then, `measures` how good it
was, DIVERGED whether it can still be trusted. A column that a lesson adds says how it was trained.
"""

from collections.abc import Iterable
from numbers import Real
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from pandas.api.types import is_numeric_dtype
from torch import Tensor

PROGRESS = ("epoch", "step", "examples", "seconds")  # these grow along a run
COUNTS = ("batch_size", "seed", *PROGRESS)
DIVERGED = "diverged"

Values = TypeVar("Values", Tensor, np.ndarray, pd.Series)


def measures(metrics: Iterable[str]) -> list[str]:
    """The measured columns in their order: train_loss, train_<metric>, ..., val_loss, ..."""
    names = ["loss", *metrics]
    return [f"{part}_{name}" for part in ("train", "val") for name in names]


def lower_is_better(measure: str) -> bool:
    """Losses and errors are to fall, everything else (accuracy) is to rise."""
    return measure.endswith(("loss", "error"))


def arrived(measure: str, values: Values, target: float) -> Values:
    """Where the values of a measure are as good as the target, or better; NaN never is."""
    return values <= target if lower_is_better(measure) else values >= target


def diverged(train_loss: Values) -> Values:
    """Where the training loss is no longer finite."""
    if isinstance(train_loss, Tensor):
        return ~torch.isfinite(train_loss)
    return ~np.isfinite(train_loss)


def reached(history: pd.DataFrame, *, interpolate: bool = False, **target: float) -> pd.DataFrame:
    """When each run first reached a target, such as `reached(history, val_accuracy=0.95)`.

    A run is what one seed did from step 0 on. In a table whose rows have been put in another order
    or of which only a part is left, runs are told apart by the columns that are not measured:
    batch_size, seed and any the lesson added, such as lr.

    Args:
        history: what `fit` or `sweep` measured, or several such tables one after the other.
        target: one measured column and its threshold: a loss or an error is reached from above,
            an accuracy and any other metric from below.
        interpolate: count inside epochs, too: along the straight line from the evaluation before
            to the first one that is there, up to where it crosses the target.

    Returns:
        One row a run: its columns, as they were when it began, and epoch, step, examples and
        seconds of the first evaluation that reached the target; inf where none did.

    Raises:
        ValueError: a history without its columns, or a target that it does not measure.
    """
    measure, threshold = _checked(history, target)
    history = history.reset_index(drop=True)
    labels = [c for c in history if c not in [*PROGRESS, DIVERGED] and not _is_measure(c)]
    run = _runs(history, labels)
    there = history[arrived(measure, history[measure], threshold)].sort_values("step")
    first = there.loc[~run[there.index].duplicated(), [*PROGRESS, measure]]
    if interpolate:
        before = history.sort_values("step").groupby(run)[[*PROGRESS, measure]].shift()
        first = _crossing(first, before.loc[first.index].fillna(first), measure, threshold)
    first = first[[*PROGRESS]]
    runs = history.loc[~run.duplicated(), labels]
    table = runs.set_axis(run[runs.index]).join(first.set_axis(run[first.index]))
    return table.fillna(dict.fromkeys(PROGRESS, np.inf)).reset_index(drop=True)


def _crossing(
    first: pd.DataFrame, before: pd.DataFrame, measure: str, threshold: float
) -> pd.DataFrame:
    """Where straight lines from the rows before to the first rows there cross the threshold."""
    share = (threshold - before[measure]) / (first[measure] - before[measure])
    share = share.where(np.isfinite(share), 1.0)  # no evaluation before, or a loss without a number
    return before + (first - before).mul(share, axis="index")


def _runs(history: pd.DataFrame, labels: list[str]) -> pd.Series:
    """A number for each row, the same for all rows of a run.

    Whole runs one after the other begin with step 0, and epoch and step grow until the next one
    of the same seed: their batch size may change on the way. Rows in which this is not so have
    lost their order, and only their labels tell what belongs together.
    """
    run = (history["step"] == 0).groupby(history["seed"]).cumsum()
    growth = history.groupby([history["seed"], run])[["epoch", "step"]].diff()
    in_order = (run > 0).all() and (growth.isna() | (growth > 0)).all(axis=None)
    keys = [history["seed"], run] if in_order else labels
    return history.groupby(keys, dropna=False).ngroup()


def _is_measure(column: object) -> bool:
    return isinstance(column, str) and column.startswith(("train_", "val_"))


def _checked(history: pd.DataFrame, target: dict[str, float]) -> tuple[str, float]:
    """The target's column and its threshold."""
    if not isinstance(history, pd.DataFrame):
        raise ValueError(f"history must be what fit returns, not {type(history).__name__}")
    if missing := [c for c in ["seed", *PROGRESS] if c not in history]:
        raise ValueError(f"history must be what fit returns; it has no column {', '.join(missing)}")
    measured = [c for c in history if _is_measure(c)]
    if len(target) != 1 or not set(target) <= set(measured):
        raise ValueError(
            f"target={target!r} must be one column that history measures ({', '.join(measured)}) "
            "and the value to reach, such as val_loss=0.1"
        )
    [(measure, threshold)] = target.items()
    columns = history[["seed", *PROGRESS, measure]]
    if any(not is_numeric_dtype(kind) for kind in columns.dtypes):
        raise ValueError(f"history must hold numbers in its columns {', '.join(columns)}")
    return measure, _threshold(measure, threshold)


def _threshold(measure: str, threshold: Any) -> float:
    real = isinstance(threshold, Real) and not isinstance(threshold, bool)
    try:
        value = float(threshold) if real else np.nan
    except OverflowError:  # an int beyond all floats
        value = np.nan
    if np.isnan(value):
        raise ValueError(f"{measure}={threshold!r} must be a number, such as 0.1")
    if measure.endswith("accuracy") and not 0 <= value <= 1:
        raise ValueError(f"{measure}={threshold!r} must be a share from 0 to 1, as 0.95 for 95 %")
    return value
