"""The columns of a history and their meaning; when each of its runs reached a target."""

from functools import partial
from math import inf, nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from course_lib import history as module
from course_lib.datasets import Digits
from course_lib.history import arrived, diverged, lower_is_better, measures, reached
from course_lib.models import MLP
from course_lib.schedules import BatchSizeScheduler
from course_lib.training import fit, sweep

fit, sweep = partial(fit, progress=False), partial(sweep, progress=False)
RESULTS = Path(__file__).parent.parent / "notebooks" / "results"


def test_measures_in_their_order():
    assert measures(["accuracy", "top5"]) == [
        *("train_loss", "train_accuracy", "train_top5"),
        *("val_loss", "val_accuracy", "val_top5"),
    ]
    assert measures([]) == ["train_loss", "val_loss"]


def test_these_are_the_columns_of_a_history():
    table = fit(MLP, Digits().part(20, 20), batch_size=5, seeds=1, lr=0.1, max_epochs=1).history
    assert list(table) == [*module.COUNTS, *module.measures(["accuracy"]), module.DIVERGED]


@pytest.mark.parametrize("measure", ["train_loss", "val_loss", "val_error", "val_mean_error"])
def test_losses_and_errors_are_to_fall(measure):
    assert lower_is_better(measure)


@pytest.mark.parametrize("measure", ["train_accuracy", "val_r2", "val_f1"])
def test_everything_else_is_to_rise(measure):
    assert not lower_is_better(measure)


@pytest.mark.parametrize("kind", [torch.tensor, np.array, pd.Series])
def test_each_kind_of_values_is_judged(kind):
    values = kind([0.1, 0.2, 0.3, nan, inf])
    assert arrived("val_loss", values, 0.2).tolist() == [True, True, False, False, False]
    assert arrived("val_f1", values, 0.2).tolist() == [False, True, True, False, True]
    assert diverged(values).tolist() == [False, False, False, True, True]
    assert isinstance(diverged(values), type(values))


def history():
    columns = ["batch_size", "seed", "epoch", "step", "examples", "seconds"]
    columns += ["val_loss", "val_accuracy", "diverged"]
    rows = [
        (8, 0, 0, 0, 0, 0.0, 2.3, 0.10, False),
        (8, 0, 1, 5, 40, 0.1, 0.4, 0.90, False),
        (8, 0, 2, 10, 80, 0.2, 0.2, 0.96, False),
        (8, 0, 3, 15, 120, 0.3, 0.3, 0.93, False),
        (8, 0, 4, 20, 160, 0.4, 0.1, 0.97, False),
        (8, 1, 0, 0, 0, 0.0, 2.3, 0.10, False),
        (8, 1, 1, 5, 40, 0.1, nan, 0.10, True),
        (16, 0, 1, 3, 40, 0.1, 0.4, 0.90, False),
    ]
    return pd.DataFrame(rows, columns=columns)


def test_reached_finds_the_first_evaluation_at_the_target():
    result = reached(history(), val_accuracy=0.90)
    assert result.to_numpy().tolist() == [
        [8, 0, 1, 5, 40, 0.1],
        [8, 1, inf, inf, inf, inf],
        [16, 0, 1, 3, 40, 0.1],
    ]
    assert reached(history().iloc[::-1], val_accuracy=0.95)["epoch"].min() == 2


def test_reached_takes_a_loss_from_above():
    assert reached(history(), val_loss=0.2)["epoch"].tolist() == [2, inf, inf]


def test_reached_takes_any_measured_column():
    table = history().rename(columns={"val_loss": "val_error", "val_accuracy": "train_f1"})
    assert reached(table, val_error=0.2)["epoch"].tolist() == [2, inf, inf]
    assert reached(table, train_f1=0.95)["epoch"].tolist() == [2, inf, inf]


def test_reached_tells_runs_apart_by_what_the_lesson_added():
    both = pd.concat([history().assign(lr=0.1), history().assign(lr=0.2)])
    result = reached(both, val_accuracy=0.95)
    assert list(result) == ["batch_size", "seed", "lr", "epoch", "step", "examples", "seconds"]
    assert len(result) == 6


