"""Each kind of evidence holds on data that support it, and fails on data that contradict it."""

from math import inf, nan

import numpy as np
import pandas as pd
import pytest
import torch

from course_lib.claims import Evidence, beats, equal, increasing, less, slope, within

EIGHT = np.arange(8) / 10
SIXTEEN = np.arange(16) / 10


def column(values, name=None):
    return pd.Series(values, index=pd.RangeIndex(len(values), name="seed"), name=name, dtype=float)


def table(**columns):
    return pd.DataFrame({name: column(values) for name, values in columns.items()})


def by_size(rows, sizes):
    return pd.DataFrame(rows, columns=pd.Index(sizes, name="batch_size")).rename_axis("seed")


# less


def test_less_shows_medians_seeds_and_the_effect():
    evidence = less(column(EIGHT), column(EIGHT + 0.5), "nats")
    assert evidence.holds and evidence.enough
    assert evidence.shown == "median 0.35 against 0.85 nats · 8 of 8 seeds"
    assert evidence.details == "difference 0.5 nats (95 % interval 0.5 to 0.5)"
    assert evidence.effect == pytest.approx(0.5)
    assert evidence.repetitions == 8


def test_less_is_refuted_by_the_opposite_by_a_tie_and_by_a_coin():
    assert not less(column(EIGHT + 0.5), column(EIGHT)).holds
    assert not less(column(EIGHT), column(EIGHT)).holds
    assert not less(column(EIGHT), column(EIGHT + 0.5 * np.tile([1, -1], 4))).holds


@pytest.mark.parametrize(
    ("seeds", "wins", "holds"), [(8, 8, True), (8, 7, False), (16, 13, True), (16, 12, False)]
)
def test_less_wants_as_many_seeds_as_the_interval_needs(seeds, wins, holds):
    """8 of 8 and 13 of 16: at these the order-statistic interval leaves 0 out."""
    difference = np.where(np.arange(seeds) < wins, 0.5, -0.5)
    assert less(column(np.zeros(seeds)), column(difference)).holds == holds


def test_less_pairs_by_seed_whatever_the_order_of_rows():
    """Seeds differ far more than conditions do; only pairing sees the difference."""
    assert less(column(100 * EIGHT), column(100 * EIGHT + 0.01)[::-1]).holds


def test_less_counts_ties_and_missing_numbers_against():
    larger = SIXTEEN + 0.5
    larger[:2], larger[2] = SIXTEEN[:2], nan
    evidence = less(column(SIXTEEN), column(larger))
    assert evidence.holds, "13 of 16 are enough"
    assert evidence.shown.endswith("13 of 16 seeds, 2 ties, 1 missing")
    larger[3] = nan
    assert not less(column(SIXTEEN), column(larger)).holds
    assert not less(column([nan] * 8), column(EIGHT)).holds


def test_less_takes_a_run_that_never_arrived_as_later_than_all_that_did():
    evidence = less(column([4.0] * 8), column([90.0] * 3 + [inf] * 5), "epochs")
    assert evidence.holds
    assert evidence.shown == "median 4 against never · 8 of 8 seeds"
    assert evidence.details == "difference ∞ epochs (95 % interval 86 to ∞)"
    assert not less(column([inf] * 8), column([90.0] * 8)).holds
    assert not less(column([inf] * 8), column([inf] * 8)).holds, "both never: a tie"
    assert not less(column([3.0, inf] * 4), column([inf, 3.0] * 4)).holds


def test_less_speaks_of_an_infinite_loss_as_infinite():
    assert "0.35 against ∞" in less(column(EIGHT), column([inf] * 8), "nats").shown


def test_less_as_a_ratio():
    evidence = less(column(EIGHT + 1), column(3 * (EIGHT + 1)), "epochs", ratio=True)
    assert evidence.holds
    assert evidence.details == "ratio 3 (95 % interval 3 to 3)"
    with pytest.raises(ValueError, match="ratio=True needs values above 0"):
        less(column(EIGHT), column(EIGHT + 1), ratio=True)


