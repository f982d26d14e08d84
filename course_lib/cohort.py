"""Several seeds of one network, trained at once."""

import copy
import math
from collections.abc import Callable, Sequence

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import multiclass_accuracy

# Input numbers of one replica's batch up to which it is faster to take all replicas at once
# (measured on CPUs; stacked convolutions become grouped ones, which pay off for less).
VECTORIZED_UP_TO = {"linear": 2**16, "convolutions": 2**13}
EVALUATION_ELEMENTS = 2**24  # input numbers of one forward pass of an evaluation


class Cohort(LightningModule):
    """S networks with stacked parameters: one LightningModule that trains S seeds.

    Replica s starts as ``torch.manual_seed(s); network()``. Its parameters are slice s of
    tensors of shape ``(S, *shape)``, its loss L_s is the mean cross-entropy of its own batch,
    and the cohort descends on ``L = L_1 + ... + L_S``. Since L_s depends on slice s alone,
    ``dL/dw_s = dL_s/dw_s``; and since the optimizer treats every number alone, each replica
    takes the steps that it would take without the others.

    Args:
        network: makes one network, for instance a class or a `functools.partial`.
        seeds: one whole number a replica.
        optimizer: an elementwise optimizer from `torch.optim`.
        lr: learning rate.
        **optimizer_options: the optimizer's other arguments.

    Raises:
        ValueError: seeds that are empty or not different, a learning rate that is not positive,
            an optimizer that couples replicas, or a network that draws random numbers.
    """

    automatic_optimization = False

    def __init__(
        self,
        network: Callable[[], nn.Module],
        seeds: Sequence[int],
        optimizer: Callable = torch.optim.SGD,
        *,
        lr: float,
        **optimizer_options,
    ):
        super().__init__()
        self.seeds = _checked_seeds(seeds)
        self.optimizer, self.options = optimizer, {"lr": _checked_lr(lr), **optimizer_options}
        _check_elementwise(optimizer, self.options)
        self.stacked = _stacked([seeded(network, seed) for seed in self.seeds])
        self.examples = 0
        convolves = any(isinstance(m, nn.modules.conv._ConvNd) for m in self.stacked.modules())
        self.vectorized_up_to = VECTORIZED_UP_TO["convolutions" if convolves else "linear"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer(self.stacked.parameters(), **self.options)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of all replicas: ``(S, B, *shape)`` to ``(S, B, classes)``.

        Samples of shape ``(1, B, *shape)`` are shared by all replicas. Small batches go through
        all replicas at once, since issuing the operations is what costs; large ones go through
        one replica after another, since there arithmetic is what costs.
        """
        shared = len(x) == 1 < len(self.seeds)
        state = dict(self.stacked.named_parameters()), dict(self.stacked.named_buffers())
        if len(self.seeds) > 1 and x[0].numel() <= self.vectorized_up_to:
            in_dims = (0, None if shared else 0)
            return vmap(self._one, in_dims)(state, x[0] if shared else x)
        states = _unstacked(state, len(self.seeds))
        samples = x.expand(len(self.seeds), *x.shape[1:])
        return torch.stack([self._one(*each) for each in zip(states, samples, strict=True)])

    def losses(self, x: Tensor, y: Tensor) -> Tensor:
        """Mean cross-entropy of each replica, shape ``(S,)``."""
        return _mean_cross_entropy(self(x), y)

    def gradients(self, x: Tensor, y: Tensor) -> Sequence[Tensor]:
        """Gradients of the replicas' losses: for each parameter one tensor ``(S, *shape)``."""
        parameters = list(self.stacked.parameters())
        return torch.autograd.grad(self.losses(x, y).sum(), parameters, allow_unused=True)

    def training_step(self, batches: list[tuple[Tensor, Tensor]], _: int) -> None:
        """One update for each batch, up to the Trainer's `max_steps`."""
        optimizer, parameters = self.optimizers(), list(self.stacked.parameters())
        for x, y in batches[: self._updates_left()]:
            for parameter, gradient in zip(parameters, self.gradients(x, y), strict=True):
                parameter.grad = gradient
            optimizer.step()
            self.examples += y.shape[1]

    @torch.inference_mode()
    def evaluate(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss and accuracy of each replica over all samples, in eval mode.

        Shapes: x ``(N, *shape)``, y ``(N,)``; both results ``(S,)``.
        """
        self.eval()
        samples = max(1, EVALUATION_ELEMENTS // (len(self.seeds) * math.prod(x.shape[1:])))
        outputs = torch.cat([self(piece[None]) for piece in x.split(samples)], dim=1)
        labels = y.expand(len(outputs), -1)
        self.train()
        return _mean_cross_entropy(outputs, labels), _accuracies(outputs, labels)

    def networks(self) -> list[nn.Module]:
        """The replicas as ordinary modules in eval mode, one a seed."""
        state = self.stacked.state_dict()
        return [self._replica(state, index) for index in range(len(self.seeds))]

    def _one(self, state: tuple[dict, dict], x: Tensor) -> Tensor:
        return functional_call(self.stacked, state, (x,))

    def _replica(self, state: dict[str, Tensor], index: int) -> nn.Module:
        slices = {name: values[index].clone() for name, values in state.items()}
        network = copy.deepcopy(self.stacked)
        _set_tensors(network, slices)
        return network.eval()

    def _updates_left(self) -> int | None:
        limit = self.trainer.max_steps
        return None if limit == -1 else limit - self.trainer.global_step


def seeded(network: Callable[[], nn.Module], seed: int) -> nn.Module:
    """``torch.manual_seed(seed); network()``, leaving PyTorch's random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return network()


def _stacked(networks: list[nn.Module]) -> nn.Module:
    """One module of the networks' form whose tensors carry a leading axis S."""
    for module in networks[0].modules():
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
            raise ValueError(
                f"the network contains {module}, whose random numbers would depend on the other "
                "seeds; use p=0"
            )
    parameters, buffers = stack_module_state(networks)
    stacked = copy.deepcopy(networks[0])
    _set_tensors(stacked, {**parameters, **buffers})
    return stacked


def _unstacked(state: tuple[dict, dict], seeds: int) -> list[tuple[dict, dict]]:
    parts = [{name: tensor.unbind() for name, tensor in part.items()} for part in state]
    return [
        tuple({name: slices[s] for name, slices in part.items()} for part in parts)
        for s in range(seeds)
    ]


def _set_tensors(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    for name, parameter in network.named_parameters():
        parameter.data = tensors[name].detach()
    for name, buffer in network.named_buffers():
        buffer.data = tensors[name].detach()


def _mean_cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    losses = cross_entropy(outputs.flatten(0, 1), labels.flatten(), reduction="none")
    return losses.unflatten(0, labels.shape).mean(1)


def _accuracies(outputs: Tensor, labels: Tensor) -> Tensor:
    return multiclass_accuracy(
        outputs.argmax(-1),
        labels,
        num_classes=outputs.shape[-1],
        average="micro",
        multidim_average="samplewise",
        validate_args=False,
    )


def _checked_seeds(seeds: Sequence[int]) -> list[int]:
    seeds = list(seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds={seeds} must be one or more different whole numbers")
    return seeds


def _checked_lr(lr: float) -> float:
    if not (math.isfinite(lr) and lr > 0):
        raise ValueError(f"lr={lr} must be a positive number, for instance 0.1")
    return lr


def _check_elementwise(optimizer: Callable, options: dict) -> None:
    """Compare the first replica's steps beside two different second replicas."""
    weights, gradients = torch.arange(36.0).sin().reshape(2, 3, 3, 2)
    try:
        steps = [
            _after_three_steps(optimizer, options, weights[[0, i]], gradients[[0, i]])[0]
            for i in (1, 2)
        ]
        elementwise = torch.equal(*steps)
    except TypeError as error:
        if "closure" not in str(error):
            raise
        elementwise = False
    if not elementwise:
        raise ValueError(
            f"optimizer={optimizer.__name__} couples replicas: the step of one depends on the "
            "others; use an elementwise optimizer such as torch.optim.SGD or torch.optim.Adam"
        )


def _after_three_steps(optimizer: Callable, options: dict, weights: Tensor, gradient: Tensor):
    weights = nn.Parameter(weights.clone())
    stepper = optimizer([weights], **options)
    for _ in range(3):
        weights.grad = gradient.clone()
        stepper.step()
    return weights.detach()
