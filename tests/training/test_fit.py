import importlib
import logging
import math
import warnings
from functools import partial

import pandas as pd
import pytest
import torch
from pytorch_lightning import Callback

from course_lib.data import TensorData
from course_lib.datasets import Digits
from course_lib.models import MLP
from course_lib.training import Run, collect, fit, sweep
from course_lib.training.cohort import Cohort

fit_module = importlib.import_module("course_lib.training.fit")  # the package names the function
sweep_module = importlib.import_module("course_lib.training.sweep")
fit = partial(fit, progress=False)
COLUMNS = [
    *("batch_size", "seed", "epoch", "step", "examples", "seconds"),
    *("train_loss", "train_accuracy", "val_loss", "val_accuracy", "diverged"),
]


@pytest.fixture(scope="module")
def data():
    return Digits().part(200, 100)


def test_history_has_one_row_per_seed_and_evaluation(data):
    run = fit(MLP, data, batch_size=64, seeds=[4, 2], lr=0.1, max_epochs=3)
    assert list(run.history) == COLUMNS
    assert run.history.groupby("epoch").seed.apply(list).tolist() == [[4, 2]] * 4
    last = run.history[run.history.epoch == 3].iloc[0]
    assert (last.batch_size, last.step, last.examples, last.diverged) == (64, 12, 600, False)
    assert last.seconds > 0 and (run.history[run.history.epoch == 0].seconds == 0).all()


def test_history_tells_what_the_networks_do(data):
    run = fit(MLP, data, batch_size=32, seeds=2, lr=0.1, max_epochs=2)
    last = run.history[run.history.epoch == 2].set_index("seed")
    for seed, network in enumerate(run.networks):
        assert not network.training
        hits = (network(data.x_val).argmax(1) == data.y_val).double().mean()
        assert last.val_accuracy[seed] == pytest.approx(hits.item())


def test_max_steps_may_end_inside_an_epoch(data):
    run = fit(MLP, data, batch_size=64, seeds=2, lr=0.1, max_steps=6)
    assert run.history.step.unique().tolist() == [0, 4, 6]
    assert run.history.epoch.unique().tolist() == [0, 1, 1.64]
    assert run.history.examples.max() == 200 + 128


def test_drop_last_leaves_out_the_ragged_batch(data):
    tensors = data.x_train, data.y_train, data.x_val, data.y_val
    run = fit(MLP, TensorData(*tensors, drop_last=True), batch_size=64, lr=0.1, max_epochs=2)
    assert run.history.step.max() == 6 and run.history.examples.max() == 384
    assert run.history.epoch.max() == 2


def test_full_batch(data):
    run = fit(MLP, data, batch_size="full", seeds=2, lr=0.1, max_epochs=3)
    assert (run.history.batch_size == 200).all() and run.history.step.max() == 3


def test_stop_when_every_seed_has_reached_the_target(data):
    run = fit(MLP, data, batch_size=8, lr=0.1, max_epochs=50, stop_at={"train_accuracy": 0.9})
    best = run.history.groupby("seed").train_accuracy.cummax()
    reached = best[run.history.epoch == run.history.epoch.max()]
    before = best[run.history.epoch == run.history.epoch.max() - 1]
    assert run.history.epoch.max() < 50 and (reached >= 0.9).all() and (before < 0.9).any()


def test_stop_at_a_loss(data):
    run = fit(MLP, data, batch_size=8, seeds=2, lr=0.1, max_epochs=50, stop_at={"val_loss": 1.5})
    assert run.history.epoch.max() < 50 and run.history.groupby("seed").val_loss.min().max() <= 1.5


class OneDiverges(MLP):
    """The network of seed 1 starts where its loss overflows."""

    def __init__(self):
        super().__init__()
        if torch.initial_seed() == 1:
            torch.nn.init.constant_(self[-1].weight, math.inf)


def test_divergence_of_one_seed_does_not_stop_the_others(data):
    settings = {"batch_size": 32, "lr": 0.1, "max_epochs": 30, "stop_at": {"train_accuracy": 0.8}}
    run = fit(OneDiverges, data, seeds=[0, 1, 2], **settings)
    diverged = run.history.groupby("seed").diverged.any()
    assert diverged.to_dict() == {0: False, 1: True, 2: False}
    alone = fit(OneDiverges, data, seeds=[0, 2], **settings)
    kept = run.history[run.history.seed != 1].drop(columns="seconds").reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, alone.history.drop(columns="seconds"), rtol=1e-4)


