"""Several seeds of one network, trained at once: the LightningModule, its steps and its ranks."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pandas as pd
import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer

from course_lib.internals import count_optimizer_steps
from course_lib.training.batches import Batch, Batches, Samples
from course_lib.training.graphs import Graphs, Pass
from course_lib.training.objective import mass
from course_lib.training.replicas import Replicas
from course_lib.training.steps import Separately
from course_lib.training.threads import replica_map

# Input numbers of one replica's batch up to which it is faster to take all replicas at once
# (measured on CPUs; convolutions make more of them, and fill the cache sooner). Evaluation makes
# none of the backward pass; and to record or compile it gains as much as for so many updates.
STACKED_UP_TO = {"linear": 2**16, "convolutions": 2**13}
STACKED_IN_EVALUATION, EVALUATION_WORTH = 4, 30
EVALUATION_ELEMENTS = 2**24  # input numbers of one forward pass of an evaluation
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)

Updates = Callable[[list[Batch]], None]


class Cohort(LightningModule):
    """Trains S replicas as one LightningModule.

    Replica s descends on its own loss L_s, the cohort on L = L_1 + ... + L_S. Since L_s depends on
    slice s of the stacked parameters alone, dL/dw_s = dL_s/dw_s; and since the optimizer treats
    every number alone, each replica takes the steps that it would take without the others.

    Callbacks see the stacked parameters, ``(S, *shape)`` each, as `parameters()`.

    Args:
        replicas: the S networks.
        make: makes an elementwise optimizer from parameters.
        batches: what to train on.
        may_stop_early: whether the run may end before its last epoch.
    """

    automatic_optimization = False

    def __init__(
        self,
        replicas: Replicas,
        make: Callable[[list[Tensor]], Optimizer],
        batches: Batches,
        may_stop_early: bool = False,
    ):
        super().__init__()
        self.replicas, self.make, self.batches = replicas, make, batches
        self.may_stop_early = may_stop_early
        self.examples = 0  # used in training, by each seed
        self.history = pd.DataFrame()  # what a Recorder has recorded
        self.graphs = Graphs(replicas, make)
        convolves = any(isinstance(m, CONVOLUTIONS) for m in replicas.networks[0].modules())
        self.stacked_up_to = STACKED_UP_TO["convolutions" if convolves else "linear"]

    @property
    def seeds(self) -> list[int]:
        return self.replicas.seeds

    def networks(self) -> list[nn.Module]:
        """Copies of the replicas as they are now: ordinary modules in eval mode, one a seed."""
        return self.replicas.copies()

    def setup(self, stage: str) -> None:
        if self.trainer.num_devices > 1:  # a forked process hangs if it starts threads again
            torch.set_num_threads(1)

    def on_fit_start(self) -> None:
        """The Trainer has moved the stacked tensors to its device; what belongs to them follows."""
        self.replicas.link()
        self.batches.to(self.device)

    def get_extra_state(self) -> dict[str, Any]:
        """The history: it goes where the weights go, to a file or to another process."""
        return {"history": self.history.to_dict("list"), "attrs": self.history.attrs}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.history = pd.DataFrame(state["history"])
        self.history.attrs = state["attrs"]

    def configure_optimizers(self) -> Optimizer:
        stacked: list[Tensor] = list(self.replicas.parameters())
        if not self.replicas.alone:
            return self.make(stacked)
        networks: list[list[Tensor]]
        networks = [list(network.parameters()) for network in self.replicas.networks]
        return Separately(self.make, stacked, networks)

    def training_step(self, batches: list[Batch], _: int) -> None:
        """One update for each batch, up to the Trainer's `max_steps`; all batches of one shape."""
        batches = batches[: self._updates_left()]
        self.examples += sum(batch[0].shape[1] for batch in batches)
        batches = [self._share(batch) for batch in batches]
        if not self._fits_stacked(batches[0]):
            _each(self._one_by_one, batches)
            return
        work = self.replicas.multiplications(batches[0]) if len(self.seeds) == 1 else 0
        with replica_map(1, work):
            first = int(self.trainer.global_step == 0)  # it makes the optimizer's state
            _each(self._stacked, batches[:first])
            self._quickest(batches[0])(batches[first:])

    def transfer_batch_to_device(self, batch: Any, device: torch.device, _: int) -> Any:
        """The samples are there already; to look would take as long as small updates."""
        return batch

    # The ways to make an update.

    def _one_by_one(self, batch: Batch) -> None:
        """Each network by itself: what cannot be stacked, and large batches."""
        gradients = self.replicas.backward(batch)
        if not self.replicas.alone or self._ranks > 1 or self.batches.one_update_per_step:
            self._set_gradients([_stack(own) for own in zip(*gradients, strict=True)], batch)
            if self.replicas.alone:
                self._hand_back(gradients)
        with replica_map(1, sum(parameter.numel() for parameter in self.parameters())):
            self._optimizer.step()

    def _stacked(self, batch: Batch) -> None:
        """All networks in one pass, then the optimizer's step."""
        self._set_gradients(self.replicas.gradients(self.replicas.tensors(), batch), batch)
        self._optimizer.step()

    def _quickest(self, batch: Batch) -> Updates:
        """The quickest way for batches of this shape, and for what is left of the run."""
        calls = self._calls_to_come(batch)
        undisturbed = self._ranks == 1 and not self.batches.one_update_per_step
        optimizer = self._optimizer.optimizer
        if undisturbed and (update := self.graphs.update(optimizer, batch, calls)):
            return partial(self._in_graph, update)
        if gradients := self.graphs.gradients(batch, calls):
            return partial(_each, partial(self._with_gradients, gradients))
        return partial(_each, self._stacked)

    def _in_graph(self, update: Pass, batches: list[Batch]) -> None:
        """The pass and the step as one graph."""
        for batch in batches:
            update(*batch)
        count_optimizer_steps(self.trainer, len(batches))

    def _with_gradients(self, recorded: Pass, batch: Batch) -> None:
        """The pass as a graph, then the optimizer's step."""
        found = iter(recorded(*batch))
        gradients = [None if p.grad is None else next(found) for p in self.parameters()]
        self._set_gradients(gradients, batch)
        self._optimizer.step()

    # Evaluation.

    def evaluate(self, x: Tensor, y: Tensor, weights: Tensor | None = None) -> list[Tensor]:
        """Loss and metrics of each replica over samples, in eval mode: shape ``(S,)`` each.

        Shapes: x ``(N, *shape)``, y ``(N, *target)``, weights as the data's.
        """
        given = (x, y) if weights is None else (x, y, weights)
        return self.evaluate_samples(Samples(given).to(self.device))

    def evaluate_samples(self, samples: Samples) -> list[Tensor]:
        """As `evaluate`, over the samples of each seed, shared out over all processes."""
        if self._ranks > 1:
            samples = samples.share(self.trainer.global_rank, self._ranks)
        numbers = len(self.seeds) * samples.tensors[0][0].numel()
        pieces = samples.pieces(max(1, EVALUATION_ELEMENTS // numbers))
        measured = [(self._measured(piece), mass(piece)) for piece in pieces]
        total = sum(own for _, own in measured)
        sums = [[self._counted(v, own) for v in values] for values, own in measured]
        return self._averaged([sum(part) / total for part in zip(*sums, strict=True)], total)

    def _counted(self, values: Tensor, own: Tensor | int) -> Tensor:
        """What a part adds to a sum: nothing where it has no weight, and therefore no mean."""
        masses = torch.as_tensor(own, device=values.device)
        values = values.to(torch.promote_types(values.dtype, torch.float32))  # sums take the digits
        return torch.where(masses > 0, values * masses, 0)

    @torch.no_grad()
    def _measured(self, piece: Batch) -> list[Tensor]:
        if not self._fits_stacked(piece, STACKED_IN_EVALUATION):
            return self.replicas.evaluate(piece)
        with replica_map(1, 0):
            calls = EVALUATION_WORTH * self._updates_to_come() // self.batches.updates_per_epoch
            if evaluation := self.graphs.evaluation(piece, calls):
                return list(evaluation(*piece))
            return self.replicas.measured(self.replicas.tensors(), piece)

    # Several processes.

    @property
    def _ranks(self) -> int:
        return self.trainer.world_size

    def _share(self, batch: Batch) -> Batch:
        """This process's part of a batch."""
        if self._ranks == 1:
            return batch
        rank = self.trainer.global_rank
        return tuple(part.tensor_split(self._ranks, 1)[rank].contiguous() for part in batch)

    def _averaged(self, values: Sequence[Tensor], own: Tensor | int) -> list[Tensor]:
        """Means over the samples of all processes, from means over those of each.

        By hand, since gradients that `autograd.grad` returns pass by the hooks of PyTorch's DDP.

        Args:
            values: tensors ``(S, ...)`` of this process.
            own: what this process's samples count: a number, or one a replica.
        """
        if self._ranks == 1:
            return list(values)
        masses = torch.as_tensor(own, device=self.device, dtype=values[0].dtype)
        masses = masses.expand(len(self.seeds))
        sums = [torch.where(m > 0, v * m, 0) for v in values for m in [_beside(masses, v)]]
        flat = torch.cat([masses, *(each.flatten() for each in sums)])
        torch.distributed.all_reduce(flat)
        masses, *parts = flat.split([len(masses), *(each.numel() for each in sums)])
        return [part.view_as(v) / _beside(masses, v) for part, v in zip(parts, values, strict=True)]

    def synchronize_buffers(self) -> None:
        """The first process's running statistics become those of all, as in PyTorch's DDP."""
        self.replicas.collect()
        if self._ranks > 1:
            for buffer in self.replicas.buffers():
                buffer.copy_(self.trainer.strategy.broadcast(buffer))

    def _set_gradients(self, gradients: Sequence[Tensor | None], batch: Batch) -> None:
        found = iter(self._averaged([g for g in gradients if g is not None], mass(batch)))
        for parameter, gradient in zip(self.parameters(), gradients, strict=True):
            parameter.grad = None if gradient is None else next(found).contiguous()

    def _hand_back(self, gradients: list[list[Tensor | None]]) -> None:
        """Each network gets slices of the stacked gradients, which callbacks may change."""
        for index, network in enumerate(self.replicas.networks):
            pairs = zip(self.parameters(), network.parameters(), gradients[index], strict=True)
            for stacked, parameter, gradient in pairs:
                if gradient is not None and stacked.grad is not None:
                    parameter.grad = stacked.grad[index]

    @property
    def _optimizer(self) -> LightningOptimizer:
        """The only one; its step is counted, and callbacks see it."""
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        return optimizer

    # How long the run is.

    def _fits_stacked(self, batch: Batch, times: int = 1) -> bool:
        """Small batches go through all networks at once, since issuing the operations is what
        costs; large ones go through each by itself, since arithmetic is what costs."""
        return not self.replicas.alone and batch[0][0].numel() <= times * self.stacked_up_to

    def _updates_left(self) -> int | None:
        limit = self.trainer.max_steps
        return None if limit == -1 else limit - self.trainer.global_step

    def _updates_to_come(self) -> int:
        """A run that may stop early is expected to last as long again as it has lasted."""
        done, updates = self.trainer.global_step, self._updates_left()
        if updates is None:
            updates = (self.trainer.max_epochs or 0) * self.batches.updates_per_epoch - done
        return min(updates, done) if self.may_stop_early else updates

    def _calls_to_come(self, batch: Batch) -> int:
        """Updates with batches of this shape until the run's end."""
        updates = self._updates_to_come()
        ragged = batch[0].shape[1] * self._ranks < self.batches.batch_size
        return updates // self.batches.updates_per_epoch if ragged else updates


def _each(update: Callable[[Batch], None], batches: list[Batch]) -> None:
    for batch in batches:
        update(batch)


def _stack(gradients: Sequence[Tensor | None]) -> Tensor | None:
    """One parameter's gradients in all networks; 0 where a network has not used it."""
    some = next((gradient for gradient in gradients if gradient is not None), None)
    if some is None:
        return None
    return torch.stack([torch.zeros_like(some) if each is None else each for each in gradients])


def _beside(masses: Tensor, values: Tensor) -> Tensor:
    """One number a replica, in a shape that multiplies tensors ``(S, ...)``."""
    return masses.view(-1, *[1] * (values.ndim - 1))
