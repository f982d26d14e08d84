"""Recording the operations of a function, and compiling them."""

import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

# Seconds of a run that must be left before one thinks of compiling; then as many times those
# that recording the operations took. (Compiling took 16 to 32 times as long as recording, and
# the compiled update an eighth to a half of the time of another.)
COMPILING_MAY_PAY, COMPILING_PAYS = 10.0, 50


class Compiler:
    """Compiles a function ``f(state, x, ...)`` for one shape of x, as soon as that pays.

    Attributes:
        function: the compiled function, or None.
        seconds: what compiling has taken.
    """

    def __init__(self):
        self.function, self.shape, self.seconds = None, None, 0.0
        self.pays_from = COMPILING_MAY_PAY

    def is_for(self, x: Tensor) -> bool:
        """Whether the compiled function takes samples of this shape."""
        return self.function is not None and x.shape == self.shape

    def compile_if_it_pays(self, function: Callable, example: tuple, rest: float) -> None:
        """Compile where the rest of the run is long, in seconds without compiling."""
        if self.shape is not None or rest <= self.pays_from:
            return
        started = time.perf_counter()
        operations = recorded(function, example)
        self.pays_from = COMPILING_PAYS * (time.perf_counter() - started)
        if rest > self.pays_from:
            self.shape = example[1].shape
            self.function = compiled(operations, example)
        self.seconds += time.perf_counter() - started


def recorded(function: Callable, example: tuple) -> GraphModule | None:
    """The operations that a function issues for arguments of the example's shapes and strides.

    Args:
        function: takes and returns tensors, or collections of them; has no branches that
            depend on their values.
        example: its arguments.

    Returns:
        The operations, or None where the function cannot be recorded.
    """
    try:
        with torch.no_grad():
            return make_fx(lambda *given: function(*given), tracing_mode="fake")(*example)
    except Exception:  # whatever is in the way, the function itself still works
        return None


def compiled(operations: GraphModule | None, example: tuple) -> Callable | None:
    """Recorded operations, compiled by TorchInductor.

    Calling the result skips Python's and autograd's work on each of them, and most of them are
    fused.

    Returns:
        The compiled function, or None where that is not possible, for instance without a C++
        compiler.
    """
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            # Vectorizing is left to the C++ compiler: equally fast code, compiled in less time.
            options = {"cpp.vec_isa_ok": False}
            return torch._inductor.compile(operations, list(example), options=options)
    except Exception:  # whatever is missing, the function itself still works
        return None
