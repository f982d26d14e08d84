"""What makes small networks fast: a compiled step, and one thread."""

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch.fx.experimental.proxy_tensor import make_fx

# Multiplications of a forward pass; below, a second thread gains a third at most (on 2 cores).
ONE_THREAD_BELOW = 2e7


def compiled(function: Callable, example: tuple) -> Callable | None:
    """Compile a function for arguments of the example's shapes and strides.

    The operations that the function issues are recorded once and compiled by TorchInductor.
    Calling the result skips Python's and autograd's work on each of them, and most of them are
    fused.

    Args:
        function: takes and returns tensors, or collections of them; has no branches that
            depend on their values.
        example: its arguments.

    Returns:
        The compiled function, or None where that is not possible, for instance without a C++
        compiler.
    """
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            graph = make_fx(lambda *given: function(*given), tracing_mode="fake")(*example)
            return torch._inductor.compile(graph, list(example))
    except Exception:  # whatever is missing, the function itself still works
        return None


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
