"""Several processes that share every batch take the steps of one process with the whole batch."""

from functools import partial
from multiprocessing import get_all_start_methods

import pandas as pd
import pytest
import torch
from pytorch_lightning import Callback
from torch import nn

from course_lib.data import TensorData
from course_lib.datasets import Digits
from course_lib.models import MLP, LeNet
from course_lib.training import fit, sweep
from zoo import ALONE, largest_difference

pytestmark = pytest.mark.skipif(
    "fork" not in get_all_start_methods(), reason="this system cannot fork processes"
)
fit, sweep = (partial(function, seeds=2, lr=0.05, progress=False) for function in (fit, sweep))
two = {"devices": 2, "strategy": "ddp_fork"}


@pytest.fixture(scope="module")
def data():
    return Digits().part(203, 101)


@pytest.mark.parametrize(
    ("network", "batch_size", "options"),
    [
        (MLP, 16, {"momentum": 0.9}),
        (MLP, 5, {"optimizer": torch.optim.Adam, "lr": 0.001}),  # a last batch of 3
        (MLP, "full", {}),
        (LeNet, 16, {}),
    ],
)
def test_two_devices_train_as_one_with_twice_the_batch(data, network, batch_size, options):
    shared = fit(network, data, batch_size=batch_size, max_epochs=2, **options, **two)
    whole = batch_size if batch_size == "full" else 2 * batch_size
    alone = fit(network, data, batch_size=whole, max_epochs=2, **options)
    histories = (run.history.drop(columns="seconds") for run in (shared, alone))
    pd.testing.assert_frame_equal(*histories, rtol=1e-4, check_dtype=False)
    assert shared.history.attrs["compiled"] is False
    for mine, other in zip(shared.networks, alone.networks, strict=True):
        for weights, others in zip(mine.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(weights, others, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["LSTM", "gradient hook", "drawn matrix"])
def test_two_devices_train_networks_one_by_one_as_one_does(data, kind):
    shared = fit(ALONE[kind], data, batch_size=16, max_epochs=2, momentum=0.9, **two)
    alone = fit(ALONE[kind], data, batch_size=32, max_epochs=2, momentum=0.9)
    assert shared.history.attrs["one_by_one"] == alone.history.attrs["one_by_one"] != ""
    for mine, other in zip(shared.networks, alone.networks, strict=True):
        assert largest_difference(mine, other) < 1e-5


def test_weights_and_own_splits_are_shared_out(data):
    weights = torch.linspace(0.1, 2, 304)
    tensors = data.x_train, data.y_train, data.x_val, data.y_val
    weights = {"weights_train": weights[:203], "weights_val": weights[203:]}
    weighted = TensorData(*tensors, **weights, split="seed")
    shared = fit(MLP, weighted, batch_size=16, max_epochs=2, **two)
    alone = fit(MLP, weighted, batch_size=32, max_epochs=2)
    histories = (run.history.drop(columns="seconds") for run in (shared, alone))
    pd.testing.assert_frame_equal(*histories, rtol=1e-4, check_dtype=False)
    for mine, other in zip(shared.networks, alone.networks, strict=True):
        assert largest_difference(mine, other) < 1e-5


def test_two_devices_record_their_gradients(data, recording):
    """The update itself is no graph, since the gradients are averaged on the way."""
    shared = fit(MLP, data, batch_size=16, max_epochs=2, **two)
    alone = fit(MLP, data, batch_size=32, max_epochs=2)
    assert shared.history.attrs["compile_seconds"] > 0.01
    for mine, other in zip(shared.networks, alone.networks, strict=True):
        assert largest_difference(mine, other) < 1e-5


def test_batch_size_of_the_history_is_that_of_all_devices(data):
    history = fit(MLP, data, batch_size=16, max_steps=3, **two).history
    assert (history.batch_size == 32).all() and history.examples.max() == 96


def test_networks_come_back_with_tensors_of_their_own(data):
    for network in fit(normalized, data, batch_size=16, max_epochs=1, **two).networks:
        assert not network.training
        for tensor in network.state_dict().values():
            assert tensor.untyped_storage().nbytes() == tensor.nbytes


def test_sweep_on_two_devices_takes_full_batches(data):
    history = sweep(MLP, data, batch_sizes=[16, "full"], max_epochs=1, **two)
    assert history.batch_size.unique().tolist() == [32, 203]


def normalized():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))


def test_batch_normalization_uses_each_process_own_share(data):
    shared = fit(normalized, data, batch_size=16, max_epochs=1, **two)
    alone = fit(normalized, data, batch_size=32, max_epochs=1)
    assert (shared.history.val_loss - alone.history.val_loss).abs().max() > 1e-3
    last = shared.history[shared.history.epoch == 1].val_accuracy
    hits = [(net(data.x_val).argmax(1) == data.y_val).double().mean() for net in shared.networks]
    assert last.tolist() == pytest.approx([float(share) for share in hits])


def test_all_processes_stop_at_the_target(data):
    run = fit(MLP, data, batch_size=4, max_epochs=60, stop_at={"train_accuracy": 0.8}, **two)
    assert run.history.epoch.max() < 60
    assert run.history.groupby("seed").train_accuracy.max().min() >= 0.8


def test_cache_keeps_what_several_processes_trained(data, tmp_path):
    first, again = (
        fit(MLP, data, batch_size=16, max_epochs=1, cache=tmp_path, **two) for _ in range(2)
    )
    pd.testing.assert_frame_equal(first.history, again.history)
    fit(MLP, data, batch_size=32, max_epochs=1, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_processes_are_silent_and_leave_the_threads_alone(data, capfd):
    before = torch.get_num_threads()
    fit(MLP, data, batch_size=16, max_epochs=1, **two)
    assert torch.get_num_threads() == before
    assert capfd.readouterr() == ("", "")


class Fails(Callback):
    def on_train_epoch_end(self, trainer, cohort):
        raise RuntimeError("on purpose")


def test_an_error_in_a_process_is_shown(data):
    with pytest.raises(Exception, match="on purpose"):
        fit(MLP, data, batch_size=16, max_epochs=1, callbacks=[Fails()], **two)
