"""Whether an optimizer treats every number on its own."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def check_elementwise(optimizer: Callable, options: dict) -> None:
    """Refuse an optimizer that couples replicas, by trying it.

    Two stacked replicas make three steps, twice: with the same first replica beside two different
    second ones. The first must end at the same numbers, bit for bit.

    Raises:
        ValueError: the optimizer couples replicas, as LBFGS and Adafactor do.
    """
    weights, gradients = torch.arange(36.0).sin().reshape(2, 3, 3, 2)
    try:
        steps = [
            after_three_steps(optimizer, options, weights[[0, i]], gradients[[0, i]])[0]
            for i in (1, 2)
        ]
        elementwise = torch.equal(*steps)
    except TypeError as error:
        if "closure" not in str(error):
            raise
        elementwise = False
    if not elementwise:
        raise ValueError(
            f"optimizer={optimizer.__name__} couples replicas: the step of one depends on the "
            "others; use an elementwise optimizer such as torch.optim.SGD or torch.optim.Adam"
        )


def after_three_steps(
    optimizer: Callable, options: dict, weights: Tensor, gradient: Tensor
) -> Tensor:
    """The weights after three steps with a constant gradient."""
    weights = nn.Parameter(weights.clone())
    stepper = optimizer([weights], **options)
    for _ in range(3):
        weights.grad = gradient.clone()
        stepper.step()
    return weights.detach()
