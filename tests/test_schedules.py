"""Each schedule with a foreign LightningModule and a plain DataLoader, and with `fit`."""

import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from pytorch_lightning import Callback, LightningDataModule, LightningModule, Trainer
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, TensorDataset

from course_lib.data import TensorData
from course_lib.datasets import Digits
from course_lib.models import MLP
from course_lib.schedules import (
    BatchSizeOnPlateau,
    BatchSizeScheduler,
    LearningRateScheduler,
    cyclic,
)
from course_lib.training import fit

fit = partial(fit, progress=False)
SAMPLES = 20
GROWING = {0: 4, 1: 8, 3: 1}


class Foreign(LightningModule):
    """Somebody else's module; it notes what it sees, and validates with given losses."""

    def __init__(self, val_losses=(), optimizer=torch.optim.SGD, schedule=None):
        super().__init__()
        self.layer, self.optimizer, self.schedule = nn.Linear(1, 1), optimizer, schedule
        self.val_losses, self.seen, self.rates = val_losses, [], []

    def on_train_epoch_start(self):
        self.seen.append([])

    def training_step(self, batch, _):
        self.seen[-1].append(batch[0].flatten().tolist())
        return F.mse_loss(self.layer(batch[0]), batch[0])

    def optimizer_step(self, epoch, batch_index, optimizer, closure):
        optimizer.step(closure)
        self.rates.append(optimizer.param_groups[0]["lr"])

    def validation_step(self, batch, _):
        self.log("val_loss", float(self.val_losses[self.trainer.current_epoch]))

    def configure_optimizers(self):
        optimizer = self.optimizer(self.parameters(), lr=0.5)
        return [optimizer], [self.schedule(optimizer)] if self.schedule else []

    @property
    def sizes(self):
        return [[len(batch) for batch in epoch] for epoch in self.seen]


def numbered(**options) -> DataLoader:
    """Samples that are their own numbers."""
    return DataLoader(TensorDataset(torch.arange(float(SAMPLES))[:, None]), **options)


def train(module, loader, callbacks, val_loader=None, ckpt_path=None, **options):
    settings = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    settings |= {"accelerator": "cpu", "enable_model_summary": False, "callbacks": callbacks}
    trainer = Trainer(**{**settings, "max_epochs": 4, **options})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning|torch.utils._pytree")
        trainer.fit(module, loader, val_loader, ckpt_path=ckpt_path)
    return trainer


