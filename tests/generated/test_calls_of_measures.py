"""Generated calls: gradient noise, Hessians, sharpness, losses along a line, against slow ways."""

import math
from functools import cache, partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parameters_to_vector, vector_to_parameters

import calls
import kinds
from calls import Argument, called, judge
from course_lib import MLP, gradient_noise, hessian, sharpness
from course_lib.curvature import filter_normalized, losses_along

N = 12
X, Y = torch.linspace(-2, 3, N * 3).sin().view(N, 3), torch.arange(N) % 3


class TwoOutputs(nn.Linear):
    def forward(self, x):
        return super().forward(x), x


@cache
def network(kind):
    torch.manual_seed(0)
    if kind == "norm":
        layers = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Dropout(), nn.Linear(4, 3)
        made = nn.Sequential(*layers)
        made(X)  # gives it statistics
    elif kind == "frozen":
        made = MLP((3,), (4,), 3)
        made[1].requires_grad_(False)
    elif kind == "double":
        made = MLP((3,), (4,), 3).double()
    else:
        made = MLP((3,), (4,) if kind == "mlp" else (), 3)
    return made.eval()


def untrainable():
    return MLP((3,), (4,), 3).requires_grad_(False).eval()


def layers(*inner):
    return nn.Sequential(nn.Linear(3, 4), *inner, nn.Linear(4, 3))


SMOOTH = partial(cross_entropy, label_smoothing=0.1)


def squares(outputs, targets):
    return (outputs - targets[:, None]).square().mean()


def outputs_alone(outputs, targets):
    return outputs.mean()


def constant(outputs, targets):
    return outputs.new_tensor(1.0)


FITTING = "fit together|network|loss|data"
NETWORK = Argument(
    st.sampled_from(["mlp", "linear", "norm", "frozen"]).map(network),
    [
        *(None, 3, "MLP", MLP, [network("mlp")], untrainable(), TwoOutputs(3, 3)),
        *(layers(nn.Dropout()), layers(nn.BatchNorm1d(4)), layers(nn.AlphaDropout())),
        layers(nn.BatchNorm1d(4, track_running_stats=False)).eval(),
        *(nn.Linear(2, 3), nn.Sequential(), nn.RReLU(), network("double")),
    ],
    FITTING,
)
LOSS = Argument(
    [cross_entropy, SMOOTH, squares, outputs_alone, constant],
    [
        *(None, "cross_entropy", 3, nn.CrossEntropyLoss, lambda outputs: outputs.mean()),
        *(
            lambda o, t: 1.0,
            lambda o, t: None,
            lambda o, t: o.mean(1),
            lambda o, t: o.mean().item(),
        ),
        *(lambda o, t: (o.argmax(1) == t).sum(), lambda o, t: o.mean()[None], lambda o, t: 1 / 0),
    ],
    FITTING,
)
ROWS = [
    torch.arange(N),
    torch.arange(N).flip(0),
    torch.arange(7),
    torch.tensor([3]),
    torch.arange(0, N, 2),
]
DATA = Argument(
    st.builds(
        lambda rows, pair: pair([X[rows], Y[rows]]),
        st.sampled_from(ROWS),
        st.sampled_from([tuple, list]),
    ),
    [
        *(None, 3, "ab", X, (X,), (X, Y, Y), (X, Y[:5]), (X[:0], Y[:0]), (X, None), (None, Y), {}),
        *((X.numpy(), Y.numpy()), (X.tolist(), Y.tolist()), (X.double(), Y), (X[:, :2], Y)),
        *((X + 0j, Y), (X.long(), Y), (X[0, 0], Y), (X.to_sparse(), Y), (X, Y[0]), (X > 0, Y)),
        *(torch.stack([X, X, X]), (X.to("meta"), Y)),
    ],
    FITTING,
)
CHUNK = Argument(
    kinds.whole(1, N + 3) | st.sampled_from([1000, kinds.HUGE]),
    kinds.no_whole(0, -1),
    "chunk_size=",
)
NOISE_CHUNK = Argument(
    CHUNK.allowed | st.none(), CHUNK.refused.filter(lambda chunk: chunk is not None), "chunk_size="
)
MEASURED = {"network": NETWORK, "loss": LOSS, "data": DATA, "chunk_size": CHUNK}


def vector(gradients):
    return torch.cat([gradient.flatten() for gradient in gradients]).double()


def gradient(network, loss, x, y, **options):
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    value = loss(network(x), y) + 0 * sum(w.sum() for w in weights)
    return vector(torch.autograd.grad(value, weights, **options))


@calls.examples(27)
@given(called(**{**MEASURED, "chunk_size": NOISE_CHUNK}))
def test_gradient_noise(call):
    def right(noise, network, loss, data, chunk_size):
        each = torch.stack(
            [gradient(network, loss, x[None], y[None]) for x, y in zip(*data, strict=True)]
        )
        signal, trace = each.mean(0).square().sum().item(), each.var(0, correction=0).sum().item()
        assert noise.squared_norm == pytest.approx(signal, rel=1e-4, abs=1e-12)
        assert noise.covariance_trace == pytest.approx(
            trace, rel=1e-4, abs=1e-6 * max(signal, 1e-6)
        )
        if signal > 1e-9:
            ratio = noise.covariance_trace / noise.squared_norm
            assert noise.noise_scale == pytest.approx(ratio)
        if loss is constant:
            assert noise == (0, 0, math.inf)

    judge("gradient_noise", gradient_noise, call, right)


