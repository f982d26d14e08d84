"""Measure on real MNIST what the lessons ship in notebooks/results/.

What is finished lies in build/reproduce/, so a run that was stopped goes on where it was; without
that folder it begins afresh. MNIST is downloaded, or read from the folder that COURSE_DATA_DIR
names.
"""

import argparse
import hashlib
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache, partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import torch
from pytorch_lightning import Callback, Trainer
from torch.nn.functional import cross_entropy
from tqdm import tqdm

import provenance
from course_lib import F1, MNIST, LeNet, TensorData, fit, models, sharpness
from course_lib.training.cohort import Cohort

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "build" / "reproduce"
RESULTS = ROOT / "notebooks" / "results"
DURATION = "About two hours on two idle cores"

SEEDS = range(5)
LENET_SIZES, LENET_RATE, LENET_EPOCHS = (1, 8, 32, 128, 512, 2048, 8192), 0.05, 10
F1_EPOCHS = {256: 20, 6000: 30}
CHECKPOINTS = {256: (5, 20), 6000: (5, 20, 30)}  # epochs after which sharpness is measured
EPSILONS = (1e-3, 5e-4)
SHARPNESS_IMAGES = 10_000
ROUNDS, TIMED_SAMPLES = 9, 4096
# Linux's allocator hands the memory of large tensors back at once; asking for it again each time
# took up to half of the time.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**32)}

LENET_NOTE = f"""\
LeNet-5 on MNIST, all 60,000 training images; val: the 10,000 test images.
SGD with the rate {LENET_RATE}, no momentum, {LENET_EPOCHS} epochs, each seed alone on one thread.
seconds: as they passed while other runs kept the other cores busy (see lenet5_seconds.csv)."""
SECONDS_NOTE = f"""\
Processor time of one LeNet-5 on one thread, a plain loop with SGD, scaled to 60,000 images.
Each row a stretch of {TIMED_SAMPLES} samples or one batch, whichever is more; in each round every
batch size has its turn, so whatever else the machine does falls on all alike."""
F1_NOTE = f"""\
Network F1 of Keskar et al. 2017 on MNIST, all 60,000 training images; val: the 10,000 test images.
Adam with the rate 0.001, {F1_EPOCHS} epochs by batch size, each seed trained alone on one thread.
sharpness_EPSILON: percent, in full space, on the first {SHARPNESS_IMAGES} training images."""


@cache
def images() -> TensorData:
    """MNIST, read once a process."""
    return MNIST()


@cache
def code() -> str:
    """A digest of what decides the results beside the settings: this file, networks, versions."""
    digest = hashlib.sha256(Path(__file__).read_bytes() + Path(models.__file__).read_bytes())
    packages = ("course_lib", "torch", "pytorch-lightning")
    digest.update(" ".join(map(version, packages)).encode())
    return digest.hexdigest()[:12]


def kept(make: Callable, *settings):
    """Return `make(*settings)`; what a former call of the same code made is read from its file."""
    name = "-".join(map(str, [make.__name__, *settings, code()]))
    file = KEPT / f"{name}.pt"
    if not file.exists():
        made = make(*settings)
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(made, file.with_suffix(".unfinished"))
        file.with_suffix(".unfinished").replace(file)
    return torch.load(file)


def train_lenet(batch_size: int, seed: int, rate: float, epochs: int) -> dict:
    """Train one LeNet-5 with plain SGD; return its history."""
    network, options = partial(LeNet, (1, 28, 28)), {"lr": rate, "max_epochs": epochs}
    run = fit(network, images(), batch_size=batch_size, seeds=[seed], progress=False, **options)
    return run.history.to_dict("list")


class Snapshots(Callback):
    """The weights after some epochs."""

    def __init__(self, epochs: Iterable[int]):
        self.epochs, self.states = epochs, {}

    def on_train_epoch_end(self, trainer: Trainer, cohort: Cohort) -> None:
        if trainer.current_epoch + 1 in self.epochs:
            self.states[trainer.current_epoch + 1] = cohort.networks()[0].state_dict()


def train_f1(batch_size: int, seed: int, epochs: int) -> dict:
    """Train one F1 with Adam at its default rate; return its history, and some of its states."""
    snapshots = Snapshots(CHECKPOINTS[batch_size])
    run = fit(
        F1,
        images(),
        batch_size=batch_size,
        seeds=[seed],
        optimizer=torch.optim.Adam,
        lr=1e-3,
        fused=True,  # the same formula in one pass over the weights
        max_epochs=epochs,
        callbacks=[snapshots],
        progress=False,
    )
    return {"history": run.history.to_dict("list"), "states": snapshots.states}


