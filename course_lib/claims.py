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
from scipy import stats

MIN_SEEDS = 8
LEVEL = 0.05  # of the sign test; the intervals cover 95 %
UNBOUNDED = 1e150  # stands in for infinity where averages and squares must be finite
FEW = 4  # so many compared numbers are shown themselves
PROGRESS = ["epoch", "step", "examples", "seconds"]
TARGETS = ["train_loss", "train_accuracy", "val_loss", "val_accuracy"]


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

    def _repr_mimebundle_(self, **_) -> dict:
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
        raise ValueError(f'number={number!r}: give lesson and claim as text, such as "3.2".')
    if not isinstance(sentence, str) or not sentence.strip(". "):
        raise ValueError(f"sentence={sentence!r}: say in words what claim {number} states.")
    if not isinstance(evidence, Evidence):
        raise TypeError(
            f"evidence={evidence!r} of claim {number}: give what paired, equal or slope returned."
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
        raise ValueError(f'relation={relation!r}: give "<" or ">".')
    left = _by_seed(frame, value, "this", this)
    right = (
        pd.Series(float(other), left.index)
        if isinstance(other, Real)
        else _by_seed(frame, value, "other", other)
    )
    if lone := sorted(set(left.index) ^ set(right.index)):
        raise ValueError(f"seeds {lone} are in one condition only: {this!r}, {other!r}.")
    if len(left) < MIN_SEEDS:
        raise ValueError(f"this={this!r} has {len(left)} seeds; a claim needs {MIN_SEEDS} or more.")
    right = right[left.index]
    sign = 1 if relation == ">" else -1
    gain = (sign * (left - right)).mask(left == right, 0.0)  # never against never is a tie
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


def reached(history: pd.DataFrame, **target: float) -> pd.DataFrame:
    """When each run first reached a target, such as `reached(history, val_accuracy=0.95)`.

    Args:
        history: what `fit` or `sweep` measured. Columns that these do not measure (batch_size,
            seed and any the lesson added, such as lr) tell the runs apart.
        target: one measured column and its threshold: an accuracy is reached from below, a loss
            from above.

    Returns:
        One row a run: its columns, and epoch, step, examples and seconds of the first
        evaluation that reached the target; inf where none did.
    """
    if len(target) != 1 or not set(target) <= set(TARGETS):
        raise ValueError(f"target={target!r}: give one of {', '.join(TARGETS)}, as val_loss=0.1.")
    if missing := [c for c in ["seed", *PROGRESS, *target] if c not in history]:
        raise ValueError(f"history has no column {', '.join(missing)}; give the history of a fit.")
    [(column, threshold)] = target.items()
    if column.endswith("accuracy") and not 0 <= threshold <= 1:
        raise ValueError(f"{column}={threshold!r}: give a share from 0 to 1, as 0.95 for 95 %.")
    run = [c for c in history if c not in [*PROGRESS, *TARGETS, "diverged"]]
    upward = column.endswith("accuracy")
    arrived = history[column] >= threshold if upward else history[column] <= threshold
    first = history[arrived].sort_values("step").drop_duplicates(run)[[*run, *PROGRESS]]
    runs = history[run].drop_duplicates().merge(first, how="left", on=run)
    return runs.fillna(dict.fromkeys(PROGRESS, np.inf))


def equal(a, b, tolerance: float = 0.0) -> Evidence:
    """An identity; holds when no two corresponding numbers differ by more than `tolerance`.

    Args:
        a, b: numbers, arrays or tensors of one shape. NaN equals nothing.
        tolerance: the largest absolute difference allowed; 0 asks for exact equality.
    """
    if not isinstance(tolerance, Real) or not tolerance >= 0:
        raise ValueError(f"tolerance={tolerance!r}: give the largest difference allowed, >= 0.")
    a, b = _array("a", a), _array("b", b)
    if a.shape != b.shape:
        raise ValueError(f"a has the shape {a.shape}, b has {b.shape}: compare like with like.")
    with np.errstate(invalid="ignore"):  # inf - inf, where both sides are equal
        difference = np.where(a == b, 0, np.abs(a - b))
    if a.size <= FEW:
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
    x, y = _array("x", x).astype(float), _array("y", y).astype(float)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"x has the shape {x.shape}, y has {y.shape}: give lists of one length.")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("x and y must be finite: fit only points that have a number.")
    if len(np.unique(x)) < 3:
        raise ValueError(f"x={x.tolist()}: a slope with an interval needs three distinct x.")
    if not tolerance > 0:
        raise ValueError(f"tolerance={tolerance!r}: a fitted slope needs a tolerance above 0.")
    fit = stats.linregress(x, y)
    half = stats.t.ppf(1 - LEVEL / 2, len(x) - 2) * fit.stderr
    numbers = (
        f"slope {_text(fit.slope)} (95 % interval {_text(fit.slope - half)} to "
        f"{_text(fit.slope + half)}) over {len(x)} points, expected {expected:g} +/- {tolerance:g}"
    )
    return Evidence(bool(abs(fit.slope - expected) + half <= tolerance), numbers)


def _by_seed(frame: pd.DataFrame, value: str, side: str, condition: str) -> pd.Series:
    """The values of the rows that a condition picks, indexed by seed."""
    if missing := [c for c in ("seed", value) if c not in frame]:
        raise ValueError(f"frame has no column {', '.join(missing)}; it has {', '.join(frame)}.")
    try:
        rows = frame.query(condition)
    except Exception as error:
        raise ValueError(
            f"{side}={condition!r} is no query on the columns {', '.join(frame)}: {error}"
        ) from error
    if rows.empty or rows["seed"].duplicated().any():
        raise ValueError(
            f"{side}={condition!r} picks {len(rows)} rows for {rows['seed'].nunique()} seeds; "
            "it must leave exactly one row a seed."
        )
    return rows.set_index("seed")[value].astype(float)


def _array(name: str, values) -> np.ndarray:
    """Integers stay integers, so that they compare exactly."""
    array = np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values)
    if array.dtype.kind not in "biuf" or array.size == 0:
        raise TypeError(f"{name}={values!r}: give numbers, at least one.")
    return array.astype(float if array.dtype.kind == "f" else np.int64)


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
    if abs(number) > 1e100:
        return infinite if number > 0 else f"-{infinite}"
    if abs(number) >= 1000 or number == np.round(number):
        return f"{number + 0.0:,.0f}"  # turns -0 into 0
    return f"{number:.3g}"
