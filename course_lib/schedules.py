"""Lightning callbacks that change the batch size or the learning rate during training.

They work with any LightningModule and a plain DataLoader, and with `fit(callbacks=[...])`::

    Trainer(callbacks=[BatchSizeScheduler({10: 128, 20: 512})])
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from numbers import Integral, Real

from pytorch_lightning import Callback, LightningModule, Trainer
from torch.optim import Optimizer
from torch.utils.data import BatchSampler, DataLoader, IterableDataset


class _BatchSizeCallback(Callback, ABC):
    """Sets the batch size at the start of each epoch; at the end the loader gets its own back."""

    def __init__(self):
        self._undo = ExitStack()

    @abstractmethod
    def size(self, trainer: Trainer, present: int) -> int:
        """The batch size of the epoch that starts, where `present` is the loader's."""

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        loader = _sized(trainer.train_dataloader)
        size = self.size(trainer, loader.batch_size)
        if size != loader.batch_size:
            self._undo.callback(setattr, loader, "batch_size", loader.batch_size)
            loader.batch_size = size
            _count_batches_again(trainer)

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        self._undo.close()

    def on_exception(self, trainer: Trainer, module: LightningModule, exception) -> None:
        self._undo.close()


class BatchSizeScheduler(_BatchSizeCallback):
    r"""Change the batch size at given epochs, in the form of `GradientAccumulationScheduler`.

    ``{e_1: B_1, e_2: B_2}`` trains with the loader's own batch size before epoch e_1, with B_1
    from then on, and with B_2 from epoch e_2 on; epochs count from 0. Grow the batch by the factor
    by which the learning rate would have been divided,

        g = ε N / (B (1 - m))    (ε learning rate, m momentum, N training samples),

    and the scale g of the gradient's fluctuations falls as it does with the smaller rate.
    ``{18: 1}`` ends the training with single samples.

    Changes between two epochs keep shuffling, `drop_last`, sampler, workers and the rest of the
    DataLoader as they are. The last batch of an epoch is as ragged as the new size makes it.

    Args:
        schedule: the batch size from an epoch on, or a function from the epoch to its batch size,
            such as `cyclic`.

    Raises:
        ValueError: an empty schedule; an epoch that is not a whole number from 0, or a batch size
            that is not one from 1; when training, a loader whose batch size cannot be set (several
            loaders, an IterableDataset, `batch_size=None`, a batch sampler that is none of
            PyTorch's), or a batch larger than the data with `drop_last`.

    Source: Smith, Kindermans, Ying, Le, "Don't decay the learning rate, increase the batch size"
    (2018), section 4; arXiv:1711.00489.
    """

    def __init__(self, schedule: Mapping[int, int] | Callable[[int], int]):
        super().__init__()
        self.schedule = _by_epoch("schedule", schedule, _checked_size)

    def size(self, trainer: Trainer, present: int) -> int:
        return self.schedule(trainer.current_epoch, present)


