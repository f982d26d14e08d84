"""What the tests of training force, and what each must leave as it was."""

import threading

import pytest
import torch
from tqdm import tqdm

from course_lib import internals
from course_lib.datasets import Digits
from course_lib.training import cohort, compiling


@pytest.fixture(scope="session")
def data():
    return Digits().part(200, 100)


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def no_threads_left(monkeypatch):
    """Processes that are forked beside other threads may hang."""
    monkeypatch.setattr(tqdm, "monitor_interval", 0)  # its watchman would be a thread
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.fixture
def recording(monkeypatch, tmp_path):
    """Record all operations, compile none. A list of the examples that were recorded with."""
    examples, recorded = [], internals.recorded

    def spied(function, example):
        examples.append(example)
        return recorded(function, example)

    monkeypatch.setattr(internals, "recorded", spied)
    monkeypatch.setattr(compiling, "RECORDING_PAYS", 0)
    monkeypatch.setattr(compiling, "COMPILING_PAYS", 10**9)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    return examples


@pytest.fixture
def compiling_updates(recording, monkeypatch):
    """Compile what is called 15 times or more, evaluations never, into an empty folder."""
    monkeypatch.setattr(compiling, "COMPILING_PAYS", 15)
    monkeypatch.setattr(cohort, "EVALUATION_WORTH", 0)