def test_large_learning_rate_is_marked_as_divergence(data):
    run = fit(MLP, data, batch_size=8, seeds=2, lr=1e20, max_epochs=2)
    assert run.history[run.history.epoch == 2].diverged.all()


class BatchCounter(Callback):
    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_index):
        self.seen.append(trainer.global_step)


def test_callback_sees_every_update(data):
    counter = BatchCounter()
    fit(MLP, data, batch_size=64, seeds=2, lr=0.1, max_epochs=2, callbacks=[counter])
    assert counter.seen == list(range(1, 9))


def test_sweep_joins_the_histories(data):
    rates = {}
    history = sweep(
        MLP,
        data,
        batch_sizes=[32, "full"],
        lr=lambda size: rates.setdefault(size, size / 1000),
        seeds=2,
        max_epochs=2,
        progress=False,
    )
    assert rates == {32: 0.032, 200: 0.2}
    assert history.groupby("batch_size").step.max().to_dict() == {32: 14, 200: 2}
    alone = fit(MLP, data, batch_size=200, seeds=2, lr=0.2, max_epochs=2).history
    swept = history[history.batch_size == 200].reset_index(drop=True)
    pd.testing.assert_frame_equal(
        swept.drop(columns="seconds"), alone.drop(columns="seconds"), check_exact=True
    )


def test_sweep_is_the_same_in_processes(data):
    class Narrow(MLP):  # known in this process only, as a class of a notebook is
        def __init__(self):
            super().__init__(hidden=(4,))

    settings = {"batch_sizes": [32, "full"], "lr": lambda size: 0.1, "seeds": 2, "max_epochs": 2}
    here, elsewhere = (
        sweep(Narrow, data, **settings, n_jobs=n_jobs, progress=False).drop(columns="seconds")
        for n_jobs in (1, 2)
    )
    pd.testing.assert_frame_equal(here, elsewhere)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_collect_keeps_the_order(n_jobs):
    cells = [lambda x=x: pd.DataFrame({"x": [x, -x]}) for x in range(5)]
    table = collect(cells, n_jobs=n_jobs, progress=False)
    assert table.x.tolist() == [0, 0, 1, -1, 2, -2, 3, -3, 4, -4]
    assert table.index.tolist() == list(range(10))


def test_sweep_trains_sixteen_seeds_at_a_time(data, monkeypatch):
    groups = []
    monkeypatch.setattr(
        sweep_module,
        "fit",
        lambda *_, seeds, **__: groups.append(seeds) or Run(pd.DataFrame({"seed": seeds}), []),
    )
    history = sweep(MLP, data, batch_sizes=[8], seeds=range(3, 36), lr=0.1, max_epochs=1)
    assert [len(group) for group in groups] == [16, 16, 1]
    assert history.seed.tolist() == list(range(3, 36))


def test_sweep_names_a_wrong_batch_size_before_it_trains(data, monkeypatch):
    monkeypatch.setattr(sweep_module, "fit", None)
    with pytest.raises(ValueError, match="batch_size=500 must be a whole number from 1 to 200"):
        sweep(MLP, data, batch_sizes=[32, 500], lr=0.1, max_epochs=1)


@pytest.mark.parametrize("batch_size", [0, -1, 3.5, 201])
def test_batch_size_out_of_range(data, batch_size):
    with pytest.raises(ValueError, match=f"batch_size={batch_size} must be a whole number from 1"):
        fit(MLP, data, batch_size=batch_size, lr=0.1, max_epochs=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "max_epochs=None and max_steps=None: give exactly one"),
        ({"max_epochs": 1, "max_steps": 1}, "max_epochs=1 and max_steps=1: give exactly one"),
        ({"max_epochs": 0}, "max_epochs=0 must be a whole number from 1"),
        ({"max_steps": 2.5}, "max_steps=2.5 must be a whole number from 1"),
        ({"max_epochs": 1, "lr": 0}, "lr=0 must be a positive number"),
        ({"max_epochs": 1, "devices": 0}, "devices=0 must be a whole number from 1"),
        ({"max_epochs": 1, "num_nodes": "2"}, "num_nodes='2' must be a whole number from 1"),
        ({"max_epochs": 1, "devices": 30}, "batch_size=8 on 30 devices .* give at most 6"),
        ({"max_epochs": 1, "seeds": 0}, r"seeds=\[\] must be one or more"),
        ({"max_epochs": 1, "stop_at": {"accuracy": 0.9}}, "stop_at=.*must hold one of train_loss"),
        ({"max_epochs": 1, "optimizer": torch.optim.LBFGS}, "optimizer=LBFGS couples replicas"),
    ],
)
def test_arguments_out_of_range(data, options, message):
    with pytest.raises(ValueError, match=message):
        fit(MLP, data, **{"batch_size": 8, "lr": 0.1, **options})


