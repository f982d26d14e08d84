"""Layers without convolutions, and operations between them: most of them are stacked."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import orthogonal, spectral_norm, weight_norm

from course_lib.models import F1, MLP, LeNet

from .kinds import CANNOT, Head, alone, between, images, stacked, words

stacked("MLP", quick=True)(MLP)
stacked("LeNet", quick=True)(LeNet)
stacked("F1", quick=True)(partial(F1, shape=(1, 8, 8), width=64))
stacked("linear classifier")(images())

ACTIVATIONS = [nn.PReLU, nn.Softplus, nn.SiLU, nn.Hardswish, nn.Softsign, nn.GLU, nn.Tanhshrink]
for each in ACTIVATIONS:
    width = 8 if each is nn.GLU else 16
    stacked(each.__name__, quick=each in (nn.PReLU, nn.Softplus))(
        between(each, partial(nn.Linear, width, 16))
    )

# Normalization.

NORMS = {
    "layer norm": partial(nn.LayerNorm, 16),
    "RMS norm": partial(nn.RMSNorm, 16),
    "group norm": partial(nn.GroupNorm, 4, 16),
    "batch norm 1d": partial(nn.BatchNorm1d, 16),
    "batch norm without weights": partial(nn.BatchNorm1d, 16, affine=False),
    "batch norm without running statistics": partial(nn.BatchNorm1d, 16, track_running_stats=False),
}
# Behind a non-linearity: a bias right before a batch normalization has no gradient, only its
# rounding error (2e-17), and Rprop makes a step of that one's sign.
for name, make in NORMS.items():
    stacked(name, quick="norm 1d" in name or "r norm" in name)(between(nn.GELU, make))
alone("batch norm with a plain mean", CANNOT)(between(partial(nn.BatchNorm1d, 16, momentum=None)))

conv = partial(nn.Conv2d, 1, 4, 3, bias=False)
stacked("batch norm 2d", quick=True)(images(conv, partial(nn.BatchNorm2d, 4), nn.ReLU))
stacked("batch norm 3d")(
    images(partial(nn.Conv3d, 1, 2, 2), partial(nn.BatchNorm3d, 2), nn.ReLU, shape=(1, 4, 4, 4))
)
stacked("instance norm", quick=True)(images(conv, partial(nn.InstanceNorm2d, 4)))
stacked("instance norm with running statistics")(
    images(conv, partial(nn.InstanceNorm2d, 4, affine=True, track_running_stats=True))
)
stacked("local response norm")(images(conv, nn.ReLU, partial(nn.LocalResponseNorm, 3)))


@stacked("shared batch norm")
class SharedBatchNorm(Head):
    """One layer of statistics, for two places."""

    def __init__(self):
        super().__init__()
        self.norm, self.second = nn.BatchNorm1d(16), nn.Linear(16, 16)

    def middle(self, hidden):
        return self.norm(self.second(self.norm(hidden).relu())).relu()


@stacked("frozen batch norm", quick=True)
def frozen_batch_norm():
    return eval_mode(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 10)), 1)


def eval_mode(network: nn.Module, index: int) -> nn.Module:
    network[index].eval()
    return network


# Reparametrized weights.


def decorated(decorate, *arguments) -> nn.Module:
    network = Head()
    decorate(network.first, *arguments)
    return network


class Symmetric(nn.Module):
    """Weights of a square matrix of which only the upper half counts."""

    def forward(self, weight):
        return weight.triu() + weight.triu(1).mT


stacked("weight norm", quick=True)(lambda: decorated(weight_norm))
alone("spectral norm", "", quick=True)(lambda: decorated(spectral_norm))
stacked("orthogonal weights")(lambda: decorated(orthogonal))
alone("weight norm, as it once was", "")(lambda: decorated(nn.utils.weight_norm))
alone("spectral norm, as it once was", "")(lambda: decorated(nn.utils.spectral_norm))
alone("pruned weights", "")(lambda: decorated(nn.utils.prune.l1_unstructured, "weight", 0.5))


@stacked("own parametrization")
class Parametrized(Head):
    def __init__(self):
        super().__init__()
        self.square = nn.Linear(16, 16)
        parametrize.register_parametrization(self.square, "weight", Symmetric())

    def middle(self, hidden):
        return self.square(hidden).tanh()


# Tensor operations.

OPERATIONS = {
    "FFT": lambda h: torch.fft.rfft(h).abs(),
    "einsum": lambda h: torch.einsum("bi,bj->bij", h, h).flatten(1).tanh(),
    "sort": lambda h: h.sort(1).values,
    "top k": lambda h: h.topk(5, 1).values,
    "cumulated sum": lambda h: h.cumsum(1).tanh(),
    "where": lambda h: torch.where(h > 0, h, 0.1 * h.exp()),
    "gather": lambda h: h.gather(1, h.argsort(1)),
    "scatter": lambda h: torch.zeros_like(h).scatter(1, h.argsort(1), h),
    "added at indices": lambda h: torch.zeros_like(h).index_add(1, torch.arange(16) // 2, h),
    "singular values": lambda h: torch.linalg.svdvals(h.unflatten(1, (4, 4)) + torch.eye(4)),
    "pairwise distances": lambda h: torch.cdist(h, h.new_ones(3, 16)),
    "softmax over the batch": lambda h: h.softmax(0),
    "neighbours in the batch": lambda h: h + 0.5 * h.roll(1, 0).tanh(),
    "roll and flip": lambda h: h.roll(3, 1) + 2 * h.flip(1).relu(),
    "changed in place": lambda h: h.mul(2).add_(1).tanh_(),
    "filled by index": lambda h: _filled(h),
    "masked": lambda h: h.masked_fill(h < 0, 0.0),
    "detached part": lambda h: h * h.detach().sigmoid(),
    "straight through": lambda h: h + (h.round() - h).detach(),
    "long loop": lambda h: _euler(h),
}


def _filled(hidden: Tensor) -> Tensor:
    filled = torch.zeros_like(hidden)
    filled[:, ::2] = hidden[:, 1::2]
    return filled


def _euler(hidden: Tensor) -> Tensor:
    for _ in range(20):
        hidden = hidden + 0.05 * hidden.roll(1, 1).tanh()
    return hidden


class Operation(Head):
    """A function between the layers."""

    def __init__(self, function):
        super().__init__()
        self.last = nn.Linear(function(torch.ones(2, 16)).shape[1], 10)
        self.middle = function


for name, function in OPERATIONS.items():
    stacked(name)(partial(Operation, function))
stacked("put at indices")(
    partial(Operation, lambda h: h.index_put((torch.arange(2), torch.arange(2)), h.new_zeros(2)))
)


# Of words.


class Words(nn.Module):
    """A mean of embeddings."""

    def __init__(self, **options):
        super().__init__()
        self.words, self.last = nn.Embedding(12, 8, **options), nn.Linear(8, 4)

    def forward(self, x):
        return self.last(self.words(x).mean(1))


stacked("embedding", data=words, quick=True)(Words)
alone("embedding with padding", "", data=words, quick=True)(partial(Words, padding_idx=0))
alone("embedding of bounded norm", "in eval mode", data=words)(partial(Words, max_norm=1.0))
alone("sparse embedding", CANNOT, data=words, needs="SGD")(partial(Words, sparse=True))


@stacked("bag of embeddings", data=words)
class Bag(Words):
    def __init__(self):
        super().__init__()
        self.words = nn.EmbeddingBag(12, 8)

    def forward(self, x):
        return self.last(self.words(x))


@stacked("decoder tied to its embedding", data=words)
class TiedDecoder(Words):
    """The last layer's weights are the embedding."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(8, 12, bias=False)
        self.last.weight = self.words.weight

    def forward(self, x):
        return super().forward(x)[:, :4]


@stacked("one-hot words", data=words)
class OneHot(Words):
    def forward(self, x):
        return self.last(F.one_hot(x, 12).to(self.last.weight.dtype).mean(1)[:, :8])


@stacked("position by sine and learned", data=words)
class Positions(Words):
    def __init__(self):
        super().__init__()
        angles = torch.arange(9.0)[:, None] / 10 ** torch.arange(8.0)
        self.register_buffer("sines", angles.sin(), persistent=False)
        self.places = nn.Parameter(torch.zeros(9, 8))

    def forward(self, x):
        return self.last((self.words(x) + self.sines + self.places).tanh().mean(1))
