"""How noisy the gradient of a mini-batch is: exactly, and estimated during training."""

import math
from collections.abc import Callable, Iterator, Sequence
from numbers import Real
from statistics import fmean
from typing import Any, NamedTuple

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.optim import Optimizer

from course_lib import checks
from course_lib.internals import samples_in

_CHUNK_BYTES = 2**27  # memory for the per-sample gradients that are held at one time


class GradientNoise(NamedTuple):
    """Signal |G|², noise tr(Σ) and their ratio tr(Σ) / |G|²; see `gradient_noise`."""

    squared_norm: float
    covariance_trace: float
    noise_scale: float


def gradient_noise(
    network: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    data: tuple[Tensor, Tensor],
    *,
    chunk_size: int | None = None,
) -> GradientNoise:
    r"""Measure the gradient noise of `network` at its present weights.

    With the gradient g_i of sample i, and the N samples taken as the whole population:

        G = 1/N Σ g_i,    tr(Σ) = 1/N Σ |g_i - G|²,    noise scale = tr(Σ) / |G|².

    The batch size at which noise and signal are equal is the noise scale. The mean over a batch of
    B samples has E|g_B - G|² = tr(Σ)/B with replacement and tr(Σ)/B · (N - B)/(N - 1) without;
    both are exact for the population covariance (divisor N) that is used here. Where the samples
    stand for a larger population, N/(N - 1) · tr(Σ) and |G|² - tr(Σ)/(N - 1) are unbiased.

    Args:
        network: weights with `requires_grad` count; frozen ones do not.
        loss: takes outputs and targets of a batch of one, returns one number.
        data: inputs (N, ...) and targets (N, ...).
        chunk_size: samples whose gradients are held in memory together; the result does not depend
            on it. By default as many as fit into 128 MiB.

    Returns:
        squared_norm |G|², covariance_trace tr(Σ) and noise_scale (inf where G is zero).

    Raises:
        ValueError: data of unequal or zero length, a chunk size below 1, nothing to train,
            BatchNorm or Dropout in train mode, or BatchNorm without running statistics (a sample's
            gradient is then not its own alone), a network that draws random numbers, network, loss
            and data that do not fit together, a loss that is not one number, gradients that are
            not finite.

    Source:
        McCandlish, Kaplan, Amodei et al., "An Empirical Model of Large-Batch Training" (2018),
        equation 2.9; arXiv:1812.06162.
    """
    x, y = checks.measurable(network, data)
    if chunk_size is not None:
        chunk_size = min(checks.whole("chunk_size", chunk_size), len(x))
    total, squares = torch.zeros(2, dtype=torch.float64)
    for gradients in _sample_gradients(network, loss, x, y, chunk_size):
        total = total + gradients.sum(0, dtype=torch.float64)
        squares = squares + torch.linalg.vector_norm(gradients, dtype=torch.float64).square()
    squared_norm = (total / len(x)).square().sum()
    trace = squares / len(x) - squared_norm
    if not trace.isfinite():
        raise ValueError("the gradients must be finite: look for NaN in data and weights")
    trace = trace.clamp(min=0)  # rounding can leave a tiny negative number where all g_i are equal
    return _with_ratio(squared_norm.item(), trace.item())


def two_batch_noise(
    sizes: tuple[float, float], squared_norms: tuple[float, float]
) -> GradientNoise:
    r"""Estimate signal and noise from the gradients of a small and a big batch.

    E|g_B|² = |G|² + tr(Σ)/B for the mean gradient g_B over B samples. Two sizes b < B give two such
    equations, and their solution is unbiased, whether or not the two batches share samples:

        |G|² = (B |g_B|² - b |g_b|²) / (B - b),    tr(Σ) = (|g_b|² - |g_B|²) / (1/b - 1/B).

    A single estimate varies much and may be negative; `mean_noise` averages many of them. Samples
    drawn without replacement from N stand for a larger population, of which `gradient_noise` names
    the unbiased |G|² and tr(Σ).

    Args:
        sizes: b and B, in samples.
        squared_norms: |g_b|² and |g_B|²; or their means over several batches of the same sizes.

    Raises:
        ValueError: sizes that are not 0 < b < B, or not two numbers.

    Source:
        McCandlish, Kaplan, Amodei et al., "An Empirical Model of Large-Batch Training" (2018),
        appendix A.1; arXiv:1812.06162.
    """
    small, big = _two("sizes", sizes)
    small_norm, big_norm = _two("squared_norms", squared_norms)
    if not 0 < small < big < math.inf:
        raise ValueError(f"{sizes=} must be a small and a bigger batch size, such as (32, 128)")
    squared_norm = (big * big_norm - small * small_norm) / (big - small)
    return _with_ratio(squared_norm, (small_norm - big_norm) / (1 / small - 1 / big))