VECTORS = st.sampled_from(["normal", "ones", "unit", "integers", "backwards", "columns"])


def dense_hessian(network, loss, data):
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    value = loss(network(data[0]), data[1]) + 0 * sum((w**2).sum() for w in weights)
    gradients = vector(torch.autograd.grad(value, weights, create_graph=True))
    rows = [torch.autograd.grad(g, weights, retain_graph=True) for g in gradients]
    return torch.stack([vector(row) for row in rows]).numpy()


def operand(kind, size):
    random = np.random.default_rng(0).normal(size=size)
    return {
        "normal": random,
        "ones": np.ones(size, np.float32),
        "unit": np.eye(size)[-1],
        "integers": np.arange(size),
        "backwards": random[::-1],
        "columns": np.stack([random, random[::-1]], 1),
    }[kind]


@calls.examples(23)
@given(called(**MEASURED), VECTORS)
def test_hessian(call, kind):
    def right(operator, network, loss, data, chunk_size):
        given_ = operand(kind, operator.shape[1])
        dense = dense_hessian(network, loss, data)
        assert operator.shape == dense.shape
        np.testing.assert_allclose(operator @ given_, dense @ given_, rtol=1e-3, atol=1e-4)
        with pytest.raises(ValueError, match="vector must hold real numbers"):
            operator @ (given_ * 1j)

    judge("hessian", hessian, call, right)


def in_units(network, loss, data, direction):
    def function(weights):
        with torch.no_grad():
            vector_to_parameters(
                weights.to(direction), [w for w in network.parameters() if w.requires_grad]
            )
            return loss(network(data[0]), data[1]).item()

    weights = parameters_to_vector([w for w in network.parameters() if w.requires_grad]).detach()
    return function, weights


@calls.examples(11)
@given(
    called(
        **MEASURED,
        epsilon=Argument(kinds.positive(1e-4, 0.5), kinds.NOTHING_POSITIVE),
        iterations=Argument(kinds.whole(1, 5), kinds.no_whole(0, -1)),
    )
)
def test_sharpness(call):
    def right(value, network, loss, data, chunk_size, epsilon, iterations):
        # A search for the maximum in the box, cut short: no less than the worst of five points.
        function, weights = in_units(network, loss, data, torch.zeros(1))
        box, center = float(epsilon) * (weights.abs() + 1), function(weights)
        generator = torch.Generator().manual_seed(0)
        points = [torch.rand(len(weights), generator=generator) * 2 - 1 for _ in range(5)]
        rises = [function(weights + box * point) - center for point in points]
        function(weights)  # puts the weights back
        assert value >= 100 * min(rises) / (1 + center) - 1e-3
        assert value >= 0
        if loss is constant:
            assert value == 0

    judge("sharpness", sharpness, call, right)


@calls.examples(8)
@given(
    called(
        network=Argument(NETWORK.allowed, [None, 3, "MLP", MLP, untrainable()]),
        seed=Argument(
            kinds.whole(-5, 2**15 - 1) | st.sampled_from([2**64 - 1]), kinds.no_whole(kinds.HUGE)
        ),
    )
)
def test_filter_normalized(call):
    def right(direction, network, seed):
        weights = [weight for weight in network.parameters() if weight.requires_grad]
        assert len(direction) == sum(weight.numel() for weight in weights)
        for weight, part in zip(
            weights, direction.split([w.numel() for w in weights]), strict=True
        ):
            lengths = weight.flatten(1).norm(dim=1) if weight.ndim > 1 else torch.zeros(len(weight))
            torch.testing.assert_close(part.view(len(weight), -1).norm(dim=1), lengths)
        assert torch.equal(direction, filter_normalized(network, int(seed)))

    judge("filter_normalized", filter_normalized, call, right)


WEIGHTS = 31  # of the MLP
DIRECTION = np.linspace(-1, 1, WEIGHTS)
POSITIONS = [
    [0, 1],
    (),
    [0.5],
    np.linspace(-1, 1, 3),
    torch.arange(2),
    range(2),
    [np.float32(1)],
    [2**40],
]


@calls.examples(15)
@given(
    called(
        loss=Argument([cross_entropy, squares], LOSS.refused, FITTING),
        data=DATA,
        direction=Argument(
            kinds.formed(DIRECTION, kinds.ALL_TYPES[:6]),
            kinds.no_array(DIRECTION)
            | st.sampled_from([DIRECTION[:-1], DIRECTION[None], DIRECTION[:0]]),
        ),
        positions=Argument(
            POSITIONS,
            [*(None, 3, "12", ["a"], [None], [math.nan], [math.inf], [[1, 2]], [1j], len)]
            + [[kinds.BEYOND_FLOATS], np.ma.masked_less([1.0], 2), np.array(1.0)],
        ),
    )
)
def test_losses_along(call):
    def along(**arguments):
        return losses_along(network("mlp"), **arguments)

    def right(losses, loss, data, direction, positions):
        function, weights = in_units(network("mlp"), loss, data, torch.zeros(1))
        direction = torch.tensor(kinds.as_array(direction), dtype=torch.float32)
        expected = [function(weights + float(t) * direction) for t in positions]
        function(weights)
        assert losses.shape == (len(expected),) and losses.dtype == np.float64
        np.testing.assert_allclose(losses, expected, rtol=1e-3)

    judge("losses_along", along, call, right)
