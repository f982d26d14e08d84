"""How many of PyTorch's threads work on the replicas."""

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
            yield map
        else:
            with ThreadPoolExecutor(min(replicas, allowed)) as pool:
                yield pool.map
    finally:
        torch.set_num_threads(allowed)
