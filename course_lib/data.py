"""Data held in memory as tensors: the digits, MNIST, or any tensors of yours."""

import hashlib
import os
import zipfile
from numbers import Integral
from pathlib import Path

import numpy as np
import pooch
import torch
from pytorch_lightning import LightningDataModule
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
MNIST_ARCHIVE_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
MNIST_CONTENT_SHA256 = "06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16"
REMEDY = "delete it and run again to download it afresh"
MNIST_ARRAYS = ("x_train", "y_train", "x_test", "y_test")


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


class Digits(TensorData):
    """scikit-learn's digits: 1,437 training and 360 held-out images of 8x8 pixels, no download.

    The split is stratified and always the same; pixels are standardized with the mean and the
    standard deviation of all training pixels. Source: Alpaydin & Kaynak 1998, "Optical
    recognition of handwritten digits", UCI machine learning repository (its test part).

    Args:
        **loading: `batch_size` and `drop_last`, as in `TensorData`.
    """

    def __init__(self, **loading):
        digits = load_digits()
        images = digits.images[:, None].astype(np.float32)
        x_train, x_val, y_train, y_val = train_test_split(
            images, digits.target, test_size=360, stratify=digits.target, random_state=0
        )
        super().__init__(*_standardized(x_train, x_val, y_train, y_val), **loading)


class MNIST(TensorData):
    """MNIST: 60,000 training and 10,000 held-out images of 28x28 pixels (LeCun et al. 1998).

    Reads ``mnist.npz`` from the folder that the environment variable COURSE_DATA_DIR names, or
    from the user's cache folder; where it is missing it is downloaded there, once. Its content
    is verified each time. Pixels are standardized as in `Digits`.

    Args:
        **loading: `batch_size` and `drop_last`, as in `TensorData`.

    Raises:
        OSError: there is no file and it cannot be downloaded.
        ValueError: the file is truncated or its content is not MNIST.
    """

    def __init__(self, **loading):
        arrays = _read_mnist(_mnist_file())
        x_train, x_val = (arrays[key][:, None].astype(np.float32) for key in ("x_train", "x_test"))
        y_train, y_val = arrays["y_train"], arrays["y_test"]
        super().__init__(*_standardized(x_train, x_val, y_train, y_val), **loading)


def load_images(mnist_size: int = 60_000) -> TensorData:
    """The lessons' images: `Digits`, or `MNIST` where the environment says COURSE_DATASET=mnist.

    Args:
        mnist_size: how many of MNIST's training images to take; of the held-out images the same
            share is taken, both stratified. The digits are few and always whole.

    Raises:
        ValueError: COURSE_DATASET is neither "digits" nor "mnist".
    """
    name = os.environ.get("COURSE_DATASET") or "digits"
    if name == "digits":
        return Digits()
    if name != "mnist":
        raise ValueError(f'COURSE_DATASET={name!r} is not known; set it to "digits" or "mnist"')
    mnist = MNIST()
    if mnist_size >= len(mnist.x_train):
        return mnist
    return mnist.part(mnist_size, mnist_size // 6)


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


def _standardized(x_train, x_val, y_train, y_val):
    mean, deviation = x_train.mean(), x_train.std()
    return (x_train - mean) / deviation, y_train, (x_val - mean) / deviation, y_val


def _stratified(labels: Tensor, size: int, seed: int) -> Tensor:
    everything = torch.arange(len(labels))
    if size == len(labels):
        return everything
    part, _ = train_test_split(everything, train_size=size, stratify=labels, random_state=seed)
    return part


def _mnist_file() -> Path:
    folder = Path(os.environ.get("COURSE_DATA_DIR") or pooch.os_cache("course_lib"))
    path = folder / "mnist.npz"
    if not path.exists():
        try:
            pooch.retrieve(MNIST_URL, MNIST_ARCHIVE_SHA256, path.name, folder, progressbar=True)
        except (OSError, ValueError) as error:
            raise OSError(
                f"{path} does not exist and could not be downloaded ({error}); put mnist.npz "
                "there, let COURSE_DATA_DIR name its folder, or use Digits()"
            ) from error
    return path


def _read_mnist(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path) as archive:
            arrays = {key: archive[key] for key in MNIST_ARRAYS}
    except (zipfile.BadZipFile, ValueError, EOFError, KeyError) as error:
        raise ValueError(f"{path} is not a whole MNIST archive ({error}); {REMEDY}") from error
    if _content_digest(arrays) != MNIST_CONTENT_SHA256:
        raise ValueError(f"{path} does not hold MNIST's images and labels; {REMEDY}")
    return arrays


def _content_digest(arrays: dict[str, np.ndarray]) -> str:
    return hashlib.sha256(b"".join(arrays[key].tobytes() for key in MNIST_ARRAYS)).hexdigest()
