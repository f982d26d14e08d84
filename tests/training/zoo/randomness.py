"""What draws random numbers: in the forward pass, or when it is made."""

import random
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .kinds import (
    DIFFERENT,
    DRAWN,
    FOREIGN_NUMBERS,
    RANDOM,
    STATE,
    Head,
    alone,
    between,
    refused,
    stacked,
)

LAYERS = {
    "dropout": partial(nn.Dropout, 0.3),
    "alpha dropout": partial(nn.AlphaDropout, 0.3),
    "feature alpha dropout": partial(nn.FeatureAlphaDropout, 0.3),
    "random slopes": nn.RReLU,
}
for name, make in LAYERS.items():
    alone(name, RANDOM, quick=name in ("dropout", "random slopes"))(between(nn.SELU, make))


@alone("functional dropout", RANDOM, quick=True)
class FunctionalDropout(Head):
    def middle(self, hidden):
        return F.dropout(hidden.relu(), 0.4, self.training)


@alone("noise", RANDOM, quick=True)
class Noise(Head):
    """In eval mode, too."""

    def middle(self, hidden):
        return (hidden + 0.3 * torch.randn_like(hidden)).relu()


@alone("stochastic depth", RANDOM, quick=True)
class StochasticDepth(Head):
    """A layer that every other pass skips; skipped weights get no gradient, so they stand still."""

    def __init__(self):
        super().__init__()
        self.skipped = nn.Linear(16, 16)

    def middle(self, hidden):
        return hidden + self.skipped(hidden).relu() if torch.rand(()) < 0.5 else hidden


@alone("rarely random", RANDOM)
class RarelyRandom(Head):
    """Draws a number at each pass, which changes something every eighth time."""

    def middle(self, hidden):
        return hidden.relu() if torch.rand(()) < 0.875 else hidden.tanh()


@alone("Gumbel softmax", RANDOM)
class Gumbel(Head):
    def middle(self, hidden):
        return F.gumbel_softmax(hidden, tau=0.7, hard=True)


@alone("variational bottleneck", RANDOM)
class Bottleneck(Head):
    def __init__(self):
        super().__init__()
        self.deviation = nn.Linear(16, 16)

    def middle(self, hidden):
        return hidden + self.deviation(hidden).exp() * torch.randn_like(hidden)


@alone("noise of a distribution", RANDOM)
class Distribution(Head):
    def middle(self, hidden):
        scale = 0.3 * torch.ones_like(hidden)
        return torch.distributions.Normal(hidden, scale, validate_args=False).rsample().relu()


@alone("the same noise each time", RANDOM)
class SeedsItself(Head):
    def middle(self, hidden):
        torch.manual_seed(0)
        return (hidden + torch.randn_like(hidden)).relu()


@alone("a generator of its own", RANDOM)
class OwnGenerator(Head):
    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def middle(self, hidden):
        return (hidden + torch.randn(16, generator=self.generator)).relu()


@alone("NumPy's random numbers", FOREIGN_NUMBERS, repeats=False)
class FromNumPy(Head):
    def middle(self, hidden):
        return hidden.relu() * np.random.rand()  # noqa: NPY002 (as people write it)


@alone("Python's random numbers", FOREIGN_NUMBERS, repeats=False)
class FromPython(Head):
    def middle(self, hidden):
        return hidden.relu() * random.random()


@alone("a NumPy generator of its own", STATE)
class OwnNumPyGenerator(Head):
    def __init__(self):
        super().__init__()
        self.generator = np.random.default_rng(0)

    def middle(self, hidden):
        return hidden.relu() * self.generator.uniform(0.5, 1.0)


# Drawn when it is made.


@alone("drawn matrix", DRAWN, quick=True)
class DrawnAttribute(Head):
    """A matrix that is no parameter, another one for each seed."""

    def __init__(self):
        super().__init__()
        self.projection = torch.randn(16, 16) / 4

    def middle(self, hidden):
        return (hidden @ self.projection).relu()


@alone("drawn number", DRAWN)
class DrawnNumber(Head):
    def __init__(self):
        super().__init__()
        self.slope = torch.rand(()).item()

    def middle(self, hidden):
        return F.leaky_relu(hidden, self.slope)


@alone("drawn number of little weight", DRAWN)
class AlmostEqual(Head):
    """Its influence is smaller than what rounding does to float32."""

    def __init__(self):
        super().__init__()
        self.slope = 1e-9 * torch.rand(()).item()

    def middle(self, hidden):
        return F.leaky_relu(hidden, self.slope)


@alone("drawn activation", DRAWN)
class DrawnActivation(Head):
    def __init__(self):
        super().__init__()
        self.activation = [nn.ReLU(), nn.Tanh(), nn.GELU()][torch.randint(3, ()).item()]

    def middle(self, hidden):
        return self.activation(hidden)


@alone("drawn layer that is used", DRAWN)
class DrawnUse(Head):
    """Which of two layers it uses."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(16, 16), nn.Linear(16, 16)])
        self.used = torch.randint(2, ()).item()

    def middle(self, hidden):
        return self.layers[self.used](hidden).relu()


@alone("drawn closure", DIFFERENT)
class DrawnClosure(Head):
    """What it has drawn, no attribute shows."""

    def __init__(self):
        super().__init__()
        slope = torch.rand(()).item()
        self.activation = lambda hidden: F.leaky_relu(hidden, slope)

    def middle(self, hidden):
        return self.activation(hidden)


@stacked("orthogonal and sparse first weights")
class Initialized(Head):
    def __init__(self):
        super().__init__()
        nn.init.orthogonal_(self.first.weight)
        nn.init.sparse_(self.last.weight, 0.5)


@refused("first weights from NumPy", "network=.*must make the same network each time")
class NumPyWeights(Head):
    def __init__(self):
        super().__init__()
        weights = np.random.randn(16, 64) / 8  # noqa: NPY002 (as people write it)
        self.first.weight = nn.Parameter(torch.tensor(weights, dtype=torch.get_default_dtype()))


@stacked("first weights from NumPy, seeded")
class SeededNumPyWeights(Head):
    def __init__(self):
        super().__init__()
        generator = np.random.default_rng(torch.initial_seed())
        weights = torch.as_tensor(generator.standard_normal((16, 64)) / 8)
        self.first.weight = nn.Parameter(weights.to(torch.get_default_dtype()))


@refused("a network that counts how often it is made", "network=.*same shapes for each seed")
class Growing(nn.Module):
    made = 0

    def __init__(self):
        super().__init__()
        Growing.made += 1
        self.last = nn.Linear(64, 10 + Growing.made)

    def forward(self, x):
        return self.last(x.flatten(1))
