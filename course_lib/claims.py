"""Claims: sentences of a lesson that a measurement on this machine decides.

A lesson states a claim with its evidence, and a claim whose evidence does not hold stops the
notebook::

    claim("1.4", "Held-out loss is lower after 20 epochs than after one",
          paired(history, "val_loss", "epoch == 20", "<", "epoch == 1"))
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from numbers import Real

import numpy as np
import pandas as pd
import torch
from IPython.display import display
from numpy.typing import ArrayLike
from scipy import stats

from course_lib.checks import positive

MIN_SEEDS = 8
LEVEL = 0.05  # of the sign test; the intervals cover 95 %
UNBOUNDED = 1e150  # stands in for infinity where averages and squares must be finite
SHOWN_IN_FULL = 4  # longer comparisons are only counted


class ClaimError(AssertionError):
    """A claim whose evidence does not hold."""


@dataclass(frozen=True)
class Evidence:
    """Whether a measurement supports its claim, and its numbers as the reader sees them.

    ``a & b`` holds where both hold.
    """

    holds: bool
    numbers: str

    def __and__(self, other: "Evidence") -> "Evidence":
        return Evidence(self.holds and other.holds, f"{self.numbers}; {other.numbers}")


@dataclass(frozen=True)
class Claim:
    """A claim as it is shown; its fields are also published as JSON for other programs."""

    number: str
    sentence: str
    numbers: str
    holds: bool
    common_belief: bool

    @property
    def verdict(self) -> str:
        if not self.holds:
            return "does not hold"
        return "holds" if self.common_belief else "holds, against the common belief"

    def __str__(self) -> str:
        return f"Claim {self.number}. {self.sentence}.\n{self.numbers} ({self.verdict})"

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        return {
            "text/plain": str(self),
            "text/markdown": f"**Claim {self.number}. {self.sentence}.**  \n"
            f"{self.numbers}. *This {self.verdict}.*",
            "application/vnd.course.claim+json": asdict(self),
        }


class Table(pd.DataFrame):
    """A DataFrame that a notebook shows as a Markdown table: whole sentences, set as text."""

    _repr_html_ = None

    def _repr_markdown_(self) -> str:
        cells = self.map(lambda cell: str(cell).replace("|", r"\|"))
        rows = [list(self), [":---"] * self.shape[1], *cells.to_numpy()]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)


_shown: dict[str, Claim] = {}


def claim(number: str, sentence: str, evidence: Evidence, common_belief: bool = True) -> None:
    """Show a claim with its measured numbers, and stop where they do not support it.

    Args:
        number: lesson and claim, such as "3.2".
        sentence: what is claimed, in one sentence.
        evidence: what `paired`, `equal` or `slope` measured.
        common_belief: False where the sentence goes against what is commonly said.

    Raises:
        ClaimError: if the evidence does not hold; the message has the numbers.
        TypeError, ValueError: for arguments of another kind.
    """
    if not isinstance(number, str) or not re.fullmatch(r"\d+\.\d+", number):
        raise ValueError(f'number={number!r} must be lesson and claim as text, such as "3.2"')
    if not isinstance(sentence, str) or not sentence.strip(". "):
        raise ValueError(f"sentence={sentence!r} must say in words what claim {number} states")
    if not isinstance(evidence, Evidence):
        raise TypeError(
            f"evidence={evidence!r} of claim {number} must be what paired, equal or slope returned"
        )
    sentence = sentence.strip().rstrip(".")
    shown = Claim(number, sentence, evidence.numbers, evidence.holds, common_belief)
    _shown[number] = shown
    display(shown)
    if not shown.holds:
        raise ClaimError(str(shown))


def measured() -> Table:
    """The claims shown so far, in order of their numbers: claim, sentence, measured, verdict."""
    ordered = sorted(_shown.values(), key=lambda c: [int(part) for part in c.number.split(".")])
    rows = [(c.number, c.sentence, c.numbers, c.verdict) for c in ordered]
    return Table(rows, columns=["claim", "sentence", "measured", "verdict"])


def paired(
    frame: pd.DataFrame, value: str, this: str, relation: str, other: str | float
) -> Evidence:
    """Compare two conditions seed by seed; holds when `this` is `relation` than `other`.

    The test is the exact one-sided sign test over all seeds, at p < 0.05. It asks only which of
    two numbers is larger, so a run that never arrived (inf) counts as later than every run that
    did. A tie counts against the claim, and so does a missing number (NaN). The interval is the
    95 % percentile bootstrap of the median difference over seeds.

    Args:
        frame: tidy measurements with a column `seed`, such as `Run.history`.
        value: the column to compare.
        this: pandas query that leaves one row a seed, such as "batch_size == 8 and epoch == 20".
        relation: "<" or ">".
        other: query of the other condition, or a number.

    Raises:
        ValueError: if a condition does not leave one row for each of the same 8 or more seeds.

    Source: W. J. Dixon and A. M. Mood, "The statistical sign test", JASA 41 (1946).
    """
    if relation not in ("<", ">"):
        raise ValueError(f'relation={relation!r} must be "<" or ">"')
    left = _by_seed(frame, value, "this", this)
    right = (
        pd.Series(float(other), left.index)
        if isinstance(other, Real)
        else _by_seed(frame, value, "other", other)
    )
    if lone := sorted(set(left.index) ^ set(right.index)):
        raise ValueError(f"{this=} and {other=} must have the same seeds; one alone has {lone}")
    if len(left) < MIN_SEEDS:
        raise ValueError(f"{this=} must have {MIN_SEEDS} seeds or more, and has {len(left)}")
    right = right[left.index]
    sign = 1 if relation == ">" else -1
    gain = (sign * (left - right)).mask(left == right, 0.0)  # two that never arrived tie
    wins, seeds = int((gain > 0).sum()), len(gain)
    p = stats.binomtest(wins, seeds, alternative="greater").pvalue
    difference = sign * gain.fillna(-np.inf).clip(-UNBOUNDED, UNBOUNDED).to_numpy()
    never = "∞" if "loss" in value else "never"
    missing = int(gain.isna().sum())
    numbers = (
        f"median {value} {_text(left.median(), never)} against {_text(right.median(), never)}; "
        f"{_median_text(difference)}; "
        f"{'higher' if sign > 0 else 'lower'} in {wins} of {seeds} seeds"
        + f" ({missing} without a number count against)" * bool(missing)
        + f", p = {p:.2g} (exact sign test)"
    )
    return Evidence(bool(p < LEVEL), numbers)


def equal(a: ArrayLike, b: ArrayLike, tolerance: float = 0.0) -> Evidence:
    """An identity; holds when no two corresponding numbers differ by more than `tolerance`.

    Args:
        a, b: numbers, arrays or tensors of one shape. NaN equals nothing.
        tolerance: the largest absolute difference allowed; 0 asks for exact equality.
    """
    if not isinstance(tolerance, Real) or not tolerance >= 0:
        raise ValueError(f"{tolerance=} must be the largest difference allowed, 0 or more")
    a, b = _array("a", a), _array("b", b)
    if a.shape != b.shape:
        raise ValueError(f"a and b must have one shape; they have {a.shape} and {b.shape}")
    a, b = np.atleast_1d(a, b)
    if a.dtype != b.dtype:  # whole numbers beside others
        a, b = a.astype(float), b.astype(float)
    with np.errstate(invalid="ignore"):  # inf - inf, where both sides are equal
        difference = np.where(a == b, 0, np.abs(a - b))
    if a.size <= SHOWN_IN_FULL:
        numbers = f"{', '.join(map(_text, a.flat))} against {', '.join(map(_text, b.flat))}; "
    else:
        numbers = f"{a.size:,} numbers compared; "
    allowed = f"{tolerance:.2g} allowed" if tolerance else "exact"
    numbers += f"largest difference {_text(difference.max())} ({allowed})"
    return Evidence(bool((difference <= tolerance).all()), numbers)


def slope(x: Sequence[float], y: Sequence[float], expected: float, tolerance: float) -> Evidence:
    """Fit a straight line; holds when the slope's whole 95 % interval is within the tolerance.

    A fit too vague to tell does therefore not hold. Pass logarithms to fit a power law. The
    interval is Student's, with n - 2 degrees of freedom, for points with independent errors.

    Args:
        x, y: at least three points, at three or more distinct x.
        expected: the slope claimed.
        tolerance: how far from it the interval may extend.
    """
    across, up = _array("x", x).astype(float), _array("y", y).astype(float)
    if across.ndim != 1 or across.shape != up.shape:
        shapes = f"{across.shape} and {up.shape}"
        raise ValueError(f"x and y must be lists of one length; they have the shapes {shapes}")
    if not (np.isfinite(across).all() and np.isfinite(up).all()):
        raise ValueError("x and y must be finite; fit only points that have a number")
    if len(np.unique(across)) < 3:
        raise ValueError(f"x={across.tolist()} must hold three distinct numbers or more")
    tolerance = positive("tolerance", tolerance)
    value, half = _fitted(across, up)
    numbers = (
        f"slope {_text(value)} (95 % interval {_text(value - half)} to "
        f"{_text(value + half)}) over {len(across)} points, expected {expected:g} +/- {tolerance:g}"
    )
    return Evidence(bool(abs(value - expected) + half <= tolerance), numbers)


def _fitted(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The slope of the straight line and half of its interval; exactly 0 where y is constant."""
    if np.ptp(y) == 0:
        return 0.0, 0.0
    fit = stats.linregress(x, y)
    return fit.slope, stats.t.ppf(1 - LEVEL / 2, len(x) - 2) * fit.stderr


