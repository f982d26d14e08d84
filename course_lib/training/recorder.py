"""What is measured while a cohort trains."""

import time

import pandas as pd
import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from course_lib.history import COUNTS, DIVERGED, arrived, diverged, measures
from course_lib.internals import updating_callback_metrics
from course_lib.training.cohort import Cohort


class Recorder(Callback):
    """Evaluates before training and after each epoch; keeps the time of training alone.

    Args:
        cohort: what is trained; at the end it gets its history.
        stop_at: a measure and the value to reach; training ends with the epoch in which the
            last seed has reached it or has diverged.
    """

    def __init__(self, cohort: Cohort, stop_at: dict[str, float] | None):
        self.cohort, self.batches, self.stop_at = cohort, cohort.batches, stop_at
        self.measures = measures(cohort.replicas.objective.metrics)
        self.seconds, self.epoch, self.examples = 0.0, 0.0, 0
        self.rows: list[dict] = []
        self.finished = torch.tensor(False)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._evaluate(trainer)

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.started = self._clock()

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.seconds += self._clock() - self.started
        whole, new = self.batches.samples_per_epoch, self.cohort.examples - self.examples
        self.epoch = (self.epoch * whole + new) / whole
        self.examples = self.cohort.examples
        self._evaluate(trainer)
        trainer.should_stop |= self.stop_at is not None and bool(self.finished.all())

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Give the cohort its history: one row per seed and evaluation, as `fit.Run` says."""
        history = pd.concat([pd.DataFrame(row) for row in self.rows], ignore_index=True)
        history = history.astype(dict.fromkeys(self.measures, float))
        if (history.epoch % 1 == 0).all():
            history["epoch"] = history.epoch.astype(int)
        history[DIVERGED] = diverged(history.train_loss)
        history.attrs = {
            "compiled": self.cohort.graphs.compiled,
            "compile_seconds": self.cohort.graphs.seconds,
            "one_by_one": self.cohort.replicas.alone or "",
        }
        self.cohort.history = history

    def _clock(self) -> float:
        """Seconds, standing still while operations are recorded or compiled."""
        return time.perf_counter() - self.cohort.graphs.seconds

    def _evaluate(self, trainer: Trainer) -> None:
        self.cohort.synchronize_buffers()
        parts = self.batches.train, self.batches.val
        values = [value.cpu() for part in parts for value in self.cohort.evaluate_samples(part)]
        measured = dict(zip(self.measures, values, strict=True))
        updating_callback_metrics(trainer, {name: each.mean() for name, each in measured.items()})
        self._mark_finished(measured)
        counts = self.batches.batch_size, self.cohort.seeds, self.epoch, trainer.global_step
        counted = zip(COUNTS, (*counts, self.examples, self.seconds), strict=True)
        self.rows.append({**dict(counted), **measured})

    def _mark_finished(self, measured: dict[str, torch.Tensor]) -> None:
        self.finished = self.finished | diverged(measured["train_loss"])
        for measure, target in (self.stop_at or {}).items():
            self.finished = self.finished | arrived(measure, measured[measure], target)
