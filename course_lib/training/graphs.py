"""What of the replicas is recorded: an update, the gradients alone, an evaluation."""

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property, partial

import torch
from torch import Tensor
from torch.optim import Optimizer

import course_lib.training.compiling as compiling
from course_lib.training.batches import Batch
from course_lib.training.compiling import Function, Graph
from course_lib.training.replicas import Replicas
from course_lib.training.steps import Step, recordable, tensor_rate

Pass = Callable[..., Sequence[Tensor]]  # takes the tensors of a batch: x, y and maybe weights


class Graphs:
    """The graphs of one run: one for each function, and for each shape of its batches.

    Each method returns a function of a batch's tensors, or None where so many calls to come do
    not make up for recording it, or it cannot be recorded.

    Args:
        replicas: what is trained.
        make: makes the optimizer from parameters.
    """

    def __init__(self, replicas: Replicas, make: Callable[[list[Tensor]], Optimizer]):
        self.replicas, self.make = replicas, make
        self._graphs: dict[Hashable, Graph] = {}
        self._hopeless: set[str] = set()  # what failed once is not tried for the other graphs
        self._runs: dict[Hashable, bool] = {}  # which graphs can be called

    def update(self, optimizer: Optimizer, batch: Batch, calls: int) -> Pass | None:
        """Gradients and the optimizer's step, in place. It must have made a step before."""
        recorded = any(graph.operations for graph in self._graphs.values())
        if not recorded and calls < compiling.RECORDING_PAYS or (kind := self._kind) is None:
            return None
        lr, parameters = optimizer.param_groups[0]["lr"], list(self.replicas.parameters())
        step = Step(self.make, optimizer, [p for p in parameters if p.grad is not None])
        rate = [torch.tensor(lr, device=parameters[0].device)] if kind == "tensor" else []
        tensors = [*rate, *step.state, *self.replicas.tensors()]
        function = partial(_update, self.replicas, step, None if rate else lr)
        key = "update", repr(step.options), None if rate else lr
        return self._pass(key, function, tensors, batch, calls)

    def gradients(self, batch: Batch, calls: int) -> Pass | None:
        """The gradients of those parameters that have one."""
        function = partial(_gradients, self.replicas)
        return self._pass("gradients", function, self.replicas.tensors(), batch, calls)

    def evaluation(self, batch: Batch, calls: int) -> Pass | None:
        """Loss and metrics in eval mode."""
        function = partial(_measured, self.replicas)
        return self._pass("evaluation", function, self.replicas.tensors(), batch, calls)

    @property
    def compiled(self) -> bool:
        """Whether one of them is compiled."""
        return any(graph.compiled for graph in self._graphs.values())

    @property
    def seconds(self) -> float:
        """What recording and compiling have taken."""
        return sum(graph.seconds for graph in self._graphs.values())

    def _pass(
        self,
        key: Hashable,
        function: Function,
        tensors: Sequence[Tensor],
        batch: Batch,
        calls: int,
    ) -> Pass | None:
        form, example = (key, tuple(part.shape for part in batch)), [*tensors, *batch]
        graph = self._graphs.setdefault(form, Graph(function, self._hopeless))
        graph.prepare(example, calls)
        if graph.operations and form not in self._runs:
            self._runs[form] = _runs(graph.function, example)
        return partial(graph.function, *tensors) if self._runs.get(form) else None

    @cached_property
    def _kind(self) -> str | None:
        """How the optimizer's step can be recorded."""
        return recordable(self.make)


def _runs(recorded: Function, example: Sequence[Tensor]) -> bool:
    """Whether recorded operations can be called, tried on copies.

    They are recorded for the memory layouts that PyTorch foretells, which are not always those
    that its operations make; a view of such a tensor fails.
    """
    try:
        recorded(*(tensor.clone() for tensor in example))
    except RuntimeError:
        return False
    return True


def _update(replicas: Replicas, step: Step, lr: float | None, *tensors: Tensor) -> list[Tensor]:
    """One update in place; `tensors` as `Graphs.update` lines them up, then the batch."""
    rate = lr if lr is not None else tensor_rate(tensors[0])
    tensors = tensors[lr is None :]
    state, tensors = tensors[: len(step.state)], tensors[len(step.state) :]
    gradients = replicas.gradients(tensors[: replicas.count], tensors[replicas.count :])
    moved = [p for p, g in zip(tensors, gradients, strict=False) if g is not None]
    step(moved, [g.contiguous() for g in gradients if g is not None], state, rate)
    return []


def _gradients(replicas: Replicas, *tensors: Tensor) -> list[Tensor]:
    found = replicas.gradients(tensors[: replicas.count], tensors[replicas.count :])
    return [gradient for gradient in found if gradient is not None]


def _measured(replicas: Replicas, *tensors: Tensor) -> list[Tensor]:
    return replicas.measured(tensors[: replicas.count], tensors[replicas.count :])
