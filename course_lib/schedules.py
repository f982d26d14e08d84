"""Lightning callbacks that change the batch size or the learning rate during training.

They work with any LightningModule and a plain DataLoader, and with `fit(callbacks=[...])`::

    Trainer(callbacks=[BatchSizeScheduler({10: 128, 20: 512})])
"""

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from torch.optim import Optimizer
from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from course_lib.checks import as_float, is_whole, listed, whole
from course_lib.internals import count_batches_again


class _BatchSizeCallback(Callback, ABC):
    """Sets the batch size at the start of each epoch; at the end the loader gets its own back.

    Loaders of other kinds than PyTorch's work, too, where their `batch_size` can be set and counts
    from the next epoch, as in `fit`.
    """

    def __init__(self) -> None:
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
            count_batches_again(trainer)
            if trainer.num_training_batches == 0:
                raise ValueError(
                    f"batch_size={size} must not be larger than the data, of which drop_last "
                    "leaves no batch"
                )

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        self._undo.close()

    def on_exception(
        self, trainer: Trainer, module: LightningModule, exception: BaseException
    ) -> None:
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
    checked, each = [_checked_size(size) for size in listed(sizes)], whole("epochs", epochs)
    if not checked:
        raise ValueError(f"{sizes=} must be one batch size or more")
    return lambda epoch: checked[epoch // each % len(checked)]


class BatchSizeOnPlateau(_BatchSizeCallback):
    """Grow the batch, or shrink it, when a measured value no longer improves.

    The rule is that of `torch.optim.lr_scheduler.ReduceLROnPlateau`, with the batch size
    multiplied where it divides the learning rate: after more than `patience` epochs in a row
    without a new best value, ``B := min(factor * B, max_size)``, or ``max(B // factor, min_size)``,
    and the count starts again. A `max_size` above an epoch's samples stands for their number.

    Args:
        monitor: a name in `trainer.callback_metrics`, measured every epoch before its end. With
            `fit`, the mean over the seeds of train_loss, train_accuracy, val_loss or val_accuracy.
        factor: what the batch size is multiplied or divided by, a whole number from 2.
        patience: epochs without improvement that are tolerated.
        max_size: the largest batch size, for a batch that grows; or
        min_size: the smallest one, for a batch that shrinks.
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
        max_size: int | None = None,
        min_size: int | None = None,
        mode: str = "min",
    ):
        super().__init__()
        if not isinstance(mode, str) or mode not in ("min", "max"):
            raise ValueError(f'{mode=} must be "min" or "max"')
        if not isinstance(monitor, str):
            raise ValueError(f'{monitor=} must be the name of a measured value, such as "val_loss"')
        self.monitor, self.sign = monitor, 1 if mode == "min" else -1
        self.factor, self.patience = whole("factor", factor, 2), whole("patience", patience, 0)
        if (max_size is None) == (min_size is None):
            raise ValueError(f"{max_size=} and {min_size=}: one of them must be a batch size")
        self.shrinks = max_size is None
        self.end = whole("min_size", min_size) if self.shrinks else whole("max_size", max_size)
        self._start()

    def setup(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        self._start()

    def _start(self) -> None:
        self.best, self.waited = math.inf, 0
        self.batch_size: int | None = None

    def size(self, trainer: Trainer, present: int) -> int:
        self.batch_size = self.batch_size or present
        return self.batch_size

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        if self.monitor not in trainer.callback_metrics:
            known = ", ".join(trainer.callback_metrics) or "none"
            raise ValueError(f"monitor={self.monitor!r} must be a measured value, one of: {known}")
        samples = _samples(trainer.train_dataloader)
        self._judge(self.sign * float(trainer.callback_metrics[self.monitor]), samples)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited, "batch_size": self.batch_size}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.waited, self.batch_size = state.values()

    def _judge(self, value: float, samples: int) -> None:
        self.waited = 0 if value < self.best else self.waited + 1
        self.best = min(self.best, value)
        if self.waited > self.patience:
            self.waited, self.batch_size = 0, self._next(self.batch_size or 1, samples)

    def _next(self, size: int, samples: int) -> int:
        if self.shrinks:
            return min(size, max(size // self.factor, self.end))
        return max(size, min(self.factor * size, self.end, samples))


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
        if not 0 <= as_float(start) <= 1:
            raise ValueError(f"{start=} must be a share of the rate, from 0 to 1")
        self.factors = _by_epoch("factors", {0: 1} if factors is None else factors, _checked_factor)
        self.warmup, self.start = whole("warmup", warmup, 0), float(start)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.lr_scheduler_configs:
            raise ValueError(
                f"{type(module).__name__}.configure_optimizers must not return a learning-rate "
                "scheduler, which this callback would overrule; leave one of the two out"
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


def _sized(loader: Any) -> Any:
    """What holds the batch size of a loader and reads it at the start of an epoch.

    Any loader with a `batch_size` that can be set will do: a DataLoader, whose batch sampler has
    it, or another kind of loader.
    """
    sized, fits = loader, hasattr(loader, "batch_size")
    if isinstance(loader, DataLoader):
        sized = loader.batch_sampler
        fits = isinstance(sized, BatchSampler) and not isinstance(loader.dataset, IterableDataset)
    if not fits:
        raise ValueError(
            "the loader must be one DataLoader with a batch_size and a dataset with indices, no "
            f"IterableDataset: the batch size of {loader!r} cannot be set"
        )
    return sized


def _samples(loader: Any) -> int:
    """How many samples an epoch of the loader has; no limit where that is not known."""
    if not isinstance(loader, DataLoader):
        return getattr(loader, "samples_per_epoch", sys.maxsize)
    try:
        return len(_sized(loader).sampler)
    except TypeError:  # a sampler that does not know its end
        return sys.maxsize


def _by_epoch(
    name: str, schedule: Mapping | Callable, checked: Callable[[Any], float]
) -> Callable[[int, float], Any]:
    """The schedule as a function of the epoch and of the value before its first epoch."""
    if callable(schedule):
        return lambda epoch, _: checked(schedule(epoch))
    fits = isinstance(schedule, Mapping) and all(is_whole(epoch, 0) for epoch in schedule)
    if not fits or not schedule:
        raise ValueError(f"{name}={schedule!r} must give epochs from 0 a value, such as {{10: 64}}")
    values = {epoch: checked(value) for epoch, value in sorted(schedule.items())}
    return lambda epoch, own: [own, *(v for first, v in values.items() if first <= epoch)][-1]


def _checked_size(size: Any) -> int:
    return whole("batch_size", size)


def _checked_factor(factor: Any) -> float:
    if not 0 <= as_float(factor) < math.inf:
        raise ValueError(f"{factor=} must be a number from 0, such as 1/5")
    return float(factor)
