import http.server
import shutil
import threading
from functools import partial

import numpy as np
import pooch
import pytest
import torch

from course_lib import datasets as module
from course_lib.data import TensorData
from course_lib.datasets import MNIST, Digits, load_images


@pytest.fixture(scope="module")
def digits():
    return Digits()


@pytest.fixture
def small_mnist(tmp_path, monkeypatch):
    """A folder with an MNIST of 240 random images, which counts as the real one."""
    random = np.random.default_rng(0)
    labels = np.arange(240, dtype=np.uint8) % 10
    images = random.integers(0, 256, (240, 28, 28), dtype=np.uint8)
    arrays = {"x_train": images[:200], "y_train": labels[:200]}
    arrays |= {"x_test": images[200:], "y_test": labels[200:]}
    np.savez_compressed(tmp_path / "mnist.npz", **arrays)
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(module, "MNIST_CONTENT_SHA256", module._content_digest(arrays))
    return tmp_path


def test_digits_split_is_stratified_and_standardized(digits):
    assert digits.x_train.shape == (1437, 1, 8, 8) and digits.x_val.shape == (360, 1, 8, 8)
    assert digits.x_train.dtype == torch.float32 and digits.y_train.dtype == torch.int64
    assert digits.x_train.mean().abs() < 1e-4 and (digits.x_train.std() - 1).abs() < 1e-3
    assert digits.x_val.mean().abs() > 1e-4, "the held-out images must not set the scale"
    shares = [labels.bincount() / len(labels) for labels in (digits.y_train, digits.y_val)]
    torch.testing.assert_close(*shares, atol=0.003, rtol=0)
    assert torch.equal(digits.x_train, Digits().x_train)


def test_no_image_is_in_both_parts(digits):
    train, val = ({image.numpy().tobytes() for image in x} for x in (digits.x_train, digits.x_val))
    assert not train & val


def test_part_is_stratified(digits):
    part = digits.part(100, 50)
    assert part.y_train.bincount().tolist() == pytest.approx([10] * 10, abs=1)
    assert len(part.x_val) == len(part.y_val) == 50


def test_dataloaders_serve_plain_lightning(digits):
    loader = TensorData(digits.x_train, digits.y_train, digits.x_val, digits.y_val, drop_last=True)
    assert [len(x) for x, _ in loader.train_dataloader()] == [32] * 44
    assert sum(len(x) for x, _ in loader.val_dataloader()) == 360


def test_load_images_chooses_by_environment(small_mnist, monkeypatch):
    monkeypatch.setenv("COURSE_DATASET", "mnist")
    assert str(load_images()) == "MNIST: 200 training and 40 held-out samples of shape (1, 28, 28)"
    assert len(load_images(mnist_size=120).x_val) == 20
    monkeypatch.setenv("COURSE_DATASET", "digits")
    assert isinstance(load_images(), Digits)
    monkeypatch.setenv("COURSE_DATASET", "cifar")
    with pytest.raises(ValueError, match='COURSE_DATASET=\'cifar\'.*"digits" or "mnist"'):
        load_images()


def test_mnist_truncated(small_mnist):
    file = small_mnist / "mnist.npz"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"mnist.npz is not a whole MNIST archive.*delete it"):
        MNIST()


def test_mnist_altered(small_mnist):
    file = small_mnist / "mnist.npz"
    arrays = dict(np.load(file))
    arrays["y_train"][17] += 1
    np.savez_compressed(file, **arrays)
    with pytest.raises(ValueError, match=r"does not hold MNIST's images and labels; delete it"):
        MNIST()


def test_mnist_without_file_and_network(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(module, "MNIST_URL", "http://127.0.0.1:9/mnist.npz")
    with pytest.raises(OSError, match=r"could not be downloaded.*COURSE_DATA_DIR.*Digits\(\)"):
        MNIST()


def test_mnist_is_downloaded_once(small_mnist, tmp_path_factory, monkeypatch, capfd):
    served = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0),
        partial(http.server.SimpleHTTPRequestHandler, directory=small_mnist),
    )
    threading.Thread(target=served.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{served.server_port}/mnist.npz"
    monkeypatch.setattr(module, "MNIST_URL", address)
    digest = pooch.file_hash(small_mnist / "mnist.npz")
    monkeypatch.setattr(module, "MNIST_ARCHIVE_SHA256", digest)
    folder = tmp_path_factory.mktemp("empty")
    monkeypatch.setenv("COURSE_DATA_DIR", str(folder))
    assert len(MNIST().x_train) == 200
    served.shutdown()
    assert len(MNIST().x_train) == 200
    assert "100%" in capfd.readouterr().err


def test_mnist_download_with_another_hash_is_refused(small_mnist, tmp_path, monkeypatch):
    source = tmp_path / "other" / "mnist.npz"
    source.parent.mkdir()
    shutil.move(small_mnist / "mnist.npz", source)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=source.parent)
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    monkeypatch.setattr(module, "MNIST_URL", f"http://127.0.0.1:{served.server_port}/mnist.npz")
    with pytest.raises(OSError, match=r"could not be downloaded.*hash"):
        MNIST()
    served.shutdown()


X, Y = torch.zeros(6, 2), torch.arange(6) % 3


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ((X, Y[:5], X, Y), r"x_train has shape \(6, 2\) and y_train \(5,\).*same number"),
        ((X, Y, X[:4], Y), r"x_val has shape \(4, 2\) and y_val \(6,\)"),
        ((X[:0], Y[:0], X, Y), r"x_train has shape \(0, 2\).*at least one"),
        ((X / 0, Y, X, Y), r"x_train has 12 values that are NaN or infinite"),
        ((X, Y.float(), X, Y), r"y_train has dtype torch.float32.*whole numbers from 0"),
        ((X, Y, X, Y - 1), r"y_val has dtype torch.int64 and minimum -1"),
        ((X, Y, X[:, :1], Y), r"x_val holds samples of shape \(1,\) but x_train of shape \(2,\)"),
    ],
)
def test_tensors_that_do_not_fit(tensors, message):
    with pytest.raises(ValueError, match=message):
        TensorData(*tensors)


@pytest.mark.parametrize("batch_size", [0, -4, 2.5, 32.0, 7, "half", True, None])
def test_batch_sizes_that_do_not_fit(batch_size):
    message = rf'batch_size={batch_size!r} must be a whole number from 1 to 6 .* or "full"'
    with pytest.raises(ValueError, match=message):
        TensorData(X, Y, X, Y).checked_batch_size(batch_size)
