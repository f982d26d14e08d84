"""Convolutions as matrix products."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

Numbers = int | Sequence[int]


class ConvolutionsAsProducts(TorchFunctionMode):
    """Inside, ``F.conv2d`` is a product of the weights with a matrix of all patches.

    For `vmap`: it makes of S convolutions a grouped one, for which PyTorch is several times
    slower on a CPU than for S products. Grouped convolutions, and paddings given by name, stay
    as they are. Source: Chellapilla, Puri and Simard 2006, "High performance convolutional
    neural networks for document processing".
    """

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if function is F.conv2d:
            call = _arguments(*args, **(kwargs or {}))
            if call is not None and call.x.ndim == 4:
                return _convolution(call)
        return function(*args, **(kwargs or {}))


class _Call(NamedTuple):
    """What `F.conv2d` has been given."""

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]


def _arguments(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Numbers = 1,
    padding: Numbers | str = 0,
    dilation: Numbers = 1,
    groups: int = 1,
) -> _Call | None:
    """The arguments of `F.conv2d`, by position or by name; None for groups or a named padding."""
    if groups > 1 or isinstance(padding, str):
        return None
    return _Call(input, weight, bias, _pair(stride), _pair(padding), _pair(dilation))


def _pair(numbers: Numbers) -> tuple[int, int]:
    first, *more = numbers if isinstance(numbers, Sequence) else (numbers,)
    return first, more[0] if more else first


def _convolution(call: _Call) -> Tensor:
    """Samples come last in memory, so that all copies are of long runs."""
    x, weight, bias = call.x, call.weight, call.bias
    (s, t), (p, q), (d, e), (k, m) = call.stride, call.padding, call.dilation, weight.shape[2:]
    x = F.pad(x.permute(1, 2, 3, 0), (0, 0, q, q, p, p))
    height, width = (x.shape[1] - d * (k - 1) - 1) // s + 1, (x.shape[2] - e * (m - 1) - 1) // t + 1
    rows = [slice(d * i, d * i + s * (height - 1) + 1, s) for i in range(k)]
    columns = [slice(e * j, e * j + t * (width - 1) + 1, t) for j in range(m)]
    patches = torch.stack([x[:, row, column] for row in rows for column in columns], 1)
    outputs = weight.flatten(1) @ patches.reshape(weight[0].numel(), -1)
    outputs = outputs if bias is None else outputs + bias[:, None]
    return outputs.unflatten(1, (height, width, -1)).permute(3, 0, 1, 2)
