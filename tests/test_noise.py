"""gradient_noise against closed forms and backward passes, the estimates against gradient_noise."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from course_lib.data import TensorData
from course_lib.models import MLP
from course_lib.noise import (
    GradientNoise,
    NoiseScaleMonitor,
    gradient_noise,
    mean_noise,
    two_batch_noise,
)
from course_lib.training import fit


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


def test_no_gradient_at_all_has_an_infinite_scale():
    network, x, y = regression()
    noise = gradient_noise(network, lambda outputs, targets: outputs.sum() * 0, (x, y))
    assert noise == (0.0, 0.0, math.inf)


class Noisy(nn.Module):
    """Draws random numbers whatever its mode, in a way that no layer shows."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x):
        return self.layer(x + torch.randn_like(x))


def test_a_network_that_draws_random_numbers_is_named():
    _, x, y = regression()
    with pytest.raises(ValueError, match="must not draw random numbers in its forward pass"):
        gradient_noise(Noisy(), half_squared_error, (x, y))


def none_reduction(outputs, targets):
    return F.cross_entropy(outputs, targets, reduction="none")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda network, x, y: (network, x[:3], y, {}),
            r"shapes \(3, 1, 8, 8\) and \(40,\) must hold equally many",
        ),
        (
            lambda network, x, y: (network, x[:0], y[:0], {}),
            r"\(0, 1, 8, 8\) and \(0,\) must hold .* one or more",
        ),
        (
            lambda network, x, y: (network, x, y, {"chunk_size": 0}),
            "chunk_size=0 must be a whole number from 1",
        ),
        (lambda network, x, y: (network.requires_grad_(False), x, y, {}), "require a gradient"),
        (lambda network, x, y: (network.train(), x, y, {}), "BatchNorm2d '1' is in train mode"),
        (lambda network, x, y: (network, x * math.nan, y, {}), "gradients must be finite"),
    ],
)
def test_bad_input_is_named(change, message):
    network, x, y, options = change(*classification())
    with pytest.raises(ValueError, match=message):
        gradient_noise(network, F.cross_entropy, (x, y), **options)


def test_a_loss_that_is_not_one_number_is_named():
    network, x, y = classification()
    with pytest.raises(ValueError, match=r"one number, not the shape \(1,\)"):
        gradient_noise(network, none_reduction, (x, y))


def of_the_population(noise, samples):
    """What is unbiased where N samples, drawn without replacement, stand for a population."""
    squared_norm = noise.squared_norm - noise.covariance_trace / (samples - 1)
    trace = samples / (samples - 1) * noise.covariance_trace
    return squared_norm, trace, trace / squared_norm


def mean_squared_norm(network, x, y, size):
    """|g_B|², averaged over all batches of B samples that can be drawn."""
    batches = [list(batch) for batch in itertools.combinations(range(len(x)), size)]
    errors = [half_squared_error(network(x[batch]), y[batch]) for batch in batches]
    gradients = [torch.autograd.grad(error, network.weight)[0] for error in errors]
    return torch.stack(gradients).double().square().sum(2).mean().item()


def test_two_batch_noise_is_unbiased():
    network, x, y = regression(samples=7)
    norms = mean_squared_norm(network, x, y, 2), mean_squared_norm(network, x, y, 5)
    exact = of_the_population(gradient_noise(network, half_squared_error, (x, y)), 7)
    assert two_batch_noise((2, 5), norms) == pytest.approx(exact, rel=1e-4)


def test_two_batch_noise_on_paper():
    """|G|² = 3 and tr(Σ) = 12: the squared norms of batches of 2 and 6 are 9 and 5 on average."""
    assert two_batch_noise((2, 6), (9, 5)) == pytest.approx((3, 12, 4))


def test_an_estimate_without_signal_has_an_infinite_scale():
    assert two_batch_noise((1, 2), (4.0, 1.0)) == (-2.0, 6.0, math.inf)


