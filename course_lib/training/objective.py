"""What training minimizes and what it measures: a loss, metrics, and their weighted means."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import multiclass_exact_match

Metric = Callable[[Tensor, Tensor], Tensor]


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Whether each sample's largest output is the one of its target: 1.0 or 0.0.

    Shapes: outputs ``(N, classes, ...)``, targets ``(N, ...)``; the result ``(N, ...)``.
    """
    if targets.is_floating_point():
        raise ValueError("accuracy needs class labels; for a regression give metrics={}")
    flat = outputs.movedim(1, -1).flatten(0, -2).unsqueeze(-1)
    right = multiclass_exact_match(
        flat,
        targets.reshape(-1, 1),
        num_classes=outputs.shape[1],
        multidim_average="samplewise",
        validate_args=False,
    )
    return right.view(targets.shape)


class Objective:
    """A loss and metrics, over samples that may have weights.

    Without weights a batch's loss is ``loss(outputs, targets)``, which must be the mean over its
    samples. With weights w it is Σ w l / Σ w, where l is what ``loss(outputs, targets,
    reduction="none")`` returns, of the shape of w. The other measures are means, weighted alike,
    of what each metric returns: one number for each sample, or for each target.

    Args:
        loss: such as `torch.nn.functional.cross_entropy` or `mse_loss`.
        metrics: the name and the function of each; a single function has its own name.

    Raises:
        ValueError: something that cannot be called, or a metric called "loss".
    """

    def __init__(self, loss: Callable[..., Tensor], metrics: Metric | Mapping[str, Metric]):
        if callable(metrics):
            metrics = {getattr(metrics, "__name__", "metric"): metrics}
        if not isinstance(metrics, Mapping) or not all(map(callable, metrics.values())):
            raise ValueError(f"metrics={metrics!r} must be a function or a dict of functions")
        if not callable(loss):
            raise ValueError(f"loss={loss!r} must be a function, for instance {cross_entropy}")
        if not all(isinstance(name, str) and name.isidentifier() for name in metrics):
            raise ValueError(f"metrics={metrics!r} must have names such as 'accuracy'")
        if "loss" in metrics:
            raise ValueError("metrics: 'loss' is the name of the loss; give this metric another")
        self.loss, self.metrics = loss, dict(metrics)

    def __call__(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """The loss of one network's batch."""
        if weights is None:
            value = self.loss(outputs, targets)
            if value.ndim != 0:  # of a batch of one, backward() would take it
                raise ValueError(f"loss must return a scalar, not the shape {tuple(value.shape)}")
            return value
        losses = self.loss(outputs, targets, reduction="none")
        if losses.shape != weights.shape:
            raise ValueError(
                f"loss(..., reduction='none') has shape {tuple(losses.shape)} but the weights have "
                f"{tuple(weights.shape)}; both must be the same"
            )
        return (losses * weights).sum() / weights.sum()

    def measured(
        self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None
    ) -> list[Tensor]:
        """The loss and each metric, of one network's batch."""
        values = {name: metric(outputs, targets) for name, metric in self.metrics.items()}
        for name, each in values.items():
            if each.shape[:1] != targets.shape[:1]:
                raise ValueError(
                    f"metrics[{name!r}] must return a number for each of {len(targets)} samples, "
                    f"but its result has shape {tuple(each.shape)}"
                )
        means = [_mean(each, weights) for each in values.values()]
        return [self(outputs, targets, weights), *means]


def mass(batch: tuple[Tensor, ...]) -> Any:
    """What a batch counts in a mean over several: its weights' sum (S or 1), or its samples."""
    x, _, *weights = batch
    return weights[0].flatten(1).sum(1) if weights else x.shape[1]


def _mean(values: Tensor, weights: Tensor | None) -> Tensor:
    """One value a sample or a target; a sample's value counts as its weights together do."""
    values = values if values.is_floating_point() else values.float()
    if weights is None:
        return values.mean()
    if values.ndim < weights.ndim:
        weights = weights.flatten(values.ndim).sum(-1)
    if values.ndim > weights.ndim:
        values = values.flatten(weights.ndim).mean(-1)
    return (values * weights).sum() / weights.sum()
