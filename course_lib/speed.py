"""What makes small networks fast: a compiled step, products for convolutions, one thread."""

import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

# Multiplications of a forward pass; below, a second thread gains a third at most (on 2 cores).
ONE_THREAD_BELOW = 2e7

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


class ConvolutionsAsProducts(TorchFunctionMode):
    """Inside, ``F.conv2d`` is a product of the weights with a matrix of all patches.

    For `vmap`: it makes of S convolutions a grouped one, for which PyTorch is several times
    slower on a CPU than for S products. Grouped convolutions, and paddings given by name, stay
    as they are. Source: Chellapilla, Puri and Simard 2006, "High performance convolutional
    neural networks for document processing".
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is F.conv2d and not kwargs and args[-1] == 1 and not isinstance(args[4], str):
            return _convolution(*args[:-1])
        return function(*args, **(kwargs or {}))


def _convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple, padding: tuple, dilation: tuple
) -> Tensor:
    """Samples come last in memory, so that all copies are of long runs."""
    (s, t), (p, q), (d, e), (k, m) = stride, padding, dilation, weight.shape[2:]
    x = F.pad(x.permute(1, 2, 3, 0), (0, 0, q, q, p, p))
    height, width = (x.shape[1] - d * (k - 1) - 1) // s + 1, (x.shape[2] - e * (m - 1) - 1) // t + 1
    rows = [slice(d * i, d * i + s * (height - 1) + 1, s) for i in range(k)]
    columns = [slice(e * j, e * j + t * (width - 1) + 1, t) for j in range(m)]
    patches = torch.stack([x[:, row, column] for row in rows for column in columns], 1)
    outputs = weight.flatten(1) @ patches.reshape(weight[0].numel(), -1)
    outputs = outputs if bias is None else outputs + bias[:, None]
    return outputs.unflatten(1, (height, width, -1)).permute(3, 0, 1, 2)


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