def mean_noise(estimates: Sequence[GradientNoise]) -> GradientNoise:
    """The means of |G|² and of tr(Σ), and the ratio of these means.

    The mean of the ratios would be biased, and at the mercy of a single small |G|².

    Raises:
        ValueError: no estimates, or other things.
    """
    estimates = checks.listed(estimates)
    if not estimates or not all(isinstance(each, GradientNoise) for each in estimates):
        raise ValueError(f"{estimates=} must be one or more estimates, each a GradientNoise")
    squared_norms, traces, _ = zip(*estimates, strict=True)
    return _with_ratio(fmean(squared_norms), fmean(traces))


class NoiseScaleMonitor(Callback):
    """Estimate the gradient noise during training, from accumulated batches.

    With ``Trainer(accumulate_grad_batches=k)`` an update adds up the gradients g_i of k batches of
    b_i samples at the same weights: k small batches, and one big batch, their mean. Each update is
    one estimate of `two_batch_noise`, with 1/b the mean of the 1/b_i and B = k b (exact also for a
    ragged batch). This costs one more copy of the gradients, and no further passes.

    Each epoch's `mean_noise` is logged as squared_norm, covariance_trace and noise_scale, and kept
    in the list `measured`. The module's loss must be a mean over the samples of the batch; in train
    mode the noise of Dropout and BatchNorm counts, too.

    Raises:
        ValueError: when training, with less than two batches to an update, manual optimization
            (as in `fit`: measure its networks with `gradient_noise`), several processes, or a
            gradient scaler of 16-bit precision.

    Source: as `two_batch_noise`.
    """

    _total: Tensor  # what the batches of an update have added up to

    def __init__(self) -> None:
        self.measured: list[GradientNoise] = []

    def setup(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        self.measured = []

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        _check_accumulation(trainer, module)
        self._estimates: list[GradientNoise] = []
        self._start_update()

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Any, batch_index: int
    ) -> None:
        self._inverse_sizes.append(1 / samples_in(batch))

    def on_after_backward(self, trainer: Trainer, module: LightningModule) -> None:
        total = _gradient(module)  # Lightning divides each loss by the number of batches
        gradient = trainer.accumulate_grad_batches * (total - self._total)
        self._squared_norms.append(gradient.square().sum().item())
        self._total = total

    def on_before_optimizer_step(
        self, trainer: Trainer, module: LightningModule, optimizer: Optimizer
    ) -> None:
        batches = len(self._squared_norms)
        if batches > 1:  # the last update of an epoch may have one batch only
            mean = trainer.accumulate_grad_batches / batches * self._total
            small = 1 / fmean(self._inverse_sizes)
            norms = fmean(self._squared_norms), mean.square().sum().item()
            self._estimates.append(two_batch_noise((small, batches * small), norms))
        self._start_update()

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        if self._estimates:
            self.measured.append(mean_noise(self._estimates))
            module.log_dict(self.measured[-1]._asdict())

    def _start_update(self) -> None:
        self._inverse_sizes: list[float] = []
        self._squared_norms: list[float] = []
        self._total = torch.zeros(())


def _two(name: str, values: Sequence[float]) -> tuple[float, float]:
    """Two numbers as floats, of which NumPy's small integers would overflow; NaN stays NaN."""
    given = checks.listed(values)
    floats = [checks.as_float(each) for each in given]
    pairs = zip(floats, given, strict=True)
    unknown = [f for f, each in pairs if f != f and not (isinstance(each, Real) and each != each)]
    if len(floats) != 2 or unknown:
        raise ValueError(f"{name}={values!r} must be two numbers, such as (32, 128)")
    return floats[0], floats[1]


def _with_ratio(squared_norm: float, trace: float) -> GradientNoise:
    scale = math.inf if squared_norm <= 0 else trace / squared_norm
    return GradientNoise(squared_norm, trace, scale)


def _gradient(module: LightningModule) -> Tensor:
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
    return torch.cat([gradient.flatten() for gradient in gradients]).double()


def _check_accumulation(trainer: Trainer, module: LightningModule) -> None:
    if not module.automatic_optimization:
        raise ValueError(
            f"{type(module).__name__} must not optimize manually, without accumulating batches; "
            "measure its network with gradient_noise"
        )
    if trainer.accumulate_grad_batches < 2:
        raise ValueError("accumulate_grad_batches=1 must be 2 or more, such as 4")
    if trainer.world_size > 1 or trainer.scaler is not None:
        raise ValueError("the gradients must be whole: train in one process, without 16-mixed")


def _sample_gradients(
    network: nn.Module, loss: Callable, x: Tensor, y: Tensor, chunk_size: int | None
) -> Iterator[Tensor]:
    """Yield the gradients of single samples, chunk by chunk, shape (chunk, weights)."""
    named = network.named_parameters()
    weights = {name: value.detach() for name, value in named if value.requires_grad}

    def sample_loss(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return checks.batch_loss(network, weights, loss, x[None], y[None])

    sample_gradient = vmap(grad(sample_loss), in_dims=(None, 0, 0))
    count = sum(value.numel() for value in weights.values())
    chunk_size = chunk_size or max(1, _CHUNK_BYTES // (4 * count))
    for chunk in zip(x.split(chunk_size), y.split(chunk_size), strict=True):
        gradients = sample_gradient(weights, *chunk)
        yield torch.cat([values.flatten(1) for values in gradients.values()], dim=1)
