"""What people do to networks beside layers: sharing, freezing, hooks, state, other numbers."""

import copy
import threading
import warnings
from functools import partial
from typing import NamedTuple

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from course_lib.data import TensorData

from .kinds import (
    CANNOT,
    DIFFERENT,
    HOOKS,
    STATE,
    Head,
    alone,
    between,
    noisy_digits,
    stacked,
)

# Shared, frozen, unused.


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


@stacked("two heads, one of them trained", loss=lambda pair, y: F.cross_entropy(pair[0], y))
class TwoHeads(Head):
    """Returns a tuple."""

    def __init__(self):
        super().__init__()
        self.other = nn.Linear(16, 2)

    def forward(self, x):
        hidden = self.first(x.flatten(1)).relu()
        return self.last(hidden), self.other(hidden)


@stacked("returns a dict", loss=lambda outputs, y: F.cross_entropy(outputs["classes"], y))
class Dictionary(TwoHeads):
    def forward(self, x):
        classes, others = super().forward(x)
        return {"classes": classes, "others": others}


class Outputs(NamedTuple):
    classes: Tensor
    others: Tensor


@stacked("returns a named tuple", loss=lambda outputs, y: F.cross_entropy(outputs.classes, y))
class Named(TwoHeads):
    def forward(self, x):
        return Outputs(*super().forward(x))


@stacked("returns its loss", loss=lambda value, targets: value)
class ReturnsLoss(Head):
    def forward(self, x):
        return super().forward(x).square().mean()


@alone("parameters outside of its modules", DIFFERENT)
class Hidden(Head):
    """A list hides a layer from `parameters`, so that no optimizer moves it."""

    def __init__(self):
        super().__init__()
        self.hidden = [nn.Linear(16, 16)]

    def middle(self, hidden):
        return self.hidden[0](hidden).relu()


@alone("a parameter in a list", DIFFERENT)
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


@stacked("LightningModule")
class Lightning(LightningModule):
    def __init__(self):
        super().__init__()
        self.save_hyperparameters()
        self.head = Head()

    def forward(self, x):
        return self.head(x)

    def training_step(self, batch, _):
        return F.cross_entropy(self(batch[0]), batch[1])


GLOBAL = 0.5


@stacked("reads a global")
class ReadsGlobal(Head):
    def middle(self, hidden):
        return GLOBAL * hidden.relu()


@stacked("holds a lock")
class Locked(Head):
    """Cannot be copied, nor pickled."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

    def middle(self, hidden):
        with self.lock:
            return hidden.relu()


@stacked("lazy layers that have seen data")
def lazy_layers():
    network = nn.Sequential(nn.Flatten(), nn.LazyLinear(16), nn.ReLU(), nn.LazyLinear(10))
    network(torch.zeros(1, 1, 8, 8))
    return network


# Changed in place.


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


# Values that decide.


@alone("branching", CANNOT, quick=True)
class Branching(Head):
    """A branch that depends on values."""

    def middle(self, hidden):
        return hidden.relu() if hidden.mean() > 0 else hidden.tanh()


@alone("a number taken out of a tensor", CANNOT)
class Item(Head):
    def middle(self, hidden):
        return hidden.relu() / max(hidden.abs().max().item(), 1.0)


@alone("iterates until it rests", CANNOT)
class Equilibrium(Head):
    """A deep equilibrium: a loop whose length the values decide."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(16, 16)

    def middle(self, hidden):
        state = torch.zeros_like(hidden)
        for _ in range(30):
            last, state = state, (0.5 * self.inner(state) + hidden).tanh()
            if (state - last).abs().max() < 1e-2:
                break
        return state


@alone("by way of NumPy", CANNOT)
class ByNumPy(Head):
    def middle(self, hidden):
        return hidden * torch.from_numpy(hidden.detach().numpy() > 0)


@stacked("a branch on the size of the batch")
class Sized(Head):
    def middle(self, hidden):
        return hidden.relu() if len(hidden) > 10 else hidden.tanh()


# Hooks.


@alone("gradient hook", HOOKS, quick=True)
class GradientHook(Head):
    def __init__(self):
        super().__init__()
        self.first.weight.register_hook(lambda gradient: 0.5 * gradient)


