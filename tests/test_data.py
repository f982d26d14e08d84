"""TensorData: what it takes, and what it hands out."""

import pytest
import torch

from course_lib.data import TensorData
from course_lib.datasets import Digits


@pytest.fixture(scope="module")
def digits():
    return Digits()


def test_part_is_stratified(digits):
    part = digits.part(100, 50)
    assert part.y_train.bincount().tolist() == pytest.approx([10] * 10, abs=1)
    assert len(part.x_val) == len(part.y_val) == 50


def test_dataloaders_serve_plain_lightning(digits):
    loader = TensorData(digits.x_train, digits.y_train, digits.x_val, digits.y_val, drop_last=True)
    assert [len(x) for x, _ in loader.train_dataloader()] == [32] * 44
    assert sum(len(x) for x, _ in loader.val_dataloader()) == 360


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
