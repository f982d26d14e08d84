"""Optimizers that are refused, networks that are trained one by one, and what does not fit."""

import re
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.data import TensorData
from course_lib.models import MLP
from course_lib.training import fit
from course_lib.training.batches import Batches
from course_lib.training.objective import Objective, accuracy
from course_lib.training.refusals import (
    NOT_REPRODUCIBLE,
    check_elementwise,
    check_one_group,
    examine,
)
from course_lib.training.replicas import Replicas
from zoo import (
    ALONE,
    KINDS,
    NOT,
    STACKED,
    Counting,
    FromNumPy,
    FromPython,
    Head,
    hand_written_loop,
    largest_difference,
    noisy_digits,
)

fit = partial(fit, progress=False)
SGD, Adam = torch.optim.SGD, torch.optim.Adam

# Optimizers.

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


@pytest.mark.parametrize("batch_size", [8, "full"])
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


# Networks.


def examined(network, samples=None, loss=F.cross_entropy, metrics=accuracy, seeds=(3, 0)):
    objective = Objective(loss, metrics)
    batches = Batches(samples or noisy_digits(), 32, list(seeds))
    replicas = Replicas(network, seeds, objective)
    before = [tensor.clone() for tensor in replicas.tensors()]
    examine(replicas, Replicas(network, seeds, objective), batches)
    assert all(torch.equal(a, b) for a, b in zip(before, replicas.tensors(), strict=True))
    return replicas


@pytest.mark.filterwarnings("ignore:the network has")
@pytest.mark.parametrize("kind", ALONE)
def test_examine_finds_the_reason(kind):
    replicas = examined(ALONE[kind])
    assert replicas.alone and KINDS[kind].reason in replicas.alone
    keep = ("random numbers", "hooks", "numbers or lists")
    assert replicas.keep_to_self == replicas.alone.startswith(keep)
    assert (replicas.alone in NOT_REPRODUCIBLE) == (kind == "counting")


@pytest.mark.parametrize("kind", STACKED)
def test_examine_finds_nothing_where_nothing_is(kind):
    replicas = examined(STACKED[kind])
    assert replicas.alone is None and not replicas.keep_to_self


class Lists(Head):
    def __init__(self):
        super().__init__()
        self.seen = []

    def middle(self, hidden):
        self.seen.append(1)
        return hidden.relu()


@pytest.mark.parametrize(
    ("network", "reason"),
    [(FromNumPy, 0), (FromPython, 0), (Counting, 1), (Lists, 1)],
)
def test_what_is_not_reproducible_is_said(network, reason):
    with pytest.warns(UserWarning, match=f"the network has {NOT_REPRODUCIBLE[reason]}"):
        assert examined(network).alone == NOT_REPRODUCIBLE[reason]


class FirstOfBatch(Head):
    """Asks for a memory format that `vmap` cannot give, of what differs between the seeds."""

    def forward(self, x):
        return super().forward(x.to(memory_format=torch.channels_last))


@pytest.mark.parametrize("split", ["fixed", "seed"])
def test_examine_tries_batches_of_the_form_that_training_has(split):
    replicas = examined(FirstOfBatch, noisy_digits(split=split))
    assert "operations that cannot be stacked" in replicas.alone


def test_networks_that_share_a_layer_are_refused():
    shared = nn.Linear(64, 10)
    with pytest.raises(ValueError, match="network="):
        make = lambda: nn.Sequential(nn.Flatten(), shared)  # noqa: E731
        fit(make, noisy_digits(), batch_size=16, seeds=2, lr=0.1, max_steps=3)


class LateBranch(Head):
    """Only in eval mode another output, which depends on the seed."""

    def __init__(self):
        super().__init__()
        shift = torch.rand(()).item()  # which no attribute shows
        self.shifted = lambda hidden: hidden + shift

    def middle(self, hidden):
        return hidden.relu() if self.training else self.shifted(hidden.relu())


def test_what_differs_in_eval_mode_alone_is_found():
    assert examined(LateBranch).alone == "measures that differ when stacked"


