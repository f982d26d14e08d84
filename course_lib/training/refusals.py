"""Optimizers that are refused: what does not treat every number alone."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from course_lib.checks import name_of


def check_elementwise(optimizer: Callable[..., Optimizer], options: dict[str, Any]) -> None:
    """Refuse an optimizer that couples replicas, by trying it.

    Two stacked replicas make three steps, twice: with the same first replica beside two different
    second ones. The first must end at the same numbers, bit for bit.

    Raises:
        ValueError: something else than an optimizer, options that it does not take, or an
            optimizer that couples replicas, as LBFGS, Adafactor and Muon do.
    """
    weights, gradients = torch.arange(36.0).sin().reshape(2, 3, 3, 2)
    name = name_of(optimizer)
    try:
        steps = [
            after_three_steps(optimizer, options, weights[[0, i]], gradients[[0, i]])[0]
            for i in (1, 2)
        ]
        reason = "" if torch.equal(*steps) else "the step of one network depends on the others"
        lost = bool(steps[0].isnan().any())
    except Exception as error:
        _check_options(optimizer, options, name)
        reason, lost = _reason(error), False
    if lost:
        raise ValueError(f"optimizer={name} with {options} makes weights NaN in three steps")
    if reason:
        raise ValueError(
            f"optimizer={name} couples replicas, which are trained at once: {reason}; use an "
            "elementwise optimizer such as torch.optim.SGD or torch.optim.Adam"
        )


def after_three_steps(
    optimizer: Callable[..., Optimizer], options: dict[str, Any], weights: Tensor, gradient: Tensor
) -> Tensor:
    """The weights after three steps with a constant gradient."""
    weights = nn.Parameter(weights.clone())
    stepper = optimizer([weights], **options)
    for _ in range(3):
        weights.grad = gradient.clone()
        stepper.step()
    return weights.detach()


def _check_options(optimizer: Callable, options: dict[str, Any], name: str) -> None:
    """Tell options that are wrong from an optimizer that is, on a matrix, which most can take."""
    try:
        made = optimizer([nn.Parameter(torch.ones(2, 2))], **options)
    except Exception as error:
        given = ", ".join(f"{key}={value!r}" for key, value in options.items())
        raise ValueError(f"optimizer={name} does not take {given}: {error}") from error
    if not isinstance(made, Optimizer):
        raise ValueError(f"optimizer={name} must make a torch.optim.Optimizer, not {made!r}")


def _reason(error: Exception) -> str:
    """Why an optimizer fails on stacked weights, without the shapes of the trial."""
    text = str(error).partition("\n")[0]
    if "closure" in text:
        return "its step evaluates the loss itself (a closure)"
    return "its step depends on the shape of the weights" if "[" in text else text


def check_one_group(make: Callable[[list], Optimizer], network: nn.Module, name: str) -> None:
    """Refuse an optimizer that treats some of a network's parameters in another way.

    Raises:
        ValueError: it makes several groups of parameters.
    """
    groups = len(make(list(network.parameters())).param_groups)
    if groups > 1:
        raise ValueError(
            f"optimizer={name} makes {groups} groups of parameters; fit trains all with the same "
            "options, so it must make one"
        )