@alone("gradient clipped by a hook", HOOKS)
class ClippingHook(Head):
    """Does nothing as long as the gradient is short."""

    def __init__(self):
        super().__init__()
        self.last.register_full_backward_hook(self.clip)

    @staticmethod
    def clip(module, inputs, outputs):
        return tuple(g if g is None or g.norm() < 10 else 10 * g / g.norm() for g in inputs)


@stacked("forward hook")
class ForwardHook(Head):
    def __init__(self):
        super().__init__()
        self.first.register_forward_hook(lambda module, inputs, output: 0.5 * output)


@alone("hook on a hidden layer", HOOKS)
class HiddenHook(Head):
    """Registered in each pass; it does nothing as long as the gradient is short."""

    def middle(self, hidden):
        if hidden.requires_grad:
            hidden.register_hook(lambda g: g if g.norm() < 10 else 10 * g / g.norm())
        return hidden.relu()


# Gradients of its own.


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(x):
        return x**3

    @staticmethod
    def setup_context(context, inputs, output):
        context.save_for_backward(*inputs)

    @staticmethod
    def backward(context, gradient):
        (x,) = context.saved_tensors
        return 3 * x**2 * gradient


class BatchedCube(Cube):
    generate_vmap_rule = True


class ReversedGradient(torch.autograd.Function):
    """As people write it: the context comes with the inputs."""

    @staticmethod
    def forward(context, x):
        return x.view_as(x)

    @staticmethod
    def backward(context, gradient):
        return -gradient


class Own(Head):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def middle(self, hidden):
        return self.function.apply(hidden.tanh())


alone("own gradient", CANNOT)(partial(Own, Cube))
stacked("own gradient that vmap may batch")(partial(Own, BatchedCube))
alone("reversed gradient", CANNOT)(partial(Own, ReversedGradient))


@alone("gradient in its forward pass", CANNOT)
class GradientInside(Head):
    """Goes downhill on an energy of its hidden layer; training needs second derivatives."""

    def middle(self, hidden):
        with torch.enable_grad():
            hidden = hidden if hidden.requires_grad else hidden.requires_grad_()
            energy = self.last(hidden.tanh()).square().sum()
            return hidden - 0.1 * torch.autograd.grad(energy, hidden, create_graph=True)[0]


@stacked("gradient in its forward pass by torch.func")
class GradientByFunc(Head):
    def middle(self, hidden):
        slope = torch.func.grad(lambda h: self.last(h.tanh()).square().sum())
        return hidden - 0.1 * slope(hidden)


@alone("checkpointed", "")
class Checkpointed(Head):
    """Computes its hidden layer once more for the backward pass."""

    def middle(self, hidden):
        return checkpoint(torch.tanh, hidden, use_reentrant=False)


# Compiled and scripted.


@alone("scripted", "")
def scripted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(
            nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
        )


@stacked("compiled")
def compiled():
    return torch.compile(Head(), backend="eager")


# Other numbers.


class InDtype(Head):
    """Computes in numbers of another length than those of the data."""

    def __init__(self, dtype):
        super().__init__()
        self.dtype = dtype
        self.to(dtype)

    def forward(self, x):
        return super().forward(x.to(self.dtype))


def short_digits() -> TensorData:
    data = noisy_digits()
    parts = data.x_train.float(), data.y_train, data.x_val.float(), data.y_val
    return TensorData(*parts)


stacked("float32", tolerance=1e-5)(partial(InDtype, torch.float32))
stacked("bfloat16", tolerance=0.1)(partial(InDtype, torch.bfloat16))
stacked("float64 on data of float32", data=short_digits)(partial(InDtype, torch.float64))


@stacked("autocast", tolerance=0.02)
class Autocast(Head):
    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(x).to(x.dtype)


@stacked("complex weights")
class Complex(Head):
    def __init__(self):
        super().__init__()
        self.turn = nn.Parameter(torch.randn(16, 16, dtype=torch.complex128) / 4)

    def middle(self, hidden):
        return (hidden.to(torch.complex128) @ self.turn).abs().to(hidden.dtype)
