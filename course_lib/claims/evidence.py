"""Evidence: what a table, seeds x conditions, says for or against a sentence.

A table has one row a repetition (a seed with its own split, a process of its own) and one column a
condition, such as ``runs.pivot(index="seed", columns="batch_size", values="epoch")``. A run that
never reached its target is infinite there, as `reached` leaves it; NaN counts against a sentence.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike

from course_lib.claims import intervals, wording
from course_lib.claims.wording import said

MIN_SEEDS = 8


@dataclass(frozen=True)
class Evidence:
    """What a measurement says about a sentence.

    Attributes:
        holds: whether it supports the sentence.
        shown: what a reader takes in at a glance: medians in units, and how many seeds agree.
        details: the effect, its 95 % interval, and what was asked of it.
        effect: the effect as one number.
        repetitions: how many independent repetitions it rests on; None where nothing varies.

    ``a & b`` holds where both hold, and rests on as many repetitions as the weaker one.
    """

    holds: bool
    shown: str
    details: str
    effect: float
    repetitions: int | None = None

    @property
    def enough(self) -> bool:
        """Whether it rests on enough repetitions to tell."""
        return self.repetitions is None or self.repetitions >= MIN_SEEDS

    def __and__(self, other: "Evidence") -> "Evidence":
        counts = [n for n in (self.repetitions, other.repetitions) if n is not None]
        return replace(
            self,
            holds=self.holds and other.holds,
            shown=f"{self.shown}; {other.shown}",
            details=f"{self.details}; {other.details}",
            repetitions=min(counts, default=None),
        )


def less(smaller: pd.Series, larger: pd.Series, unit: str = "", ratio: bool = False) -> Evidence:
    """Seed by seed, one condition lies below another.

    Holds when the 95 % interval (`intervals.of_median`) of the median of larger - smaller lies
    above 0, or that of larger / smaller above 1. Ties, such as two runs that both never arrived,
    are no difference.

    Args:
        smaller, larger: two columns of a table. Where a run was stopped before its target, its
            true value is only known to be above the place where it stopped: as `smaller` let it be
            infinite, as `larger` give that place, and the sentence is never favoured.
        unit: of the values, such as "epochs" or "nats"; "%" shows shares in per cent.
        ratio: take larger / smaller, of positive values, and not larger - smaller.

    Raises:
        TypeError, ValueError: what are no columns of one table; ratios of what is not positive.
    """
    low, high = _paired(smaller, larger)
    if ratio and not (pd.concat([low, high]).dropna() > 0).all():
        raise ValueError("ratio=True needs values above 0; there are others: use the difference")
    null = 1.0 if ratio else 0.0
    with np.errstate(invalid="ignore", divide="ignore"):
        gain = (high / low if ratio else high - low).mask(low == high, null)
    wins, ties, missing = (gain > null).sum(), (gain == null).sum(), gain.isna().sum()
    middle, least, most = _median(gain)
    return Evidence(
        bool(least > null),
        f"{wording.medians([low, high], unit)} · {wording.won(wins, gain, ties, missing)}",
        wording.effect("ratio" if ratio else "difference", middle, least, most, unit),
        middle,
        len(gain),
    )


def increasing(table: pd.DataFrame, unit: str = "") -> Evidence:
    """From each condition to the next, seed by seed, the values rise.

    Holds when every step does (`less`); the chance that all of them hold by accident is smaller
    than that of one.

    Args:
        table: two columns or more, in the order in which they are to rise.
        unit: as for `less`.

    Raises:
        TypeError, ValueError: no such table.
    """
    if not isinstance(table, pd.DataFrame) or table.shape[1] < 2:
        raise TypeError(f"table={table!r} must be a table with two columns or more")
    steps = [less(table.iloc[:, i], table.iloc[:, i + 1], unit) for i in range(table.shape[1] - 1)]
    values = table.astype(float)
    rising = np.logical_and.reduce([values[a] < values[b] for a, b in pairwise(values)])
    names = list(map(wording.name, table))
    return Evidence(
        all(step.holds for step in steps),
        f"{wording.row_of_medians(values, unit)} · {wording.won(rising.sum(), values)}",
        "; ".join(
            f"{a} to {b}: {s.details}" for (a, b), s in zip(pairwise(names), steps, strict=True)
        ),
        min(step.effect for step in steps),
        len(table),
    )


def within(values: pd.Series, low: float, high: float, unit: str = "") -> Evidence:
    """The median lies between two bounds: an equivalence, with a margin that the claim justifies.

    Holds when the whole 95 % interval of the median (`intervals.of_median`) does.

    Args:
        values: one column, one value a repetition.
        low, high: the bounds, in the values' own unit (0.01 for 1 %).
        unit: as for `less`.

    Raises:
        TypeError, ValueError: what is no column; bounds in the wrong order.
    """
    values = _column("values", values)
    if not low < high:
        raise ValueError(f"low={low!r} must be less than high={high!r}")
    middle, least, most = _median(values)
    bounds = f"{said(low, unit)} to {said(high, unit)}"
    return Evidence(
        bool(low <= least and most <= high),
        f"median {said(middle, unit)} · {wording.repeated(values)}",
        f"{wording.effect('median', middle, least, most, unit)}, to lie within {bounds}",
        middle,
        len(values),
    )


def beats(error: pd.Series, rival_error: pd.Series, unit: str = "") -> Evidence:
    """Seed by seed, a law's error is smaller than that of its rival: `less` of their ratio.

    Args:
        error, rival_error: columns, each named after its law; errors on the same data, on which
            neither law was fitted, or with equally many fitted numbers.
        unit: as for `less`.
    """
    return less(error, rival_error, unit, ratio=True)


def slope(table: pd.DataFrame, low: float, high: float) -> Evidence:
    """The exponent c of a power law y ∝ x^c lies between two bounds.

    One point a condition, the mean of log y over the seeds, against log x; the interval is
    Student's over the conditions (`intervals.of_slope`), and holds when all of it does.

    Args:
        table: positive values; the columns are three or more positive x.
        low, high: the bounds of the exponent. A rival's exponent lies outside.

    Raises:
        TypeError, ValueError: no such table; bounds in the wrong order.
    """
    x, y = _points(table)
    if not low < high:
        raise ValueError(f"low={low!r} must be less than high={high!r}")
    exponent, least, most = intervals.of_slope(np.log(x), y)
    return Evidence(
        bool(low <= least and most <= high),
        f"exponent {exponent:.2f} · {len(x)} conditions, {wording.repeated(table)}",
        f"exponent {exponent:.3f} (95 % interval over the conditions {least:.3f} to {most:.3f}), "
        f"to lie within {low:g} to {high:g}",
        exponent,
        len(table),
    )


def equal(a: ArrayLike, b: ArrayLike, tolerance: float = 0.0) -> Evidence:
    """An identity: no two corresponding numbers differ by more than `tolerance`.

    Nothing varies here, so there is neither interval nor number of seeds.

    Args:
        a, b: numbers, arrays or tensors of one shape. NaN equals nothing.
        tolerance: the largest absolute difference allowed; 0 asks for exact equality.

    Raises:
        TypeError, ValueError: what are no numbers of one shape, or no tolerance.
    """
    if not tolerance >= 0:
        raise ValueError(f"{tolerance=} must be the largest difference allowed, 0 or more")
    first, second = _numbers("a", a), _numbers("b", b)
    if first.shape != second.shape:
        shapes = f"{first.shape} and {second.shape}"
        raise ValueError(f"a and b must have one shape; they have {shapes}")
    first, second = np.atleast_1d(first), np.atleast_1d(second)
    if first.dtype != second.dtype:  # whole numbers beside others
        first, second = first.astype(float), second.astype(float)
    with np.errstate(invalid="ignore"):  # inf - inf, where both sides are equal
        difference = np.where(first == second, 0, np.abs(first - second))
    largest = difference.max()
    allowed = f"{tolerance:.2g} allowed" if tolerance else "exact"
    return Evidence(
        bool((difference <= tolerance).all()),
        wording.compared(first, second),
        f"largest difference {wording.number(largest)} ({allowed})",
        float(largest),
    )


def _median(values: pd.Series) -> tuple[float, float, float]:
    """Median and interval; a missing number counts as the worst."""
    worst = values.fillna(-np.inf).to_numpy()
    return intervals.median(worst), *intervals.of_median(worst)


def _column(name: str, values: pd.Series) -> pd.Series:
    """A column of a table as floats."""
    if not isinstance(values, pd.Series):
        raise TypeError(f"{name}={values!r} must be a column of a table, one value a seed")
    if values.empty or values.index.has_duplicates:
        raise ValueError(f"{name} must have one value for each of one seed or more")
    try:
        return values.astype(float)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must hold numbers: {error}") from error


def _paired(smaller: pd.Series, larger: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Two columns of the same seeds, in one order."""
    low, high = _column("smaller", smaller), _column("larger", larger)
    if lone := sorted(set(low.index) ^ set(high.index)):
        raise ValueError(f"smaller and larger must have the same seeds; one alone has {lone}")
    return low, high[low.index]


def _points(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Each condition x and its mean of log y."""
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"table={table!r} must be a table, seeds x conditions")
    try:
        x, y = np.array(table.columns, float), table.to_numpy(float)
    except (TypeError, ValueError) as error:
        raise TypeError(f"table and its columns must be numbers: {error}") from error
    if len(np.unique(x)) < 3 or not (x > 0).all() or not ((y > 0) & np.isfinite(y)).all():
        raise ValueError("table must hold finite values above 0, at three or more different x > 0")
    return x, np.log(y).mean(axis=0)


def _numbers(name: str, values: ArrayLike) -> np.ndarray:
    """Whole numbers become Python's, so that they compare exactly whatever their size."""
    array = np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values)
    if array.dtype.kind not in "biuf" or array.size == 0:
        raise TypeError(f"{name}={values!r} must be one or more numbers")
    return array.astype(float if array.dtype.kind == "f" else object)
