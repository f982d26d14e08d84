"""Kinds of networks that people bring, and the hand-written loop that each must equal."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from course_lib.data import TensorData
from course_lib.datasets import Digits
from course_lib.models import F1, MLP, LeNet


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


def hand_written_loop(
    network: Callable[[], nn.Module],
    data: TensorData,
    seed: int,
    *,
    batch_size: int,
    optimizer: Callable,
    lr: float,
    max_epochs: int,
    loss: Callable = F.cross_entropy,
    **options,
) -> nn.Module:
    """The loop in the docstring of `fit`, on the data of this seed."""
    x_train, y_train, *weights = data.of_seed(seed).train
    torch.manual_seed(seed)
    net = network()
    stepper = optimizer(net.parameters(), lr=lr, **options)
    order = torch.Generator().manual_seed(seed)
    for _ in range(max_epochs):
        for batch in torch.randperm(len(x_train), generator=order).split(batch_size):
            value = batch_loss(
                loss, net(x_train[batch]), y_train[batch], *(w[batch] for w in weights)
            )
            stepper.zero_grad()
            value.backward()
            stepper.step()
    return net


def batch_loss(loss: Callable, outputs: Tensor, targets: Tensor, weights: Tensor | None = None):
    if weights is None:
        return loss(outputs, targets)
    return (loss(outputs, targets, reduction="none") * weights).sum() / weights.sum()


def largest_difference(first: nn.Module, second: nn.Module) -> float:
    """Over all parameters and buffers of two networks."""
    mine, others = dict(tensors(first)), dict(tensors(second))
    assert mine.keys() == others.keys()
    return max((mine[n].double() - others[n].double()).abs().max().item() for n in mine)


def tensors(network: nn.Module):
    yield from network.named_parameters()
    yield from network.named_buffers()


class Head(nn.Module):
    """Whatever a subclass does between two linear layers, on digits: 64 to 16, 16 to 10."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(64, 16), nn.Linear(16, 10)

    def middle(self, hidden: Tensor) -> Tensor:
        return hidden.relu()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(self.first(x.flatten(1))))


class FunctionalDropout(Head):
    def middle(self, hidden):
        return F.dropout(hidden.relu(), 0.4, self.training)


class Noise(Head):
    def middle(self, hidden):
        return (hidden + 0.3 * torch.randn_like(hidden)).relu()


class RandomSlopes(Head):
    def __init__(self):
        super().__init__()
        self.slopes = nn.RReLU()

    def middle(self, hidden):
        return self.slopes(hidden)


class StochasticDepth(Head):
    """A layer that every other pass skips; skipped weights get no gradient, so they stand still."""

    def __init__(self):
        super().__init__()
        self.skipped = nn.Linear(16, 16)

    def middle(self, hidden):
        return hidden + self.skipped(hidden).relu() if torch.rand(()) < 0.5 else hidden


class Frozen(Head):
    def __init__(self):
        super().__init__()
        self.first.requires_grad_(False)


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


class Unused(Head):
    """A layer without influence on the loss: no gradient, and no weight decay either."""

    def __init__(self):
        super().__init__()
        self.idle = nn.Linear(3, 3)


class DrawnAttribute(Head):
    """A matrix that is no parameter, another one for each seed."""

    def __init__(self):
        super().__init__()
        self.projection = torch.randn(16, 16) / 4

    def middle(self, hidden):
        return (hidden @ self.projection).relu()


class Counting(Head):
    """A number in Python that grows with each pass."""

    passes = 0

    def middle(self, hidden):
        self.passes = self.passes + 1
        return hidden.relu() / (1 + 0.1 * self.passes)


class AssignedBuffer(Head):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(16))
        self.register_buffer("scale", torch.ones(16), persistent=False)

    def middle(self, hidden):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * hidden.detach().mean(0)
        return ((hidden - self.mean) * self.scale).relu()


class GradientHook(Head):
    def __init__(self):
        super().__init__()
        self.first.weight.register_hook(lambda gradient: 0.5 * gradient)


class InPlace(Head):
    """A forward pass that changes what it is given."""

    def forward(self, x):
        return super().forward(x.flatten(1).sub_(0.5))


class Branching(Head):
    """A branch that depends on values."""

    def middle(self, hidden):
        return hidden.relu() if hidden.mean() > 0 else hidden.tanh()


class Recurrent(nn.Module):
    """A recurrent layer over the rows of an image."""

    def __init__(self, kind=nn.LSTM, **options):
        super().__init__()
        self.rows, self.last = kind(8, 12, batch_first=True, **options), nn.Linear(12, 10)

    def forward(self, x):
        outputs, _ = self.rows(x.flatten(1, 2))
        return self.last(outputs[:, -1])


