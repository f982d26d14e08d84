"""The history: what is measured, when, and when a run ends."""

import math
import time
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from pytorch_lightning import Callback
from torch.nn import functional as F

from course_lib.data import TensorData
from course_lib.models import MLP
from course_lib.training import fit

fit = partial(fit, progress=False)
COLUMNS = [
    *("batch_size", "seed", "epoch", "step", "examples", "seconds"),
    *("train_loss", "train_accuracy", "val_loss", "val_accuracy", "diverged"),
]
MEASURES = COLUMNS[6:10]


def test_history_has_one_row_per_seed_and_evaluation(data):
    run = fit(MLP, data, batch_size=64, seeds=[4, 2], lr=0.1, max_epochs=3)
    assert list(run.history) == COLUMNS
    assert run.history.groupby("epoch").seed.apply(list).tolist() == [[4, 2]] * 4
    assert run.history.index.tolist() == list(range(8))
    last = run.history[run.history.epoch == 3].iloc[0]
    assert (last.batch_size, last.step, last.examples, last.diverged) == (64, 12, 600, False)
    assert last.seconds > 0 and (run.history[run.history.epoch == 0].seconds == 0).all()


def test_columns_have_their_kinds(data):
    history = fit(MLP, data, batch_size=64, seeds=2, lr=0.1, max_epochs=1).history
    kinds = {name: kind.kind for name, kind in history.dtypes.items()}
    whole = dict.fromkeys(["batch_size", "seed", "epoch", "step", "examples"], "i")
    assert kinds == {**whole, "seconds": "f", **dict.fromkeys(MEASURES, "f"), "diverged": "b"}
    assert {str(history[name].dtype) for name in MEASURES} == {"float64"}


def test_history_tells_what_the_networks_do(data):
    run = fit(MLP, data, batch_size=32, seeds=2, lr=0.1, max_epochs=2)
    last = run.history[run.history.epoch == 2].set_index("seed")
    for seed, network in enumerate(run.networks):
        for part, x, y in (("train", data.x_train, data.y_train), ("val", data.x_val, data.y_val)):
            outputs = network(x)
            hits = (outputs.argmax(1) == y).double().mean()
            assert last[f"{part}_accuracy"][seed] == pytest.approx(hits.item())
            loss = F.cross_entropy(outputs, y).item()
            assert last[f"{part}_loss"][seed] == pytest.approx(loss, rel=1e-5)


def test_first_row_tells_what_the_first_weights_do(data):
    run = fit(MLP, data, batch_size=32, seeds=[5], lr=0.1, max_epochs=1)
    torch.manual_seed(5)
    loss = F.cross_entropy(MLP()(data.x_val), data.y_val)
    assert run.history.val_loss[0] == pytest.approx(loss.item(), rel=1e-5)


def test_max_steps_may_end_inside_an_epoch(data):
    run = fit(MLP, data, batch_size=64, seeds=2, lr=0.1, max_steps=6)
    assert run.history.step.unique().tolist() == [0, 4, 6]
    assert run.history.epoch.unique().tolist() == [0, 1, 1.64]
    assert run.history.examples.max() == 200 + 128


@pytest.mark.parametrize("max_steps", [1, 4, 8])
def test_max_steps_make_so_many_updates(data, max_steps):
    run = fit(MLP, data, batch_size=64, seeds=2, lr=0.1, max_steps=max_steps)
    steps = [step for step in (0, 4, 8) if step < max_steps]
    assert run.history.step.unique().tolist() == [*steps, max_steps]
    assert len(run.history) == 2 * (len(steps) + 1)


def test_drop_last_leaves_out_the_ragged_batch(data):
    tensors = data.x_train, data.y_train, data.x_val, data.y_val
    run = fit(MLP, TensorData(*tensors, drop_last=True), batch_size=64, lr=0.1, max_epochs=2)
    assert run.history.step.max() == 6 and run.history.examples.max() == 384
    assert run.history.epoch.max() == 2


class Slow(Callback):
    """Takes its time around the training."""

    def on_train_start(self, trainer, cohort):
        time.sleep(0.3)

    def on_train_epoch_end(self, trainer, cohort):
        time.sleep(0.3)


def test_seconds_count_training_alone(data):
    history = fit(
        MLP, data, batch_size=64, seeds=2, lr=0.1, max_epochs=3, callbacks=[Slow()]
    ).history
    assert (history.groupby("seed").seconds.diff().dropna() > 0).all()
    assert 0 < history.seconds.max() < 0.3


def test_seconds_are_not_those_of_recording(data, recording):
    """Evaluations are recorded, too, and their time was never counted."""
    history = fit(MLP, data, batch_size=64, seeds=2, lr=0.1, max_epochs=3).history
    assert recording and history.attrs["compile_seconds"] > 0
    assert (history[history.epoch == 0].seconds == 0).all()
    assert (history.groupby("seed").seconds.diff().dropna() > 0).all()


