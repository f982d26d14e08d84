"""What `fit` takes and returns."""

import importlib
import random
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from pytorch_lightning import Callback
from torch import nn
from torch.nn import functional as F

from course_lib.data import TensorData
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
    network = partial(MLP, hidden=(1_500,))

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
