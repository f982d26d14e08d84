"""What arguments must be, said once: each check names the argument and what would be right."""

import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.internals import is_batch_norm, is_dropout


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
    """The argument `name` as a float, finite and above 0.

    Raises:
        ValueError: anything else.
    """
    real = isinstance(value, Real) and not isinstance(value, bool)
    if not real or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{name}={value!r} must be a positive number, for instance 0.1")
    return float(value)


def seeds(value: Any) -> list[int]:
    """The argument `seeds` as a list: n stands for 0, ..., n - 1.

    Args:
        value: how many seeds, or the seeds themselves: a range, list, array or tensor.

    Raises:
        ValueError: no seeds, equal ones, or other things than whole numbers.
    """
    plain = value.tolist() if hasattr(value, "tolist") else value
    given = range(plain) if is_whole(plain) else plain
    numbers = list(given) if isinstance(given, Iterable) else []
    fit = all(is_whole(number, least=-math.inf) for number in numbers)
    if not numbers or not fit or len(set(numbers)) < len(numbers):
        raise ValueError(f"seeds={value!r} must be one or more different whole numbers")
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
    devices = [sample.device] if sample.is_cuda else []
    with torch.random.fork_rng(devices), torch.no_grad():
        before = _random_state(sample.device)
        network(sample)
        drew = not torch.equal(before, _random_state(sample.device))
    if drew:
        raise ValueError(
            "network must not draw random numbers in its forward pass, as layers with dropout do "
            "in train mode: network.eval()"
        )


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
