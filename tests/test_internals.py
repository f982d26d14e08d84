"""Each private name is there; each function works with it, and without it after one warning."""

import inspect
import warnings
from dataclasses import fields
from unittest import mock

import pytest
import torch
from pytorch_lightning import Callback, LightningDataModule, LightningModule, Trainer
from pytorch_lightning.utilities import data, model_helpers
from torch import nn
from torch.nn import functional as F
from torch.nn.modules import batchnorm, dropout
from torch.utils.data import DataLoader, TensorDataset

from course_lib import internals

SAMPLES = 12


@pytest.fixture(autouse=True)
def no_warnings_yet():
    internals._warn.cache_clear()
    yield
    internals._warn.cache_clear()


@pytest.fixture
def gone(monkeypatch):
    """Takes a private name away."""
    return lambda owner, name: monkeypatch.delattr(owner, name)


def one_warning(record, name):
    """Exactly one warning of ours, of this name."""
    ours = [str(each.message) for each in record if "is gone in torch" in str(each.message)]
    return len(ours) == 1 and ours[0].startswith(name)


class Manual(LightningModule):
    """Steps by hand, one update a batch, without a call of its optimizer."""

    automatic_optimization = False

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.sizes, self.steps = [], []

    def on_train_epoch_start(self):
        self.sizes.append([])

    def training_step(self, batch, _):
        self.sizes[-1].append(len(batch[0]))
        F.mse_loss(self.layer(batch[0]), batch[0]).backward()
        internals.count_optimizer_steps(self.trainer, 1)
        self.steps.append(self.trainer.global_step)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.5)


def numbered(batch_size):
    return DataLoader(TensorDataset(torch.arange(float(SAMPLES))[:, None]), batch_size)


class Numbered(LightningDataModule):
    def train_dataloader(self):
        return numbered(3)


def train(module, loader, *callbacks, **options):
    settings = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    settings |= {"accelerator": "cpu", "enable_model_summary": False, "max_epochs": 3}
    trainer = Trainer(**settings, **options, callbacks=list(callbacks))
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        trainer.fit(module, loader)
    return trainer, record


# The base classes of layers

NORMS = [nn.BatchNorm1d(2), nn.BatchNorm2d(2), nn.BatchNorm3d(2), nn.SyncBatchNorm(2)]
DROPOUTS = [nn.Dropout(), nn.Dropout1d(), nn.Dropout2d(), nn.Dropout3d(), nn.AlphaDropout()]
DROPOUTS += [nn.FeatureAlphaDropout()]
OTHERS = [nn.Linear(2, 2), nn.GroupNorm(1, 2), nn.LayerNorm(2), nn.InstanceNorm2d(2)]


def test_layers_are_told_apart():
    assert all(map(internals.is_batch_norm, NORMS)) and all(map(internals.is_dropout, DROPOUTS))
    assert not any(map(internals.is_batch_norm, DROPOUTS + OTHERS))
    assert not any(map(internals.is_dropout, NORMS + OTHERS))


def test_the_base_classes_are_there():
    assert issubclass(nn.BatchNorm1d, batchnorm._BatchNorm)
    assert issubclass(nn.Dropout, dropout._DropoutNd)


@pytest.mark.parametrize(("owner", "name"), [(batchnorm, "_BatchNorm"), (dropout, "_DropoutNd")])
def test_layers_are_told_apart_without_a_base_class(owner, name, gone):
    gone(owner, name)
    with pytest.warns(UserWarning) as record:
        test_layers_are_told_apart()
    assert one_warning(record, f"{owner.__name__}.{name} is gone in torch {torch.__version__}")


# The size of a batch

X, Y = torch.zeros(5, 2), torch.zeros(5)
BATCHES = [X, [X, Y], (X, Y), {"x": X, "y": Y}, [{"x": [X]}, Y]]


@pytest.mark.parametrize("batch", BATCHES)
def test_samples_in_a_batch(batch):
    assert internals.samples_in(batch) == 5


def test_the_size_of_a_batch_is_there():
    assert list(inspect.signature(data.extract_batch_size).parameters) == ["batch"]


def test_samples_in_a_batch_without_lightning(gone):
    gone(data, "extract_batch_size")
    with pytest.warns(UserWarning) as record:
        assert [internals.samples_in(batch) for batch in [*BATCHES, ["text", X]]] == [5] * 6
    assert one_warning(record, "pytorch_lightning.utilities.data.extract_batch_size")


# Hooks


class Hooked(Callback):
    def on_train_batch_end(self, *_):
        """A hook of its own."""


def test_hooks_of_its_own_are_told_from_inherited_ones():
    assert internals.overrides("on_train_batch_end", Hooked())
    assert not internals.overrides("on_train_batch_start", Hooked())
    assert not internals.overrides("on_train_batch_end", Callback())


def test_the_comparison_of_hooks_is_there():
    assert list(inspect.signature(model_helpers.is_overridden).parameters) == [
        *("method_name", "instance", "parent")
    ]


