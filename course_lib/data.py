"""Data held in memory as tensors."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from course_lib.checks import numbers, whole
from course_lib.checks import seed as checked_seed

SPLITS = ("fixed", "seed")


class TensorData(LightningDataModule):
    """Tensors for training and for validation, kept in memory.

    Args:
        x_train: training samples, shape ``(N, *shape)``; floats become PyTorch's default
            dtype, float32; whole numbers, such as the tokens of a text, stay what they are.
        y_train: their targets, shape ``(N, *target)``: class labels (whole numbers from 0), or
            floats for a regression.
        x_val: held-out samples, shape ``(M, *shape)``.
        y_val: their targets, shape ``(M, *target)``.
        weights_train, weights_val: how much each loss counts, numbers from 0, of the shape that
            ``loss(outputs, targets, reduction="none")`` has: ``(N,)`` for one a sample, or
            ``(N, T)`` for one a token. A batch's loss is then Σ w l / Σ w.
        split: "fixed" for the same held-out samples in all seeds; with "seed" every seed gets its
            own split of all N + M samples into N and M, see `of_seed`.
        batch_size: used by the DataLoaders of a plain Lightning run; `fit` brings its own.
        drop_last: leave out the last batch of an epoch when it is smaller than the others.

    Raises:
        ValueError: tensors of unequal length, without samples, with NaN or infinite values, labels
            below 0, weights below 0 or without a positive one, an unknown split, a batch size
            below 1, a `drop_last` that is neither True nor False.
    """

    def __init__(
        self,
        x_train: Any,
        y_train: Any,
        x_val: Any,
        y_val: Any,
        *,
        weights_train: Any = None,
        weights_val: Any = None,
        split: str = "fixed",
        batch_size: int = 32,
        drop_last: bool = False,
    ):
        super().__init__()
        if (weights_train is None) != (weights_val is None):
            raise ValueError("weights_train and weights_val: give both or none")
        if not isinstance(split, str) or split not in SPLITS:
            raise ValueError(f'split={split!r} must be "fixed" or "seed"')
        if not isinstance(drop_last, bool | np.bool_):
            raise ValueError(f"{drop_last=} must be True or False")
        self.train = _checked("train", x_train, y_train, weights_train)
        self.val = _checked("val", x_val, y_val, weights_val)
        _check_alike(self.train, self.val)
        self.x_train, self.y_train, self.x_val, self.y_val = *self.train[:2], *self.val[:2]
        self.shape = self.x_train.shape[1:]
        self.batch_size = whole("batch_size", batch_size)
        self.split, self.drop_last = split, bool(drop_last)
        self.name = type(self).__name__

    def __str__(self) -> str:
        return (
            f"{self.name}: {len(self.x_train):,} training and {len(self.x_val):,} "
            f"held-out samples of shape {tuple(self.shape)}"
        )

    __repr__ = __str__

    def train_dataloader(self) -> DataLoader:
        return DataLoader(
            TensorDataset(*self.train), self.batch_size, shuffle=True, drop_last=self.drop_last
        )

    def val_dataloader(self) -> DataLoader:
        return DataLoader(TensorDataset(*self.val), self.batch_size)

    def checked_batch_size(self, batch_size: int | str) -> int:
        """The batch size in samples: a whole number from 1 to N, or "full" for all N.

        Raises:
            ValueError: anything else.
        """
        samples = len(self.x_train)
        if isinstance(batch_size, str) and batch_size == "full":
            return samples
        try:
            return whole("batch_size", batch_size, 1, samples)
        except ValueError as error:
            raise ValueError(f'{error} (the number of training samples) or "full"') from None

    def of_seed(self, seed: int) -> "TensorData":
        """The data on which seed s trains and is measured: with ``split="seed"`` its own split.

        The N + M samples, training samples first, are split by scikit-learn's `train_test_split`
        with ``random_state=seed`` (modulo 2³²), stratified where the targets are class labels, of
        which both parts are large enough to hold each.

        Raises:
            ValueError: a seed that is no whole number.
        """
        if self.split == "fixed":
            return self
        train, val = ([t[rows] for t in self.pool()] for rows in self.rows_of_seed(seed))
        return self._with(train, val, "fixed", f"{self.name} of seed {seed}")

    def pool(self) -> tuple[Tensor, ...]:
        """All samples, targets and weights: those for training, then those held out."""
        return tuple(torch.cat(pair) for pair in zip(self.train, self.val, strict=True))

    def rows_of_seed(self, seed: int) -> tuple[Tensor, Tensor]:
        """Which of the pool's samples seed s trains on, and which are held out from it."""
        targets = torch.cat([self.y_train, self.y_val])
        return _split(targets, len(self.x_train), len(self.x_val), seed)

    def part(self, train_size: int, val_size: int, seed: int = 0) -> "TensorData":
        """A stratified random part: each class keeps its share.

        Raises:
            ValueError: a size that is not a whole number from 1 to the number of samples.
        """
        train_size = whole("train_size", train_size, 1, len(self.x_train))
        val_size = whole("val_size", val_size, 1, len(self.x_val))
        train, val = (
            [
                tensor[_split(tensors[1], size, len(tensors[1]) - size, seed)[0]]
                for tensor in tensors
            ]
            for tensors, size in ((self.train, train_size), (self.val, val_size))
        )
        return self._with(train, val, self.split, f"part of {self.name}")

    def _with(
        self, train: Sequence[Tensor], val: Sequence[Tensor], split: str, name: str
    ) -> "TensorData":
        """Other samples, else the same."""
        (x_train, y_train, *w_train), (x_val, y_val, *w_val) = train, val
        data = TensorData(
            *(x_train, y_train, x_val, y_val),
            weights_train=w_train[0] if w_train else None,
            weights_val=w_val[0] if w_val else None,
            split=split,
            batch_size=self.batch_size,
            drop_last=self.drop_last,
        )
        data.name = name
        return data


