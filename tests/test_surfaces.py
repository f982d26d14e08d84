"""Surfaces against closed forms, descend against hand-written updates."""

import math

import pytest
import torch

from course_lib.surfaces import Autoencoder, LinearNeuron, descend

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


@pytest.mark.parametrize("surface", [bowl(), Autoencoder(bowl().data[0])])
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


def test_a_seed_does_not_depend_on_its_neighbours():
    alone = descend(bowl().minibatch(3, seeds=[4]), [2.0, 1.0], steps=9, lr=0.1)
    among = descend(bowl().minibatch(3, seeds=6), [2.0, 1.0], steps=9, lr=0.1)
    assert torch.allclose(points_of(alone, seed=4), points_of(among, seed=4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LinearNeuron(torch.ones(4, 3), torch.ones(4)), r"\(N, 2\), got \(4, 3\)"),
        (lambda: LinearNeuron(torch.ones(4, 2), torch.ones(3)), r"got \[4, 3\]"),
        (lambda: LinearNeuron(torch.ones(4, 2), torch.ones(4, 1)), r"\(N,\), got \(4, 1\)"),
        (lambda: Autoencoder(torch.ones(0, 2)), r"got \[0\]"),
        (lambda: Autoencoder(torch.full((2, 2), math.nan)), "NaN"),
        (lambda: bowl().minibatch(0), "from 1 to 20, got 0"),
        (lambda: bowl().minibatch(21), "from 1 to 20, got 21"),
        (lambda: bowl().minibatch(2.5), "from 1 to 20, got 2.5"),
        (lambda: bowl().minibatch(2, seeds=0), "seeds"),
        (lambda: descend(bowl(), [1.0, 2.0, 3.0], steps=1, lr=1), r"start .* got \(3,\)"),
        (lambda: descend(bowl(), [1.0, math.inf], steps=1, lr=1), "start must be finite"),
        (lambda: descend(bowl().minibatch(2), torch.ones(3, 2), steps=1, lr=1), "1 or 8 .* got 3"),
        (lambda: descend(bowl(), [1.0, 2.0], steps=0, lr=1), "steps .* got 0"),
        (lambda: descend(bowl(), [1.0, 2.0], steps=1, lr=-0.1), "lr .* got -0.1"),
        (lambda: descend(torch.sum, [1.0, 2.0], steps=1, lr=1), r"shape \(1,\), got \(\)"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
