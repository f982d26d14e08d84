"""What `fit` refuses, and with which words."""

import warnings
from functools import partial

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback
from torch import nn
from torch.nn import functional as F

from course_lib.datasets import Digits
from course_lib.models import MLP
from course_lib.training import fit
from test_fit import assert_same_run, close_by, floats, regressor

fit = partial(fit, progress=False)


@pytest.mark.parametrize("batch_size", [0, -1, 3.5, 201, True, "all", None])
def test_batch_size_out_of_range(data, batch_size):
    message = f"batch_size={batch_size!r} must be a whole number from 1 to 200"
    with pytest.raises(ValueError, match=message):
        fit(MLP, data, batch_size=batch_size, lr=0.1, max_epochs=1)


def test_batch_size_has_no_default(data):
    with pytest.raises(TypeError, match="batch_size"):
        fit(MLP, data, lr=0.1, max_epochs=1)


@pytest.mark.parametrize("lr", [0, -0.1, float("nan"), float("inf"), True, "0.1", None])
def test_learning_rate_that_is_not_positive(data, lr):
    with pytest.raises(ValueError, match=f"lr={lr!r} must be a positive number"):
        fit(MLP, data, batch_size=8, lr=lr, max_epochs=1)


@pytest.mark.parametrize("seeds", [0, -1, [], [1, 1], True, [True], 2.0, [0.5], "12", None])
def test_seeds_that_are_not_different_whole_numbers(data, seeds):
    with pytest.raises(ValueError, match="must be one or more different whole numbers"):
        fit(MLP, data, batch_size=8, seeds=seeds, lr=0.1, max_epochs=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "max_epochs=None and max_steps=None: give exactly one"),
        ({"max_epochs": 1, "max_steps": 1}, "max_epochs=1 and max_steps=1: give exactly one"),
        ({"max_epochs": 0}, "max_epochs=0 must be a whole number from 1"),
        ({"max_epochs": True}, "max_epochs=True must be a whole number from 1"),
        ({"max_steps": True}, "max_steps=True must be a whole number from 1"),
        ({"max_steps": 2.5}, "max_steps=2.5 must be a whole number from 1"),
        ({"max_epochs": -1}, "max_epochs=-1 must be a whole number from 1"),
        ({"max_epochs": 1, "devices": 0}, "devices=0 must be a whole number from 1"),
        ({"max_epochs": 1, "devices": True}, "devices=True must be a whole number from 1"),
        ({"max_epochs": 1, "num_nodes": "2"}, "num_nodes='2' must be a whole number from 1"),
        ({"max_epochs": 1, "devices": 30}, "batch_size=8 on 30 devices .* give at most 6"),
        ({"max_epochs": 1, "loss": "mse"}, "loss='mse' must be a function"),
        ({"max_epochs": 1, "metrics": "accuracy"}, "metrics='accuracy' must be a function or"),
        ({"max_epochs": 1, "metrics": {"loss": F.mse_loss}}, "'loss' is the name of the loss"),
    ],
)
def test_arguments_out_of_range(data, options, message):
    with pytest.raises(ValueError, match=message):
        fit(MLP, data, **{"batch_size": 8, "lr": 0.1, **options})


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("data", value) for value in (None, (1, 2), "digits", Digits)),
        *(("callbacks", value) for value in (None, 3, [3], Callback(), [Callback])),
        *(("cache", value) for value in (3, True, b"folder")),
    ],
)
def test_arguments_of_the_wrong_kind(data, argument, value):
    given = {"data": data, "batch_size": 8, "lr": 0.1, "max_epochs": 1, argument: value}
    with pytest.raises(ValueError, match=f"^{argument}.* must be"):
        fit(MLP, **given)


@pytest.mark.parametrize(
    "counts",
    [
        {"max_epochs": np.uint8(1), "batch_size": np.int16(100), "seeds": np.arange(2)},
        {"max_epochs": np.int64(1), "devices": np.int64(1), "num_nodes": np.int32(1), "seeds": 2},
    ],
)
def test_numpys_whole_numbers_are_taken(data, counts):
    run = fit(MLP, data, lr=np.float32(0.1), progress=False, **{"batch_size": 100, **counts})
    assert_same_run(
        run, fit(MLP, data, lr=float(np.float32(0.1)), batch_size=100, seeds=2, max_epochs=1)
    )


