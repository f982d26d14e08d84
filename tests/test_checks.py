"""What each check takes, what it returns, and what it says of the rest."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from course_lib.checks import (
    in_eval_mode,
    is_whole,
    numbers,
    positive,
    sample_count,
    seed,
    seeds,
    whole,
    without_chance,
)


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_whole_numbers_of_any_make_become_ints(value):
    assert type(whole("steps", value)) is int and whole("steps", value) == 3
    assert is_whole(value)


@pytest.mark.parametrize("value", [0, -1, 2.0, 2.5, "3", None, True, np.True_, math.nan, [3]])
def test_what_is_no_whole_number_is_named(value):
    assert not is_whole(value)
    with pytest.raises(ValueError) as error:
        whole("steps", value)
    assert str(error.value) == f"steps={value!r} must be a whole number from 1"


def test_a_whole_number_has_its_range():
    assert whole("warmup", 0, least=0) == 0 and whole("batch_size", 8, most=8) == 8
    with pytest.raises(ValueError, match="^batch_size=9 must be a whole number from 2 to 8$"):
        whole("batch_size", 9, 2, 8)


@pytest.mark.parametrize("value", [1, 0.5, np.float32(0.5), np.int64(2), Fraction(1, 3)])
def test_positive_numbers_become_floats(value):
    assert type(positive("lr", value)) is float and positive("lr", value) == float(value)


@pytest.mark.parametrize(
    "value", [0, -0.1, math.inf, math.nan, True, "0.1", None, 1j, [0.1], 10**400, 1e300]
)
def test_what_is_not_positive_is_named(value):
    with pytest.raises(ValueError) as error:
        positive("lr", value)
    assert str(error.value) == f"lr={value!r} must be a positive number, for instance 0.1"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, [0, 1, 2]),
        (np.int64(2), [0, 1]),
        (range(4, 8, 2), [4, 6]),
        ([7, np.int32(3)], [7, 3]),
        ((-1, 2**40), [-1, 2**40]),
        (np.arange(2), [0, 1]),
        (torch.tensor([5, 4]), [5, 4]),
    ],
)
def test_seeds_in_any_form(value, expected):
    assert seeds(value) == expected
    assert all(type(seed) is int for seed in seeds(value))


def test_seeds_begin_where_the_environment_says(monkeypatch):
    monkeypatch.setenv("COURSE_FIRST_SEED", "100000")
    assert seeds(3) == [100_000, 100_001, 100_002]
    assert seeds(range(100, 102)) == [100, 101]


@pytest.mark.parametrize(
    "value",
    [
        *(0, -2, True, 2.0, "12", b"12", None, [], range(0), [1, 1], [1, True], [0.5]),
        *(np.array([1.0]), 2**70, [2**70], [2**64], [-(2**63) - 1]),
    ],
)
def test_what_are_no_seeds_is_named(value):
    with pytest.raises(ValueError) as error:
        seeds(value)
    assert str(error.value) == f"seeds={value!r} must be one or more different whole numbers"


def test_a_date_is_one_seed():
    with pytest.raises(ValueError, match=r"seeds=20240501 must be .*, such as \[20240501\]$"):
        seeds(20240501)
    assert seeds([20240501, 2**64 - 1, -(2**63)]) == [20240501, 2**64 - 1, -(2**63)]


@pytest.mark.parametrize("value", [2**70, None, "a", 1.5, True, math.nan])
def test_what_is_no_seed_is_named(value):
    assert seed(np.int64(3)) == 3 and type(seed(np.int64(3))) is int
    with pytest.raises(
        ValueError, match="^seed=.* must be a whole number from -9223372036854775808"
    ):
        seed(value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ma.masked_less([1.0, 2], 2), "must have no mask"),
        ([np.ma.masked_less([1.0, 2], 2)] * 2, "must have no mask"),
        (torch.zeros(2, dtype=torch.complex64), "must hold real numbers, and be dense"),
        (torch.zeros(2).to_sparse(), "and be dense"),
        (torch.zeros(2, device="meta"), "and be dense"),
        (torch.nested.nested_tensor([torch.zeros(2)]), "and be dense"),
        (torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8), "and be dense"),
        (np.array([None]), "must be numbers"),
        ("ab", "must be numbers"),
        (None, "must be numbers"),
    ],
)
def test_what_are_no_numbers_is_named(values, message):
    with pytest.raises(ValueError, match=f"^start .*{message}"):
        numbers("start", values)


def test_samples_are_counted():
    assert sample_count([torch.zeros(5, 2), torch.zeros(5)]) == 5


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(3, 2), (4,)], r"data of shapes \(3, 2\) and \(4,\) must hold equally many samples"),
        ([(0, 2), (0,)], r"data of shapes \(0, 2\) and \(0,\) .* one or more"),
        ([(3, 2), ()], r"data of shapes \(3, 2\) and \(\)"),
    ],
)
def test_samples_that_do_not_fit_are_named(shapes, message):
    with pytest.raises(ValueError, match=message):
        sample_count([torch.zeros(shape) for shape in shapes])


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(2), nn.Dropout(), nn.AlphaDropout()])
def test_only_eval_mode_treats_each_sample_alone(layer):
    network = nn.Sequential(nn.Linear(2, 2), layer)
    with pytest.raises(ValueError, match=rf"its {type(layer).__name__} '1' is in train mode: "):
        in_eval_mode(network)
    in_eval_mode(network.eval())


def test_layers_that_are_the_same_in_both_modes_may_train():
    in_eval_mode(nn.Sequential(nn.Linear(2, 2), nn.GroupNorm(1, 2), nn.ReLU()).train())


def test_batch_norm_must_have_running_statistics():
    with pytest.raises(ValueError, match="'0' takes the statistics of the batch: make it with tra"):
        in_eval_mode(nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False)).eval())


def test_chance_is_found_and_takes_nothing_from_the_random_state():
    network, sample = nn.RReLU(), -torch.ones(1, 2)
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match=r"must not draw random numbers .*: network.eval\(\)"):
        without_chance(network, sample)
    without_chance(network.eval(), sample)
    assert torch.equal(torch.get_rng_state(), before)
