"""Curvature against the dense Hessian, closed forms and brute force."""

import itertools
import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse.linalg import eigsh
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from course_lib.curvature import filter_normalized, hessian, losses_along, sharpness
from course_lib.models import MLP

DOUBLE = torch.float64


def half_squared_error(outputs, targets):
    return (outputs - targets).square().mean() / 2


def classification():
    torch.manual_seed(0)
    convolution = [nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Tanh(), nn.Dropout()]
    network = nn.Sequential(*convolution, nn.Flatten(), nn.Linear(32, 10)).double()
    x, y = torch.randn(40, 1, 6, 6, dtype=DOUBLE), torch.arange(40) % 10
    network(x)  # gives BatchNorm running statistics
    return network.eval(), x, y


def dense_hessian(network, x, y):
    """The whole matrix by torch.func, parameters in the order of `parameters_to_vector`."""
    trained = [(n, p.detach()) for n, p in network.named_parameters() if p.requires_grad]
    sizes = [p.numel() for _, p in trained]

    def loss(flat):
        pieces = zip(trained, flat.split(sizes), strict=True)
        weights = {name: piece.view_as(value) for (name, value), piece in pieces}
        return F.cross_entropy(functional_call(network, weights, (x,)), y)

    return torch.func.hessian(loss)(parameters_to_vector([p for _, p in trained])).numpy()


def bowl(curvatures, weights=0.0):
    """A network whose loss is the quadratic Σ h_i w_i² / 2, and its data."""
    size = len(curvatures)
    network = nn.Linear(size, 1, bias=False).double()
    nn.init.constant_(network.weight, weights)
    x = torch.diag((size * torch.tensor(curvatures, dtype=DOUBLE)).sqrt())
    return network, (x, torch.zeros(size, 1, dtype=DOUBLE))


def matrix(operator):
    return operator @ np.eye(operator.shape[0], dtype=operator.dtype)


# The Hessian


def test_equals_the_dense_hessian():
    network, x, y = classification()
    operator = hessian(network, F.cross_entropy, (x, y))
    np.testing.assert_allclose(matrix(operator), dense_hessian(network, x, y), atol=1e-12)


def test_single_precision_stays_single():
    network, x, y = classification()
    expected = dense_hessian(network, x, y)
    operator = hessian(network.float(), F.cross_entropy, (x.float(), y))
    assert operator.dtype == np.float32
    np.testing.assert_allclose(matrix(operator), expected, atol=1e-5)


@pytest.mark.parametrize("chunk_size", [1, 7, 39])
def test_nothing_depends_on_the_chunks(chunk_size):
    network, x, y = classification()
    given = network, F.cross_entropy, (x, y)
    direction = filter_normalized(network)
    vector = np.random.default_rng(0).normal(size=len(direction))
    chunked, whole = ({"chunk_size": size} for size in (chunk_size, 40))
    np.testing.assert_allclose(hessian(*given, **chunked) @ vector, hessian(*given) @ vector)
    assert sharpness(*given, **chunked) == pytest.approx(sharpness(*given, **whole), rel=1e-6)
    np.testing.assert_allclose(
        losses_along(*given, direction, [0, 0.5], **chunked),
        losses_along(*given, direction, [0, 0.5], **whole),
    )


def test_a_quadratic_has_its_known_spectrum():
    network, data = bowl([1.0, 4.0, 9.0, 0.25], weights=3.0)
    operator = hessian(network, half_squared_error, data)
    np.testing.assert_allclose(np.linalg.eigvalsh(matrix(operator)), [0.25, 1, 4, 9], rtol=1e-9)
    assert eigsh(operator, k=1, which="LA", return_eigenvectors=False) == pytest.approx(9)


def test_frozen_weights_do_not_count():
    network, x, y = classification()
    network[0].requires_grad_(False)
    operator = hessian(network, F.cross_entropy, (x, y))
    np.testing.assert_allclose(matrix(operator), dense_hessian(network, x, y), atol=1e-12)


def test_the_operator_keeps_its_weights():
    network, x, y = classification()
    operator = hessian(network, F.cross_entropy, (x, y))
    vector = np.ones(operator.shape[0])
    before = operator @ vector
    nn.init.zeros_(network[-1].weight)
    np.testing.assert_array_equal(operator @ vector, before)


# Sharpness


