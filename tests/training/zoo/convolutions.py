"""What is made for images: convolutions, pooling, and the architectures of them."""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from .kinds import CANNOT, RANDOM, alone, images, stacked

conv = partial(nn.Conv2d, 1, 4, 3)


class Convolving(nn.Module):
    """`F.conv2d`, called as a function in one of its ways."""

    def __init__(self, *arguments, **options):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 1, 3, 3) / 3)
        self.bias, self.last = nn.Parameter(torch.zeros(4)), nn.LazyLinear(10)
        self.arguments, self.options = arguments, options
        self.last(self.features(torch.zeros(1, 1, 8, 8)))  # tells the layer its size

    def features(self, x):
        return F.conv2d(x, self.weight, *self.arguments, **self.options).relu().flatten(1)

    def forward(self, x):
        return self.last(self.features(x))


CALLED = {
    "conv, weights alone": Convolving,
    "conv, stride as a number": partial(Convolving, None, 2, 1),
    "conv, by name": partial(Convolving, stride=(2, 1), padding=1, dilation=2),
}
for name, make in CALLED.items():
    stacked(name, quick=True)(make)

LAYERS = {
    "grouped conv": (conv, partial(nn.Conv2d, 4, 4, 3, groups=2)),
    "depthwise separable conv": (
        conv,
        partial(nn.Conv2d, 4, 4, 3, groups=4),
        partial(nn.Conv2d, 4, 6, 1),
    ),
    "dilated conv": (partial(conv, dilation=2, stride=2),),
    "same padding": (partial(conv, padding="same"),),
    "circular padding": (partial(conv, padding=1, padding_mode="circular"),),
    "reflected padding": (partial(conv, padding=1, padding_mode="reflect"),),
    "transposed conv": (partial(nn.ConvTranspose2d, 1, 2, 3), nn.ReLU),
    "average pooling": (conv, partial(nn.AvgPool2d, 2)),
    "max pooling": (conv, partial(nn.MaxPool2d, 3, stride=1, padding=1)),
    "adaptive average pooling": (conv, partial(nn.AdaptiveAvgPool2d, 2)),
    "adaptive max pooling": (conv, partial(nn.AdaptiveMaxPool2d, 2)),
    "LP pooling": (conv, nn.Softplus, partial(nn.LPPool2d, 2, 2)),
    "pixel shuffle": (conv, partial(nn.PixelShuffle, 2)),
    "upsampling, nearest": (conv, partial(nn.Upsample, scale_factor=2)),
    "upsampling, bilinear": (
        conv,
        partial(nn.Upsample, scale_factor=2, mode="bilinear", align_corners=False),
    ),
    "unfold": (partial(nn.Unfold, 3, stride=2), nn.Tanh),
    "fold": (partial(nn.Unfold, 2, stride=2), partial(nn.Fold, (8, 8), 2, stride=2), nn.Tanh),
}
for name, layers in LAYERS.items():
    stacked(name, quick=name in ("grouped conv", "same padding", "transposed conv"))(
        images(*layers)
    )
stacked("conv 1d", quick=True)(images(partial(nn.Conv1d, 8, 4, 3), nn.ReLU, shape=(8, 8)))
stacked("conv 3d", quick=True)(images(partial(nn.Conv3d, 1, 2, (2, 3, 3)), shape=(1, 4, 4, 4)))
alone("fractional max pooling", RANDOM)(images(conv, partial(nn.FractionalMaxPool2d, 2, 3)))
alone("dropout of channels", RANDOM)(images(conv, partial(nn.Dropout2d, 0.3)))


class Block(nn.Module):
    """A convolution that keeps the size, and what a subclass makes of it."""

    def __init__(self, before: int = 1, after: int = 4):
        super().__init__()
        self.conv = nn.Conv2d(before, after, 3, padding=1)

    def forward(self, x):
        return self.conv(x).relu()


class Residual(Block):
    def __init__(self):
        super().__init__()
        self.second, self.norm = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.shortcut = nn.Conv2d(1, 4, 1)

    def forward(self, x):
        return (self.shortcut(x) + self.norm(self.second(super().forward(x)))).relu()


class Dense(Block):
    def __init__(self):
        super().__init__()
        self.second = Block(5, 3)

    def forward(self, x):
        x = torch.cat([x, super().forward(x)], 1)
        return torch.cat([x, self.second(x)], 1)


class Inception(Block):
    def __init__(self):
        super().__init__()
        self.point, self.wide = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 5, padding=2)

    def forward(self, x):
        pooled = F.max_pool2d(x, 3, 1, 1)
        return torch.cat([super().forward(x), self.point(pooled), self.wide(x)], 1).relu()


class SqueezeExcite(Block):
    def __init__(self):
        super().__init__()
        self.squeeze, self.excite = nn.Linear(4, 2), nn.Linear(2, 4)

    def forward(self, x):
        x = super().forward(x)
        gates = self.excite(self.squeeze(x.mean((2, 3))).relu()).sigmoid()
        return x * gates[..., None, None]


class UNet(Block):
    """Down, up again, and the way across."""

    def __init__(self):
        super().__init__()
        self.down, self.up = Block(4, 8), nn.ConvTranspose2d(8, 4, 2, 2)

    def forward(self, x):
        across = super().forward(x)
        return self.up(self.down(F.max_pool2d(across, 2))) + across


class Unpooling(Block):
    """Max pooling that hands its indices to where they are undone."""

    def forward(self, x):
        values, places = F.max_pool2d(super().forward(x), 2, return_indices=True)
        return F.max_unpool2d(values, places, 2)


class Sampling(Block):
    """A spatial transformer, which learns where to look."""

    def __init__(self):
        super().__init__()
        self.where = nn.Linear(64, 6)

    def forward(self, x):
        turned = self.where(x.flatten(1)).tanh().view(-1, 2, 3) + torch.eye(2, 3)
        grid = F.affine_grid(turned, x.shape, align_corners=False)
        return F.grid_sample(super().forward(x), grid, align_corners=False)


class MemoryFormat(Block):
    """Asks for a memory format that `vmap` cannot give."""

    def forward(self, x):
        return super().forward(x.to(memory_format=torch.channels_last))


BLOCKS = {
    "residual convolutions": Residual,
    "dense block": Dense,
    "inception": Inception,
    "squeeze and excite": SqueezeExcite,
    "U-Net": UNet,
    "max unpooling": Unpooling,
    "spatial transformer": Sampling,
}
for name, make in BLOCKS.items():
    stacked(name)(images(make))
alone("memory format", CANNOT)(images(MemoryFormat))
