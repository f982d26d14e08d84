"""How many threads work on the replicas, and what these do with the smallest numbers."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

# Multiplications of a forward pass; below, a second thread gains a third at most (on 2 cores).
ONE_THREAD_BELOW = 2e7


@contextmanager
def replica_map(replicas: int, multiplications: int) -> Iterator[Callable]:
    """A `map` over replicas: one thread of PyTorch's for each, as many at a time as are allowed.

    How many are allowed `torch.get_num_threads` says. Sharing out each single operation instead
    costs small work more than it saves; and where another program keeps a core busy, it made
    large work five times slower, since each operation then waits for the slowest thread. Only a
    lone replica with much work gets all of PyTorch's threads.
    """
    allowed = torch.get_num_threads()
    alone = replicas == 1 and multiplications >= ONE_THREAD_BELOW
    torch.set_num_threads(allowed if alone else 1)
    try:
        if min(replicas, allowed) == 1:
            with without_subnormals():
                yield map
        else:
            workers = min(replicas, allowed)
            with ThreadPoolExecutor(workers, initializer=flush_subnormals) as pool:
                yield pool.map
    finally:
        torch.set_num_threads(allowed)


@contextmanager
def without_subnormals() -> Iterator[None]:
    """Numbers below 1e-38 are 0 inside, in this thread.

    A processor takes a hundred times as long for them, and the momentum of a unit that gets no
    gradient passes through them on its way to 0: small networks then trained ten times slower.
    """
    kept = (torch.tensor(1e-39, dtype=torch.float32) * 1).item() != 0
    flush_subnormals()
    try:
        yield
    finally:
        torch.set_flush_denormal(not kept)


def flush_subnormals() -> None:
    torch.set_flush_denormal(True)
