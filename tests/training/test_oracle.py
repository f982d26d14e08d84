"""The permanent test: replica s of `fit` equals a hand-written loop with seed s."""

from functools import partial

import pytest
import torch

from course_lib.training import fit
from course_lib.training.replicas import seeded
from zoo import (
    ALONE,
    STACKED,
    WORDS,
    Counting,
    hand_written_loop,
    largest_difference,
    noisy_digits,
    words,
)

fit = partial(fit, progress=False)
slow = partial(pytest.param, marks=pytest.mark.slow)
SEEDS = [3, 0, 11]
OPTIMIZERS = {
    "SGD": (torch.optim.SGD, {"lr": 0.02}),
    "momentum": (torch.optim.SGD, {"lr": 0.02, "momentum": 0.9, "weight_decay": 1e-3}),
    "Nesterov": (torch.optim.SGD, {"lr": 0.02, "momentum": 0.9, "nesterov": True}),
    "Adam": (torch.optim.Adam, {"lr": 1e-3}),
    "AdamW": (torch.optim.AdamW, {"lr": 1e-3, "weight_decay": 0.1}),
    "RMSprop": (torch.optim.RMSprop, {"lr": 1e-3, "eps": 1e-4}),
    "Rprop": (torch.optim.Rprop, {"lr": 1e-3}),
}

# All of them together take a minute, so that some wait for `make test`.
CASES = [name if name == "momentum" else slow(name) for name in OPTIMIZERS]


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def assert_equals_loop(make, data, tolerance, *, optimizer="momentum", batch_size=64, loss=None):
    kind, options = OPTIMIZERS[optimizer]
    settings = {"batch_size": batch_size, "optimizer": kind, "max_epochs": 2, **options}
    settings |= {"loss": loss} if loss else {}
    run = fit(make, data, seeds=SEEDS, metrics={}, **settings)
    for seed, trained in zip(SEEDS, run.networks, strict=True):
        assert (
            largest_difference(trained, hand_written_loop(make, data, seed, **settings)) < tolerance
        )
        assert largest_difference(trained, seeded(make, seed)[0]) > 1e-4, "nothing was trained"
    return run


@pytest.mark.filterwarnings("ignore:the network has numbers")
@pytest.mark.parametrize("batch_size", [16, slow(150)])
@pytest.mark.parametrize("optimizer", CASES)
@pytest.mark.parametrize("network", [*STACKED, *ALONE])
def test_replica_equals_hand_written_loop(float64, network, optimizer, batch_size):
    """In float64, where Rprop does not turn a rounding error's sign into a step."""
    make = {**STACKED, **ALONE}[network]
    run = assert_equals_loop(make, noisy_digits(), 1e-9, optimizer=optimizer, batch_size=batch_size)
    assert bool(run.history.attrs["one_by_one"]) == (network in ALONE)


@pytest.mark.parametrize("network", STACKED)
def test_replica_equals_hand_written_loop_in_float32(network):
    assert_equals_loop(STACKED[network], noisy_digits(), 1e-5)


@pytest.mark.parametrize("optimizer", CASES)
@pytest.mark.parametrize("network", WORDS)
def test_networks_of_words(float64, network, optimizer):
    run = assert_equals_loop(WORDS[network], words(), 1e-9, optimizer=optimizer, batch_size=16)
    assert bool(run.history.attrs["one_by_one"]) == ("padding" in network)


def test_counting_in_python_is_the_loop_s_and_said(float64):
    with pytest.warns(UserWarning, match="numbers or lists that change"):
        assert_equals_loop(Counting, noisy_digits(), 1e-9)
