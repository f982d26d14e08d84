"""Networks of one form, as slices of stacked tensors."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import stack_module_state

State = tuple[dict[str, Tensor], dict[str, Tensor]]  # parameters and buffers by name


def seeded(network: Callable[[], nn.Module], seed: int) -> nn.Module:
    """``torch.manual_seed(seed); network()``, leaving PyTorch's random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return network()


def stacked(networks: list[nn.Module]) -> nn.Module:
    """One module of the networks' form whose tensors carry a leading axis S."""
    for module in networks[0].modules():
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
            raise ValueError(
                f"the network contains {module}, whose random numbers would depend on the other "
                "seeds; use p=0"
            )
    parameters, buffers = stack_module_state(networks)
    whole = copy.deepcopy(networks[0])
    set_tensors(whole, {**parameters, **buffers})
    return whole


def unstacked(state: State, seeds: int) -> list[State]:
    """The states of the single networks, as views."""
    parts = [{name: tensor.unbind() for name, tensor in part.items()} for part in state]
    return [
        tuple({name: slices[s] for name, slices in part.items()} for part in parts)
        for s in range(seeds)
    ]


def set_tensors(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Give a network's parameters and buffers new tensors, of any shape."""
    for name, parameter in network.named_parameters():
        parameter.data = tensors[name].detach()
    for name, buffer in network.named_buffers():
        buffer.data = tensors[name].detach()
