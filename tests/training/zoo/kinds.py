"""What the zoo is made of: kinds of networks, how each must be trained, and on what."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.data import TensorData
from course_lib.datasets import Digits

Make = Callable[[], nn.Module]
AS_ONE, ONE_BY_ONE, NOT = "stacked", "one by one", "refused"  # how `fit` trains a kind

RANDOM, CANNOT = "random numbers", "operations that cannot be stacked"
DIFFERENT, HOOKS = "gradients that differ when stacked", "hooks on its gradients"
FOREIGN_NUMBERS = "random numbers of Python or NumPy"
DRAWN = "attributes that its seeds draw"
STATE = "numbers or lists that change in its forward pass"


def noisy_digits(**options) -> TensorData:
    """150 noisy digits: batches of 16 and 64 leave a ragged last one.

    Without the noise some pixels are constant, which batch normalization cancels to gradients
    of pure rounding error; Adam, RMSprop and Rprop would turn those into whole steps.
    """
    digits = Digits().part(150, 50)
    noise = torch.randn(digits.x_train.shape, generator=torch.Generator().manual_seed(0))
    return TensorData(digits.x_train + noise, digits.y_train, digits.x_val, digits.y_val, **options)


def words() -> TensorData:
    """150 short texts of whole numbers, whose class is the most frequent one."""
    numbers = torch.randint(0, 12, (200, 9), generator=torch.Generator().manual_seed(1))
    classes = numbers.mode(1).values % 4
    return TensorData(numbers[:150], classes[:150], numbers[150:], classes[150:])


@dataclass(frozen=True)
class Kind:
    """A kind of network that people bring.

    Attributes:
        make: makes one.
        trained: AS_ONE, ONE_BY_ONE, or NOT.
        reason: part of why it is trained one by one; what matches the error, where it is refused.
        data: what it is trained on.
        loss: of its outputs and the targets.
        tolerance: how far rounding may take it from the hand-written loop.
        repeats: whether the loop itself is the same each time.
        quick: whether it is in the normal tests, too.
        needs: an optimizer that the loop itself can train it with; None for any.
    """

    make: Make
    trained: str
    reason: str = ""
    data: Callable[[], TensorData] = noisy_digits
    loss: Callable = F.cross_entropy
    tolerance: float = 1e-9
    repeats: bool = True
    quick: bool = False
    needs: str | None = None


KINDS: dict[str, Kind] = {}


def kind(name: str, trained: str, reason: str = "", **options: Any) -> Callable[[Make], Make]:
    """Put what is decorated into the zoo."""

    def add(make: Make) -> Make:
        assert name not in KINDS, f"there are two kinds called {name!r}"
        KINDS[name] = Kind(make, trained, reason, **options)
        return make

    return add


def stacked(name: str, **options: Any) -> Callable[[Make], Make]:
    """A kind whose seeds are trained as one."""
    return kind(name, AS_ONE, **options)


def alone(name: str, reason: str, **options: Any) -> Callable[[Make], Make]:
    """A kind whose seeds are trained one by one, for this reason."""
    return kind(name, ONE_BY_ONE, reason, **options)


def refused(name: str, message: str, **options: Any) -> Callable[[Make], Make]:
    """A kind that `fit` refuses with this message."""
    return kind(name, NOT, message, **options)


class Head(nn.Module):
    """Whatever a subclass does between two linear layers, on digits: 64 to 16, 16 to 10."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(64, 16), nn.Linear(16, 10)

    def middle(self, hidden: Tensor) -> Tensor:
        return hidden.relu()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(self.first(x.flatten(1))))


class Between(Head):
    """A module, or several, between the two linear layers."""

    def __init__(self, *makes: Make):
        super().__init__()
        self.between = nn.Sequential(*(make() for make in makes))

    def middle(self, hidden):
        return self.between(hidden)


class Images(nn.Module):
    """Modules that make something of the image, and a linear layer of what that is."""

    def __init__(self, *makes: Make, shape: tuple[int, ...] = (1, 8, 8)):
        super().__init__()
        self.shape = shape
        self.layers = nn.Sequential(*(make() for make in makes))
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            features = copy.deepcopy(self.layers).eval()(torch.zeros(1, *shape)).flatten(1)
        self.last = nn.Linear(features.shape[1], 10)

    def forward(self, x):
        return self.last(self.layers(x.view(-1, *self.shape)).flatten(1))


def between(*makes: Make) -> Make:
    return partial(Between, *makes)


def images(*makes: Make, **options: Any) -> Make:
    return partial(Images, *makes, **options)