def test_mean_noise_is_the_ratio_of_the_means():
    estimates = [GradientNoise(1.0, 2.0, 2.0), GradientNoise(-0.5, 4.0, math.inf)]
    assert mean_noise(estimates) == (0.25, 3.0, 12.0)


@pytest.mark.parametrize("sizes", [(0, 2), (4, 4), (8, 4)])
def test_sizes_that_are_not_small_and_big(sizes):
    with pytest.raises(ValueError, match=r"must be a small and a bigger batch size, such as"):
        two_batch_noise(sizes, (1.0, 1.0))


def test_no_estimates():
    with pytest.raises(ValueError, match=r"estimates=\[\] must be one or more"):
        mean_noise([])


class Foreign(LightningModule):
    """Somebody else's module, whose learning rate of zero keeps the noise what it is."""

    def __init__(self, network, loss):
        super().__init__()
        self.network, self.loss = network, loss

    def training_step(self, batch, _):
        x, y = batch
        return self.loss(self.network(x), y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def monitored(module, x, y, batch_size, accumulated, epochs=1, shuffle=True):
    loader = DataLoader(TensorDataset(x, y), batch_size, shuffle=shuffle)
    settings = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    settings |= {"accelerator": "cpu", "enable_model_summary": False, "max_epochs": epochs}
    monitor = NoiseScaleMonitor()
    trainer = Trainer(callbacks=[monitor], accumulate_grad_batches=accumulated, **settings)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        trainer.fit(module, loader)
    return monitor.measured, trainer


def test_monitor_is_exact_where_single_samples_make_up_the_full_batch():
    network, x, y = regression()
    exact = of_the_population(gradient_noise(network, half_squared_error, (x, y)), 50)
    measured, trainer = monitored(Foreign(network, half_squared_error), x, y, 1, 50, epochs=2)
    assert measured == [pytest.approx(exact, rel=1e-4)] * 2
    logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert logged == pytest.approx(measured[-1]._asdict())


@pytest.mark.parametrize(("batch_size", "accumulated"), [(10, 5), (4, 5)])
def test_monitor_is_unbiased(batch_size, accumulated):
    """Also where the last batch of an epoch and its last update are smaller."""
    network, x, y = regression()
    y = y + 5 + 5 * x[:, :1]  # a clear signal
    exact = of_the_population(gradient_noise(network, half_squared_error, (x, y)), 50)
    module = Foreign(network, half_squared_error)
    measured, _ = monitored(module, x, y, batch_size, accumulated, epochs=40)
    values = torch.tensor(measured, dtype=torch.float64)[:, :2]
    standard_error = values.std(0) / math.sqrt(40) + 1e-4 * values.mean(0)
    deviation = values.mean(0) - torch.tensor(exact[:2], dtype=torch.float64)
    assert (deviation.abs() < 4 * standard_error).all()
    assert (standard_error < 0.1 * values.mean(0)).all()


def test_monitor_weighs_ragged_batches():
    """Batches of 3, 3 and 1: 1/b = (1/3 + 1/3 + 1) / 3 = 1/1.8, and B = 3 b = 5.4."""
    network, x, y = regression(samples=7)
    pieces = zip(x.split(3), y.split(3), strict=True)
    gradients = [
        torch.autograd.grad(half_squared_error(network(x), y), network.weight)[0] for x, y in pieces
    ]
    gradients = torch.cat(gradients).double()
    norms = gradients.square().sum(1).mean().item(), gradients.mean(0).square().sum().item()
    module = Foreign(network, half_squared_error)
    measured, _ = monitored(module, x, y, 3, 3, shuffle=False)
    assert measured == [pytest.approx(two_batch_noise((1.8, 5.4), norms), rel=1e-4)]


def test_monitor_skips_an_update_of_one_batch():
    network, x, y = regression(samples=5)
    measured, trainer = monitored(Foreign(network, half_squared_error), x, y, 1, 4)
    assert trainer.global_step == 2 and len(measured) == 1


def test_monitor_does_not_count_frozen_weights():
    network, x, y = classification()
    network[0].requires_grad_(False)
    exact = of_the_population(gradient_noise(network, F.cross_entropy, (x, y)), 40)
    module = Foreign(network, F.cross_entropy)
    measured, _ = monitored(module.eval(), x, y, 1, 40)
    assert measured[0][:2] == pytest.approx(exact[:2], rel=1e-3)


def test_monitor_needs_accumulated_batches():
    network, x, y = regression()
    with pytest.raises(ValueError, match="accumulate_grad_batches=1 must be 2 or more"):
        monitored(Foreign(network, half_squared_error), x, y, 10, 1)


def test_monitor_refuses_manual_optimization():
    x, y = torch.randn(20, 64), torch.arange(20) % 10
    with pytest.raises(ValueError, match="Cohort must not optimize manually, without accumulating"):
        options = {"batch_size": 5, "lr": 0.1, "max_epochs": 1, "progress": False}
        fit(MLP, TensorData(x, y, x, y), **options, callbacks=[NoiseScaleMonitor()])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"network": None}, "network=None must be a torch.nn.Module"),
        ({"data": None}, "data must be two dense tensors"),
        ({"data": (torch.ones(4, 3),)}, "data must be two dense tensors"),
        ({"data": (torch.ones(4, 3).numpy(), torch.ones(4, 1))}, "two dense tensors.*not ndarray"),
        (
            {"data": (torch.ones(4, 2), torch.ones(4, 1))},
            "network, loss and data must fit together",
        ),
        ({"data": (torch.ones(4, 3).double(), torch.ones(4, 1))}, "must fit together"),
        ({"loss": None}, "network, loss and data must fit together"),
        ({"loss": lambda o, t: 1.0}, "loss must return one number, not 1.0"),
        ({"loss": lambda o, t: (o > t).sum()}, "loss must return one number, not torch.int64"),
    ],
)
def test_what_does_not_fit_together_is_named(changed, message):
    network, x, y = regression()
    given = {"network": network, "loss": half_squared_error, "data": (x, y), **changed}
    with pytest.raises(ValueError, match=message):
        gradient_noise(**given)