@pytest.mark.parametrize(
    "stop_at",
    [
        {"accuracy": 0.9},
        {"val_hits": 0.9},
        {},
        {"val_loss": 1, "val_accuracy": 1},
        "val_loss",
        0.9,
    ],
)
def test_stop_at_something_that_is_not_measured(data, stop_at):
    message = "stop_at=.*must hold one of train_loss, train_accuracy, val_loss, val_accuracy and"
    with pytest.raises(ValueError, match=message):
        fit(MLP, data, batch_size=8, lr=0.1, max_epochs=1, stop_at=stop_at)


def test_stop_at_names_the_metrics_of_one_s_own():
    settings = {"loss": F.mse_loss, "metrics": close_by, "batch_size": 8, "lr": 0.1}
    with pytest.raises(ValueError, match="must hold one of train_loss, train_close_by, val_loss"):
        fit(regressor, floats(), max_epochs=1, stop_at={"val_accuracy": 0.9}, **settings)


@pytest.mark.parametrize("value", ["0.9", None, float("nan"), 10**400, True])
def test_stop_at_a_value_that_is_no_number(data, value):
    with pytest.raises(ValueError, match="stop_at="):
        fit(MLP, data, batch_size=8, lr=0.1, max_epochs=1, stop_at={"val_accuracy": value})


@pytest.mark.parametrize("name", ["LBFGS", "Adafactor", "SparseAdam", "Muon"])
def test_optimizer_that_couples_replicas(data, name):
    kind = getattr(torch.optim, name, None)
    if kind is None:
        pytest.skip(f"this version of PyTorch has no {name}")
    with pytest.raises(ValueError, match=rf"optimizer={name} couples replicas.*SGD"):
        fit(MLP, data, batch_size=8, optimizer=kind, lr=0.1, max_epochs=1)


def two_groups(parameters, lr):
    """Biases, for instance, without weight decay."""
    first, *rest = parameters
    return torch.optim.SGD([{"params": [first], "weight_decay": 1.0}, {"params": rest}], lr=lr)


def test_optimizer_with_several_groups_of_parameters(data):
    """Their options would be those of the first one for networks that are trained one by one."""
    with pytest.raises(ValueError, match="optimizer=two_groups makes 2 groups of parameters"):
        fit(MLP, data, batch_size=8, optimizer=two_groups, lr=0.1, max_epochs=1)


def test_options_that_the_optimizer_does_not_take(data):
    with pytest.raises(ValueError, match="optimizer=SGD does not take lr=0.1, betas=0.9"):
        fit(MLP, data, batch_size=8, lr=0.1, max_epochs=1, betas=0.9)


def test_network_itself_is_refused(data):
    with pytest.raises(ValueError, match=r"network=MLP\((.|\n)*must be what makes a network"):
        fit(MLP(), data, batch_size=8, lr=0.1, max_epochs=1)
    with pytest.raises(ValueError, match="network='MLP' must be what makes a network"):
        fit("MLP", data, batch_size=8, lr=0.1, max_epochs=1)


def test_one_network_for_all_seeds_is_refused(data):
    network = MLP()
    with pytest.raises(ValueError, match="network="):
        fit(lambda: network, data, batch_size=8, seeds=2, lr=0.1, max_epochs=1)


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (partial(MLP, shape=(1, 9, 9)), {}, r"samples of shape \(1, 8, 8\)"),
        (partial(MLP, classes=9), {}, r"targets of shape \(\) \(torch.int64\).*IndexError"),
        (MLP, {"loss": F.mse_loss}, r"8 samples of shape \(1, 8, 8\).*targets of shape \(\)"),
        (MLP, {"loss": F.l1_loss, "metrics": {}}, r"samples of shape \(1, 8, 8\)"),
        (MLP, {"loss": lambda outputs, targets: outputs}, r"samples of shape \(1, 8, 8\)"),
        (MLP, {"metrics": {"x": lambda outputs, targets: outputs @ targets}}, r"\(1, 8, 8\)"),
        (nn.Flatten, {}, "network"),
    ],
)
def test_network_loss_and_data_that_do_not_fit_together(data, network, options, message):
    with warnings.catch_warnings(), pytest.raises(ValueError, match=message):
        warnings.simplefilter("ignore")
        fit(network, data, batch_size=8, lr=0.1, max_epochs=1, **options)


def test_weights_of_another_shape_than_the_losses():
    weights = {"weights_train": torch.ones(40), "weights_val": torch.ones(20)}
    with pytest.raises(ValueError, match=r"shape \(8, 2\) but the weights have \(8,\)"):
        fit(regressor, floats(**weights), loss=F.mse_loss, batch_size=8, lr=0.1, max_epochs=1)