def scheduled(start, schedule, seeds=(0, 1), epochs=4, samples=64):
    """A history as `fit` makes it: a row for each evaluation and seed, the loss 1 / (epoch + 1)."""
    rows, size, step = [], start, 0
    for epoch in range(epochs + 1):
        rows += [(size, s, epoch, step, epoch * samples, 0.1 * epoch, s) for s in seeds]
        size = schedule.get(epoch, size)
        step += samples // size
    table = pd.DataFrame(rows, columns=["batch_size", "seed", *module.PROGRESS, "val_loss"])
    return table.assign(val_loss=1 / (table.epoch + 1))


def test_reached_takes_a_run_with_a_schedule_for_one():
    result = reached(scheduled(8, {2: 64}), val_loss=0.25)
    assert result[["batch_size", "seed", "epoch", "step"]].to_numpy().tolist() == [
        [8, 0, 3, 17],
        [8, 1, 3, 17],
    ]
    never = reached(scheduled(8, {2: 64}), val_loss=0.1)
    assert never["epoch"].tolist() == [inf, inf]


@pytest.mark.parametrize("schedule", [{2: 64}, {0: 64, 2: 16}, {1: 16, 3: 8}])
def test_reached_keeps_the_runs_of_a_sweep_with_schedules_apart(schedule):
    """Also where the batch size that one run grows to is the one that another starts with."""
    starts = [8, 16, 64]
    table = pd.concat([scheduled(start, schedule) for start in starts], ignore_index=True)
    result = reached(table, val_loss=0.25)
    assert result.batch_size.tolist() == [8, 8, 16, 16, 64, 64]
    assert result.seed.tolist() == [0, 1] * 3
    alone = pd.concat([reached(scheduled(start, schedule), val_loss=0.25) for start in starts])
    pd.testing.assert_frame_equal(result, alone.reset_index(drop=True))


def test_reached_keeps_runs_that_swap_their_batch_sizes_apart():
    table = pd.concat([scheduled(8, {2: 16}), scheduled(16, {2: 8})], ignore_index=True)
    assert reached(table, val_loss=0.2).step.tolist() == [24, 24, 24, 24]
    assert reached(table, val_loss=0.5).step.tolist() == [8, 8, 4, 4]


@pytest.mark.parametrize("by", ["step", "epoch", "examples", "seconds", "val_loss", "batch_size"])
def test_reached_does_not_depend_on_the_order_of_rows_where_batch_sizes_stay(by):
    sizes = [8, 16, 32, 64]
    table = pd.concat([scheduled(size, {}) for size in sizes], ignore_index=True)
    keys = ["batch_size", "seed"]
    expected = reached(table, val_loss=0.25).sort_values(keys, ignore_index=True)
    for ascending in (True, False):
        moved = table.sort_values(by, ascending=ascending)
        result = reached(moved, val_loss=0.25).sort_values(keys, ignore_index=True)
        pd.testing.assert_frame_equal(result, expected)


def test_reached_takes_a_part_of_the_rows():
    table = pd.concat([scheduled(size, {}) for size in (64, 8)], ignore_index=True)
    result = reached(table[table.epoch >= 2], val_loss=0.25)
    assert result[["batch_size", "step"]].to_numpy().tolist() == [[64, 3]] * 2 + [[8, 24]] * 2


def test_reached_does_not_take_what_changes_in_a_run_for_another_run():
    table = scheduled(8, {}).assign(lr=lambda frame: 0.1 / (1 + frame.epoch), plan=nan)
    result = reached(table, val_loss=0.25)
    assert result[["seed", "lr", "epoch"]].to_numpy().tolist() == [[0, 0.1, 3], [1, 0.1, 3]]


def test_reached_on_a_fit_and_on_a_sweep_whose_batches_grow():
    data, grows = Digits().part(60, 20), {"callbacks": [BatchSizeScheduler({1: 20, 3: 60})]}
    options = {"seeds": 2, "lr": 0.2, "max_epochs": 5, **grows}
    runs = reached(fit(MLP, data, batch_size=4, **options).history, train_accuracy=0.5)
    assert runs[["batch_size", "seed"]].to_numpy().tolist() == [[4, 0], [4, 1]]
    runs = reached(sweep(MLP, data, batch_sizes=[4, 20, 60], **options), train_accuracy=0.5)
    assert runs.batch_size.tolist() == [4, 4, 20, 20, 60, 60]