@pytest.mark.parametrize("chunk_size", [np.int64(7), 2**70])
def test_chunks_of_any_whole_number(chunk_size):
    network, x, y = regression()
    whole = gradient_noise(network, half_squared_error, (x, y))
    chunked = gradient_noise(network, half_squared_error, (x, y), chunk_size=chunk_size)
    assert chunked == pytest.approx(whole, rel=1e-6)


def test_numpys_small_integers_do_not_overflow():
    small = np.array([200, 250, 200, 100], np.uint8)
    assert two_batch_noise(small[:2], small[2:]) == two_batch_noise((200, 250), (200, 100))


@pytest.mark.parametrize(
    "wrong",
    [None, np.array(1), torch.ones(2, 2), (1,), (1, 2, 3), ("a", 2), (1, 10**400), (True, 2)],
)
def test_what_are_not_two_numbers_is_named(wrong):
    with pytest.raises(ValueError, match="(?s)^sizes=.* must be two numbers"):
        two_batch_noise(wrong, (1, 1))
    with pytest.raises(ValueError, match="(?s)^squared_norms=.* must be two numbers"):
        two_batch_noise((1, 2), wrong)


def test_nan_stays_nan():
    assert all(math.isnan(each) for each in two_batch_noise((1, 2), (math.nan, 1)))


@pytest.mark.parametrize("estimates", [None, 3, np.array(3), [1], [(1, 2, 3)], np.ones((2, 3))])
def test_what_are_no_estimates_is_named(estimates):
    with pytest.raises(ValueError, match="estimates=.* must be one or more estimates"):
        mean_noise(estimates)
