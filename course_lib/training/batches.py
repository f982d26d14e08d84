"""Mini-batches of several seeds side by side."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from course_lib.data import TensorData

# What one gathering of consecutive batches may take.
CHUNK_BYTES, CHUNK_BATCHES = 2**25, 200


class Batches:
    """Mini-batches of several seeds side by side, each seed in an order of its own.

    Every epoch, seed s draws ``torch.randperm(N, generator=g_s)`` with ``g_s`` seeded by s once,
    and takes the samples in this order, `batch_size` at a time. One item is a list of
    consecutive batches ``(x, y)`` of shapes ``(S, B, *shape)`` and ``(S, B)``, gathered at once
    so that the cost of gathering is shared. The full batch, whose order does not matter, is
    not gathered: its shapes are ``(1, N, *shape)`` and ``(1, N)``, for all seeds.

    Args:
        data: where the samples come from.
        batch_size: samples a batch, from 1 to N, or "full" for all N.
        seeds: one whole number a replica.
        single: yield the batches one by one, for callbacks that must see each of them.

    Raises:
        ValueError: the batch size is not a whole number from 1 to N, nor "full".
    """

    def __init__(
        self, data: TensorData, batch_size: int | str, seeds: Sequence[int], single: bool = False
    ):
        self.data = data
        self.batch_size = batch_size
        self.orders = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.single = single

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
        return len(self.data.x_train) // self.batch_size

    @property
    def rest(self) -> int:
        """Samples of the last partial batch: N mod B, or 0 with `drop_last`."""
        return 0 if self.data.drop_last else len(self.data.x_train) % self.batch_size

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
        batch_bytes = self.data.x_train[0].nbytes * len(self.orders) * self.batch_size
        return 1 if self.single else min(max(1, CHUNK_BYTES // batch_bytes), CHUNK_BATCHES)

    def __len__(self) -> int:
        return -(-self.whole_batches // self.batches_per_item) + bool(self.rest)

    def __iter__(self) -> Iterator[list[tuple[Tensor, Tensor]]]:
        samples = len(self.data.x_train)
        if self.batch_size == samples:
            yield [(self.data.x_train[None], self.data.y_train[None])]
            return
        order = torch.stack([torch.randperm(samples, generator=g) for g in self.orders])
        whole = order[:, : self.whole_batches * self.batch_size]
        whole = whole.unflatten(1, (-1, self.batch_size)).transpose(0, 1)
        for indices in whole.split(self.batches_per_item):
            yield self._gathered(indices)
        if self.rest:
            yield self._gathered(order[None, :, -self.rest :])

    def _gathered(self, indices: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The samples with indices of shape ``(batches, S, B)``."""
        indices = indices.contiguous()  # makes every batch contiguous, too
        x, y = self.data.x_train[indices], self.data.y_train[indices]
        return list(zip(x, y, strict=True))
