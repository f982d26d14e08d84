"""An optimizer's step as a function of tensors, so that it can be recorded with the gradient."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from course_lib.internals import recorded

# What an optimizer is asked for while its step is recorded, where it knows the option: operations
# on single tensors, and no Python number that counts the steps.
RECORDABLE = {"foreach": False, "fused": False, "capturable": True}


class Step:
    """One step of an optimizer, in place, for tensors of the same shapes as its own.

    The optimizer must have made a step before: then its state is complete, and the step changes
    nothing but tensors. Its present options, but for the learning rate, become part of the step.

    Args:
        make: makes such an optimizer from a list of tensors.
        optimizer: whose state and options to take; with one group of parameters.
        parameters: those that it moves.

    Attributes:
        state: the tensors of the optimizer's state; the step continues them.
    """

    def __init__(
        self,
        make: Callable[[list[Tensor]], Optimizer],
        optimizer: Optimizer,
        parameters: Sequence[Tensor],
    ):
        self.make, self.options = make, options_of(optimizer)
        states = [optimizer.state.get(parameter, {}) for parameter in parameters]
        self.places = [
            (number, key)
            for number, state in enumerate(states)
            for key, value in state.items()
            if isinstance(value, Tensor)
        ]
        self.state = [states[number][key] for number, key in self.places]
        self.plain = [
            {key: value for key, value in state.items() if not isinstance(value, Tensor)}
            for state in states
        ]

    def __call__(
        self,
        parameters: Sequence[Tensor],
        gradients: Sequence[Tensor],
        state: Sequence[Tensor],
        lr: Tensor | float,
    ) -> None:
        """Change parameters and state as the optimizer would.

        Raises:
            ValueError: the step counts in Python, so that no recorded operation could.
        """
        parameters = [parameter.detach() for parameter in parameters]  # leaves
        optimizer = self.make(parameters)
        known = {key: value for key, value in RECORDABLE.items() if key in self.options}
        optimizer.param_groups[0].update({**self.options, **known, "lr": lr})
        for parameter, gradient, plain in zip(parameters, gradients, self.plain, strict=True):
            parameter.grad, optimizer.state[parameter] = gradient, dict(plain)
        for (number, key), tensor in zip(self.places, state, strict=True):
            optimizer.state[parameters[number]][key] = tensor
        optimizer.step()
        for (number, key), tensor in zip(self.places, state, strict=True):
            if (new := optimizer.state[parameters[number]][key]) is not tensor:
                tensor.copy_(new)
        for parameter, plain in zip(parameters, self.plain, strict=True):
            if any(optimizer.state[parameter][key] != value for key, value in plain.items()):
                raise ValueError(f"{type(optimizer).__name__} counts in Python")


def recordable(make: Callable[[list[Tensor]], Optimizer]) -> str | None:
    """How an optimizer's step can be recorded, by trying it beside the optimizer itself.

    Returns:
        "tensor" where the learning rate may be a tensor and so change from step to step,
        "constant" where it becomes part of the step, None where no recorded step is the same.
    """
    for rate in ("tensor", "constant"):
        with suppress(Exception):
            if _steps_alike(make, rate):
                return rate
    return None


def _steps_alike(make: Callable[[list[Tensor]], Optimizer], rate: str) -> bool:
    """Whether a recorded step does what the optimizer does, three times, and at half the rate."""
    wave = torch.linspace(0.5, 9.0, 12).sin().view(2, 3, 2)
    weights, gradients = [wave.clone(), wave[0].clone()], [wave.cos(), wave[1].cos()]
    optimizer = make(weights)
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient
    optimizer.step()
    step, group = Step(make, optimizer, weights), optimizer.param_groups[0]
    copies = [tensor.clone() for tensor in (*weights, *step.state)]
    lr = group["lr"] = group["lr"] / 2 if rate == "tensor" else group["lr"]

    def one_step(given: Tensor, *tensors: Tensor) -> list[Tensor]:
        own = tensor_rate(given) if rate == "tensor" else lr
        step(tensors[:2], tensors[2:4], tensors[4:], own)
        return []

    example = [torch.tensor(lr), *copies[:2], *gradients, *copies[2:]]
    operations = recorded(one_step, example)
    for _ in range(3):
        optimizer.step()
        operations(*example)
    own = *weights, *Step(make, optimizer, weights).state  # which some optimizers replace
    pairs = zip(own, copies, strict=True)
    return all(torch.allclose(mine, copied, rtol=1e-4, atol=1e-7) for mine, copied in pairs)


def options_of(optimizer: Optimizer) -> dict[str, Any]:
    """An optimizer's options as they are now, but for the learning rate."""
    group = optimizer.param_groups[0]
    return {key: value for key, value in group.items() if key not in ("params", "lr")}


def tensor_rate(lr: Tensor) -> Tensor:
    """A learning rate with which the formulas of `torch.optim` take it as a tensor, no number."""
    return lr.detach().requires_grad_()


class Separately(torch.optim.Optimizer):
    """S optimizers, one for each network, under the face of one for the stacked parameters.

    Options are read from this optimizer's group, so that whoever changes the learning rate there
    changes it for all. Each step goes through the networks one by one, as hand-written loops do.

    Args:
        make: makes an optimizer from a list of parameters.
        parameters: the stacked parameters.
        networks: the parameters of each network.
    """

    def __init__(
        self,
        make: Callable[[list[Tensor]], Optimizer],
        parameters: Sequence[Tensor],
        networks: Sequence[list[Tensor]],
    ):
        self.each = [make(own) for own in networks]
        super().__init__(parameters, {"lr": self.each[0].param_groups[0]["lr"]})
        self.param_groups[0].update(options_of(self.each[0]))

    def step(self, closure: Any = None) -> Any:
        """Let each optimizer make its step with the gradients of its network."""
        if closure is not None:
            closure()
        options = {"lr": self.param_groups[0]["lr"], **options_of(self)}
        for optimizer in self.each:
            for group in optimizer.param_groups:
                group.update(options)
            optimizer.step()
