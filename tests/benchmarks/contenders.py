"""Ways to train the same network on the same data, and the watch that compares them.

All make the same updates (mean cross-entropy, each epoch in a new order) and measure loss and
accuracy on the training and the held-out part after each epoch.
"""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from course_lib import TensorData, fit
from course_lib.training import Run
from course_lib.training.batches import Batches
from course_lib.training.objective import Objective, accuracy
from course_lib.training.replicas import Replicas

LAP = 0.2  # seconds
ENDLESS = {"max_epochs": 1_000_000}  # the watch ends the run

OPTIMIZERS = {  # as `fit` takes them
    "SGD": {"optimizer": torch.optim.SGD, "lr": 0.01},
    "momentum": {"optimizer": torch.optim.SGD, "lr": 0.001, "momentum": 0.9},
    "AdamW": {"optimizer": torch.optim.AdamW, "lr": 0.001},
}

Network = Callable[[], nn.Module]


@dataclass(frozen=True)
class Task:
    """What each contender trains, the same for all."""

    network: Network
    data: TensorData
    batch_size: int
    optimizer: str = "SGD"

    @property
    def options(self) -> dict:
        return OPTIMIZERS[self.optimizer]

    def stepper(self, parameters: Iterator[Tensor]) -> torch.optim.Optimizer:
        options = dict(self.options)
        return options.pop("optimizer")(parameters, **options)


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


def hand_written_epochs(task: Task) -> Iterator:
    """The loop that a PyTorch user writes, for one seed; yields loss and accuracy on both parts."""
    torch.manual_seed(0)
    net, data = task.network(), task.data
    stepper = task.stepper(net.parameters())
    order = torch.Generator().manual_seed(0)
    while True:
        for batch in torch.randperm(len(data.x_train), generator=order).split(task.batch_size):
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

    def __init__(self, task: Task):
        super().__init__()
        self.task, self.network = task, task.network()

    def training_step(self, batch, _):
        x, y = batch
        return cross_entropy(self.network(x), y)

    def validation_step(self, batch, _, dataloader_idx):
        x, y = batch
        outputs = self.network(x)
        self.log("loss", cross_entropy(outputs, y))
        self.log("accuracy", (outputs.argmax(-1) == y).float().mean())

    def configure_optimizers(self):
        return self.task.stepper(self.parameters())


def hand_written(task: Task, seeds: int, watch: Stopwatch):
    run(hand_written_epochs(task), watch)


def lightning(task: Task, seeds: int, watch: Stopwatch):
    """One seed, with nothing switched on that `fit` does not have; evaluation in one batch."""
    data = task.data
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
    trainer.fit(Plain(task), DataLoader(train, task.batch_size, shuffle=True), parts)


def course(task: Task, seeds: int, watch: Stopwatch):
    """`fit`, in a run so long that it compiles; returns how it trained."""
    return whole_fit(task, seeds, **ENDLESS, callbacks=[watch]).history.attrs


def jax(task: Task, seeds: int, watch: Stopwatch):
    from jax_epochs import jax_epochs

    replicas = Replicas(task.network, range(seeds), Objective(cross_entropy, accuracy))
    state = {name: tensor.detach() for name, tensor in replicas.named_parameters()}
    batches = Batches(task.data, task.batch_size, range(seeds))
    run(jax_epochs(state, batches, task.options["lr"]), watch)


CONTENDERS = {"by hand": hand_written, "Lightning": lightning, "fit": course, "JAX": jax}


def whole_fit(task: Task, seeds: int, **limits) -> Run:
    settings = {"batch_size": task.batch_size, "seeds": seeds, "progress": False}
    return fit(task.network, task.data, **settings, **task.options, **limits)


def peak_memory(contender: str, task: Task, seeds: int) -> float:
    """MiB by which this process grows while training; meant for one that has only imported."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as os.environ["TORCHINDUCTOR_CACHE_DIR"]:
        CONTENDERS[contender](task, seeds, Stopwatch(laps=1))
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return growth / (2**20 if sys.platform == "darwin" else 2**10)
