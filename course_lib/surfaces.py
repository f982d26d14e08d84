"""Losses of two weights, and descent on them with the optimizers of `torch.optim`.

A surface is a callable that takes points of shape (..., 2) and returns their losses, shape (...).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from course_lib import checks

PIECE = 64  # steps whose losses are computed in one call: few calls, and little memory


class DataSurface(ABC):
    """The mean loss of a model with two weights over N samples, as a surface.

    A subclass says in `loss(points, *data)` what one batch of samples costs: points (..., 2) and
    data with the samples on their first free axis, (B, ...) or one batch a point, (S, B, ...).

    Raises:
        ValueError: tensors of unequal length, without samples, or with values that are not finite.
    """

    def __init__(self, *data: Tensor):
        self.data = tuple(checks.numbers("data", values).detach().double() for values in data)
        checks.sample_count(self.data)
        if not all(values.isfinite().all() for values in self.data):
            raise ValueError("data must be finite, without NaN or infinity")

    def __len__(self) -> int:
        return len(self.data[0])

    def __call__(self, points: Tensor) -> Tensor:
        return self.loss(_points(points).double(), *self.data)

    @abstractmethod
    def loss(self, points: Tensor, *data: Tensor) -> Tensor:
        """The mean loss of one batch at each point."""

    def minibatch(self, batch_size: int, seeds: int | Sequence[int] = 8) -> "MiniBatch":
        """The same loss over the next `batch_size` samples, one order of the data for each seed."""
        return MiniBatch(self, batch_size, checks.seeds(seeds))


class LinearNeuron(DataSurface):
    """A linear neuron without bias: mean of (w·x - y)² / 2. A bowl with elliptic contours.

    Its Hessian is the second moment of the inputs, H = mean(x xᵀ), the same everywhere.

    Args:
        x: inputs, shape (N, 2).
        y: targets, shape (N,).

    Raises:
        ValueError: inputs that are not pairs, or not as many as targets.
    """

    def __init__(self, x: Tensor, y: Tensor):
        super().__init__(_pairs(x), checks.numbers("y", y))
        if self.data[1].ndim != 1:
            raise ValueError(f"y must have shape (N,), not {tuple(self.data[1].shape)}")

    def loss(self, points: Tensor, *data: Tensor) -> Tensor:
        x, y = data
        outputs = torch.einsum("...bi,...i->...b", x, points)
        return (outputs - y).square().mean(-1) / 2


class Autoencoder(DataSurface):
    """A linear neuron that rebuilds its input from its output: mean of |x - w (w·x)|² / 2.

    With the second moment C = mean(x xᵀ) this is (tr C + (|w|² - 2) wᵀC w) / 2. The minima are the
    unit vectors along C's first principal axis; those along the second one are saddles, and all
    other critical points are worse (Baldi and Hornik, Neural Networks 2, 1989).

    Args:
        x: inputs, shape (N, 2).

    Raises:
        ValueError: inputs that are not pairs.
    """

    def __init__(self, x: Tensor):
        super().__init__(_pairs(x))

    def loss(self, points: Tensor, *data: Tensor) -> Tensor:
        (x,) = data
        moment = x.mT @ x / x.shape[-2]
        trace = moment.diagonal(dim1=-2, dim2=-1).sum(-1)
        variance = torch.einsum("...i,...ij,...j->...", points, moment, points)
        return (trace + (points.square().sum(-1) - 2) * variance) / 2


@dataclass
class MiniBatch:
    """A surface seen through mini-batches: each call uses up the next batch of every seed.

    Seed s visits the samples in the order of `torch.randperm` with a generator seeded by s, a new
    order each epoch, as in `course_lib.fit`; the last batch of an epoch may be smaller.

    Raises:
        ValueError: a batch size that is not a whole number from 1 to N, no seeds or equal ones;
            when called, other than one or S points.
    """

    surface: DataSurface
    batch_size: int
    seeds: Sequence[int]
    _batches: Iterator[Tensor] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.batch_size = checks.whole("batch_size", self.batch_size, most=len(self.surface))
        self.seeds = checks.seeds(self.seeds)
        self._batches = self._draw()

    def _draw(self) -> Iterator[Tensor]:
        orders = [torch.Generator().manual_seed(seed) for seed in self.seeds]
        while True:
            epoch = [torch.randperm(len(self.surface), generator=order) for order in orders]
            yield from torch.stack(epoch).split(self.batch_size, dim=1)

    def __call__(self, points: Tensor) -> Tensor:
        points, count = _points(points).double(), len(self.seeds)
        if points.shape[:-1] not in ((), (1,), (count,)):
            raise ValueError(f"points must be 1 or {count}, not of shape {tuple(points.shape)}")
        batch = next(self._batches)
        return self.surface.loss(points, *(values[batch] for values in self.surface.data))


def ravine(points: Tensor, condition: float = 100.0) -> Tensor:
    """A long valley with steep walls: (x² / condition + y²) / 2, lowest at (0, 0).

    Its curvatures are 1 / condition along x and 1 along y.

    Args:
        points: shape (..., 2).
        condition: the condition number, 1 or more.

    Raises:
        ValueError: points that are not pairs, a condition below 1.
    """
    if not checks.as_float(condition) >= 1:
        raise ValueError(f"{condition=} must be a number from 1")
    x, y = _points(points).unbind(-1)
    return (x.square() / float(condition) + y.square()) / 2


def plateau(points: Tensor) -> Tensor:
    """A pit in a plain, with slopes around: max(|x| - 3, 0)² / 2 + 1 - exp(-2x²) + y² / 2.

    The plain lies at 1, for |x| from about 1.5 to 3: slopes of less than 0.07 that vanish
    towards the outer edge. The pit is lowest at (0, 0), where the loss is 0.

    Args:
        points: shape (..., 2).

    Raises:
        ValueError: points that are not pairs.
    """
    x, y = _points(points).unbind(-1)
    return (x.abs() - 3).relu().square() / 2 + 1 - (-2 * x.square()).exp() + y.square() / 2


def bump(points: Tensor) -> Tensor:
    """A bowl with a hill across its left side: (x² + y²) / 4 + 1.5 exp(-3 (x + 2)²).

    The hill's top is at x = -2.12, a second minimum in front of it at x = -2.72, with curvature
    4.51 along x. The lowest point is (0, 0) within 0.001.

    Args:
        points: shape (..., 2).

    Raises:
        ValueError: points that are not pairs.
    """
    x, y = _points(points).unbind(-1)
    return (x.square() + y.square()) / 4 + 1.5 * (-3 * (x + 2).square()).exp()


def saddle(points: Tensor) -> Tensor:
    """A saddle between two minima: (x² - y²) / 2 + y⁴ / 4.

    The saddle is at (0, 0); its ridge is the line y = 0. The minima are (0, 1) and (0, -1), a
    quarter below the saddle.

    Args:
        points: shape (..., 2).

    Raises:
        ValueError: points that are not pairs.
    """
    x, y = _points(points).unbind(-1)
    return (x.square() - y.square()) / 2 + y.square().square() / 4


def descend(
    loss: Callable[[Tensor], Tensor],
    start: Tensor | Sequence[float],
    *,
    steps: int,
    lr: float,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.SGD,
    **options: Any,
) -> pd.DataFrame:
    """Go down a surface from one point or from several at once.

    All S trajectories are rows of one parameter. An optimizer that treats every number on its own
    (SGD, Adam, RMSprop, Rprop) therefore moves each as if it were alone.

    Args:
        loss: a surface, or its `minibatch(...)`, which gives one trajectory for each of its seeds.
        start: one point (2,), or one for each trajectory (S, 2).
        steps: number of optimizer steps.
        lr: learning rate, handed to the optimizer together with `options`.

    Returns:
        One row per trajectory and step, step 0 included: seed (the position of the start where the
        loss has no seeds), step, x, y and loss, which is always that of the whole surface.

    Raises:
        ValueError: a start that is not finite or not of shape (2,) or (S, 2), steps below 1,
            a learning rate that is not positive, a loss that is not one number per point, an
            optimizer that does not take its options.
    """
    points, seeds = _first_points(loss, start)
    steps = checks.whole("steps", steps)
    points.requires_grad_()
    stepper = _stepper(optimizer, points, {"lr": checks.positive("lr", lr), **options})
    path = [points.detach().clone()]
    for _ in range(steps):
        stepper.zero_grad()
        losses = loss(points)
        _check_losses(losses, len(seeds))
        losses.sum().backward()
        stepper.step()
        path.append(points.detach().clone())
    return _tidy(path, seeds, getattr(loss, "surface", loss))


def _stepper(optimizer: Callable, points: Tensor, options: dict) -> torch.optim.Optimizer:
    try:
        made = optimizer([points], **options)
    except Exception as error:
        raise ValueError(f"{optimizer=} does not take {options}: {error}") from error
    if not isinstance(made, torch.optim.Optimizer):
        raise ValueError(f"{optimizer=} must make a torch.optim.Optimizer, not {made!r}")
    return made


def _tidy(path: list[Tensor], seeds: Sequence[int], surface: Callable) -> pd.DataFrame:
    index = pd.MultiIndex.from_product([range(len(path)), seeds], names=["step", "seed"])
    frame = pd.DataFrame(torch.cat(path).numpy(), index=index, columns=["x", "y"])
    with torch.no_grad():
        pieces = torch.stack(path).split(PIECE)
        frame["loss"] = torch.cat([surface(points).flatten() for points in pieces]).numpy()
    return frame.reset_index()[["seed", "step", "x", "y", "loss"]]


def _first_points(loss: Callable, start: Tensor | Sequence[float]) -> tuple[Tensor, Sequence[int]]:
    if not callable(loss):
        raise ValueError(f"{loss=} must be a surface, such as surfaces.ravine")
    points = checks.numbers("start", start).detach().double()
    if points.ndim not in (1, 2) or points.shape[-1] != 2 or points.numel() == 0:
        raise ValueError(f"start must have shape (2,) or (S, 2), not {tuple(points.shape)}")
    if not points.isfinite().all():
        raise ValueError(f"start={points.tolist()} must be finite")
    points = torch.atleast_2d(points)
    seeds = loss.seeds if isinstance(loss, MiniBatch) else range(len(points))
    if len(points) not in (1, len(seeds)):
        raise ValueError(f"start must hold 1 or {len(seeds)} points, not {len(points)}")
    return points.expand(len(seeds), 2).clone(), seeds


def _check_losses(losses: Tensor, count: int) -> None:
    shape = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
    if shape != (count,):
        raise ValueError(f"loss must return one number per point, shape ({count},), not {shape}")
    if not losses.requires_grad:
        raise ValueError("loss must return what depends on the points, and is not detached")


def _points(points: Tensor) -> Tensor:
    points = checks.numbers("points", points)
    if points.ndim == 0 or points.shape[-1] != 2:
        raise ValueError(f"points must have shape (..., 2), not {tuple(points.shape)}")
    return points if points.is_floating_point() else points.double()


def _pairs(x: Tensor) -> Tensor:
    x = checks.numbers("x", x)
    if x.ndim != 2 or x.shape[1] != 2:
        raise ValueError(f"x must have shape (N, 2), not {tuple(x.shape)}")
    return x