class Attending(nn.Module):
    """A transformer's encoder layer over the rows of an image."""

    def __init__(self, dropout: float = 0.0):
        super().__init__()
        # Without biases: that of the keys has no influence, so its gradient is rounding error.
        options = {"dim_feedforward": 16, "dropout": dropout, "batch_first": True, "bias": False}
        self.layer, self.last = nn.TransformerEncoderLayer(8, 2, **options), nn.Linear(64, 10)

    def forward(self, x):
        return self.last(self.layer(x.flatten(1, 2)).flatten(1))


class Words(nn.Module):
    """A mean of embeddings."""

    def __init__(self, **options):
        super().__init__()
        self.words, self.last = nn.Embedding(12, 8, **options), nn.Linear(8, 4)

    def forward(self, x):
        return self.last(self.words(x).mean(1))


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


def layers(*middle: Callable[[], nn.Module], width: int = 16, flat: bool = True):
    """A network of modules between Linear(64, 16) or the image, and Linear(width, 10)."""
    first = [nn.Flatten(), nn.Linear(64, 16)] if flat else []
    return nn.Sequential(*first, *(make() for make in middle), nn.Flatten(), nn.Linear(width, 10))


def of(*middle, **options):
    return partial(layers, *middle, **options)


def eval_mode(network: nn.Module, index: int) -> nn.Module:
    network[index].eval()
    return network


def decorated(decorate: Callable) -> nn.Module:
    network = Head()
    decorate(network.first)
    return network


STACKED: dict[str, Callable[[], nn.Module]] = {
    "MLP": MLP,
    "LeNet": LeNet,
    "F1": partial(F1, shape=(1, 8, 8), width=64),
    "tied": Tied,
    "frozen": Frozen,
    "unused": Unused,
    "layer norm": of(partial(nn.LayerNorm, 16), nn.GELU),
    "group norm": of(partial(nn.GroupNorm, 4, 16), nn.ReLU),
    "batch norm 2d": of(
        partial(nn.Conv2d, 1, 4, 3, bias=False),
        partial(nn.BatchNorm2d, 4),
        nn.ReLU,
        width=144,
        flat=False,
    ),
    "instance norm": of(
        partial(nn.Conv2d, 1, 4, 3, bias=False),
        partial(nn.InstanceNorm2d, 4),
        width=144,
        flat=False,
    ),
    "frozen batch norm": lambda: eval_mode(
        nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 10)), 1
    ),
    "PReLU": of(nn.PReLU),
    "softplus": of(nn.Softplus),
    "weight norm": lambda: decorated(weight_norm),
    "conv 1d": of(
        lambda: nn.Flatten(1, 2), partial(nn.Conv1d, 8, 4, 3), nn.ReLU, width=24, flat=False
    ),
    "conv 3d": of(
        lambda: nn.Unflatten(2, (2, 4)), partial(nn.Conv3d, 1, 2, (2, 3, 3)), width=24, flat=False
    ),
    "grouped conv": of(
        partial(nn.Conv2d, 1, 4, 3), partial(nn.Conv2d, 4, 4, 3, groups=2), width=64, flat=False
    ),
    "same padding": of(partial(nn.Conv2d, 1, 4, 3, padding="same"), width=256, flat=False),
    "transposed conv": of(partial(nn.ConvTranspose2d, 1, 2, 3), nn.ReLU, width=200, flat=False),
    "average pooling": of(partial(nn.AvgPool2d, 2), width=16, flat=False),
    "conv, weights alone": Convolving,
    "conv, stride as a number": partial(Convolving, None, 2, 1),
    "conv, by name": partial(Convolving, stride=(2, 1), padding=1, dilation=2),
    "attention": Attending,
}
WORDS: dict[str, Callable[[], nn.Module]] = {
    "embedding": Words,
    "embedding with padding": partial(Words, padding_idx=0),
}
ALONE: dict[str, Callable[[], nn.Module]] = {
    "dropout": of(nn.ReLU, partial(nn.Dropout, 0.3)),
    "functional dropout": FunctionalDropout,
    "noise": Noise,
    "random slopes": RandomSlopes,
    "stochastic depth": StochasticDepth,
    "attention with dropout": partial(Attending, 0.2),
    "LSTM": Recurrent,
    "GRU": partial(Recurrent, nn.GRU),
    "LSTM with dropout": partial(Recurrent, num_layers=2, dropout=0.3),
    "spectral norm": lambda: decorated(spectral_norm),
    "drawn attribute": DrawnAttribute,
    "assigned buffer": AssignedBuffer,
    "gradient hook": GradientHook,
    "in place": InPlace,
    "branching": Branching,
}
