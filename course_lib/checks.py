"""What arguments must be, said once: each check names the argument and what would be right."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from course_lib.internals import is_batch_norm, is_dropout, random_state

LEAST_SEED, LARGEST_SEED = -(2**63), 2**64 - 1  # that PyTorch takes
MOST_SEEDS = 1_000_000  # more are one seed, such as 20240501, or more than any memory holds


def is_whole(value: Any, least: float = 1, most: float = math.inf) -> bool:
    """Whether a value is a whole number in its range: of Python's or NumPy's, and no bool."""
    integral = isinstance(value, Integral) and not isinstance(value, bool)
    return integral and least <= value <= most


def whole(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """The argument `name` as an int, a whole number from `least` to `most`.

    Raises:
        ValueError: anything else.
    """
    if not is_whole(value, least, math.inf if most is None else most):
        to = "" if most is None else f" to {most}"
        raise ValueError(f"{name}={value!r} must be a whole number from {least}{to}")
    return int(value)


def positive(name: str, value: Any) -> float:
    """The argument `name` as a float, above 0 and no larger than tensors can hold.

    Raises:
        ValueError: anything else.
    """
    if not 0 < as_float(value) <= torch.finfo(torch.get_default_dtype()).max:
        raise ValueError(f"{name}={value!r} must be a positive number, for instance 0.1")
    return float(value)


def listed(value: Any) -> list:
    """What one can go through as a list; an empty one for anything else."""
    try:
        return list(value)
    except TypeError:
        return []


def name_of(made_by: Callable) -> str:
    """A function's or class's own name, also within a `functools.partial`."""
    inner = getattr(made_by, "func", made_by)
    return getattr(inner, "__name__", repr(inner))


def as_float(value: Any) -> float:
    """A real number as a float; NaN for a bool and what else is none, or too large for a float."""
    real = isinstance(value, Real) and not isinstance(value, bool)
    try:
        return float(value) if real else math.nan
    except OverflowError:
        return math.nan


def seed(value: Any) -> int:
    """The argument `seed` as an int, as PyTorch's random numbers take it.

    Raises:
        ValueError: anything else than a whole number from -2⁶³ to 2⁶⁴ - 1.
    """
    return whole("seed", value, LEAST_SEED, LARGEST_SEED)


def seeds(value: Any) -> list[int]:
    """The argument `seeds` as a list: n stands for 0, ..., n - 1.

    With the environment variable COURSE_FIRST_SEED it stands for the n seeds from that one on: so
    a lesson is replicated on other seeds without a change to it.

    Args:
        value: how many seeds, or the seeds themselves: a range, list, array or tensor.

    Raises:
        ValueError: no seeds, equal ones, other things than whole numbers, numbers of more than 64
            bits, more than a million.
    """
    plain = value.tolist() if hasattr(value, "tolist") else value
    first = int(os.environ.get("COURSE_FIRST_SEED") or 0)
    given = range(first, first + plain) if is_whole(plain, most=MOST_SEEDS) else plain
    numbers = list(given) if isinstance(given, Iterable) and not isinstance(given, bytes) else []
    fit = all(is_whole(number, LEAST_SEED, LARGEST_SEED) for number in numbers)
    if not numbers or not fit or len(set(numbers)) < len(numbers):
        one = f", such as [{plain}]" if is_whole(plain, MOST_SEEDS + 1, LARGEST_SEED) else ""
        raise ValueError(f"seeds={value!r} must be one or more different whole numbers{one}")
    return [int(number) for number in numbers]


def sample_count(tensors: Sequence[Tensor]) -> int:
    """How many samples the tensors of a data set hold, all equally many, along their first axis.

    Raises:
        ValueError: unequal numbers, or none.
    """
    lengths = {tensor.shape[:1] for tensor in tensors}
    if len(lengths) != 1 or not all(sum(length) for length in lengths):
        shapes = " and ".join(str(tuple(tensor.shape)) for tensor in tensors)
        raise ValueError(
            f"data of shapes {shapes} must hold equally many samples, one or more, along the "
            "first axis"
        )
    return len(tensors[0])


def numbers(name: str, values: Any) -> Tensor:
    """The argument `name` as a dense tensor of real numbers, from a tensor or what NumPy takes.

    Raises:
        ValueError: anything else, and what has a mask.
    """
    parts = values if isinstance(values, list | tuple) else [values]
    if any(isinstance(part, np.ma.MaskedArray) for part in parts):
        raise ValueError(f"{name} must have no mask: leave out or fill in what is masked")
    try:
        tensor = torch.as_tensor(values if isinstance(values, Tensor) else _array(values))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} must be numbers, as a tensor or an array: {error}") from error
    if tensor.is_complex() or not _is_dense(tensor):
        raise ValueError(f"{name} must hold real numbers, and be dense; it is {tensor.dtype}")
    return tensor


def _is_dense(tensor: Tensor) -> bool:
    plain = tensor.layout is torch.strided and not tensor.is_nested
    return plain and not tensor.is_quantized and not tensor.is_meta


def _array(values: Any) -> np.ndarray:
    """An array as PyTorch takes it: with positive strides, and writeable."""
    array = np.asarray(values)
    if array.ndim and not (array.flags.c_contiguous and array.flags.writeable):
        return array.copy()
    return array


def measurable(network: nn.Module, data: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Inputs and targets of samples, each of which a network treats alone.

    Raises:
        ValueError: no network, nothing to train, not two tensors of equal length, and what
            `in_eval_mode` and `without_chance` refuse.
    """
    is_module("network", network)
    pair = list(data) if isinstance(data, list | tuple) else []
    if len(pair) != 2 or not all(isinstance(each, Tensor) and _is_dense(each) for each in pair):
        raise ValueError(
            "data must be two dense tensors, inputs and targets, such as (x, y), not "
            + (", ".join(type(each).__name__ for each in pair) or type(data).__name__)
        )
    sample_count(pair)
    if not any(weight.requires_grad for weight in network.parameters()):
        raise ValueError("network must have weights that require a gradient")
    in_eval_mode(network)
    without_chance(network, pair[0][:1])
    return pair[0], pair[1]


