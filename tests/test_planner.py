"""The planner's formulas against simulated noise, dense searches, and the laws behind the input."""

import math
from dataclasses import astuple

import numpy as np
import pytest
from scipy import optimize, stats

from course_lib.planner import (
    NORMAL,
    critical_interval,
    fastest_size,
    law_of_noise,
    means_and_errors,
    plan,
    scaled_beta2,
    scaled_rate,
    step_time,
    updates_at,
    updates_law,
)

RUNS = {"sizes": (16, 256), "updates": (1000, 150), "relative_error": 0.1}
TIMINGS = {"timed_sizes": (32, 512), "seconds": (0.005, 0.035)}
GIVEN = {**RUNS, **TIMINGS, "lr": 0.1}
NOISE = {**GIVEN, "sizes": 16, "updates": 1000, "noise_scale": 90}


def random_inputs(count):
    """S_min, B_crit, a and b over four decades, and two batch sizes."""
    rng = np.random.default_rng(0)
    sizes = [sorted(rng.choice(10_000, 2, replace=False) + 1) for _ in range(count)]
    return list(zip(10 ** rng.uniform(0, 4, size=(count, 4)), sizes, strict=True))


@pytest.mark.parametrize(("numbers", "sizes"), random_inputs(20))
def test_two_points_of_the_laws_give_the_laws_back(numbers, sizes):
    fewest, critical, overhead, per_sample = numbers
    updates = [fewest * (1 + critical / size) for size in sizes]
    assert updates_law(sizes, updates) == pytest.approx((fewest, critical), rel=1e-6)
    seconds = [overhead + per_sample * size for size in sizes]
    a, b = step_time(sizes, seconds)
    assert (a, b) == (pytest.approx(overhead, rel=1e-6, abs=1e-6), pytest.approx(per_sample))


@pytest.mark.parametrize(("numbers", "_"), random_inputs(20))
@pytest.mark.parametrize("devices", [1, 8])
def test_the_fastest_size_is_where_the_time_is_least(numbers, _, devices):
    fewest, critical, overhead, per_sample = numbers

    def log_time(log_size):
        size = math.exp(log_size)
        updates = fewest * (1 + critical / (devices * size))
        return math.log(updates * (overhead + per_sample * size))

    found = optimize.minimize_scalar(log_time, bracket=(-5, 5), tol=1e-10)
    best = fastest_size(critical, overhead, per_sample, devices)
    assert best == pytest.approx(math.exp(found.x), rel=1e-3)


@pytest.mark.parametrize("updates", [(1000, 1000), (1000, 1200), (1000, 62.5), (1000, 50)])
def test_updates_that_no_law_has_are_named(updates):
    with pytest.raises(
        ValueError, match=r"^updates=\(1000.*contradict the law: 16 times the batch"
    ):
        updates_law((16, 256), updates)


@pytest.mark.parametrize("seconds", [(0.02, 0.02), (0.02, 0.01), (0.001, 0.02)])
def test_timings_that_no_line_has_are_named(seconds):
    with pytest.raises(ValueError, match=r"^seconds=\(0.0.*contradict a \+ b B.*at most 16 times"):
        step_time((32, 512), seconds)


def test_the_interval_of_the_critical_size_is_that_of_simulated_ratios():
    rng = np.random.default_rng(0)
    sizes, error = np.array([16, 256]), 0.1
    ratios = 5 * np.exp(error * rng.standard_normal(400_000))
    critical = 16 * 256 * (ratios - 1) / (256 - 16 * ratios)
    simulated = np.quantile(critical, [0.025, 0.975])
    assert critical_interval(sizes, 5, error) == pytest.approx(simulated, rel=0.01)


def test_an_interval_is_open_where_the_runs_cannot_tell():
    assert critical_interval((16, 256), 1.1, 0.2)[0] == 0
    assert critical_interval((16, 256), 15, 0.2)[1] == math.inf
    assert critical_interval((16, 256), 5, 0) == pytest.approx((5 * 256 / 11 - 256 / 11,) * 2)


def test_updates_at_other_sizes_have_the_error_of_simulated_runs():
    rng = np.random.default_rng(0)
    sizes, updates, errors = (16, 256), (1000, 150), (80, 20)
    many, few = (
        rng.normal(mean, error, 200_000) for mean, error in zip(updates, errors, strict=True)
    )
    for size in (4, 16, 64, 1024):
        samples = 16 * 256 * (many - few) / (256 - 16)
        simulated = (256 * few - 16 * many) / (256 - 16) + samples / size
        mean, error = updates_at(size, sizes, updates, errors)
        assert (mean, error) == pytest.approx((simulated.mean(), simulated.std()), rel=0.01)
    assert updates_at(1e12, sizes, updates, errors)[0] == pytest.approx(
        updates_law(sizes, updates)[0]
    )


