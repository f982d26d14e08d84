"""`meaning`: what changes what a thing computes, and what does not."""

import random
import re
import subprocess
import sys
import types
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache, partial
from operator import methodcaller
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import get_ema_multi_avg_fn

from course_lib.training.meaning import meaning

HEAD = """
import torch
from torch import nn
from torch.nn import functional as F

scale = 2.0

def helper(x):
    return F.relu(x) * scale

class Net(nn.Module):
    slope = 0.1

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.rate = 0.5

    def forward(self, x, power=2):
        return helper(self.layer(x)) ** power * self.rate

    @property
    def double(self):
        return self.rate * 2

def make():
    torch.manual_seed(0)
    return Net()
"""
UNCHANGED = {
    "docstring of a function": ("def helper(x):", 'def helper(x):\n    "Says another thing."'),
    "docstring of a class": ("class Net(nn.Module):", 'class Net(nn.Module):\n    "A net."'),
    "docstring of a property": ("def double(self):", 'def double(self):\n        "Twice."'),
    "annotation": ("def helper(x):", "def helper(x: torch.Tensor) -> torch.Tensor:"),
    "annotation of a class": ("slope = 0.1", "slope: float = 0.1"),
    "comment": ("def helper(x):", "def helper(x):\n    # says what it does"),
    "line numbers": ("scale = 2.0", "scale = 2.0\n\n\n"),
    "a global that nothing names": ("scale = 2.0", "scale = 2.0\nother = 3"),
}
CHANGED = {
    "function in the forward pass": ("helper(self.layer(x))", "torch.tanh(self.layer(x))"),
    "helper": ("F.relu(x)", "F.elu(x)"),
    "number in a helper": ("* scale", "* scale + 1"),
    "global of a helper": ("scale = 2.0", "scale = 2.5"),
    "attribute": ("self.rate = 0.5", "self.rate = 0.25"),
    "class attribute": ("slope = 0.1", "slope = 0.2"),
    "default": ("power=2", "power=3"),
    "property": ("self.rate * 2", "self.rate * 3"),
    "weights": ("manual_seed(0)", "manual_seed(1)"),
    "base class": ("class Net(nn.Module)", "class Net(nn.Identity)"),
}


def words(thing):
    return list(meaning(thing))


def network_of(source, filename="<cell 1>"):
    space = {"__name__": "__main__"}
    exec(compile(source, filename, "exec"), space)
    return space["make"]()


@pytest.mark.parametrize("change", UNCHANGED.values(), ids=UNCHANGED)
def test_what_computes_nothing_does_not_count(change):
    assert HEAD.count(change[0]) == 1
    assert words(network_of(HEAD)) == words(network_of(HEAD.replace(*change), "<cell 2>"))


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED)
def test_what_computes_counts(change):
    assert HEAD.count(change[0]) == 1
    assert words(network_of(HEAD)) != words(network_of(HEAD.replace(*change)))


def test_docstring_of_another_wording_does_not_count():
    first = HEAD.replace("def helper(x):", 'def helper(x):\n    "One."')
    assert words(network_of(first)) == words(network_of(first.replace("One.", "Another.")))


def stack(*activations):
    torch.manual_seed(0)
    layers = [layer for each in activations for layer in (nn.Linear(4, 4), each)]
    return nn.Sequential(nn.Flatten(), *layers)


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
@pytest.mark.parametrize("others", [nn.Tanh(), nn.LeakyReLU(0.3), nn.Dropout(0.1)], ids=repr)
def test_each_layer_of_a_network_counts(depth, others):
    plain = [nn.LeakyReLU(0.2)] * depth
    changed = [[*plain[:i], others, *plain[i + 1 :]] for i in range(depth)]
    meanings = {repr(words(stack(*each))) for each in [plain, *changed]}
    assert len(meanings) == depth + 1


def test_meaning_is_the_same_each_time():
    networks = [stack(nn.ReLU(), nn.Tanh(), nn.Dropout(0.3)) for _ in range(20)]
    assert len({repr(words(each)) for each in networks}) == 1


def changed_network(change):
    network = stack(nn.ReLU(), nn.Tanh())
    change(network)
    return network