def cyclic(sizes: Sequence[int], epochs: int = 1) -> Callable[[int], int]:
    """A cycle of batch sizes for `BatchSizeScheduler`, each for some epochs.

    With k sizes, epoch e has the size of index ``floor(e / epochs) mod k``.

    Raises:
        ValueError: no sizes, a size or a number of epochs that is not a whole number from 1.

    Source: Jastrzebski, Kenton, Arpit et al., "Three factors influencing minima in SGD" (2017),
    where a cycle of batch sizes takes the place of a cycle of learning rates; arXiv:1711.04623.
    """
    sizes = [_checked_size(size) for size in sizes]
    if not sizes or not _whole(epochs, 1):
        raise ValueError(f"{sizes=} and {epochs=}: give one size or more, each for 1 epoch or more")
    return lambda epoch: sizes[epoch // epochs % len(sizes)]


class BatchSizeOnPlateau(_BatchSizeCallback):
    """Grow the batch when a measured value no longer improves.

    The rule is that of `torch.optim.lr_scheduler.ReduceLROnPlateau`, with the batch size
    multiplied where it divides the learning rate: after more than `patience` epochs in a row
    without a new best value, ``B := min(factor * B, max_size)``, and the count starts again.

    Args:
        monitor: a name in `trainer.callback_metrics`, measured every epoch before its end. With
            `fit`, the mean over the seeds of train_loss, train_accuracy, val_loss or val_accuracy.
        factor: what the batch size is multiplied by, a whole number from 2.
        patience: epochs without improvement that are borne.
        max_size: the largest batch size.
        mode: "min" where smaller values are better, "max" where larger ones are.

    Raises:
        ValueError: arguments out of range; when training, a monitored value that nothing
            measures, and what `BatchSizeScheduler` says of loaders.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        factor: int = 2,
        patience: int = 3,
        max_size: int,
        mode: str = "min",
    ):
        super().__init__()
        if not _whole(factor, 2) or not _whole(patience, 0):
            raise ValueError(f"{factor=} and {patience=}: give whole numbers from 2 and from 0")
        if mode not in ("min", "max"):
            raise ValueError(f'{mode=}: give "min" or "max"')
        self.monitor, self.factor, self.patience = monitor, factor, patience
        self.max_size, self.sign = _checked_size(max_size), 1 if mode == "min" else -1
        self.best, self.waited, self.batch_size = math.inf, 0, None

    def setup(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        self.best, self.waited, self.batch_size = math.inf, 0, None

    def size(self, trainer: Trainer, present: int) -> int:
        self.batch_size = self.batch_size or present
        return self.batch_size

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        if self.monitor not in trainer.callback_metrics:
            known = ", ".join(trainer.callback_metrics) or "none"
            raise ValueError(f"monitor={self.monitor!r} is not among the measured values: {known}")
        self._judge(self.sign * float(trainer.callback_metrics[self.monitor]))

    def state_dict(self) -> dict:
        return {"best": self.best, "waited": self.waited, "batch_size": self.batch_size}

    def load_state_dict(self, state: dict) -> None:
        self.best, self.waited, self.batch_size = state.values()

    def _judge(self, value: float) -> None:
        self.waited = 0 if value < self.best else self.waited + 1
        self.best = min(self.best, value)
        if self.waited > self.patience:
            self.waited = 0
            larger = min(self.factor * self.batch_size, self.max_size)
            self.batch_size = max(larger, self.batch_size)


class LearningRateScheduler(Callback):
    r"""Warm the learning rate up, and change it at given epochs.

    Update t (from 0) in epoch e is made with

        rate = own rate · f(e) · w(t),    w(t) = start + (1 - start) · min(t / warmup, 1),

    where "own rate" is what the optimizer was made with, for each of its parameter groups.
    ``factors={10: 1/5, 20: 1/25}`` means f = 1, from epoch 10 on 1/5, from epoch 20 on 1/25.
    The rate of a batch k times as large, k times as high, is warmed up from ``start=1/k``.

    A Trainer counts updates over all optimizers, and with accumulated batches once for all.

    Args:
        factors: f from an epoch on, or a function from the epoch to f.
        warmup: updates until the warm-up ends; 0 for none.
        start: the share of the rate with which the warm-up starts.

    Raises:
        ValueError: factors or a warm-up out of range; when training, a module with a learning-rate
            scheduler of its own, which would be overruled.

    Source: Goyal, Dollár, Girshick et al., "Accurate, large minibatch SGD: training ImageNet in 1
    hour" (2017), section 2.2 (gradual warm-up); arXiv:1706.02677.
    """

    def __init__(
        self,
        factors: Mapping[int, float] | Callable[[int], float] | None = None,
        *,
        warmup: int = 0,
        start: float = 0.1,
    ):
        if not _whole(warmup, 0) or not 0 <= start <= 1:
            raise ValueError(f"{warmup=} and {start=}: give a number of updates, a share of 0 to 1")
        self.factors = _by_epoch("factors", {0: 1} if factors is None else factors, _checked_factor)
        self.warmup, self.start = warmup, start

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.lr_scheduler_configs:
            raise ValueError(
                f"{type(module).__name__}.configure_optimizers returns a learning-rate scheduler, "
                "which this callback would overrule; leave one of the two out"
            )

    def on_before_optimizer_step(
        self, trainer: Trainer, module: LightningModule, optimizer: Optimizer
    ) -> None:
        factor = self.factor(trainer.current_epoch, trainer.global_step)
        for group in optimizer.param_groups:  # checkpoints keep initial_lr with the group
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor

    def factor(self, epoch: int, update: int) -> float:
        """f(epoch) · w(update)."""
        warmed = min(update / self.warmup, 1) if self.warmup else 1
        return self.factors(epoch, 1) * (self.start + (1 - self.start) * warmed)


def _sized(loader: object) -> object:
    """What holds the batch size of a loader and reads it at the start of an epoch."""
    sized, fits = loader, hasattr(loader, "batch_size")
    if isinstance(loader, DataLoader):
        sized = loader.batch_sampler
        fits = isinstance(sized, BatchSampler) and not isinstance(loader.dataset, IterableDataset)
    if not fits:
        raise ValueError(
            f"the batch size of {loader!r} cannot be set: train on one DataLoader that has a "
            "batch_size and a dataset with indices, no IterableDataset"
        )
    return sized


def _count_batches_again(trainer: Trainer) -> None:
    """Let Lightning set the loader up again, as its BatchSizeFinder does: the number of batches,
    when to validate, and the iterator that it made before the first epoch started.
    """
    loop, source = trainer.fit_loop, trainer.fit_loop._data_source
    # The loader itself, where a module would be asked for a new one, of the old batch size.
    loop._data_source = replace(source, instance=trainer.train_dataloader)
    loop._combined_loader = None
    try:
        loop.setup_data()
    finally:
        loop._data_source = source
    if loop.max_batches == 0:
        raise ValueError("the batch size is larger than the data, and drop_last leaves no batch")


def _by_epoch(name: str, schedule: Mapping | Callable, checked: Callable) -> Callable:
    """The schedule as a function of the epoch and of the value before its first epoch."""
    if callable(schedule):
        return lambda epoch, _: checked(schedule(epoch))
    if not schedule or not all(_whole(epoch, 0) for epoch in schedule):
        raise ValueError(f"{name}={schedule!r}: give epochs from 0 and their values, as {{10: 64}}")
    values = {epoch: checked(value) for epoch, value in sorted(schedule.items())}
    return lambda epoch, own: [own, *(v for first, v in values.items() if first <= epoch)][-1]


def _whole(number: object, least: int) -> bool:
    whole = isinstance(number, Integral) and not isinstance(number, bool)
    return whole and number >= least


def _checked_size(size: int) -> int:
    if not _whole(size, 1):
        raise ValueError(f"batch size {size!r}: give a whole number from 1")
    return int(size)


def _checked_factor(factor: float) -> float:
    if not (isinstance(factor, Real) and math.isfinite(factor) and factor >= 0):
        raise ValueError(f"factor {factor!r}: give a number from 0, such as 1/5")
    return float(factor)
