"""Which networks are stacked, which are trained one by one and why, and what does not fit."""

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
from course_lib.training.examination import NOT_REPRODUCIBLE, examine
from course_lib.training.objective import Objective, accuracy
from course_lib.training.replicas import Replicas
from zoo import ALONE, KINDS, NOT, STACKED, Counting, FromNumPy, FromPython, Head, noisy_digits

fit = partial(fit, progress=False)


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