def test_a_noise_scale_and_a_run_have_the_errors_of_simulated_ones():
    rng = np.random.default_rng(0)
    noise, updates = np.exp(0.05 * rng.standard_normal((2, 400_000))) * [[90], [1000]]
    law = law_of_noise(16, 1000, 90, 0.05)
    for size in (4, 16, 64, 1024):
        simulated = updates * (1 + noise / size) / (1 + noise / 16)
        assert law.updates_at(size) == pytest.approx((simulated.mean(), simulated.std()), rel=0.01)
    assert law.critical_interval == pytest.approx(np.quantile(noise, [0.025, 0.975]), rel=0.01)


def test_a_noise_scale_plans_as_two_runs_with_that_critical_size():
    fewest, critical = updates_law(GIVEN["sizes"], GIVEN["updates"])
    runs = {**GIVEN, "relative_error": 0}
    noise = {**runs, "sizes": 16, "updates": 1000, "noise_scale": critical}
    one, other = (plan(**each, devices=4, price=2) for each in (runs, noise))
    assert other.fewest_updates == pytest.approx(fewest)
    assert np.hstack(astuple(other)[0:2]) == pytest.approx(critical)
    for choice in ("fastest", "cheapest", "sample_saving"):
        pair = (np.hstack(astuple(getattr(each, choice))) for each in (one, other))
        assert next(pair) == pytest.approx(next(pair))


def test_the_scaled_rate_is_the_best_one_on_a_noisy_parabola():
    slope, curvature, noise = 0.7, 3.0, 40.0  # B_noise is noise / slope²

    def best_rate(size):
        def change(lr):
            return -lr * slope**2 + curvature * lr**2 / 2 * (slope**2 + noise / size)

        return optimize.minimize_scalar(change, bounds=(0, 1), method="bounded").x

    for size in (1, 50, 5000):
        scaled = scaled_rate(best_rate(8), 8, size, critical=noise / slope**2)
        assert scaled == pytest.approx(best_rate(size), rel=0.01)


def test_the_scaled_rate_is_linear_then_constant():
    assert scaled_rate(0.1, 1, 2, critical=1e9) == pytest.approx(0.2)
    assert scaled_rate(0.1, 1, 4, critical=1e9, power=0.5) == pytest.approx(0.2)
    assert scaled_rate(0.1, 1e6, 1e9, critical=10) == pytest.approx(0.1, rel=1e-4)
    assert scaled_rate(0.1, 32, 32, critical=100) == 0.1


def test_the_scaled_decay_forgets_as_many_samples():
    def half_life(beta2, size):
        return math.log(0.5) / math.log(beta2) * size

    for beta2, size, new in [(0.999, 32, 256), (0.95, 512, 1)]:
        decay = scaled_beta2(beta2, size, new)
        assert half_life(decay, new) == pytest.approx(half_life(beta2, size))


@pytest.mark.parametrize("count", [3, 5, 20])
def test_repeats_bring_their_own_errors(count):
    first, second = np.random.default_rng(0).normal((1000, 150), (90, 15), size=(count, 2)).T
    means, errors, quantile = means_and_errors((first, list(second)), None)
    assert means == pytest.approx((first.mean(), second.mean()))
    assert errors == pytest.approx((stats.sem(first), stats.sem(second)))
    welch = stats.ttest_ind(first / first.mean(), second / second.mean(), equal_var=False)
    assert 0.999 < quantile / stats.t.ppf(0.975, welch.df) < 1.04
    assert means_and_errors((1000, 150), 0.1) == ((1000, 150), (100, 15), NORMAL)


def test_equal_repeats_have_no_error():
    assert means_and_errors(([9, 9, 9], [5, 5, 5]), None)[1:] == ((0, 0), NORMAL)


@pytest.mark.parametrize(("devices", "exchange"), [(1, 0.0), (8, 0.0), (8, 0.02), (8, 0.2)])
@pytest.mark.parametrize("largest", [10, 4096])
def test_no_whole_batch_size_is_faster_or_cheaper(devices, exchange, largest):
    fewest, critical = updates_law(GIVEN["sizes"], GIVEN["updates"])
    a, b = step_time(GIVEN["timed_sizes"], GIVEN["seconds"])
    size = np.arange(1, largest + 1)

    def hours(n):
        return fewest * (1 + critical / (n * size)) * (a + exchange * (n > 1) + b * size) / 3600

    made = plan(**GIVEN, largest=largest, devices=devices, exchange=exchange, price=2)
    fastest = min(range(1, devices + 1), key=lambda n: hours(n).min())
    assert made.fastest.devices == fastest
    assert made.fastest.hours == pytest.approx(hours(fastest).min(), rel=1e-12)
    assert made.fastest.batch_size == size[hours(fastest).argmin()]
    cheapest = min((2 * n * hours(n)).min() for n in range(1, devices + 1))
    assert made.cheapest.cost == pytest.approx(cheapest, rel=1e-12)
    assert made.fastest.limited == made.cheapest.limited == (largest == 10)