def test_hooks_are_told_apart_without_lightning(gone):
    gone(model_helpers, "is_overridden")
    with pytest.warns(UserWarning) as record:
        test_hooks_of_its_own_are_told_from_inherited_ones()
    assert one_warning(record, "pytorch_lightning.utilities.model_helpers.is_overridden")


# Counting updates


def test_an_update_is_counted_and_changes_no_weight():
    module = Manual()
    before = module.layer.weight.clone()
    trainer, record = train(module, numbered(3))
    assert module.steps == list(range(1, 13)) and trainer.global_step == 12
    assert torch.equal(module.layer.weight, before)
    assert not any("is gone" in str(each.message) for each in record)


def test_counted_updates_end_a_run():
    assert train(Manual(), numbered(3), max_steps=6)[0].global_step == 6


def test_the_progress_of_updates_is_there():
    progress = Trainer(logger=False).fit_loop.epoch_loop.manual_optimization.optim_step_progress
    assert callable(progress.increment_ready) and callable(progress.increment_completed)


class Blind:
    """A Trainer whose `fit_loop` we do not find: Lightning itself cannot do without."""

    def __init__(self, trainer):
        self.trainer, self.lightning_module = trainer, trainer.lightning_module

    @property
    def global_step(self):
        return self.trainer.global_step


class Elsewhere(Blind):
    """Its progress is not what `global_step` counts."""

    @property
    def fit_loop(self):
        return mock.MagicMock()


@pytest.mark.parametrize("trainer_without", [Blind, Elsewhere])
def test_an_update_is_counted_without_the_progress(monkeypatch, trainer_without):
    module, count = Manual(), internals.count_optimizer_steps
    monkeypatch.setattr(
        internals,
        "count_optimizer_steps",
        lambda trainer, steps: count(trainer_without(trainer), steps),
    )
    first = module.layer.weight.clone()
    trainer, record = train(module, numbered(3))
    assert module.steps == list(range(1, 13)) and trainer.global_step == 12
    assert torch.equal(module.layer.weight, first)
    assert one_warning(record, "manual_optimization.optim_step_progress")


# Values for callbacks


class Measures(Callback):
    """Shows the epoch's number to the callbacks after it."""

    def on_train_start(self, trainer, module):
        internals.updating_callback_metrics(trainer, {"val_loss": torch.tensor(-1.0)})

    def on_train_epoch_end(self, trainer, module):
        value = torch.tensor(float(trainer.current_epoch))
        internals.updating_callback_metrics(trainer, {"val_loss": value})


class Looks(Callback):
    def __init__(self):
        self.seen = []

    def on_train_start(self, trainer, module):
        self.seen.append(trainer.callback_metrics["val_loss"].item())

    def on_train_epoch_end(self, trainer, module):
        self.seen.append(trainer.callback_metrics["val_loss"].item())


def test_callbacks_see_the_values():
    looks = Looks()
    train(Manual(), numbered(3), Measures(), looks)
    assert looks.seen == [-1, 0, 1, 2]


def test_the_metrics_are_the_dictionary_itself():
    trainer = Trainer(logger=False)
    assert trainer.callback_metrics is trainer.callback_metrics


def test_callbacks_see_the_values_where_the_metrics_are_a_copy(monkeypatch):
    own = Trainer.callback_metrics
    monkeypatch.setattr(Trainer, "callback_metrics", property(lambda self: dict(own.fget(self))))
    looks = Looks()
    _, record = train(Manual(), numbered(3), Measures(), looks)
    assert looks.seen == [-1, 0, 1, 2]
    assert one_warning(record, "the dictionary trainer.callback_metrics")


# Counting batches again


class Resizes(Callback):
    """Batches of 3 samples in the first epoch, of 6 in the second and of 2 in the third."""

    def on_train_epoch_start(self, trainer, module):
        trainer.train_dataloader.batch_sampler.batch_size = [3, 6, 2][trainer.current_epoch]
        internals.count_batches_again(trainer)


EXPECTED = [[3] * 4, [6] * 2, [2] * 6]


@pytest.mark.parametrize("source", [Numbered, lambda: numbered(4)])
def test_batches_are_counted_again(source):
    module = Manual()
    _, record = train(module, source(), Resizes())
    assert module.sizes == EXPECTED
    assert not any("is gone" in str(each.message) for each in record)


def test_the_names_of_the_fit_loop_are_there():
    loop = Trainer(logger=False).fit_loop
    assert all(hasattr(loop, name) for name in internals.LOADING)
    assert "instance" in {field.name for field in fields(loop._data_source)}
    assert callable(loop.setup_data)


def test_batches_are_counted_again_without_the_names(monkeypatch):
    monkeypatch.setattr(internals, "LOADING", ("_renamed",))
    module = Manual()
    trainer, record = train(module, numbered(4), Resizes())
    assert module.sizes == EXPECTED
    assert trainer.reload_dataloaders_every_n_epochs == 0
    assert one_warning(record, "trainer.fit_loop._renamed")


def test_a_loader_that_is_made_anew_needs_the_names(monkeypatch):
    monkeypatch.setattr(internals, "LOADING", ("_renamed",))
    with pytest.raises(ValueError, match="hand the DataLoader itself to Trainer.fit"):
        train(Manual(), Numbered(), Resizes())
