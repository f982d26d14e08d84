"""Digits and archives of images: splits, downloads, and files that are damaged in many ways."""

import http.server
import io
import shutil
import threading
import zipfile
from functools import partial

import numpy as np
import pooch
import pytest
import torch

from course_lib import datasets as module
from course_lib.datasets import MNIST, Archive, Digits, Images, load_images

KEYS = ("x_train", "y_train", "x_test", "y_test")


@pytest.fixture(scope="module")
def digits():
    return Digits()


def change_row(monkeypatch, **changes):
    """Change MNIST's row of the table."""
    monkeypatch.setitem(module.ARCHIVES, "mnist", module.ARCHIVES["mnist"]._replace(**changes))


@pytest.fixture
def small_mnist(tmp_path, monkeypatch):
    """A folder with an MNIST of 240 random images, which counts as the real one."""
    random = np.random.default_rng(0)
    labels = np.arange(240, dtype=np.uint8) % 10
    images = random.integers(0, 256, (240, 28, 28), dtype=np.uint8)
    arrays = [images[:200], labels[:200], images[200:], labels[200:]]
    np.savez_compressed(tmp_path / "mnist.npz", **dict(zip(KEYS, arrays, strict=True)))
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path))
    change_row(monkeypatch, content_sha256=module._content_digest(arrays))
    return tmp_path


@pytest.fixture
def serve():
    """Serves a folder at an address of this machine."""
    servers = []

    def start(folder):
        handler = partial(http.server.SimpleHTTPRequestHandler, directory=folder)
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_digits_split_is_stratified_and_standardized(digits):
    assert digits.x_train.shape == (1437, 1, 8, 8) and digits.x_val.shape == (360, 1, 8, 8)
    assert digits.x_train.dtype == torch.float32 and digits.y_train.dtype == torch.int64
    assert digits.x_train.mean().abs() < 1e-4 and (digits.x_train.std() - 1).abs() < 1e-3
    assert digits.x_val.mean().abs() > 1e-4, "the held-out images must not set the scale"
    shares = [labels.bincount() / len(labels) for labels in (digits.y_train, digits.y_val)]
    torch.testing.assert_close(*shares, atol=0.003, rtol=0)
    assert torch.equal(digits.x_train, Digits().x_train)
    assert torch.equal(digits.x_train, Digits(split="fixed", batch_size=8).x_train)


@pytest.mark.parametrize("images", [Digits, MNIST])
def test_split_and_loading_are_handed_on(small_mnist, images):
    data = images(split="seed", batch_size=8, drop_last=True)
    assert (data.split, data.batch_size, data.drop_last) == ("seed", 8, True)
    assert images().split == "fixed" and images().of_seed(3).x_train.shape == data.x_train.shape
    own = data.of_seed(3)
    assert own.x_train.shape == data.x_train.shape and own.x_val.shape == data.x_val.shape
    assert not torch.equal(own.y_train, data.y_train)


def test_no_image_is_in_both_parts(digits):
    train, val = ({image.numpy().tobytes() for image in x} for x in (digits.x_train, digits.x_val))
    assert not train & val


def test_load_images_chooses_by_environment(small_mnist, monkeypatch):
    monkeypatch.setenv("COURSE_DATASET", "mnist")
    assert str(load_images()) == "MNIST: 200 training and 40 held-out samples of shape (1, 28, 28)"
    assert str(load_images()) == str(MNIST())
    assert len(load_images(mnist_size=120).x_val) == 20
    monkeypatch.setenv("COURSE_DATASET", "digits")
    assert isinstance(load_images(), Digits)
    monkeypatch.setenv("COURSE_DATASET", "cifar")
    with pytest.raises(ValueError, match='COURSE_DATASET=\'cifar\' must be "digits" or "mnist"'):
        load_images()


def test_another_data_set_is_one_row(tmp_path, monkeypatch):
    arrays = [np.zeros((6, 5, 5)), np.arange(6) % 3, np.ones((3, 5, 5)), np.arange(3)]
    arrays[0][::2] = 1
    names = ("train", "train_labels", "test", "test_labels")
    np.savez(tmp_path / "clothes.npz", **dict(zip(names, arrays, strict=True)))
    row = Archive("Clothes", "http://127.0.0.1:9/", "", module._content_digest(arrays), names)
    monkeypatch.setitem(module.ARCHIVES, "clothes", row)
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COURSE_DATASET", "clothes")
    expected = "Clothes: 6 training and 3 held-out samples of shape (1, 5, 5)"
    assert str(load_images()) == str(Images("clothes")) == expected
    assert Images("clothes").x_train.unique().tolist() == [-1, 1]


