"""Generated calls: reached on tables, against a loop over their rows."""

from functools import partial

import numpy as np
import pandas as pd
import torch
from hypothesis import given
from hypothesis import strategies as st

import calls
import kinds
from calls import Argument, called, judge
from course_lib.history import PROGRESS, arrived, diverged, reached

LOSSES = st.sampled_from([0.1, 0.3, 0.5, 0.9, np.nan, np.inf])
MEASURES = ("train_loss", "val_loss", "val_accuracy")


@st.composite
def tables(draw):
    """Histories of several runs, with another index, where no seed has two runs in any order."""
    rows = []
    for size, seed in draw(st.sampled_from([[(4, 0)], [(4, 0), (4, 1)], [(4, 0), (8, 0), (8, 3)]])):
        rows += [
            {
                "batch_size": size,
                "seed": seed,
                "epoch": epoch,
                "step": epoch * 48 // size,
                "examples": epoch * 48,
                "seconds": epoch * 0.5,
                **{name: draw(LOSSES) for name in MEASURES},
            }
            for epoch in range(draw(st.integers(1, 4)))
        ]
    table = pd.DataFrame(rows)
    table["diverged"] = diverged(table["train_loss"])
    if draw(st.booleans()) and table.groupby("seed")["batch_size"].nunique().max() == 1:
        table = table.iloc[draw(st.permutations(range(len(table))))]
    if draw(st.booleans()):
        table.index = table.index[::-1] * 3 + 100
    return table


WHOLE = pd.DataFrame({name: [0.0, 1.0] for name in ("batch_size", "seed", *PROGRESS, *MEASURES)})
NO_TABLES = [
    *(
        None,
        3,
        "history",
        [],
        {},
        WHOLE.to_dict(),
        WHOLE["val_loss"],
        WHOLE.to_numpy(),
        pd.DataFrame(),
    ),
    *(WHOLE.drop(columns=name) for name in ("seed", "epoch", "step", "seconds")),
    *(WHOLE.astype({name: str}) for name in ("step", "seed", "seconds")),
]
NO_TARGETS = st.sampled_from(
    [
        *({}, {"val_loss": 1, "val_accuracy": 0.5}, {"loss": 1}, {"epoch": 1}, {"diverged": True}),
        *({"val_accuracy": value} for value in (95, -0.1, 1.01)),
        *(
            {"val_loss": value}
            for value in (None, "0.1", np.nan, True, 1j, [1], np.array([1.0]), kinds.BEYOND_FLOATS)
        ),
    ]
)
TARGETS = st.builds(
    lambda name, value, kind: {name: kind(value)},
    st.sampled_from(MEASURES),
    st.sampled_from([0.1, 0.3, 0.4, 0.9, 1, 0]),
    st.sampled_from([float, np.float64]),
)


exactly = partial(torch.tensor, dtype=torch.float64)


def runs_of(table):
    return table.groupby(["batch_size", "seed"], sort=False)


@calls.examples(28)
@given(
    called(
        history=Argument(tables(), NO_TABLES),
        target=Argument(
            TARGETS
            | st.sampled_from([{"val_loss": np.inf}, {"val_loss": -2}, {"val_loss": 2**70}]),
            NO_TARGETS,
            "target=|val_loss|val_accuracy",
        ),
    )
)
def test_reached(call):
    def right(table, history, target):
        [(name, threshold)] = target.items()
        expected = {}
        for key, run in runs_of(history):
            for _, row in run.sort_values("step").iterrows():
                good = row[name] <= threshold if "loss" in name else row[name] >= threshold
                if good and key not in expected:
                    expected[key] = tuple(row[[*PROGRESS]])
            expected.setdefault(key, (np.inf,) * len(PROGRESS))
        found = {(row.batch_size, row.seed): tuple(row[[*PROGRESS]]) for _, row in table.iterrows()}
        assert found == expected and len(table) == len(expected)

    judge("reached", lambda history, target: reached(history, **target), call, right)


@calls.examples(4)
@given(
    st.lists(LOSSES, min_size=1),
    st.sampled_from([np.array, pd.Series, exactly]),
    TARGETS,
)
def test_arrived_and_diverged(values, kind, target):
    [(name, threshold)] = target.items()
    call = calls.Call({"values": kind(values)})

    def both(values):
        return arrived(name, values, threshold), diverged(values)

    def right(found, values):
        for value, there, lost in zip(values.tolist(), *(f.tolist() for f in found), strict=True):
            assert there == (value <= threshold if "loss" in name else value >= threshold)
            assert lost == (not np.isfinite(value))

    judge("arrived, diverged", both, call, right)
