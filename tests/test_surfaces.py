"""Surfaces against closed forms, descend against hand-written updates."""

import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from course_lib import surfaces
from course_lib.surfaces import Autoencoder, LinearNeuron, bump, descend, plateau, ravine, saddle

OPTIMIZERS = [
    (torch.optim.SGD, {}),
    (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    (torch.optim.Adam, {}),
    (torch.optim.RMSprop, {}),
    (torch.optim.Rprop, {}),
]


def bowl(samples=20):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(samples, 2, generator=generator, dtype=torch.float64)
    noise = torch.randn(samples, generator=generator, dtype=torch.float64)
    return LinearNeuron(x, x @ torch.tensor([1.0, -2.0], dtype=torch.float64) + noise)


def points_of(path, seed=0):
    return torch.tensor(path.query("seed == @seed")[["x", "y"]].to_numpy())


def test_linear_neuron_is_a_quadratic_bowl():
    surface = bowl()
    x, y = surface.data
    hessian, slope = x.T @ x / len(x), x.T @ y / len(x)
    point = torch.tensor([0.3, -0.7], dtype=torch.float64)
    expected = point @ hessian @ point / 2 - slope @ point + y.square().mean() / 2
    assert surface(point).item() == pytest.approx(expected.item())


def test_autoencoder_is_the_mean_rebuilding_error():
    x = torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.0, 2.0]], dtype=torch.float64)
    w = torch.tensor([0.4, -0.6], dtype=torch.float64)
    expected = (x - (x @ w)[:, None] * w).square().sum(1).mean() / 2
    assert Autoencoder(x)(w).item() == pytest.approx(expected.item())


