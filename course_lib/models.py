"""The networks of the course: ordinary modules, small enough to read in one sitting."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from operator import index
from typing import Any

import torch
from torch import nn

LARGEST_WIDTH = 2**31 - 1


class MLP(nn.Sequential):
    """Multi-layer perceptron: linear layers with ReLU between them.

    Args:
        shape: shape of one sample; it is flattened first.
        hidden: width of each hidden layer, in order; empty for a linear classifier.
        classes: number of outputs.

    Shapes: input ``(B, *shape)``, output ``(B, classes)`` (logits).

    Raises:
        ValueError: other things than whole numbers from 1.
    """

    def __init__(
        self, shape: Sequence[int] = (1, 8, 8), hidden: Sequence[int] = (32,), classes: int = 10
    ) -> None:
        widths = [prod(_sizes("shape", shape, least=1)), *_sizes("hidden", hidden)]
        (classes,) = _sizes("classes", [classes])
        layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
        super().__init__(nn.Flatten(), *layers, nn.Linear(widths[-1], classes))


class MaxPool2d(nn.MaxPool2d):
    """`torch.nn.MaxPool2d` over 2x2 pixels; without gradients, twice as fast on a CPU.

    PyTorch's kernel goes through the pixels one by one, since it also notes where each maximum
    came from; only the backward pass needs that.

    Shapes: input ``(..., H, W)``, output ``(..., H // 2, W // 2)``.
    """

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            return super().forward(images)
        height, width = (side - side % 2 for side in images.shape[-2:])
        columns = images[..., :height, :width].unflatten(-1, (-1, 2)).unbind(-1)
        rows = torch.maximum(*columns).unflatten(-2, (-1, 2)).unbind(-2)
        return torch.maximum(*rows)


class LeNet(nn.Module):
    """LeNet-5 with ReLU and max-pooling, the form in which it is used today.

    On 28x28 images these are LeNet-5's layers (LeCun et al. 1998, "Gradient-based learning
    applied to document recognition", figure 2): two 5x5 convolutions, then 400-120-84-10 linear.
    Smaller images, such as the 8x8 digits, get 3x3 kernels and padding in both convolutions.

    Args:
        shape: ``(channels, height, width)`` of one image, at least 4x4 pixels.
        classes: number of outputs.

    Shapes: input ``(B, *shape)``, output ``(B, classes)`` (logits).

    Raises:
        ValueError: a shape that is not three whole numbers, or of less than 4x4 pixels; a number
            of classes below 1.
    """

    def __init__(self, shape: Sequence[int] = (1, 8, 8), classes: int = 10) -> None:
        super().__init__()
        shape = _sizes("shape", shape, least=1)
        if len(shape) != 3 or min(shape[1:]) < 4:
            raise ValueError(f"shape={tuple(shape)} must be (channels, height, width), from 4x4")
        large = min(shape[1:]) >= 28
        kernel = 5 if large else 3
        self.features = nn.Sequential(
            nn.Conv2d(shape[0], 6, kernel, padding=kernel // 2),
            nn.ReLU(),
            MaxPool2d(),
            nn.Conv2d(6, 16, kernel, padding=0 if large else 1),
            nn.ReLU(),
            MaxPool2d(),
            nn.Flatten(),
        )
        height, width = (side // 4 - large * 2 for side in shape[1:])
        self.classifier = MLP((16, height, width), (120, 84), classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(images))


class F1(nn.Sequential):
    """Network F1 of Keskar et al. 2017, "On large-batch training for deep learning", appendix B.

    784 inputs, five hidden layers of 512 with batch normalization and ReLU, 10 outputs. The
    hidden linear layers have no bias: batch normalization would subtract it again.

    Args:
        shape: shape of one sample; it is flattened first.
        width: width of each hidden layer (512 in the paper).
        classes: number of outputs.

    Shapes: input ``(B, *shape)``, output ``(B, classes)`` (logits).

    Raises:
        ValueError: other things than whole numbers from 1.
    """

    def __init__(
        self, shape: Sequence[int] = (1, 28, 28), width: int = 512, classes: int = 10
    ) -> None:
        widths = [prod(_sizes("shape", shape, least=1)), *_sizes("width", [width]) * 5]
        (classes,) = _sizes("classes", [classes])
        layers = [
            layer
            for inputs, outputs in pairwise(widths)
            for layer in (
                nn.Linear(inputs, outputs, bias=False),
                nn.BatchNorm1d(outputs),
                nn.ReLU(),
            )
        ]
        super().__init__(nn.Flatten(), *layers, nn.Linear(widths[-1], classes))


def _sizes(name: str, values: Any, least: int = 0) -> list[int]:
    """Numbers of pixels or units as ints, at least so many of them."""
    try:
        sizes = [index(value) for value in values]
    except TypeError:
        sizes = [0]
    if len(sizes) < least or not all(0 < size <= LARGEST_WIDTH for size in sizes):
        raise ValueError(f"{name}={values!r} must be whole numbers from 1, such as (1, 8, 8)")
    return sizes
