"""When the operations of a function are recorded and compiled, and where compiled ones are kept."""

import copy
import hashlib
import os
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import platformdirs
import torch
from torch import Tensor, fx
from torch.fx import GraphModule, Node

from course_lib import internals
from course_lib.training.meaning import meaning

# Calls that make up for recording, which takes as long as a few hundred of them, and for compiling,
# which takes five seconds and more; next to nothing where this machine has compiled the same
# operations before. Numbers of calls, not seconds: the length of a run alone decides.
RECORDING_PAYS, COMPILING_PAYS = 300, 15_000

# Vector instructions are believed from the processor's own list; to try each of them out would
# take longer than compiling.
OPTIONS = {"cpp.vec_isa_ok": True, "cpp.threads": 1}

DIGEST_BYTES = 32  # of the SHA-256 that a file ends with: a damaged one would end the process

Function = Callable[..., Sequence[Tensor]]


class Graph:
    """A function of tensors, replaced by its recorded or compiled operations where that pays.

    Both skip Python's and autograd's work on each operation; the compiled ones are fused as well.
    The results are the same up to rounding (a relative error of about 1e-6 a call). All calls are
    with tensors of the same shapes.

    Args:
        function: takes and returns tensors, may change those it takes, and has no branches that
            depend on their values.

    Attributes:
        compiled: whether calls run compiled operations.
        seconds: what recording and compiling have taken.
    """

    def __init__(self, function: Function, hopeless: set[str] | None = None):
        self.function, self.hopeless = function, set() if hopeless is None else hopeless
        self.operations: GraphModule | None = None
        self.compiled, self.seconds = False, 0.0
        self._tried: set[str] = set()

    def __call__(self, *tensors: Tensor) -> Sequence[Tensor]:
        return self.function(*tensors)

    def prepare(self, example: Sequence[Tensor], calls: int) -> None:
        """Record and compile where so many calls to come make up for it."""
        started = time.perf_counter()
        if calls >= RECORDING_PAYS and self._first("recorded"):
            self._record(example)
        if calls >= COMPILING_PAYS and self.operations and self._first("compiled"):
            self._compile(self.operations, example)
        self.seconds += time.perf_counter() - started

    def _first(self, step: str) -> bool:
        first = step not in self._tried | self.hopeless
        self._tried.add(step)
        return first

    def _record(self, example: Sequence[Tensor]) -> None:
        try:
            operations = internals.recorded(self.function, example)
        except Exception as error:  # whatever is in the way, the function itself still works
            _warn("recorded", error)
            return
        self.operations, self.function = operations, _callable(operations).forward
        self._load(_file(operations, example))

    def _compile(self, operations: GraphModule, example: Sequence[Tensor]) -> None:
        """Compile into a folder of its own first, so that no other process finds half a file."""
        if self.compiled or any(tensor.device.type != "cpu" for tensor in example):
            return
        file = _file(operations, example)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=file.parent) as folder:
                internals.compiled(operations, example, OPTIONS, Path(folder, "made.so"))
                made = Path(folder, "made.so")
                content = made.read_bytes()
                made.write_bytes(content + hashlib.sha256(content).digest())  # a loader skips it
                made.replace(file)
        except Exception as error:  # whatever is missing, the recorded operations still work
            self.hopeless.add("compiled")
            _warn("compiled", error)
        else:
            self._load(file)

    def _load(self, file: Path) -> None:
        """Use what this machine has compiled before."""
        if file.exists():
            try:
                content = file.read_bytes()
                if hashlib.sha256(content[:-DIGEST_BYTES]).digest() != content[-DIGEST_BYTES:]:
                    file.unlink()
                    raise ValueError(f"{file} was damaged, and is deleted")
                self.function, self.compiled = internals.runner(file), True
            except Exception as error:
                _warn("loaded", error)


def _warn(done: str, error: Exception) -> None:
    warnings.warn(
        f"operations could not be {done}, so training is slower: {type(error).__name__}: "
        f"{str(error)[:200]}",
        stacklevel=5,
    )


def _callable(operations: GraphModule) -> GraphModule:
    """The same for calls one by one, of tensors as they really lie in memory.

    The compiler gets what was recorded: it needs none of this, and sometimes fails with it.
    """
    graph = copy.deepcopy(operations.graph)
    _drop_idle(graph)
    _reshape(graph)
    return GraphModule(operations, graph)


def _drop_idle(graph: fx.Graph) -> None:
    """Drop what only passes its first argument on, and marks for a profiler."""
    aten = torch.ops.aten
    passing = {aten.detach.default, aten.alias.default, aten.expand.default}
    passing |= {aten.view.default, internals.UNSAFE_VIEW}
    for node in reversed(graph.nodes):
        if "record_function" in str(node.target):
            graph.erase_node(node)
    for node in list(graph.nodes):
        if node.target in passing and _form(node) == _form(node.args[0]):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)


def _reshape(graph: fx.Graph) -> None:
    """Reshape, where that is the same, instead of taking a view.

    Views are recorded for the memory layouts that PyTorch foretells, and fail for some of those
    that convolutions really make. What is changed in place keeps them: a copy would not change.
    """
    changed = {_shown(each) for node in graph.nodes for each in internals.changed_by(node)}
    for node in graph.nodes:
        if node.target is torch.ops.aten.view.default and _shown(node) not in changed:
            node.target = torch.ops.aten.reshape.default


def _shown(node: Node) -> Node:
    """The node in whose memory a view lies."""
    while (first := internals.shown_by(node)) is not None:
        node = first
    return node


def _form(node: Node) -> tuple:
    value = node.meta["val"]
    return value.shape, value.stride(), value.dtype


def _file(operations: GraphModule, example: Sequence[Tensor]) -> Path:
    """Where compiled operations lie: in TORCHINDUCTOR_CACHE_DIR, or in the user's cache folder."""
    folder = os.environ.get("TORCHINDUCTOR_CACHE_DIR") or platformdirs.user_cache_dir("course_lib")
    forms = [(tuple(each.shape), each.stride(), each.dtype, each.device) for each in example]
    key = [operations.code, forms, OPTIONS, torch.__version__, _processor()]
    digest = hashlib.sha256(repr(key).encode())
    digest.update(meaning([*operations.buffers(), *operations.parameters()]))
    return Path(folder) / "compiled" / f"{digest.hexdigest()[:32]}.so"


@cache
def _processor() -> str:
    """The processor's instructions: what is compiled for some fails on a processor without them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
