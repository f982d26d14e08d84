"""`fit`: train many seeds at once, get a tidy table back."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isnan
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.plugins.environments import LightningEnvironment
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from course_lib import checks
from course_lib.data import TensorData
from course_lib.history import measures
from course_lib.internals import overrides
from course_lib.training.batches import Batches
from course_lib.training.cache import Cache
from course_lib.training.cohort import Cohort
from course_lib.training.console import ProgressBar, interruptible, quiet_lightning
from course_lib.training.examination import NOT_REPRODUCIBLE, examine
from course_lib.training.objective import Metric, Objective, accuracy
from course_lib.training.recorder import Recorder
from course_lib.training.refusals import check_elementwise, check_one_group
from course_lib.training.replicas import Replicas

WATCHING_HOOKS = ("on_train_batch_start", "on_before_optimizer_step", "on_train_batch_end")


@dataclass(frozen=True)
class Run:
    """What `fit` returns.

    Attributes:
        history: one row per seed and evaluation (before training, after each epoch, at the end).
            Columns: batch_size (samples; of the epoch before, where a callback changes it), seed,
            epoch (a fraction where `max_steps` ended inside one), step (optimizer updates),
            examples (samples used), seconds (training time of the whole cohort, evaluation not
            counted), train_loss, train_accuracy, val_loss, val_accuracy (means over all samples,
            in eval mode; for each other metric a train_ and a val_ column), diverged (the training
            loss is no longer finite). Its ``attrs`` tell how it was trained: compiled,
            compile_seconds (not counted in seconds), one_by_one (why the networks could not be
            stacked and were trained one by one, at the speed of the loop in `fit`; else "").
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
    optimizer: Callable[..., Optimizer] = torch.optim.SGD,
    lr: float,
    loss: Callable[..., Tensor] = cross_entropy,
    metrics: Metric | Mapping[str, Metric] = accuracy,
    max_epochs: int | None = None,
    max_steps: int | None = None,
    stop_at: dict[str, float] | None = None,
    callbacks: Iterable[Callback] = (),
    accelerator: str = "cpu",
    devices: int = 1,
    num_nodes: int = 1,
    strategy: str = "auto",
    progress: bool = True,
    cache: str | Path | None = None,
    **optimizer_options: Any,
) -> Run:
    """Train one network from several seeds in a single ``Trainer.fit``.

    Seed s trains exactly as this loop does, whatever the other seeds are::

        torch.manual_seed(s)
        net = network()
        stepper = optimizer(net.parameters(), lr=lr, **optimizer_options)
        order = torch.Generator().manual_seed(s)
        for epoch in range(max_epochs):
            for batch in torch.randperm(N, generator=order).split(batch_size):
                value = loss(net(x_train[batch]), y_train[batch])
                stepper.zero_grad()
                value.backward()
                stepper.step()

    "Exactly" is up to rounding: all networks are stacked, and their operations recorded and
    compiled where that pays. Before training, first gradients are compared with those of each
    network by itself. Networks whose gradients differ, that draw random numbers (dropout), have
    hooks or count in Python, and those that cannot be stacked (recurrent layers, branches that
    depend on values) are trained one by one, by this very loop, each with its own random numbers.

    The same arguments, versions and machine give the same bits, unless what is compiled differs
    (``attrs["compiled"]``: it is taken where this machine has compiled the same operations
    before). Compiled runs differ from others by rounding: after 100 updates by less than 1e-5 of
    a tensor's largest weight, later by as much as training magnifies that.

    Args:
        network: makes one network, for instance a class or a `functools.partial`.
        data: training and validation tensors; with ``split="seed"`` each seed's own.
        batch_size: samples an update and device, from 1 to N, or "full" for all N.
        seeds: how many seeds (then 0, 1, ...), or the seeds themselves.
        optimizer: an elementwise optimizer from `torch.optim`, or a function that makes one.
        lr: learning rate.
        loss: takes outputs and targets of a batch, returns the mean over its samples. Where the
            data have weights w it is called with ``reduction="none"``, and a batch's loss is
            Σ w l / Σ w.
        metrics: what to measure beside the loss: the name and the function of each, or one
            function. It takes outputs and targets of one network and returns a number for each
            sample or target, as torchmetrics' functions with ``multidim_average="samplewise"`` do;
            their (weighted) mean is what the history shows. ``{}`` for none.
        max_epochs: how often to go through the data; give either this or `max_steps`.
        max_steps: how many updates to make.
        stop_at: a measure and the value to reach, such as ``{"val_accuracy": 0.95}``; training
            ends with the epoch in which the last seed has reached it or has diverged.
        callbacks: Lightning callbacks. One ``training_step`` makes many updates; where a callback
            has a hook around batches or optimizer steps, there is one update to a step.
        accelerator: Lightning's name of the device to train on: "cpu", "gpu" or "auto".
        devices: processes on each node that share every batch: with n of them in all, an update
            takes ``n * batch_size`` samples, which is the history's batch_size. The gradients are
            averaged, so all processes take the steps that one would take with this global batch
            (to rounding; batch normalization uses the statistics of each process's share).
        num_nodes: machines with that many devices each.
        strategy: Lightning's name of how to start the processes: "ddp" in a script, "ddp_fork" in
            a notebook, or "auto". Each process computes on one thread.
        progress: show a progress bar.
        cache: a folder for finished runs; a run that is there already is read, not trained.
            Networks that count in Python are not kept.
        **optimizer_options: the optimizer's other arguments, for instance ``momentum=0.9``.

    Raises:
        ValueError: an argument out of its range; network, loss and data that do not fit together;
            a network that is another one each time, or does not keep its tensors. The message
            names it and says what would do.
    """
    _check_network(network)
    check_data(data)
    objective = Objective(loss, metrics)
    limits, seeds = _checked_limits(max_epochs, max_steps), checks.seeds(seeds)
    _check_stop(stop_at, objective)
    callbacks = checked_callbacks(callbacks)
    _check_folder(cache)
    if callbacks and cache is not None:
        raise ValueError("cache cannot tell runs with different callbacks apart; give one of both")
    processes = {
        "devices": checks.whole("devices", devices),
        "num_nodes": checks.whole("num_nodes", num_nodes),
    }
    global_size = _global_batch_size(data, batch_size, **processes)
    options = {"lr": checks.positive("lr", lr), **optimizer_options}
    check_elementwise(optimizer, options)
    watched = any(overrides(hook, each) for each in callbacks for hook in WATCHING_HOOKS)
    batches = Batches(data, global_size, seeds, one_update_per_step=watched)
    replicas = Replicas(network, seeds, objective)
    make = partial(optimizer, **options)
    cohort = Cohort(replicas, make, batches, stop_at is not None)
    kept = cache and Cache(cache, cohort, {**limits, **processes, "stop_at": stop_at})
    if not (kept and kept.read_into(cohort)):
        examine(replicas, Replicas(network, seeds, objective), batches)
        check_one_group(make, replicas.networks[0], checks.name_of(optimizer))
        batches.order_matters = replicas.keep_to_self
        trainer_options = {"accelerator": accelerator, "strategy": strategy, **limits, **processes}
        trainer = _train(cohort, stop_at, callbacks, progress, **trainer_options)
        if kept and trainer.is_global_zero and replicas.alone not in NOT_REPRODUCIBLE:
            kept.write(cohort)
    return Run(cohort.history, replicas.released())


