"""The ways to make an update: stacked, recorded, compiled, one by one. All take the same steps."""

import shutil
import warnings
from functools import partial
from itertools import product

import pandas as pd
import pytest
import torch
from pytorch_lightning import Callback
from torch import nn

import course_lib.training.batches as batches_module
import course_lib.training.cohort as cohort_module
import course_lib.training.compiling as compiling_module
from course_lib import internals
from course_lib.data import TensorData
from course_lib.models import MLP
from course_lib.training import fit
from course_lib.training.replicas import Replicas
from test_oracle import SEEDS, assert_equals_loop, slow
from zoo import ALONE, KINDS, STACKED, hand_written_loop, largest_difference, noisy_digits

fit = partial(fit, progress=False)
COMPILER = any(map(shutil.which, ["c++", "g++", "clang++", "cl"]))
needs_compiler = pytest.mark.skipif(not COMPILER, reason="there is no C++ compiler")


@pytest.fixture(scope="module")
def noisy():
    return noisy_digits()


@pytest.fixture
def without_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def weighted_digits() -> TensorData:
    weights = torch.linspace(0.1, 2, 200)
    return noisy_digits(weights_train=weights[:150], weights_val=weights[150:], split="seed")


QUICK = [("MLP", "momentum"), ("MLP", "AdamW"), ("MLP", "RMSprop"), ("F1", "momentum")]
OTHERS = [*product(["MLP"], ["SGD", "Nesterov", "Adam", "Rprop"]), ("F1", "AdamW")]


@pytest.mark.parametrize(("network", "optimizer"), [*QUICK, *(slow(*each) for each in OTHERS)])
def test_recorded_replica_equals_hand_written_loop(
    float64, recording, without_warnings, network, optimizer
):
    assert_equals_loop(STACKED[network], noisy_digits(), 1e-9, optimizer=optimizer, batch_size=16)
    assert len(recording) == 4  # whole and ragged batches, both evaluations


@pytest.mark.parametrize("network", ["LeNet", "tied", slow("frozen"), slow("unused")])
def test_recorded_networks_equal_hand_written_loop(float64, recording, network):
    assert_equals_loop(STACKED[network], noisy_digits(), 1e-9, batch_size=16)
    assert len(recording) == 4


@pytest.mark.parametrize("network", ["batch norm 2d", slow("residual convolutions"), "LP pooling"])
def test_recorded_convolutions_are_called(float64, recording, monkeypatch, network):
    """Their outputs lie in memory as PyTorch does not foretell when it records them."""
    stacked, called = cohort_module.Cohort._stacked, []
    monkeypatch.setattr(
        cohort_module.Cohort, "_stacked", lambda *given: called.append(1) or stacked(*given)
    )
    assert_equals_loop(KINDS[network].make, noisy_digits(), 1e-9, batch_size=16)
    assert len(recording) == 4 and len(called) == 1, "all updates but the first one are recorded"


def test_recorded_weights_and_own_splits_equal_hand_written_loop(
    float64, recording, without_warnings
):
    assert_equals_loop(MLP, weighted_digits(), 1e-9, batch_size=16)
    assert len(recording) == 4


def test_recorded_full_batch_equals_hand_written_loop(float64, recording, without_warnings):
    assert_equals_loop(MLP, noisy_digits(), 1e-9, batch_size=150)
    assert recording


def test_recorded_operations_are_used_to_the_end(recording, monkeypatch, noisy):
    """From then on no pass goes through Python, also when few updates are left."""
    gradients, passes = Replicas.gradients, []
    monkeypatch.setattr(
        Replicas, "gradients", lambda *given: passes.append(len(recording)) or gradients(*given)
    )
    monkeypatch.setattr(compiling_module, "RECORDING_PAYS", 10)
    monkeypatch.setattr(cohort_module, "EVALUATION_WORTH", 0)
    monkeypatch.setattr(batches_module, "CHUNK_BATCHES", 5)
    fit(MLP, noisy, batch_size=15, seeds=2, lr=0.01, max_epochs=3, metrics={})
    assert len(recording) == 1
    assert passes[-1] == 1, "no pass is a recorded one"
    assert passes.count(1) == 1, "passes went through Python after the recording"


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(
    ("network", "optimizer"),
    [
        *(("MLP", optimizer) for optimizer in ("SGD", "momentum", "AdamW")),
        *((network, "SGD") for network in ("LeNet", "F1")),
    ],
)
def test_compiled_replica_equals_hand_written_loop(
    compiling_updates, without_warnings, network, optimizer
):
    run = assert_equals_loop(
        STACKED[network], noisy_digits(), 1e-5, optimizer=optimizer, batch_size=16
    )
    assert run.history.attrs["compiled"]