def highest_corner(curvatures, weights, epsilon):
    """The maximum of the convex quadratic over the box lies in one of its corners."""
    weights, curvatures = np.full(len(curvatures), weights), np.array(curvatures)
    corners = np.array(list(itertools.product([-1, 1], repeat=len(curvatures))))
    points = weights + epsilon * (np.abs(weights) + 1) * corners
    value = (curvatures * weights**2).sum() / 2
    return 100 * ((curvatures * points**2).sum(1).max() / 2 - value) / (1 + value)


@pytest.mark.parametrize("weights", [0.0, 1e-9, -0.5, 2.0])
@pytest.mark.parametrize("epsilon", [1e-3, 0.5])
def test_sharpness_of_a_quadratic_is_that_of_its_highest_corner(weights, epsilon):
    curvatures = [1.0, 4.0, 9.0, 0.25, 100.0]
    network, data = bowl(curvatures, weights)
    found = sharpness(network, half_squared_error, data, epsilon)
    assert found == pytest.approx(highest_corner(curvatures, weights, epsilon), rel=1e-6)


def test_sharpness_of_a_trained_network_comes_near_the_best_of_many_corners():
    network, x, y = classification()
    optimizer = torch.optim.LBFGS(network.parameters(), max_iter=200)

    def loss():
        optimizer.zero_grad()
        value = F.cross_entropy(network(x), y)
        value.backward()
        return value

    optimizer.step(loss)
    found = sharpness(network, F.cross_entropy, (x, y), 1e-2)
    assert 0.95 * by_signs(network, x, y, 1e-2) <= found


def by_signs(network, x, y, epsilon, climbs=5):
    """Climb from corner to corner of the box by the signs of the gradient."""
    center = parameters_to_vector(network.parameters()).detach()
    box = epsilon * (center.abs() + 1)
    first = F.cross_entropy(network(x), y).item()
    highest = first
    torch.manual_seed(0)
    for _ in range(climbs):
        point = center + box * (2 * torch.rand_like(center) - 1)
        for _ in range(10):
            vector_to_parameters(point, network.parameters())
            value = F.cross_entropy(network(x), y)
            highest = max(highest, value.item())
            slopes = torch.autograd.grad(value, list(network.parameters()))
            point = center + box * parameters_to_vector(slopes).sign()
    vector_to_parameters(center, network.parameters())
    return 100 * (highest - first) / (1 + first)


def test_a_flat_loss_has_no_sharpness():
    network, data = bowl([0.0, 0.0])
    assert sharpness(network, half_squared_error, data) == 0


def test_more_iterations_find_no_less():
    network, x, y = classification()
    given = network, F.cross_entropy, (x, y), 0.1
    assert sharpness(*given, iterations=1) <= sharpness(*given, iterations=20)


def test_leaves_the_network_as_it_was():
    network, x, y = classification()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    sharpness(network, F.cross_entropy, (x, y))
    hessian(network, F.cross_entropy, (x, y)) @ np.ones(354)
    losses_along(network, F.cross_entropy, (x, y), filter_normalized(network), [1])
    assert all(value.grad is None for value in network.parameters())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


# Dinh: the same function, another Hessian


def test_rescaling_keeps_the_function_and_changes_the_hessian():
    torch.manual_seed(0)
    network = MLP((4,), (5,), 3).double()
    x, y, alpha = torch.randn(20, 4, dtype=DOUBLE), torch.arange(20) % 3, 10.0
    before, outputs = matrix(hessian(network, F.cross_entropy, (x, y))), network(x)
    _, hidden, _, last = network
    scales = [(hidden.weight, alpha), (hidden.bias, alpha), (last.weight, 1 / alpha)]
    with torch.no_grad():
        for weight, scale in scales:
            weight.mul_(scale)

    after = matrix(hessian(network, F.cross_entropy, (x, y)))

    torch.testing.assert_close(network(x), outputs)
    factors = [torch.full((weight.numel(),), scale) for weight, scale in [*scales, (last.bias, 1)]]
    factors = torch.cat(factors).numpy()
    np.testing.assert_allclose(after, before / np.outer(factors, factors), atol=1e-9)
    assert np.linalg.eigvalsh(after)[-1] > 30 * np.linalg.eigvalsh(before)[-1]


# Directions and lines


def lengths(tensor):
    return torch.linalg.vector_norm(tensor.flatten(1), dim=1)


