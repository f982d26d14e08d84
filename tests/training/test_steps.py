"""An optimizer's step as a function of tensors, and S optimizers under one face."""

import copy
from functools import partial

import pytest
import torch
from torch.optim.lr_scheduler import StepLR

from course_lib import internals
from course_lib.training.steps import Separately, Step, options_of, recordable, tensor_rate

OPTIM = torch.optim
OPTIMIZERS = {
    "SGD": partial(OPTIM.SGD, lr=0.1),
    "momentum": partial(OPTIM.SGD, lr=0.1, momentum=0.9),
    "Nesterov": partial(OPTIM.SGD, lr=0.1, momentum=0.9, nesterov=True),
    "damped": partial(OPTIM.SGD, lr=0.1, momentum=0.9, dampening=0.5),
    "decay": partial(OPTIM.SGD, lr=0.1, weight_decay=0.1),
    "ascent": partial(OPTIM.SGD, lr=0.1, maximize=True),
    "Adam": partial(OPTIM.Adam, lr=0.01),
    "Adam with AMSGrad": partial(OPTIM.Adam, lr=0.01, amsgrad=True),
    "AdamW": partial(OPTIM.AdamW, lr=0.01, weight_decay=0.1),
    "NAdam": partial(OPTIM.NAdam, lr=0.01),
    "RAdam": partial(OPTIM.RAdam, lr=0.01),
    "Adamax": partial(OPTIM.Adamax, lr=0.01),
    "RMSprop": partial(OPTIM.RMSprop, lr=0.01),
    "RMSprop, centered": partial(OPTIM.RMSprop, lr=0.01, centered=True),
    "RMSprop with momentum": partial(OPTIM.RMSprop, lr=0.01, momentum=0.9),
    "Adagrad": partial(OPTIM.Adagrad, lr=0.1),
    "Adadelta": partial(OPTIM.Adadelta, lr=1.0),
    "ASGD": partial(OPTIM.ASGD, lr=0.1),
    "Rprop": partial(OPTIM.Rprop, lr=0.01),
    "fused SGD": partial(OPTIM.SGD, lr=0.1, momentum=0.9, fused=True),
    "fused Adam": partial(OPTIM.Adam, lr=0.01, fused=True),
    "foreach Adam": partial(OPTIM.Adam, lr=0.01, foreach=True),
}


class CountingInState(torch.optim.Optimizer):
    """As some optimizers do: an int in the state, for the bias correction."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        group = self.param_groups[0]
        for parameter in group["params"]:
            state = self.state[parameter]
            state["step"] = state.get("step", 0) + 1
            parameter.sub_(group["lr"] / state["step"] * parameter.grad)


class CountingInItself(torch.optim.Optimizer):
    """An int of its own."""

    steps = 0

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        self.steps += 1
        for parameter in self.param_groups[0]["params"]:
            parameter.sub_(self.param_groups[0]["lr"] / self.steps * parameter.grad)


class Replacing(torch.optim.Optimizer):
    """Momentum, in a new tensor at each step."""

    def __init__(self, parameters, lr, momentum=0.9):
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None):
        group = self.param_groups[0]
        for parameter in group["params"]:
            state = self.state[parameter]
            mean = state.get("mean", torch.zeros_like(parameter))
            state["mean"] = group["momentum"] * mean + parameter.grad
            parameter.sub_(group["lr"] * state["mean"])


class Rounding(torch.optim.Optimizer):
    """Needs its learning rate as a number."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        rate = round(float(self.param_groups[0]["lr"]), 3)
        for parameter in self.param_groups[0]["params"]:
            parameter.sub_(rate * parameter.grad)


class Random(OPTIM.SGD):
    @torch.no_grad()
    def step(self, closure=None):
        super().step()
        for parameter in self.param_groups[0]["params"]:
            parameter.add_(torch.rand(()))


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_optimizers_of_torch_are_recorded_with_any_learning_rate(make):
    assert recordable(make) == "tensor"


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (CountingInState, None),
        (CountingInItself, None),
        (Random, None),
        (OPTIM.LBFGS, None),
        (Rounding, "constant"),
        (Replacing, "tensor"),
        (lambda parameters, lr: OPTIM.Adam(parameters, lr), "tensor"),
    ],
)
def test_what_is_recorded_of_other_optimizers(optimizer, expected):
    assert recordable(partial(optimizer, lr=0.1)) == expected


def test_recordable_leaves_the_random_state_alone():
    state = torch.get_rng_state()
    for make in OPTIMIZERS.values():
        recordable(make)
    assert torch.equal(torch.get_rng_state(), state)