def sharpness_f1(
    batch_size: int, seed: int, epochs: int, epoch: int, epsilon: float, samples: int
) -> float:
    """Return Keskar's sharpness of one F1 as it was after `epoch` of `epochs` epochs."""
    network = F1()
    network.load_state_dict(kept(train_f1, batch_size, seed, epochs)["states"][epoch])
    data = images().x_train[:samples], images().y_train[:samples]
    return float(sharpness(network.eval(), cross_entropy, data, epsilon))


def lenet_rows(batch_size: int, seed: int) -> pd.DataFrame:
    """Return the rows of one run of LeNet-5."""
    return pd.DataFrame(kept(train_lenet, batch_size, seed, LENET_RATE, LENET_EPOCHS))


def f1_rows(batch_size: int, seed: int) -> pd.DataFrame:
    """Return the rows of one run of F1, with the sharpness at its checkpoints."""
    settings = batch_size, seed, F1_EPOCHS[batch_size]
    rows = pd.DataFrame(kept(train_f1, *settings)["history"])
    for epsilon in EPSILONS:
        measured = {
            epoch: kept(sharpness_f1, *settings, epoch, epsilon, SHARPNESS_IMAGES)
            for epoch in CHECKPOINTS[batch_size]
        }
        rows[f"sharpness_{epsilon:g}"] = rows.epoch.map(measured)
    return rows


def gathered(pieces: list[tuple], processes: int) -> list[pd.DataFrame]:
    """Return ``rows(*settings)`` of each piece; `processes` at a time, one thread each."""
    os.environ.update(ALLOCATOR)  # for the new processes, whose allocator reads it as it starts
    spawn = get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, torch.set_num_threads, (1,)) as pool:
        jobs = [pool.submit(*piece) for piece in pieces]
        try:
            for job in tqdm(as_completed(jobs), "reproduce", len(jobs), unit="run"):
                job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [job.result() for job in jobs]


def seconds_per_epoch(batch_size: int) -> float:
    """Return the processor time of an epoch of LeNet-5, from a short stretch of a plain loop."""
    data, network = images(), LeNet((1, 28, 28))
    optimizer = torch.optim.SGD(network.parameters(), LENET_RATE)
    count = max(batch_size, TIMED_SAMPLES)
    first, *batches = torch.randperm(len(data.x_train))[: batch_size + count].split(batch_size)
    for batch in [first, *batches]:
        if batch is batches[0]:  # the first one warms up
            started = time.process_time()
        optimizer.zero_grad()
        cross_entropy(network(data.x_train[batch]), data.y_train[batch]).backward()
        optimizer.step()
    return (time.process_time() - started) * len(data.x_train) / count


def seconds_rows() -> pd.DataFrame:
    """Time every batch size in every round, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = [
        {"batch_size": size, "round": turn, "seconds_per_epoch": seconds_per_epoch(size)}
        for turn in range(ROUNDS)
        for size in LENET_SIZES
    ]
    torch.set_num_threads(threads)
    return pd.DataFrame(rows)


def write(name: str, note: str, rows: pd.DataFrame) -> None:
    """Write a table below comment lines that say how it was made."""
    head = [*note.splitlines(), *provenance.lines()]
    if "seed" in rows:
        head.append(f"seeds: {' '.join(map(str, sorted(set(rows.seed))))}")
    provenance.write(RESULTS / name, head, rows)
    print(f"notebooks/results/{name}: {len(rows)} rows")


def main(processes: int) -> None:
    """Train, measure and write all three tables."""
    print(f"{DURATION}; what is finished is kept, so it can be stopped.", flush=True)
    images()
    f1 = [(f1_rows, size, seed) for seed in SEEDS for size in F1_EPOCHS]
    write("keskar_f1_mnist.csv", F1_NOTE, pd.concat(gathered(f1, processes)))
    lenet = [(lenet_rows, size, seed) for seed in SEEDS for size in LENET_SIZES]
    write("lenet5_mnist.csv", LENET_NOTE, pd.concat(gathered(lenet, processes)))
    [seconds] = gathered([(seconds_rows,)], 1)  # alone, in a process with ALLOCATOR
    write("lenet5_seconds.csv", SECONDS_NOTE, seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count(), help="runs at a time (default: the cores)"
    )
    main(parser.parse_args().processes)
