"""What `fit` takes, refuses and returns."""

import importlib
import random
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from pytorch_lightning import Callback
from torch import nn
from torch.nn import functional as F

from course_lib.data import TensorData
from course_lib.datasets import Digits
from course_lib.models import MLP
from course_lib.training import fit
from course_lib.training.replicas import Replicas
from zoo import ALONE, STACKED, hand_written_loop, largest_difference, noisy_digits

fit_module = importlib.import_module("course_lib.training.fit")  # the package names the function
fit = partial(fit, progress=False)


def without_seconds(run) -> pd.DataFrame:
    return run.history.drop(columns="seconds")


def assert_same_run(run, expected):
    pd.testing.assert_frame_equal(without_seconds(run), without_seconds(expected), check_exact=True)
    for network, same in zip(run.networks, expected.networks, strict=True):
        assert largest_difference(network, same) == 0


def floats(**options) -> TensorData:
    """A regression with two targets."""
    x = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    y = x[:, :2].sin() + 0.5
    return TensorData(x[:40], y[:40], x[40:], y[40:], **options)


def regressor() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 2))


def close_by(outputs, targets):
    return ((outputs - targets).abs() < 0.5).all(1)


def absolute_error(outputs, targets):
    return (outputs - targets).abs()


@pytest.mark.parametrize(
    "seeds",
    [2, np.int64(2), range(2), [0, 1], (0, 1), np.arange(2), np.array([0, 1], "uint8")],
    ids=repr,
)
def test_seeds_are_a_number_or_the_seeds_themselves(data, seeds):
    run = fit(MLP, data, batch_size=64, seeds=seeds, lr=0.1, max_epochs=1)
    assert_same_run(run, fit(MLP, data, batch_size=64, seeds=[0, 1], lr=0.1, max_epochs=1))


def test_tensor_of_seeds(data):
    run = fit(MLP, data, batch_size=64, seeds=torch.tensor([4, 2]), lr=0.1, max_epochs=1)
    assert run.history.seed.tolist() == [4, 2, 4, 2]


def test_networks_are_in_the_order_of_the_seeds(data):
    settings = {"batch_size": 64, "optimizer": torch.optim.SGD, "lr": 0.1, "max_epochs": 1}
    run = fit(MLP, data, seeds=[4, 2], **settings)
    for seed, network in zip([4, 2], run.networks, strict=True):
        assert largest_difference(network, hand_written_loop(MLP, data, seed, **settings)) < 1e-5


@pytest.mark.parametrize("number", [np.int64(2), np.uint8(2)])
def test_whole_numbers_may_be_numpy_s(data, number):
    run = fit(MLP, data, batch_size=64, seeds=2, lr=0.1, max_epochs=number)
    assert_same_run(run, fit(MLP, data, batch_size=64, seeds=2, lr=0.1, max_epochs=2))
    run = fit(MLP, data, batch_size=np.int64(64), seeds=2, lr=np.float32(0.5), max_steps=number)
    assert_same_run(run, fit(MLP, data, batch_size=64, seeds=2, lr=0.5, max_steps=2))


def test_full_batch(data):
    run = fit(MLP, data, batch_size="full", seeds=2, lr=0.1, max_epochs=3)
    assert (run.history.batch_size == 200).all() and run.history.step.max() == 3
    assert_same_run(run, fit(MLP, data, batch_size=200, seeds=2, lr=0.1, max_epochs=3))


@pytest.mark.parametrize("kind", ["MLP", "F1", "dropout"])
def test_networks_have_tensors_of_their_own(data, kind):
    run = fit({**STACKED, **ALONE}[kind], data, batch_size=64, seeds=3, lr=0.1, max_epochs=1)
    first, second, third = (network.state_dict() for network in run.networks)
    kept = {name: tensor.clone() for name, tensor in second.items()}
    for state in (first, third):
        for tensor in state.values():
            tensor.fill_(7)
            assert tensor.untyped_storage().nbytes() == tensor.nbytes
    assert all(torch.equal(second[name], tensor) for name, tensor in kept.items())
    assert not any(module.training for network in run.networks for module in network.modules())


@pytest.mark.parametrize("kind", ["F1", "dropout"])
def test_networks_can_be_trained_on(data, kind):
    make = {**STACKED, **ALONE}[kind]
    network = fit(make, data, batch_size=64, seeds=2, lr=0.01, max_epochs=1).networks[1].train()
    before = [parameter.clone() for parameter in network.parameters()]
    stepper = torch.optim.SGD(network.parameters(), lr=0.01)
    stepper.zero_grad()
    F.cross_entropy(network(data.x_train), data.y_train).backward()
    stepper.step()
    assert not any(map(torch.equal, before, network.parameters()))


