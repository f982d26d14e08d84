"""Networks of seeds: their random numbers, copies of them, and what a pass must leave as it was."""

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from course_lib.internals import random_state

_random_numbers = threading.RLock()  # PyTorch has one random state for all threads


def seeded(network: Callable[[], nn.Module], seed: int) -> tuple[nn.Module, list[Tensor]]:
    """``torch.manual_seed(seed); network()``, and PyTorch's random state thereafter."""
    with forked_random_numbers():
        torch.manual_seed(seed)
        return network(), random_state(gpu_in_use())


@contextmanager
def forked_random_numbers() -> Iterator[None]:
    """What is drawn inside leaves PyTorch's random state as it was; other threads wait for it."""
    with _random_numbers, torch.random.fork_rng(devices=gpu_in_use()):
        yield


def set_random_state(states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    for device, state in zip(gpu_in_use(), states[1:], strict=True):
        torch.cuda.set_rng_state(state, device)


def gpu_in_use() -> list[int]:
    return [torch.cuda.current_device()] if torch.cuda.is_available() else []


@contextmanager
def evaluating(networks: Sequence[nn.Module]) -> Iterator[None]:
    """Eval mode inside; afterwards each module has its own mode again."""
    modes = [(module, module.training) for network in networks for module in network.modules()]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def attributes_kept(network: nn.Module) -> Iterator[None]:
    """What a stacked pass leaves in a module's attributes belongs to no network: it is dropped."""
    kept = [(vars(module), dict(vars(module))) for module in network.modules()]
    try:
        yield
    finally:
        for attributes, before in kept:
            attributes.clear()
            attributes.update(before)


def copied(network: nn.Module) -> nn.Module:
    """A copy; of results that a pass has left in an attribute, the numbers."""
    results = {
        id(value): value.detach().clone()
        for module in network.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    try:
        return copy.deepcopy(network, results)
    except Exception as error:
        raise ValueError(
            f"network={type(network).__name__} cannot be copied ({type(error).__name__}: {error}); "
            "one that draws random numbers or changes itself is evaluated on copies, so that "
            "evaluation does not change its training: let copy.deepcopy copy it"
        ) from error