def test_each_filter_of_a_direction_is_as_long_as_the_network_s():
    network, *_ = classification()
    direction = filter_normalized(network, seed=3)
    sizes = [value.numel() for value in network.parameters()]
    kernel, *rest, matrix_, bias = direction.split(sizes)
    kernel, matrix_ = kernel.view_as(network[0].weight), matrix_.view_as(network[-1].weight)
    torch.testing.assert_close(lengths(kernel), lengths(network[0].weight))
    torch.testing.assert_close(lengths(matrix_), lengths(network[-1].weight))
    assert not torch.cat([*rest, bias]).any()  # convolution's bias, BatchNorm, last bias


def test_a_direction_depends_on_its_seed_alone():
    network, *_ = classification()
    torch.manual_seed(1)
    first = filter_normalized(network, seed=3)
    torch.manual_seed(2)
    assert torch.equal(first, filter_normalized(network, seed=3))
    assert not torch.allclose(first, filter_normalized(network, seed=4))


def test_losses_along_a_quadratic():
    network, data = bowl([1.0, 4.0], weights=1.0)
    losses = losses_along(network, half_squared_error, data, [1.0, -1.0], [-1, 0, 0.5])
    np.testing.assert_allclose(losses, [(0 + 4 * 4) / 2, 5 / 2, (2.25 + 4 * 0.25) / 2])


def test_the_line_between_two_networks_ends_at_both():
    (one, x, y), (other, *_) = classification(), classification()
    nn.init.normal_(other[-1].weight)
    ends = [parameters_to_vector(network.parameters()) for network in (one, other)]
    losses = losses_along(one, F.cross_entropy, (x, y), ends[1] - ends[0], [0, 1])
    expected = [F.cross_entropy(network(x), y).item() for network in (one, other)]
    np.testing.assert_allclose(losses, expected)


# Bad input


MEASURES = {
    "hessian": lambda *given, **options: hessian(*given, **options) @ np.ones(354),
    "sharpness": sharpness,
    "losses_along": lambda *given, **options: losses_along(*given, np.ones(354), [0], **options),
}


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda network, x, y: (network, x[:3], y, {}),
            r"shapes \(3, 1, 6, 6\) and \(40,\) must hold equally many",
        ),
        (
            lambda network, x, y: (network, x[:0], y[:0], {}),
            r"\(0, 1, 6, 6\) and \(0,\) must hold .* one or more",
        ),
        (
            lambda network, x, y: (network, x, y, {"chunk_size": 0}),
            "chunk_size=0 must be a whole number from 1",
        ),
        (lambda network, x, y: (network.requires_grad_(False), x, y, {}), "require a gradient"),
        (lambda network, x, y: (network.train(), x, y, {}), "BatchNorm2d '1' is in train mode"),
    ],
)
def test_bad_input_is_named(measure, change, message):
    network, x, y, options = change(*classification())
    with pytest.raises(ValueError, match=message):
        measure(network, F.cross_entropy, (x, y), **options)


class Attention(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.layer = nn.MultiheadAttention(4, 1, batch_first=True, **options)

    def forward(self, x):
        return self.layer(x, x, x, need_weights=False)[0].mean(1)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.LSTM(4, 4, num_layers=2, dropout=0.3, batch_first=True)

    def forward(self, x):
        return self.layer(x)[0].mean(1)


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return F.dropout(self.layer(x.mean(1)), 0.3, training=self.training)


@pytest.mark.parametrize("network", [partial(Attention, dropout=0.3), Recurrent, Functional])
def test_a_network_that_draws_random_numbers_is_named(network):
    network, (x, y) = network(), (torch.randn(6, 5, 4), torch.arange(6) % 4)
    state = torch.get_rng_state()
    for measure in (hessian, sharpness):
        with pytest.raises(ValueError, match=r"must not draw random numbers.*network.eval\(\)"):
            measure(network, F.cross_entropy, (x, y))
    assert torch.equal(torch.get_rng_state(), state)
    assert sharpness(network.eval(), F.cross_entropy, (x, y)) > 0


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_batch_norm_without_running_statistics_is_named(measure):
    network, x, y = classification()
    network[1] = nn.BatchNorm2d(2, track_running_stats=False).double().eval()
    with pytest.raises(ValueError, match="its BatchNorm2d '1' takes the statistics of the batch"):
        measure(network, F.cross_entropy, (x, y))


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_a_loss_that_is_not_one_number_is_named(measure):
    network, x, y = classification()
    with pytest.raises(ValueError, match=r"one number, not the shape \(40,\)"):
        measure(network, nn.CrossEntropyLoss(reduction="none"), (x, y))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 0}, "epsilon=0 must be a positive number"),
        ({"epsilon": -1e-3}, "epsilon=-0.001 must be a positive number"),
        ({"epsilon": math.inf}, "epsilon=inf must be a positive number"),
        ({"iterations": 0}, "iterations=0 must be a whole number from 1"),
    ],
)
def test_a_bad_search_is_named(options, message):
    network, x, y = classification()
    with pytest.raises(ValueError, match=message):
        sharpness(network, F.cross_entropy, (x, y), **options)


