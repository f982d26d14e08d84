"""Mini-batches of several seeds side by side."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from course_lib.data import TensorData

# What one gathering of consecutive batches may take.
CHUNK_BYTES, CHUNK_BATCHES = 2**25, 200

Batch = tuple[Tensor, ...]  # x, y and, where the data have them, weights: each (S or 1, B, ...)


class Samples:
    """The training or the held-out samples of all seeds.

    Args:
        tensors: x, y and maybe weights; the samples lie along the first axis.
        rows: which of them belong to each seed, in an order of its own, shape ``(S, N)``; None
            where all of them belong to all seeds.
    """

    def __init__(self, tensors: Sequence[Tensor], rows: Tensor | None = None):
        self.tensors, self.rows = tuple(tensors), rows

    def __len__(self) -> int:
        return len(self.tensors[0]) if self.rows is None else self.rows.shape[1]

    def to(self, device: torch.device) -> "Samples":
        rows = None if self.rows is None else self.rows.to(device)
        return Samples([tensor.to(device) for tensor in self.tensors], rows)

    def share(self, rank: int, processes: int) -> "Samples":
        """The part of one of several processes."""
        if self.rows is not None:
            return Samples(self.tensors, self.rows.tensor_split(processes, 1)[rank])
        return Samples([tensor.tensor_split(processes)[rank] for tensor in self.tensors])

    def gathered(self, indices: Tensor) -> list[Batch]:
        """Batches of the samples with these indices, shape ``(batches, S, B)``."""
        indices = indices.contiguous()  # makes every batch contiguous, too
        if self.rows is not None:
            seeds = torch.arange(len(self.rows), device=indices.device)
            indices = self.rows[seeds[:, None], indices]
        return list(zip(*(tensor[indices] for tensor in self.tensors), strict=True))

    def whole(self) -> Batch:
        """All samples as one batch, in no particular order; shared by all seeds, if they can be."""
        if self.rows is None:
            return tuple(tensor[None] for tensor in self.tensors)
        return tuple(tensor[self.rows] for tensor in self.tensors)

    def pieces(self, size: int) -> Iterator[Batch]:
        """All samples in batches of at most `size`, as `whole`."""
        for start in range(0, len(self), size):
            piece = slice(start, start + size)
            if self.rows is None:
                yield Samples([tensor[piece] for tensor in self.tensors]).whole()
            else:
                yield Samples(self.tensors, self.rows[:, piece]).whole()

    def extremes(self, size: int) -> list[Batch]:
        """Two batches, shared by all seeds: those with the largest and the smallest targets."""
        targets = self.tensors[1]
        order = targets.reshape(len(targets), -1).sum(1).argsort()
        ends = order[-size:], order[:size]
        return [Samples([tensor[rows] for tensor in self.tensors]).whole() for rows in ends]


def samples_of(data: TensorData, seeds: Sequence[int]) -> tuple[Samples, Samples]:
    """The samples for training and those held out, for all seeds."""
    if data.split == "fixed":
        return Samples(data.train), Samples(data.val)
    pool = data.pool()
    train, val = zip(*(data.rows_of_seed(seed) for seed in seeds), strict=True)
    return Samples(pool, torch.stack(train)), Samples(pool, torch.stack(val))


class Batches:
    """Mini-batches of several seeds side by side, each seed in an order of its own.

    Every epoch, seed s draws ``torch.randperm(N, generator=g_s)`` with ``g_s`` seeded by s once,
    and takes its samples in this order, `batch_size` at a time. One item is a list of consecutive
    batches ``(x, y)`` of shapes ``(S, B, *shape)`` and ``(S, B, *target)``, gathered at once so
    that the cost of gathering is shared. The full batch, unless its order matters, is not gathered:
    where all seeds have the same samples its shapes are ``(1, N, ...)``, for all seeds.

    Args:
        data: where the samples come from.
        batch_size: samples a batch, from 1 to N, or "full" for all N.
        seeds: one whole number a replica.
        one_update_per_step: yield the batches one by one, for callbacks that must see each update.

    Attributes:
        order_matters: whether the full batch is shuffled, too; for networks that draw random
            numbers.

    Raises:
        ValueError: the batch size is not a whole number from 1 to N, nor "full".
    """

    def __init__(
        self,
        data: TensorData,
        batch_size: int | str,
        seeds: Sequence[int],
        one_update_per_step: bool = False,
    ):
        self.data = data
        self.train, self.val = samples_of(data, seeds)
        self.batch_size = batch_size
        self.orders = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.one_update_per_step, self.order_matters = one_update_per_step, False

    def to(self, device: torch.device) -> None:
        """Keep the samples on the device that trains."""
        self.train, self.val = self.train.to(device), self.val.to(device)

    @property
    def batch_size(self) -> int:
        """Samples a batch; a change counts from the next epoch."""
        return self._batch_size

    @batch_size.setter
    def batch_size(self, batch_size: int | str) -> None:
        self._batch_size = self.data.checked_batch_size(batch_size)

    @property
    def whole_batches(self) -> int:
        """floor(N / B)."""
        return len(self.train) // self.batch_size

    @property
    def rest(self) -> int:
        """Samples of the last partial batch: N mod B, or 0 with `drop_last`."""
        return 0 if self.data.drop_last else len(self.train) % self.batch_size

    @property
    def updates_per_epoch(self) -> int:
        """ceil(N / B), or floor(N / B) with `drop_last`."""
        return self.whole_batches + bool(self.rest)

    @property
    def samples_per_epoch(self) -> int:
        """N, or with `drop_last` the largest multiple of B up to N."""
        return self.whole_batches * self.batch_size + self.rest

    @property
    def batches_per_item(self) -> int:
        """How many consecutive batches are gathered at once."""
        sample_bytes = sum(tensor[0].nbytes for tensor in self.train.tensors)
        batch_bytes = sample_bytes * len(self.orders) * self.batch_size
        if self.one_update_per_step:
            return 1
        return min(max(1, CHUNK_BYTES // batch_bytes), CHUNK_BATCHES)

    def __len__(self) -> int:
        return -(-self.whole_batches // self.batches_per_item) + bool(self.rest)

    def __iter__(self) -> Iterator[list[Batch]]:
        samples = len(self.train)
        if self.batch_size == samples and not self.order_matters:
            yield [self.train.whole()]
            return
        order = torch.stack([torch.randperm(samples, generator=g) for g in self.orders])
        order = order.to(self.train.tensors[0].device)
        whole = order[:, : self.whole_batches * self.batch_size]
        whole = whole.unflatten(1, (-1, self.batch_size)).transpose(0, 1)
        for indices in whole.split(self.batches_per_item):
            yield self.train.gathered(indices)
        if self.rest:
            yield self.train.gathered(order[None, :, -self.rest :])