def is_module(name: str, value: Any) -> None:
    """Refuse what is no network.

    Raises:
        ValueError: anything else than a `torch.nn.Module`.
    """
    if not isinstance(value, nn.Module):
        raise ValueError(f"{name}={value!r} must be a torch.nn.Module, such as one of Run.networks")


def batch_loss(
    network: nn.Module, weights: Mapping[str, Tensor], loss: Callable, x: Tensor, y: Tensor
) -> Tensor:
    """The loss of a batch at these weights.

    Raises:
        ValueError: network, loss and data do not fit together, or the loss is not one number.
    """
    with _fitting(x, y):
        value = loss(functional_call(network, dict(weights), (x,)), y)
    floats = isinstance(value, Tensor) and value.is_floating_point()
    if not floats or value.ndim != 0:
        found = (
            f"the shape {tuple(value.shape)}" if floats else repr(getattr(value, "dtype", value))
        )
        raise ValueError(f"loss must return one number, not {found}")
    return value


@contextmanager
def _fitting(*batch: Tensor) -> Iterator[None]:
    """What fails inside is a ValueError that says what did not fit together."""
    try:
        yield
    except Exception as error:
        forms = " and ".join(f"{tuple(part.shape)} ({part.dtype})" for part in batch)
        raise ValueError(
            f"network, loss and data must fit together: samples of {forms} led to "
            f"{type(error).__name__}: {error}"
        ) from error


def in_eval_mode(network: nn.Module) -> None:
    """Refuse layers that make an output depend on other samples of its batch, or on chance.

    Raises:
        ValueError: BatchNorm or Dropout in train mode, BatchNorm without running statistics.
    """
    for name, module in network.named_modules():
        layer = f"{type(module).__name__} {name!r}"
        normalizes = is_batch_norm(module)
        if module.training and (normalizes or is_dropout(module)):
            raise ValueError(
                f"network must be in eval mode, but its {layer} is in train mode: network.eval()"
            )
        if normalizes and module.running_mean is None:
            raise ValueError(
                f"network must treat each sample alone, but its {layer} takes the statistics of "
                "the batch: make it with track_running_stats=True"
            )


def without_chance(network: nn.Module, sample: Tensor) -> None:
    """Refuse a network that draws random numbers, by trying it on one sample.

    The forward pass must leave PyTorch's random state as it was; it is put back in any case.

    Raises:
        ValueError: the state has changed, as by the dropout of attention and recurrent layers in
            train mode.
    """
    gpus = [sample.device] if sample.is_cuda else []
    with torch.random.fork_rng(gpus), torch.no_grad():
        before = random_state(gpus)
        with _fitting(sample):
            network(sample)
        drew = not all(map(torch.equal, before, random_state(gpus)))
    if drew:
        raise ValueError(
            "network must not draw random numbers in its forward pass, as layers with dropout do "
            "in train mode: network.eval()"
        )
