"""S networks as one: forward, gradients, evaluation. Nothing here knows of a Trainer."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.parameter import is_lazy

from course_lib.internals import random_state
from course_lib.training.batches import Batch
from course_lib.training.convolutions import ConvolutionsAsProducts
from course_lib.training.objective import Objective
from course_lib.training.seeding import (
    attributes_kept,
    copied,
    evaluating,
    forked_random_numbers,
    gpu_in_use,
    seeded,
    set_random_state,
)
from course_lib.training.threads import replica_map


class Replicas(nn.Module):
    """S networks of one form, one a seed, whose tensors are slices of stacked ones.

    Network s is made by ``torch.manual_seed(s); network()``. Its parameters and buffers are views
    of slice s of tensors of shape ``(S, *shape)``, which are this module's own parameters and
    buffers: what changes the one changes the other. All networks together can therefore take one
    pass of stacked operations, and each can take a pass by itself.

    Args:
        network: makes one network, for instance a class or a `functools.partial`.
        seeds: one whole number a network.
        objective: the loss and the metrics.

    Attributes:
        networks: the S networks.
        alone: None, or the reason why every network is trained by itself, as the hand-written
            loop trains it (`examination.examine` finds it).
        make: makes one network.
        count: how many stacked tensors there are.
        keep_to_self: whether networks that are trained alone may change more than their tensors,
            or draw random numbers; then one follows the other, each with its own random numbers.

    Raises:
        ValueError: a network that is no module, is not the same form for each seed, or whose
            shapes are not known yet.
    """

    def __init__(
        self, network: Callable[[], nn.Module], seeds: Sequence[int], objective: Objective
    ):
        super().__init__()
        self.make, self.seeds, self.objective = network, list(seeds), objective
        made = [seeded(network, seed) for seed in seeds]
        self.networks, self.random_states = [each for each, _ in made], [s for _, s in made]
        self.alone: str | None = None
        self.keep_to_self = False
        _check_form(network, self.networks)
        held, trained = [dict(_tensors(each)) for each in self.networks], self.names()[0]
        for name, first in held[0].items():
            stack = torch.stack([own[name].detach() for own in held])
            if name in trained:
                self.register_parameter(_flat(name), nn.Parameter(stack, first.requires_grad))
            else:
                self.register_buffer(_flat(name), stack)
        self.count, self._places = len(held[0]), _places(self.networks[0])
        self.link()

    def link(self) -> None:
        """Make each network's tensors views of the stacked ones, on the device of these."""
        for tensor, mine in self._pairs():
            tensor.data = mine

    def collect(self) -> None:
        """Take over the buffers that a network has replaced instead of changing them in place."""
        for tensor, mine in self._pairs():
            if not tensor.requires_grad and tensor.data_ptr() != mine.data_ptr():
                mine.copy_(tensor)

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Each network's tensors, and its slices of the stacked ones."""
        stacks = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        for index, network in enumerate(self.networks):
            for name, tensor in _tensors(network):
                if _flat(name) in stacks:
                    yield tensor, stacks[_flat(name)].data[index]

    def restore(self, tensors: Sequence[Tensor]) -> None:
        """Give parameters and buffers the values of these stacked tensors."""
        for own, given in zip(self.tensors(), tensors, strict=True):
            own.copy_(given)
        self.link()

    def copies(self) -> list[nn.Module]:
        """Copies of the networks as they are now, in eval mode."""
        return [copied(network).eval() for network in self.networks]

    def released(self) -> list[nn.Module]:
        """The networks themselves, in eval mode, with tensors of their own."""
        self.link()  # the Trainer leaves the stacked tensors on the CPU
        for network in self.networks:
            network.zero_grad()
            for _, tensor in _tensors(network):
                tensor.data = tensor.data.clone()
        return [network.eval() for network in self.networks]

    # All networks in one pass.

    def tensors(self) -> list[Tensor]:
        """The stacked parameters and buffers, detached."""
        return [*(parameter.detach() for parameter in self.parameters()), *self.buffers()]

    def names(self) -> tuple[list[str], list[str]]:
        """The names of parameters and buffers, as a single network has them."""
        form = self.networks[0]
        return [n for n, _ in form.named_parameters()], [n for n, _ in form.named_buffers()]

    def losses(self, tensors: Sequence[Tensor], batch: Batch) -> Tensor:
        """Each network's loss in its train mode, shape ``(S,)``, for stacked tensors."""
        return self._vmapped(self._loss, tensors, batch)

    def measured(self, tensors: Sequence[Tensor], batch: Batch) -> list[Tensor]:
        """Each network's loss and metrics in eval mode, shape ``(S,)`` each."""
        with evaluating(self.networks[:1]):
            return self._vmapped(self._measures, tensors, batch)

    def gradients(self, tensors: Sequence[Tensor], batch: Batch) -> list[Tensor | None]:
        """dL/dw for L = L_1 + ... + L_S: since L_s depends on slice s alone, dL/dw_s = dL_s/dw_s.

        None for a parameter that is frozen, or without influence on the loss.
        """
        trained = [parameter.requires_grad for parameter in self.parameters()]
        leaves = [
            tensor.detach().requires_grad_(wanted)
            for tensor, wanted in zip(tensors, trained, strict=False)
        ]
        with torch.enable_grad():
            loss = self.losses([*leaves, *tensors[len(leaves) :]], batch).sum()
            wanted = [leaf for leaf in leaves if leaf.requires_grad]
            found = iter(torch.autograd.grad(loss, wanted, allow_unused=True))
        return [next(found) if leaf.requires_grad else None for leaf in leaves]

    def _vmapped(self, function: Callable, tensors: Sequence[Tensor], batch: Batch) -> Any:
        axes = [None if len(part) == 1 < len(self.networks) else 0 for part in batch]
        shared = [part[0] if axis is None else part for part, axis in zip(batch, axes, strict=True)]
        return vmap(function, (0, *axes))(list(tensors), *shared)

    def _loss(self, tensors: list[Tensor], x: Tensor, *targets: Tensor) -> Tensor:
        return self.objective(self._outputs(tensors, x), *targets)

    def _measures(self, tensors: list[Tensor], x: Tensor, *targets: Tensor) -> list[Tensor]:
        return self.objective.measured(self._outputs(tensors, x), *targets)

    def _outputs(self, tensors: list[Tensor], x: Tensor) -> Tensor:
        state, form = {name: tensors[index] for name, index in self._places}, self.networks[0]
        with ConvolutionsAsProducts(), attributes_kept(form):
            # PyTorch's own tying leaves such tensors in modules that have two names.
            return functional_call(form, state, (x,), tie_weights=False)

    # Each network by itself.

    def backward(self, batch: Batch) -> list[list[Tensor | None]]:
        """Each network's own gradients, by `loss.backward()`; they stay in its parameters, too."""
        with self._map(batch) as each:
            list(each(partial(self._backward, batch), range(len(self.networks))))
        return [[p.grad for p in network.parameters()] for network in self.networks]

    def _backward(self, batch: Batch, index: int) -> None:
        network = self.networks[index]
        x, *targets = (part[index if len(part) > 1 else 0] for part in batch)
        network.zero_grad()
        with torch.enable_grad(), self._own_random_numbers(index):
            self.objective(network(x.clone() if self.alone else x), *targets).backward()
        for parameter in network.parameters():  # what an embedding with sparse=True asks for
            if parameter.grad is not None and parameter.grad.is_sparse:
                parameter.grad = parameter.grad.to_dense()

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> list[Tensor]:
        """As `measured`, with a pass for each network."""
        # What a pass changes beside the weights must not change the training.
        networks = self.copies() if self.keep_to_self else self.networks
        with evaluating(networks), forked_random_numbers(), self._map(batch) as each:
            rows = list(each(partial(self._evaluate, networks, batch), range(len(networks))))
        return [torch.stack(column) for column in zip(*rows, strict=True)]

    @torch.no_grad()
    def _evaluate(self, networks: list[nn.Module], batch: Batch, index: int) -> list[Tensor]:
        x, *targets = (part[index if len(part) > 1 else 0] for part in batch)
        if self.keep_to_self:  # the next ones of its own, which training draws again
            set_random_state(self.random_states[index])
        outputs = networks[index](x.clone() if self.alone else x)
        return self.objective.measured(outputs, *targets)

    def multiplications(self, batch: Batch) -> int:
        """What one network's forward pass takes, roughly: each weight once a sample."""
        return sum(parameter[0].numel() for parameter in self.parameters()) * batch[0].shape[1]

    def _map(self, batch: Batch) -> AbstractContextManager[Callable]:
        side_by_side = 1 if self.keep_to_self else len(self.networks)
        return replica_map(side_by_side, self.multiplications(batch))

    @contextmanager
    def _own_random_numbers(self, index: int) -> Iterator[None]:
        """The random numbers that the network would draw if it were alone."""
        if not self.keep_to_self:
            yield
            return
        with forked_random_numbers():
            set_random_state(self.random_states[index])
            yield
            self.random_states[index] = random_state(gpu_in_use())


