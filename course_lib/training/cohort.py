"""Several seeds of one network, trained at once."""

import copy
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import pandas as pd
import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.func import functional_call, vmap

from course_lib.training.compiling import Compiler
from course_lib.training.convolutions import ConvolutionsAsProducts
from course_lib.training.refusals import check_elementwise
from course_lib.training.replicas import State, seeded, set_tensors, stacked, unstacked
from course_lib.training.threads import replica_map

# Input numbers of one replica's batch up to which it is faster to take all replicas at once
# (measured on CPUs; convolutions make more of them, and fill the cache sooner).
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
        self.seeds = checked_seeds(seeds)
        self.optimizer, self.options = optimizer, {"lr": _checked_lr(lr), **optimizer_options}
        check_elementwise(optimizer, self.options)
        networks = [seeded(network, seed) for seed in self.seeds]
        self.stacked = stacked(networks)
        self.alone = [copy.deepcopy(each).to("meta") for each in networks]  # forms without numbers
        self.examples, self.seconds = 0, 0.0  # used and spent in training
        self.history = pd.DataFrame()  # what a Recorder has recorded
        self.may_stop_early = False
        self.map = map
        self.compiler = Compiler()
        convolves = any(isinstance(m, nn.modules.conv._ConvNd) for m in self.stacked.modules())
        self.vectorized_up_to = VECTORIZED_UP_TO["convolutions" if convolves else "linear"]

    def setup(self, stage: str) -> None:
        if self.trainer.num_devices > 1:  # a forked process hangs if it starts threads again
            torch.set_num_threads(1)

    def get_extra_state(self) -> dict:
        """The history: it goes where the weights go, to a file or to another process."""
        return {"history": self.history.to_dict("list"), "attrs": self.history.attrs}

    def set_extra_state(self, state: dict) -> None:
        self.history = pd.DataFrame(state["history"])
        self.history.attrs = state["attrs"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer(self.stacked.parameters(), **self.options)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of all replicas, without gradient: ``(S, B, *shape)`` to ``(S, B, classes)``.

        Samples of shape ``(1, B, *shape)`` are shared by all replicas.
        """
        return self._outputs(self._state(), x)

    def training_step(self, batches: list[tuple[Tensor, Tensor]], _: int) -> None:
        """One update for each batch, up to the Trainer's `max_steps`."""
        started = time.perf_counter()
        batches = [self.share(batch, axis=1) for batch in batches[: self._updates_left()]]
        with self._replica_map(batches[0][0]) as self.map:
            self._update(batches)
            seconds = time.perf_counter() - started
            self.seconds += seconds
            self._compile_if_it_pays(batches[0], seconds / len(batches))

    def gradients(self, state: State, x: Tensor, y: Tensor) -> Sequence[Tensor]:
        """Gradients of the replicas' losses: for each parameter one tensor ``(S, *shape)``.

        Small batches go through all replicas at once, since issuing the operations is what
        costs; large ones go through each replica by itself, since arithmetic is what costs.
        """
        if self._is_small(x):
            return _loss_gradients(lambda state: self._outputs(state, x), state, y)
        labels = y.expand(len(self.seeds), -1)
        each = self.map(_gradients_alone, self.alone, *self._split(state, x), labels)
        return [torch.stack(replicas) for replicas in zip(*each, strict=True)]

    @torch.inference_mode()
    def evaluate(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss and accuracy of each replica over all samples, in eval mode.

        Shapes: x ``(N, *shape)``, y ``(N,)``; both results ``(S,)``.
        """
        self.eval()
        samples = max(1, EVALUATION_ELEMENTS // (len(self.seeds) * math.prod(x.shape[1:])))
        with self._replica_map(x[None]) as self.map:
            outputs = torch.cat([self(piece[None]) for piece in x.split(samples)], dim=1)
        self.train()
        return _mean_cross_entropy(outputs, y[None]), (outputs.argmax(-1) == y).float().mean(1)

    def share(self, tensors: Sequence[Tensor], axis: int) -> list[Tensor]:
        """This process's part of the samples, where several train together."""
        rank, processes = self.trainer.global_rank, self.trainer.world_size
        return [tensor.tensor_split(processes, axis)[rank].contiguous() for tensor in tensors]

    def mean(self, means: Sequence[Tensor], samples: int) -> tuple[Sequence[Tensor], int]:
        """From means over this process's samples to those over the samples of all processes."""
        if self.trainer.world_size == 1:
            return means, samples
        sums = torch.cat([*(mean.flatten() for mean in means), torch.ones(1)]) * samples
        torch.distributed.all_reduce(sums)
        *sums, total = sums.split([*(mean.numel() for mean in means), 1])
        overall = [(sum / total).view_as(mean) for sum, mean in zip(sums, means, strict=True)]
        return overall, int(total)

    def synchronize_buffers(self) -> None:
        """The first process's running statistics become those of all, as in PyTorch's DDP."""
        for buffer in self.stacked.buffers():
            buffer.copy_(self.trainer.strategy.broadcast(buffer))

    def train(self, mode: bool = True) -> "Cohort":
        for network in self.alone:
            network.train(mode)
        return super().train(mode)

    def networks(self) -> list[nn.Module]:
        """The replicas as ordinary modules in eval mode, one a seed."""
        state = self.stacked.state_dict()
        return [self._replica(state, index) for index in range(len(self.seeds))]

    def _update(self, batches: list[tuple[Tensor, Tensor]]) -> None:
        optimizer, parameters = self.optimizers(), list(self.stacked.parameters())
        state, lr = self._state(), self._lr()
        for x, y in batches:
            if self.compiler.is_for(x):
                gradients = self.compiler.function(state, x, y, lr)
            else:
                gradients = self.gradients(state, x, y)
            samples = y.shape[1]
            if gradients:
                gradients, samples = self.mean(gradients, samples)
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.grad = gradient
                optimizer.step()
            else:
                self._count_step()
            self.examples += samples

    def _count_step(self) -> None:
        """As Lightning's ``optimizer.step()``, which would take a third of the update's time."""
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        progress.increment_ready()
        progress.increment_completed()

    def _lr(self) -> Tensor:
        return torch.tensor(self.optimizers().param_groups[0]["lr"])

    def _state(self) -> State:
        parameters = {name: value.detach() for name, value in self.stacked.named_parameters()}
        return parameters, dict(self.stacked.named_buffers())

    def _stepped(self, state: State, x: Tensor, y: Tensor, lr: Tensor) -> Sequence[Tensor]:
        """Plain SGD's step ``w - lr * dL/dw``; or the gradients, where something else follows."""
        gradients = self.gradients(state, x, y)
        alone = self.trainer.world_size == 1 and not self.trainer.train_dataloader.single
        if self.optimizer is not torch.optim.SGD or self.options.keys() > {"lr"} or not alone:
            return gradients
        for parameter, gradient in zip(state[0].values(), gradients, strict=True):
            parameter.sub_(lr * gradient)
        return ()

    def _outputs(self, state: State, x: Tensor) -> Tensor:
        if self._is_small(x):
            shared = len(x) == 1 < len(self.seeds)
            return vmap(self._one, (0, None if shared else 0))(state, x[0] if shared else x)
        return torch.stack(list(self.map(functional_call, self.alone, *self._split(state, x))))

    def _split(self, state: State, x: Tensor) -> tuple[list[State], Tensor]:
        """The state and the samples of each replica."""
        return unstacked(state, len(self.seeds)), x.expand(len(self.seeds), *x.shape[1:])

    def _one(self, state: State, x: Tensor) -> Tensor:
        with ConvolutionsAsProducts():
            return functional_call(self.stacked, state, (x,))

    def _is_small(self, x: Tensor) -> bool:
        return x[0].numel() <= self.vectorized_up_to

    def _replica_map(self, x: Tensor) -> AbstractContextManager[Callable]:
        weights = sum(parameter[0].numel() for parameter in self.stacked.parameters())
        return replica_map(len(self.seeds), weights * x.shape[1])

    def _compile_if_it_pays(self, batch: tuple[Tensor, Tensor], seconds: float) -> None:
        """Compile for this shape where the rest of the run, at `seconds` an update, is long.

        A run that may stop early is expected to last as long again as it has lasted.
        """
        rest = seconds * self._updates_to_go()
        if self.may_stop_early:
            rest = min(rest, self.seconds)
        if self._is_small(batch[0]):
            self.compiler.compile_if_it_pays(
                self._stepped, (self._state(), *batch, self._lr()), rest
            )

    def _replica(self, state: dict[str, Tensor], index: int) -> nn.Module:
        slices = {name: values[index].clone() for name, values in state.items()}
        network = copy.deepcopy(self.stacked)
        set_tensors(network, slices)
        return network.eval()

    def _updates_left(self) -> int | None:
        limit = self.trainer.max_steps
        return None if limit == -1 else limit - self.trainer.global_step

    def _updates_to_go(self) -> int:
        epochs = self.trainer.max_epochs * self.trainer.train_dataloader.updates_per_epoch
        limit = epochs if self.trainer.max_steps == -1 else self.trainer.max_steps
        return limit - self.trainer.global_step


def _gradients_alone(network: nn.Module, state: State, x: Tensor, y: Tensor) -> Sequence[Tensor]:
    return _loss_gradients(lambda state: functional_call(network, state, x)[None], state, y[None])


def _loss_gradients(
    outputs: Callable[[State], Tensor], state: State, y: Tensor
) -> Sequence[Tensor]:
    """Gradients of the summed mean losses with respect to the state's parameters."""
    parameters, buffers = state
    leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    with torch.enable_grad():
        losses = _mean_cross_entropy(outputs((leaves, buffers)), y)
        return torch.autograd.grad(losses.sum(), leaves.values(), materialize_grads=True)


def _mean_cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Mean over samples of log(sum(exp(outputs))) - outputs[label], for each replica."""
    chosen = outputs.gather(-1, labels.expand(len(outputs), -1)[..., None]).squeeze(-1)
    return (outputs.logsumexp(-1) - chosen).mean(1)


def checked_seeds(seeds: Sequence[int]) -> list[int]:
    seeds = list(seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds={seeds} must be one or more different whole numbers")
    return seeds


def _checked_lr(lr: float) -> float:
    if not (math.isfinite(lr) and lr > 0):
        raise ValueError(f"lr={lr} must be a positive number, for instance 0.1")
    return lr
