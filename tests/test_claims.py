"""Each kind of evidence holds on data that supports it and fails on data that contradicts it."""

from math import inf, nan

import numpy as np
import pandas as pd
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from course_lib import claims
from course_lib.claims import ClaimError, Evidence, claim, equal, measured, paired, slope


@pytest.fixture(autouse=True)
def no_claims_yet(monkeypatch):
    monkeypatch.setattr(claims, "_shown", {})


def frame(small, large):
    """Two batch sizes, one row a seed; the second one's rows in reversed order."""
    sides = [(8, s, v) for s, v in enumerate(small)]
    sides += [(64, s, v) for s, v in reversed(list(enumerate(large)))]
    return pd.DataFrame(sides, columns=["batch_size", "seed", "val_loss"])


def compare(small, large, relation="<"):
    return paired(frame(small, large), "val_loss", "batch_size == 8", relation, "batch_size == 64")


EIGHT = np.arange(8) / 10


# paired


def test_paired_holds_where_each_seed_agrees():
    evidence = compare(EIGHT, EIGHT + 0.5)
    assert evidence.holds
    assert evidence.numbers == (
        "median val_loss 0.35 against 0.85; median difference -0.5 (95 % interval -0.5 to -0.5); "
        "lower in 8 of 8 seeds, p = 0.0039 (exact sign test)"
    )


def test_paired_fails_on_the_opposite_and_on_a_coin():
    assert not compare(EIGHT, EIGHT + 0.5, ">").holds
    coin = compare(EIGHT, EIGHT + 0.5 * np.tile([1, -1], 4))
    assert not coin.holds
    assert "lower in 4 of 8 seeds" in coin.numbers


def test_paired_is_the_exact_sign_test():
    """7 of 8 has p = 9/256 = 0.035, 6 of 8 has p = 37/256 = 0.14."""
    better = np.full(8, 0.5)
    assert compare(EIGHT, EIGHT + np.where(np.arange(8) < 7, better, -better)).holds
    six = compare(EIGHT, EIGHT + np.where(np.arange(8) < 6, better, -better))
    assert not six.holds
    assert "p = 0.14" in six.numbers


def test_paired_compares_seed_by_seed_whatever_the_order_of_rows():
    """Seeds differ far more than conditions do; only pairing sees the difference."""
    assert compare(100 * EIGHT, 100 * EIGHT + 0.01).holds


def test_paired_counts_ties_against():
    large = EIGHT + 0.5
    large[:2] = EIGHT[:2]
    evidence = compare(EIGHT, large)
    assert not evidence.holds
    assert "6 of 8" in evidence.numbers
    assert not compare(EIGHT, EIGHT).holds
    assert not compare(EIGHT, EIGHT, ">").holds


def test_paired_counts_missing_numbers_against_either_side():
    gap = EIGHT.copy()
    gap[:2] = nan
    for evidence in (compare(gap, EIGHT + 1), compare(EIGHT - 1, gap), compare(gap, gap - 1, ">")):
        assert not evidence.holds
        assert "6 of 8 seeds (2 without a number count against)" in evidence.numbers
        assert "nan" not in evidence.numbers
    assert not compare(np.full(8, nan), EIGHT).holds


def epochs(small, large, relation="<"):
    data = frame(small, large).rename(columns={"val_loss": "epoch"})
    return paired(data, "epoch", "batch_size == 8", relation, "batch_size == 64")


def test_paired_counts_never_as_later_than_any_number():
    evidence = epochs([4.0] * 8, [90.0] * 3 + [inf] * 5)
    assert evidence.holds
    assert evidence.numbers.startswith(
        "median epoch 4 against never; median difference -∞ (95 % interval -∞ to -86)"
    )
    assert not epochs([inf] * 8, [90.0] * 8).holds


def test_paired_calls_never_against_never_a_tie():
    evidence = epochs([inf] * 8, [inf] * 8)
    assert not evidence.holds
    assert "median epoch never against never; median difference 0 (" in evidence.numbers
    assert "0 of 8" in evidence.numbers


def test_paired_speaks_of_an_infinite_loss_as_infinite():
    assert "median val_loss 0.35 against ∞" in compare(EIGHT, [inf] * 8).numbers


def test_paired_bears_never_on_both_sides():
    evidence = epochs([3.0, inf] * 4, [inf, 3.0] * 4)
    assert not evidence.holds
    assert "median difference 0 (95 % interval -∞ to ∞)" in evidence.numbers