def _by_seed(frame: pd.DataFrame, value: str, side: str, condition: str | float) -> pd.Series:
    """The values of the rows that a condition picks, indexed by seed."""
    if missing := [c for c in ("seed", value) if c not in frame]:
        raise ValueError(f"frame must have the column {', '.join(missing)}, not {', '.join(frame)}")
    try:
        rows = frame.query(condition)
    except Exception as error:
        raise ValueError(
            f"{side}={condition!r} must be a query on the columns {', '.join(frame)}: {error}"
        ) from error
    if rows.empty or rows["seed"].duplicated().any():
        raise ValueError(
            f"{side}={condition!r} must leave exactly one row a seed; it picks {len(rows)} rows "
            f"for {rows['seed'].nunique()} seeds"
        )
    return rows.set_index("seed")[value].astype(float)


def _array(name: str, values: ArrayLike) -> np.ndarray:
    """Whole numbers become Python's, so that they compare exactly whatever their size."""
    array = np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values)
    if array.dtype.kind not in "biuf" or array.size == 0:
        raise TypeError(f"{name}={values!r} must be one or more numbers")
    return array.astype(float if array.dtype.kind == "f" else object)


def _median_text(difference: np.ndarray) -> str:
    low, high = stats.bootstrap(
        (difference,), np.median, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    return (
        f"median difference {_text(np.median(difference))} "
        f"(95 % interval {_text(low)} to {_text(high)})"
    )


def _text(number: float, infinite: str = "∞") -> str:
    """Three digits, whole numbers in full; `infinite` for what stands for infinity."""
    if isinstance(number, int):
        return f"{number:,}"
    if abs(number) > 1e100:
        return infinite if number > 0 else f"-{infinite}"
    if abs(number) >= 1000 or number == np.round(number):
        return f"{number + 0.0:,.0f}"  # turns -0 into 0
    return f"{number:.3g}"