def test_compile_seconds_are_those_of_recording(data, recording):
    started = time.perf_counter()
    attrs = fit(MLP, data, batch_size=64, seeds=2, lr=0.1, max_epochs=3).history.attrs
    assert 0.01 < attrs["compile_seconds"] < time.perf_counter() - started
    assert (attrs["compiled"], attrs["one_by_one"]) == (False, "")


class Resizing(Callback):
    """The second epoch has other batches."""

    def on_train_epoch_end(self, trainer, cohort):
        cohort.batches.batch_size = 100


def test_batch_size_is_that_of_the_epoch_before(data):
    run = fit(MLP, data, batch_size=50, seeds=[0], lr=0.1, max_epochs=1, callbacks=[Resizing()])
    assert run.history.batch_size.tolist() == [50, 50]


# When a run ends.


def test_stop_when_every_seed_has_reached_the_target(data):
    run = fit(MLP, data, batch_size=8, lr=0.1, max_epochs=50, stop_at={"train_accuracy": 0.9})
    best = run.history.groupby("seed").train_accuracy.cummax()
    reached = best[run.history.epoch == run.history.epoch.max()]
    before = best[run.history.epoch == run.history.epoch.max() - 1]
    assert run.history.epoch.max() < 50 and (reached >= 0.9).all() and (before < 0.9).any()


def test_stop_at_a_loss(data):
    run = fit(MLP, data, batch_size=8, seeds=2, lr=0.1, max_epochs=50, stop_at={"val_loss": 1.5})
    assert run.history.epoch.max() < 50 and run.history.groupby("seed").val_loss.min().max() <= 1.5


def hits(outputs, targets):
    return outputs.argmax(1) == targets


@pytest.mark.parametrize("measure", ["val_hits", "train_hits"])
def test_stop_at_a_metric_of_one_s_own(data, measure):
    settings = {"batch_size": 8, "seeds": 2, "lr": 0.1, "max_epochs": 50, "metrics": {"hits": hits}}
    run = fit(MLP, data, stop_at={measure: 0.7}, **settings)
    assert run.history.epoch.max() < 50
    assert run.history.groupby("seed")[measure].max().min() >= 0.7


def margin_error(outputs, targets):
    return outputs.max(1).values < 2


def test_stop_at_an_error_that_is_to_fall(data):
    settings = {"batch_size": 8, "seeds": 2, "lr": 0.1, "max_epochs": 50, "metrics": margin_error}
    run = fit(MLP, data, stop_at={"train_margin_error": 0.5}, **settings)
    assert 0 < run.history.epoch.max() < 50
    assert run.history.groupby("seed").train_margin_error.min().max() <= 0.5


@pytest.mark.parametrize("limit", [{"max_epochs": 3}, {"max_steps": 12}])
def test_target_that_is_not_reached_ends_nothing(data, limit):
    run = fit(MLP, data, batch_size=64, seeds=2, lr=0.01, stop_at={"val_accuracy": 1.0}, **limit)
    assert run.history.step.max() == 12


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
    assert run.history.attrs["one_by_one"] == ""
    alone = fit(OneDiverges, data, seeds=[0, 2], **settings)
    kept = run.history[run.history.seed != 1].drop(columns="seconds").reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, alone.history.drop(columns="seconds"), rtol=1e-4)


def test_large_learning_rate_is_marked_as_divergence(data):
    run = fit(MLP, data, batch_size=8, seeds=2, lr=1e20, max_epochs=2)
    assert run.history[run.history.epoch == 2].diverged.all()
    assert not run.history[run.history.epoch == 0].diverged.any()
    assert not np.isfinite(run.history.train_loss[run.history.diverged]).any()


def test_run_ends_when_every_seed_has_diverged(data):
    stop_at = {"train_accuracy": 1.1}
    run = fit(MLP, data, batch_size=8, seeds=2, lr=1e20, max_epochs=50, stop_at=stop_at)
    assert run.history.epoch.max() < 5
    run = fit(MLP, data, batch_size=8, seeds=2, lr=1e20, max_epochs=6)
    assert run.history.epoch.max() == 6  # nothing was to be reached


class Reading(Callback):
    def __init__(self):
        self.seen = []

    def on_train_epoch_end(self, trainer, cohort):
        self.seen.append({name: v.item() for name, v in trainer.callback_metrics.items()})


def test_callbacks_read_means_over_the_seeds(data):
    reading = Reading()
    run = fit(MLP, data, batch_size=64, seeds=3, lr=0.1, max_epochs=2, callbacks=[reading])
    means = run.history.groupby("epoch")[MEASURES].mean()
    for epoch, seen in enumerate(reading.seen, 1):
        assert seen == pytest.approx(means.loc[epoch].to_dict())
