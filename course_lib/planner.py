"""Which batch size to take: closed formulas from two runs, or a noise scale, and two timings.

A run at batch size B needs S_min (1 + B_crit/B) updates to its target (S. McCandlish, J. Kaplan,
D. Amodei and others 2018, section 2.3; arXiv:1812.06162), and an update takes a + b B seconds.
Both are straight lines, in 1/B and in B, so two points fix each; the time is their product.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import fmean, stdev
from typing import Any

from course_lib import checks

NORMAL = 1.959963984540054  # the quantile of two-sided intervals of 95 %
Pair = tuple[float, float]


@dataclass(frozen=True)
class Choice:
    """A batch size on each device, what training takes with it, and where to begin tuning."""

    batch_size: int
    devices: int
    limited: bool  # by memory
    updates: float
    updates_interval: Pair
    samples: float
    hours: float
    cost: float
    lr: float
    beta2: float


@dataclass(frozen=True)
class Plan:
    """What the runs and the timings say. Intervals are of 95 %, a and b in seconds.

    `fastest` uses all devices, since the time falls with them, or one, where their all-reduce takes
    more than they save. `cheapest` uses one: n devices with batches of m cost
    S_min (n + B_crit/m) (a + b m) device-seconds, which grows with n. `sample_saving` is a tenth of
    B_crit, for a tenth more than the fewest samples, or the cheapest where that is smaller.
    """

    critical: float
    critical_interval: Pair
    fewest_updates: float
    fewest_samples: float
    overhead: float  # a
    per_sample: float  # b
    fastest: Choice
    cheapest: Choice
    sample_saving: Choice


def updates_law(sizes: Pair, updates: Pair) -> Pair:
    """S_min and B_crit of the law U = S_min (1 + B_crit/B) through two points.

        S_min = (B2 U2 - B1 U1) / (B2 - B1),    S_min B_crit = B1 B2 (U1 - U2) / (B2 - B1).

    Raises:
        ValueError: not 0 < B1 < B2, updates not positive, or such as no law of this form has.
    """
    (small, big), (many, few) = _pair("sizes", sizes, True), _pair("updates", updates)
    if not small / big < few / many < 1:
        raise ValueError(
            f"{updates=} contradict the law: {big / small:g} times the batch takes fewer updates, "
            f"but not {big / small:g} times fewer. Tune both rates, repeat the runs, or take other "
            "sizes: past all gain a larger batch saves nothing"
        )
    fewest = (big * few - small * many) / (big - small)
    return fewest, small * big * (many - few) / (big - small) / fewest


def critical_interval(sizes: Pair, ratio: float, error: float, quantile: float = NORMAL) -> Pair:
    """The interval of B_crit = B1 B2 (r - 1) / (B2 - B1 r), for a standard error of log r = U1/U2.

    B_crit grows with r alone, so the ends of log r's interval go through the formula as they are.
    Where r may be 1 it begins at 0; where r may be B2/B1 it has no end: the sizes are too close.
    """
    small, big = sizes
    low, high = max(1.0, ratio * math.exp(-quantile * error)), ratio * math.exp(quantile * error)
    end = small * big * (high - 1) / (big - small * high) if small * high < big else math.inf
    return small * big * (low - 1) / (big - small * low), end


@dataclass(frozen=True)
class Law:
    """S_min (1 + B_crit/B), with its errors, and the batch size of the run whose rate is known."""

    fewest: float
    critical: float
    critical_interval: Pair
    size: float
    updates_at: Callable[[float], Pair]  # the updates at a batch size and their standard error
    quantile: float


def law_of_runs(sizes: Pair, updates: Any, relative_error: float | None) -> Law:
    """The law through the updates of two runs, as in `updates_law`."""
    means, errors, quantile = means_and_errors(updates, relative_error)
    fewest, critical = updates_law(sizes, means)
    relative = math.hypot(errors[0] / means[0], errors[1] / means[1])
    interval = critical_interval(sizes, means[0] / means[1], relative, quantile)
    at = partial(updates_at, sizes=sizes, updates=means, errors=errors)
    return Law(fewest, critical, interval, sizes[0], at, quantile)


def law_of_noise(size: Any, updates: Any, noise_scale: Any, relative_error: Any) -> Law:
    """The law with B_crit from a measured noise scale, through the updates of one run.

    Both have the relative standard error. U(B) = U1 (1 + B_crit/B) / (1 + B_crit/B1) grows with
    B_crit by the power s = B_crit / (B_crit + B) - B_crit / (B_crit + B1); so, to first order, its
    relative error is that of U1 times sqrt(1 + s²).
    """
    size, critical = checks.positive("sizes", size), checks.positive("noise_scale", noise_scale)
    share = _within("relative_error", relative_error, 1)
    fewest = checks.positive("updates", updates) / (1 + critical / size)
    interval = critical * math.exp(-NORMAL * share), critical * math.exp(NORMAL * share)

    def at(other: float) -> Pair:
        power = critical / (critical + other) - critical / (critical + size)
        needed = fewest * (1 + critical / other)
        return needed, needed * share * math.hypot(1, power)

    return Law(fewest, critical, interval, size, at, NORMAL)


def updates_at(size: float, sizes: Pair, updates: Pair, errors: Pair) -> Pair:
    """The law's updates at a batch size, and their standard error (exact for independent runs).

    On the line in 1/B they are w U1 + (1 - w) U2, with w = (1/B - 1/B2) / (1/B1 - 1/B2).
    """
    weight = (1 / size - 1 / sizes[1]) / (1 / sizes[0] - 1 / sizes[1])
    mean = weight * updates[0] + (1 - weight) * updates[1]
    return mean, math.hypot(weight * errors[0], (1 - weight) * errors[1])


def step_time(sizes: Pair, seconds: Pair) -> Pair:
    """a and b of the time a + b B of an update, from its seconds at two batch sizes on one device.

    Raises:
        ValueError: not 0 < B1 < B2, seconds not positive, or on no line with a >= 0 and b > 0.
    """
    (small, big), (first, second) = _pair("timed_sizes", sizes, True), _pair("seconds", seconds)
    if second <= first or big * first < small * second:
        raise ValueError(
            f"{seconds=} contradict a + b B: the larger batch must take longer, and at most "
            f"{big / small:g} times as long. Take the least of many timings, or sizes further apart"
        )
    return (big * first - small * second) / (big - small), (second - first) / (big - small)


def fastest_size(critical: float, overhead: float, per_sample: float, devices: int = 1) -> float:
    """The B of each of n devices where S_min (1 + B_crit/(n B)) (a + b B) is least."""
    return math.sqrt(critical / devices * overhead / per_sample)


def scaled_rate(lr: float, size: float, new: float, critical: float, power: float = 1) -> float:
    """The rate at another batch size: lr_max / (1 + B_crit/B), with lr_max from a known rate.

    In proportion to B far below B_crit, constant far above (McCandlish and others 2018, section
    2.2). Power 1/2 is its square root, for Adam (S. Malladi and others 2022, arXiv:2205.10287).
    """
    return lr * ((1 + critical / size) / (1 + critical / new)) ** power


def scaled_beta2(beta2: float, size: float, new: float) -> float:
    """Adam's β₂ with its memory kept in samples (M. Marek and others 2025, arXiv:2507.07101)."""
    return beta2 ** (new / size)