def test_paired_compares_with_a_number():
    data = frame(EIGHT + 0.1, EIGHT)
    assert paired(data, "val_loss", "batch_size == 8", ">", 0.05).holds
    assert not paired(data, "val_loss", "batch_size == 8", ">", 0.5).holds


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("val_loss", "batch_size == 8", "==", "batch_size == 64"), "relation='==' must be"),
        (
            ("loss", "batch_size == 8", "<", "batch_size == 64"),
            "must have the column loss, not batch_size",
        ),
        (
            ("val_loss", "batch == 8", "<", "batch_size == 64"),
            "this='batch == 8' must be a query on the columns batch_size",
        ),
        (("val_loss", "batch_size == 8", "<", None), "other=None must be a query"),
        (("val_loss", "batch_size == 7", "<", "batch_size == 64"), "picks 0 rows"),
        (
            ("val_loss", "batch_size > 7", "<", "batch_size == 64"),
            "must leave exactly one row a seed; it picks 16 rows for 8 seeds",
        ),
        (
            ("val_loss", "batch_size == 8", "<", "batch_size == 64 and seed < 6"),
            r"one alone has \[6, 7\]",
        ),
        (
            ("val_loss", "batch_size == 8 and seed < 7", "<", 1.0),
            "must have 8 seeds or more, and has 7",
        ),
    ],
)
def test_paired_names_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        paired(frame(EIGHT, EIGHT), *arguments)


# equal


def test_equal_holds_within_the_tolerance_alone():
    a = torch.linspace(0, 1, 10, requires_grad=True)
    assert equal(a, a + 1e-6, 2e-6).holds
    assert not equal(a, a + 1e-6, 5e-7).holds
    assert not equal(a, a + 1e-6).holds
    assert equal(a, a.detach().numpy()).numbers == (
        "10 numbers compared; largest difference 0 (exact)"
    )


def test_equal_shows_a_few_numbers_themselves():
    assert equal([600, 6000], [600, 6001]) == Evidence(
        False, "600, 6,000 against 600, 6,001; largest difference 1 (exact)"
    )
    assert equal(0.5, 0.5004, 1e-3).numbers == (
        "0.5 against 0.5; largest difference 0.0004 (0.001 allowed)"
    )


def test_equal_compares_integers_exactly():
    assert not equal(2**53, 2**53 + 1).holds
    assert not equal(np.uint8([0]), np.uint8([1])).holds
    assert equal(True, 1).holds


def test_equal_knows_the_largest_whole_numbers():
    largest, smallest = np.iinfo(np.int64).max, np.iinfo(np.int64).min
    assert not equal(np.uint64(2**64 - 1), np.int64(-1)).holds
    assert not equal(largest, smallest, 1).holds
    assert equal([largest], [smallest]).numbers.endswith(
        "difference 18,446,744,073,709,551,615 (exact)"
    )
    assert equal(np.uint64([2**64 - 1, 0]), np.uint64([2**64 - 2, 1]), 1).holds
    assert equal(torch.tensor([smallest]), np.array([smallest])).holds


def test_equal_compares_whole_numbers_with_others():
    assert equal([1, 2], [1.0, 2.0]).holds
    assert equal([1, 2], [1.0, 2.5], 0.5).numbers == (
        "1, 2 against 1, 2.5; largest difference 0.5 (0.5 allowed)"
    )
    assert not equal([1, 2], [1.0, nan], inf).holds


def test_equal_never_takes_a_missing_number_for_equal():
    assert not equal(nan, nan).holds
    assert not equal([1.0, nan], [1.0, 1.0], inf).holds
    assert equal(inf, inf).holds
    assert not equal(inf, -inf).holds


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            ([1, 2], [1, 2, 3]),
            ValueError,
            r"a and b must have one shape; they have \(2,\) and \(3,\)",
        ),
        ((1, [1]), ValueError, r"they have \(\) and \(1,\)"),
        (("1", 1), TypeError, "a='1' must be one or more numbers"),
        ((1, None), TypeError, "b=None"),
        (([], []), TypeError, r"a=\[\] must be one or more numbers"),
        ((1, 1, -0.1), ValueError, "tolerance=-0.1 must be"),
        ((1, 1, nan), ValueError, "tolerance=nan must be"),
    ],
)
def test_equal_names_what_is_wrong(arguments, error, message):
    with pytest.raises(error, match=message):
        equal(*arguments)


# slope


X = np.log(2.0 ** np.arange(8))
WOBBLE = 0.01 * np.array([1, -1, 1, 1, -1, -1, 1, -1])


def test_slope_holds_where_the_whole_interval_is_near():
    evidence = slope(X, -0.5 * X + 3 + WOBBLE, expected=-0.5, tolerance=0.05)
    assert evidence.holds
    assert evidence.numbers.endswith("over 8 points, expected -0.5 +/- 0.05")
    assert slope([0, 1, 2], [1, 3, 5], 2, 1e-9).holds


def test_slope_fails_elsewhere():
    assert not slope(X, -0.6 * X + WOBBLE, expected=-0.5, tolerance=0.05).holds
    assert not slope(X, 0 * X, expected=-0.5, tolerance=0.05).holds


