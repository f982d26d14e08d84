"""The cache: which runs share a file, and what is kept."""

import importlib
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import course_lib
from course_lib.data import TensorData
from course_lib.datasets import Digits
from course_lib.models import F1, MLP
from course_lib.training import fit
from zoo import ALONE, Counting, largest_difference

fit_module = importlib.import_module("course_lib.training.fit")  # the package names the function
SETTINGS = {"batch_size": 50, "seeds": [0, 1], "lr": 0.1, "max_steps": 2}
fit = partial(fit, progress=False)
ROOT = Path(course_lib.__file__).parents[1]


def keep(network, data, folder, **changes):
    return fit(network, data, cache=folder, **{**SETTINGS, **changes})


def files(folder):
    return sorted(each.name for each in Path(folder).iterdir())


def assert_told_apart(folder, runs):
    """Each run has a file of its own, and finds it again."""
    for number, run in enumerate(runs, 1):
        run()
        assert len(files(folder)) == number, f"run {number - 1} took another one's file"
    for run in runs:
        run()
    assert len(files(folder)) == len(runs)


def forbid_training(patched):
    """From now on, to train is an error."""

    def fail(*_, **__):
        raise AssertionError("a kept run was trained again")

    patched.setattr(fit_module, "_train", fail)


@pytest.fixture
def no_training(monkeypatch):
    return partial(forbid_training, monkeypatch)


# Networks.

SOURCE = """
import torch
from torch import nn
from torch.nn import functional as F

def activate(x):
    return F.relu(x)

class Net(nn.Module):
    def __init__(self, scale=1.0):
        super().__init__()
        self.first, self.last = nn.Linear(64, 8), nn.Linear(8, 10)
        self.norm, self.scale, self.change = nn.BatchNorm1d(8), scale, make_change(2.0)

    def forward(self, x, power=1.0):
        hidden = activate(self.norm(self.first(x.flatten(1))))
        return self.last(self.change(hidden) ** power) * self.scale

def make_change(factor):
    return lambda x: factor * x

def make():
    network = Net()
    return network
"""
CHANGES = {
    "a helper function": ("F.relu(x)", "torch.tanh(x)"),
    "a float attribute": ("scale=1.0", "scale=1.5"),
    "a closure's variable": ("make_change(2.0)", "make_change(3.0)"),
    "a default argument": ("power=1.0", "power=2.0"),
    "a frozen layer": ("return network", "network.first.requires_grad_(False); return network"),
    "eval mode of a layer": ("return network", "network.norm.eval(); return network"),
    "an option of a layer": ("nn.BatchNorm1d(8)", "nn.BatchNorm1d(8, momentum=0.2)"),
    "random numbers after its making": ("return network", "torch.rand(1); return network"),
}


def made_by(source, filename="<cell 1>"):
    space = {"__name__": "__main__"}
    exec(compile(source, filename, "exec"), space)
    return space["make"]


def test_networks_that_compute_other_things_are_told_apart(data, tmp_path):
    assert all(SOURCE.count(old) == 1 for old, _ in CHANGES.values())
    sources = [SOURCE, *(SOURCE.replace(*change) for change in CHANGES.values())]
    runs = [partial(keep, made_by(source), data, tmp_path) for source in sources]
    assert_told_apart(tmp_path, runs)


@pytest.mark.parametrize("others", [nn.Tanh, partial(nn.LeakyReLU, 0.2), nn.GELU])
def test_another_activation_is_told_apart(data, tmp_path, others):
    def network(activation):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), activation(), nn.Linear(8, 10))

    keep(partial(network, nn.LeakyReLU), data, tmp_path)
    keep(partial(network, others), data, tmp_path)
    assert len(files(tmp_path)) == 2


def test_the_same_code_elsewhere_finds_its_file(data, tmp_path, no_training):
    keep(made_by(SOURCE), data, tmp_path)
    no_training()
    keep(made_by("# A comment.\n\n\n" + SOURCE, "<cell 7>"), data, tmp_path)
    assert len(files(tmp_path)) == 1


def run_script(folder, text, **options):
    """Start a script that imports the same course_lib."""
    script = folder / "script.py"
    script.write_text(text)
    paths = os.environ | {"PYTHONPATH": str(ROOT), **options}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, str(script)], env=paths, text=True, **pipes)


