"""tools/reproduce.py, and the measurements in notebooks/results/ that it wrote."""

import re
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import reproduce
from course_lib import F1, TensorData

RESULTS = Path(__file__).parents[2] / "notebooks" / "results"
HISTORY = ["batch_size", "seed", "epoch", "step", "examples", "seconds"]
HISTORY += ["train_loss", "train_accuracy", "val_loss", "val_accuracy", "diverged"]
SHARPNESS = ["sharpness_0.001", "sharpness_0.0005"]
EPOCHS = {
    "lenet5_mnist.csv": dict.fromkeys((1, 8, 32, 128, 512, 2048, 8192), 10),
    "keskar_f1_mnist.csv": {256: 20, 6000: 30},
}
SECONDS = "lenet5_seconds.csv"
REPLICATIONS = "replication.csv"  # tests/tools/test_replicate.py looks into it
FILES = sorted(path.name for path in RESULTS.glob("*.csv"))
RUNS = [name for name in FILES if name in EPOCHS]


def table(name: str, folder: Path = RESULTS) -> pd.DataFrame:
    return pd.read_csv(folder / name, comment="#")


def head(name: str, folder: Path = RESULTS) -> str:
    lines = (folder / name).read_text().splitlines()
    return "\n".join(line for line in lines if line.startswith("# "))


