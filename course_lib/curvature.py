"""How sharp a minimum is: the Hessian, Keskar's sharpness, and the loss along a direction.

All vectors here are flat: the weights that require a gradient, one parameter after the other, as
`torch.nn.utils.parameters_to_vector` lines them up.
"""

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.optimize import Bounds, minimize
from scipy.sparse.linalg import LinearOperator
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from course_lib import checks

Loss = Callable[[Tensor, Tensor], Tensor]
Data = tuple[Tensor, Tensor]
# Mean slope, in units of the box, at the start of L-BFGS-B. Its first step is as long as the
# gradient, so most weights reach the box's walls; from 10 to 10,000 the maximum found is the same.
_STEEPNESS = 100.0


def hessian(
    network: nn.Module, loss: Loss, data: Data, *, chunk_size: int = 1000
) -> LinearOperator:
    """The Hessian H of the mean loss over N samples, at the present weights w of `network`.

    H v is computed for any vector v without H itself: it is the gradient of ∇L(w)·v. SciPy finds
    its largest eigenvalue by such products alone: ``eigsh(hessian(...), k=1, which="LA")``.

    Args:
        network: weights with `requires_grad` count, n of them; frozen ones do not.
        loss: takes outputs and targets of a batch, returns the mean over its samples.
        data: inputs (N, ...) and targets (N, ...).
        chunk_size: samples that are held in memory together; the result does not depend on it.

    Returns:
        A symmetric `scipy.sparse.linalg.LinearOperator` of shape (n, n), in the weights' dtype.
        It keeps the weights of now, whatever becomes of the network.

    Raises:
        ValueError: data of unequal or zero length, a chunk size below 1, nothing to train,
            BatchNorm or Dropout in train mode, BatchNorm without running statistics, a network
            that draws random numbers, network, loss and data that do not fit together, a loss
            that is not one number.

    Source:
        B. A. Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6 (1994).
    """
    mean_loss = _MeanLoss(network, loss, data, chunk_size)
    weights = mean_loss.weights

    def product(vector: np.ndarray) -> np.ndarray:
        flat = checks.numbers("vector", vector.ravel()).to(weights)
        return mean_loss.hessian_product(flat).numpy()

    size, dtype = len(weights), weights.numpy().dtype
    return LinearOperator((size, size), matvec=product, rmatvec=product, dtype=dtype)


