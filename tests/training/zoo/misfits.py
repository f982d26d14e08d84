"""What `fit` refuses, and with which words."""

import threading
from functools import partial

import torch
from torch import nn

from .kinds import Head, refused

FIT = "network, loss, metrics and data must fit together: .*"
KEPT = "network=.* must keep its tensors, but .*"


refused("an instance", "must be what makes a network")(Head())
refused("no network", "must make a torch.nn.Module each time")(lambda: torch.relu)
refused("lazy layers", "has a lazy layer, whose shape is not known")(
    lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(10))
)
refused("no parameters", "network=.* has no parameters to train")(
    lambda: nn.Sequential(nn.Flatten(), nn.Unflatten(1, (16, 4)), nn.AvgPool1d(4), nn.Flatten())
)
refused("all parameters frozen", "network=.* has no parameters to train")(
    lambda: Head().requires_grad_(False)
)
refused("another width", FIT)(lambda: nn.Sequential(nn.Flatten(), nn.Linear(60, 10)))
refused("too few classes", FIT + "out of bounds")(
    lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 5))
)
LAYER = nn.Linear(64, 10)
refused("a layer that all share", "parameters of its own each time")(
    lambda: nn.Sequential(nn.Flatten(), LAYER)
)


class Returning(Head):
    """Returns something else than a tensor of logits."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, x):
        return self.change(super().forward(x))


RETURNED = {
    "a tuple": lambda logits: (logits, logits),
    "a dict": lambda logits: {"logits": logits},
    "a number": lambda logits: logits.mean(),
    "another shape": lambda logits: logits.T,
    "nothing": lambda logits: None,
    "what has no gradient": lambda logits: logits.detach(),
}
for name, change in RETURNED.items():
    refused(f"returns {name} to cross entropy", FIT)(partial(Returning, change))


@refused("fails in its first pass", FIT + "KeyError: 'missing'")
class Failing(Head):
    def middle(self, hidden):
        return {}["missing"]


@refused("fails at its thirtieth pass", "^pass 30 failed$")
class FailingLater(Head):
    """Its own error is the clearest there is."""

    passes = 0

    def middle(self, hidden):
        self.passes += 1
        if self.passes == 30:
            raise ValueError("pass 30 failed")
        return hidden


@refused("random and cannot be copied", "network=LockedAndRandom cannot be copied")
class LockedAndRandom(Head):
    """Evaluation, which must change nothing, would need a copy."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

    def middle(self, hidden):
        return hidden + torch.randn_like(hidden)


@refused("a buffer in its weights' memory", KEPT)
class BufferOfWeights(Head):
    """In the hand-written loop the buffer moves with the weights."""

    def __init__(self):
        super().__init__()
        self.register_buffer("slope", self.first.bias.data)

    def middle(self, hidden):
        return hidden.relu() * self.slope


@refused("an attribute in its weights' memory", KEPT)
class AttributeOfWeights(Head):
    def __init__(self):
        super().__init__()
        self.slope = self.first.bias.data

    def middle(self, hidden):
        return hidden.relu() * (1 + self.slope)


@refused("changes its dtype in its first pass", KEPT)
class MovesItself(Head):
    def forward(self, x):
        return super().forward(x.to(self.float().last.weight.dtype))


@refused("replaces a parameter in its forward pass", KEPT)
class Replaces(Head):
    def forward(self, x):
        self.last.bias = nn.Parameter(self.last.bias.detach() / 2)
        return super().forward(x)


@refused("grows in its first pass", KEPT)
class GrowsLater(Head):
    def middle(self, hidden):
        if not hasattr(self, "added"):
            self.added = nn.Linear(16, 16)
        return self.added(hidden)