def _split(targets: Tensor, first: int, second: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rows for two parts; class labels are stratified where they can be."""
    everything = torch.arange(len(targets))
    if second == 0:
        return everything, everything[:0]
    from sklearn.model_selection import train_test_split  # slow to import, and seldom needed

    sizes = {"train_size": first, "test_size": second, "random_state": checked_seed(seed) % 2**32}
    return train_test_split(everything, stratify=_strata(targets, min(first, second)), **sizes)


def _strata(targets: Tensor, smaller: int) -> Tensor | None:
    """Class labels of which each occurs twice or more, and that a part can hold one each of."""
    if targets.ndim > 1 or targets.is_floating_point():
        return None
    counts = targets.unique(return_counts=True)[1]  # no table: labels may be as large as they like
    return targets if counts.ne(1).all() and smaller >= len(counts) else None


def _checked(part: str, x: Any, y: Any, weights: Any) -> tuple[Tensor, ...]:
    x, y = _tensor(f"x_{part}", x), _tensor(f"y_{part}", y)
    if x.ndim == 0 or y.ndim == 0 or len(x) == 0 or len(x) != len(y):
        raise ValueError(
            f"x_{part} has shape {tuple(x.shape)} and y_{part} {tuple(y.shape)}; both need the "
            "same number of samples, at least one, along their first axis"
        )
    if y.numel() == 0:
        raise ValueError(f"y_{part} has shape {tuple(y.shape)}; each sample needs a target")
    if y.dtype is torch.bool or not y.is_floating_point() and y.min() < 0:
        raise ValueError(
            f"y_{part} has dtype {y.dtype} and minimum {y.min()}; class labels must be whole "
            "numbers from 0, other targets floats"
        )
    return (x, y) if weights is None else (x, y, _checked_weights(part, y, weights))


def _tensor(name: str, values: Any) -> Tensor:
    """A tensor: floats of PyTorch's default dtype, whole numbers become int64."""
    tensor = numbers(name, values)
    if tensor.dtype is torch.uint64 and (tensor.view(torch.int64) < 0).any():
        raise ValueError(f"{name} must hold whole numbers below 2**63, as int64 does")
    if not tensor.is_floating_point():
        return tensor if tensor.dtype is torch.bool else tensor.long()
    tensor = tensor.detach().to(torch.get_default_dtype())
    if not torch.isfinite(tensor).all():
        raise ValueError(
            f"{name} has {(~torch.isfinite(tensor)).sum()} values that are NaN or infinite in "
            f"{tensor.dtype}; remove or replace those samples"
        )
    return tensor


def _checked_weights(part: str, y: Tensor, weights: Any) -> Tensor:
    weights = _tensor(f"weights_{part}", weights).to(torch.get_default_dtype())
    if weights.numel() == 0:
        raise ValueError(f"weights_{part} has shape {tuple(weights.shape)}; give {len(y)} numbers")
    if weights.shape[:1] != y.shape[:1] or weights.min() < 0 or not 0 < weights.sum() < math.inf:
        raise ValueError(
            f"weights_{part} has shape {tuple(weights.shape)}, minimum {weights.min()} and sum "
            f"{weights.sum()}; give {len(y)} samples numbers from 0, not all of them 0"
        )
    return weights


def _check_alike(train: tuple[Tensor, ...], val: tuple[Tensor, ...]) -> None:
    for name, first, second in zip(("x", "y", "weights"), train, val, strict=False):
        if first.shape[1:] != second.shape[1:]:
            raise ValueError(
                f"{name}_val holds samples of shape {tuple(second.shape[1:])} but {name}_train of "
                f"shape {tuple(first.shape[1:])}; both must have the same shape"
            )
        if first.dtype != second.dtype:
            raise ValueError(
                f"{name}_val has dtype {second.dtype} but {name}_train {first.dtype}; both must "
                "have the same"
            )