@pytest.mark.slow
@needs_compiler
def test_compiled_evaluation_measures_the_same(compiling_updates, monkeypatch, noisy):
    data = noisy.part(50, 50)  # equally many samples: one graph for both
    settings = {"batch_size": 25, "seeds": SEEDS, "lr": 0.02, "max_steps": 4}
    plain = fit(STACKED["F1"], data, **settings).history
    monkeypatch.setattr(cohort_module, "EVALUATION_WORTH", 30)
    run = fit(STACKED["F1"], data, **settings).history
    assert run.attrs["compiled"] and not plain.attrs["compiled"]
    for measure in ("train_loss", "train_accuracy", "val_loss", "val_accuracy"):
        assert run[measure].tolist() == pytest.approx(plain[measure].tolist(), rel=1e-5)


@pytest.mark.parametrize("network", ["MLP", *(slow(each) for each in ("LeNet", "F1"))])
def test_replica_equals_hand_written_loop_one_by_one(network, monkeypatch, no_threads_left):
    """The way of large batches, on two threads."""
    monkeypatch.setattr(cohort_module, "STACKED_UP_TO", {"linear": 0, "convolutions": 0})
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert_equals_loop(STACKED[network], noisy_digits(), 1e-5)


def test_large_and_small_batches_take_turns(float64, monkeypatch, recording):
    """A whole batch goes through each network by itself, the ragged one through all at once."""
    monkeypatch.setattr(cohort_module, "STACKED_UP_TO", {"linear": 64 * 30, "convolutions": 0})
    for optimizer in ("momentum", "AdamW"):
        assert_equals_loop(MLP, noisy_digits(), 1e-9, optimizer=optimizer)
    assert recording


class OneEpoch(Callback):
    def on_train_epoch_end(self, trainer, cohort):
        trainer.should_stop = True


