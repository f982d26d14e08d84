"""The hand-written loop that every network must equal, and what they are compared by."""

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.data import TensorData


def hand_written_loop(
    network: Callable[[], nn.Module],
    data: TensorData,
    seed: int,
    *,
    batch_size: int,
    optimizer: Callable,
    lr: float,
    max_epochs: int,
    loss: Callable = F.cross_entropy,
    **options,
) -> nn.Module:
    """The loop in the docstring of `fit`, on the data of this seed.

    PyTorch's random state is left as the loop leaves it.
    """
    x_train, y_train, *weights = data.of_seed(seed).train
    torch.manual_seed(seed)
    net = network()
    stepper = optimizer(net.parameters(), lr=lr, **options)
    order = torch.Generator().manual_seed(seed)
    for _ in range(max_epochs):
        for batch in torch.randperm(len(x_train), generator=order).split(batch_size):
            # Indexing makes a batch of its own, which the network may change.
            value = batch_loss(
                loss, net(x_train[batch]), y_train[batch], *(w[batch] for w in weights)
            )
            stepper.zero_grad()
            value.backward()
            stepper.step()
    return net


def batch_loss(loss: Callable, outputs: Tensor, targets: Tensor, weights: Tensor | None = None):
    if weights is None:
        return loss(outputs, targets)
    return (loss(outputs, targets, reduction="none") * weights).sum() / weights.sum()


@torch.no_grad()
def measured_losses(net: nn.Module, data: TensorData, loss: Callable) -> list[float]:
    """The losses over the training and the held-out samples, with what the loop draws next."""
    losses = []
    for x, y in (data.train, data.val):
        with torch.random.fork_rng(devices=[]):
            losses.append(loss(_copied(net).eval()(x.clone()), y).item())
    return losses


def _copied(net: nn.Module) -> nn.Module:
    """Some cannot be copied; evaluating must not change those."""
    try:
        return copy.deepcopy(net)
    except Exception:
        return net


def largest_difference(first: nn.Module, second: nn.Module) -> float:
    """Over all parameters and buffers of two networks."""
    mine, others = dict(tensors(first)), dict(tensors(second))
    assert mine.keys() == others.keys()
    return max((_difference(mine[name], others[name]) for name in mine), default=0.0)


def _difference(first: Tensor, second: Tensor) -> float:
    assert first.dtype == second.dtype and first.shape == second.shape
    first, second = (each.detach().to(torch.complex128) for each in (first, second))
    return (first - second).abs().max().item() if first.numel() else 0.0


def tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from network.named_parameters()
    yield from network.named_buffers()