class Neighbours(Head):
    """Each sample is added to the next one of its batch."""

    def middle(self, hidden):
        return (hidden + hidden.roll(1, 0)).tanh()


def test_a_network_for_which_the_order_matters_is_given_shuffled_batches():
    replicas = examined(Neighbours)
    assert replicas.alone is None and replicas.keep_to_self


REFUSED = [name for name, kind in KINDS.items() if kind.trained == NOT and name != "an instance"]


@pytest.mark.filterwarnings("ignore:the network has")
@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_trained_as_the_loop_does_is_refused_by_name(kind, float64):
    settings = {"batch_size": 16, "lr": 0.1, "seeds": 2, "max_epochs": 4, "metrics": {}}
    with pytest.raises(ValueError, match=KINDS[kind].reason) as refused:
        fit(KINDS[kind].make, noisy_digits(), **settings)
    assert not re.search(r"vmap|functorch|BatchedTensor", str(refused.value))


def test_a_loss_that_draws_random_numbers_is_found():
    def noisy(outputs, targets):
        return F.cross_entropy(outputs + torch.randn_like(outputs), targets)

    replicas = examined(MLP, loss=noisy)
    assert replicas.alone == "random numbers" and replicas.keep_to_self


def test_examine_leaves_the_random_state_alone():
    state = torch.get_rng_state()
    examined(ALONE["dropout"])
    assert torch.equal(torch.get_rng_state(), state)


# What does not fit together.

X, Y = torch.linspace(-1, 1, 60).view(20, 3), torch.arange(20) % 4
FLOATS = torch.linspace(0, 1, 20)


def linear(inputs=3, outputs=4):
    return partial(nn.Linear, inputs, outputs)


def scalar(outputs, targets):
    return (outputs.argmax(1) == targets).float().mean()


def none(outputs, targets):
    return None


UNFIT = {
    "another width": (linear(5), Y, Y, {}, r"\(3,\) \(torch.float32\) and targets of shape \(\)"),
    "labels beyond the outputs": (linear(3, 3), Y, Y, {}, "out of bounds"),
    "held-out labels beyond the outputs": (linear(3, 4), Y, Y + 1, {}, "out of bounds"),
    "one rare label beyond": (
        linear(3, 3),
        (torch.arange(20) == 7) * 3,
        Y % 3,
        {},
        "out of bounds",
    ),
    "accuracy of floats": (
        linear(3, 1),
        FLOATS[:, None],
        FLOATS[:, None],
        {"loss": F.mse_loss},
        r"targets of shape \(1,\) \(torch.float32\).*accuracy needs class labels.*metrics=\{\}",
    ),
    "a scalar metric": (linear(), Y, Y, {"metrics": scalar}, r"metrics\['scalar'\].*shape \(\)"),
    "no metric": (linear(), Y, Y, {"metrics": none}, "NoneType"),
    "a loss for each sample": (
        *(linear(), Y, Y),
        {"loss": partial(F.cross_entropy, reduction="none")},
        "scalar",
    ),
    "no loss": (linear(), Y, Y, {"loss": none}, "NoneType"),
    "float labels": (linear(), FLOATS, FLOATS, {"metrics": {}}, r"\(torch.float32\)"),
}


@pytest.mark.parametrize("case", UNFIT.values(), ids=UNFIT)
def test_what_does_not_fit_together_is_named(case):
    network, y_train, y_val, options, message = case
    with pytest.raises(ValueError, match=message) as refused:
        samples = TensorData(X, y_train, X, y_val)
        fit(network, samples, batch_size=10, lr=0.1, max_steps=2, seeds=2, **options)
    assert "must fit together" in str(refused.value)
    assert re.search(r"samples of shape \(3,\)", str(refused.value))


@pytest.mark.parametrize("batch_size", [1, "full"])
def test_labels_beyond_the_outputs_are_found_with_any_batch_size(batch_size):
    samples = TensorData(X, Y, X, Y)
    with pytest.raises(ValueError, match="must fit together"):
        fit(linear(3, 3), samples, batch_size=batch_size, lr=0.1, max_steps=1)