def script_of(folder):
    return f"""{SOURCE}
from course_lib.datasets import Digits
from course_lib.training import fit

def run():
    data = Digits().part(200, 100)
    fit(make, data, cache={str(folder)!r}, progress=False, **{SETTINGS!r})
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["0", "77"])
def test_another_process_finds_the_file(data, tmp_path, no_training, seed):
    kept = tmp_path / "kept"
    process = run_script(tmp_path, f"{script_of(kept)}\nrun()", PYTHONHASHSEED=seed)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    before = files(kept)
    no_training()
    keep(made_by(SOURCE), data, kept)
    assert files(kept) == before and len(before) == 1


# Everything else that decides a result.


def squares(outputs, targets, **options):
    return F.mse_loss(outputs.softmax(1), F.one_hot(targets, 10).float(), **options)


def surely(outputs, targets):
    return outputs.softmax(1).amax(1)


def changed(data, **changes):
    parts = ("x_train", "y_train", "x_val", "y_val")
    tensors = {name: getattr(data, name).clone() for name in parts}
    return TensorData(**{**tensors, **changes})


SGD = torch.optim.SGD
OTHERS = {
    "nothing": {},
    "loss": {"loss": squares},
    "a loss's option": {"loss": partial(F.cross_entropy, label_smoothing=0.1)},
    "a loss's tensor": {"loss": partial(F.cross_entropy, weight=torch.arange(1.0, 11))},
    "metrics": {"metrics": surely},
    "a metric's name": {"metrics": {"certainty": surely}},
    "no metrics": {"metrics": {}},
    "learning rate": {"lr": 0.2},
    "batch size": {"batch_size": 60},
    "seeds": {"seeds": [1, 0]},
    "steps": {"max_steps": 3},
    "when to stop": {"stop_at": {"val_loss": 0.1}},
    "an option": {"momentum": 0.9},
    "an option of NumPy's": {"momentum": np.float32(0.8)},
    "a truth of NumPy's": {"momentum": 0.9, "nesterov": np.bool_(True)},
    "a partial": {"optimizer": partial(SGD, momentum=0.7)},
    "another partial": {"optimizer": partial(SGD, momentum=0.6)},
    "a lambda": {"optimizer": lambda parameters, lr: SGD(parameters, lr=lr, momentum=0.7)},
    "another lambda": {"optimizer": lambda parameters, lr: SGD(parameters, lr=lr, momentum=0.6)},
}


def test_other_arguments_are_told_apart(data, tmp_path):
    runs = [partial(keep, MLP, data, tmp_path, **changes) for changes in OTHERS.values()]
    assert_told_apart(tmp_path, runs)


def test_other_data_are_told_apart(data, tmp_path):
    x = data.x_train.clone()
    x[-1, 0, -1, -1] += 1
    others = [
        data,
        changed(data, x_train=x),
        changed(data, y_val=data.y_val.flip(0)),
        changed(data, drop_last=True, x_train=x),
        changed(data, split="seed"),
        changed(data, weights_train=torch.ones(200), weights_val=torch.ones(100)),
        changed(data, weights_train=torch.arange(200.0), weights_val=torch.ones(100)),
        changed(data, weights_train=torch.ones(200), weights_val=torch.arange(100.0)),
    ]
    assert_told_apart(tmp_path, [partial(keep, MLP, each, tmp_path) for each in others])


def test_equal_data_share_a_file(data, tmp_path, no_training):
    keep(MLP, data, tmp_path)
    no_training()
    keep(MLP, changed(data), tmp_path)


# What is kept.


@pytest.mark.parametrize("network", [MLP, partial(F1, shape=(1, 8, 8)), ALONE["dropout"]])
@pytest.mark.parametrize("split", ["fixed", "seed"])
def test_a_hit_equals_the_run(tmp_path, no_training, network, split):
    data = Digits(split=split).part(200, 100)
    first = keep(network, data, tmp_path)
    no_training()
    second = keep(network, data, tmp_path)
    pd.testing.assert_frame_equal(first.history, second.history, check_exact=True)
    assert first.history.attrs == second.history.attrs
    assert bool(first.history.attrs["one_by_one"]) == (network is ALONE["dropout"])
    for own, kept in zip(first.networks, second.networks, strict=True):
        assert largest_difference(own, kept) == 0
        assert not any(part.training for part in kept.modules())


def test_a_diverged_run_is_kept(data, tmp_path, no_training):
    first = keep(MLP, data, tmp_path, lr=1e25, max_steps=8)
    assert first.history.diverged.any()
    no_training()
    pd.testing.assert_frame_equal(
        first.history, keep(MLP, data, tmp_path, lr=1e25, max_steps=8).history, check_exact=True
    )


def test_networks_that_count_in_python_are_not_kept(data, tmp_path):
    with pytest.warns(UserWarning, match="numbers or lists that change"):
        keep(Counting, data, tmp_path / "kept")
    assert not list(tmp_path.rglob("*.pt"))