def test_autoencoder_has_its_minimum_and_saddle_at_the_unit_axes():
    surface = Autoencoder(torch.tensor([[2.0, 1.0], [2.0, -1.0]]))
    for axis, signs in [([1.0, 0.0], (1, 1)), ([0.0, 1.0], (-1, 1))]:
        point = torch.tensor(axis, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.grad(surface(point), point)[0].tolist() == [0.0, 0.0]
        curvatures = torch.autograd.functional.hessian(surface, point).diagonal()
        assert tuple(curvatures.sign().tolist()) == signs


def gradient(surface, *point):
    point = torch.tensor(point, dtype=torch.float64, requires_grad=True)
    return torch.autograd.grad(surface(point), point)[0].tolist()


def curvatures(surface, *point):
    point = torch.tensor(point, dtype=torch.float64)
    return torch.autograd.functional.hessian(surface, point).diagonal().tolist()


def test_a_ravine_has_the_condition_it_is_told():
    assert curvatures(ravine, 3.0, -2.0) == pytest.approx([0.01, 1])
    assert curvatures(partial(ravine, condition=4), 3.0, -2.0) == [0.25, 1]
    assert ravine(torch.tensor([2.0, 3.0]), condition=4).item() == 5


def test_a_plateau_is_flat_between_slope_and_pit():
    values = plateau(torch.tensor([[0.0, 0], [0, 2], [2.5, 0], [-2.5, 0], [-5, 0]]))
    assert values.tolist() == pytest.approx([0, 2, 1, 1, 3], abs=1e-5)
    assert 0 < gradient(plateau, 1.5, 0.0)[0] < 0.07
    assert abs(gradient(plateau, -3.0, 0.0)[0]) < 1e-6
    assert gradient(plateau, -5.0, 1.0) == pytest.approx([-2, 1])


def test_a_bump_has_a_minimum_in_front_of_its_hill():
    pit, top = (-2.7218, 0.0), (-2.1235, 0.0)
    assert gradient(bump, *pit) == pytest.approx([0, 0], abs=1e-3)
    assert gradient(bump, *top) == pytest.approx([0, 0], abs=1e-3)
    assert curvatures(bump, *pit) == pytest.approx([4.51, 0.5], abs=0.01)
    assert curvatures(bump, *top)[0] < 0
    assert gradient(bump, 0.0, 0.0)[0] == pytest.approx(0, abs=1e-3)
    assert bump(torch.tensor([3.0, 2.0])).item() == pytest.approx(13 / 4)


def test_a_saddle_falls_along_y_to_two_minima():
    for point, height, signs in [((0.0, 0.0), 0, (1, -1)), ((0.0, -1.0), -1 / 4, (1, 1))]:
        assert gradient(saddle, *point) == [0, 0]
        assert saddle(torch.tensor(point)).item() == height
        assert tuple(math.copysign(1, h) for h in curvatures(saddle, *point)) == signs


@pytest.mark.parametrize(
    "surface", [bowl(), Autoencoder(bowl().data[0]), ravine, plateau, bump, saddle]
)
def test_surfaces_take_points_of_any_leading_shape(surface):
    points = torch.randn(4, 3, 2, dtype=torch.float64)
    one_by_one = torch.stack([surface(point) for point in points.reshape(-1, 2)])
    assert torch.allclose(surface(points), one_by_one.reshape(4, 3))


@pytest.mark.parametrize("surface", [bowl(), Autoencoder(bowl().data[0])])
def test_a_minibatch_is_the_loss_of_its_own_samples(surface):
    batches = surface.minibatch(6, seeds=[3, 8])
    points = torch.tensor([[0.5, 1.0], [-1.0, 2.0]], dtype=torch.float64)
    orders = [torch.Generator().manual_seed(seed) for seed in (3, 8)]
    for _ in range(2):  # epochs of 20 samples: 6, 6, 6 and 2
        epoch = [torch.randperm(20, generator=order).split(6) for order in orders]
        for first, second in zip(*epoch, strict=True):
            expected = [
                type(surface)(*(values[batch] for values in surface.data))(point)
                for batch, point in zip((first, second), points, strict=True)
            ]
            assert torch.allclose(batches(points), torch.stack(expected))


@pytest.mark.parametrize(("optimizer", "options"), OPTIMIZERS)
def test_descend_moves_each_trajectory_as_if_alone(optimizer, options):
    surface, starts = bowl(), [[2.0, 1.0], [-3.0, 0.5]]
    path = descend(surface, starts, steps=7, lr=0.05, optimizer=optimizer, **options)
    for seed, start in enumerate(starts):
        point = torch.tensor(start, dtype=torch.float64, requires_grad=True)
        alone = optimizer([point], lr=0.05, **options)
        expected = [point.detach().clone()]
        for _ in range(7):
            alone.zero_grad()
            surface(point).backward()
            alone.step()
            expected.append(point.detach().clone())
        assert torch.allclose(points_of(path, seed), torch.stack(expected), rtol=0, atol=1e-12)


def test_descend_on_minibatches_equals_a_hand_written_loop():
    surface = bowl()
    path = descend(surface.minibatch(8, seeds=[5, 2]), [2.0, 1.0], steps=6, lr=0.1)
    x, y = surface.data
    point, order = torch.tensor([2.0, 1.0], dtype=torch.float64), torch.Generator().manual_seed(2)
    expected = [point]
    for _ in range(2):
        for batch in torch.randperm(20, generator=order).split(8):
            errors = x[batch] @ point - y[batch]
            point = point - 0.1 * (errors[:, None] * x[batch]).mean(0)
            expected.append(point)
    assert torch.allclose(points_of(path, seed=2), torch.stack(expected))


def test_descend_reports_the_loss_of_the_whole_surface():
    surface = bowl()
    path = descend(surface.minibatch(1, seeds=2), [2.0, 1.0], steps=5, lr=0.1)
    losses = surface(torch.tensor(path[["x", "y"]].to_numpy()))
    assert path.loss.tolist() == pytest.approx(losses.tolist())
    assert list(path.columns) == ["seed", "step", "x", "y", "loss"]
    assert path.groupby("seed").step.apply(list).tolist() == [list(range(6))] * 2


def quadratic(curvatures):
    """One curvature for each trajectory."""
    curvatures = torch.tensor(curvatures, dtype=torch.float64)
    return lambda points: curvatures * points.square().sum(-1) / 2


@pytest.mark.parametrize("momentum", [0.2, 0.5, 0.9])
def test_descend_on_a_quadratic_is_the_closed_form(momentum):
    """w_{t+1} = (1 + beta - s h) w_t - beta w_{t-1}, solved by the roots of its polynomial."""
    lr, curvature, start = 0.3, 0.7, 2.0
    path = descend(quadratic([curvature]), [start, 0.0], steps=25, lr=lr, momentum=momentum)
    b, step = torch.tensor([momentum, lr * curvature], dtype=torch.complex128)
    root = ((1 + b - step) ** 2 - 4 * b).sqrt()
    first, second = (1 + b - step + root) / 2, (1 + b - step - root) / 2
    share = (1 - step - second) / root
    t = torch.arange(26)
    expected = start * (share * first**t + (1 - share) * second**t).real
    assert torch.allclose(points_of(path)[:, 0], expected, rtol=0, atol=1e-12)
    assert points_of(path)[:, 1].tolist() == [0] * 26


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 0.99])
def test_heavy_ball_is_stable_up_to_two_times_one_plus_beta(momentum):
    limit = 2 * (1 + momentum)
    loss = quadratic([0.98 * limit, 1.02 * limit])
    path = descend(loss, [[1.0, 0.0]] * 2, steps=400, lr=1.0, momentum=momentum)
    stays, flies = path[path.step == 400].x.abs()
    assert stays < 1 and flies > 1e3


