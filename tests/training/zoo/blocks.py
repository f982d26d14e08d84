"""Blocks and architectures without convolutions."""

import torch
from torch import nn
from torch.nn import functional as F

from .kinds import CANNOT, Head, alone, stacked


@stacked("residual block")
class Residual(Head):
    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))

    def middle(self, hidden):
        return (hidden + self.block(hidden)).relu()


@stacked("highway")
class Highway(Head):
    def __init__(self):
        super().__init__()
        self.gate, self.change = nn.Linear(16, 16), nn.Linear(16, 16)

    def middle(self, hidden):
        gate = self.gate(hidden).sigmoid()
        return gate * self.change(hidden).relu() + (1 - gate) * hidden


@stacked("maxout")
class Maxout(Head):
    def __init__(self):
        super().__init__()
        self.pieces = nn.Linear(16, 48)

    def middle(self, hidden):
        return self.pieces(hidden).unflatten(1, (16, 3)).amax(2)


@stacked("bilinear")
class Bilinear(Head):
    def __init__(self):
        super().__init__()
        self.pair = nn.Bilinear(16, 16, 16)

    def middle(self, hidden):
        return self.pair(hidden, hidden.tanh()).tanh()


@stacked("cosine similarity with learned temperature")
class Cosine(Head):
    """Its temperature is a parameter without dimensions."""

    def __init__(self):
        super().__init__()
        self.classes, self.temperature = (
            nn.Parameter(torch.randn(10, 64)),
            nn.Parameter(torch.ones(())),
        )

    def forward(self, x):
        return F.cosine_similarity(x.flatten(1)[:, None], self.classes, dim=2) * self.temperature


@stacked("siamese")
class Siamese(Head):
    """Both halves of the image go through the same layer."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(32, 16)

    def forward(self, x):
        upper, lower = self.first(x.flatten(1).unflatten(1, (2, 32))).relu().unbind(1)
        return self.last((upper - lower).abs())


@stacked("mixture of experts")
class Experts(Head):
    """Each sample goes to the two best of four experts."""

    def __init__(self):
        super().__init__()
        self.router = nn.Linear(16, 4)
        self.experts = nn.ModuleList(nn.Linear(16, 16) for _ in range(4))

    def middle(self, hidden):
        best, index = self.router(hidden).topk(2)
        outputs = torch.stack([expert(hidden) for expert in self.experts], 1)
        chosen = outputs.gather(1, index[..., None].expand(-1, -1, 16))
        return (best.softmax(1)[..., None] * chosen).sum(1).relu()


@alone("mixture of experts, samples sent by masks", CANNOT)
class Masks(Experts):
    """Each expert is given the samples whose best expert it is: how many, the values decide."""

    def middle(self, hidden):
        best, outputs = self.router(hidden).argmax(1), torch.zeros_like(hidden)
        for index, expert in enumerate(self.experts):
            outputs[best == index] = expert(hidden[best == index])
        return outputs.relu()


@stacked("modules and parameters by name")
class ByName(Head):
    def __init__(self):
        super().__init__()
        self.by_name = nn.ModuleDict({"left": nn.Linear(16, 16), "right": nn.Linear(16, 16)})
        self.scales = nn.ParameterDict({"left": torch.ones(16), "right": torch.ones(1)})
        self.shifts = nn.ParameterList([torch.zeros(16), torch.zeros(1)])

    def middle(self, hidden):
        left, right = (self.scales[n] * self.by_name[n](hidden) for n in ("left", "right"))
        return (left + self.shifts[0]).relu() + (right + self.shifts[1]).tanh()


@stacked("autoencoder", loss=lambda outputs, targets: outputs.square().mean())
class Autoencoder(nn.Module):
    """Returns what is left to reconstruct."""

    def __init__(self):
        super().__init__()
        self.encode, self.decode = nn.Linear(64, 8), nn.Linear(8, 64)

    def forward(self, x):
        return self.decode(self.encode(x.flatten(1)).tanh()).view_as(x) - x


@stacked("hypernetwork")
class Hypernetwork(Head):
    """One layer makes another one's weights."""

    def __init__(self):
        super().__init__()
        self.makes, self.code = nn.Linear(4, 16 * 16), nn.Parameter(torch.ones(4))

    def middle(self, hidden):
        return F.linear(hidden, self.makes(self.code).view(16, 16)).tanh()


@stacked("Fourier features")
class Fourier(Head):
    """Frequencies in a buffer, which each seed draws for itself."""

    def __init__(self):
        super().__init__()
        self.register_buffer("frequencies", torch.randn(16, 8))

    def middle(self, hidden):
        waves = hidden @ self.frequencies
        return torch.cat([waves.sin(), waves.cos()], 1)


@stacked("ensemble by vmap")
class Ensemble(Head):
    """Four small networks, stacked by the network itself."""

    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.randn(4, 16, 16) / 4)

    def middle(self, hidden):
        return torch.vmap(lambda weight: (hidden @ weight).relu())(self.weights).mean(0)
