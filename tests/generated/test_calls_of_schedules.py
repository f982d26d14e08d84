"""Generated calls: callbacks that change the batch size or the rate, alone and in fit."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytorch_lightning import Callback

import calls
import kinds
from calls import Argument, called, judge
from course_lib import MLP, TensorData, fit
from course_lib.schedules import (
    BatchSizeOnPlateau,
    BatchSizeScheduler,
    LearningRateScheduler,
    cyclic,
)

N = 12
X, Y = torch.linspace(-2, 3, N * 3).sin().view(N, 3), torch.arange(N) % 3
DATA = TensorData(X, Y, X[:6], Y[:6])
EPOCHS = kinds.whole(0, 4)


def network():
    return MLP((3,), (4,), 3)


def run(*callbacks, epochs=4, batch_size=4):
    settings = {"batch_size": batch_size, "max_epochs": epochs, "seeds": 1, "progress": False}
    return fit(network, DATA, lr=0.1, callbacks=callbacks, **settings).history


NO_SCHEDULES = [
    *(None, {}, 3, "ab", [1, 2], [(0, 1)], {-1: 2}, {1.5: 2}, {"a": 2}, {True: 2}, {None: 2}),
    *(pd.Series([2], index=[1]), {math.nan: 2}, {0}, np.array([1, 2])),
]
NO_SIZES = [0, -1, 2.0, True, None, "2", math.nan, 1j, [2]]


def at(schedule, epoch, before):
    """The value of the last epoch that has begun."""
    begun = [first for first in schedule if first <= epoch]
    return schedule[max(begun)] if begun else before


@calls.examples(8)
@given(
    called(
        schedule=Argument(
            st.dictionaries(EPOCHS, kinds.whole(1, N), min_size=1, max_size=3),
            st.sampled_from(NO_SCHEDULES)
            | st.builds(lambda size: {0: size}, st.sampled_from(NO_SIZES)),
            "schedule=|batch_size=",
        )
    )
)
def test_batch_size_scheduler(call):
    def right(scheduler, schedule):
        sizes = [scheduler.schedule(epoch, 4) for epoch in range(6)]
        assert sizes == [at(schedule, epoch, 4) for epoch in range(6)]

    judge("BatchSizeScheduler", BatchSizeScheduler, call, right)


@pytest.mark.slow
@calls.examples(3)
@given(
    called(
        schedule=Argument(
            st.dictionaries(EPOCHS, kinds.whole(1, N), min_size=1, max_size=3)
            | st.builds(cyclic, st.lists(st.integers(1, N), min_size=1, max_size=3)),
            st.builds(lambda e, s: {e: s}, st.integers(0, 2), st.sampled_from([N + 1, kinds.HUGE]))
            | st.sampled_from(NO_SIZES).map(lambda size: lambda epoch: size),
            "batch_size=",
        )
    )
)
def test_batch_size_scheduler_in_fit(call):
    def right(history, schedule):
        sizes = [schedule(e) if callable(schedule) else at(schedule, e, 4) for e in range(4)]
        assert history["batch_size"].tolist()[1:] == sizes
        assert (
            history["step"].tolist() == np.cumsum([0, *(-(-N // size) for size in sizes)]).tolist()
        )

    judge(
        "BatchSizeScheduler, fit", lambda schedule: run(BatchSizeScheduler(schedule)), call, right
    )


@calls.examples(8)
@given(
    called(
        sizes=Argument(
            [[1], (2, 3), np.array([4, 5]), range(1, 4), [kinds.HUGE], [np.uint8(200)]],
            [None, 3, "12", [], (), *([size] for size in NO_SIZES)],
            "sizes=|batch_size=",
        ),
        epochs=Argument(kinds.whole(1, 5), kinds.no_whole(0, -1)),
    )
)
def test_cyclic(call):
    def right(schedule, sizes, epochs):
        expected = np.repeat(np.array([int(size) for size in sizes], object), int(epochs))
        assert [schedule(e) for e in range(len(expected) * 2)] == [*expected, *expected]

    judge("cyclic", cyclic, call, right)


PLATEAU = {
    "monitor": Argument(["train_loss", "val_loss", "val_accuracy"], [None, 3, ["val_loss"], b"x"]),
    "factor": Argument(kinds.whole(2, 5) | st.just(kinds.HUGE), kinds.no_whole(0, 1, -2)),
    "patience": Argument(kinds.whole(0, 2) | st.just(kinds.HUGE), kinds.no_whole(-1)),
    "max_size": Argument(kinds.whole(1, 30) | st.just(kinds.HUGE), kinds.no_whole(0, -1)),
    "mode": Argument(
        ["min", "max", np.str_("max")], ["Min", None, 0, ["min"], np.array(["min", "max"])]
    ),
}


@pytest.mark.slow
@calls.examples(8)
@given(called(**PLATEAU))
def test_batch_size_on_plateau(call):
    def right(history, monitor, factor, patience, max_size, mode):
        """The rule, from the measured values; no batch is larger than the data."""
        size, best, waited, sizes = 4, math.inf, 0, []
        for value in history[monitor].tolist()[1:]:
            sizes.append(size)
            value = value if mode == "min" else -value
            waited = 0 if value < best else waited + 1
            best = min(best, value)
            if waited > patience:
                waited, size = 0, max(size, min(int(factor) * size, int(max_size), N))
        assert history["batch_size"].tolist()[1:] == sizes

    judge(
        "BatchSizeOnPlateau, fit", lambda **given_: run(BatchSizeOnPlateau(**given_)), call, right
    )


FACTORS = st.floats(0, 10) | st.sampled_from([0, 1, np.float32(0.5), np.int64(2)])
NO_FACTORS = [-1, -0.1, math.nan, math.inf, None, "1", 1j, True, kinds.BEYOND_FLOATS, [1.0]]
RATE = {
    "factors": Argument(
        st.none() | st.dictionaries(EPOCHS, FACTORS, min_size=1, max_size=3),
        st.sampled_from([each for each in NO_SCHEDULES if each is not None])
        | st.builds(lambda factor: {0: factor}, st.sampled_from(NO_FACTORS)),
        "factors?=",
    ),
    "warmup": Argument(kinds.whole(0, 5) | st.just(kinds.HUGE), kinds.no_whole(-1)),
    "start": Argument(
        st.floats(0, 1) | st.sampled_from([0, 1, np.float32(0.5)]),
        [
            *(
                -0.1,
                1.1,
                math.nan,
                math.inf,
                None,
                "a",
                True,
                kinds.BEYOND_FLOATS,
                1j,
                np.array([0.5]),
            )
        ],
    ),
}


def expected_factor(factors, warmup, start, epoch, update):
    share = min(update / int(warmup), 1) if warmup else 1
    return float(at(factors or {0: 1}, epoch, 1)) * (float(start) + (1 - float(start)) * share)


@calls.examples(11)
@given(called(**RATE), st.integers(0, 6), st.integers(0, 9))
def test_learning_rate_scheduler(call, epoch, update):
    def right(scheduler, **given_):
        expected = expected_factor(**given_, epoch=epoch, update=update)
        assert scheduler.factor(epoch, update) == pytest.approx(expected, rel=1e-6)

    judge("LearningRateScheduler", LearningRateScheduler, call, right)


class Rates(Callback):
    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, *_):
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])


@pytest.mark.slow
@calls.examples(4)
@given(called(**RATE))
def test_learning_rate_scheduler_in_fit(call):
    def rates(**given_):
        seen = Rates()
        run(LearningRateScheduler(**given_), seen, epochs=2)
        return seen.seen

    def right(seen, **given_):
        expected = [0.1 * expected_factor(**given_, epoch=t // 3, update=t) for t in range(6)]
        assert seen == pytest.approx(expected, rel=1e-6)

    judge("LearningRateScheduler, fit", rates, call, right)
