"""Networks of seeds: their random numbers, copies of them, and what stays as it was."""

import threading

import pytest
import torch
from torch import nn

from course_lib.models import MLP
from course_lib.training.seeding import (
    attributes_kept,
    copied,
    evaluating,
    forked_random_numbers,
    seeded,
    set_random_state,
)
from zoo import Head, eval_mode


def test_seeded_returns_the_random_state_after_making():
    torch.manual_seed(5)
    expected, drawn = MLP(), torch.rand(3)
    network, states = seeded(MLP, 5)
    assert torch.equal(network[1].weight, expected[1].weight)
    with forked_random_numbers():
        set_random_state(states)
        assert torch.equal(torch.rand(3), drawn)


def test_other_threads_wait_until_the_random_state_is_as_it_was():
    """Two threads, each of which draws what it would draw alone, and leaves nothing behind."""
    expected = [seeded(MLP, seed)[0][1].weight for seed in (0, 1)]
    before, wrong = torch.get_rng_state(), []

    def draw(seed):
        made = (seeded(MLP, seed)[0][1].weight for _ in range(50))
        wrong.extend(seed for weight in made if not torch.equal(weight, expected[seed]))

    threads = [threading.Thread(target=draw, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and torch.equal(torch.get_rng_state(), before)


def test_evaluating_gives_each_module_its_own_mode_back():
    network = eval_mode(nn.Sequential(nn.BatchNorm1d(3), nn.Dropout()), 0)
    with pytest.raises(KeyError), evaluating([network]):
        assert not any(each.training for each in network.modules())
        raise KeyError
    assert [each.training for each in network.modules()] == [True, False, True]


def test_attributes_that_a_pass_leaves_are_dropped():
    network = Head()
    network.kept = 3
    with attributes_kept(network):
        network.kept, network.first.seen = 4, torch.ones(2)
    assert network.kept == 3 and not hasattr(network.first, "seen")


def test_a_copy_has_the_numbers_of_results_that_a_pass_has_left():
    network = Head()
    network.seen = network.first(torch.ones(1, 64))
    other = copied(network)
    assert torch.equal(other.seen, network.seen) and not other.seen.requires_grad
    assert other.first.weight is not network.first.weight


def test_a_network_that_cannot_be_copied_is_named():
    network = Head()
    network.lock = threading.Lock()
    with pytest.raises(ValueError, match="network=Head cannot be copied"):
        copied(network)