def _tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from network.named_parameters()
    yield from network.named_buffers()


def _places(network: nn.Module) -> list[tuple[str, int]]:
    """Where modules hold tensors, each place by one name; and which of all tensors it is.

    A tensor may have several places, and a module several names, of which PyTorch takes one.
    """
    index = {id(tensor): number for number, (_, tensor) in enumerate(_tensors(network))}
    own = {"recurse": False, "remove_duplicate": False}
    return [
        (name, index[id(tensor)])
        for prefix, module in network.named_modules()
        for held in (module.named_parameters(prefix, **own), module.named_buffers(prefix, **own))
        for name, tensor in held
    ]


def _flat(name: str) -> str:
    """A name without dots, which no module takes."""
    return name.replace(".", "/")


def _check_form(network: Callable[[], nn.Module], networks: list[nn.Module]) -> None:
    if not all(isinstance(each, nn.Module) for each in networks):
        raise ValueError(f"network={network!r} must make a torch.nn.Module each time it is called")
    owned = [
        id(tensor) for each in networks for tensor in each.parameters() if tensor.requires_grad
    ]
    if not owned:
        raise ValueError(f"network={network!r} has no parameters to train: none, or all are frozen")
    if len(set(owned)) < len(owned):
        raise ValueError(
            f"network={network!r} must make a network with parameters of its own each time it is "
            "called"
        )
    if any(map(is_lazy, networks[0].parameters())):
        raise ValueError(
            f"network={network!r} has a lazy layer, whose shape is not known before it has seen "
            "data; give the layer its size"
        )
    forms = [[(name, each.shape, each.dtype) for name, each in _tensors(n)] for n in networks]
    if any(form != forms[0] for form in forms):
        raise ValueError(f"network={network!r} must make tensors of the same shapes for each seed")
