"""Tables shared out over processes, by a store that holds nothing but text."""

import json
import math
import os
import pickle
import struct
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributed import HashStore

import course_lib
from course_lib.datasets import Digits
from course_lib.models import MLP
from course_lib.training import fit, sweep, torchrun
from course_lib.training.torchrun import from_json, run_distributed, to_json

PROJECT = Path(course_lib.__file__).parents[1]
# What each of the processes runs: it tells who did what, and writes what it got.
WORKER = """
import os, pickle, sys, time
from functools import partial
import pandas as pd
from course_lib.training.torchrun import run_distributed

def refuse(*_, **__):
    raise AssertionError("something was unpickled")

def job(number):
    time.sleep(0.2)
    return pd.DataFrame({"number": [number], "rank": [os.environ["RANK"]]})

pickle.loads = pickle.load = pickle.Unpickler = refuse
for numbers in (range(6), range(6, 8)):
    tables = list(run_distributed([partial(job, number) for number in numbers]))
    with open(f"{sys.argv[1]}/{os.environ['RANK']}", "a") as file:
        print(*(f"{table.number[0]}:{table['rank'][0]}" for table in tables), file=file)
"""
SWEEPER = """
import json, os, sys
from course_lib import MLP, Digits, sweep

data = Digits().part(100, 50)
settings = {"batch_sizes": [16, "full"], "seeds": 18, "lr": 0.1, "max_epochs": 2}
history = sweep(MLP, data, **settings, cache=sys.argv[1])
history.to_csv(f"{sys.argv[1]}/{os.environ['RANK']}.csv", index=False)
with open(f"{sys.argv[1]}/{os.environ['RANK']}.json", "w") as file:
    json.dump(history.attrs, file)
"""
KILLED = """
import os, time
from course_lib.training.torchrun import run_distributed

def long():
    os.write(1, b"working\\n")
    time.sleep(60)

list(run_distributed([long, long]))
"""


def start_script(folder, script):
    file = folder / "script.py"
    file.write_text(script)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return subprocess.Popen(
        [*command, "--nproc-per-node=2", file, folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},  # the script lies elsewhere
    )


def run_script(folder, script):
    process = start_script(folder, script)
    shown, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return shown


def bits(number: float) -> bytes:
    return struct.pack("<d", number)


def assert_round_trip(table: pd.DataFrame) -> None:
    read = from_json(to_json(table))
    pd.testing.assert_frame_equal(read, table, check_exact=True)
    assert read.attrs == table.attrs
    assert list(map(type, read.attrs.values())) == list(map(type, table.attrs.values()))


@given(st.lists(st.floats(), max_size=9))
def test_floats_keep_all_their_bits(numbers):
    read = from_json(to_json(pd.DataFrame({"x": np.array(numbers, float)})))
    assert read.x.dtype == "float64"
    for mine, number in zip(read.x, numbers, strict=True):
        assert math.isnan(mine) if math.isnan(number) else bits(mine) == bits(number)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=9))
def test_whole_numbers_keep_all_their_digits(numbers):
    assert_round_trip(pd.DataFrame({"n": np.array(numbers, "int64")}))


@given(st.lists(st.text(max_size=9), min_size=1, max_size=9))
def test_words_stay_what_they_are(words):
    assert_round_trip(pd.DataFrame({"word": words}))


@pytest.mark.parametrize(
    "values",
    [
        [0.1 + 0.2, 5e-324, -0.0, 1e308],
        [math.inf, -math.inf, math.nan],
        np.array([1 / 3, np.inf], "float32"),
        np.array([1, 2, 255], "uint8"),
        np.array([2**64 - 1], "uint64"),
        [True, False],
        ["full", '\N{GREEK SMALL LETTER ALPHA} "quoted"\n', ""],
        ["mixed", 1, 2.5, None],
        np.array([], "int64"),
    ],
    ids=repr,
)
def test_columns_survive_the_journey(values):
    assert_round_trip(pd.DataFrame({"column": values}))


def test_several_columns_and_attrs_survive_the_journey():
    table = pd.DataFrame({"b": [1, 2], "a": [0.1, math.nan], "c": ["x", "y"], "d": [True, False]})
    table.attrs = {"compiled": True, "compile_seconds": 0.1 + 0.2, "one_by_one": "", "n": 3}
    assert_round_trip(table)
    assert [*from_json(to_json(table))] == ["b", "a", "c", "d"]


