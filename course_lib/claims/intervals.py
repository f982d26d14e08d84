"""95 % intervals that fit few repetitions: of a median over seeds, of a slope over conditions."""

from functools import cache

import numpy as np
from scipy import stats

LEVEL = 0.95


def of_median(values: np.ndarray) -> tuple[float, float]:
    """The order-statistic interval of a median: from the k-th smallest to the k-th largest.

    The number of values below the median of n draws is binomial, Bin(n, 1/2); k is the largest
    number for which the interval covers the median with probability 0.95 or more, whatever the
    distribution. With n = 8 it reaches from the smallest to the largest, with n = 16 from the 4th
    to the 13th. Infinite values are ordered like others. With n < 6 no interval covers enough:
    (-inf, inf).

    Source: H. A. David and H. N. Nagaraja, Order Statistics, 3rd edition (2003), section 7.1.
    """
    ordered, n = np.sort(values), len(values)
    k = _rank(n)
    return (ordered[k - 1], ordered[n - k]) if k else (-np.inf, np.inf)


@cache
def _rank(n: int) -> int:
    return int(stats.binom.ppf((1 - LEVEL) / 2, n, 0.5))


def median(values: np.ndarray) -> float:
    """The median, of infinite values too: halfway between -inf and inf there is no number, NaN."""
    ordered = np.sort(values)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    with np.errstate(invalid="ignore"):
        return float(low if low == high else (low + high) / 2)


def of_slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Slope of the straight line through points, and Student's interval with n - 2 degrees.

    Each point is one condition: all seeds of a condition share its error (the batch size, the
    grid, the split), so that the conditions are what repeats, and not the seeds.
    """
    fit = stats.linregress(x, y)
    half = stats.t.ppf((1 + LEVEL) / 2, len(x) - 2) * fit.stderr
    return fit.slope, fit.slope - half, fit.slope + half
