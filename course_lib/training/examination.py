"""Which networks may be stacked: found out by trying, with small batches."""

import math
import pickle
import random
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.checks import name_of
from course_lib.internals import gradient_hooks, random_state
from course_lib.training.batches import Batch, Batches
from course_lib.training.objective import Objective
from course_lib.training.replicas import Replicas
from course_lib.training.seeding import (
    forked_random_numbers,
    gpu_in_use,
    seeded,
    set_random_state,
)

TRIED_SAMPLES = 8  # of each of the small batches
LOUD = 2**20  # times the loss: a hook that clips does nothing to short gradients
PLAIN = (int, float, str, list, dict, tuple, set)
ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # of a function, say: another one each time
STATE, HOOKS = "numbers or lists that change in its forward pass", "hooks on its gradients"
NOT_REPRODUCIBLE = ("random numbers of Python or NumPy", STATE)


def examine(replicas: Replicas, scratch: Replicas, batches: Batches) -> None:
    """Find out whether replicas may be stacked, by comparing first gradients on small batches.

    Every network's loss and gradients, and what a forward pass leaves in its tensors, must be the
    same stacked as by itself. Where they are not, or where something cannot be stacked at all,
    ``replicas.alone`` says why, and each network is trained by itself.

    Args:
        replicas: told the reason, if there is one.
        scratch: the same replicas, made once more; the trial uses them up.
        batches: what they will be trained on.

    Raises:
        ValueError: network, loss and data do not fit together, or metrics; a network that is
            another one each time, that does not keep its tensors, or that cannot be copied
            where it has to be.
    """
    _check_first_tensors(replicas, scratch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = _differences(scratch, batches, TRIED_SAMPLES)
        except ValueError:  # such as a network that takes multiples of 16 samples only
            if batches.batch_size <= TRIED_SAMPLES:
                raise
            found = _differences(scratch, batches, batches.batch_size)
        replicas.alone = next((reason for reason, _ in found if reason), None)
        replicas.keep_to_self = any(keep_to_self for _, keep_to_self in found)
        if replicas.keep_to_self:
            replicas.copies()
    if replicas.alone in NOT_REPRODUCIBLE:
        warnings.warn(
            f"the network has {replicas.alone}; its runs are those of the loop in the docstring of "
            "fit only as far as such a loop itself is the same each time",
            stacklevel=4,
        )


def _check_first_tensors(replicas: Replicas, scratch: Replicas) -> None:
    """Both were made with the same seeds."""
    names = sum(replicas.names(), [])
    for name, first, second in zip(names, replicas.tensors(), scratch.tensors(), strict=True):
        if not torch.allclose(first, second, rtol=0, atol=0, equal_nan=True):
            raise ValueError(
                f"network={name_of(replicas.make)} must make the same network each time it is "
                f"called after torch.manual_seed(s), but its {name!r} differs: seed what draws it "
                "with torch.initial_seed()"
            )


def _check_tensors_are_kept(replicas: Replicas, batches: list[Batch]) -> None:
    """A network whose tensors are slices of stacked ones must train as one that owns them."""
    linked = Replicas(replicas.make, replicas.seeds[:1], replicas.objective)
    names, network = sum(linked.names(), []), linked.networks[0]
    own, states = seeded(replicas.make, replicas.seeds[0])
    for each in (own, network):
        with forked_random_numbers():
            set_random_state(states)
            _two_steps(each, replicas.objective, batches)
    linked.collect()
    kept = dict(zip(names, (stack[0] for stack in linked.tensors()), strict=True))
    for name, tensor in [*own.named_parameters(), *own.named_buffers()]:
        if name not in kept or not _close(kept[name], tensor.detach(), [tensor.detach()]):
            raise ValueError(
                f"network={name_of(replicas.make)} must keep its tensors, but {name!r} would not "
                "be trained as in a hand-written loop: a tensor that is made, or replaced, in the "
                "forward pass belongs into __init__, and none may share memory with a parameter"
            )


def _two_steps(network: nn.Module, objective: Objective, batches: list[Batch]) -> None:
    """Two steps of plain gradient descent."""
    parameters = list(network.parameters())
    for x, *targets in batches:
        network.zero_grad()
        with torch.enable_grad():
            objective(network(x[0].clone()), *(part[0] for part in targets)).backward()
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.data.add_(parameter.grad, alpha=-0.1)


def _differences(scratch: Replicas, batches: Batches, size: int) -> list[tuple[str | None, bool]]:
    """Why the networks cannot be stacked, and whether they have to keep to themselves: with a
    batch for each network, as in training, and with a shared one, as in evaluation."""
    size = min(size, batches.batch_size)
    first = [tensor.clone() for tensor in scratch.tensors()]
    train, val = batches.train.extremes(size), batches.val.extremes(size)
    found = [_habits(scratch, train[0]), (_drawn(scratch.networks), False)]
    for own in (train, train[::-1]):
        each = [own[index % 2] for index in range(len(scratch.networks))]
        found.append(_difference(scratch, tuple(map(torch.cat, zip(*each, strict=True)))))
    for batch in val:
        scratch.restore(first)
        alone = any(reason for reason, _ in found)
        found.append(_difference_in_evaluation(scratch, batch, alone))
    if all(reason not in NOT_REPRODUCIBLE for reason, _ in found):
        _check_tensors_are_kept(scratch, train)
    return found


def _habits(replicas: Replicas, batch: Batch) -> tuple[str | None, bool]:
    """What the first network by itself does in further passes, each from its first tensors."""
    one = Replicas(replicas.make, replicas.seeds[:1], replicas.objective)
    one.alone = "tried"  # so that each pass has an input of its own
    first = [tensor.clone() for tensor in one.tensors()]
    gradients, changed = _traced(one.backward, one.networks, batch)
    if changed:
        return changed, True

    def alike(batch: Batch, factor: int = 1) -> bool:
        one.restore(first)
        return _proportional(one, batch, gradients, factor)

    if not alike(batch):
        return STATE, True
    if any(map(gradient_hooks, one.networks[0].parameters())) or not alike(batch, LOUD):
        return HOOKS, True
    mixed = torch.arange(batch[0].shape[1]).cos().argsort()
    order_matters = not alike(tuple(part[:, mixed] for part in batch))
    return None, order_matters


def _proportional(one: Replicas, batch: Batch, expected: list[list], factor: int = 1) -> bool:
    """Whether gradients of a multiple of the loss are this multiple of those expected."""
    once = one.objective
    one.objective = Objective(lambda *given, **o: factor * once.loss(*given, **o), once.metrics)
    pairs = list(zip(expected[0], one.backward(batch)[0], strict=True))
    one.objective = once
    every = [gradient for gradient, _ in pairs if gradient is not None]
    return all(
        mine is own if mine is None or own is None else _close(mine, own / factor, every)
        for mine, own in pairs
    )


def _drawn(networks: list[nn.Module]) -> str | None:
    """Whether the seeds draw more than tensors: then one network cannot stand for all."""
    first, *others = (
        [[type(module).__qualname__ for module in network.modules()], _attributes(network)]
        for network in networks
    )
    return None if all(other == first for other in others) else "attributes that its seeds draw"


def _difference(scratch: Replicas, batch: Batch) -> tuple[str | None, bool]:
    tensors = [tensor.clone() for tensor in scratch.tensors()]
    untouched = batch[0].clone()
    gradients, changed = _traced(scratch.backward, scratch.networks, batch)
    if changed:
        return changed, True
    if not torch.equal(batch[0], untouched):
        return "a forward pass that changes its input", False
    return _tried(_stacked_difference, scratch, batch, tensors, gradients), False


def _difference_in_evaluation(
    scratch: Replicas, batch: Batch, alone: bool
) -> tuple[str | None, bool]:
    before = [tensor.clone() for tensor in scratch.tensors()]
    _, changed = _traced(scratch.evaluate, scratch.networks, batch)
    scratch.collect()
    if changed or not all(map(torch.equal, before, scratch.tensors())):
        return changed or "a forward pass that changes its tensors in eval mode", True
    return None if alone else _tried(_evaluated_difference, scratch, batch), False


def _traced(function: Callable, networks: list[nn.Module], batch: Batch) -> tuple[Any, str | None]:
    """What a pass of each network by itself returns; and what it changes beside tensors."""
    with forked_random_numbers():
        before = _traces(networks)
        result = _fitting(function, batch)
        after = _traces(networks)
    return result, next((what for what in before if before[what] != after[what]), None)


def _tried(difference: Callable[..., str | None], *given: Any) -> str | None:
    try:
        return difference(*given)
    except Exception as error:  # whatever is in the way, each network by itself still works
        return f"operations that cannot be stacked ({type(error).__name__})"


def _fitting(function: Callable[[Batch], Any], batch: Batch) -> Any:
    """What a pass of each network by itself returns; an error says what does not fit."""
    try:
        return function(batch)
    except Exception as error:
        x, y, *_ = batch
        raise ValueError(
            f"network, loss, metrics and data must fit together: {x.shape[1]} samples of shape "
            f"{tuple(x.shape[2:])} ({x.dtype}) and targets of shape {tuple(y.shape[2:])} "
            f"({y.dtype}): {type(error).__name__}: {error}"
        ) from error


def _stacked_difference(
    scratch: Replicas, batch: Batch, tensors: list[Tensor], expected: list[list]
) -> str | None:
    found = scratch.gradients(tensors, batch)
    every = [gradient for own in expected for gradient in own if gradient is not None]
    for position, gradient in enumerate(found):
        alone = [gradients[position] for gradients in expected]
        if {each is None for each in alone} != {gradient is None}:
            return "parameters that only some networks use"
        if gradient is not None and not _close(gradient, torch.stack(alone), every):
            return "gradients that differ when stacked"
    scratch.collect()
    names = sum(scratch.names(), [])
    for name, mine, own in zip(names, tensors, scratch.tensors(), strict=True):
        if not _close(mine, own, [own]):
            return f"{name!r}, which its forward pass changes in another way when stacked"
    return _evaluated_difference(scratch, batch)


def _evaluated_difference(scratch: Replicas, batch: Batch) -> str | None:
    with torch.no_grad():
        stacked = scratch.measured(scratch.tensors(), batch)
    for mine, own in zip(stacked, scratch.evaluate(batch), strict=True):
        if not _close(mine, own, [own, torch.ones(1)]):
            return "measures that differ when stacked"
    return None


def _close(first: Tensor, second: Tensor, beside: list[Tensor]) -> bool:
    """Equal up to rounding, a thousandth of the largest number beside it in float32; NaN where
    NaN is."""
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    if not (first.is_floating_point() or first.is_complex()):
        return torch.equal(first, second)
    scale = max((each.abs().max().item() for each in beside if each.numel()), default=0.0)
    tolerance = torch.finfo(first.dtype).eps ** 0.43 * (scale if math.isfinite(scale) else 1.0)
    return torch.allclose(first, second, rtol=0, atol=tolerance, equal_nan=True)


def _traces(networks: list[nn.Module]) -> dict[str, Any]:
    """What a forward pass may change beside tensors."""
    modules = [module for network in networks for module in network.modules()]
    held = [value for module in modules for value in vars(module).values()]
    own = [value.get_state() for value in held if isinstance(value, torch.Generator)]
    return {
        "random numbers": [each.numpy().tobytes() for each in (*random_state(gpu_in_use()), *own)],
        "random numbers of Python or NumPy": (
            random.getstate(),
            pickle.dumps(np.random.get_state()),  # noqa: NPY002 (what the network draws from)
        ),
        STATE: [_attributes(network) for network in networks],
    }


def _attributes(network: nn.Module) -> list[tuple]:
    """A network's numbers, lists and tensors that are neither parameters nor buffers."""
    return [
        (name, key, value.tolist() if isinstance(value, Tensor) else ADDRESS.sub("", repr(value)))
        for name, module in network.named_modules()
        for key, value in vars(module).items()
        if not key.startswith("_") and isinstance(value, (*PLAIN, Tensor))
    ]
