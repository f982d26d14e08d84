"""How fast the course trains, beside other ways to train: `make bench`.

Each test is one measurement. What it finds goes into pytest-benchmark's record as extra_info, and
report.py makes the tables of it. The rows that come first are compiled first; see conftest.py.
"""

import json
import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from contenders import CONTENDERS, Stopwatch, Task, course, hand_written_epochs, peak_memory
from course_lib import Digits
from whole_run import NETWORKS

SEEDS, LAPS, REPETITIONS = 16, 5, 3
LAPS_OF_SLOW = {("LeNet", "JAX"): 2}
SIZES = [1, 8, 32, 256]
TRAININGS = [
    *(("fit", SEEDS, optimizer) for optimizer in ("SGD", "momentum", "AdamW")),
    ("JAX", SEEDS, "SGD"),
    ("fit", 1, "SGD"),
    ("Lightning", 1, "SGD"),
]
WHOLE_RUNS = [
    ("MLP", 1, "momentum", 5),
    ("MLP", 8, "momentum", 20),
    ("MLP", 8, "AdamW", 20),
    ("LeNet", 8, "momentum", 10),
]


def cells() -> list[tuple]:
    """(network, batch size, contender, seeds, optimizer)"""
    table = [(size, *each) for size in SIZES for each in TRAININGS]
    return [(network, *cell) for network in NETWORKS for cell in table]


def task(network: str, batch_size: int, optimizer: str = "SGD") -> Task:
    return Task(NETWORKS[network], Digits(), batch_size, optimizer)


def test_import(benchmark):
    modules = {"course_lib": [], "pytorch_lightning": []}

    def import_each():
        for module, seconds in modules.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
            seconds.append(time.perf_counter() - started)

    benchmark.pedantic(import_each, rounds=5, warmup_rounds=1)
    benchmark.extra_info.update({module: seconds[1:] for module, seconds in modules.items()})


@pytest.mark.parametrize(("network", "batch_size", "contender", "seeds", "optimizer"), cells())
def test_training(benchmark, network, batch_size, contender, seeds, optimizer):
    """The steady state of a long run."""
    if contender == "JAX":
        pytest.importorskip("jax", reason="JAX is not installed")
    wanted = task(network, batch_size, optimizer)
    laps = LAPS_OF_SLOW.get((network, contender), LAPS)
    watch = Stopwatch(laps, hand_written_epochs(wanted))
    how = benchmark.pedantic(CONTENDERS[contender], (wanted, seeds, watch))
    benchmark.extra_info.update(**watch.counted(), **(how or {}))


def in_new_process(cache: Path, *cell) -> dict[str, float]:
    """What whole_run.py measures where compiled operations are kept in this folder."""
    command = [sys.executable, Path(__file__).with_name("whole_run.py"), *map(str, cell)]
    variables = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(cache)}
    done = subprocess.run(command, env=variables, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("repetition", range(REPETITIONS))
@pytest.mark.parametrize(("network", "batch_size", "optimizer", "epochs"), WHOLE_RUNS)
def test_whole_run(
    benchmark, tmp_path, kept_compiled, network, batch_size, optimizer, epochs, repetition
):
    """All that passes in a short run: the first one ever, a later one, one long ago compiled."""
    cell = network, batch_size, optimizer, epochs, SEEDS
    course(task(network, batch_size, optimizer), SEEDS, Stopwatch(laps=0))
    caches = {"first": tmp_path, "later": tmp_path, "compiled": kept_compiled}

    def run_each():
        return {name: in_new_process(cache, *cell) for name, cache in caches.items()}

    benchmark.extra_info.update(seeds=SEEDS, **benchmark.pedantic(run_each))


@pytest.mark.parametrize(("contender", "seeds"), [("by hand", 1), ("Lightning", 1), ("fit", SEEDS)])
@pytest.mark.parametrize("batch_size", [8, 256])
@pytest.mark.parametrize("network", NETWORKS)
def test_memory(benchmark, network, batch_size, contender, seeds):
    """In a process of its own, forked from one that has imported course_lib and no more."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["course_lib"])
    with ProcessPoolExecutor(1, mp_context=context) as process:
        measuring = process.submit(peak_memory, contender, task(network, batch_size), seeds)
        benchmark.extra_info["mebibytes"] = benchmark.pedantic(measuring.result)