def trained(make, steps, lrs):
    """Weights and state after some steps, and the optimizer."""
    wave = torch.linspace(0.5, 9.0, 24).sin().view(2, 4, 3)
    weights = [wave.clone().requires_grad_(), wave[:, 0].clone().requires_grad_()]
    optimizer = make(weights)
    for number in range(steps):
        optimizer.param_groups[0]["lr"] = lrs[number]
        for weight, gradient in zip(weights, gradients_of(number), strict=True):
            weight.grad = gradient
        optimizer.step()
    return weights, optimizer


def gradients_of(number):
    wave = torch.linspace(number, 3.0 + 2 * number, 24).cos().view(2, 4, 3)
    return [wave, wave[:, 1].clone()]


ALL = {**OPTIMIZERS, "replacing": partial(Replacing, lr=0.1)}


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_a_recorded_step_goes_on_where_the_optimizer_stood(make):
    """From its second step on, with a learning rate that changes."""
    lrs = [0.02, 0.02, 0.01, 0.005, 0.1]
    expected, through = trained(make, 5, lrs)
    weights, optimizer = trained(make, 2, lrs)
    weights = [weight.detach() for weight in weights]
    step = Step(make, optimizer, optimizer.param_groups[0]["params"])

    def one(rate, *tensors):
        step(tensors[:2], tensors[2:4], tensors[4:], tensor_rate(rate))
        return []

    given = [torch.tensor(0.1), *weights, *gradients_of(0), *step.state]
    recorded = internals.recorded(one, given)
    for number in (2, 3, 4):
        recorded(torch.tensor(lrs[number]), *weights, *gradients_of(number), *step.state)
    torch.testing.assert_close(weights, [each.detach() for each in expected], rtol=1e-4, atol=1e-6)
    whole = Step(make, through, expected).state
    torch.testing.assert_close(step.state, whole, rtol=1e-4, atol=1e-6)


def test_options_of_an_optimizer_are_as_they_are_now():
    optimizer = OPTIM.SGD([torch.zeros(2)], lr=0.1, momentum=0.5)
    optimizer.param_groups[0]["momentum"] = 0.9
    options = options_of(optimizer)
    assert options["momentum"] == 0.9 and not {"params", "lr"} & options.keys()


# Separately.


def stacked_and_separate():
    stacked = [torch.linspace(-1, 1, 24).view(3, 4, 2), torch.linspace(0, 2, 6).view(3, 2)]
    stacked = [each.requires_grad_() for each in stacked]
    views = [[each.data[number] for each in stacked] for number in range(3)]
    return stacked, views, copy.deepcopy(views)


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_separately_is_as_many_optimizers(make):
    stacked, views, copies = stacked_and_separate()
    together = Separately(make, stacked, views)
    schedules = [StepLR(together, 2, 0.1)]
    optimizers = [make(own) for own in copies]
    schedules += [StepLR(each, 2, 0.1) for each in optimizers]
    for number in range(5):
        for index, (own, copied) in enumerate(zip(views, copies, strict=True)):
            for tensor, other in zip(own, copied, strict=True):
                tensor.grad = torch.full_like(tensor, number - index).cos()
                other.grad = tensor.grad.clone()
        together.step()
        for each in optimizers:
            each.step()
        for schedule in schedules:
            schedule.step()
    assert together.param_groups[0]["lr"] < optimizers[0].defaults["lr"] / 50
    for index, copied in enumerate(copies):
        for stack, own in zip(stacked, copied, strict=True):
            assert torch.equal(stack.detach()[index], own)


def test_separately_follows_each_option():
    stacked, views, _ = stacked_and_separate()
    together = Separately(partial(OPTIM.SGD, lr=0.1, momentum=0.9), stacked, views)
    together.param_groups[0].update(lr=0.5, momentum=0.2, weight_decay=0.3)
    together.step()
    for each in together.each:
        group = each.param_groups[0]
        assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.5, 0.2, 0.3)
    assert together.param_groups[0]["params"] == stacked


def test_a_network_without_gradients_stands_still():
    stacked, views, copies = stacked_and_separate()
    together = Separately(partial(OPTIM.Adam, lr=0.1), stacked, views)
    for own in views[:2]:
        for tensor in own:
            tensor.grad = torch.ones_like(tensor)
    together.step()
    assert all(torch.equal(a, b) for a, b in zip(views[2], copies[2], strict=True))
    assert not torch.equal(views[1][0], copies[1][0])


def test_separately_calls_a_closure_once():
    stacked, views, _ = stacked_and_separate()
    calls = []
    Separately(partial(OPTIM.SGD, lr=0.1), stacked, views).step(lambda: calls.append(1))
    assert calls == [1]