@pytest.mark.parametrize("stop_at", [None, {"val_loss": 0.0}])
def test_run_that_may_stop_early_is_not_compiled_at_once(noisy, monkeypatch, stop_at):
    """A million epochs take hours, but the run may stop after any of them."""
    compilations = []
    monkeypatch.setattr(internals, "compiled", lambda *given: compilations.append(given))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/nowhere")
    settings = {"batch_size": 16, "lr": 0.05, "max_epochs": 10**6, "callbacks": [OneEpoch()]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nothing is compiled
        fit(MLP, noisy, seeds=2, stop_at=stop_at, **settings)
    assert bool(compilations) == (stop_at is None)


def test_without_compiler_training_goes_on_after_one_warning(
    recording, monkeypatch, float64, tmp_path
):
    def no_compiler(*_, **__):
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr("torch._inductor.aot_compile", no_compiler)
    monkeypatch.setattr(compiling_module, "COMPILING_PAYS", 0)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        run = assert_equals_loop(MLP, noisy_digits(), 1e-9, batch_size=16)
    assert not run.history.attrs["compiled"]
    assert "could not be compiled" in str(warned[0].message)
    assert len(warned) == 1, [str(each.message) for each in warned]


def test_operations_that_cannot_be_recorded_are_run(monkeypatch, float64, recording):
    def fails(*_):
        raise RuntimeError("cannot trace")

    monkeypatch.setattr(internals, "recorded", fails)
    with pytest.warns(UserWarning, match="could not be recorded.*RuntimeError: cannot trace"):
        assert_equals_loop(MLP, noisy_digits(), 1e-9, batch_size=16)


@pytest.mark.parametrize("network", ["MLP", "LeNet"])
def test_batches_of_one(noisy, network):
    few = noisy.part(20, 10)
    settings = {"batch_size": 1, "optimizer": torch.optim.SGD, "lr": 0.01, "max_epochs": 2}
    run = fit(STACKED[network], few, seeds=SEEDS, **settings)
    for seed, trained in zip(SEEDS, run.networks, strict=True):
        expected = hand_written_loop(STACKED[network], few, seed, **settings)
        assert largest_difference(trained, expected) < 1e-5


@pytest.mark.parametrize("network", ["MLP", "LeNet", "F1"])
@pytest.mark.parametrize("batch_size", [16, "full"])
def test_other_seeds_do_not_matter(noisy, network, batch_size):
    """To rounding, since products of stacked matrices may sum up in another order."""
    settings = {"batch_size": batch_size, "lr": 0.05, "max_epochs": 2}
    alone = fit(STACKED[network], noisy, seeds=[7], **settings).networks[0]
    beside = fit(STACKED[network], noisy, seeds=[1, 7, 2, 30], **settings).networks[1]
    assert largest_difference(alone, beside) < 1e-5


@pytest.mark.parametrize("network", ["dropout", "noise", "stochastic depth", "LSTM with dropout"])
@pytest.mark.parametrize("batch_size", [16, "full"])
def test_other_seeds_do_not_matter_to_random_numbers(noisy, network, batch_size):
    """Bit for bit."""
    settings = {"batch_size": batch_size, "lr": 0.05, "max_epochs": 2}
    alone = fit(ALONE[network], noisy, seeds=[7], **settings).networks[0]
    beside = fit(ALONE[network], noisy, seeds=[1, 7, 2, 30], **settings).networks[1]
    assert largest_difference(alone, beside) == 0


@pytest.mark.parametrize("network", ["dropout", "noise"])
@pytest.mark.parametrize("others", [[], [1, 2]], ids=["alone", "beside others"])
def test_measures_depend_on_the_seed_alone(noisy, network, others):
    """Those of a network that draws random numbers in eval mode, too."""
    histories = []
    for seeds, state in (([7], 0), ([*others, 7], 1)):
        torch.manual_seed(state)
        run = fit(ALONE[network], noisy, batch_size=16, lr=0.05, max_epochs=2, seeds=seeds)
        own = run.history[run.history.seed == 7].reset_index(drop=True)
        histories.append(own.drop(columns="seconds"))
    pd.testing.assert_frame_equal(*histories, check_exact=True)


@pytest.mark.parametrize("order_of_seeds", [[1, 7, 2], [7, 2, 1]])
def test_full_batch_with_dropout_keeps_the_order_of_the_loop(float64, order_of_seeds, noisy):
    data = noisy_digits()
    settings = {"optimizer": torch.optim.SGD, "lr": 0.05, "max_epochs": 3}
    run = fit(ALONE["dropout"], data, batch_size="full", seeds=order_of_seeds, **settings)
    for seed, trained in zip(order_of_seeds, run.networks, strict=True):
        expected = hand_written_loop(ALONE["dropout"], data, seed, batch_size=150, **settings)
        assert largest_difference(trained, expected) < 1e-9


class Carrying(nn.Module):
    """A tensor that is no buffer goes from one pass to the next."""

    carried = 0.0

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(64, 16), nn.Linear(16, 10)

    def forward(self, x):
        hidden = self.first(x.flatten(1)).relu() + 0.5 * self.carried
        self.carried = hidden.detach().mean(0)
        return self.last(hidden)


def test_tensors_that_are_carried_along_are_the_loop_s(float64):
    """Evaluation is no part of the loop."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_equals_loop(Carrying, noisy_digits(), 1e-9, optimizer="SGD")


def test_evaluation_in_pieces_measures_the_same(noisy, monkeypatch):
    run = fit(MLP, noisy, batch_size=16, lr=0.05, seeds=2, max_epochs=1)
    monkeypatch.setattr(cohort_module, "EVALUATION_ELEMENTS", 2 * 64 * 40)  # 40 of 150 samples
    again = fit(MLP, noisy, batch_size=16, lr=0.05, seeds=2, max_epochs=1)
    for measure in ("train_loss", "train_accuracy", "val_loss", "val_accuracy"):
        assert again.history[measure].tolist() == pytest.approx(run.history[measure].tolist())


def test_pieces_without_weight_count_nothing(monkeypatch):
    weights = torch.ones(200)
    weights[:30] = weights[150:160] = 0
    data = noisy_digits(weights_train=weights[:150], weights_val=weights[150:])
    settings = {"batch_size": 150, "lr": 0.05, "seeds": 2, "max_epochs": 1}
    run = fit(MLP, data, **settings)
    monkeypatch.setattr(cohort_module, "EVALUATION_ELEMENTS", 2 * 64 * 8)  # 8 samples
    again = fit(MLP, data, **settings)
    for measure in ("train_loss", "train_accuracy", "val_loss", "val_accuracy"):
        assert again.history[measure].tolist() == pytest.approx(run.history[measure].tolist())


def test_what_is_compiled_for_the_processor_is_not_loaded_for_another_device(
    recording, monkeypatch
):
    """The file's name tells devices apart, as it tells shapes."""
    monkeypatch.setattr(compiling_module, "COMPILING_PAYS", 0)
    monkeypatch.setattr(internals, "compiled", lambda *given: given[-1].write_bytes(b"made"))
    monkeypatch.setattr(internals, "runner", lambda file: lambda *tensors: tensors)
    loaded = []
    for device in ("cpu", "cpu", "meta"):
        graph = compiling_module.Graph(lambda x: [x + 1])
        graph.prepare([torch.zeros(3, device=device)], 1)
        loaded.append(graph.compiled)
    assert loaded == [True, True, False]