def test_history_survives_the_journey():
    run = fit(MLP, Digits().part(50, 20), batch_size=16, lr=0.1, max_steps=6, progress=False)
    assert_round_trip(run.history)


def test_other_values_are_refused_before_they_are_sent():
    with pytest.raises(TypeError, match="not JSON serializable"):
        to_json(pd.DataFrame({"x": [torch.nn.Linear(1, 1)]}))


@pytest.fixture
def store(monkeypatch):
    """A store within this process; what runs is that of the only process."""
    held = HashStore()
    monkeypatch.setattr(torchrun, "_store", lambda: held)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    return held


def tables(*numbers):
    return [partial(pd.DataFrame, {"n": [number, number + 0.5]}) for number in numbers]


def test_tables_come_in_the_order_of_the_jobs(store):
    found = [table.n.tolist() for table in run_distributed(tables(2, 0, 1))]
    assert found == [[2, 2.5], [0, 0.5], [1, 1.5]]


def test_calls_one_after_the_other_do_not_mix(store):
    first = [table.n[0] for table in run_distributed(tables(1, 2))]
    second = [table.n[0] for table in run_distributed(tables(3))]
    assert (first, second) == ([1, 2], [3])


def test_jobs_that_others_have_taken_are_waited_for(store, monkeypatch):
    """The other process has done job 0, and this one takes the rest."""
    monkeypatch.setattr(torchrun, "_calls", iter([7]))
    others = torch.distributed.PrefixStore("jobs 0 7", store)
    others.add("taken", 1)
    others.set("0", to_json(pd.DataFrame({"n": [-1.0]})))
    found = [table.n[0] for table in run_distributed(tables(0, 1, 2))]
    assert found == [-1, 1, 2]


def test_nothing_in_the_store_is_run(store, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("something was unpickled")

    for name in ("loads", "load", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr(torchrun, "_calls", iter([7]))
    [table] = run_distributed(tables(1))
    assert table.n.tolist() == [1, 1.5]
    held = torch.distributed.PrefixStore("jobs 0 7", store).get("0")
    assert json.loads(held)["rows"] == {"n": [1, 1.5]}


def test_pickled_table_in_the_store_is_refused(store, monkeypatch):
    monkeypatch.setattr(torchrun, "_calls", iter([7]))
    others = torch.distributed.PrefixStore("jobs 0 7", store)
    others.add("taken", 1)
    others.set("0", pickle.dumps(pd.DataFrame({"n": [-1.0]})))
    with pytest.raises(ValueError):
        list(run_distributed(tables(0)))


@pytest.mark.slow
def test_each_job_is_done_once_and_known_to_all(tmp_path):
    run_script(tmp_path, WORKER)
    first, second = ((tmp_path / rank).read_text() for rank in "01")
    assert first == second
    done = [each.split(":") for line in first.splitlines() for each in line.split()]
    assert [int(number) for number, _ in done] == list(range(8))
    assert {rank for _, rank in done[:6]} == {"0", "1"}


@pytest.mark.slow
def test_sweep_under_torchrun_returns_the_rows_of_one_process(tmp_path):
    shown = run_script(tmp_path, SWEEPER)
    assert shown.count("0/4") <= 1, "more than one process shows a bar"
    first, second = (pd.read_csv(tmp_path / f"{rank}.csv") for rank in "01")
    pd.testing.assert_frame_equal(first, second)
    attrs = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in "01"]
    settings = {"batch_sizes": [16, "full"], "seeds": 18, "lr": 0.1, "max_epochs": 2}
    alone = sweep(MLP, Digits().part(100, 50), progress=False, **settings)
    assert attrs[0] == attrs[1] and attrs[0].keys() == alone.attrs.keys()
    first, alone = (rows.drop(columns="seconds") for rows in (first, alone))
    pd.testing.assert_frame_equal(first, alone, check_dtype=False, rtol=1e-4)
    assert len(list(tmp_path.glob("*.pt"))) == 4  # each process keeps what it has trained


@pytest.mark.slow
def test_processes_end_when_torchrun_is_killed(tmp_path):
    """The pipe that all have inherited is closed with the last one."""
    process = start_script(tmp_path, KILLED)
    assert [process.stdout.readline() for _ in range(2)] == ["working\n"] * 2
    process.kill()
    process.communicate(timeout=20)
