"""Generated calls: sweep against fit, collect against pandas, fits in threads, and the judge."""

import threading
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import calls
import kinds
from calls import Argument, Call, called, judge
from course_lib import MLP, TensorData, collect, fit, sweep

N, M = 12, 6
X, Y = torch.linspace(-2, 3, N * 3).sin().view(N, 3), torch.arange(N) % 3
MLP3, LINEAR = partial(MLP, (3,), (4,), 3), partial(MLP, (3,), (), 3)
DATA = TensorData(X, Y, X[:M], Y[:M])
COLUMNS = [*("batch_size", "seed", "epoch", "step", "examples", "train_loss", "val_loss")]


def dropout():
    return nn.Sequential(nn.Linear(3, 8), nn.Dropout(), nn.Linear(8, 3))


@pytest.mark.slow
@calls.examples(6)
@given(
    called(
        batch_sizes=Argument(
            [[4], (3, "full"), np.array([2, 5]), range(4, 7), {6}, pd.Series([12], index=[3])],
            [[0], [4, 13], [2.5], [True], ["Full"], "full", [None], [kinds.HUGE], [[3]]],
            "batch_size",
        ),
        seeds=Argument(kinds.SEEDS, kinds.NO_SEEDS, "seeds="),
        lr=Argument(
            [0.1, np.float32(0.2), lambda size: size / 100],
            [*("0.1", None, 0, -1, np.nan, True, lambda size: None, lambda size: -size)],
            r"\blr=",
        ),
        max_steps=Argument(kinds.whole(1, 3), kinds.no_whole(0, -1)),
    )
)
def test_sweep(call):
    def swept(**arguments):
        return sweep(MLP3, DATA, progress=False, **arguments)

    def right(table, batch_sizes, seeds, lr, max_steps):
        rates = [lr(DATA.checked_batch_size(b)) if callable(lr) else lr for b in batch_sizes]
        runs = [
            fit(
                MLP3,
                DATA,
                batch_size=b,
                seeds=seeds,
                lr=rate,
                max_steps=max_steps,
                progress=False,
            )
            for b, rate in zip(batch_sizes, rates, strict=True)
        ]
        expected = pd.concat([run.history for run in runs], ignore_index=True)
        pd.testing.assert_frame_equal(table[COLUMNS], expected[COLUMNS])

    judge("sweep", swept, call, right)


def table_of(number):
    return pd.DataFrame({"a": [number, 2.5], "b": ["x", "y"]}, index=[7, 3])


@calls.examples(8)
@given(
    called(
        cells=Argument(
            st.lists(
                st.integers(0, 9).map(lambda n: partial(table_of, n)), min_size=1, max_size=4
            ).flatmap(lambda cells: st.sampled_from([cells, tuple(cells)])),
            [[], ()],
        )
    )
)
def test_collect(call):
    def right(table, cells):
        expected = pd.concat([cell() for cell in cells], ignore_index=True)
        pd.testing.assert_frame_equal(table, expected)

    judge("collect", partial(collect, progress=False), call, right)


@pytest.mark.slow
@pytest.mark.parametrize("networks", [(MLP3, LINEAR), (dropout, MLP3), (dropout, dropout)])
def test_two_fits_in_two_threads_are_as_one_after_the_other(networks):
    """Also where networks draw random numbers, of which all threads have the same."""
    settings = {"batch_size": 5, "max_epochs": 3, "seeds": 3, "lr": 0.1, "progress": False}
    alone = [fit(network, DATA, **settings) for network in networks]
    runs = {}

    def train(position, network):
        runs[position] = fit(network, DATA, **settings)

    threads = [threading.Thread(target=train, args=each) for each in enumerate(networks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(calls.SECONDS)
    for position, run in enumerate(alone):
        assert runs[position].history[COLUMNS].equals(run.history[COLUMNS])


def test_the_judge_finds_what_it_is_to_find():
    def silent(a):
        return a

    def fails(result, a):
        raise AssertionError("wrong")

    balance = calls.BALANCE
    calls.BALANCE = calls.Balance()
    try:
        for call, right, found in (
            (Call({"a": 1}, {"a": "a"}), print, "silent"),
            (Call({"a": 1}), fails, "silent"),
        ):
            with pytest.raises(AssertionError):
                judge("judged", silent, call, right)
            assert calls.BALANCE.counts["judged", found] > 0
        with pytest.raises(ValueError):
            judge("judged", lambda a: int("no"), Call({"a": 1}, {"a": "nothing"}), print)
        assert calls.BALANCE.of("foreign") == 1
    finally:
        calls.BALANCE = balance
