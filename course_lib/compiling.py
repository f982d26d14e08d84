"""Compiling a function of tensors, where there is a compiler."""

import warnings
from collections.abc import Callable

import torch
from torch.fx.experimental.proxy_tensor import make_fx


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