def split(samples: int, size: int, drop_last: bool = False) -> list[int]:
    """The batch sizes of an epoch."""
    ragged = [samples % size] if samples % size and not drop_last else []
    return [size] * (samples // size) + ragged


@pytest.fixture(scope="module")
def data():
    return Digits().part(50, 50)


@pytest.mark.parametrize("workers", [{}, {"num_workers": 2, "persistent_workers": True}])
@pytest.mark.parametrize("drop_last", [False, True])
def test_batch_sizes_seen_by_a_foreign_module(workers, drop_last):
    module, loader = Foreign(), numbered(batch_size=3, shuffle=True, drop_last=drop_last, **workers)
    trainer = train(module, loader, [BatchSizeScheduler(GROWING)])
    expected = [split(SAMPLES, size, drop_last) for size in (4, 8, 8, 1)]
    assert module.sizes == expected
    assert trainer.global_step == sum(map(len, expected))


def test_every_sample_is_seen_once_an_epoch_in_a_new_order():
    module = Foreign()
    train(module, numbered(batch_size=3, shuffle=True), [BatchSizeScheduler(GROWING)])
    orders = [sum(epoch, []) for epoch in module.seen]
    assert all(sorted(order) == list(range(SAMPLES)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4


def test_a_loader_that_is_not_shuffled_stays_so():
    module = Foreign()
    train(module, numbered(batch_size=3), [BatchSizeScheduler(GROWING)])
    assert all(sum(epoch, []) == list(range(SAMPLES)) for epoch in module.seen)


def test_the_loader_s_own_batch_size_before_the_first_epoch_and_after_training():
    module, loader = Foreign(), numbered(batch_size=3)
    for _ in range(2):
        train(module, loader, [BatchSizeScheduler({2: 10, 3: 20})])
        assert loader.batch_sampler.batch_size == 3
    assert [len(epoch) for epoch in module.seen] == [7, 7, 2, 1] * 2


class Fails(Callback):
    def on_train_epoch_end(self, trainer, module):
        raise RuntimeError("stopped")


def test_the_loader_gets_its_own_batch_size_back_after_an_error():
    loader = numbered(batch_size=3)
    with pytest.raises(RuntimeError, match="stopped"):
        train(Foreign(), loader, [BatchSizeScheduler({0: 5}), Fails()])
    assert loader.batch_sampler.batch_size == 3


class Module(LightningDataModule):
    def train_dataloader(self):
        return numbered(batch_size=3)


@pytest.mark.parametrize("every", [0, 1])
def test_a_data_module_that_makes_the_loader(every):
    module = Foreign()
    options = {"reload_dataloaders_every_n_epochs": every}
    train(module, Module(), [BatchSizeScheduler(GROWING)], **options)
    assert module.sizes == [split(SAMPLES, size) for size in (4, 8, 8, 1)]


def test_a_share_of_the_batches_is_a_share_of_the_new_batches():
    module = Foreign()
    scheduler = BatchSizeScheduler(GROWING)
    train(module, numbered(batch_size=3), [scheduler], limit_train_batches=0.5)
    assert [len(epoch) for epoch in module.seen] == [2, 1, 1, 10]


def test_validation_still_comes_at_the_end_of_each_epoch():
    module = Foreign(val_losses=range(4))
    trainer = train(module, numbered(batch_size=3), [BatchSizeScheduler(GROWING)], numbered())
    assert trainer.callback_metrics["val_loss"] == 3


def test_accumulated_batches():
    module = Foreign()
    trainer = train(
        module, numbered(batch_size=4), [BatchSizeScheduler(GROWING)], accumulate_grad_batches=2
    )
    assert trainer.global_step == 3 + 2 + 2 + 10


def test_cycle_of_batch_sizes():
    module = Foreign()
    train(module, numbered(), [BatchSizeScheduler(cyclic([2, 10], epochs=2))], max_epochs=5)
    assert [epoch[0] for epoch in module.sizes] == [2, 2, 10, 10, 2]


@pytest.mark.parametrize("drop_last", [False, True])
def test_growing_batch_in_fit(data, drop_last):
    tensors = data.x_train, data.y_train, data.x_val, data.y_val
    data = TensorData(*tensors, drop_last=drop_last)
    scheduler = BatchSizeScheduler({1: 16, 3: 1})
    history = fit(
        MLP, data, batch_size=8, seeds=2, lr=0.1, max_epochs=4, callbacks=[scheduler]
    ).history
    rows = history[history.seed == 0]
    batches = [split(50, size, drop_last) for size in (8, 16, 16, 1)]
    total = lambda count: [sum(map(count, batches[:epoch])) for epoch in range(5)]  # noqa: E731
    assert rows.batch_size.tolist() == [8, 8, 16, 16, 1]
    assert rows.epoch.tolist() == [0, 1, 2, 3, 4]
    assert rows.step.tolist() == total(len)
    assert rows.examples.tolist() == total(sum)


def loop(network, data, epochs, batch_size, lr):
    """The hand-written loop with seed 3; batch_size and lr are functions of epoch and update."""
    torch.manual_seed(3)
    network, order, update = network(), torch.Generator().manual_seed(3), 0
    for epoch in range(epochs):
        permutation = torch.randperm(len(data.x_train), generator=order)
        for batch in permutation.split(batch_size(epoch)):
            stepper = torch.optim.SGD(network.parameters(), lr=lr(epoch, update))
            F.cross_entropy(network(data.x_train[batch]), data.y_train[batch]).backward()
            stepper.step()
            stepper.zero_grad()
            update += 1
    return network


def assert_equal_weights(run, network):
    pairs = zip(run.networks[0].parameters(), network.parameters(), strict=True)
    assert all(torch.allclose(ours, theirs, atol=1e-5) for ours, theirs in pairs)


def test_fit_with_a_growing_batch_is_the_hand_written_loop(data):
    settings = {"batch_size": 8, "seeds": [3, 5], "lr": 0.2, "max_epochs": 4}
    run = fit(MLP, data, **settings, callbacks=[BatchSizeScheduler({1: 16, 3: 1})])
    sizes = [8, 16, 16, 1]
    assert_equal_weights(run, loop(MLP, data, 4, lambda epoch: sizes[epoch], lambda *_: 0.2))


def test_fit_with_schedules_of_the_rate_is_the_hand_written_loop(data):
    settings = {"batch_size": 8, "seeds": [3, 5], "lr": 0.2, "max_epochs": 3}
    scheduler = LearningRateScheduler({2: 1 / 4}, warmup=5, start=0.2)
    run = fit(MLP, data, **settings, callbacks=[scheduler])
    rate = lambda epoch, t: (0.05 if epoch >= 2 else 0.2) * min(0.2 + 0.16 * t, 1)  # noqa: E731
    assert_equal_weights(run, loop(MLP, data, 3, lambda _: 8, rate))


def test_fit_refuses_more_than_all_samples(data):
    with pytest.raises(ValueError, match="batch_size=51 must be a whole number from 1 to 50"):
        callbacks = [BatchSizeScheduler({1: 51})]
        fit(MLP, data, batch_size=8, seeds=1, lr=0.1, max_epochs=2, callbacks=callbacks)


PLATEAU = [5, 4, 4, 4.5, 4, 3, 3, 3, 3, 3, 3, 3, 3, 3]


def rates_on_plateau(losses, patience):
    """PyTorch's rule for the learning rate, which starts at 1."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=1 / 2, patience=patience, threshold=0.0
    )
    rates = [1.0]
    for loss in losses:
        scheduler.step(loss)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("patience", [0, 2])
def test_plateau_grows_the_batch_as_pytorch_reduces_the_rate(patience, mode):
    losses = PLATEAU if mode == "min" else [-loss for loss in PLATEAU]
    module = Foreign(losses)
    scheduler = BatchSizeOnPlateau(patience=patience, max_size=8, mode=mode)
    train(module, numbered(), [scheduler], numbered(), max_epochs=len(PLATEAU))
    expected = [min(1 / rate, 8) for rate in rates_on_plateau(PLATEAU, patience)[:-1]]
    assert max(expected) > min(expected)
    assert [epoch[0] for epoch in module.sizes] == expected


@pytest.mark.parametrize(("first", "smallest"), [(20, 3), (5, 1), (4, 8)])
def test_plateau_shrinks_the_batch(first, smallest):
    module, loader = Foreign(PLATEAU), numbered(batch_size=first)
    scheduler = BatchSizeOnPlateau(patience=0, min_size=smallest)
    train(module, loader, [scheduler], numbered(), max_epochs=len(PLATEAU))
    rates = rates_on_plateau(PLATEAU, 0)[:-1]
    expected = [max(int(first * rate), min(smallest, first)) for rate in rates]
    assert [epoch[0] for epoch in module.sizes] == expected


def test_plateau_goes_on_from_a_checkpoint_and_starts_afresh_without(tmp_path):
    scheduler = BatchSizeOnPlateau(patience=0, max_size=16)
    losses = [3, 3, 3, 2]
    first = Foreign(losses)
    trainer = train(first, numbered(), [scheduler], numbered(), max_epochs=3)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    resumed, other = Foreign(losses), BatchSizeOnPlateau(patience=0, max_size=16)
    train(resumed, numbered(), [other], numbered(), ckpt_path=tmp_path / "last.ckpt")
    assert other.batch_size == 4 and resumed.sizes == [[4] * 5]
    again = Foreign(losses)
    train(again, numbered(), [scheduler], numbered(), max_epochs=3)
    assert again.sizes == first.sizes == [[1] * 20, [1] * 20, [2] * 10]


def test_plateau_in_fit_looks_at_the_mean_over_the_seeds(data):
    scheduler = BatchSizeOnPlateau("train_accuracy", patience=0, max_size=32, mode="max")
    options = {"batch_size": 2, "seeds": 3, "lr": 0.5, "max_epochs": 12}
    history = fit(MLP, data, **options, callbacks=[scheduler]).history
    measured = history[history.epoch > 0].groupby("epoch").train_accuracy.mean()
    expected = [2, *(min(2 / rate, 32) for rate in rates_on_plateau(-measured, 0)[:-1])]
    assert history[history.seed == 0].batch_size.tolist() == expected
    assert max(expected) > 2


def test_plateau_in_fit_ends_at_all_samples(data):
    scheduler = BatchSizeOnPlateau("train_accuracy", factor=4, patience=0, max_size=64, mode="max")
    options = {"batch_size": 32, "seeds": 1, "lr": 1e-9, "max_epochs": 4}
    history = fit(MLP, data, **options, callbacks=[scheduler]).history
    assert history.batch_size.tolist() == [32, 32, 32, 50, 50]


@pytest.mark.parametrize("drop_last", [False, True])
def test_plateau_ends_at_all_samples_of_a_loader(drop_last):
    module, loader = Foreign([1] * 5), numbered(batch_size=5, drop_last=drop_last)
    scheduler = BatchSizeOnPlateau(factor=3, patience=0, max_size=100)
    train(module, loader, [scheduler], numbered(), max_epochs=5)
    assert module.sizes == [[5] * 4, [5] * 4, split(SAMPLES, 15, drop_last), [20], [20]]
    assert scheduler.batch_size == SAMPLES


def test_plateau_without_the_number_of_samples():
    class Unmeasured(RandomSampler):
        __len__ = None

    loader = DataLoader(numbered().dataset, sampler=Unmeasured(range(SAMPLES)))
    scheduler = BatchSizeOnPlateau(factor=30, patience=0, max_size=100)
    module = Foreign([1] * 3)
    train(module, loader, [scheduler], numbered(), max_epochs=3)
    assert module.sizes[2] == [20] and scheduler.batch_size == 100


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_warmup_and_factors_are_those_of_pytorch(optimizer):
    module = Foreign(optimizer=optimizer)
    scheduler = LearningRateScheduler({1: 1 / 2, 3: 1 / 10}, warmup=6, start=1 / 4)
    train(module, numbered(batch_size=5), [scheduler])
    theirs = optimizer([nn.Parameter(torch.zeros(1))], lr=0.5)
    warmup = torch.optim.lr_scheduler.LinearLR(theirs, start_factor=1 / 4, total_iters=6)
    expected = []
    for update in range(16):
        factor = [1, 1 / 2, 1 / 2, 1 / 10][update // 4]
        expected.append(theirs.param_groups[0]["lr"] * factor)
        theirs.step()
        warmup.step()
    assert module.rates == pytest.approx(expected)


def test_the_rate_takes_effect_in_the_update_itself():
    module = Foreign()
    before = module.layer.weight.clone()
    train(module, numbered(batch_size=5), [LearningRateScheduler(lambda epoch: 0)])
    assert torch.equal(module.layer.weight, before)


def test_each_parameter_group_keeps_its_own_rate():
    rates = []

    class TwoGroups(Foreign):
        def configure_optimizers(self):
            pairs = zip(self.parameters(), (0.1, 0.4), strict=True)
            groups = [{"params": [parameter], "lr": lr} for parameter, lr in pairs]
            return torch.optim.SGD(groups)

        def on_train_epoch_end(self):
            rates.append([group["lr"] for group in self.optimizers().param_groups])

    train(TwoGroups(), numbered(), [LearningRateScheduler({1: 1 / 2})], max_epochs=2)
    assert rates == [[0.1, 0.4], [0.05, 0.2]]


def test_warmup_counts_updates_where_batches_are_accumulated():
    module = Foreign()
    callbacks = [LearningRateScheduler(warmup=10, start=0)]
    train(module, numbered(batch_size=5), callbacks, accumulate_grad_batches=2)
    assert module.rates == pytest.approx([0.05 * update for update in range(8)])


def test_the_rate_goes_on_from_a_checkpoint(tmp_path):
    rates = []
    for epochs, ckpt_path in ((2, None), (4, tmp_path / "last.ckpt")):
        module, scheduler = Foreign(), LearningRateScheduler({3: 1 / 10}, warmup=6, start=0)
        trainer = train(
            module, numbered(batch_size=5), [scheduler], max_epochs=epochs, ckpt_path=ckpt_path
        )
        trainer.save_checkpoint(tmp_path / "last.ckpt")
        rates += module.rates
    warmed = [0.5 * min(update / 6, 1) for update in range(12)]
    assert rates == pytest.approx([*warmed, *[0.05] * 4])


class Endless(IterableDataset):
    def __iter__(self):
        return iter(torch.zeros(SAMPLES, 1))


def one_by_one():
    return DataLoader(TensorDataset(torch.zeros(SAMPLES, 1)), batch_size=None)


def own_batches():
    return DataLoader(TensorDataset(torch.zeros(4, 1)), batch_sampler=[[0, 1], [2, 3]])


@pytest.mark.parametrize(
    "loader",
    [one_by_one, own_batches, partial(DataLoader, Endless()), lambda: [numbered(), numbered()]],
)
def test_loaders_whose_batch_size_cannot_be_set(loader):
    with pytest.raises(
        ValueError, match="must be one DataLoader with a batch_size .* cannot be set"
    ):
        train(Foreign(), loader(), [BatchSizeScheduler({1: 2})])


def test_a_batch_larger_than_the_data_with_drop_last():
    with pytest.raises(
        ValueError, match="batch_size=21 must not be larger than the data, of which drop_last"
    ):
        train(Foreign(), numbered(drop_last=True), [BatchSizeScheduler({1: 21})])


def test_a_module_with_a_scheduler_of_its_own():
    module = Foreign(schedule=partial(torch.optim.lr_scheduler.StepLR, step_size=1))
    with pytest.raises(
        ValueError, match="Foreign.configure_optimizers must not return a learning-rate"
    ):
        train(module, numbered(), [LearningRateScheduler(warmup=3)])


def test_a_monitored_value_that_nothing_measures():
    with pytest.raises(ValueError, match="monitor='loss' must be a measured value, one of: val_lo"):
        callbacks = [BatchSizeOnPlateau("loss", max_size=4)]
        train(Foreign([1, 2, 3, 4]), numbered(), callbacks, numbered())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: BatchSizeScheduler({}), r"schedule=\{\} must give epochs from 0 a value"),
        (lambda: BatchSizeScheduler({-1: 8}), r"schedule=\{-1: 8\} must give epochs from 0"),
        (lambda: BatchSizeScheduler({1: 0}), "batch_size=0 must be a whole number from 1"),
        (lambda: BatchSizeScheduler({1: 2.5}), "batch_size=2.5 must be a whole number from 1"),
        (lambda: BatchSizeScheduler({1: True}), "batch_size=True must be a whole number from 1"),
        (lambda: cyclic([]), r"sizes=\[\] must be one batch size or more"),
        (lambda: cyclic([8], epochs=0), "epochs=0 must be a whole number from 1"),
        (lambda: cyclic([8, 0]), "batch_size=0 must be a whole number from 1"),
        (lambda: BatchSizeOnPlateau(), "max_size=None and min_size=None: one of them"),
        (lambda: BatchSizeOnPlateau(max_size=9, min_size=2), "max_size=9 and min_size=2: one"),
        (lambda: BatchSizeOnPlateau(min_size=0), "min_size=0 must be a whole number from 1"),
        (lambda: BatchSizeOnPlateau(max_size=0), "max_size=0 must be a whole number from 1"),
        (
            lambda: BatchSizeOnPlateau(factor=1, max_size=9),
            "factor=1 must be a whole number from 2",
        ),
        (lambda: BatchSizeOnPlateau(patience=-1, max_size=9), "patience=-1 must be .* from 0"),
        (lambda: BatchSizeOnPlateau(mode="low", max_size=9), 'mode=\'low\' must be "min" or "max"'),
        (lambda: LearningRateScheduler({}), r"factors=\{\} must give epochs from 0 a value"),
        (lambda: LearningRateScheduler({1: -0.1}), "factor=-0.1 must be a number from 0"),
        (lambda: LearningRateScheduler({1: "1"}), "factor='1' must be a number from 0"),
        (lambda: LearningRateScheduler(warmup=-1), "warmup=-1 must be a whole number from 0"),
        (lambda: LearningRateScheduler(warmup=5, start=2), "start=2 must be a share of the rate"),
    ],
)
def test_arguments_out_of_range(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


def test_a_function_that_returns_no_batch_size():
    with pytest.raises(ValueError, match="batch_size=0 must be a whole number from 1"):
        train(Foreign(), numbered(), [BatchSizeScheduler(lambda epoch: epoch)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BatchSizeScheduler(3), "schedule=3 must give epochs"),
        (lambda: BatchSizeScheduler(pd.Series([2], index=[1])), "(?s)schedule=.*must give epochs"),
        (lambda: cyclic(np.array(3)), "sizes=array.3. must be one batch size or more"),
        (lambda: LearningRateScheduler(start="a"), "start='a' must be a share"),
        (lambda: LearningRateScheduler(start=True), "start=True must be a share"),
        (lambda: LearningRateScheduler({0: 10**400}), "factor=10*0 must be a number from 0"),
        (lambda: LearningRateScheduler({0: True}), "factor=True must be a number from 0"),
        (lambda: BatchSizeOnPlateau(["val_loss"], max_size=8), "monitor=.* must be the name"),
        (lambda: BatchSizeOnPlateau(max_size=8, mode=np.array(["min", "max"])), "mode=.* must be"),
    ],
)
def test_arguments_of_the_wrong_kind_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
