"""To which digit two runs with the same seed agree.

On the same path they are the same, bit for bit. There are three: each operation is called from
Python, all are recorded, or they are compiled, too. The length of a run decides which one it
takes, and for short ones whether this machine has compiled the same operations before.
"""

from functools import partial

import pandas as pd
import pytest
import torch

from course_lib.datasets import Digits
from course_lib.models import F1, MLP, LeNet
from course_lib.training import cohort, compiling, fit
from test_cohort import needs_compiler
from test_oracle import OPTIMIZERS, slow
from zoo import ALONE

NEVER = 10**9
# From how many calls on operations are recorded, and compiled.
PATHS = {"called": (NEVER, NEVER), "recorded": (0, NEVER), "compiled": (0, 1)}
NETWORKS = {"MLP": MLP, "LeNet": LeNet, "F1": partial(F1, shape=(1, 8, 8))}
# Updates, and by how much (of a tensor's largest weight) compiled ones may differ then: 2, 4 and 20
# times what was measured with MLP. Later rounding errors grow as training lets them: after 1000
# updates it is 2e-6 with momentum and 1e-3 with RMSprop, whose gradients are almost 0 by then.
AGREEMENT = {10: 2e-6, 100: 1e-5}


@pytest.fixture(scope="module")
def digits():
    return Digits().part(320, 100)


@pytest.fixture
def along(digits, monkeypatch, tmp_path):
    """Train along one of the paths; what is compiled lies in a folder of this test's own."""

    def train(path, network=MLP, optimizer="momentum", steps=100, folder="inductor"):
        recording, compiled = PATHS[path]
        monkeypatch.setattr(compiling, "RECORDING_PAYS", recording)
        monkeypatch.setattr(compiling, "COMPILING_PAYS", compiled)
        monkeypatch.setattr(cohort, "EVALUATION_WORTH", 0)
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / folder / path))
        kind, options = OPTIMIZERS[optimizer]
        settings = {"batch_size": 32, "seeds": [3, 0], "optimizer": kind, "max_steps": steps}
        run = fit(network, digits, progress=False, **settings, **options)
        assert run.history.attrs["compiled"] == (path == "compiled")
        return run

    return train


def weights(run):
    return [dict(network.named_parameters()) for network in run.networks]


def assert_same_bits(first, second):
    histories = [run.history.drop(columns="seconds") for run in (first, second)]
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    for own, other in zip(weights(first), weights(second), strict=True):
        assert all(torch.equal(own[name], other[name]) for name in own | other)


def difference(first, second):
    """The largest one between two weights, in units of the largest weight of their tensor."""
    pairs = zip(weights(first), weights(second), strict=True)
    return max(
        ((own[name] - other[name]).abs().max() / other[name].abs().max()).item()
        for own, other in pairs
        for name in own
    )


@pytest.mark.parametrize("path", ["called", "recorded"])
@pytest.mark.parametrize(
    "network",
    [MLP, *(slow(NETWORKS[each]) for each in ("LeNet", "F1"))],
)
def test_two_runs_on_the_same_path_have_the_same_bits(along, network, path):
    assert_same_bits(along(path, network, steps=20), along(path, network, steps=20))


@pytest.mark.parametrize("network", ["dropout", "LSTM"])
def test_two_runs_one_by_one_have_the_same_bits(along, network):
    assert_same_bits(along("called", ALONE[network]), along("called", ALONE[network]))


@pytest.mark.slow
@needs_compiler
def test_two_compiled_runs_have_the_same_bits(along):
    """Compiled once, or each by itself."""
    runs = [along("compiled", folder=folder) for folder in ("one", "one", "two")]
    for other in runs[1:]:
        assert_same_bits(runs[0], other)


@pytest.mark.parametrize("optimizer", ["momentum", *map(slow, ["SGD", "Nesterov", "RMSprop"])])
def test_to_record_changes_no_bit(along, optimizer):
    assert_same_bits(along("called", MLP, optimizer), along("recorded", MLP, optimizer))


@pytest.mark.parametrize("steps", AGREEMENT)
@pytest.mark.parametrize("optimizer", [slow("Adam"), "AdamW"])
def test_recorded_adam_agrees(along, optimizer, steps):
    """PyTorch computes its step size from a tensor there, in another order."""
    called, recorded = (along(path, MLP, optimizer, steps) for path in ("called", "recorded"))
    assert 0 < difference(recorded, called) < AGREEMENT[steps]


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("optimizer", ["SGD", "momentum", "Adam", "AdamW", "RMSprop"])
def test_compiled_runs_agree(along, optimizer):
    for steps, tolerance in AGREEMENT.items():
        called, compiled = (along(path, MLP, optimizer, steps) for path in ("called", "compiled"))
        assert difference(compiled, called) < tolerance
        losses = called.history.train_loss, compiled.history.train_loss
        assert losses[1].tolist() == pytest.approx(losses[0].tolist(), rel=2 * tolerance)