def packed(kind, content, zipped=zipfile.ZIP_STORED):
    """Bytes of a zip archive whose four files have one content."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipped) as archive:
        for key in KEYS:
            archive.writestr(key + kind, content)
    return file.getvalue()


def saved(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def flipped(content, marker, offset):
    """One byte changed, `offset` behind the first marker."""
    place = content.index(marker) + offset
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


ZEROS = saved(np.zeros(100))
DAMAGED = {
    "empty": b"",
    "text": b"<html>Not found</html>",
    "one array": ZEROS,
    "pickle": saved(np.array([None])),
    "pickles": packed(".npy", saved(np.array([None]))),
    "missing": packed(".txt", b""),
    "deflate": flipped(packed(".npy", ZEROS, zipfile.ZIP_DEFLATED), b"x_train.npy", 30),
    "lzma": flipped(packed(".npy", ZEROS, zipfile.ZIP_LZMA), b"x_train.npy", 40),
    "bzip2": flipped(packed(".npy", ZEROS, zipfile.ZIP_BZIP2), b"x_train.npy", 40),
    "header": packed(".npy", ZEROS[:20]),
    "short": packed(".npy", ZEROS[:-100]),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_named(small_mnist, content):
    (small_mnist / "mnist.npz").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"mnist.npz is damaged or no MNIST archive.*delete it"
    ) as error:
        MNIST()
    assert "pickle" not in str(error.value), "NumPy's advice is no remedy here"


@pytest.mark.parametrize(
    "error", [MemoryError, AttributeError, TypeError, KeyError, EOFError, NotImplementedError]
)
def test_whatever_numpy_raises_on_a_damaged_file_is_named(small_mnist, monkeypatch, error):
    def load(file):
        raise error("allow_pickle")

    monkeypatch.setattr(np, "load", load)
    with pytest.raises(ValueError, match=rf"no MNIST archive \({error.__name__} while") as e:
        MNIST()
    assert "pickle" not in str(e.value)


def test_mnist_truncated(small_mnist):
    file = small_mnist / "mnist.npz"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"mnist.npz is damaged or no MNIST archive.*delete it"):
        MNIST()


def test_mnist_altered(small_mnist):
    file = small_mnist / "mnist.npz"
    arrays = dict(np.load(file))
    arrays["y_train"][17] += 1
    np.savez_compressed(file, **arrays)
    with pytest.raises(ValueError, match=r"does not hold MNIST's images and labels; delete it"):
        MNIST()


def test_a_file_that_cannot_be_read_is_not_called_damaged(small_mnist):
    (small_mnist / "mnist.npz").unlink()
    (small_mnist / "mnist.npz").mkdir()
    with pytest.raises(OSError, match="mnist.npz"):
        MNIST()


def test_a_folder_that_does_not_exist_is_named_and_not_made(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path / "mistyped"))
    with pytest.raises(FileNotFoundError, match="COURSE_DATA_DIR='.*mistyped' must be a folder"):
        MNIST()
    assert not (tmp_path / "mistyped").exists()


def test_mnist_without_file_and_network(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path))
    change_row(monkeypatch, url="http://127.0.0.1:9/mnist.npz")
    with pytest.raises(OSError, match=r"could not be downloaded.*COURSE_DATA_DIR.*Digits\(\)"):
        MNIST()


def test_mnist_is_downloaded_once(small_mnist, serve, tmp_path_factory, monkeypatch, capfd):
    digest = pooch.file_hash(small_mnist / "mnist.npz")
    url = f"{serve(small_mnist)}/mnist.npz"
    change_row(monkeypatch, url=url, archive_sha256=digest)
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path_factory.mktemp("empty")))
    assert len(MNIST().x_train) == 200
    change_row(monkeypatch, url="http://127.0.0.1:9/mnist.npz")
    assert len(MNIST().x_train) == 200
    assert "100%" in capfd.readouterr().err


def test_mnist_download_with_another_hash_is_refused(small_mnist, serve, tmp_path, monkeypatch):
    source = tmp_path / "other" / "mnist.npz"
    source.parent.mkdir()
    shutil.move(small_mnist / "mnist.npz", source)
    change_row(monkeypatch, url=f"{serve(source.parent)}/mnist.npz")
    with pytest.raises(OSError, match=r"could not be downloaded.*hash"):
        MNIST()


@pytest.mark.parametrize("size", [0, -1, 2.5, None, "60000", True])
def test_a_size_that_is_no_whole_number_is_named(size):
    with pytest.raises(ValueError, match=f"^mnist_size={size!r} must be a whole number from 1"):
        load_images(size)


@pytest.mark.parametrize("name", ["cifar", None, ["mnist"]])
def test_an_unknown_archive_is_named(name):
    with pytest.raises(ValueError, match=r"^name=.* must be one of mnist"):
        Images(name)
