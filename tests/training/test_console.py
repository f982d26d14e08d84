"""What a run shows and hears."""

import logging
import signal
import sys
import warnings
from functools import partial

import pytest
from IPython.core.interactiveshell import InteractiveShell
from pytorch_lightning import Callback
from tqdm import tqdm
from traitlets.config import Config

from course_lib.models import MLP
from course_lib.training import fit
from course_lib.training.console import interruptible, quiet_lightning
from zoo import Attending

fit = partial(fit, MLP, batch_size=32, seeds=1, lr=0.1)
LOGGERS = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]


@pytest.fixture(autouse=True)
def shown_bars(monkeypatch, no_threads_left):
    """`make lessons` switches them off."""
    monkeypatch.delenv("TQDM_DISABLE", raising=False)


def test_training_is_silent(data, capfd, caplog):
    with warnings.catch_warnings(), caplog.at_level(logging.INFO, "pytorch_lightning"):
        warnings.simplefilter("error")
        fit(data, max_epochs=1, progress=False)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_operations_that_are_not_batched_are_no_news(data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = fit.func(
            Attending, data, batch_size=32, seeds=2, lr=0.1, max_epochs=1, progress=False
        )
    assert not run.history.attrs["one_by_one"]


def test_one_progress_bar(data, capfd):
    fit(data, max_epochs=2)
    shown, errors = capfd.readouterr()
    assert shown.count("0/2") == 1 and "epoch/s" in shown and "fit" in shown
    assert errors == ""


def test_bar_counts_updates_where_the_trainer_does(data, capfd):
    fit(data, max_steps=10)
    assert "0/10" in (shown := capfd.readouterr().out) and "step/s" in shown


def test_bar_is_cleared_at_the_end(data, capfd):
    before = set(tqdm._instances)
    fit(data, max_epochs=2, stop_at={"val_accuracy": 0.0})
    assert capfd.readouterr().out.endswith("\r")
    assert set(tqdm._instances) == before


class Interrupts(Callback):
    def on_train_epoch_end(self, trainer, module):
        raise KeyboardInterrupt


class PressesCtrlC(Callback):
    def on_train_epoch_end(self, trainer, module):
        signal.raise_signal(signal.SIGINT)


class Fails(Callback):
    def on_train_epoch_end(self, trainer, module):
        raise RuntimeError("on purpose")


class Exits(Callback):
    def on_train_epoch_end(self, trainer, module):
        sys.exit(3)


@pytest.mark.parametrize("callback", [Interrupts, PressesCtrlC])
def test_interruption_stays_an_interruption(data, callback, capfd):
    handler = signal.getsignal(signal.SIGINT)
    for _ in range(2):  # the second time, too
        with pytest.raises(KeyboardInterrupt):
            fit(data, max_epochs=3, callbacks=[callback()], progress=False)
        assert signal.getsignal(signal.SIGINT) is handler
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("callback", "error"),
    [(Interrupts, KeyboardInterrupt), (Fails, RuntimeError), (Exits, SystemExit)],
)
def test_training_that_breaks_off_closes_its_bar(data, callback, error, capfd):
    """A bar that stays open, as long as its traceback lives, pushes the next one a line down."""
    before = set(tqdm._instances)
    with pytest.raises(error) as raised:
        fit(data, max_epochs=3, callbacks=[callback()])
    assert set(tqdm._instances) == before, f"the bar is open after {raised.value!r}"


def test_training_that_breaks_off_leaves_everything_as_it_was(data):
    levels, filters = [each.level for each in LOGGERS], list(warnings.filters)
    with pytest.raises(RuntimeError, match="on purpose"):
        fit(data, max_epochs=3, callbacks=[Fails()], progress=False)
    assert [each.level for each in LOGGERS] == levels
    assert warnings.filters == filters


def test_lightning_is_quiet_inside_alone():
    levels = [each.level for each in LOGGERS]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(KeyError), quiet_lightning():
            assert not any(each.isEnabledFor(logging.WARNING) for each in LOGGERS)
            warnings.warn_explicit("note", UserWarning, "trainer.py", 1, "pytorch_lightning.x")
            warnings.warn_explicit("shown", UserWarning, "own.py", 1, "own")
            raise KeyError
    assert [str(each.message) for each in warned] == ["shown"]
    assert [each.level for each in LOGGERS] == levels


def test_exit_that_follows_ctrl_c_is_an_interruption_again():
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interruptible():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # as Lightning does
            sys.exit(1)
    assert signal.getsignal(signal.SIGINT) is handler


INTERRUPTED = """\
from course_lib.training import collect
def stopped():
    raise KeyboardInterrupt
collect([stopped])
"""


def test_of_an_interruption_a_notebook_shows_one_line(capsys):
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    shell.run_cell(INTERRUPTED)
    InteractiveShell.clear_instance()
    last = capsys.readouterr().out.strip("\r\n ").splitlines()
    assert last[-1].strip() == "Interrupted; what the cells before have made is still there."
    assert "Traceback" not in "".join(last)


def test_other_exits_stay_exits(data):
    with pytest.raises(SystemExit), interruptible():
        sys.exit(2)
    with pytest.raises(SystemExit):
        fit(data, max_epochs=2, callbacks=[Exits()], progress=False)
