"""What cannot be stacked: optimizers that are refused, networks that are trained one by one."""

import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from course_lib.internals import has_hooks
from course_lib.training.batches import Batch, Batches
from course_lib.training.replicas import Replicas, forked_random_numbers, random_state

TRIED_SAMPLES = 8  # of each of the small batches
PLAIN = (int, float, str, list, dict, tuple, set)
NOT_REPRODUCIBLE = (
    "random numbers of Python or NumPy",
    "numbers or lists that change in its forward pass",
)


def name_of(made_by: Callable) -> str:
    """A function's or class's own name, also within a `functools.partial`."""
    inner = getattr(made_by, "func", made_by)
    return getattr(inner, "__name__", repr(inner))


def check_elementwise(optimizer: Callable[..., Optimizer], options: dict[str, Any]) -> None:
    """Refuse an optimizer that couples replicas, by trying it.

    Two stacked replicas make three steps, twice: with the same first replica beside two different
    second ones. The first must end at the same numbers, bit for bit.

    Raises:
        ValueError: something else than an optimizer, options that it does not take, or an
            optimizer that couples replicas, as LBFGS, Adafactor and Muon do.
    """
    weights, gradients = torch.arange(36.0).sin().reshape(2, 3, 3, 2)
    name = name_of(optimizer)
    try:
        steps = [
            after_three_steps(optimizer, options, weights[[0, i]], gradients[[0, i]])[0]
            for i in (1, 2)
        ]
        reason = "" if torch.equal(*steps) else "the step of one network depends on the others"
    except Exception as error:
        _check_options(optimizer, options, name)
        reason = _reason(error)
    if reason:
        raise ValueError(
            f"optimizer={name} couples replicas, which are trained at once: {reason}; use an "
            "elementwise optimizer such as torch.optim.SGD or torch.optim.Adam"
        )


def after_three_steps(
    optimizer: Callable[..., Optimizer], options: dict[str, Any], weights: Tensor, gradient: Tensor
) -> Tensor:
    """The weights after three steps with a constant gradient."""
    weights = nn.Parameter(weights.clone())
    stepper = optimizer([weights], **options)
    for _ in range(3):
        weights.grad = gradient.clone()
        stepper.step()
    return weights.detach()


def _check_options(optimizer: Callable, options: dict[str, Any], name: str) -> None:
    """Tell options that are wrong from an optimizer that is, on a matrix, which most can take."""
    try:
        made = optimizer([nn.Parameter(torch.ones(2, 2))], **options)
    except Exception as error:
        given = ", ".join(f"{key}={value!r}" for key, value in options.items())
        raise ValueError(f"optimizer={name} does not take {given}: {error}") from error
    if not isinstance(made, Optimizer):
        raise ValueError(f"optimizer={name} must make a torch.optim.Optimizer, not {made!r}")


def _reason(error: Exception) -> str:
    """Why an optimizer fails on stacked weights, without the shapes of the trial."""
    text = str(error).partition("\n")[0]
    if "closure" in text:
        return "its step evaluates the loss itself (a closure)"
    return "its step depends on the shape of the weights" if "[" in text else text


def check_one_group(make: Callable[[list], Optimizer], network: nn.Module, name: str) -> None:
    """Refuse an optimizer that treats some of a network's parameters in another way.

    Raises:
        ValueError: it makes several groups of parameters.
    """
    groups = len(make(list(network.parameters())).param_groups)
    if groups > 1:
        raise ValueError(
            f"optimizer={name} makes {groups} groups of parameters; fit trains all with the same "
            "options, so it must make one"
        )


