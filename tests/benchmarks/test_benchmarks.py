"""How fast the course trains, beside other ways to train: `make bench`.

Each test is one measurement. What it finds goes into pytest-benchmark's record as extra_info, and
report.py makes the table and the figure of it.
"""

import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

import pytest
import torch
from torch._inductor.utils import fresh_cache

from contenders import CONTENDERS, Stopwatch, hand_written_epochs, peak_memory, seconds_per_epoch
from course_lib import MLP, Digits, LeNet, fit

NETWORKS = {"MLP": MLP, "LeNet": LeNet}
LAPS = 5
SIZES = [1, 8, 32, 256, "full"]
POWERS = [2**power for power in range(11)]
TRAININGS = [("Lightning", 1), *(("fit", seeds) for seeds in (1, 4, 16, 32)), ("JAX", 16)]


def cells() -> list[tuple]:
    """(network, batch size, contender, seeds): for the table, and more of `fit` for the figure."""
    table = [(size, *each) for size in SIZES for each in TRAININGS]
    against_batch = [(size, "fit", 16) for size in (4, 16, 64, 1024)]
    against_seeds = [(32, "fit", seeds) for seeds in POWERS[:7]]
    wanted = dict.fromkeys(table + against_batch + against_seeds)
    return [(network, *cell) for network in NETWORKS for cell in wanted]


@contextmanager
def all_cores():
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count())
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def nothing_compiled_before():
    with fresh_cache():
        yield


def test_cold_start(benchmark):
    modules = {"course_lib": [], "pytorch_lightning": []}

    def import_each():
        for module, seconds in modules.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
            seconds.append(time.perf_counter() - started)

    benchmark.pedantic(import_each, rounds=5, warmup_rounds=1)
    benchmark.extra_info.update({module: seconds[1:] for module, seconds in modules.items()})


@pytest.mark.parametrize("batch_size", [*POWERS, "full"])
def test_sweep(benchmark, batch_size):
    """One batch size of a sweep like lesson 3's, of LeNet: `fit` on all cores.

    The hand-written loop keeps to one thread. With more, its small operations wait for one
    another, on a busy machine so long that it is a hundred times slower.
    """
    data, seeds, epochs, target = Digits(), range(16), 60, 0.95
    settings = {"lr": 0.05, "max_epochs": epochs, "stop_at": {"val_accuracy": target}}
    settings |= {"batch_size": batch_size, "seeds": seeds, "progress": False}
    by_hand = hand_written_epochs(LeNet, data, data.checked_batch_size(batch_size))
    next(by_hand)
    seconds = [seconds_per_epoch(by_hand) for _ in range(LAPS)]
    with all_cores():
        history = benchmark.pedantic(fit, (LeNet, data), settings).history
    finished = history[(history.val_accuracy >= target) | history.diverged]
    last = finished.groupby("seed").epoch.min().reindex(seeds, fill_value=epochs)
    benchmark.extra_info.update(reference_seconds=seconds, epochs=int(last.sum()), **history.attrs)


@pytest.mark.parametrize(("network", "batch_size", "contender", "seeds"), cells())
def test_training(benchmark, network, batch_size, contender, seeds):
    if contender == "JAX":
        pytest.importorskip("jax", reason="JAX is not installed (pip install '.[jax]')")
    data, network = Digits(), NETWORKS[network]
    samples = data.checked_batch_size(batch_size)
    watch = Stopwatch(LAPS, hand_written_epochs(network, data, samples))
    how = benchmark.pedantic(CONTENDERS[contender], (network, data, samples, seeds, watch))
    benchmark.extra_info.update(samples=samples, **watch.counted(), **(how or {}))


@pytest.mark.parametrize(("contender", "seeds"), [("by hand", 1), ("Lightning", 1), ("fit", 16)])
@pytest.mark.parametrize("batch_size", SIZES)
@pytest.mark.parametrize("network", NETWORKS)
def test_memory(benchmark, network, batch_size, contender, seeds):
    """In a process of its own, forked from one that has imported course_lib and no more."""
    data = Digits()
    cell = NETWORKS[network], data, data.checked_batch_size(batch_size), seeds
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["course_lib"])
    with ProcessPoolExecutor(1, mp_context=context) as process:
        measuring = process.submit(peak_memory, contender, *cell)
        benchmark.extra_info["mebibytes"] = benchmark.pedantic(measuring.result)