@pytest.mark.parametrize(("exchange", "devices"), [(0.001, 8), (0.2, 1)])
def test_devices_are_used_where_they_save_more_than_their_exchange_takes(exchange, devices):
    made = plan(**GIVEN, devices=8, exchange=exchange)
    assert made.fastest.devices == devices
    assert made.fastest.hours <= made.cheapest.hours


def test_a_plan_is_consistent():
    made = plan(**GIVEN, devices=4, exchange=0.001, price=3, beta2=0.99)
    assert made.fewest_samples == pytest.approx(made.fewest_updates * made.critical)
    low, high = made.critical_interval
    assert low < made.critical < high
    for choice in (made.fastest, made.cheapest, made.sample_saving):
        together = choice.batch_size * choice.devices
        assert choice.samples == pytest.approx(choice.updates * together)
        assert choice.updates == pytest.approx(made.fewest_updates * (1 + made.critical / together))
        assert choice.cost == pytest.approx(3 * choice.devices * choice.hours)
        assert choice.lr == scaled_rate(0.1, 16, together, made.critical)
        assert choice.beta2 == scaled_beta2(0.99, 16, together)
        assert choice.updates_interval[0] < choice.updates < choice.updates_interval[1]
    assert made.fastest.devices == 4 and made.cheapest.devices == made.sample_saving.devices == 1
    assert made.sample_saving.samples == pytest.approx(1.1 * made.fewest_samples, rel=0.01)


@pytest.mark.parametrize("seed", range(200))
def test_the_fastest_is_no_slower_and_the_cheapest_no_dearer(seed):
    rng = np.random.default_rng(seed)
    size, updates, seconds = 10 ** rng.uniform([0, 1, -6], [4, 6, 1])
    factor = 10 ** rng.uniform(0.1, 3)
    fewer, longer = factor ** rng.uniform(0.01, 0.99, 2)
    made = plan(
        (size, size * factor),
        (updates, updates / fewer),
        (size, size * factor),
        (seconds, seconds * longer),
        lr=0.1,
        relative_error=rng.uniform(),
        devices=int(rng.integers(1, 1000)),
        largest=int(rng.integers(1, 10_000)),
        price=1,
    )
    assert made.fastest.hours <= made.cheapest.hours * (1 + 1e-9)
    assert made.cheapest.cost <= made.fastest.cost * (1 + 1e-9)
    assert made.sample_saving.samples <= made.cheapest.samples * (1 + 1e-9)
    low, high = made.critical_interval
    assert low <= made.critical * (1 + 1e-9) and made.critical <= high * (1 + 1e-9)


def test_repeats_and_numbers_give_the_same_plan():
    repeats = {**GIVEN, "updates": ([990, 1000, 1010], [149, 150, 151]), "relative_error": None}
    made, other = astuple(plan(**repeats)), astuple(plan(**GIVEN))
    assert made[0] == pytest.approx(other[0]) and made[2:6] == pytest.approx(other[2:6])
    assert made[1] != pytest.approx(other[1])


@pytest.mark.parametrize(
    ("name", "values"),
    {
        "sizes": [(256, 16), (16, 16), (0, 16), (16,), 16, ("a", "b"), (1, math.inf)],
        "updates": [(1000,), (0, 10), (1000, None), ([1, 2, 3], [1, 2]), ([9, 9, 9], 5), (5, -1)],
        "timed_sizes": [(512, 32), (32, 512, 1024), None],
        "seconds": [(0.1, math.nan), (-1, 1), 0.1],
        "relative_error": [None, -0.1, 1.1, "much", math.nan],
        "largest": [0, 1.5, "all"],
        "devices": [0, 2.5],
        "exchange": [-0.1, math.inf, None],
        "price": [-1, math.nan],
        "lr": [0, -1, None],
        "beta2": [-0.1, 1.1],
        "power": [-1, 2],
    }.items(),
)
def test_an_argument_that_is_wrong_is_named(name, values):
    for value in values:
        with pytest.raises(ValueError, match=rf"^{name}="):
            plan(**{**GIVEN, name: value})


@pytest.mark.parametrize(
    ("name", "values"),
    {
        "sizes": [(16, 256), 0, None],
        "updates": [(1000, 150), [900, 1000, 1100], -1],
        "noise_scale": [0, -1, math.inf, "large"],
        "relative_error": [None, 2],
    }.items(),
)
def test_what_is_wrong_beside_a_noise_scale_is_named(name, values):
    for value in values:
        with pytest.raises(ValueError, match=rf"^{name}="):
            plan(**{**NOISE, name: value})
