"""The permanent test, on other data: splits, weights, regressions, sequences."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.data import TensorData
from course_lib.datasets import Digits
from course_lib.models import MLP
from course_lib.training import fit
from zoo import ALONE, batch_loss, hand_written_loop, largest_difference, noisy_digits

SEEDS = [3, 0, 11]
SGD = partial(torch.optim.SGD, momentum=0.9)


def assert_equals_loop(make, data, *, tolerance=1e-9, seeds=SEEDS, metrics=None, **changes):
    settings = {"batch_size": 16, "optimizer": SGD, "lr": 0.02, "max_epochs": 2} | changes
    loss = settings.get("loss", F.cross_entropy)
    run = fit(make, data, seeds=seeds, metrics=metrics or {}, progress=False, **settings)
    last = run.history[run.history.epoch == 2].set_index("seed")
    for seed, trained in zip(seeds, run.networks, strict=True):
        expected = hand_written_loop(make, data, seed, **settings)
        assert largest_difference(trained, expected) < tolerance
        own = data.of_seed(seed)
        for part, (x, *targets) in (("train", own.train), ("val", own.val)):
            with torch.no_grad():
                value = batch_loss(loss, expected.eval()(x), *targets).item()
            assert last[f"{part}_loss"][seed] == pytest.approx(value, rel=1e-5)
    first = run.history[run.history.epoch == 0].set_index("seed")
    assert (first.train_loss != last.train_loss).all(), "nothing was trained"
    return run


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# A split for each seed.


@pytest.mark.parametrize("batch_size", [16, 60, 150], ids=["small", "ragged", "full"])
@pytest.mark.parametrize("network", [MLP, ALONE["dropout"]], ids=["MLP", "dropout"])
def test_a_split_for_each_seed(float64, network, batch_size):
    data = Digits(split="seed").part(150, 50)
    assert_equals_loop(network, data, batch_size=batch_size)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [64, "full"])
@pytest.mark.parametrize("network", [MLP, ALONE["GRU"]], ids=["MLP", "GRU"])
def test_digits_with_a_split_for_each_seed(network, batch_size):
    data, settings = Digits(split="seed"), {"optimizer": SGD, "lr": 0.02, "max_epochs": 2}
    run = fit(network, data, seeds=SEEDS, batch_size=batch_size, progress=False, **settings)
    size = 1437 if batch_size == "full" else batch_size
    for seed, trained in zip(SEEDS, run.networks, strict=True):
        expected = hand_written_loop(network, data, seed, batch_size=size, **settings)
        assert largest_difference(trained, expected) < 1e-5
        own, rows = data.of_seed(seed), run.history[run.history.seed == seed]
        hits = (trained(own.x_val).argmax(1) == own.y_val).double().mean()
        assert rows.val_accuracy.iloc[-1] == pytest.approx(hits.item())


# Weights.


@pytest.mark.parametrize("split", ["fixed", "seed"])
@pytest.mark.parametrize("batch_size", [16, 150])
@pytest.mark.parametrize("network", [MLP, ALONE["dropout"]], ids=["MLP", "dropout"])
def test_weights_of_samples(float64, network, batch_size, split):
    weights = random(200).square()
    data = noisy_digits(weights_train=weights[:150], weights_val=weights[150:], split=split)
    assert_equals_loop(network, data, batch_size=batch_size)


def test_a_weight_of_2_is_the_sample_twice(float64):
    """In the full batch, where the order does not matter."""
    data, twice = noisy_digits(), torch.arange(150).repeat_interleave(torch.tensor([1, 2] * 75))
    weighted = noisy_digits(weights_train=torch.tensor([1.0, 2.0] * 75), weights_val=torch.ones(50))
    repeated = TensorData(data.x_train[twice], data.y_train[twice], data.x_val, data.y_val)
    settings = {"batch_size": "full", "lr": 0.1, "max_epochs": 3, "progress": False}
    runs = [fit(MLP, each, seeds=SEEDS, **settings) for each in (weighted, repeated)]
    for first, second in zip(*(run.networks for run in runs), strict=True):
        assert largest_difference(first, second) < 1e-9
    for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy"):
        assert runs[0].history[name].tolist() == pytest.approx(runs[1].history[name].tolist())


# Regressions.

LOSSES = {
    "mse": F.mse_loss,
    "Huber": partial(F.huber_loss, delta=0.5),
    "own": lambda outputs, targets: (outputs - targets).abs().pow(1.5).mean(),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize("split", ["fixed", "seed"])
def test_regressions(float64, loss, targets, split):
    x = random(200, 5)
    y = (x @ random(5, targets, seed=1)).tanh()
    data = TensorData(x[:150], y[:150], x[150:], y[150:], split=split)
    make = partial(two_layers, 5, targets)
    assert not assert_equals_loop(make, data, loss=loss).history.attrs["one_by_one"]


def two_layers(inputs, outputs, *more):
    return nn.Sequential(nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, outputs), *more)


def test_a_regression_of_one_number(float64):
    x = random(200, 5)
    data = TensorData(x[:150], x[:150].sum(1), x[150:], x[150:].sum(1))
    make = partial(two_layers, 5, 1, nn.Flatten(0))
    assert_equals_loop(make, data, loss=F.mse_loss)


def test_weighted_regression(float64):
    x, weights = random(200, 5), random(200, 3).square()
    data = TensorData(
        *(x[:150], x[:150, :3].sin(), x[150:], x[150:, :3].sin()),
        weights_train=weights[:150],
        weights_val=weights[150:],
    )
    assert_equals_loop(partial(two_layers, 5, 3), data, loss=F.mse_loss)


# Sequences.


class Tokens(nn.Module):
    """Predicts a class for each token: shape (N, classes, T), as cross entropy takes it."""

    def __init__(self, dropout=0.0):
        super().__init__()
        options = {"dim_feedforward": 16, "dropout": dropout, "batch_first": True, "bias": False}
        self.words, self.last = nn.Embedding(12, 8), nn.Linear(8, 4)
        self.layer = nn.TransformerEncoderLayer(8, 2, **options) if dropout is not None else None

    def forward(self, x):
        hidden = self.words(x)
        hidden = hidden.cumsum(1).tanh() if self.layer is None else self.layer(hidden)
        return self.last(hidden).movedim(-1, 1)


class NextToken(nn.Module):
    """A recurrent layer over tokens."""

    def __init__(self):
        super().__init__()
        self.words, self.last = nn.Embedding(12, 8), nn.Linear(8, 4)
        self.layer = nn.GRU(8, 8, batch_first=True)

    def forward(self, x):
        return self.last(self.layer(self.words(x))[0]).movedim(-1, 1)


def tokens(weighted, split="fixed"):
    """Which remainder the sum of each token and the one before has; padding counts nothing."""
    x = torch.randint(0, 12, (200, 9), generator=torch.Generator().manual_seed(1))
    y, weights = (x + x.roll(1, 1)) % 4, (torch.arange(9) < 4 + x[:, :1] % 5).double()
    pairs = {"weights_train": weights[:150], "weights_val": weights[150:]} if weighted else {}
    return TensorData(x[:150], y[:150], x[150:], y[150:], split=split, **pairs)


@pytest.mark.parametrize("split", ["fixed", "seed"])
@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weights a token"])
@pytest.mark.parametrize(
    ("network", "alone"),
    [(partial(Tokens, None), False), (Tokens, False), (NextToken, True)],
    ids=["embedding", "attention", "GRU"],
)
def test_sequences(float64, network, alone, weighted, split):
    run = assert_equals_loop(network, tokens(weighted, split))
    assert bool(run.history.attrs["one_by_one"]) == alone


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weights a token"])
@pytest.mark.parametrize("batch_size", [16, 150])
def test_a_transformer_with_dropout_by_adamw(float64, weighted, batch_size):
    run = assert_equals_loop(
        partial(Tokens, 0.2),
        tokens(weighted),
        batch_size=batch_size,
        optimizer=torch.optim.AdamW,
        lr=1e-3,
        weight_decay=0.1,
    )
    assert run.history.attrs["one_by_one"] == "random numbers"


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_accuracy_of_tokens_is_weighted():
    data = tokens(weighted=True)
    run = fit(Tokens, data, batch_size=16, seeds=2, lr=0.1, max_epochs=1, progress=False)
    x, y, weights = data.val
    for seed, network in enumerate(run.networks):
        right = (network(x).argmax(1) == y).float()
        expected = ((right * weights).sum() / weights.sum()).item()
        own = run.history[run.history.seed == seed].val_accuracy.iloc[-1]
        assert own == pytest.approx(expected, abs=1e-5)
