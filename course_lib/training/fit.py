"""`fit`: train many seeds at once, get a tidy table back."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

import pandas as pd
import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import nn

from course_lib.data import TensorData
from course_lib.training.batches import Batches
from course_lib.training.cache import Cache
from course_lib.training.cohort import Cohort
from course_lib.training.console import ProgressBar, interruptible, quiet_lightning
from course_lib.training.recorder import MEASURES, Recorder


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
    devices: int = 1,
    num_nodes: int = 1,
    strategy: str = "auto",
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
        batch_size: samples an update and device, from 1 to N, or "full" for all N.
        seeds: how many seeds (then 0, 1, ...), or the seeds themselves.
        optimizer: an elementwise optimizer from `torch.optim`.
        lr: learning rate.
        max_epochs: how often to go through the data; give either this or `max_steps`.
        max_steps: how many updates to make.
        stop_at: a measure and the value to reach, such as ``{"val_accuracy": 0.95}``; training
            ends with the epoch in which the last seed has reached it or has diverged.
        callbacks: Lightning callbacks. Updates are made many to a ``training_step``; where a
            callback has a hook around batches or optimizer steps, there is one update to a step.
        devices: processes on each node that share every batch: with n of them in all, an update
            takes ``n * batch_size`` samples, which is the history's batch_size. The gradients are
            averaged, so all processes take the steps that one would take with this global batch
            (to rounding; batch normalization uses the statistics of each process's share).
        num_nodes: machines with that many devices each.
        strategy: Lightning's name of how to start the processes: "ddp" in a script, "ddp_fork" in
            a notebook, or "auto". Each process computes on one thread.
        progress: show a progress bar.
        cache: a folder for finished runs; a run that is there already is read, not trained.
        **optimizer_options: the optimizer's other arguments, for instance ``momentum=0.9``.

    Raises:
        ValueError: an argument out of its range; the message names it and says what would do.
    """
    limits = _checked_limits(max_epochs, max_steps)
    _check_stop(stop_at)
    callbacks = list(callbacks)
    if callbacks and cache is not None:
        raise ValueError("cache cannot tell runs with different callbacks apart; give one of both")
    processes = {"devices": devices, "num_nodes": num_nodes}
    cohort = Cohort(network, _numbered(seeds), optimizer, lr=lr, **optimizer_options)
    global_size = _global_batch_size(data, batch_size, **processes)
    batches = Batches(data, global_size, cohort.seeds, single=_hooks_into_batches(callbacks))
    kept = cache and Cache(cache, cohort, batches, {**limits, **processes, "stop_at": stop_at})
    if kept and kept.exists():
        kept.read_into(cohort)
    else:
        trainer = _train(
            cohort, batches, stop_at, callbacks, progress, **limits, **processes, strategy=strategy
        )
        if kept and trainer.is_global_zero:
            kept.write(cohort)
    return Run(cohort.history, cohort.networks())


def _train(
    cohort: Cohort,
    batches: Batches,
    stop_at: dict[str, float] | None,
    callbacks: list[Callback],
    progress: bool,
    **trainer_options,
) -> Trainer:
    """Leave the trained networks and the history in the cohort; return the Trainer."""
    recorder = Recorder(batches, stop_at)
    cohort.may_stop_early = stop_at is not None
    bars = [ProgressBar()] if progress else []
    with quiet_lightning(), interruptible():
        trainer = Trainer(
            **trainer_options,
            accelerator="cpu",
            plugins=_environment(**trainer_options),
            callbacks=[recorder, *bars, *callbacks],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(cohort, batches)
    return trainer


def _environment(devices: int, num_nodes: int, **_) -> list[LightningEnvironment]:
    """A run on one device is alone, even where torchrun has started other processes beside it."""
    return [LightningEnvironment()] if devices == num_nodes == 1 else []


def _hooks_into_batches(callbacks: list[Callback]) -> bool:
    hooks = ("on_train_batch_start", "on_before_optimizer_step", "on_train_batch_end")
    return any(is_overridden(hook, each, Callback) for each in callbacks for hook in hooks)


def _numbered(seeds: int | Sequence[int]) -> list[int]:
    return list(range(seeds)) if isinstance(seeds, Integral) else list(seeds)


def _global_batch_size(
    data: TensorData, batch_size: int | str, devices: int, num_nodes: int
) -> int | str:
    """Samples an update, those of all devices together."""
    for name, number in {"devices": devices, "num_nodes": num_nodes}.items():
        if not isinstance(number, Integral) or number < 1:
            raise ValueError(f"{name}={number!r} must be a whole number from 1")
    size, samples = data.checked_batch_size(batch_size), len(data.x_train)
    if batch_size == "full":
        return batch_size
    if size * devices * num_nodes > samples:
        raise ValueError(
            f"{batch_size=} on {devices * num_nodes} devices takes more than the {samples:,} "
            f"training samples an update; give at most {samples // (devices * num_nodes)}"
        )
    return size * devices * num_nodes


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
