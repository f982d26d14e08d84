"""Convolutions as matrix products."""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class ConvolutionsAsProducts(TorchFunctionMode):
    """Inside, ``F.conv2d`` is a product of the weights with a matrix of all patches.

    For `vmap`: it makes of S convolutions a grouped one, for which PyTorch is several times
    slower on a CPU than for S products. Grouped convolutions, and paddings given by name, stay
    as they are. Source: Chellapilla, Puri and Simard 2006, "High performance convolutional
    neural networks for document processing".
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is F.conv2d and not kwargs and args[-1] == 1 and not isinstance(args[4], str):
            return _convolution(*args[:-1])
        return function(*args, **(kwargs or {}))


def _convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple, padding: tuple, dilation: tuple
) -> Tensor:
    """Samples come last in memory, so that all copies are of long runs."""
    (s, t), (p, q), (d, e), (k, m) = stride, padding, dilation, weight.shape[2:]
    x = F.pad(x.permute(1, 2, 3, 0), (0, 0, q, q, p, p))
    height, width = (x.shape[1] - d * (k - 1) - 1) // s + 1, (x.shape[2] - e * (m - 1) - 1) // t + 1
    rows = [slice(d * i, d * i + s * (height - 1) + 1, s) for i in range(k)]
    columns = [slice(e * j, e * j + t * (width - 1) + 1, t) for j in range(m)]
    patches = torch.stack([x[:, row, column] for row in rows for column in columns], 1)
    outputs = weight.flatten(1) @ patches.reshape(weight[0].numel(), -1)
    outputs = outputs if bias is None else outputs + bias[:, None]
    return outputs.unflatten(1, (height, width, -1)).permute(3, 0, 1, 2)