def test_slope_of_a_constant_is_exactly_0():
    evidence = slope(range(5), [0.1] * 5, 0, 0.1)
    assert evidence.holds
    assert evidence.numbers.startswith("slope 0 (95 % interval 0 to 0) over 5 points")
    assert not slope(range(5), [0.1] * 5, 0.5, 0.1).holds


def test_slope_fails_where_the_fit_is_too_vague_to_tell():
    evidence = slope(X, -0.5 * X + 30 * WOBBLE, expected=-0.5, tolerance=0.15)
    assert not evidence.holds
    estimate = float(evidence.numbers.split()[1])
    assert abs(estimate + 0.5) < 0.15


def test_slope_has_the_interval_of_the_textbook():
    """By hand: residual sum of squares 0.7, x spread 10, and t = 3.182 at 3 degrees of freedom."""
    evidence = slope([0, 1, 2, 3, 4], [0, 1, 2, 2, 4], 0.9, 1.0)
    half = 3.182 * np.sqrt((0.7 / 3) / 10)
    assert f"slope 0.9 (95 % interval {0.9 - half:.3g} to {0.9 + half:.3g})" in evidence.numbers


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ([1, 2, 3], [1, 2], 1, 0.1),
            r"must be lists of one length; they have the shapes \(3,\) and \(2,\)",
        ),
        (([1, 2, 3], [1, 2, inf], 1, 0.1), "must be finite"),
        (([1, 1, 2, 2], [1, 2, 3, 4], 1, 0.1), "three distinct numbers"),
        (([1, 2, 3], [1, 2, 3], 1, 0), "tolerance=0 must be a positive number"),
    ],
)
def test_slope_names_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        slope(*arguments)


# claim


def test_claim_prints_outside_a_notebook(capsys):
    claim("1.2", "Six hundred updates.", equal(600, 600))
    assert capsys.readouterr().out == (
        "Claim 1.2. Six hundred updates.\n600 against 600; largest difference 0 (exact) (holds)\n"
    )


def test_claim_raises_with_its_numbers_and_is_shown_all_the_same(capsys):
    with pytest.raises(ClaimError) as error:
        claim("1.2", "Six hundred updates", equal(600, 601))
    for part in ("1.2", "Six hundred updates", "600 against 601", "does not hold"):
        assert part in str(error.value)
    assert str(error.value) in capsys.readouterr().out
    assert measured()["verdict"].tolist() == ["does not hold"]


def test_claim_publishes_text_markdown_and_json_in_a_notebook():
    InteractiveShell.instance()
    try:
        with capture_output() as captured:
            claim("3.10", "Larger is later", Evidence(True, "8 of 8"), common_belief=False)
    finally:
        InteractiveShell.clear_instance()
    [output] = captured.outputs
    assert output.data == {
        "text/plain": "Claim 3.10. Larger is later.\n8 of 8 (holds, against the common belief)",
        "text/markdown": "**Claim 3.10. Larger is later.**  \n"
        "8 of 8. *This holds, against the common belief.*",
        "application/vnd.course.claim+json": {
            "number": "3.10",
            "sentence": "Larger is later",
            "numbers": "8 of 8",
            "holds": True,
            "common_belief": False,
        },
    }


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("3", "So", Evidence(True, "")), ValueError, "number='3' must be"),
        ((3.2, "So", Evidence(True, "")), ValueError, "number=3.2 must be"),
        (("3.2", " ", Evidence(True, "")), ValueError, "sentence=' ' must say"),
        (("3.2", "So", True), TypeError, "evidence=True of claim 3.2 must be"),
    ],
)
def test_claim_names_what_is_wrong(arguments, error, message):
    with pytest.raises(error, match=message):
        claim(*arguments)


def test_measured_orders_claims_and_shows_whole_sentences():
    long = "A sentence that |goes on| " * 10
    claim("1.10", long, equal(1, 1))
    claim("1.9", "First version", equal(1, 1))
    claim("1.9", "Run again", equal(2, 2), common_belief=False)
    table = measured()
    assert isinstance(table, pd.DataFrame)
    assert table["claim"].tolist() == ["1.9", "1.10"]
    assert table["sentence"][0] == "Run again"
    lines = table._repr_markdown_().splitlines()
    assert lines[0] == "| claim | sentence | measured | verdict |"
    assert lines[1] == "| :--- | :--- | :--- | :--- |"
    assert long.strip().replace("|", r"\|") in lines[3]
    assert table._repr_html_ is None


def test_both_pieces_of_evidence_must_hold():
    yes, no = Evidence(True, "yes"), Evidence(False, "no")
    assert [(a & b).holds for a in (yes, no) for b in (yes, no)] == [True, False, False, False]
    assert (yes & no).numbers == "yes; no"
