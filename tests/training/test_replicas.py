"""All networks in one pass, or each by itself: the same numbers."""

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import multiclass_accuracy

from course_lib.models import MLP
from course_lib.training.objective import Objective, accuracy
from course_lib.training.replicas import Replicas
from zoo import ALONE, STACKED, AssignedBuffer, Tied, noisy_digits

SEEDS = [3, 0, 11]
OBJECTIVE = Objective(cross_entropy, accuracy)
KINDS = ["MLP", "LeNet", "F1", "tied", "frozen", "unused", "frozen batch norm"]


def replicas_of(kind: str, seeds=SEEDS) -> Replicas:
    return Replicas({**STACKED, **ALONE}[kind], seeds, OBJECTIVE)


def batch_of(samples: int, seeds: int, weighted: bool = False):
    """A batch of each seed; of one for all where `seeds` is 1."""
    data = noisy_digits()
    rows = torch.arange(samples * seeds).view(seeds, samples)
    weights = (torch.linspace(0, 1, samples * seeds).view(seeds, samples),) if weighted else ()
    return data.x_train[rows], data.y_train[rows], *weights


def test_first_tensors_are_those_of_each_seed():
    for seed, network in zip(SEEDS, replicas_of("F1").networks, strict=True):
        torch.manual_seed(seed)
        expected = STACKED["F1"]().state_dict()
        assert all(torch.equal(own, expected[n]) for n, own in network.state_dict().items())


def test_first_weights_leave_the_random_state_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    replicas_of("MLP")
    assert torch.equal(torch.get_rng_state(), state)


def test_what_changes_the_stack_changes_the_network_and_back():
    replicas = replicas_of("F1")
    names, buffers = replicas.names()
    for name, stack in zip([*names, *buffers], replicas.tensors(), strict=True):
        assert stack.shape[0] == len(SEEDS)
        own = dict(replicas.networks[1].state_dict())[name]
        stack[1].fill_(7)
        assert (own == 7).all()
        own.fill_(5)
        assert (stack[1] == 5).all() and not (stack[0] == 5).all()


def test_shared_weights_are_stacked_once():
    replicas = Replicas(Tied, SEEDS, OBJECTIVE)
    assert len(list(replicas.parameters())) == len(list(Tied().parameters()))
    for network in replicas.networks:
        assert network.again.weight is network.first.weight


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shared", [False, True], ids=["own samples", "the same samples"])
@pytest.mark.parametrize("kind", KINDS)
def test_both_ways_through_the_replicas_agree(kind, shared, weighted, float64):
    replicas, batch = replicas_of(kind), batch_of(16, 1 if shared else 3, weighted)
    apart = copy.deepcopy(replicas)
    apart.link()
    losses = replicas.losses([tensor.clone() for tensor in replicas.tensors()], batch)
    gradients = replicas.gradients(replicas.tensors(), batch)
    own = apart.backward(batch)
    for index, network in enumerate(apart.networks):
        x, *targets = (part[0 if shared else index] for part in batch)
        again = copy.deepcopy(replicas.networks[index])
        assert losses[index].item() == pytest.approx(OBJECTIVE(again(x), *targets).item())
        for stacked, alone, parameter in zip(
            gradients, own[index], network.parameters(), strict=True
        ):
            assert (stacked is None) == (alone is None)
            assert alone is parameter.grad
            if alone is not None:
                torch.testing.assert_close(stacked[index], alone)
    for stacked, alone in zip(replicas.tensors(), apart.tensors(), strict=True):
        torch.testing.assert_close(stacked, alone)  # batch statistics among them
    measured = replicas.measured(replicas.tensors(), batch)
    torch.testing.assert_close(measured, apart.evaluate(batch))


def test_gradients_are_none_for_what_is_frozen_or_without_influence():
    for kind, prefix in (("frozen", "first"), ("unused", "idle")):
        replicas = replicas_of(kind)
        found = replicas.gradients(replicas.tensors(), batch_of(8, 3))
        for name, gradient in zip(replicas.names()[0], found, strict=True):
            assert (gradient is None) == name.startswith(prefix)


