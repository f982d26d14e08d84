"""What a thing computes, as bytes: the same in another process, other when its code is other."""

import hashlib
import inspect
import re
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Set
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.internals import gradient_hooks

LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})
# What a class keeps beside its own members: where it was written, and for whom.
BOOKKEEPING = {"__dict__", "__weakref__", "__doc__", "__module__", "__annotations__"}
BOOKKEEPING |= {"__firstlineno__", "__static_attributes__", "__annotate__", "__annotate_func__"}
ADDRESS = re.compile(r" at 0x[0-9a-f]+")
PLAIN = str | bytes | int | float | complex | bool | None | torch.dtype

Known = dict[int, tuple[Any, bytes]]  # what has been met, and so stays alive, and its digest


def meaning(thing: Any) -> bytes:
    """The SHA-256 of all that decides what a thing computes.

    Of functions and classes that is their code, with the defaults, the variables of enclosing
    functions and the globals that it names, those of one's own modules, too; of modules their
    class, their tensors, hooks and all other attributes; of tensors and arrays their numbers. What
    belongs to an installed library counts by its name alone, since its version is counted
    elsewhere. Names that a function imports itself are not followed.
    """
    return _digest(thing, {})


def _digest(thing: Any, known: Known) -> bytes:
    if id(thing) in known:
        return known[id(thing)][1]
    known[id(thing)] = thing, b"itself"
    digest = hashlib.sha256(type(thing).__qualname__.encode())
    if isinstance(thing, PLAIN):
        digest.update(repr(thing).encode())
    elif isinstance(thing, Tensor) or isinstance(thing, np.ndarray) and not thing.dtype.hasobject:
        for word in _numbers(thing):
            digest.update(word)
    else:
        parts = [_digest(part, known) for part in _parts(thing)]
        digest.update(b"".join(sorted(parts) if isinstance(thing, Set) else parts))
    known[id(thing)] = thing, digest.digest()
    return digest.digest()


def _parts(thing: Any) -> Iterator[Any]:
    if isinstance(thing, Mapping):
        yield from (part for pair in thing.items() for part in pair)
    elif isinstance(thing, list | tuple | Set | np.ndarray):
        yield from thing.tolist() if isinstance(thing, np.ndarray) else thing
    elif isinstance(thing, partial):
        yield from (thing.func, thing.args, thing.keywords)
    elif isinstance(thing, nn.Module):
        yield from _module(thing)
    elif isinstance(thing, CodeType):
        yield from _code(thing)
    elif isinstance(thing, ModuleType):
        yield thing.__name__
    elif isinstance(thing, BuiltinFunctionType):
        yield from (thing.__module__, thing.__qualname__, getattr(thing, "__self__", None))
    elif isinstance(thing, type | FunctionType) and _in_a_library(thing):
        yield from (thing.__module__, thing.__qualname__)
        if "<locals>" in thing.__qualname__:
            yield from _enclosed(thing)
    elif isinstance(thing, FunctionType):
        yield from _function(thing)
    elif isinstance(thing, MethodType):
        yield from (thing.__func__, thing.__self__)
    elif isinstance(thing, type):
        yield from (thing.__qualname__, *thing.__bases__)
        yield from _members(vars(thing))
    elif isinstance(thing, property | staticmethod | classmethod):
        yield from (getattr(thing, name, None) for name in ("fget", "__func__"))
    else:
        yield from (type(thing), *_state(thing))


def _state(thing: Any) -> list[Any]:
    """What an object holds, as it is pickled; where it cannot be, its attributes and its text."""
    with suppress(Exception):
        if isinstance(reduced := thing.__reduce_ex__(4), tuple):
            return [list(part) if isinstance(part, Iterator) else part for part in reduced]
    return [getattr(thing, "__dict__", None), ADDRESS.sub("", repr(thing))]


def _module(module: nn.Module) -> Iterator[Any]:
    """Its class, the form and the tensors of all modules in it, and their other attributes."""
    yield from (type(module), dict(module.named_parameters()), dict(module.named_buffers()))
    for parameter in module.parameters():
        yield parameter.requires_grad, gradient_hooks(parameter)
    private = vars(nn.Module()).keys() - {"training"}
    for name, inner in module.named_modules(remove_duplicate=False):
        own = {key: value for key, value in vars(inner).items() if key not in private}
        hooks = [list(v.values()) for key, v in vars(inner).items() if key.endswith("_hooks")]
        yield name, type(inner), own, hooks


def _code(code: CodeType) -> Iterator[Any]:
    """What it does, without its docstring and its place in a file."""
    constants = list(code.co_consts)
    makes_function = code.co_flags & inspect.CO_OPTIMIZED and not code.co_name.startswith("<")
    if makes_function and constants and isinstance(constants[0], str):
        constants[0] = None
    yield from (code.co_code, code.co_exceptiontable, code.co_flags, code.co_names, constants)
    yield from (code.co_varnames, code.co_argcount, code.co_posonlyargcount)
    yield code.co_kwonlyargcount


def _function(function: FunctionType) -> Iterator[Any]:
    """Its code, and whatever it finds in its surroundings."""
    yield from (function.__code__, function.__defaults__, function.__kwdefaults__)
    yield from _enclosed(function)
    names, spaces = sorted(_names(function.__code__)), [function.__globals__]
    for space in spaces:  # which grows by the modules that it names
        for name in names:
            if name in space:
                yield name, space[name]
                module = isinstance(space[name], ModuleType) and not _in_a_library(space[name])
                if module and all(vars(space[name]) is not other for other in spaces):
                    spaces.append(vars(space[name]))


def _enclosed(function: Any) -> Iterator[Any]:
    for cell in getattr(function, "__closure__", None) or ():
        try:
            yield cell.cell_contents
        except ValueError:  # a variable that has no value yet
            yield None


def _names(code: CodeType) -> set[str]:
    inner = (_names(each) for each in code.co_consts if isinstance(each, CodeType))
    return set(code.co_names).union(*inner)


def _members(attributes: Mapping[str, Any]) -> Iterator[Any]:
    """A class's own names and what they stand for, in the order of the names."""
    for name in sorted(attributes.keys() - BOOKKEEPING):
        yield from (name, attributes[name])


def _in_a_library(thing: Any) -> bool:
    """Whether a function, class or module is part of Python or of an installed package."""
    name = thing.__name__ if isinstance(thing, ModuleType) else thing.__module__
    module = sys.modules.get(name or "")
    if module is None or module.__name__ == "__main__":
        return False
    file = getattr(module, "__file__", None)
    installed = {"site-packages", "dist-packages"}
    return not file or file.startswith(LIBRARIES) or not installed.isdisjoint(Path(file).parts)


def _numbers(values: Tensor | np.ndarray) -> Iterator[bytes]:
    yield repr((tuple(values.shape), values.dtype)).encode()
    if isinstance(values, np.ndarray):
        yield np.ascontiguousarray(values).tobytes()
        return
    values = values.detach().cpu()
    values = (values.to_dense() if values.layout is not torch.strided else values).resolve_conj()
    yield values.resolve_neg().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