def test_less_names_conditions_that_have_names_and_shows_shares_in_per_cent():
    evidence = less(column(EIGHT / 10, "tuned"), column(EIGHT / 10 + 0.05, "equal rate"), "%")
    assert evidence.shown == "median 3.5 % (tuned) against 8.5 % (equal rate) · 8 of 8 seeds"
    assert evidence.details.startswith("difference 5 percentage points (95 %")


def test_few_seeds_are_not_enough_even_where_all_agree():
    evidence = less(column([1.0, 2.0]), column([2.0, 3.0]))
    assert not evidence.holds and not evidence.enough


# increasing


SIZES = [16, 64, 256]


def test_increasing_shows_every_condition_and_every_step():
    evidence = increasing(by_size(np.outer(1 + EIGHT, [1, 4, 16]), SIZES), "epochs")
    assert evidence.holds
    assert evidence.shown == "median 1.35, 5.4, 21.6 epochs (B = 16, 64, 256) · 8 of 8 seeds"
    assert evidence.details.startswith("16 to 64: difference 4.05 epochs (95 % interval 3 to 5.1);")
    assert evidence.repetitions == 8


def test_increasing_fails_where_one_step_does():
    rows = np.outer(1 + EIGHT, [1, 4, 4])
    assert not increasing(by_size(rows, SIZES)).holds
    rows[:, 2] = np.where(np.arange(8) < 7, 5, 3)
    evidence = increasing(by_size(rows, SIZES))
    assert not evidence.holds
    assert not increasing(by_size(np.outer(1 + EIGHT, [3, 2, 1]), SIZES)).holds


# within


def test_within_wants_the_whole_interval_between_the_bounds():
    evidence = within(column(EIGHT), -0.1, 0.8, "nats")
    assert evidence.holds
    assert evidence.shown == "median 0.35 nats · 8 seeds"
    assert evidence.details == (
        "median 0.35 nats (95 % interval 0 to 0.7), to lie within -0.1 nats to 0.8 nats"
    )
    assert not within(column(EIGHT), 0.1, 0.8).holds
    assert not within(column(EIGHT), -0.1, 0.6).holds


# slope


def power_law(exponent, wobble=0.01, seeds=8):
    sizes = 2.0 ** np.arange(8)
    signs = np.array([1, -1, 1, 1, -1, -1, 1, -1])
    return by_size(np.tile(sizes**exponent * np.exp(wobble * signs), (seeds, 1)), sizes)


def test_slope_finds_the_exponent_and_its_rival_wanting():
    evidence = slope(power_law(-0.5), -0.55, -0.45)
    assert evidence.holds
    assert evidence.shown == "exponent -0.50 · 8 conditions, 8 seeds"
    assert not slope(power_law(-0.5), -1.05, -0.95).holds
    assert not slope(power_law(0.0), -0.55, -0.45).holds


def test_slope_fails_where_the_fit_is_too_vague_to_tell():
    evidence = slope(power_law(-0.5, wobble=0.3), -0.6, -0.4)
    assert not evidence.holds
    assert -0.6 < evidence.effect < -0.4


def test_slope_knows_that_seeds_share_the_error_of_their_condition():
    """A hundred times the seeds with the same wobble of each size is no narrower an interval."""
    few, many = (slope(power_law(-0.5, 0.2, seeds), -1, 0).details for seeds in (8, 800))
    assert few == many


# beats


def test_beats_compares_the_errors_of_two_laws():
    law, rival = column(0.03 + EIGHT / 100, "hyperbola"), column(0.2 + EIGHT / 100, "power law")
    evidence = beats(law, rival, "%")
    assert evidence.holds
    assert evidence.shown == "median 3.35 % (hyperbola) against 20.4 % (power law) · 8 of 8 seeds"
    assert not beats(rival, law).holds


# equal


def test_equal_holds_within_the_tolerance_alone_and_has_no_repetitions():
    a = torch.linspace(0, 1, 10, requires_grad=True)
    assert equal(a, a + 1e-6, 2e-6).holds
    assert not equal(a, a + 1e-6, 5e-7).holds
    assert not equal(a, a + 1e-6).holds
    exact = equal(a, a.detach().numpy())
    assert (exact.shown, exact.details) == ("10 numbers agree", "largest difference 0 (exact)")
    assert exact.repetitions is None and exact.enough


