"""The course's images: the digits, or MNIST."""

import hashlib
import os
import zipfile
from pathlib import Path

import numpy as np
import pooch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from course_lib.data import TensorData

MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
MNIST_ARCHIVE_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
MNIST_CONTENT_SHA256 = "06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16"
REMEDY = "delete it and run again to download it afresh"
MNIST_ARRAYS = ("x_train", "y_train", "x_test", "y_test")


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


def _standardized(x_train, x_val, y_train, y_val):
    mean, deviation = x_train.mean(), x_train.std()
    return (x_train - mean) / deviation, y_train, (x_val - mean) / deviation, y_val


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
