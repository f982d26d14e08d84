"""The permanent test: replica s of a cohort equals a hand-written loop with seed s."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from pytorch_lightning import Callback
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import multiclass_accuracy

import course_lib.training.batches as batches_module
import course_lib.training.cohort as cohort_module
import course_lib.training.compiling as compiling_module
from course_lib.data import TensorData
from course_lib.datasets import Digits
from course_lib.models import F1, MLP, LeNet
from course_lib.training import fit
from course_lib.training.cohort import Cohort
from course_lib.training.compiling import compiled
from course_lib.training.replicas import seeded

SEEDS = [3, 0, 11]
COMPILERS = ["c++", "g++", "clang++", "cl"]
NETWORKS = {
    "MLP": MLP,
    "LeNet": LeNet,
    "F1": partial(F1, shape=(1, 8, 8), width=64),
}
OPTIMIZERS = {
    "SGD": (torch.optim.SGD, {"lr": 0.02}),
    "momentum": (torch.optim.SGD, {"lr": 0.02, "momentum": 0.9, "weight_decay": 1e-3}),
    "Nesterov": (torch.optim.SGD, {"lr": 0.02, "momentum": 0.9, "nesterov": True}),
    "Adam": (torch.optim.Adam, {"lr": 1e-3}),
    "RMSprop": (torch.optim.RMSprop, {"lr": 1e-3, "eps": 1e-4}),
    "Rprop": (torch.optim.Rprop, {"lr": 1e-3}),
}


def hand_written_loop(network, data, seed, *, batch_size, optimizer, lr, max_epochs, **options):
    torch.manual_seed(seed)
    net = network()
    stepper = optimizer(net.parameters(), lr=lr, **options)
    order = torch.Generator().manual_seed(seed)
    for _ in range(max_epochs):
        for batch in torch.randperm(len(data.x_train), generator=order).split(batch_size):
            loss = cross_entropy(net(data.x_train[batch]), data.y_train[batch])
            stepper.zero_grad()
            loss.backward()
            stepper.step()
    return net


def largest_difference(first, second) -> float:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return max((a.double() - b.double()).abs().max().item() for a, b in pairs)


@pytest.fixture
def double():
    """Everything in float64."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def noisy_digits() -> TensorData:
    """150 noisy digits: batches of 16 and 64 leave a ragged last one.

    Without the noise some pixels are constant, which batch normalization cancels to gradients
    of pure rounding error; Adam, RMSprop and Rprop would turn those into whole steps.
    """
    digits = Digits().part(150, 50)
    noise = torch.randn(digits.x_train.shape, generator=torch.Generator().manual_seed(0))
    return TensorData(digits.x_train + noise, digits.y_train, digits.x_val, digits.y_val)


@pytest.fixture
def data():
    return noisy_digits()


def assert_equals_hand_written_loop(network, optimizer, batch_size, tolerance):
    make, (kind, options), data = NETWORKS[network], OPTIMIZERS[optimizer], noisy_digits()
    settings = {"batch_size": batch_size, "optimizer": kind, "max_epochs": 2, **options}
    run = fit(make, data, seeds=SEEDS, progress=False, **settings)
    for seed, trained in zip(SEEDS, run.networks, strict=True):
        expected = hand_written_loop(make, data, seed, **settings)
        assert largest_difference(trained, expected) < tolerance
        assert largest_difference(trained, seeded(make, seed)) > 1e-4, "nothing was trained"


@pytest.mark.parametrize("batch_size", [64, 150])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("network", NETWORKS)
def test_replica_equals_hand_written_loop(network, optimizer, batch_size):
    assert_equals_hand_written_loop(network, optimizer, batch_size, tolerance=1e-5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("network", NETWORKS)
def test_replica_equals_hand_written_loop_over_many_small_batches(double, network, optimizer):
    """In float64, where Rprop does not turn a rounding error's sign into a step."""
    assert_equals_hand_written_loop(network, optimizer, batch_size=16, tolerance=1e-9)


needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, COMPILERS)), reason="there is no C++ compiler"
)


@pytest.fixture
def compiling(monkeypatch):
    """Compile after the first five batches of a run, whatever it costs."""
    monkeypatch.setattr(compiling_module, "COMPILING_MAY_PAY", 0.0)
    monkeypatch.setattr(compiling_module, "COMPILING_PAYS", 0.0)
    monkeypatch.setattr(batches_module, "CHUNK_BATCHES", 5)


@needs_compiler
@pytest.mark.parametrize(
    ("network", "optimizer"), [*((network, "SGD") for network in NETWORKS), ("MLP", "momentum")]
)
def test_replica_equals_hand_written_loop_when_compiled(network, optimizer, compiling, monkeypatch):
    """With plain SGD, its step is compiled, too."""
    results = []
    monkeypatch.setattr(
        compiling_module, "compiled", lambda *given: results.append(compiled(*given)) or results[0]
    )
    assert_equals_hand_written_loop(network, optimizer, batch_size=16, tolerance=1e-5)
    assert results[0] is not None, "TorchInductor did not compile"


class Halving(Callback):
    def on_train_epoch_start(self, trainer, cohort):
        trainer.optimizers[0].param_groups[0]["lr"] = 0.1 / 2**trainer.current_epoch


class Watching(Callback):
    """Looks at the gradients before the step."""

    def on_train_start(self, trainer, cohort):
        self.gradients = []

    def on_before_optimizer_step(self, trainer, cohort, optimizer):
        self.gradients += [parameter.grad.norm().item() for parameter in cohort.parameters()]


