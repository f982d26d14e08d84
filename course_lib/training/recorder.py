"""What is measured while a cohort trains."""

import time
from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Callback, Trainer

from course_lib.training.batches import Batches
from course_lib.training.cohort import Cohort

MEASURES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")


class Recorder(Callback):
    """Evaluates before training and after each epoch; keeps the time of training alone.

    Args:
        batches: what the cohort is trained on.
        stop_at: a measure and the value to reach; training ends with the epoch in which the
            last seed has reached it or has diverged.
    """

    def __init__(self, batches: Batches, stop_at: dict[str, float] | None):
        self.batches, self.stop_at = batches, stop_at
        self.seconds, self.epoch, self.examples = 0.0, 0.0, 0
        self.rows, self.finished = [], torch.tensor(False)

    def on_train_start(self, trainer: Trainer, cohort: Cohort) -> None:
        self._evaluate(trainer, cohort)

    def on_train_epoch_start(self, trainer: Trainer, cohort: Cohort) -> None:
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, cohort: Cohort) -> None:
        self.seconds += time.perf_counter() - self.started
        whole, new = self.batches.samples_per_epoch, cohort.examples - self.examples
        self.epoch = (self.epoch * whole + new) / whole
        self.examples = cohort.examples
        self._evaluate(trainer, cohort)
        trainer.should_stop |= self.stop_at is not None and bool(self.finished.all())

    def on_train_end(self, trainer: Trainer, cohort: Cohort) -> None:
        """Give the cohort its history: one row per seed and evaluation, as `training.Run` says."""
        frames = [pd.DataFrame(row) for row in self.rows]
        history = pd.concat(frames, ignore_index=True).astype(dict.fromkeys(MEASURES, float))
        if (history.epoch % 1 == 0).all():
            history["epoch"] = history.epoch.astype(int)
        history["diverged"] = ~np.isfinite(history.train_loss)
        history.attrs = {
            "compiled": cohort.compiler.function is not None,
            "compile_seconds": cohort.compiler.seconds,
        }
        cohort.history = history

    def _evaluate(self, trainer: Trainer, cohort: Cohort) -> None:
        cohort.synchronize_buffers()
        measured = dict(zip(MEASURES, self._measured(cohort), strict=True))
        trainer.callback_metrics.update({name: each.mean() for name, each in measured.items()})
        self._mark_finished(measured)
        counted = {
            "batch_size": self.batches.batch_size,
            "seed": cohort.seeds,
            "epoch": self.epoch,
            "step": trainer.global_step,
            "examples": self.examples,
            "seconds": self.seconds - cohort.compiler.seconds,
        }
        self.rows.append({**counted, **measured})

    def _measured(self, cohort: Cohort) -> Iterator[torch.Tensor]:
        data = self.batches.data
        for part in ((data.x_train, data.y_train), (data.x_val, data.y_val)):
            x, y = cohort.share(part, axis=0)
            means, _ = cohort.mean(cohort.evaluate(x, y), len(y))
            yield from means

    def _mark_finished(self, measured: dict[str, torch.Tensor]) -> None:
        self.finished = self.finished | ~measured["train_loss"].isfinite()
        for measure, target in (self.stop_at or {}).items():
            values = measured[measure]
            reached = values <= target if measure.endswith("loss") else values >= target
            self.finished = self.finished | reached