@pytest.mark.parametrize("kind", ["MLP", "F1", "dropout", "LSTM with dropout"])
@pytest.mark.parametrize("split", ["fixed", "seed"])
def test_global_random_states_stay_as_they_are(kind, split):
    data = noisy_digits(split=split)
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002 (the global state is what is looked at)
    states = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())  # noqa: NPY002
    fit({**STACKED, **ALONE}[kind], data, batch_size=64, seeds=2, lr=0.1, max_epochs=2)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert repr(np.random.get_state()) == states[2]  # noqa: NPY002


@pytest.mark.parametrize("kind", ["MLP", "dropout"])
def test_runs_do_not_depend_on_global_random_states(data, kind):
    runs = []
    for state in (1, 2):
        torch.manual_seed(state)
        runs.append(fit({**STACKED, **ALONE}[kind], data, batch_size=64, lr=0.1, max_epochs=2))
    assert_same_run(*runs)


def test_data_and_default_settings_stay_as_they_are(data):
    before = [tensor.clone() for tensor in (*data.train, *data.val)]
    threads, dtype, grad = (
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
    )
    fit(MLP, data, batch_size=64, seeds=2, lr=0.1, max_epochs=1)
    assert all(map(torch.equal, before, (*data.train, *data.val)))
    assert (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()) == (
        threads,
        dtype,
        grad,
    )


@pytest.mark.parametrize("kind", ["MLP", "dropout"])
def test_fit_trains_where_gradients_are_off(data, kind):
    make, settings = {**STACKED, **ALONE}[kind], {"batch_size": 64, "lr": 0.1, "max_epochs": 1}
    with torch.no_grad():
        run = fit(make, data, seeds=2, **settings)
    assert_same_run(run, fit(make, data, seeds=2, **settings))


@pytest.mark.parametrize("kind", ["MLP", "LSTM"])
def test_history_says_why_networks_were_trained_one_by_one(data, kind):
    run = fit({**STACKED, **ALONE}[kind], data, batch_size=64, seeds=2, lr=0.1, max_epochs=1)
    assert run.history.attrs.keys() == {"compiled", "compile_seconds", "one_by_one"}
    said = run.history.attrs["one_by_one"]
    assert said == "" if kind == "MLP" else "cannot be stacked" in said


def test_random_numbers_and_python_counts_are_named():
    data = noisy_digits()
    run = fit(ALONE["dropout"], data, batch_size=64, seeds=2, lr=0.1, max_epochs=1)
    assert run.history.attrs["one_by_one"] == "random numbers"


class PythonNoise(MLP):
    def forward(self, x):
        return super().forward(x) * (1 + 0.1 * random.random())


def test_random_numbers_of_python_are_warned_of(data):
    with pytest.warns(UserWarning, match="random numbers of Python or NumPy.*the loop"):
        run = fit(PythonNoise, data, batch_size=64, seeds=2, lr=0.1, max_epochs=1)
    assert run.history.attrs["one_by_one"] == "random numbers of Python or NumPy"


# A loss and metrics of one's own.


@pytest.mark.parametrize("recorded", [False, True], ids=["", "recorded"])
def test_regression_equals_the_loop(float64, recorded, request):
    if recorded:
        request.getfixturevalue("recording")
    data = floats()
    settings = {"batch_size": 16, "optimizer": torch.optim.SGD, "lr": 0.1, "max_epochs": 3}
    run = fit(regressor, data, seeds=3, loss=F.mse_loss, metrics={}, **settings)
    assert [*run.history][6:] == ["train_loss", "val_loss", "diverged"]
    last = run.history[run.history.epoch == 3].set_index("seed")
    for seed, network in enumerate(run.networks):
        expected = hand_written_loop(regressor, data, seed, loss=F.mse_loss, **settings)
        assert largest_difference(network, expected) < 1e-9
        assert last.val_loss[seed] == pytest.approx(
            F.mse_loss(network(data.x_val), data.y_val).item()
        )


def test_two_metrics_of_one_s_own():
    data, metrics = floats(), {"hits": close_by, "absolute_error": absolute_error}
    run = fit(
        *(regressor, data),
        loss=F.mse_loss,
        metrics=metrics,
        batch_size=16,
        lr=0.1,
        max_epochs=2,
    )
    names = ["loss", "hits", "absolute_error"]
    columns = [f"{part}_{name}" for part in ("train", "val") for name in names]
    assert [*run.history][6:] == [*columns, "diverged"]
    last = run.history[run.history.epoch == 2].set_index("seed")
    for seed, network in enumerate(run.networks):
        for part, x, y in (
            ("train", data.x_train, data.y_train),
            ("val", data.x_val, data.y_val),
        ):
            outputs = network(x)
            hits, error = close_by(outputs, y).double().mean(), (outputs - y).abs().mean()
            assert last[f"{part}_hits"][seed] == pytest.approx(hits.item())
            assert last[f"{part}_absolute_error"][seed] == pytest.approx(error.item())