def examine(replicas: Replicas, scratch: Replicas, batches: Batches) -> None:
    """Find out whether replicas may be stacked, by comparing first gradients on small batches.

    Every network's loss and gradients, and what a forward pass leaves in its buffers, must be the
    same stacked as by itself. Where they are not, or where something cannot be stacked at all,
    ``replicas.alone`` says why, and each network is trained by itself.

    Args:
        replicas: told the reason, if there is one.
        scratch: the same replicas, made once more; the trial uses them up.
        batches: what they will be trained on.

    Raises:
        ValueError: network, loss and data do not fit together, or metrics.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            reason, keep_to_self = _first_difference(scratch, batches, TRIED_SAMPLES)
        except ValueError:  # such as a network that takes multiples of 16 samples only
            if batches.batch_size <= TRIED_SAMPLES:
                raise
            reason, keep_to_self = _first_difference(scratch, batches, batches.batch_size)
    replicas.alone, replicas.keep_to_self = reason, keep_to_self
    if reason in NOT_REPRODUCIBLE:
        warnings.warn(
            f"the network has {reason}; its runs are those of the loop in the docstring of fit "
            "only as far as such a loop itself is the same each time",
            stacklevel=4,
        )


def _first_difference(scratch: Replicas, batches: Batches, size: int) -> tuple[str | None, bool]:
    """The first reason found: with a batch for each network, as in training, and with a shared one,
    as in evaluation."""
    size, found = min(size, batches.batch_size), []
    for batch in batches.train.extremes(size):
        own = [part.expand(len(scratch.networks), *part.shape[1:]).clone() for part in batch]
        found.append(_difference(scratch, tuple(own)))
    for batch in batches.val.extremes(size):
        _fitting(scratch.evaluate, batch)
        if not any(reason for reason, _ in found):
            found.append((_tried(_evaluated_difference, scratch, batch), False))
    return next((difference for difference in found if difference[0]), (None, False))


def _difference(scratch: Replicas, batch: Batch) -> tuple[str | None, bool]:
    """Why the networks cannot be stacked, and whether they have to keep to themselves."""
    tensors = [tensor.detach().clone() for tensor in (*scratch.parameters(), *scratch.buffers())]
    untouched = batch[0].clone()
    with forked_random_numbers():
        before = _traces(scratch.networks)
        gradients = _fitting(scratch.backward, batch)
        after = _traces(scratch.networks)
    if changed := [reason for reason in before if before[reason] != after[reason]]:
        return changed[0], True
    if has_hooks(scratch.networks[0]):
        return "hooks on its gradients", True
    if not torch.equal(batch[0], untouched):
        return "a forward pass that changes its input", False
    return _tried(_stacked_difference, scratch, batch, tensors, gradients), False


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
    scale = max(g.abs().max() for own in expected for g in own if g is not None)
    for position, gradient in enumerate(found):
        alone = [gradients[position] for gradients in expected]
        if {each is None for each in alone} != {gradient is None}:
            return "parameters that only some networks use"
        if gradient is not None and not _close(gradient, torch.stack(alone), scale):
            return "gradients that differ when stacked"
    scratch.collect()
    names = scratch.names()[1]
    for name, buffer in zip(names, tensors[len(found) :], strict=True):
        own = torch.stack([network.get_buffer(name) for network in scratch.networks])
        if not _close(buffer, own, own.abs().max()):
            return f"a buffer {name!r} that differs when stacked"
    return _evaluated_difference(scratch, batch)


def _evaluated_difference(scratch: Replicas, batch: Batch) -> str | None:
    with torch.no_grad():
        stacked = scratch.measured([*scratch.parameters(), *scratch.buffers()], batch)
    for mine, own in zip(stacked, scratch.evaluate(batch), strict=True):
        if not _close(mine, own, own.abs().max().clamp(min=1)):
            return "measures that differ when stacked"
    return None


def _close(first: Tensor, second: Tensor, scale: Tensor) -> bool:
    """Equal up to rounding, a thousandth of the scale in float32; NaN where NaN is."""
    if not first.is_floating_point():
        return torch.equal(first, second)
    tolerance = torch.finfo(first.dtype).eps ** 0.43 * scale.nan_to_num(1.0, 1.0).item()
    return torch.allclose(first, second, rtol=0, atol=tolerance, equal_nan=True)


def _traces(networks: list[nn.Module]) -> dict[str, Any]:
    """What a forward pass may change beside tensors."""
    return {
        "random numbers": [state.tolist() for state in random_state()],
        "random numbers of Python or NumPy": (
            random.getstate(),
            repr(np.random.get_state()),  # noqa: NPY002 (what the network draws from)
        ),
        "numbers or lists that change in its forward pass": [
            (name, key, value.tolist() if isinstance(value, Tensor) else repr(value))
            for network in networks
            for name, module in network.named_modules()
            for key, value in vars(module).items()
            if not key.startswith("_") and isinstance(value, (*PLAIN, Tensor))
        ],
    }