def test_reached_on_the_shipped_results_is_the_first_row_of_each_run():
    table = pd.read_csv(RESULTS / "lenet5_mnist.csv", comment="#")
    result = reached(table, val_accuracy=0.98).set_index(["batch_size", "seed"])
    for key, run in table.groupby(["batch_size", "seed"]):
        there = run[run.val_accuracy >= 0.98]
        first = there.step.iloc[0] if len(there) else inf
        assert result.loc[key, "step"] == first
    assert len(result) == table.groupby(["batch_size", "seed"]).ngroups


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({}, r"target=\{\} must be one column that history measures \(val_loss, val_accuracy\)"),
        ({"val_loss": 0.1, "val_accuracy": 0.9}, "must be one column"),
        ({"accuracy": 0.9}, r"target=\{'accuracy': 0.9\} must be one column"),
        ({"train_loss": 0.1}, r"target=\{'train_loss': 0.1\} must be one column that history mea"),
        ({"seed": 1}, "must be one column that history measures"),
        ({"val_accuracy": 95}, "val_accuracy=95 must be a share from 0 to 1"),
        ({"val_loss": "low"}, "val_loss='low' must be a number"),
        ({"val_loss": nan}, "val_loss=nan must be a number"),
    ],
)
def test_reached_names_what_is_wrong(target, message):
    with pytest.raises(ValueError, match=message):
        reached(history(), **target)


def test_reached_names_the_columns_that_a_table_lacks():
    with pytest.raises(ValueError, match="must be what fit returns; it has no column seed, step"):
        reached(history().drop(columns=["seed", "step"]), val_loss=0.1)


def test_reached_counts_inside_epochs_along_the_straight_line():
    """From 0.5 at step 10 to 0.9 at step 20 the line crosses 0.8 at 17.5."""
    rows = {"val_accuracy": [0.1, 0.5, 0.9], "step": [0, 10, 20], "epoch": [0, 1, 2]}
    history = pd.DataFrame(rows | {"examples": [0, 80, 160], "seconds": 0.0, "seed": 3})
    [arrival] = reached(history, val_accuracy=0.8, interpolate=True).to_dict("records")
    assert (arrival["step"], arrival["epoch"], arrival["examples"]) == (17.5, 1.75, 140)
    at_once = reached(history, val_accuracy=0.1, interpolate=True)
    assert at_once.step.tolist() == [0]
    never = reached(history, val_accuracy=0.95, interpolate=True)
    assert never.step.tolist() == [np.inf]


def test_reached_does_not_interpolate_from_a_loss_without_a_number():
    rows = {"train_loss": [np.nan, 0.1], "step": [0, 10], "epoch": [0, 1]}
    history = pd.DataFrame(rows | {"examples": [0, 80], "seconds": 0.0, "seed": 3})
    assert reached(history, train_loss=0.2, interpolate=True).step.tolist() == [10]


TABLE = pd.DataFrame({c: [0.0, 1.0] for c in ("seed", *module.PROGRESS, "val_loss")})


@pytest.mark.parametrize("history", [None, 3, TABLE.to_dict(), TABLE["val_loss"], TABLE.to_numpy()])
def test_what_is_no_table_is_named(history):
    with pytest.raises(ValueError, match="^history must be what fit returns, not "):
        reached(history, val_loss=1)


@pytest.mark.parametrize("column", ["val_loss", "step", "seed"])
def test_a_table_of_texts_is_named(column):
    with pytest.raises(ValueError, match="^history must hold numbers in its columns"):
        reached(TABLE.astype({column: str}), val_loss=1)


@pytest.mark.parametrize("value", [True, 10**400])
def test_a_target_that_is_no_float_is_named(value):
    with pytest.raises(ValueError, match="^val_loss=.* must be a number"):
        reached(TABLE, val_loss=value)
    assert reached(TABLE, val_loss=2**70)["step"].tolist() == [0, 1]