def means_and_errors(updates: Any, relative_error: float | None) -> tuple[Pair, Pair, float]:
    """Means of the updates at both sizes, their standard errors, and the quantile of intervals.

    Single numbers have the stated relative error, taken as known. Repeats bring their own, and
    Student's quantile for Welch's degrees of freedom (by D. L. Wallace 1959, at most 4 % too wide).
    """
    runs = [checks.listed(each) for each in checks.listed(updates)]
    if not any(runs):
        share = _within("relative_error", relative_error, 1)
        many, few = _pair("updates", updates)
        return (many, few), (share * many, share * few), NORMAL
    if len(runs) != 2 or min(map(len, runs)) < 3:
        raise ValueError(f"{updates=} must be two numbers, or two lists of three repeats or more")
    first, second = ([checks.positive("updates", each) for each in run] for run in runs)
    means = fmean(first), fmean(second)
    errors = stdev(first) / math.sqrt(len(first)), stdev(second) / math.sqrt(len(second))
    one, two = (errors[0] / means[0]) ** 2, (errors[1] / means[1]) ** 2
    if one + two == 0:
        return means, errors, NORMAL
    n = (one + two) ** 2 / (one**2 / (len(first) - 1) + two**2 / (len(second) - 1))
    return means, errors, math.sqrt(n * math.expm1((NORMAL * (8 * n + 3) / (8 * n + 1)) ** 2 / n))


