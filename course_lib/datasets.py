"""The course's images: the digits, and those that are read from an archive, such as MNIST."""

import hashlib
import io
import os
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import platformdirs

from course_lib.checks import whole
from course_lib.data import TensorData


class Archive(NamedTuple):
    """An image data set in NumPy's format npz: where it is, and how to know that it is whole."""

    title: str
    url: str
    archive_sha256: str  # of the file as it is downloaded
    content_sha256: str  # of the arrays' bytes, one after the other
    arrays: tuple[str, str, str, str] = ("x_train", "y_train", "x_test", "y_test")


# A new data set is one row here: `Images("name")` reads it, and COURSE_DATASET=name chooses it.
ARCHIVES = {
    "mnist": Archive(
        "MNIST",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
        "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
        "06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16",
    ),
}


class Digits(TensorData):
    """scikit-learn's digits: 1,437 training and 360 held-out images of 8x8 pixels, no download.

    The split is stratified; pixels are standardized with the mean and the standard deviation of
    all training pixels of the fixed split. Source: Alpaydin & Kaynak 1998, "Optical recognition of
    handwritten digits", UCI machine learning repository (its test part).

    Args:
        split: "fixed" for the same split in every run, or "seed": each seed gets a stratified split
            of its own, of the same sizes.
        **loading: `batch_size` and `drop_last`, as in `TensorData`.
    """

    def __init__(self, *, split: str = "fixed", **loading: Any) -> None:
        from sklearn.datasets import load_digits  # slow to import, and seldom needed
        from sklearn.model_selection import train_test_split

        digits = load_digits()
        images = digits.images[:, None].astype(np.float32)
        x_train, x_val, y_train, y_val = train_test_split(
            images, digits.target, test_size=360, stratify=digits.target, random_state=0
        )
        tensors = _standardized(x_train, x_val, y_train, y_val)
        super().__init__(*tensors, split=split, **loading)


class Images(TensorData):
    """The images of one of ARCHIVES.

    Reads ``<name>.npz`` from the folder that the environment variable COURSE_DATA_DIR names, or
    from the user's cache folder; where it is missing it is downloaded there, once. Its content
    is verified each time. Pixels are standardized as in `Digits`.

    Args:
        name: a key of ARCHIVES.
        split, **loading: as in `Digits`; the fixed split is that of the archive.

    Raises:
        OSError: there is no file and it cannot be downloaded, or no folder COURSE_DATA_DIR.
        ValueError: an unknown name; the file is damaged or its content is not the data set.
    """

    def __init__(self, name: str, *, split: str = "fixed", **loading: Any) -> None:
        if name not in list(ARCHIVES):
            raise ValueError(f"{name=} must be one of {', '.join(ARCHIVES)}")
        archive = ARCHIVES[name]
        x_train, y_train, x_val, y_val = _read(_file(name), archive)
        x_train, x_val = (images[:, None].astype(np.float32) for images in (x_train, x_val))
        tensors = _standardized(x_train, x_val, y_train, y_val)
        super().__init__(*tensors, split=split, **loading)
        self.name = archive.title


class MNIST(Images):
    """MNIST: 60,000 training and 10,000 held-out images of 28x28 pixels (LeCun et al. 1998).

    Args:
        split, **loading: as in `Digits`; the fixed split is LeCun's.

    Raises:
        OSError, ValueError: as `Images`.
    """

    def __init__(self, *, split: str = "fixed", **loading: Any) -> None:
        super().__init__("mnist", split=split, **loading)


def load_images(mnist_size: int = 60_000, *, split: str = "fixed") -> TensorData:
    """The lessons' images: `Digits`, or those of ARCHIVES that COURSE_DATASET names.

    Args:
        mnist_size: how many of the archive's training images to take; of the held-out images the
            same share is taken, both stratified. The digits are few and always whole.
        split: as in `Digits`.

    Raises:
        ValueError: COURSE_DATASET is neither "digits" nor a key of ARCHIVES, such as "mnist"; a
            size below 1.
    """
    mnist_size = whole("mnist_size", mnist_size)
    name = os.environ.get("COURSE_DATASET") or "digits"
    if name == "digits":
        return Digits(split=split)
    if name not in ARCHIVES:
        known = " or ".join(f'"{each}"' for each in ["digits", *ARCHIVES])
        raise ValueError(f"COURSE_DATASET={name!r} must be {known}")
    images = Images(name, split=split)
    if mnist_size >= len(images.x_train):
        return images
    return images.part(mnist_size, max(1, mnist_size // 6))


def _standardized(
    x_train: np.ndarray, x_val: np.ndarray, y_train: np.ndarray, y_val: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    mean, deviation = x_train.mean(), x_train.std()
    return (x_train - mean) / deviation, y_train, (x_val - mean) / deviation, y_val


def _file(name: str) -> Path:
    """The archive's file, downloaded where it is missing."""
    path, archive = _folder() / f"{name}.npz", ARCHIVES[name]
    if not path.exists():
        try:
            _download(archive, path)
        except (OSError, ValueError) as error:
            raise OSError(
                f"{path} does not exist and could not be downloaded ({error}); put {path.name} "
                "there, let COURSE_DATA_DIR name its folder, or use Digits()"
            ) from error
    return path


def _download(archive: Archive, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")  # from tqdm, in every notebook
        import pooch
    pooch.retrieve(archive.url, archive.archive_sha256, path.name, path.parent, progressbar=True)


def _folder() -> Path:
    chosen = os.environ.get("COURSE_DATA_DIR")
    if not chosen:
        return Path(platformdirs.user_cache_dir("course_lib"))
    folder = Path(chosen).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(
            f"COURSE_DATA_DIR={chosen!r} must be a folder that exists: correct it, or make the "
            "folder to download to it"
        )
    return folder


def _read(path: Path, archive: Archive) -> list[np.ndarray]:
    remedy = "delete it and run again to download it afresh"
    content = io.BytesIO(path.read_bytes())  # what fails from here on is the content's fault
    try:
        with np.load(content) as file:
            arrays = [file[key] for key in archive.arrays]
    except Exception as error:  # NumPy, zipfile and the decompressors raise a dozen kinds
        raise ValueError(
            f"{path} is damaged or no {archive.title} archive ({type(error).__name__} while "
            f"reading it); {remedy}"
        ) from error
    if _content_digest(arrays) != archive.content_sha256:
        raise ValueError(f"{path} does not hold {archive.title}'s images and labels; {remedy}")
    return arrays


def _content_digest(arrays: list[np.ndarray]) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