def _check_network(network: Callable[[], nn.Module]) -> None:
    if isinstance(network, nn.Module) or not callable(network):
        raise ValueError(
            f"network={network!r} must be what makes a network, such as its class or a "
            "functools.partial, so that each seed gets its own"
        )


def check_data(data: TensorData) -> None:
    """Refuse other data, before anything is asked of them."""
    if not isinstance(data, TensorData):
        raise ValueError(f"data must be a TensorData, such as Digits(), not {type(data).__name__}")


def checked_callbacks(callbacks: Iterable[Callback]) -> list[Callback]:
    """The callbacks as a list."""
    given = list(callbacks) if isinstance(callbacks, Iterable) else [None]
    if not all(isinstance(each, Callback) for each in given):
        raise ValueError(f"callbacks={callbacks!r} must be a list of Lightning's Callbacks")
    return given


def _check_folder(cache: str | Path | None) -> None:
    if not isinstance(cache, str | Path | None):
        raise ValueError(f"{cache=} must be a folder, as a str or a Path")


def _train(
    cohort: Cohort,
    stop_at: dict[str, float] | None,
    callbacks: list[Callback],
    progress: bool,
    **trainer_options: Any,
) -> Trainer:
    """Leave the trained networks and the history in the cohort; return the Trainer."""
    bars = [ProgressBar()] if progress else []
    with quiet_lightning(), interruptible():
        trainer = Trainer(
            **trainer_options,
            plugins=_environment(**trainer_options),
            callbacks=[Recorder(cohort, stop_at), *bars, *callbacks],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(cohort, cohort.batches)
    return trainer


def _environment(devices: int, num_nodes: int, **_: Any) -> LightningEnvironment | None:
    """A run on one device is alone, even where torchrun has started other processes beside it."""
    return LightningEnvironment() if devices == num_nodes == 1 else None


def _global_batch_size(
    data: TensorData, batch_size: int | str, devices: int, num_nodes: int
) -> int | str:
    """Samples an update, those of all devices together."""
    devices = devices * num_nodes
    size, samples = data.checked_batch_size(batch_size), len(data.x_train)
    if batch_size == "full":
        return batch_size
    if size * devices > samples:
        raise ValueError(
            f"{batch_size=} on {devices} devices takes more than the {samples:,} training samples "
            f"an update; give at most {samples // devices}"
        )
    return size * devices


def _checked_limits(max_epochs: int | None, max_steps: int | None) -> dict[str, int]:
    given = {"max_epochs": max_epochs, "max_steps": max_steps}
    limits = {name: limit for name, limit in given.items() if limit is not None}
    if len(limits) != 1:
        raise ValueError(f"{max_epochs=} and {max_steps=}: give exactly one of the two")
    return {"max_epochs": -1, **{n: checks.whole(n, limit) for n, limit in limits.items()}}


def _check_stop(stop_at: dict[str, float] | None, objective: Objective) -> None:
    if stop_at is None:
        return
    known = measures(objective.metrics)
    numbers = isinstance(stop_at, dict) and not any(
        isnan(checks.as_float(value)) for value in stop_at.values()
    )
    if not numbers or len(stop_at) != 1 or not set(stop_at) <= set(known):
        raise ValueError(
            f"stop_at={stop_at!r} must hold one of {', '.join(known)} and the value to reach"
        )
