"""`fit` and `sweep`: train many seeds at once, get a tidy table back."""

import logging
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

import pandas as pd
import torch
from joblib import Parallel, delayed
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import nn
from tqdm import tqdm

from course_lib.batches import Batches
from course_lib.cache import Cache
from course_lib.cohort import Cohort
from course_lib.data import TensorData
from course_lib.recorder import MEASURES, ProgressBar, Recorder


@dataclass(frozen=True)
class Run:
    """What `fit` returns.

    Attributes:
        history: one row per seed and evaluation (before training, after each epoch, at the end).
            Columns: batch_size (samples; of the epoch before, where a callback changes it), seed,
            epoch (a fraction where `max_steps` ended inside one), step (optimizer updates),
            examples (samples used), seconds (training time of the whole cohort, evaluation not
            counted), train_loss, train_accuracy, val_loss, val_accuracy (means over all samples,
            in eval mode), diverged (the training loss is no longer finite). Its ``attrs`` tell how
            it was trained: compiled, compile_seconds (not counted in seconds).
        networks: the trained networks in eval mode, in the order of the seeds.
    """

    history: pd.DataFrame
    networks: list[nn.Module]


def fit(
    network: Callable[[], nn.Module],
    data: TensorData,
    *,
    batch_size: int | str,
    seeds: int | Sequence[int] = 8,
    optimizer: Callable = torch.optim.SGD,
    lr: float,
    max_epochs: int | None = None,
    max_steps: int | None = None,
    stop_at: dict[str, float] | None = None,
    callbacks: Iterable[Callback] = (),
    progress: bool = True,
    cache: str | Path | None = None,
    **optimizer_options,
) -> Run:
    """Train one network from several seeds in a single ``Trainer.fit``.

    Seed s trains exactly as this loop does, whatever the other seeds are::

        torch.manual_seed(s)
        net = network()
        stepper = optimizer(net.parameters(), lr=lr, **optimizer_options)
        order = torch.Generator().manual_seed(s)
        for epoch in range(max_epochs):
            for batch in torch.randperm(N, generator=order).split(batch_size):
                loss = cross_entropy(net(x_train[batch]), y_train[batch])
                stepper.zero_grad()
                loss.backward()
                stepper.step()

    Args:
        network: makes one network, for instance a class or a `functools.partial`.
        data: training and validation tensors.
        batch_size: samples an update, from 1 to N, or "full" for all N.
        seeds: how many seeds (then 0, 1, ...), or the seeds themselves.
        optimizer: an elementwise optimizer from `torch.optim`.
        lr: learning rate.
        max_epochs: how often to go through the data; give either this or `max_steps`.
        max_steps: how many updates to make.
        stop_at: a measure and the value to reach, such as ``{"val_accuracy": 0.95}``; training
            ends with the epoch in which the last seed has reached it or has diverged.
        callbacks: Lightning callbacks. Updates are made many to a ``training_step``; where a
            callback has a hook around training batches, there is one update to a step.
        progress: show a progress bar.
        cache: a folder for finished runs; a run that is there already is read, not trained.
        **optimizer_options: the optimizer's other arguments, for instance ``momentum=0.9``.

    Raises:
        ValueError: an argument out of its range; the message names it and says what would do.
    """
    limits = _checked_limits(max_epochs, max_steps)
    _check_stop(stop_at)
    callbacks = list(callbacks)
    cohort = Cohort(network, _numbered(seeds), optimizer, lr=lr, **optimizer_options)
    batches = Batches(data, batch_size, cohort.seeds, single=_hooks_into_batches(callbacks))
    if cache is None:
        return _train(cohort, batches, limits, stop_at, callbacks, progress)
    if callbacks:
        raise ValueError("cache cannot tell runs with different callbacks apart; give one of both")
    finished = Cache(cache, cohort, batches, {**limits, "stop_at": stop_at})
    if not finished.exists():
        run = _train(cohort, batches, limits, stop_at, callbacks, progress)
        finished.write(run.history, cohort)
    return Run(finished.read_into(cohort), cohort.networks())


def sweep(
    network: Callable[[], nn.Module],
    data: TensorData,
    *,
    batch_sizes: Iterable[int | str],
    lr: float | Callable[[int], float],
    progress: bool = True,
    n_jobs: int = 1,
    **options,
) -> pd.DataFrame:
    """`fit` for each batch size; the histories in one table.

    Args:
        network: makes one network.
        data: training and validation tensors.
        batch_sizes: samples an update; "full" stands for all of them.
        lr: one learning rate for all, or a function of the batch size (in samples).
        progress: show one progress bar for the whole sweep.
        n_jobs: how many batch sizes to train at once, each in a process of its own; -1 for as
            many as there are cores. The first sweep with processes waits seconds for their start.
        **options: the other arguments of `fit`. With `cache`, a sweep that was interrupted
            goes on where it stopped.

    Raises:
        ValueError: as `fit`; a wrong batch size is named before the first one is trained.
    """
    sizes = [data.checked_batch_size(size) for size in batch_sizes]
    runs = (
        delayed(_history)(
            network, data, batch_size=size, lr=lr(size) if callable(lr) else lr, **options
        )
        for size in sizes
    )
    histories = Parallel(n_jobs, return_as="generator")(runs)
    if progress:
        bar = {"desc": "sweep", "unit": "size", "leave": False, "file": sys.stdout}
        histories = tqdm(histories, total=len(sizes), **bar)
    return pd.concat(histories, ignore_index=True)


def _history(*arguments, **options) -> pd.DataFrame:
    return fit(*arguments, progress=False, **options).history


def _train(
    cohort: Cohort,
    batches: Batches,
    limits: dict[str, int],
    stop_at: dict[str, float] | None,
    callbacks: list[Callback],
    progress: bool,
) -> Run:
    recorder = Recorder(batches, stop_at)
    cohort.may_stop_early = stop_at is not None
    bars = [ProgressBar()] if progress else []
    with _quiet_lightning(), _interruptible():
        trainer = Trainer(
            **limits,
            accelerator="cpu",
            callbacks=[recorder, *bars, *callbacks],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(cohort, batches)
    return Run(recorder.history(cohort), cohort.networks())


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Without Lightning's notes on hardware, data loading and checkpoints."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt; Lightning would exit Python and switch Ctrl-C off."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stopped:
        if not isinstance(stopped.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from stopped


def _hooks_into_batches(callbacks: list[Callback]) -> bool:
    hooks = ("on_train_batch_start", "on_train_batch_end")
    return any(is_overridden(hook, each, Callback) for each in callbacks for hook in hooks)


def _numbered(seeds: int | Sequence[int]) -> list[int]:
    return list(range(seeds)) if isinstance(seeds, Integral) else list(seeds)


def _checked_limits(max_epochs: int | None, max_steps: int | None) -> dict[str, int]:
    given = {"max_epochs": max_epochs, "max_steps": max_steps}
    limits = {name: limit for name, limit in given.items() if limit is not None}
    if len(limits) != 1:
        raise ValueError(f"{max_epochs=} and {max_steps=}: give exactly one of the two")
    (name, limit), *_ = limits.items()
    if not isinstance(limit, Integral) or limit < 1:
        raise ValueError(f"{name}={limit!r} must be a whole number from 1")
    return {"max_epochs": -1, **limits}


def _check_stop(stop_at: dict[str, float] | None) -> None:
    if stop_at is not None and (len(stop_at) != 1 or not set(stop_at) <= set(MEASURES)):
        raise ValueError(
            f"stop_at={stop_at!r} must hold one of {', '.join(MEASURES)} and the value to reach"
        )