@pytest.mark.parametrize(
    "change",
    [
        lambda net: net[1].weight.requires_grad_(False),
        lambda net: net[4].eval(),
        lambda net: net[1].register_forward_hook(lambda module, given, output: 2 * output),
        lambda net: net[1].register_forward_pre_hook(lambda module, given: given),
        lambda net: net[3].register_full_backward_hook(lambda module, found, given: None),
        lambda net: net[3].weight.register_hook(lambda gradient: gradient / 2),
        lambda net: net.append(net[2]),
        lambda net: net[1].register_buffer("mask", torch.ones(4)),
        lambda net: setattr(net[3], "weight", net[1].weight),
        lambda net: setattr(net, "forward", net[0].forward),
        lambda net: setattr(net[2], "inplace", True),
    ],
    ids=[
        *("frozen", "eval mode", "forward hook", "forward pre hook", "backward hook"),
        *("gradient hook", "a layer twice", "buffer", "tied", "forward of another", "in place"),
    ],
)
def test_state_of_a_network_counts(change):
    assert words(changed_network(change)) != words(changed_network(lambda net: None))


def test_numbers_of_hooks_do_not_count():
    """PyTorch counts all hooks of a process."""
    hook = methodcaller("relu")
    first, second = (
        changed_network(lambda net: net[1].register_forward_pre_hook(hook)) for _ in range(2)
    )
    assert words(first) == words(second)


def closure(value):
    return lambda x: x * value


@lru_cache
def cached(x):
    return x + 1


@dataclass(slots=True)
class Slots:
    rate: float


class PlainSlots:
    __slots__ = ("rate",)

    def __init__(self, rate):
        self.rate = rate


@dataclass
class Scaled:
    scale: float

    def __call__(self, x):
        return x * self.scale

    def other(self, x):
        return x + self.scale


def generator(seed):
    return torch.Generator().manual_seed(seed)