def test_a_loss_that_is_not_finite_is_named():
    network, x, y = classification()
    with pytest.raises(ValueError, match="loss must be finite, not nan"):
        sharpness(network, F.cross_entropy, (x * math.nan, y))


def test_a_direction_of_another_network_is_named():
    network, x, y = classification()
    with pytest.raises(ValueError, match=r"direction must hold 354 numbers.*\(3,\)"):
        losses_along(network, F.cross_entropy, (x, y), [1, 2, 3], [0])


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
@pytest.mark.parametrize(
    ("loss", "targets", "message"),
    [
        (None, None, "network, loss and data must fit together.*not callable"),
        (lambda outputs, y: 1.0, None, "loss must return one number, not 1.0"),
        (lambda outputs, y: (outputs > 0).sum(), None, "loss must return one number, not torch.in"),
        (F.cross_entropy, 10, "network, loss and data must fit together"),
    ],
)
def test_a_loss_that_does_not_fit_is_named_at_once(measure, loss, targets, message):
    network, x, y = classification()
    with pytest.raises(ValueError, match=message):
        measure(network, loss, (x, y if targets is None else y + targets))


def test_a_loss_that_is_linear_in_the_weights_has_no_curvature():
    network, x = nn.Linear(3, 1), torch.ones(5, 3)
    for loss in (lambda outputs, _: outputs.mean(), lambda outputs, _: outputs.new_tensor(2.0)):
        assert not (hessian(network, loss, (x, x)) @ np.ones(4)).any()
    assert sharpness(network, lambda outputs, _: outputs.new_tensor(2.0), (x, x)) == 0


def test_sharpness_needs_a_loss_above_minus_one():
    network, x = nn.Linear(3, 1), torch.ones(5, 3)
    with pytest.raises(ValueError, match="loss must be above -1"):
        sharpness(network, lambda outputs, _: outputs.mean() * 0 - 1, (x, x))


def test_chunks_of_any_whole_number():
    network, x, y = classification()
    whole = matrix(hessian(network, F.cross_entropy, (x, y)))
    for chunk_size in (np.int64(7), 2**70):
        operator = hessian(network, F.cross_entropy, (x, y), chunk_size=chunk_size)
        np.testing.assert_allclose(matrix(operator), whole, atol=1e-6)


def test_the_hessian_is_multiplied_by_real_vectors_only():
    operator = hessian(nn.Linear(3, 1), half_squared_error, (torch.ones(5, 3), torch.ones(5, 1)))
    with pytest.raises(ValueError, match="vector must hold real numbers"):
        operator @ (1j * np.ones(4))


@pytest.mark.parametrize("direction", ["tensor", "array", "lists", "backwards", "pandas"])
def test_directions_in_many_forms(direction):
    network, x, y = classification()
    plain = filter_normalized(network)
    array = plain.numpy().copy()
    forms = {"array": array, "lists": plain.tolist(), "backwards": array[::-1].copy()[::-1]}
    given = {
        **forms,
        "tensor": plain,
        "pandas": pd.Series(array, index=range(999, 999 + len(array))),
    }
    expected = losses_along(network, F.cross_entropy, (x, y), plain, [0, 0.5])
    found = losses_along(network, F.cross_entropy, (x, y), given[direction], iter([0, 0.5]))
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize(
    "positions", [None, np.array(1.0), "12", [math.nan], [None], [[1]], [1j], [10**400]]
)
def test_positions_that_are_no_numbers_are_named(positions):
    network, x, y = classification()
    with pytest.raises(ValueError, match="^positions"):
        losses_along(network, F.cross_entropy, (x, y), filter_normalized(network), positions)


def test_what_makes_no_direction_is_named():
    network = nn.Linear(3, 1)
    assert torch.equal(filter_normalized(network, np.int64(3)), filter_normalized(network, 3))
    with pytest.raises(ValueError, match="network=None must be a torch.nn.Module"):
        filter_normalized(None)
    with pytest.raises(ValueError, match="seed=1.5 must be a whole number"):
        filter_normalized(nn.Linear(3, 1), 1.5)