def sharpness(
    network: nn.Module,
    loss: Loss,
    data: Data,
    epsilon: float = 1e-3,
    *,
    iterations: int = 10,
    chunk_size: int = 1000,
) -> float:
    r"""Keskar's sharpness: by how many percent the loss can rise in a small box around w.

        φ = 100 · (max_{z ∈ C} L(w + z) - L(w)) / (1 + L(w)),   C = {z : |z_i| <= ε (|w_i| + 1)}.

    As in the paper the maximum is sought by ten iterations of L-BFGS-B in all n dimensions, so φ
    is a lower bound. Two things differ from the paper, because at a minimum the gradient is next
    to zero and L-BFGS-B, whose first step is as long as the gradient, may hardly leave it (on F1
    after 20 epochs with B = 256, started at w, it finds 12 % where this search finds 84 %). The
    search starts at a random point of the box (always the same one), and it runs in units of the
    box, z_i = ε (|w_i| + 1) u_i, on a loss scaled so that the first step reaches the box's walls.

    Args:
        network, loss, data, chunk_size: as for `hessian`. The data may be a part of the samples.
        epsilon: half the width of the box, relative to |w_i| + 1.
        iterations: how many iterations of L-BFGS-B.

    Returns:
        φ in percent, 0 or more.

    Raises:
        ValueError: as `hessian`; an epsilon that is not positive, iterations below 1, a loss that
            is not finite, or not above -1.

    Source:
        Keskar, Mudigere, Nocedal, Smelyanskiy, Tang, "On Large-Batch Training for Deep Learning:
        Generalization Gap and Sharp Minima" (2017), metric 2.1 with A the identity;
        arXiv:1609.04836.
    """
    epsilon = checks.positive("epsilon", epsilon)
    iterations = checks.whole("iterations", iterations)
    mean_loss = _MeanLoss(network, loss, data, chunk_size)
    center = mean_loss.weights.double().numpy()
    box = epsilon * (np.abs(center) + 1)
    start = np.random.default_rng(0).uniform(-1, 1, len(center))
    at_center = mean_loss(center)
    if at_center <= -1:
        raise ValueError(f"loss must be above -1, for φ divides by 1 + loss; it is {at_center}")
    slope = np.abs(mean_loss.with_gradient(center + box * start)[1] * box).mean()
    scale = _STEEPNESS / slope if slope > 0 else 1.0

    def descent(u: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = mean_loss.with_gradient(center + box * u)
        return scale * (at_center - value), -scale * box * gradient

    walls, options = Bounds(-np.ones_like(start), np.ones_like(start)), {"maxiter": iterations}
    found = minimize(descent, start, jac=True, method="L-BFGS-B", bounds=walls, options=options)
    return 100 * max(-found.fun / scale, 0.0) / (1 + at_center)


def filter_normalized(network: nn.Module, seed: int = 0) -> Tensor:
    """A random direction d in which networks of different scale can be compared.

    Each filter gets a normal random direction of the filter's own length: d_ij = g_ij / |g_ij| ·
    |w_ij|, for filter j of layer i. A filter is what makes one output: a row of a linear layer's
    weights, a convolution's kernel over all its inputs. Biases and BatchNorm have d = 0.

    Returns:
        A flat vector of n numbers in the weights' dtype.

    Raises:
        ValueError: the network has no weights that require a gradient, a seed that is no whole
            number.

    Source:
        Li, Xu, Taylor, Studer, Goldstein, "Visualizing the Loss Landscape of Neural Nets" (2018),
        section 4; arXiv:1712.09913.
    """
    generator = torch.Generator().manual_seed(checks.seed(seed))
    checks.is_module("network", network)
    parts = [_filters(value.detach(), generator) for value in _trained(network).values()]
    return parameters_to_vector(parts)


def losses_along(
    network: nn.Module,
    loss: Loss,
    data: Data,
    direction: ArrayLike,
    positions: Iterable[float],
    *,
    chunk_size: int = 1000,
) -> np.ndarray:
    """The mean loss at w + t d, for each position t on the line along the direction d.

    From network a to network b the direction is the difference of their weights, and t runs from
    0 (a) to 1 (b).

    Args:
        network, loss, data, chunk_size: as for `hessian`; w are the network's present weights.
        direction: a flat vector of n numbers, such as `filter_normalized` or `eigsh` return.
        positions: the values of t.

    Raises:
        ValueError: as `hessian`; a direction that has not one number for each weight, positions
            that are no finite numbers.
    """
    mean_loss = _MeanLoss(network, loss, data, chunk_size)
    weights = mean_loss.weights
    direction = checks.numbers("direction", direction).detach().to(weights)
    if direction.shape != weights.shape:
        raise ValueError(
            f"direction must hold {len(weights)} numbers, one for each weight, not the shape "
            f"{tuple(direction.shape)}"
        )
    given = list(positions) if isinstance(positions, Iterator) else positions
    steps = checks.numbers("positions", given).double()
    if steps.ndim != 1 or not steps.isfinite().all():
        raise ValueError(f"{positions=} must be finite numbers, such as np.linspace(0, 1, 21)")
    return np.array([mean_loss(weights + t * direction) for t in steps.tolist()])


class _MeanLoss:
    """The mean loss over all samples as a function of the flat weights, chunk by chunk."""

    def __init__(self, network: nn.Module, loss: Loss, data: Data, chunk_size: int):
        x, y = checks.measurable(network, data)
        chunk_size = min(checks.whole("chunk_size", chunk_size), len(x))
        self.network, self.loss = network, loss
        self.samples = len(x)
        self.chunks = list(zip(x.split(chunk_size), y.split(chunk_size), strict=True))
        self.shapes = {name: value.shape for name, value in _trained(network).items()}
        self.weights = parameters_to_vector(_trained(network).values()).detach()
        with torch.no_grad():
            next(self._parts(self.weights))  # a loss that does not fit is named at once

    def __call__(self, weights: ArrayLike) -> float:
        with torch.no_grad():
            return math.fsum(part.item() for part in self._parts(self._vector(weights)))

    def with_gradient(self, weights: ArrayLike) -> tuple[float, np.ndarray]:
        """The loss and its gradient."""
        weights = self._vector(weights).requires_grad_()
        value, gradient = 0.0, torch.zeros_like(weights)
        for part in self._parts(weights):
            value += part.item()
            gradient += _gradient(part, weights)
        if not math.isfinite(value):
            raise ValueError(
                f"the loss must be finite, not {value}: look for NaN in data and weights"
            )
        return value, gradient.double().numpy()

    def hessian_product(self, vector: Tensor) -> Tensor:
        weights = self.weights.clone().requires_grad_()
        product = torch.zeros_like(weights)
        for part in self._parts(weights):
            gradient = _gradient(part, weights, create_graph=True)
            product += _gradient((gradient * vector).sum(), weights)
        return product

    def _parts(self, weights: Tensor) -> Iterator[Tensor]:
        """What each chunk adds to the mean loss."""
        for x, y in self.chunks:
            value = checks.batch_loss(self.network, self._named(weights), self.loss, x, y)
            yield value * (len(x) / self.samples)

    def _named(self, weights: Tensor) -> dict[str, Tensor]:
        pieces = weights.split([shape.numel() for shape in self.shapes.values()])
        named = zip(self.shapes.items(), pieces, strict=True)
        return {name: piece.view(shape) for (name, shape), piece in named}

    def _vector(self, weights: ArrayLike) -> Tensor:
        return torch.as_tensor(weights).to(self.weights)


def _gradient(value: Tensor, weights: Tensor, create_graph: bool = False) -> Tensor:
    """The gradient of a number, zero where it does not depend on the weights."""
    if not value.requires_grad:
        return torch.zeros_like(weights)
    found = torch.autograd.grad(
        value, weights, create_graph=create_graph, allow_unused=True, materialize_grads=True
    )
    return found[0]


def _trained(network: nn.Module) -> dict[str, Tensor]:
    named = network.named_parameters()
    trained: dict[str, Tensor] = {name: value for name, value in named if value.requires_grad}
    if not trained:
        raise ValueError("network must have weights that require a gradient")
    return trained


def _filters(weight: Tensor, generator: torch.Generator) -> Tensor:
    """A random tensor of the weight's shape whose filters are as long as the weight's."""
    if weight.ndim < 2:
        return torch.zeros_like(weight)
    random = torch.randn(weight.shape, generator=generator).to(weight)
    inner = tuple(range(1, weight.ndim))
    lengths = [torch.linalg.vector_norm(t, dim=inner, keepdim=True) for t in (weight, random)]
    return random * (lengths[0] / lengths[1])
