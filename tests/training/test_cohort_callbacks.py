"""What callbacks see of a step, and what they change of it: rates, options, gradients."""

from functools import partial

import pytest
import torch
from pytorch_lightning import Callback
from torch import nn

import course_lib.training.compiling as compiling_module
from course_lib.models import MLP
from course_lib.training import fit
from course_lib.training.replicas import seeded
from test_cohort import needs_compiler
from test_oracle import OPTIMIZERS, slow
from zoo import ALONE, STACKED, largest_difference, noisy_digits

fit = partial(fit, progress=False)


@pytest.fixture(scope="module")
def noisy():
    return noisy_digits()


class Halving(Callback):
    def on_train_epoch_start(self, trainer, cohort):
        trainer.optimizers[0].param_groups[0]["lr"] *= 0.5


class Decaying(Callback):
    """Another option than the learning rate, which a recorded step holds as a constant."""

    def on_train_epoch_start(self, trainer, cohort):
        trainer.optimizers[0].param_groups[0]["weight_decay"] = 0.1 * trainer.current_epoch


class Watching(Callback):
    """Looks at the gradients before the step."""

    def on_train_start(self, trainer, cohort):
        self.gradients = []

    def on_before_optimizer_step(self, trainer, cohort, optimizer):
        self.gradients += [parameter.grad.norm().item() for parameter in cohort.parameters()]


def loop_with_rates(make, data, seed, rates, kind, **options):
    """Several epochs with 15 samples a batch, each with its own learning rate."""
    torch.manual_seed(seed)
    net = make()
    stepper = kind(net.parameters(), lr=1.0, **options)
    order = torch.Generator().manual_seed(seed)
    for rate in rates:
        stepper.param_groups[0]["lr"] = rate
        for batch in torch.randperm(len(data.x_train), generator=order).split(15):
            value = nn.functional.cross_entropy(net(data.x_train[batch]), data.y_train[batch])
            stepper.zero_grad()
            value.backward()
            stepper.step()
    return net


def assert_follows_the_learning_rate(make, data, optimizer, tolerance, watching=()):
    kind, options = OPTIMIZERS[optimizer]
    settings = {"batch_size": 15, "optimizer": kind, "max_epochs": 3, **options}
    run = fit(make, data, seeds=2, callbacks=[Halving(), *watching], **settings)
    rates = [options["lr"] / 2, options["lr"] / 4, options["lr"] / 8]
    options = {key: value for key, value in options.items() if key != "lr"}
    for seed, trained in enumerate(run.networks):
        expected = loop_with_rates(make, data, seed, rates, kind, **options)
        assert largest_difference(trained, expected) < tolerance
    for callback in watching:
        assert len(callback.gradients) == run.history.step.max() * len(list(make().parameters()))
        assert min(callback.gradients) > 0
    return run


# Rprop takes the learning rate for its first step alone, which is made before a callback sees it.
OTHERS = [slow(name) for name in OPTIMIZERS if name not in ("momentum", "AdamW", "Rprop")]
FOLLOWING = ["momentum", "AdamW", *OTHERS]


@pytest.mark.parametrize("watching", [False, True], ids=["alone", "watched"])
@pytest.mark.parametrize("optimizer", FOLLOWING)
@pytest.mark.parametrize("kind", ["MLP", "dropout"])
def test_step_follows_the_learning_rate(float64, kind, optimizer, watching):
    watching = [Watching()] if watching else []
    make = {**STACKED, **ALONE}[kind]
    assert_follows_the_learning_rate(make, noisy_digits(), optimizer, 1e-9, watching)


@pytest.mark.parametrize("watching", [False, True], ids=["alone", "watched"])
@pytest.mark.parametrize("optimizer", FOLLOWING)
def test_recorded_step_follows_the_learning_rate(float64, recording, optimizer, watching):
    watching = [Watching()] if watching else []
    assert_follows_the_learning_rate(MLP, noisy_digits(), optimizer, 1e-9, watching)
    assert len(recording) == 3  # the learning rate is no constant of the graph


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("watching", [False, True], ids=["alone", "watched"])
def test_compiled_step_follows_the_learning_rate(compiling_updates, noisy, watching):
    watching = [Watching()] if watching else []
    run = assert_follows_the_learning_rate(MLP, noisy, "momentum", 1e-5, watching)
    assert run.history.attrs["compiled"]


def test_recorded_step_follows_the_other_options(recording, monkeypatch, noisy):
    settings = {"batch_size": 16, "seeds": 2, "lr": 0.05, "max_epochs": 3, "weight_decay": 0.0}
    run = fit(MLP, noisy, callbacks=[Decaying()], **settings)
    assert recording
    monkeypatch.setattr(compiling_module, "RECORDING_PAYS", 10**9)
    expected = fit(MLP, noisy, callbacks=[Decaying()], **settings)
    undecayed = fit(MLP, noisy, **settings)
    for network, same, other in zip(
        run.networks, expected.networks, undecayed.networks, strict=True
    ):
        assert largest_difference(network, same) < 1e-5 < largest_difference(network, other)


class Scaling(Callback):
    """Changes the gradients before the step."""

    def on_before_optimizer_step(self, trainer, cohort, optimizer):
        for parameter in cohort.parameters():
            parameter.grad.mul_(0)


@pytest.mark.parametrize("kind", ["MLP", "dropout"])
def test_callbacks_change_the_gradients(noisy, kind):
    make = {**STACKED, **ALONE}[kind]
    settings = {"batch_size": 16, "lr": 0.05, "max_epochs": 1, "callbacks": [Scaling()]}
    for seed, network in enumerate(fit(make, noisy, seeds=2, **settings).networks):
        assert largest_difference(network, seeded(make, seed)[0]) == 0
