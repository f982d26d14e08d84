"""How noisy the gradient of a mini-batch is, from the gradients of single samples."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

_CHUNK_BYTES = 2**27  # memory for the per-sample gradients that are held at one time


class GradientNoise(NamedTuple):
    """Signal and noise of the gradients of N samples; see `gradient_noise`."""

    squared_norm: float
    covariance_trace: float
    noise_scale: float


def gradient_noise(
    network: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    data: tuple[Tensor, Tensor],
    *,
    chunk_size: int | None = None,
) -> GradientNoise:
    r"""Measure the gradient noise of `network` at its present weights.

    With the gradient g_i of sample i, and the N samples taken as the whole population:

        G = 1/N Σ g_i,    tr(Σ) = 1/N Σ |g_i - G|²,    noise scale = tr(Σ) / |G|².

    The batch size at which noise and signal are equal is the noise scale. The mean over a batch of
    B samples has E|g_B - G|² = tr(Σ)/B with replacement and tr(Σ)/B · (N - B)/(N - 1) without;
    both are exact for the population covariance (divisor N) that is used here. Where the samples
    stand for a larger population, N/(N - 1) · tr(Σ) and |G|² - tr(Σ)/(N - 1) are unbiased.

    Args:
        network: weights with `requires_grad` count; frozen ones do not.
        loss: takes outputs and targets of a batch of one, returns one number.
        data: inputs (N, ...) and targets (N, ...).
        chunk_size: samples whose gradients are held in memory together; the result does not depend
            on it. By default as many as fit into 128 MiB.

    Returns:
        squared_norm |G|², covariance_trace tr(Σ) and noise_scale (inf where G is zero).

    Raises:
        ValueError: data of unequal or zero length, a chunk size below 1, nothing to train,
            BatchNorm or Dropout in train mode (a sample's gradient is then not its own alone),
            a loss that is not one number, gradients that are not finite.

    Source:
        McCandlish, Kaplan, Amodei et al., "An Empirical Model of Large-Batch Training" (2018),
        equation 2.9; arXiv:1812.06162.
    """
    x, y = data
    _check(network, x, y, chunk_size)
    total, squares = 0.0, 0.0
    for gradients in _sample_gradients(network, loss, x, y, chunk_size):
        total = total + gradients.sum(0, dtype=torch.float64)
        squares = squares + torch.linalg.vector_norm(gradients, dtype=torch.float64).square()
    squared_norm = (total / len(x)).square().sum()
    trace = squares / len(x) - squared_norm
    if not trace.isfinite():
        raise ValueError("the gradients are not finite: look for NaN in data and weights")
    trace = trace.clamp(min=0)  # rounding can leave a tiny negative number where all g_i are equal
    return GradientNoise(squared_norm.item(), trace.item(), (trace / squared_norm).item())


def _sample_gradients(
    network: nn.Module, loss: Callable, x: Tensor, y: Tensor, chunk_size: int | None
) -> Iterator[Tensor]:
    """Yield the gradients of single samples, chunk by chunk, shape (chunk, weights)."""
    named = network.named_parameters()
    weights = {name: value.detach() for name, value in named if value.requires_grad}

    def sample_loss(weights, x, y):
        value = loss(functional_call(network, weights, (x[None],)), y[None])
        if value.ndim != 0:
            raise ValueError(f"loss must return one number, got shape {tuple(value.shape)}")
        return value

    sample_gradient = vmap(grad(sample_loss), in_dims=(None, 0, 0))
    count = sum(value.numel() for value in weights.values())
    chunk_size = chunk_size or max(1, _CHUNK_BYTES // (4 * count))
    for chunk in zip(x.split(chunk_size), y.split(chunk_size), strict=True):
        gradients = sample_gradient(weights, *chunk)
        yield torch.cat([values.flatten(1) for values in gradients.values()], dim=1)


def _check(network: nn.Module, x: Tensor, y: Tensor, chunk_size: int | None) -> None:
    if len(x) != len(y) or len(x) == 0:
        raise ValueError(f"data must hold as many inputs as targets, got {len(x)} and {len(y)}")
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"chunk_size must be 1 or more, got {chunk_size}")
    if not any(value.requires_grad for value in network.parameters()):
        raise ValueError("network has no weights that require a gradient")
    for name, module in network.named_modules():
        if isinstance(module, _BatchNorm | _DropoutNd) and module.training:
            raise ValueError(f"{name} is a {type(module).__name__} in train mode: network.eval()")