def test_equal_shows_a_few_numbers_themselves():
    evidence = equal([600, 6000], [600, 6001])
    assert not evidence.holds
    assert evidence.shown == "600, 6,000 against 600, 6,001"
    assert evidence.details == "largest difference 1 (exact)"
    assert equal(0.5, 0.5004, 1e-3).details == "largest difference 0.0004 (0.001 allowed)"


def test_equal_compares_whole_numbers_exactly_whatever_their_size():
    assert not equal(2**53, 2**53 + 1).holds
    assert not equal(np.uint8([0]), np.uint8([1])).holds
    assert not equal(np.uint64(2**64 - 1), np.int64(-1)).holds
    assert not equal(np.iinfo(np.int64).max, np.iinfo(np.int64).min, 1).holds
    assert equal(True, 1).holds
    assert equal([1, 2], [1.0, 2.0]).holds


def test_equal_never_takes_a_missing_number_for_equal():
    assert not equal(nan, nan).holds
    assert not equal([1.0, nan], [1.0, 1.0], inf).holds
    assert equal(inf, inf).holds
    assert not equal(inf, -inf).holds


# together, and what is no evidence


def test_both_pieces_of_evidence_must_hold_and_the_weaker_counts():
    yes, no = Evidence(True, "yes", "a", 1.0, 16), Evidence(False, "no", "b", 2.0, 8)
    assert [(a & b).holds for a in (yes, no) for b in (yes, no)] == [True, False, False, False]
    assert yes & no == Evidence(False, "yes; no", "a; b", 1.0, 8)
    assert (yes & Evidence(True, "exact", "", 0.0)).repetitions == 16


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: less([1, 2], column(EIGHT)), TypeError, r"smaller=\[1, 2\] must be a column"),
        (lambda: less(column(EIGHT), 0.5), TypeError, "larger=0.5 must be a column"),
        (lambda: less(column(EIGHT), column(EIGHT)[:6]), ValueError, r"one alone has \[6, 7\]"),
        (lambda: less(column(EIGHT), pd.Series(["a"] * 8)), TypeError, "larger must hold numbers"),
        (
            lambda: less(pd.Series([1, 2], [0, 0]), column(EIGHT)),
            ValueError,
            "smaller must have one value for each",
        ),
        (lambda: less(column([]), column([])), ValueError, "smaller must have one value"),
        (lambda: increasing(table(a=EIGHT)), TypeError, "with two columns or more"),
        (lambda: increasing(column(EIGHT)), TypeError, "must be a table"),
        (lambda: within(column(EIGHT), 1, 1), ValueError, "low=1 must be less than high=1"),
        (lambda: within(0.5, 0, 1), TypeError, "values=0.5 must be a column"),
        (lambda: slope(power_law(1), 2, 1), ValueError, "low=2 must be less"),
        (lambda: slope(table(a=EIGHT, b=EIGHT), 0, 1), TypeError, "table and its columns"),
        (lambda: slope(by_size(np.ones((8, 2)), [1, 2]), 0, 1), ValueError, "three or more"),
        (lambda: slope(by_size(np.zeros((8, 3)), SIZES), 0, 1), ValueError, "above 0"),
        (lambda: slope(column(EIGHT), 0, 1), TypeError, "must be a table"),
        (lambda: equal([1, 2], [1, 2, 3]), ValueError, r"they have \(2,\) and \(3,\)"),
        (lambda: equal("1", 1), TypeError, "a='1' must be one or more numbers"),
        (lambda: equal(1, None), TypeError, "b=None"),
        (lambda: equal([], []), TypeError, r"a=\[\] must be one or more numbers"),
        (lambda: equal(1, 1, -0.1), ValueError, "tolerance=-0.1 must be"),
        (lambda: equal(1, 1, nan), ValueError, "tolerance=nan must be"),
    ],
)
def test_what_is_no_evidence_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