def test_cache_keeps_a_finished_run(data, tmp_path, monkeypatch):
    settings = {
        "batch_size": 32,
        "seeds": 2,
        "lr": 0.1,
        "max_epochs": 2,
        "cache": tmp_path / "runs",
    }
    first = fit(MLP, data, **settings)
    monkeypatch.setattr(fit_module, "_train", None)
    again = fit(MLP, data, **settings)
    pd.testing.assert_frame_equal(first.history, again.history)
    pairs = zip(first.networks, again.networks, strict=True)
    assert all(torch.equal(a[1].weight, b[1].weight) for a, b in pairs)


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 16},
        {"seeds": 3},
        {"lr": 0.2},
        {"max_epochs": 3},
        {"momentum": 0.9},
        {"optimizer": torch.optim.Adam},
        {"stop_at": {"val_loss": 0.1}},
    ],
)
def test_cache_tells_runs_apart(data, tmp_path, change):
    settings = {"batch_size": 32, "seeds": 2, "lr": 0.1, "max_epochs": 2, "cache": tmp_path}
    fit(MLP, data, **settings)
    fit(MLP, data, **{**settings, **change})
    fit(partial(MLP, hidden=(8,)), data, **settings)
    fit(MLP, data.part(190, 90), **settings)
    assert len(list(tmp_path.iterdir())) == 4


def test_cache_refuses_callbacks(data, tmp_path):
    with pytest.raises(ValueError, match="cache cannot tell runs with different callbacks apart"):
        settings = {"batch_size": 32, "lr": 0.1, "max_epochs": 1, "cache": tmp_path}
        fit(MLP, data, callbacks=[Callback()], **settings)


class Interrupts(Callback):
    def on_train_epoch_end(self, trainer, module):
        raise KeyboardInterrupt


def test_interruption_stays_an_interruption(data):
    with pytest.raises(KeyboardInterrupt):
        fit(MLP, data, batch_size=32, lr=0.1, max_epochs=3, callbacks=[Interrupts()])


def test_training_is_silent(data, capfd, caplog):
    with warnings.catch_warnings(), caplog.at_level(logging.INFO, "pytorch_lightning"):
        warnings.simplefilter("error")
        fit(MLP, data, batch_size=32, seeds=1, lr=0.1, max_epochs=1)
    assert capfd.readouterr() == ("", "")


def test_one_progress_bar(data, capfd, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    fit(MLP, data, batch_size=32, seeds=1, lr=0.1, max_epochs=2, progress=True)
    shown = capfd.readouterr().out
    assert shown.count("0/2") == 1 and "epoch/s" in shown


@pytest.mark.parametrize(
    ("seeds", "batch_size", "threads"), [(1, 2, 1), (1, 200, 2), (3, 2, 1), (3, 200, 1)]
)
def test_threads_of_pytorch(data, seeds, batch_size, threads, monkeypatch):
    """All of them for a lone replica with much work, otherwise one."""
    before, used = torch.get_num_threads(), []
    torch.set_num_threads(2)
    gradients = Cohort.gradients
    monkeypatch.setattr(
        Cohort, "gradients", lambda *a: used.append(torch.get_num_threads()) or gradients(*a)
    )
    network = partial(MLP, hidden=(4_000,))
    fit(network, data, batch_size=batch_size, seeds=seeds, lr=0.1, max_steps=2)
    assert (used, torch.get_num_threads()) == ([threads] * 2, 2)
    torch.set_num_threads(before)
