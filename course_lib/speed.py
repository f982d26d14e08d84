"""What makes small networks fast: a compiled step, and one thread."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch.fx.experimental.proxy_tensor import make_fx

# Multiplications of a forward pass; below, a second thread gains a third at most (measured on 2
# cores), and loses much where the cores are busy.
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
def threads_for(multiplications: int) -> Iterator[int]:
    """One thread for small work: sharing it out would cost more than it saves."""
    available = torch.get_num_threads()
    threads = 1 if multiplications < ONE_THREAD_BELOW else available
    torch.set_num_threads(threads)
    try:
        yield threads
    finally:
        torch.set_num_threads(available)
