"""What a forward pass changes: its input, numbers in Python, buffers, weights."""

import copy
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from .kinds import CANNOT, STATE, Head, alone, between, stacked


@alone("in place", "changes its input", quick=True)
class InPlace(Head):
    """A forward pass that changes what it is given."""

    def forward(self, x):
        return super().forward(x.flatten(1).sub_(0.5))


alone("a first layer in place", "changes its input")(
    lambda: nn.Sequential(nn.ReLU(inplace=True), Head())
)
stacked("a layer in place")(between(partial(nn.ReLU, inplace=True)))


# State.


@alone("counting", STATE, quick=True)
class Counting(Head):
    """A number in Python that grows with each pass."""

    passes = 0

    def middle(self, hidden):
        self.passes = self.passes + 1
        return hidden.relu() / (1 + 0.1 * self.passes)


@alone("list that grows", STATE)
class Lists(Head):
    def __init__(self):
        super().__init__()
        self.seen = []

    def middle(self, hidden):
        self.seen.append(1)
        return hidden.relu() / len(self.seen)


@alone("counting in a closure", STATE, repeats=False)
class Closure(Head):
    """Copies, on which it is evaluated, count together with it."""

    def __init__(self):
        super().__init__()
        passes = []
        self.count = lambda: passes.append(1) or len(passes)

    def middle(self, hidden):
        return hidden.relu() / (1 + 0.1 * self.count())


PASSES = []


@alone("counting in a global", STATE, repeats=False)
class GlobalCounter(Head):
    def middle(self, hidden):
        PASSES.append(1)
        return hidden.relu() / (1 + 0.1 * (len(PASSES) % 7))


@alone("remembers its hidden layer", STATE)
class Remembers(Head):
    def middle(self, hidden):
        self.seen = hidden
        return hidden.relu()


@alone("remembers its attention", STATE)
class RemembersDetached(Head):
    def middle(self, hidden):
        self.weights = hidden.detach().softmax(1)
        return hidden * self.weights


@alone("carries its state over", STATE)
class Stateful(Head):
    """The mean of one batch is added to the next one."""

    def __init__(self):
        super().__init__()
        self.carried = torch.zeros(16)

    def middle(self, hidden):
        hidden = (hidden + 0.5 * self.carried).tanh()
        self.carried = hidden.detach().mean(0)
        return hidden


@alone("assigned buffer", "", quick=True)
class AssignedBuffer(Head):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(16))
        self.register_buffer("scale", torch.ones(16), persistent=False)

    def middle(self, hidden):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * hidden.detach().mean(0)
        return ((hidden - self.mean) * self.scale).relu()


@stacked("buffer changed in place", quick=True)
class RunningMean(Head):
    """A mean that only training changes, and that is in no state_dict."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(16), persistent=False)

    def middle(self, hidden):
        if self.training:
            self.mean.lerp_(hidden.detach().mean(0), 0.1)
        return (hidden - self.mean).relu()


@stacked("buffer that counts")
class CountingBuffer(Head):
    """Warms up: a whole number in a buffer, of the passes in train mode."""

    def __init__(self):
        super().__init__()
        self.register_buffer("passes", torch.zeros((), dtype=torch.long))

    def middle(self, hidden):
        if self.training:
            self.passes += 1
        return hidden.relu() * (self.passes / 10).clamp(0.1, 1)


@alone("buffer that counts in eval mode, too", "")
class CountsAlways(CountingBuffer):
    def middle(self, hidden):
        self.passes += 1
        return hidden.relu() * (self.passes / 10).clamp(0.1, 1)


@alone("buffer that counts and decides", CANNOT)
class DecidingBuffer(CountingBuffer):
    def middle(self, hidden):
        self.passes += self.training
        return hidden.relu() if self.passes < 7 else hidden.tanh()


@stacked("buffers that are views")
class Views(Head):
    """Two parts of one table."""

    def __init__(self):
        super().__init__()
        table = torch.randn(2, 16)
        self.register_buffer("scale", table[0])
        self.register_buffer("shift", table[1])
        self.register_buffer("ones", torch.ones(1).expand(16))

    def middle(self, hidden):
        return (hidden * self.scale + self.shift).relu() * self.ones


@stacked("moving average of its weights")
class Averaged(Head):
    def __init__(self):
        super().__init__()
        self.register_buffer("average", self.first.weight.detach().clone())

    def forward(self, x):
        if self.training:
            self.average.lerp_(self.first.weight.detach(), 0.1)
        return super().forward(x) + self.last(F.linear(x.flatten(1), self.average))


@stacked("mean teacher")
class MeanTeacher(Head):
    """Its frozen parameters follow the trained ones, in the forward pass."""

    def __init__(self):
        super().__init__()
        self.teacher = copy.deepcopy(self.first).requires_grad_(False)

    def forward(self, x):
        x = x.flatten(1)
        if self.training:
            with torch.no_grad():
                for slow, fast in zip(
                    self.teacher.parameters(), self.first.parameters(), strict=True
                ):
                    slow.lerp_(fast, 0.1)
        return self.last((self.first(x) + self.teacher(x)).relu())


@alone("clipped weights", CANNOT)
class Clipped(Head):
    """Its weights stay in a box, as a Wasserstein critic's: the forward pass sees to it."""

    def forward(self, x):
        if self.training:
            self.first.weight.data.clamp_(-0.1, 0.1)
        return super().forward(x)


@stacked("codebook")
class Codebook(Head):
    """Vector quantization: each sample becomes the nearest of eight codes."""

    def __init__(self):
        super().__init__()
        self.codes = nn.Parameter(torch.randn(8, 16))

    def middle(self, hidden):
        nearest = self.codes[torch.cdist(hidden, self.codes).argmin(1)]
        return hidden + (nearest - hidden).detach() + 0.1 * nearest