PAIRS = {
    "numbers": (1, 2),
    "kinds of numbers": (1, 1.0),
    "a number and its text": (1, "1"),
    "true and one": (True, 1),
    "NumPy's floats": (np.float32(0.1), np.float32(0.2)),
    "NumPy's bools": (np.bool_(True), np.bool_(False)),
    "nesting": ([[1], 2], [[1, 2]]),
    "nesting in tuples": (((1, 2), 3), ((1,), 2, 3)),
    "lists and tuples": ([1], (1,)),
    "keys": ({"a": 1}, {"b": 1}),
    "sets": ({1, 2}, {1, 3}),
    "dtypes": (torch.float32, torch.float64),
    "dtypes of tensors": (torch.zeros(2), torch.zeros(2, dtype=torch.int32)),
    "shapes": (torch.zeros(2, 3), torch.zeros(3, 2)),
    "last element": (torch.zeros(10_000), torch.zeros(10_000).index_fill(0, torch.tensor(9999), 1)),
    "bfloat16": (torch.zeros(2).bfloat16(), torch.ones(2).bfloat16()),
    "sparse": (torch.eye(3).to_sparse(), torch.ones(3, 3).to_sparse()),
    "a conjugate": (torch.tensor([1j]), torch.tensor([1j]).conj()),
    "arrays": (np.arange(4), np.arange(4)[::-1]),
    "arrays of objects": (np.array([1, None]), np.array([2, None])),
    "lambdas": (lambda x: x + 1, lambda x: x + 2),
    "arguments": (lambda a: a, lambda *a: a),
    "names": (lambda x: x.relu(), lambda x: x.tanh()),
    "closures": (closure(1), closure(2)),
    "closures over functions": (closure(torch.relu), closure(torch.tanh)),
    "partials": (partial(F.leaky_relu, negative_slope=1), partial(F.leaky_relu, negative_slope=2)),
    "partials of others": (partial(torch.relu), partial(torch.tanh)),
    "functions of libraries": (torch.sin, torch.cos),
    "functions that a library makes": (get_ema_multi_avg_fn(0.9), get_ema_multi_avg_fn(0.5)),
    "functions that a library dispatches": (F.max_pool2d, F.max_pool3d),
    "classes of one name": (nn.LSTM, torch.ao.nn.quantizable.LSTM),
    "bound methods": (Scaled(1).other, Scaled(2).other),
    "methods of one object": (Scaled(1).other, Scaled(1).__call__),
    "bound methods of libraries": (
        nn.CrossEntropyLoss().forward,
        nn.CrossEntropyLoss(label_smoothing=0.1).forward,
    ),
    "bound built-in methods": (torch.zeros(2).add, torch.ones(2).add),
    "objects that can be called": (Scaled(1), Scaled(2)),
    "objects of libraries": (np.vectorize(abs), np.vectorize(round)),
    "methods by name": (methodcaller("relu"), methodcaller("tanh")),
    "slots": (Slots(1), Slots(2)),
    "slots without a text": (PlainSlots(1), PlainSlots(2)),
    "generators": (generator(1), generator(2)),
    "Python's generators": (random.Random(1), random.Random(2)),
    "ordered dicts": (OrderedDict(a=1, b=2), OrderedDict(b=2, a=1)),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_things_are_told_apart(pair):
    first, second = map(words, pair)
    assert first != second
    assert [first, second] == list(map(words, pair))


EQUAL = {
    "closures": (closure(1), closure(1)),
    "objects of libraries": (np.vectorize(abs), np.vectorize(abs)),
    "objects": (Scaled(1), Scaled(1)),
    "slots": (PlainSlots(1), PlainSlots(1)),
    "memory layout": (torch.arange(6).view(2, 3), torch.tensor([[0, 3], [1, 4], [2, 5]]).T),
    "a part that is met twice": ([part := (1, 2), part], [(1, 2), (0, 1, 2)[1:]]),
    "a list that is met twice": ([part := [1, 2], part], [[1, 2], [1, 2]]),
}


@pytest.mark.parametrize("pair", EQUAL.values(), ids=EQUAL)
def test_equal_things_are_the_same(pair):
    assert words(pair[0]) == words(pair[1])


def test_a_function_stays_the_same_once_it_is_hot():
    before = words(cached), words(closure)
    for number in range(2000):
        cached(number), closure(number)(number)
    assert before == (words(cached), words(closure))


def test_own_modules_count_by_what_is_named(monkeypatch, tmp_path):
    helpers = types.ModuleType("own_helpers")
    helpers.__file__ = str(tmp_path / "own_helpers.py")
    monkeypatch.setitem(sys.modules, "own_helpers", helpers)
    package = types.ModuleType("own_package")
    package.__file__, package.inner = str(tmp_path / "own_package/__init__.py"), helpers
    monkeypatch.setitem(sys.modules, "own_package", package)

    def meanings(body, other):
        exec(f"def activate(x): return {body}\ndef other(x): return {other}", vars(helpers))
        space = {"own_helpers": helpers, "own_package": package}
        exec("def one(x): return own_helpers.activate(x)", space)
        exec("def two(x): return own_package.inner.activate(x)", space)
        return words(space["one"]), words(space["two"])

    first, second, same = meanings("x", "x"), meanings("-x", "x"), meanings("x", "-x")
    assert first[0] != second[0] and first[1] != second[1] and first == same


def recursive(n):
    return n and recursive(n - 1)


def even(n):
    return n == 0 or odd(n - 1)


def odd(n):
    return n != 0 and even(n - 1)


def test_what_holds_itself_ends():
    class Parent:
        def __init__(self, value):
            self.me, self.value = self, value

        def again(self):
            return Parent(self.value)

    ring, mapping = [], {}
    ring.append(ring)
    mapping["self"] = mapping
    network = nn.Linear(2, 2)
    network.__dict__["owner"] = {"of": network}
    for thing in (ring, mapping, network, recursive, even, Parent, Parent(1)):
        assert words(thing) == words(thing)
    assert words(even) != words(odd)
    assert words(Parent(1)) != words(Parent(2))


def test_a_class_that_is_deep_in_a_library_counts_by_name():
    assert words(nn.Transformer) == words(nn.Transformer)
    assert len(b"".join(bytes([w]) if isinstance(w, int) else w for w in meaning(nn.Module))) < 500


@pytest.mark.parametrize("seed", [pytest.param("0", marks=pytest.mark.slow), "77"])
def test_another_process_finds_the_same(tmp_path, seed):
    """With another order of sets."""
    source = HEAD.replace("self.rate = 0.5", "self.rate, self.kinds = 0.5, {'a', 'b', 'c', 'd'}")
    Path(tmp_path, "other.py").write_text(
        f"{source}\nfrom course_lib.training.meaning import meaning\nprint(list(meaning(make())))"
    )
    command = [sys.executable, str(tmp_path / "other.py")]
    paths = {"PYTHONPATH": str(Path(meaning.__globals__["__file__"]).parents[2])}
    found = subprocess.run(
        command, env={**paths, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
    )
    assert re.sub(r"\s", "", found.stdout) == re.sub(r"\s", "", str(words(network_of(source))))