def test_one_metric_has_its_own_name():
    settings = {"loss": F.mse_loss, "batch_size": 16, "lr": 0.1, "max_epochs": 1}
    run = fit(regressor, floats(), metrics=close_by, **settings)
    assert [*run.history][6:] == [
        *("train_loss", "train_close_by", "val_loss", "val_close_by"),
        "diverged",
    ]


@pytest.mark.parametrize("kind", ["MLP", "dropout", "LSTM"])
def test_weights_equal_the_loop(float64, kind):
    weights = torch.linspace(0, 2, 200)
    data = noisy_digits(weights_train=weights[:150], weights_val=weights[150:])
    make = {**STACKED, **ALONE}[kind]
    settings = {"batch_size": 16, "optimizer": torch.optim.SGD, "lr": 0.05, "max_epochs": 2}
    run = fit(make, data, seeds=2, **settings)
    last = run.history[run.history.epoch == 2].set_index("seed")
    for seed, network in enumerate(run.networks):
        assert largest_difference(network, hand_written_loop(make, data, seed, **settings)) < 1e-9
        outputs, own = network(data.x_val), data.val[2] / data.val[2].sum()
        losses = F.cross_entropy(outputs, data.y_val, reduction="none")
        assert last.val_loss[seed] == pytest.approx((losses * own).sum().item())
        hits = outputs.argmax(1) == data.y_val
        assert last.val_accuracy[seed] == pytest.approx((hits * own).sum().item())


@pytest.mark.parametrize("kind", ["MLP", "dropout"])
def test_split_of_each_seed_equals_the_loop(float64, kind):
    data, make = noisy_digits(split="seed"), {**STACKED, **ALONE}[kind]
    settings = {"batch_size": 16, "optimizer": torch.optim.SGD, "lr": 0.05, "max_epochs": 2}
    run = fit(make, data, seeds=[4, 2], **settings)
    last = run.history[run.history.epoch == 2].set_index("seed")
    for seed, network in zip([4, 2], run.networks, strict=True):
        assert largest_difference(network, hand_written_loop(make, data, seed, **settings)) < 1e-9
        own = data.of_seed(seed)
        hits = (network(own.x_val).argmax(1) == own.y_val).double().mean()
        assert last.val_accuracy[seed] == pytest.approx(hits.item())


# What is refused.


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


# Callbacks.


def test_cache_refuses_callbacks(data, tmp_path):
    with pytest.raises(ValueError, match="cache cannot tell runs with different callbacks apart"):
        settings = {"batch_size": 32, "lr": 0.1, "max_epochs": 1, "cache": tmp_path}
        fit(MLP, data, callbacks=[Callback()], **settings)


class BatchCounter(Callback):
    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_index):
        self.seen.append(trainer.global_step)


@pytest.mark.parametrize("kind", ["MLP", "dropout"])
def test_callback_sees_every_update(data, kind):
    counter = BatchCounter()
    settings = {"batch_size": 64, "seeds": 2, "lr": 0.1, "max_epochs": 2}
    run = fit({**STACKED, **ALONE}[kind], data, callbacks=iter([counter]), **settings)
    assert counter.seen == list(range(1, 9))
    assert_same_run(run, fit({**STACKED, **ALONE}[kind], data, **settings))


class StackedShapes(Callback):
    def on_train_epoch_end(self, trainer, cohort):
        self.shapes = [tuple(parameter.shape) for parameter in cohort.parameters()]
        self.networks = cohort.networks()


def test_callbacks_see_stacked_parameters_and_networks(data):
    seen = StackedShapes()
    run = fit(MLP, data, batch_size=64, seeds=3, lr=0.1, max_epochs=2, callbacks=[seen])
    assert seen.shapes == [(3, *parameter.shape) for parameter in MLP().parameters()]
    for network, trained in zip(seen.networks, run.networks, strict=True):
        assert largest_difference(network, trained) == 0


@pytest.mark.parametrize(
    ("seeds", "batch_size", "threads"), [(1, 2, 1), (1, 200, 2), (3, 2, 1), (3, 200, 1)]
)
def test_threads_of_pytorch(data, seeds, batch_size, threads, monkeypatch, no_threads_left):
    """All of them for a lone replica with much work, otherwise one."""
    used, backward, gradients = [], Replicas._backward, Replicas.gradients
    network = partial(MLP, hidden=(4_000,))

    def spied(function):
        return lambda *given: used.append(torch.get_num_threads()) or function(*given)

    torch.set_num_threads(2)
    examine = fit_module.examine
    monkeypatch.setattr(fit_module, "examine", lambda *given: examine(*given) or used.clear())
    monkeypatch.setattr(Replicas, "_backward", spied(backward))
    monkeypatch.setattr(Replicas, "gradients", spied(gradients))
    try:
        fit(network, data, batch_size=batch_size, seeds=seeds, lr=0.1, max_steps=2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert used and set(used) == {threads}
