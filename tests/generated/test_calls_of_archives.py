"""Generated calls: archives of images that are damaged in every way, and folders mistyped."""

import io
import zipfile
import zlib
from unittest.mock import patch

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import calls
import kinds
from calls import Argument, Call, called, judge
from course_lib import load_images
from course_lib.data import SPLITS
from course_lib.datasets import ARCHIVES, Archive, Images, _content_digest

N, M = 12, 6
Y = np.arange(N) % 3
SPLIT = Argument([*SPLITS, np.str_("seed")], ["Fixed", "", *kinds.NO_TEXT], "split=")


def content():
    images = np.random.default_rng(0).integers(0, 256, (N, 8, 8), np.uint8)
    arrays = {"x_train": images, "y_train": Y.astype(np.uint8)}
    return {**arrays, "x_test": images[:M], "y_test": Y[:M].astype(np.uint8)}


def packed(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def repacked(method):
    """The same arrays, compressed in another way: not what was published, but whole."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archived:
        for name in (old := zipfile.ZipFile(io.BytesIO(BYTES))).namelist():
            archived.writestr(name, old.read(name))
    return file.getvalue()


BYTES = packed(**content())
DIGEST = _content_digest(list(content().values()))
SMALL = {"small": Archive("Small", "file:///nowhere.npz", "0" * 64, DIGEST)}
METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
WHOLE = [BYTES, *map(repacked, METHODS)]
HUGE_SHAPE = b"'shape': (12, 8, 8)", b"'shape': (1<<60,)"


def flipped(data, position, bits):
    position %= len(data)
    return data[:position] + bytes([data[position] ^ bits]) + data[position + 1 :]


DAMAGED = st.one_of(
    st.builds(lambda data, size: data[: size % len(data)], st.sampled_from(WHOLE), st.integers(0)),
    st.binary(max_size=200),
    st.builds(
        lambda head: head + BYTES[len(head) :],
        st.binary(min_size=4, max_size=40).filter(lambda head: head != BYTES[: len(head)]),
    ),
    st.sampled_from(
        [
            *(b"", b"PK", zlib.compress(BYTES), packed(), packed(x_train=np.zeros(3))),
            packed(**{**content(), "y_test": content()["y_test"][::-1]}),
            packed(**{**content(), "x_train": np.array([{}], object)}),
            packed(**{**content(), "x_train": content()["x_train"] + 1}),
            b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (9"
            + b"9" * 17,
        ]
    ),
)
FLIPPED = st.builds(flipped, st.sampled_from(WHOLE), st.integers(0, 10**6), st.integers(1, 255))


def archive(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "archives"
    folder.mkdir(exist_ok=True)
    (folder / "small.npz").write_bytes(data)
    return {"COURSE_DATA_DIR": str(folder), "COURSE_DATASET": "small"}


@calls.examples(4)
@given(called(mnist_size=Argument(kinds.whole(1, 20), kinds.no_whole(0, -1)), split=SPLIT))
def test_load_images(tmp_path_factory, call):
    with patch.dict("os.environ", archive(tmp_path_factory, BYTES)), patch.dict(ARCHIVES, SMALL):

        def right(data, mnist_size, split):
            assert len(data.x_train) == min(mnist_size, N) and data.split == split
            assert len(data.x_val) == (M if mnist_size >= N else max(1, mnist_size // 6))

        judge("load_images", load_images, call, right)


@calls.examples(22)
@given(
    called(
        data=Argument(st.sampled_from(WHOLE), DAMAGED, "damaged or no Small|does not hold Small")
    )
)
def test_archives(tmp_path_factory, call):
    def read(data):
        with patch.dict("os.environ", archive(tmp_path_factory, data)), patch.dict(ARCHIVES, SMALL):
            return Images("small")

    def right(images, data):
        assert images.y_train.tolist() == Y.tolist() and images.x_train.shape == (N, 1, 8, 8)

    judge("archives", read, call, right)


@calls.examples(11)
@given(FLIPPED)
def test_archives_with_a_wrong_bit(tmp_path_factory, data):
    """Some bits stand for nothing, such as a date: then the content is right."""

    def read(data):
        with patch.dict("os.environ", archive(tmp_path_factory, data)), patch.dict(ARCHIVES, SMALL):
            try:
                return Images("small").y_train.tolist()
            except ValueError as error:
                assert "damaged or no Small" in str(error) or "does not hold Small" in str(error)
                return None

    def right(labels, data):
        assert labels in (None, Y.tolist())

    judge("archives, one bit", read, Call({"data": data}), right)


@calls.examples(4)
@given(
    called(
        folder=Argument(
            ["archives"], ["archive", "archives/small.npz", "Archives", "a/b"], "COURSE_DATA_DIR="
        )
    )
)
def test_mistyped_folders(tmp_path_factory, call):
    archive(tmp_path_factory, BYTES)
    base = tmp_path_factory.getbasetemp()

    def read(folder):
        with (
            patch.dict("os.environ", COURSE_DATA_DIR=str(base / folder)),
            patch.dict(ARCHIVES, SMALL),
        ):
            return Images("small")

    def right(images, folder):
        assert str(images).startswith("Small: 12")

    there = set(base.iterdir())
    judge("data folders", read, call, right, (ValueError, FileNotFoundError, NotADirectoryError))
    assert set(base.iterdir()) == there, "a mistyped folder is not made"
