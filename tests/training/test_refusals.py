"""Optimizers that are refused, and those that are taken."""

import re
from functools import partial

import pytest
import torch

from course_lib.models import MLP
from course_lib.training import fit
from course_lib.training.refusals import check_elementwise, check_one_group
from zoo import ALONE, STACKED, hand_written_loop, largest_difference, noisy_digits

fit = partial(fit, progress=False)
SGD, Adam = torch.optim.SGD, torch.optim.Adam

COUPLING = {
    "LBFGS": r"its step evaluates the loss itself \(a closure\)",
    "Adafactor": "",
    "Muon": "",
    "SparseAdam": "",
}


@pytest.mark.parametrize("name", COUPLING)
@pytest.mark.parametrize("wrapped", ["class", "partial"])
def test_optimizers_that_couple_replicas_are_refused_by_name(name, wrapped):
    optimizer = getattr(torch.optim, name, None)
    if optimizer is None:
        pytest.skip(f"torch {torch.__version__} has no {name}")
    given = optimizer if wrapped == "class" else partial(optimizer)
    expected = rf"^optimizer={name} couples replicas, .*: {COUPLING[name]}.*; use an elementwise"
    with pytest.raises(ValueError, match=expected) as refused:
        fit(MLP, noisy_digits(), batch_size=8, optimizer=given, lr=0.1, max_steps=1)
    reason = str(refused.value)
    assert "[" not in reason and not re.search(r"\d", reason), "shapes of the trial tell nothing"
    assert reason.partition(": ")[2].partition(";")[0].strip(), "a reason is given"


class Together(SGD):
    """Normalizes the gradient, over all networks at once."""

    def step(self, closure=None):
        for parameter in self.param_groups[0]["params"]:
            parameter.grad = parameter.grad / parameter.grad.norm()
        super().step()


@pytest.mark.parametrize(
    ("optimizer", "name"),
    [
        (Together, "Together"),
        (partial(Together, momentum=0.9), "Together"),
        (lambda parameters, lr: Together(parameters, lr=lr), "<lambda>"),
    ],
    ids=["class", "partial", "lambda"],
)
def test_an_own_optimizer_that_couples_is_refused_by_name(optimizer, name):
    message = f"optimizer={name} couples replicas.*the step of one network depends on the others"
    with pytest.raises(ValueError, match=message):
        check_elementwise(optimizer, {"lr": 0.1})


@pytest.mark.parametrize(
    "name",
    [
        *("SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax"),
        *("RMSprop", "Rprop", "Adagrad", "Adadelta", "ASGD"),
    ],
)
def test_elementwise_optimizers_are_taken(name):
    check_elementwise(getattr(torch.optim, name), {"lr": 0.01})


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        (partial(SGD, momentum=0.9), {}),
        (lambda parameters, lr: SGD(parameters, lr=lr, momentum=0.9), {}),
        (lambda parameters, **options: SGD(parameters, **options), {"momentum": 0.9}),
    ],
    ids=["partial", "lambda", "lambda with options"],
)
def test_partials_and_lambdas_make_optimizers(optimizer, options):
    settings = {"batch_size": 50, "lr": 0.1, "max_epochs": 2}
    run = fit(MLP, noisy_digits(), seeds=2, optimizer=optimizer, **settings, **options)
    expected = hand_written_loop(MLP, noisy_digits(), 1, optimizer=SGD, momentum=0.9, **settings)
    assert largest_difference(run.networks[1], expected) < 1e-5


@pytest.mark.parametrize(
    ("optimizer", "options", "message"),
    [
        (SGD, {"moment": 0.9}, r"optimizer=SGD does not take lr=0.1, moment=0.9: .*'moment'"),
        (SGD, {"momentum": -1}, "optimizer=SGD does not take .*momentum=-1: .*momentum"),
        (Adam, {"betas": (2, 0)}, r"optimizer=Adam does not take .*betas=\(2, 0\)"),
        (partial(SGD, nesterov=True), {}, "optimizer=SGD does not take lr=0.1: Nesterov"),
        (torch.optim.LBFGS, {"momentum": 0.9}, "optimizer=LBFGS does not take .*momentum=0.9"),
        (lambda parameters: SGD(parameters), {}, "optimizer=<lambda> does not take lr=0.1"),
        (lambda parameters, lr: None, {}, "optimizer=<lambda> must make a torch.optim.Opt.*None"),
        ("SGD", {}, "optimizer='SGD' does not take"),
        (None, {}, "optimizer=None does not take"),
    ],
)
def test_wrong_options_are_named(optimizer, options, message):
    with pytest.raises(ValueError, match=message):
        fit(MLP, noisy_digits(), batch_size=8, optimizer=optimizer, lr=0.1, max_steps=1, **options)


@pytest.mark.parametrize("options", [{"momentum": float("nan")}, {"weight_decay": float("nan")}])
def test_options_that_make_weights_nan_are_named(options):
    with pytest.raises(ValueError, match=r"optimizer=SGD with .*nan.* makes weights NaN"):
        check_elementwise(SGD, {"lr": 0.1, **options})


def two_groups(parameters, lr):
    first, *others = parameters
    return SGD([{"params": [first]}, {"params": others, "weight_decay": 0.1}], lr=lr)


@pytest.mark.parametrize("optimizer", [two_groups, partial(two_groups)], ids=["own", "partial"])
def test_several_groups_of_parameters_are_refused(optimizer):
    message = "optimizer=two_groups makes 2 groups of parameters"
    with pytest.raises(ValueError, match=message):
        check_one_group(partial(optimizer, lr=0.1), MLP(), "two_groups")
    with pytest.raises(ValueError, match="optimizer=two_groups"):
        fit(MLP, noisy_digits(), batch_size=8, optimizer=optimizer, lr=0.1, max_steps=1)


@pytest.mark.parametrize("batch_size", [8, pytest.param("full", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "optimizer", [partial(SGD, momentum=0.9), Adam, torch.optim.AdamW], ids=["SGD", "Adam", "AdamW"]
)
@pytest.mark.parametrize("network", ["MLP", "LeNet", "dropout"])
def test_fused_optimizers_are_right(network, optimizer, batch_size):
    make, samples = {**STACKED, **ALONE}[network], noisy_digits()
    settings = {"lr": 1e-3, "max_epochs": 2, "optimizer": optimizer, "fused": True}
    run = fit(make, samples, seeds=[0, 5], batch_size=batch_size, **settings)
    size = 150 if batch_size == "full" else batch_size
    expected = hand_written_loop(make, samples, 5, batch_size=size, **settings)
    assert largest_difference(run.networks[1], expected) < 1e-5
