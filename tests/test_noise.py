"""gradient_noise against closed forms and against one backward pass per sample."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.noise import gradient_noise


def half_squared_error(outputs, targets):
    return (outputs - targets).square().mean() / 2


def regression(samples=50):
    torch.manual_seed(0)
    return nn.Linear(3, 1, bias=False), torch.randn(samples, 3), torch.randn(samples, 1)


def classification():
    torch.manual_seed(0)
    convolution = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout()]
    network = nn.Sequential(*convolution, nn.Flatten(), nn.Linear(144, 10))
    x, y = torch.randn(40, 1, 8, 8), torch.arange(40) % 10
    network(x)  # gives BatchNorm running statistics
    return network.eval(), x, y


def backward(network, x, y):
    gradients = torch.autograd.grad(F.cross_entropy(network(x), y), list(network.parameters()))
    return torch.cat([values.flatten() for values in gradients]).double()


def test_linear_model_has_the_closed_form():
    network, x, y = regression()
    x64, y64, w = x.double(), y.double(), network.weight.detach().double()
    gradients = (x64 @ w.T - y64) * x64  # of (w·x - y)² / 2
    squared_norm = gradients.mean(0).square().sum().item()
    trace = torch.cov(gradients.T, correction=0).trace().item()

    noise = gradient_noise(network, half_squared_error, (x, y))

    assert noise.squared_norm == pytest.approx(squared_norm, rel=1e-5)
    assert noise.covariance_trace == pytest.approx(trace, rel=1e-5)
    assert noise.noise_scale == pytest.approx(trace / squared_norm, rel=1e-5)


def test_equals_one_backward_pass_per_sample():
    network, x, y = classification()
    samples = zip(x.split(1), y.split(1), strict=True)
    gradients = torch.stack([backward(network, *sample) for sample in samples])

    noise = gradient_noise(network, F.cross_entropy, (x, y))

    full = backward(network, x, y)
    assert noise.squared_norm == pytest.approx(full.square().sum().item(), rel=1e-4)
    trace = gradients.var(0, correction=0).sum().item()
    assert noise.covariance_trace == pytest.approx(trace, rel=1e-4)


@pytest.mark.parametrize("chunk_size", [1, 7, 40, 1000])
def test_does_not_depend_on_the_chunks(chunk_size):
    network, x, y = classification()
    whole = gradient_noise(network, F.cross_entropy, (x, y))
    chunked = gradient_noise(network, F.cross_entropy, (x, y), chunk_size=chunk_size)
    assert chunked == pytest.approx(whole, rel=1e-5)


def test_default_chunks_keep_within_the_memory_limit(monkeypatch):
    network, x, y = classification()
    whole = gradient_noise(network, F.cross_entropy, (x, y))
    monkeypatch.setattr("course_lib.noise._CHUNK_BYTES", 1)
    assert gradient_noise(network, F.cross_entropy, (x, y)) == pytest.approx(whole, rel=1e-5)


def test_frozen_weights_do_not_count():
    network, x, y = classification()
    network[0].requires_grad_(False)
    network[1].requires_grad_(False)
    features = network[:-1](x).detach()
    expected = gradient_noise(network[-1], F.cross_entropy, (features, y))
    assert gradient_noise(network, F.cross_entropy, (x, y)) == pytest.approx(expected, rel=1e-4)


def test_leaves_the_network_as_it_was():
    network, x, y = classification()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    gradient_noise(network, F.cross_entropy, (x, y))
    assert all(value.grad is None for value in network.parameters())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_equal_samples_have_no_noise():
    network, x, y = regression()
    noise = gradient_noise(network, half_squared_error, (x[:1].expand(9, 3), y[:1].expand(9, 1)))
    assert noise.covariance_trace == pytest.approx(0, abs=1e-6 * noise.squared_norm)
    assert noise.covariance_trace >= 0


def test_noise_without_a_gradient_has_an_infinite_scale():
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    x, y = torch.ones(2, 1), torch.tensor([[1.0], [-1.0]])
    noise = gradient_noise(network, half_squared_error, (x, y))
    assert noise == pytest.approx((0.0, 1.0, math.inf))


def none_reduction(outputs, targets):
    return F.cross_entropy(outputs, targets, reduction="none")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda network, x, y: (network, x[:3], y, {}), "3 and 40"),
        (lambda network, x, y: (network, x[:0], y[:0], {}), "0 and 0"),
        (lambda network, x, y: (network, x, y, {"chunk_size": 0}), "chunk_size .* got 0"),
        (lambda network, x, y: (network.requires_grad_(False), x, y, {}), "require a gradient"),
        (lambda network, x, y: (network.train(), x, y, {}), "1 is a BatchNorm2d in train mode"),
        (lambda network, x, y: (network, x * math.nan, y, {}), "not finite"),
    ],
)
def test_bad_input_is_named(change, message):
    network, x, y, options = change(*classification())
    with pytest.raises(ValueError, match=message):
        gradient_noise(network, F.cross_entropy, (x, y), **options)


def test_a_loss_that_is_not_one_number_is_named():
    network, x, y = classification()
    with pytest.raises(ValueError, match=r"one number, got shape \(1,\)"):
        gradient_noise(network, none_reduction, (x, y))
