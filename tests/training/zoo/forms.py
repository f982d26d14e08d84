"""Networks of another form: what they return, how they are made, the numbers they compute in."""

import threading
import warnings
from functools import partial
from typing import NamedTuple

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.data import TensorData

from .kinds import Head, alone, noisy_digits, stacked


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