@needs_compiler
@pytest.mark.parametrize("watching", [[], [Watching()]], ids=["alone", "watched"])
def test_compiled_step_follows_the_learning_rate(data, compiling, watching):
    callbacks, settings = [Halving(), *watching], {"batch_size": 16, "seeds": 2, "progress": False}
    run = fit(MLP, data, lr=0.1, max_epochs=3, callbacks=callbacks, **settings)
    assert run.history.attrs["compiled"]
    compiling_module.COMPILING_MAY_PAY = 600.0
    expected = fit(MLP, data, lr=0.1, max_epochs=3, callbacks=[Halving()], **settings)
    assert run.history.step.tolist() == expected.history.step.tolist()
    for network, same in zip(run.networks, expected.networks, strict=True):
        assert largest_difference(network, same) < 1e-5
    for callback in watching:
        updates, parameters = run.history.step.max(), len(list(MLP().parameters()))
        assert len(callback.gradients) == updates * parameters
        assert min(callback.gradients) > 0


@pytest.mark.parametrize("network", NETWORKS)
def test_replica_equals_hand_written_loop_one_by_one(network, monkeypatch):
    """The way of large batches, on two threads."""
    monkeypatch.setattr(cohort_module, "VECTORIZED_UP_TO", {"linear": 0, "convolutions": 0})
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert_equals_hand_written_loop(network, "momentum", batch_size=64, tolerance=1e-5)


class OneEpoch(Callback):
    def on_train_epoch_end(self, trainer, cohort):
        trainer.should_stop = True


@pytest.mark.parametrize("stop_at", [None, {"val_loss": 0.0}])
def test_run_that_may_stop_early_is_not_compiled_at_once(data, monkeypatch, stop_at):
    """A million epochs take hours, but the run may stop after any of them."""
    compilations = []
    monkeypatch.setattr(compiling_module, "COMPILING_MAY_PAY", 600.0)
    monkeypatch.setattr(compiling_module, "compiled", lambda *given: compilations.append(given))
    settings = {"batch_size": 16, "lr": 0.05, "max_epochs": 10**6, "callbacks": [OneEpoch()]}
    fit(MLP, data, seeds=2, stop_at=stop_at, progress=False, **settings)
    assert len(compilations) == (stop_at is None)


def test_without_compiler_training_goes_on(compiling, monkeypatch):
    def no_compiler(*_):
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch._inductor, "compile", no_compiler)
    assert_equals_hand_written_loop("MLP", "SGD", batch_size=16, tolerance=1e-5)


@pytest.mark.parametrize("network", NETWORKS)
def test_batches_of_one(data, network):
    if network == "F1":
        pytest.skip("batch normalization cannot train on a single sample")
    few = data.part(20, 10)
    settings = {"batch_size": 1, "optimizer": torch.optim.SGD, "lr": 0.01, "max_epochs": 2}
    run = fit(NETWORKS[network], few, seeds=SEEDS, progress=False, **settings)
    expected = hand_written_loop(NETWORKS[network], few, SEEDS[-1], **settings)
    assert largest_difference(run.networks[-1], expected) < 1e-5


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("batch_size", [16, "full"])
def test_other_seeds_do_not_matter(data, network, batch_size):
    settings = {"batch_size": batch_size, "lr": 0.05, "max_epochs": 2, "progress": False}
    alone = fit(NETWORKS[network], data, seeds=[7], **settings).networks[0]
    beside = fit(NETWORKS[network], data, seeds=[1, 7, 2, 30], **settings).networks[1]
    assert largest_difference(alone, beside) < 1e-5


@pytest.mark.parametrize("network", NETWORKS)
def test_both_ways_through_the_replicas_agree(data, network):
    cohort = Cohort(NETWORKS[network], SEEDS, lr=0.1).eval()
    x = data.x_train[:48].reshape(3, 16, 1, 8, 8)
    at_once, shared_at_once = cohort(x), cohort(x[:1])
    cohort.vectorized_up_to = 0
    with ThreadPoolExecutor(2) as pool:
        for cohort.map in (map, pool.map):
            torch.testing.assert_close(cohort(x), at_once)
            torch.testing.assert_close(cohort(x[:1]), shared_at_once)


def test_evaluate_equals_each_network_alone(data):
    cohort = Cohort(NETWORKS["F1"], SEEDS, lr=0.1)
    losses, accuracies = cohort.evaluate(data.x_val, data.y_val)
    for index, network in enumerate(cohort.networks()):
        outputs = network(data.x_val)
        assert losses[index].item() == pytest.approx(cross_entropy(outputs, data.y_val).item())
        accuracy = multiclass_accuracy(outputs, data.y_val, num_classes=10, average="micro")
        assert accuracies[index].item() == pytest.approx(accuracy.item())


def test_first_weights_leave_the_random_state_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    Cohort(MLP, SEEDS, lr=0.1)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("kind", [torch.optim.LBFGS, torch.optim.Adafactor])
def test_optimizer_that_couples_replicas(kind):
    with pytest.raises(ValueError, match=rf"optimizer={kind.__name__} couples replicas.*SGD"):
        Cohort(MLP, SEEDS, kind, lr=0.1)


@pytest.mark.parametrize("lr", [0, -0.1, float("nan"), float("inf")])
def test_learning_rate_that_is_not_positive(lr):
    with pytest.raises(ValueError, match=f"lr={lr} must be a positive number"):
        Cohort(MLP, SEEDS, lr=lr)


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_seeds_that_are_not_different(seeds):
    with pytest.raises(ValueError, match="must be one or more different whole numbers"):
        Cohort(MLP, seeds, lr=0.1)


def test_network_with_dropout():
    network = partial(torch.nn.Sequential, torch.nn.Flatten(), torch.nn.Dropout(0.5))
    with pytest.raises(ValueError, match=r"Dropout\(p=0.5.*use p=0"):
        Cohort(network, SEEDS, lr=0.1)