@pytest.mark.parametrize("way", ["stacked", "one by one"])
def test_evaluate_equals_each_network_alone(way):
    replicas, data = replicas_of("F1"), noisy_digits()
    batch = data.x_val[None], data.y_val[None]
    losses, accuracies = (
        replicas.evaluate(batch)
        if way == "one by one"
        else replicas.measured(replicas.tensors(), batch)
    )
    for index, network in enumerate(replicas.copies()):
        outputs = network(data.x_val)
        assert losses[index].item() == pytest.approx(cross_entropy(outputs, data.y_val).item())
        expected = multiclass_accuracy(outputs, data.y_val, num_classes=10, average="micro")
        assert accuracies[index].item() == pytest.approx(expected.item())


@pytest.mark.parametrize("kind", ["F1", "dropout", "LSTM with dropout"])
def test_evaluation_changes_nothing(kind):
    replicas, batch = replicas_of(kind), batch_of(16, 1)
    replicas.keep_to_self = kind != "F1"
    before = [tensor.clone() for tensor in replicas.tensors()]
    state, own = torch.get_rng_state(), copy.deepcopy(replicas.random_states)
    replicas.evaluate(batch)
    assert all(torch.equal(a, b) for a, b in zip(before, replicas.tensors(), strict=True))
    assert all(network.training for network in replicas.networks)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(own, replicas.random_states, strict=True))


def test_random_numbers_are_those_of_the_network_alone():
    seen = []
    for seeds in ([0], SEEDS):
        replicas = replicas_of("dropout", seeds)
        replicas.alone, replicas.keep_to_self = "random numbers", True
        state = torch.get_rng_state()
        for _ in range(3):
            gradients = replicas.backward(batch_of(16, 1))
        assert torch.equal(torch.get_rng_state(), state)
        seen.append(gradients[seeds.index(0)])
    assert all(torch.equal(alone, beside) for alone, beside in zip(*seen, strict=True))


def test_assigned_buffers_are_collected():
    replicas = Replicas(AssignedBuffer, SEEDS, OBJECTIVE)
    replicas.networks[1].mean = torch.full((16,), 4.0)
    replicas.collect()
    stack = dict(zip(replicas.names()[1], replicas.buffers(), strict=True))["mean"]
    assert (stack[1] == 4).all() and (stack[[0, 2]] == 0).all()


def test_copies_stay_as_they_are():
    replicas = replicas_of("F1")
    copies = replicas.copies()
    before = [copy.deepcopy(each.state_dict()) for each in copies]
    for tensor in replicas.tensors():
        tensor.zero_()
    for each, kept in zip(copies, before, strict=True):
        assert not any(part.training for part in each.modules())
        assert all(torch.equal(own, kept[name]) for name, own in each.state_dict().items())
    assert all(network.training for network in replicas.networks)


def test_released_networks_have_tensors_of_their_own():
    networks = replicas_of("F1").released()
    places = set()
    for network in networks:
        assert not network.training
        for tensor in network.state_dict().values():
            assert tensor.untyped_storage().nbytes() == tensor.nbytes
            places.add(tensor.data_ptr())
    assert len(places) == len(networks) * len(networks[0].state_dict())


class Undecided(nn.Linear):
    def __init__(self):
        super().__init__(2, int(torch.randint(1, 100, ())))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda: "a network", "must make a torch.nn.Module each time"),
        (partial(nn.LazyLinear, 3), "has a lazy layer, whose shape is not known"),
        (Undecided, "must make tensors of the same shapes for each seed"),
    ],
)
def test_networks_that_are_refused(network, message):
    with pytest.raises(ValueError, match=message):
        Replicas(network, SEEDS, OBJECTIVE)


def test_one_network_for_all_seeds_is_refused():
    network = MLP()
    with pytest.raises(ValueError, match="network="):
        Replicas(lambda: network, SEEDS, OBJECTIVE)