def plan(
    sizes: Any,
    updates: Any,
    timed_sizes: Pair,
    seconds: Pair,
    *,
    noise_scale: float | None = None,
    lr: float,
    beta2: float = 0.999,
    power: float = 1,
    relative_error: float | None = None,
    largest: int | None = None,
    devices: int = 1,
    exchange: float = 0,
    price: float = 0,
) -> Plan:
    """The batch size that is fastest, the one that is cheapest, and one that saves samples.

    Args:
        sizes, updates: two batch sizes, and the updates of each to one target, with a rate tuned
            for each: two numbers with a relative_error such as 0.1, or two lists of repeats.
        noise_scale: instead of the second run, with a relative_error; sizes and updates are then
            one number each.
        timed_sizes, seconds: two batch sizes, and the seconds of an update of each on one device.
        lr, beta2, power: those of the (first) run; the power of `scaled_rate`.
        largest: samples that fit into the memory of a device.
        devices, exchange, price: how many, seconds of their all-reduce, price of one for an hour.

    Raises:
        ValueError: an argument that is none of these, or runs or timings that contradict the laws.
    """
    if noise_scale is None:
        law = law_of_runs(sizes, updates, relative_error)
    else:
        law = law_of_noise(sizes, updates, noise_scale, relative_error)
    critical = law.critical
    overhead, per_sample = step_time(timed_sizes, seconds)
    most = math.inf if largest is None else checks.whole("largest", largest)
    devices, lr = checks.whole("devices", devices), checks.positive("lr", lr)
    exchange, price = _within("exchange", exchange), _within("price", price)
    beta2, power = _within("beta2", beta2, 1), _within("power", power, 1)

    def choice(best: float, count: int) -> Choice:
        below = math.floor(best)  # hours are p B + q / B: equal at B and best² / B
        size = int(max(1, min(below + (best**2 > below * (below + 1)), most)))
        samples, pause = count * size, exchange * (count > 1)
        needed, error = law.updates_at(samples)
        interval = (max(0.0, needed - law.quantile * error), needed + law.quantile * error)
        hours = needed * (overhead + pause + per_sample * size) / 3600
        bill, rate = hours * count * price, scaled_rate(lr, law.size, samples, critical, power)
        decay = scaled_beta2(beta2, law.size, samples)
        limited, seen = best > most, needed * samples
        return Choice(size, count, limited, needed, interval, seen, hours, bill, rate, decay)

    alone = fastest_size(critical, overhead, per_sample)
    shared = fastest_size(critical, overhead + exchange * (devices > 1), per_sample, devices)
    cheapest, saving = choice(alone, 1), choice(min(alone, critical / 10), 1)
    fastest = min(choice(shared, devices), cheapest, key=lambda each: each.hours)
    fewest, choices = law.fewest, (fastest, cheapest, saving)
    line = (overhead, per_sample)
    return Plan(critical, law.critical_interval, fewest, fewest * critical, *line, *choices)


def _pair(name: str, pair: Any, ascending: bool = False) -> Pair:
    values = [checks.positive(name, value) for value in checks.listed(pair)]
    if len(values) != 2 or (ascending and values[0] >= values[1]):
        kind = "a number and a larger one" if ascending else "two positive numbers"
        raise ValueError(f"{name}={pair!r} must be {kind}, such as (32, 256)")
    return values[0], values[1]


def _within(name: str, value: Any, most: float = 1e9) -> float:
    if not 0 <= checks.as_float(value) <= most:
        raise ValueError(f"{name}={value!r} must be a number from 0 to {most:g}")
    return float(value)
