"""Data held in memory as tensors."""

from numbers import Integral

import torch
from pytorch_lightning import LightningDataModule
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset


class TensorData(LightningDataModule):
    """Tensors for training and for validation, kept in memory.

    Args:
        x_train: training samples, shape ``(N, *shape)``; floats become PyTorch's default
            dtype, float32.
        y_train: their class labels, whole numbers from 0, shape ``(N,)``.
        x_val: held-out samples, shape ``(M, *shape)``.
        y_val: their class labels, shape ``(M,)``.
        batch_size: used by the DataLoaders of a plain Lightning run; `fit` brings its own.
        drop_last: leave out the last batch of an epoch when it is smaller than the others.

    Raises:
        ValueError: tensors of unequal length, without samples, with NaN or infinite values, or
            labels that are not whole numbers from 0.
    """

    def __init__(self, x_train, y_train, x_val, y_val, *, batch_size: int = 32, drop_last=False):
        super().__init__()
        self.x_train, self.y_train = _checked_pair("train", x_train, y_train)
        self.x_val, self.y_val = _checked_pair("val", x_val, y_val)
        self.shape = self.x_train.shape[1:]
        if self.x_val.shape[1:] != self.shape:
            raise ValueError(
                f"x_val holds samples of shape {tuple(self.x_val.shape[1:])} but x_train of shape "
                f"{tuple(self.shape)}; both must have the same shape"
            )
        self.batch_size, self.drop_last = batch_size, drop_last
        self.name = type(self).__name__

    def __str__(self) -> str:
        return (
            f"{self.name}: {len(self.x_train):,} training and {len(self.x_val):,} "
            f"held-out samples of shape {tuple(self.shape)}"
        )

    __repr__ = __str__

    def train_dataloader(self) -> DataLoader:
        return DataLoader(
            TensorDataset(self.x_train, self.y_train),
            self.batch_size,
            shuffle=True,
            drop_last=self.drop_last,
        )

    def val_dataloader(self) -> DataLoader:
        return DataLoader(TensorDataset(self.x_val, self.y_val), self.batch_size)

    def checked_batch_size(self, batch_size: int | str) -> int:
        """The batch size in samples: a whole number from 1 to N, or "full" for all N.

        Raises:
            ValueError: anything else.
        """
        samples = len(self.x_train)
        if batch_size == "full":
            return samples
        whole = isinstance(batch_size, Integral) and not isinstance(batch_size, bool)
        if not whole or not 1 <= batch_size <= samples:
            raise ValueError(
                f"batch_size={batch_size!r} must be a whole number from 1 to {samples} (the "
                'number of training samples) or "full"'
            )
        return int(batch_size)

    def part(self, train_size: int, val_size: int, seed: int = 0) -> "TensorData":
        """A stratified random part: each class keeps its share."""
        train = _stratified(self.y_train, train_size, seed)
        val = _stratified(self.y_val, val_size, seed)
        tensors = self.x_train[train], self.y_train[train], self.x_val[val], self.y_val[val]
        part = TensorData(*tensors, batch_size=self.batch_size, drop_last=self.drop_last)
        part.name = f"part of {self.name}"
        return part


def _checked_pair(part: str, x, y) -> tuple[Tensor, Tensor]:
    x, y = torch.as_tensor(x), torch.as_tensor(y)
    if x.ndim == 0 or y.ndim == 0 or len(x) == 0 or len(x) != len(y):
        raise ValueError(
            f"x_{part} has shape {tuple(x.shape)} and y_{part} {tuple(y.shape)}; both need the "
            "same number of samples, at least one, along their first axis"
        )
    if y.is_floating_point() or y.dtype is torch.bool or y.min() < 0:
        raise ValueError(
            f"y_{part} has dtype {y.dtype} and minimum {y.min()}; class labels must be whole "
            "numbers from 0"
        )
    if not torch.isfinite(x).all():
        raise ValueError(
            f"x_{part} has {(~torch.isfinite(x)).sum()} values that are NaN or infinite; "
            "remove or replace those samples"
        )
    return (x.to(torch.get_default_dtype()) if x.is_floating_point() else x), y.long()


def _stratified(labels: Tensor, size: int, seed: int) -> Tensor:
    everything = torch.arange(len(labels))
    if size == len(labels):
        return everything
    part, _ = train_test_split(everything, train_size=size, stratify=labels, random_state=seed)
    return part
