"""Parameters that are shared, frozen, unused, hidden, or have a life of their own."""

import warnings

import torch
from torch import nn
from torch.nn import functional as F

from .kinds import DIFFERENT, DRAWN, Head, alone, stacked


@stacked("frozen", quick=True)
class Frozen(Head):
    def __init__(self):
        super().__init__()
        self.first.requires_grad_(False)


@stacked("tied", quick=True)
class Tied(nn.Module):
    """The last layer's weights are the first one's."""

    def __init__(self):
        super().__init__()
        self.first, self.out = nn.Linear(64, 16), nn.Linear(64, 10)
        self.back = nn.Linear(16, 64)
        self.back.weight = nn.Parameter(torch.randn(64, 16) / 8)
        self.first.weight = nn.Parameter(torch.randn(16, 64) / 8)
        self.again = nn.Linear(64, 16, bias=False)
        self.again.weight = self.first.weight

    def forward(self, x):
        return self.out(self.back(self.again(self.back(self.first(x.flatten(1)).relu())).relu()))


@stacked("transposed weights tied")
class Transposed(Head):
    """A function of another layer's weights takes the place of a layer."""

    def middle(self, hidden):
        return self.first(F.linear(hidden.relu(), self.first.weight.T)).relu()


@stacked("one module in two places")
class Twice(Head):
    def __init__(self):
        super().__init__()
        layer = nn.Linear(16, 16)
        self.layers = nn.Sequential(layer, nn.ReLU(), layer)
        self.alias = layer

    def middle(self, hidden):
        return self.alias(self.layers(hidden)).relu()


@stacked("unused", quick=True)
class Unused(Head):
    """A layer without influence on the loss: no gradient, and no weight decay either."""

    def __init__(self):
        super().__init__()
        self.idle = nn.Linear(3, 3)


@alone("parameters outside of its modules", DIFFERENT)
class Hidden(Head):
    """A list hides a layer from `parameters`, so that no optimizer moves it."""

    def __init__(self):
        super().__init__()
        self.hidden = [nn.Linear(16, 16)]

    def middle(self, hidden):
        return self.hidden[0](hidden).relu()


@alone("a parameter in a list", DRAWN)
class InList(Head):
    """It is used by way of the list, though a layer has it, too."""

    def __init__(self):
        super().__init__()
        self.second = nn.Linear(16, 16)
        self.used = [self.second.weight]

    def middle(self, hidden):
        return F.linear(hidden, self.used[0]).relu()


@stacked("property")
class Property(Head):
    __slots__ = ("note",)

    @property
    def weight(self):
        return self.first.weight

    def middle(self, hidden):
        return F.linear(hidden, self.weight[:, :16]).relu()


@stacked("last layer zero")
class Zeros(Head):
    def __init__(self):
        super().__init__()
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)


@stacked("a layer without numbers")
class Empty(Head):
    def __init__(self):
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.none = nn.Linear(16, 0)

    def middle(self, hidden):
        return torch.cat([hidden.relu(), self.none(hidden)], 1)
