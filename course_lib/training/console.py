"""What a run shows and hears: its progress bar, no notes of Lightning's, Ctrl-C."""

import logging
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_only
from tqdm import tqdm


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Without Lightning's notes on hardware, data loading and checkpoints."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            # Some operations vmap takes one replica at a time; the user can do nothing about it.
            warnings.filterwarnings("ignore", message="There is a performance drop")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C while something trains, of which a notebook shows one line."""

    def _render_traceback_(self) -> list[str]:
        return ["Interrupted; what the cells before have made is still there."]


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C raises Interrupted; Lightning would exit Python and switch Ctrl-C off."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted from None
    except SystemExit as stopped:
        if not isinstance(stopped.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise Interrupted from None


class ProgressBar(Callback):
    """One bar for one run: epochs, or updates where the Trainer counts updates."""

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.by_step = trainer.max_steps != -1
        total, unit = (trainer.max_steps, "step") if self.by_step else (trainer.max_epochs, "epoch")
        self.bar = tqdm(total=total, unit=unit, desc="fit", leave=False, file=sys.stdout)

    @rank_zero_only
    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        done = trainer.global_step if self.by_step else trainer.current_epoch + 1
        self.bar.update(done - self.bar.n)

    @rank_zero_only
    def on_exception(
        self, trainer: Trainer, module: LightningModule, exception: BaseException
    ) -> None:
        self.teardown(trainer, module, "fit")

    @rank_zero_only
    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        if bar := getattr(self, "bar", None):
            bar.close()