def test_descend_computes_long_paths_in_pieces(monkeypatch):
    whole = descend(bowl(), [[2.0, 1.0], [0.0, 1.0]], steps=9, lr=0.1)
    monkeypatch.setattr(surfaces, "PIECE", 4)
    pieces = descend(bowl(), [[2.0, 1.0], [0.0, 1.0]], steps=9, lr=0.1)
    assert pieces.loss.tolist() == pytest.approx(whole.loss.tolist())


def test_a_seed_does_not_depend_on_its_neighbours():
    alone = descend(bowl().minibatch(3, seeds=[4]), [2.0, 1.0], steps=9, lr=0.1)
    among = descend(bowl().minibatch(3, seeds=6), [2.0, 1.0], steps=9, lr=0.1)
    assert torch.allclose(points_of(alone, seed=4), points_of(among, seed=4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LinearNeuron(torch.ones(4, 3), torch.ones(4)), r"\(N, 2\), not \(4, 3\)"),
        (
            lambda: LinearNeuron(torch.ones(4, 2), torch.ones(3)),
            r"data of shapes \(4, 2\) and \(3,\) must hold equally many",
        ),
        (lambda: LinearNeuron(torch.ones(4, 2), torch.ones(4, 1)), r"\(N,\), not \(4, 1\)"),
        (
            lambda: Autoencoder(torch.ones(0, 2)),
            r"data of shapes \(0, 2\) must hold equally many samples, one or more",
        ),
        (lambda: Autoencoder(torch.full((2, 2), math.nan)), "NaN"),
        (lambda: ravine(torch.ones(2), condition=0.5), "condition=0.5 must be a number from 1"),
        (lambda: plateau(torch.ones(3)), r"points .* not \(3,\)"),
        (lambda: bump(torch.ones(2, 1)), r"points .* not \(2, 1\)"),
        (lambda: saddle(torch.tensor(1.0)), r"points .* not \(\)"),
        (lambda: bowl().minibatch(0), "batch_size=0 must be a whole number from 1 to 20"),
        (lambda: bowl().minibatch(21), "batch_size=21 must be a whole number from 1 to 20"),
        (lambda: bowl().minibatch(2.5), "batch_size=2.5 must be a whole number from 1 to 20"),
        (lambda: bowl().minibatch(2, seeds=0), "seeds=0 must be one or more different"),
        (
            lambda: bowl().minibatch(2, seeds=[3, 3]),
            r"seeds=\[3, 3\] must be one or more different",
        ),
        (lambda: descend(bowl(), [1.0, 2.0, 3.0], steps=1, lr=1), r"start .* not \(3,\)"),
        (
            lambda: descend(bowl(), [1.0, math.inf], steps=1, lr=1),
            r"start=\[1.0, inf\] must be finite",
        ),
        (
            lambda: descend(bowl().minibatch(2), torch.ones(3, 2), steps=1, lr=1),
            "1 or 8 points, not 3",
        ),
        (
            lambda: descend(bowl(), [1.0, 2.0], steps=0, lr=1),
            "steps=0 must be a whole number from 1",
        ),
        (
            lambda: descend(bowl(), [1.0, 2.0], steps=1, lr=-0.1),
            "lr=-0.1 must be a positive number",
        ),
        (lambda: descend(torch.sum, [1.0, 2.0], steps=1, lr=1), r"shape \(1,\), not \(\)"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


X, Y = [[1.0, 2.0], [0.5, -1.0], [3.0, 0.0]], [1.0, 0.0, 2.0]


@pytest.mark.parametrize(
    "points",
    [
        [0.5, 1.0],
        np.array([1.0, 0.5])[::-1],
        torch.tensor([0.5, 1.0]),
        pd.Series([0.5, 1.0], [7, 3]),
    ],
    ids=["list", "backwards", "float32", "pandas"],
)
@pytest.mark.parametrize("surface", [LinearNeuron(X, Y), Autoencoder(X), ravine, bump], ids=repr)
def test_points_in_many_forms(surface, points):
    exact = surface(torch.tensor([0.5, 1.0], dtype=torch.float64))
    torch.testing.assert_close(surface(points).double(), exact, rtol=1e-6, atol=1e-6)


def test_data_in_many_forms():
    surface = LinearNeuron(np.array(X)[::-1], pd.Series(Y[::-1], index=[9, 8, 7]))
    assert surface([1, 2]).item() == pytest.approx(LinearNeuron(X, Y)([1, 2]).item())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LinearNeuron(np.ma.masked_less(np.array(X), 0), Y), "x must have no mask"),
        (lambda: LinearNeuron(X, torch.tensor(Y) + 0j), "y must hold real numbers"),
        (lambda: Autoencoder(None), "x must be numbers"),
        (lambda: saddle(torch.ones(2) + 0j), "points must hold real numbers"),
        (lambda: saddle(None), "points must be numbers"),
        (lambda: LinearNeuron(X, Y).minibatch(2, 3)(torch.ones(4, 2)), "points must be 1 or 3"),
        (lambda: ravine(torch.ones(2), condition="2"), "condition='2' must be a number from 1"),
        (lambda: descend(None, [1, 1], steps=1, lr=1), "loss=None must be a surface"),
        (
            lambda: descend(lambda p: 1.0, [1, 1], steps=1, lr=1),
            "loss must return one number.*float",
        ),
        (lambda: descend(lambda p: p.detach().sum(-1), [1, 1], steps=1, lr=1), "is not detached"),
        (lambda: descend(ravine, [1j, 1], steps=1, lr=1), "start must hold real numbers"),
        (lambda: descend(ravine, "ab", steps=1, lr=1), "start must be numbers"),
        (lambda: descend(ravine, [1, 1], steps=1, lr=1, foo=2), "optimizer=.*does not take.*foo"),
        (lambda: descend(ravine, [1, 1], steps=1, lr=1, optimizer=None), "optimizer=None does not"),
        (lambda: descend(ravine, [1, 1], steps=1, lr=1, optimizer=lambda p, lr: 3), "must make a"),
    ],
)
def test_what_is_no_number_or_no_function_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_condition_beyond_int64():
    assert ravine(torch.tensor([2.0, 2.0]), condition=2**70).item() == 2
