"""Many calls of `fit`, one table."""

import importlib
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from joblib.externals.loky import get_reusable_executor
from pytorch_lightning import Callback

import course_lib
from course_lib.models import MLP
from course_lib.training import Run, collect, fit, sweep
from zoo import ALONE

sweep_module = importlib.import_module("course_lib.training.sweep")  # the package's is the function
PROJECT = Path(course_lib.__file__).parents[1]
fit, sweep = partial(fit, progress=False), partial(sweep, progress=False)
ATTRS = {"compiled": False, "compile_seconds": 0.0, "one_by_one": ""}


@pytest.fixture
def processes(no_threads_left):
    """Worker processes and the threads that watch them end with the test."""
    yield
    get_reusable_executor().shutdown(wait=True)


def test_sweep_joins_the_histories(data):
    rates = {}
    history = sweep(
        MLP,
        data,
        batch_sizes=[32, "full"],
        lr=lambda size: rates.setdefault(size, size / 1000),
        seeds=2,
        max_epochs=2,
    )
    assert rates == {32: 0.032, 200: 0.2}
    assert history.groupby("batch_size").step.max().to_dict() == {32: 14, 200: 2}
    alone = fit(MLP, data, batch_size=200, seeds=2, lr=0.2, max_epochs=2).history
    swept = history[history.batch_size == 200].reset_index(drop=True)
    pd.testing.assert_frame_equal(
        swept.drop(columns="seconds"), alone.drop(columns="seconds"), check_exact=True
    )


@pytest.mark.slow
def test_sweep_is_the_same_in_processes(data, processes):
    class Narrow(MLP):  # known in this process only, as a class of a notebook is
        def __init__(self):
            super().__init__(hidden=(4,))

    settings = {"batch_sizes": [32, "full"], "lr": lambda size: 0.1, "seeds": 2, "max_epochs": 2}
    here, elsewhere = (sweep(Narrow, data, **settings, n_jobs=n_jobs) for n_jobs in (1, 2))
    assert here.attrs.keys() == elsewhere.attrs.keys() == ATTRS.keys()
    here, elsewhere = (table.drop(columns="seconds") for table in (here, elsewhere))
    here.attrs = elsewhere.attrs = {}
    pd.testing.assert_frame_equal(here, elsewhere)


def test_attrs_survive_the_sweep(data):
    settings = {"batch_sizes": [64, 200], "seeds": 18, "lr": 0.1, "max_epochs": 1}
    history = sweep(MLP, data, **settings)
    assert history.attrs.keys() == ATTRS.keys()
    assert (history.attrs["compiled"], history.attrs["one_by_one"]) == (False, "")
    assert sweep(ALONE["dropout"], data, **settings).attrs["one_by_one"] == "random numbers"


def test_attrs_of_several_tables_are_joined():
    def cell(**attrs):
        table = pd.DataFrame({"x": [0]})
        table.attrs = {**ATTRS, **attrs}
        return table

    cells = [
        cell,
        partial(cell, compiled=True, compile_seconds=1.5, one_by_one="hooks"),
        partial(cell, compile_seconds=1.0, one_by_one="a branch"),
        partial(cell, one_by_one="hooks"),
    ]
    expected = {"compiled": True, "compile_seconds": 2.5, "one_by_one": "a branch; hooks"}
    assert collect(cells, progress=False).attrs == expected
    assert collect([*cells, pd.DataFrame], progress=False).attrs == {}


@pytest.mark.parametrize("seeds", [33, np.arange(33), [*range(33)]], ids=["int", "array", "list"])
def test_sweep_trains_sixteen_seeds_at_a_time(data, monkeypatch, seeds):
    groups = []
    monkeypatch.setattr(
        sweep_module,
        "fit",
        lambda *_, seeds, **__: groups.append(seeds) or Run(pd.DataFrame({"seed": seeds}), []),
    )
    history = sweep(MLP, data, batch_sizes=[8, 16], seeds=seeds, lr=0.1, max_epochs=1)
    assert [len(group) for group in groups] == [16, 16, 1] * 2
    assert history.seed.tolist() == [*range(33)] * 2


def test_sweep_names_a_wrong_batch_size_before_it_trains(data, monkeypatch):
    monkeypatch.setattr(sweep_module, "fit", None)
    with pytest.raises(ValueError, match="batch_size=500 must be a whole number from 1 to 200"):
        sweep(MLP, data, batch_sizes=[32, 500], lr=0.1, max_epochs=1)


@pytest.mark.parametrize("seeds", [0, True, [1, 1]])
def test_sweep_refuses_wrong_seeds(data, monkeypatch, seeds):
    monkeypatch.setattr(sweep_module, "fit", None)
    with pytest.raises(ValueError, match=r"seeds=.* must be one or more different whole numbers"):
        sweep(MLP, data, batch_sizes=[32], seeds=seeds, lr=0.1, max_epochs=1)


@pytest.mark.parametrize("sizes", [[], (), "full", None, 8])
def test_sweep_without_batch_sizes(data, sizes):
    with pytest.raises(ValueError, match=r"^batch_sizes=.* must hold one batch size or more"):
        sweep(MLP, data, batch_sizes=sizes, lr=0.1, max_epochs=1)


