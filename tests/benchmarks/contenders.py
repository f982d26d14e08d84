"""Ways to train the same network on the same data, and the watch that compares them.

All make the same updates (SGD, mean cross-entropy, each epoch in a new order) and measure loss
and accuracy on the training and the held-out part after each epoch.
"""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from course_lib import TensorData, fit
from course_lib.training.batches import Batches
from course_lib.training.cohort import Cohort

LR = 0.01
LAP = 0.2  # seconds
ENDLESS = {"max_epochs": 1_000_000}  # the watch ends the run

Network = Callable[[], nn.Module]


class Stopwatch(Callback):
    """Times laps of whole epochs, evaluation included.

    After each lap the hand-written loop makes one, so that both see the same machine.

    Args:
        laps: how many to time, after a first one that warms up and is not counted.
        reference: trains one epoch with each `next`.
    """

    def __init__(self, laps: int, reference: Iterator | None = None):
        self.laps, self.reference = laps, reference
        self.seconds, self.reference_seconds = [], []  # per epoch, one entry a lap

    def start(self) -> None:
        self.epochs, self.started = 0, time.perf_counter()

    def epoch_ended(self) -> bool:
        """Count an epoch; tell whether that was the last one wanted."""
        self.epochs += 1
        elapsed = time.perf_counter() - self.started
        if elapsed >= LAP:
            self.seconds.append(elapsed / self.epochs)
            if self.reference is not None:
                self.reference_seconds.append(seconds_per_epoch(self.reference))
            self.start()
        return len(self.seconds) > self.laps

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.start()

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        trainer.should_stop |= self.epoch_ended()

    def counted(self) -> dict[str, list[float]]:
        return {"seconds": self.seconds[1:], "reference_seconds": self.reference_seconds[1:]}


def run(epochs: Iterator, watch: Stopwatch) -> None:
    """Train one epoch after another until the watch has seen enough."""
    watch.start()
    next(epochs)
    while not watch.epoch_ended():
        next(epochs)


def seconds_per_epoch(epochs: Iterator) -> float:
    """Mean of one lap."""
    watch = Stopwatch(laps=0)
    run(epochs, watch)
    return watch.seconds[0]


def hand_written_epochs(network: Network, data: TensorData, batch_size: int) -> Iterator:
    """The loop that a PyTorch user writes, for one seed; yields loss and accuracy on both parts."""
    torch.manual_seed(0)
    net = network()
    stepper = torch.optim.SGD(net.parameters(), lr=LR)
    order = torch.Generator().manual_seed(0)
    while True:
        for batch in torch.randperm(len(data.x_train), generator=order).split(batch_size):
            loss = cross_entropy(net(data.x_train[batch]), data.y_train[batch])
            stepper.zero_grad()
            loss.backward()
            stepper.step()
        yield evaluated(net, data.x_train, data.y_train), evaluated(net, data.x_val, data.y_val)


@torch.inference_mode()
def evaluated(net: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
    net.eval()
    outputs = net(x)
    net.train()
    return cross_entropy(outputs, y).item(), (outputs.argmax(-1) == y).float().mean().item()


class Plain(LightningModule):
    """A LightningModule as the tutorials write it."""

    def __init__(self, network: Network):
        super().__init__()
        self.network = network()

    def training_step(self, batch, _):
        x, y = batch
        return cross_entropy(self.network(x), y)

    def validation_step(self, batch, _, dataloader_idx):
        x, y = batch
        outputs = self.network(x)
        self.log("loss", cross_entropy(outputs, y))
        self.log("accuracy", (outputs.argmax(-1) == y).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=LR)


def hand_written(network: Network, data: TensorData, batch_size: int, seeds: int, watch: Stopwatch):
    run(hand_written_epochs(network, data, batch_size), watch)


def lightning(network: Network, data: TensorData, batch_size: int, seeds: int, watch: Stopwatch):
    """One seed, with nothing switched on that `fit` does not have; evaluation in one batch."""
    train, val = TensorDataset(data.x_train, data.y_train), TensorDataset(data.x_val, data.y_val)
    parts = [DataLoader(part, batch_size=len(part)) for part in (train, val)]
    trainer = Trainer(
        **ENDLESS,
        accelerator="cpu",
        callbacks=[watch],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(Plain(network), DataLoader(train, batch_size, shuffle=True), parts)


def course(network: Network, data: TensorData, batch_size: int, seeds: int, watch: Stopwatch):
    """`fit`, in a run so long that it compiles where it can; returns how it trained."""
    settings = {"lr": LR, **ENDLESS, "callbacks": [watch], "progress": False}
    return fit(network, data, batch_size=batch_size, seeds=seeds, **settings).history.attrs


def jax(network: Network, data: TensorData, batch_size: int, seeds: int, watch: Stopwatch):
    from jax_epochs import jax_epochs

    cohort, batches = Cohort(network, range(seeds), lr=LR), Batches(data, batch_size, range(seeds))
    run(jax_epochs(cohort.stacked.state_dict(), batches, LR), watch)


CONTENDERS = {"by hand": hand_written, "Lightning": lightning, "fit": course, "JAX": jax}


def peak_memory(contender: str, *cell) -> float:
    """MiB by which this process grows while training; meant for one that has only imported."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as os.environ["TORCHINDUCTOR_CACHE_DIR"]:
        CONTENDERS[contender](*cell, Stopwatch(laps=1))
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return growth / (2**20 if sys.platform == "darwin" else 2**10)
