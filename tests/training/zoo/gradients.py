"""Gradients that are watched, changed, made by hand, or taken in the forward pass."""

from functools import partial

import torch
from torch.utils.checkpoint import checkpoint

from .kinds import CANNOT, HOOKS, Head, alone, stacked

# Hooks.


@alone("gradient hook", HOOKS, quick=True)
class GradientHook(Head):
    def __init__(self):
        super().__init__()
        self.first.weight.register_hook(lambda gradient: 0.5 * gradient)


@alone("gradient clipped by a hook", HOOKS)
class ClippingHook(Head):
    """Does nothing as long as the gradient is short."""

    def __init__(self):
        super().__init__()
        self.last.register_full_backward_hook(self.clip)

    @staticmethod
    def clip(module, inputs, outputs):
        return tuple(g if g is None or g.norm() < 10 else 10 * g / g.norm() for g in inputs)


@stacked("forward hook")
class ForwardHook(Head):
    def __init__(self):
        super().__init__()
        self.first.register_forward_hook(lambda module, inputs, output: 0.5 * output)


@alone("hook on a hidden layer", HOOKS)
class HiddenHook(Head):
    """Registered in each pass; it does nothing as long as the gradient is short."""

    def middle(self, hidden):
        if hidden.requires_grad:
            hidden.register_hook(lambda g: g if g.norm() < 10 else 10 * g / g.norm())
        return hidden.relu()


# Gradients of its own.


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(x):
        return x**3

    @staticmethod
    def setup_context(context, inputs, output):
        context.save_for_backward(*inputs)

    @staticmethod
    def backward(context, gradient):
        (x,) = context.saved_tensors
        return 3 * x**2 * gradient


class BatchedCube(Cube):
    generate_vmap_rule = True


class ReversedGradient(torch.autograd.Function):
    """As people write it: the context comes with the inputs."""

    @staticmethod
    def forward(context, x):
        return x.view_as(x)

    @staticmethod
    def backward(context, gradient):
        return -gradient


class Own(Head):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def middle(self, hidden):
        return self.function.apply(hidden.tanh())


alone("own gradient", CANNOT)(partial(Own, Cube))
stacked("own gradient that vmap may batch")(partial(Own, BatchedCube))
alone("reversed gradient", CANNOT)(partial(Own, ReversedGradient))


@alone("gradient in its forward pass", CANNOT)
class GradientInside(Head):
    """Goes downhill on an energy of its hidden layer; training needs second derivatives."""

    def middle(self, hidden):
        with torch.enable_grad():
            hidden = hidden if hidden.requires_grad else hidden.requires_grad_()
            energy = self.last(hidden.tanh()).square().sum()
            return hidden - 0.1 * torch.autograd.grad(energy, hidden, create_graph=True)[0]


@stacked("gradient in its forward pass by torch.func")
class GradientByFunc(Head):
    def middle(self, hidden):
        slope = torch.func.grad(lambda h: self.last(h.tanh()).square().sum())
        return hidden - 0.1 * slope(hidden)


@alone("checkpointed", "")
class Checkpointed(Head):
    """Computes its hidden layer once more for the backward pass."""

    def middle(self, hidden):
        return checkpoint(torch.tanh, hidden, use_reentrant=False)