def test_what_is_shipped_is_known_and_lenet_comes_with_its_seconds():
    assert "keskar_f1_mnist.csv" in FILES and set(FILES) <= {*EPOCHS, SECONDS, REPLICATIONS}
    assert ("lenet5_mnist.csv" in FILES) == (SECONDS in FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_shipped_table_says_how_it_was_made(name):
    for line in (
        r"date: 20\d\d-\d\d-\d\d$",
        r"commit: [0-9a-f]{40}( with changes)?$",
        r"versions: Python 3\.\d+\.\d+, torch \d.*, pytorch-lightning \d.*, numpy \d.*, scipy \d",
        r"hardware: .+, \d+ cores$",
        *([r".*one thread"] if name != REPLICATIONS else []),
    ):
        assert re.search(f"^# {line}", head(name), re.MULTILINE), line


@pytest.mark.parametrize("name", RUNS)
def test_every_run_is_whole_and_has_five_seeds_or_more(name):
    rows = table(name)
    assert list(rows.columns)[: len(HISTORY)] == HISTORY
    assert set(rows.batch_size) == set(EPOCHS[name])
    for size, runs in rows.groupby("batch_size"):
        assert runs.seed.nunique() >= 5
        assert f"# seeds: {' '.join(map(str, sorted(set(runs.seed))))}" in head(name)
        for _, run in runs.groupby("seed"):
            assert list(run.epoch) == list(range(EPOCHS[name][size] + 1))
            assert list(run.step) == [epoch * -(-60_000 // size) for epoch in run.epoch]
            assert list(run.examples) == [epoch * 60_000 for epoch in run.epoch]


@pytest.mark.parametrize("name", RUNS)
def test_measures_are_possible(name):
    rows = table(name)
    finite = rows[~rows.diverged]
    assert rows.diverged.dtype == bool
    assert np.isfinite(finite[["train_loss", "val_loss"]]).all(axis=None)
    assert rows.train_accuracy.between(0, 1).all() and rows.val_accuracy.between(0, 1).all()
    assert (rows.val_accuracy * 10_000 % 1).round(3).isin([0, 1]).all()  # 10,000 test images


def test_sharpness_is_measured_at_the_same_epochs_for_all_seeds():
    rows = table("keskar_f1_mnist.csv")
    assert list(rows.columns) == HISTORY + SHARPNESS
    measured = rows[rows[SHARPNESS].notna().all(axis=1)]
    for size, epochs in reproduce.CHECKPOINTS.items():
        runs = measured[measured.batch_size == size].groupby("seed").epoch.agg(tuple)
        assert len(runs) >= 5 and runs.nunique() == 1
        assert {20, EPOCHS["keskar_f1_mnist.csv"][size]} <= set(runs.iloc[0]) <= set(epochs)
    assert (rows[SHARPNESS].dropna() >= 0).all(axis=None)
    assert rows[SHARPNESS].isna().all(axis=1).sum() == rows[SHARPNESS].isna().any(axis=1).sum()


@pytest.mark.skipif(SECONDS not in FILES, reason="LeNet-5 is not shipped")
def test_each_batch_size_is_timed_in_every_round():
    rows = table(SECONDS)
    assert list(rows.columns) == ["batch_size", "round", "seconds_per_epoch"]
    rounds = rows.groupby("batch_size")["round"].agg(list)
    assert list(rounds.index) == list(EPOCHS["lenet5_mnist.csv"])
    assert all(turns == rounds.iloc[0] and len(turns) >= 5 for turns in rounds)
    assert (rows.seconds_per_epoch > 0).all()


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """The tool with 60 random images, a narrow F1 and two epochs; its folders are empty ones."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(80, 1, 28, 28, generator=generator), torch.arange(80) % 10
    data = TensorData(x[:60], y[:60], x[60:], y[60:])
    for name, value in {
        "KEPT": tmp_path / "kept",
        "RESULTS": tmp_path / "results",
        "images": lambda: data,
        "F1": partial(F1, width=8),
        "F1_EPOCHS": {20: 2},
        "CHECKPOINTS": {20: (1, 2)},
        "SHARPNESS_IMAGES": 30,
        "LENET_EPOCHS": 2,
        "LENET_SIZES": (4, 30),
        "ROUNDS": 2,
        "TIMED_SAMPLES": 8,
    }.items():
        monkeypatch.setattr(reproduce, name, value)


def stop(*_, **__):
    raise KeyboardInterrupt


def test_a_run_that_was_stopped_goes_on_where_it_was(tiny, monkeypatch):
    whole = reproduce.sharpness
    monkeypatch.setattr(reproduce, "sharpness", stop)
    with pytest.raises(KeyboardInterrupt):
        reproduce.f1_rows(20, 1)
    monkeypatch.setattr(reproduce, "sharpness", whole)
    monkeypatch.setattr(reproduce, "fit", stop)  # the training is kept
    first = reproduce.f1_rows(20, 1)
    monkeypatch.setattr(reproduce, "sharpness", stop)  # and so is the sharpness
    pd.testing.assert_frame_equal(reproduce.f1_rows(20, 1), first)
    with pytest.raises(KeyboardInterrupt):
        reproduce.f1_rows(20, 2)


def test_what_was_not_finished_is_not_kept(tiny, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        reproduce.kept(stop)
    monkeypatch.setattr(torch.Tensor, "__reduce_ex__", stop)
    with pytest.raises(KeyboardInterrupt):
        reproduce.kept(torch.ones, 3)
    assert not list(reproduce.KEPT.glob("*.pt"))


def test_what_is_kept_is_told_apart_by_its_settings(tiny):
    assert reproduce.kept(pow, 2, 3) == reproduce.kept(pow, 2, 3) == 8
    assert reproduce.kept(pow, 3, 2) == 9


def test_sharpness_is_that_of_the_network_after_the_epoch(tiny, monkeypatch):
    rows = reproduce.f1_rows(20, 0).set_index("epoch")
    assert rows[SHARPNESS].isna().loc[0].all()
    monkeypatch.setattr(reproduce, "F1_EPOCHS", {20: 1})
    monkeypatch.setattr(reproduce, "CHECKPOINTS", {20: (1,)})
    alone = reproduce.f1_rows(20, 0).set_index("epoch")
    assert list(rows.loc[1, SHARPNESS]) == pytest.approx(list(alone.loc[1, SHARPNESS]))
    assert rows.loc[1, SHARPNESS[0]] != rows.loc[2, SHARPNESS[0]]
    assert rows.loc[1, SHARPNESS[0]] > rows.loc[1, SHARPNESS[1]]


def test_lenet_rows_are_the_history_of_a_run(tiny):
    rows = reproduce.lenet_rows(20, 3)
    assert list(rows.columns) == HISTORY
    assert list(rows.epoch) == [0, 1, 2] and set(rows.seed) == {3}


def test_an_epoch_is_timed_for_every_size_in_turn(tiny):
    rows = reproduce.seconds_rows()
    assert list(rows.batch_size) == [4, 30, 4, 30] and list(rows["round"]) == [0, 0, 1, 1]
    assert (rows.seconds_per_epoch > 0).all()


def test_pieces_come_back_in_order_and_an_error_is_raised():
    assert reproduce.gathered([(pow, 2, 3), (pow, 3, 2)], 1) == [8, 9]
    with pytest.raises(ZeroDivisionError):
        reproduce.gathered([(divmod, 1, 0), (pow, 3, 2)], 1)


def test_a_table_is_written_below_what_made_it(tiny, tmp_path):
    rows = pd.DataFrame({"seed": [4, 2], "train_loss": [0.1, np.nan]})
    reproduce.write("some.csv", "One line\nand one thread", rows)
    pd.testing.assert_frame_equal(table("some.csv", reproduce.RESULTS), rows)
    text = head("some.csv", reproduce.RESULTS)
    assert text.startswith("# One line\n# and one thread\n# date: 20")
    assert text.endswith("\n# seeds: 2 4")
