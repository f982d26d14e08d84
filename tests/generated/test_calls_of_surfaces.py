"""Generated calls: surfaces, their gradients against differences, descent against a loop."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

import calls
import kinds
from calls import Argument, called, judge
from course_lib import surfaces

N = 5
GENERATOR = np.random.default_rng(0)
X, Y = GENERATOR.normal(size=(N, 2)).round(2), GENERATOR.normal(size=N).round(2)
NO_X = kinds.no_array(X) | st.sampled_from([X[:, :1], X[0], X[:0], X * np.nan, X * np.inf])
WIDE = [*kinds.FLOAT_TYPES, np.int64, np.int16]

POINTS = np.array([[0.5, -1.5], [2.0, 0.25], [-3.0, 1.0]])
POINT_FORMS = st.one_of(
    kinds.formed(POINTS, kinds.FLOAT_TYPES),
    kinds.formed(POINTS[0], kinds.FLOAT_TYPES),
    st.sampled_from([POINTS[None], torch.tensor(POINTS[:0]), [1, 2], torch.tensor([1, 2])]),
)
NO_POINTS = kinds.no_array(POINTS) | st.sampled_from([POINTS.T, POINTS[:, :1], 3.0, [1, 2, 3], []])


def differences(surface, point):
    steps = np.eye(2) * 1e-5
    return [(float(surface(point + s)) - float(surface(point - s))) / 2e-5 for s in steps]


def check_surface(surface, values, points, exact):
    points = kinds.as_array(points)
    assert values.shape == points.shape[:-1]
    expected = np.array([exact(*point) for point in points.reshape(-1, 2)])
    np.testing.assert_allclose(values.flatten(), expected, rtol=1e-4, atol=1e-5)
    for point in points.reshape(-1, 2)[:1]:
        leaf = torch.tensor(point, requires_grad=True)
        surface(leaf).backward()
        slope = differences(lambda p: surface(torch.tensor(p)), point)
        np.testing.assert_allclose(leaf.grad, slope, rtol=1e-4, atol=1e-4)


FORMULAS = {
    "plateau": lambda x, y: max(abs(x) - 3, 0) ** 2 / 2 + 1 - np.exp(-2 * x * x) + y * y / 2,
    "bump": lambda x, y: (x * x + y * y) / 4 + 1.5 * np.exp(-3 * (x + 2) ** 2),
    "saddle": lambda x, y: (x * x - y * y) / 2 + y**4 / 4,
}


@calls.examples(15)
@given(st.sampled_from(sorted(FORMULAS)), called(points=Argument(POINT_FORMS, NO_POINTS)))
def test_plain_surfaces(name, call):
    surface = getattr(surfaces, name)

    def right(values, points):
        check_surface(surface, values, points, FORMULAS[name])

    judge(f"surfaces.{name}", surface, call, right)


@calls.examples(8)
@given(
    called(
        points=Argument(POINT_FORMS, NO_POINTS),
        condition=Argument(
            kinds.positive(1, 50) | st.sampled_from([1, np.int64(3), 2**70, np.inf]),
            [*(0, 0.5, -1, None, "2", True, np.nan, 1j, [2.0], kinds.BEYOND_FLOATS, np.array(2.0))],
        ),
    )
)
def test_ravine(call):
    def right(values, points, condition):
        def surface(p):
            return surfaces.ravine(p, condition)

        steep = float(condition)
        check_surface(surface, values, points, lambda x, y: (x * x / steep + y * y) / 2)

    judge("surfaces.ravine", surfaces.ravine, call, right)


@calls.examples(11)
@given(
    called(
        x=Argument(kinds.formed(X, WIDE), NO_X, r"\bx\b|data"),
        y=Argument(
            kinds.formed(Y, WIDE),
            kinds.no_array(Y) | st.sampled_from([Y[:-1], Y[:0], Y[:, None], Y * np.nan, 3.0]),
            r"\by\b|data",
        ),
    )
)
def test_linear_neuron(call):
    def right(surface, x, y):
        x, y = kinds.as_array(x), kinds.as_array(y)
        values = surface(torch.tensor(POINTS))
        check_surface(surface, values, POINTS, lambda *w: np.mean((x @ w - y) ** 2) / 2)
        assert len(surface) == N and surface([0, 0]) == surface(torch.zeros(2))

    judge("LinearNeuron", surfaces.LinearNeuron, call, right)


@calls.examples(8)
@given(called(x=Argument(kinds.formed(X, WIDE), NO_X, r"\bx\b|data")))
def test_autoencoder(call):
    def right(surface, x):
        x = kinds.as_array(x)

        def exact(*w):
            return np.mean(np.sum((x - np.outer(x @ w, w)) ** 2, 1)) / 2

        check_surface(surface, surface(torch.tensor(POINTS)), POINTS, exact)

    judge("Autoencoder", surfaces.Autoencoder, call, right)


NEURON = surfaces.LinearNeuron(X, Y)


@calls.examples(11)
@given(
    called(
        batch_size=Argument(kinds.whole(1, N), kinds.no_whole(0, -1, N + 1, kinds.HUGE)),
        seeds=Argument(kinds.SEEDS, kinds.NO_SEEDS),
    )
)
def test_minibatch(call):
    def right(minibatch, batch_size, seeds):
        generators = [torch.Generator().manual_seed(seed) for seed in minibatch.seeds]
        if not isinstance(seeds, (int, np.integer)):
            assert minibatch.seeds == [int(seed) for seed in seeds]
        for _ in range(2):
            orders = [torch.randperm(N, generator=g).split(int(batch_size)) for g in generators]
            for rows in zip(*orders, strict=True):
                expected = [np.mean((X[r] @ POINTS[0] - Y[r]) ** 2) / 2 for r in rows]
                np.testing.assert_allclose(minibatch(POINTS[0]), expected)

    judge("DataSurface.minibatch", NEURON.minibatch, call, right)


def adam(points, lr):
    return torch.optim.Adam(points, lr=lr)


NO_LOSSES = [
    *(None, "ravine", 3, lambda p: p, lambda p: 1.0, lambda p: p.sum(), lambda p: None),
    *(lambda p: p.detach().sum(-1), lambda p: p.sum(-1, keepdim=True)),
]
START = [0.5, -1.0]


@calls.examples(24)
@given(
    called(
        loss=Argument([surfaces.ravine, surfaces.bump, surfaces.saddle, NEURON], NO_LOSSES),
        start=Argument(
            kinds.formed(POINTS, kinds.FLOAT_TYPES)
            | kinds.formed(np.array(START), kinds.FLOAT_TYPES),
            NO_POINTS
            | st.sampled_from([POINTS[None], POINTS[:0], POINTS * np.nan, POINTS * np.inf]),
        ),
        steps=Argument(kinds.whole(1, 4), kinds.no_whole(0, -1)),
        lr=Argument(kinds.positive(1e-3, 0.2), kinds.NOTHING_POSITIVE),
        optimizer=Argument(
            [torch.optim.SGD, adam, torch.optim.RMSprop],
            [*(None, "SGD", 3, lambda p, lr: None, torch.optim.Optimizer, lambda: 3, torch.Tensor)],
        ),
    )
)
def test_descend(call):
    def right(path, loss, start, steps, lr, optimizer):
        starts = np.atleast_2d(kinds.as_array(start))
        assert len(path) == len(starts) * (int(steps) + 1)
        for seed, point in enumerate(starts):
            leaf = torch.tensor(point, requires_grad=True)
            stepper = optimizer([leaf], lr=float(lr))
            mine = path[path["seed"] == seed]
            for row in mine.itertuples():
                np.testing.assert_allclose([row.x, row.y], leaf.detach(), rtol=1e-9, atol=1e-12)
                value = loss(leaf)
                np.testing.assert_allclose(row.loss, value.item(), rtol=1e-9, atol=1e-12)
                stepper.zero_grad()
                value.backward()
                stepper.step()

    judge("surfaces.descend", surfaces.descend, call, right)