def test_sweep_takes_batch_sizes_that_can_be_gone_through_once(data):
    sizes = (size for size in (100, 200))
    history = sweep(MLP, data, batch_sizes=sizes, seeds=1, lr=0.1, max_epochs=1, progress=False)
    assert history.batch_size.unique().tolist() == [100, 200]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "digits"}, "data must be a TensorData, such as Digits.., not str"),
        ({"callbacks": [3]}, "callbacks=.* must be a list of Lightning's Callbacks"),
        ({"callbacks": 3}, "callbacks=3 must be a list of Lightning's Callbacks"),
        ({"n_jobs": 0}, "n_jobs=0 must be a whole number from 1"),
        ({"n_jobs": 1.5}, "n_jobs=1.5 must be a whole number from 1"),
    ],
)
def test_sweep_names_its_arguments(data, change, message):
    arguments = {"data": data, "batch_sizes": [32], "lr": 0.1, "max_epochs": 1, **change}
    with pytest.raises(ValueError, match=message):
        sweep(MLP, progress=False, **arguments)


class Counting(Callback):
    def __init__(self):
        self.trained = []

    def on_train_end(self, trainer, cohort):
        self.trained.append(cohort.batches.batch_size)


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_callbacks_work_in_every_cell(data, kind):
    counting = Counting()
    settings = {"seeds": 2, "lr": 0.1, "max_epochs": 1, "callbacks": kind([counting])}
    sweep(MLP, data, batch_sizes=[64, "full"], **settings)
    assert counting.trained == [64, 200]


@pytest.mark.parametrize("n_jobs", [2, -1])
def test_callbacks_in_other_processes_are_refused(data, monkeypatch, n_jobs):
    monkeypatch.setattr(sweep_module, "fit", None)
    settings = {"seeds": 2, "lr": 0.1, "max_epochs": 1, "callbacks": [Counting()]}
    with pytest.raises(ValueError, match=f"callbacks with n_jobs={n_jobs} or torchrun"):
        sweep(MLP, data, batch_sizes=[64], n_jobs=n_jobs, **settings)


def test_callbacks_under_torchrun_are_refused(data, monkeypatch):
    monkeypatch.setattr(sweep_module, "fit", None)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    settings = {"seeds": 2, "lr": 0.1, "max_epochs": 1, "callbacks": [Counting()]}
    with pytest.raises(ValueError, match="callbacks with n_jobs=1 or torchrun"):
        sweep(MLP, data, batch_sizes=[64], **settings)


KILLED = """
import time
import pandas as pd
from course_lib.training import collect

def long():
    print("working", flush=True)
    time.sleep(60)

collect([long, pd.DataFrame], n_jobs=2, progress=False)
"""


@pytest.mark.slow
def test_processes_end_when_the_sweep_is_killed(tmp_path):
    """Be they at work or idle: the pipe that all have inherited is closed with the last one."""
    script = tmp_path / "script.py"
    script.write_text(KILLED)
    options = {"env": os.environ | {"PYTHONPATH": str(PROJECT)}, "text": True}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    sweeping = subprocess.Popen([sys.executable, str(script)], **options, **pipes)
    assert sweeping.stdout.readline() == "working\n"
    sweeping.kill()
    sweeping.communicate(timeout=20)


@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_collect_keeps_the_order(n_jobs, processes):
    cells = [lambda x=x: pd.DataFrame({"x": [x, -x]}) for x in range(5)]
    table = collect(cells, n_jobs=n_jobs, progress=False)
    assert table.x.tolist() == [0, 0, 1, -1, 2, -2, 3, -3, 4, -4]
    assert table.index.tolist() == list(range(10))


@pytest.mark.parametrize("cells", [[], None, 3, [3], "ab"])
def test_collect_of_no_functions(cells):
    with pytest.raises(ValueError, match=r"^cells=.* must hold one function or more"):
        collect(cells, progress=False)


def test_collect_of_functions_that_make_no_tables():
    with pytest.raises(ValueError, match="^cells=.* must return tables, each a pandas.DataFrame"):
        collect([dict], progress=False)


def test_error_of_a_cell_is_passed_on():
    def fails():
        raise KeyError("on purpose")

    with pytest.raises(KeyError, match="on purpose"):
        collect([fails], progress=False)


@pytest.mark.parametrize("progress", [True, False])
def test_one_bar_for_the_whole_sweep(data, capfd, monkeypatch, no_threads_left, progress):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    settings = {"batch_sizes": [64, "full"], "seeds": 18, "lr": 0.1, "max_epochs": 1}
    sweep(MLP, data, progress=progress, **settings)
    shown, errors = capfd.readouterr()
    assert errors == ""
    if progress:
        assert "sweep" in shown and "0/4" in shown and "fit/s" in shown and "epoch" not in shown
    else:
        assert shown == ""


def test_sweep_uses_the_cache(data, tmp_path, monkeypatch):
    settings = {"batch_sizes": [64, "full"], "seeds": 18, "lr": 0.1, "max_epochs": 1}
    first = sweep(MLP, data, cache=tmp_path, **settings)
    assert len(list(tmp_path.iterdir())) == 4
    monkeypatch.setattr(importlib.import_module("course_lib.training.fit"), "_train", None)
    pd.testing.assert_frame_equal(first, sweep(MLP, data, cache=tmp_path, **settings))
