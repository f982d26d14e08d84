"""All kinds of networks: both sizes of batch, two optimizers, recorded and not.

Prints a table of how each is trained, and writes it to build/zoo.md.
"""

import re
import warnings
from itertools import product
from pathlib import Path

import pytest
import torch

from course_lib.training import cohort, compiling, fit
from course_lib.training.replicas import seeded
from tests.training.zoo import (
    AS_ONE,
    KINDS,
    NOT,
    ONE_BY_ONE,
    hand_written_loop,
    largest_difference,
    measured_losses,
)

SEEDS = [5, 7]
BATCHES = {"small": 16, "large": 150}
OPTIMIZERS = {
    "SGD": (torch.optim.SGD, {"lr": 0.02, "momentum": 0.9}),
    "Adam": (torch.optim.Adam, {"lr": 1e-3}),
}
WAYS = {"eager": 10**9, "recorded": 0}  # calls that make up for recording
OURS = r"network|loss|metrics|data|optimizer"
FOREIGN = r"vmap|functorch|BatchedTensor|functional_call|SymInt"
TABLE = Path(__file__).parents[2] / "build/zoo.md"


@pytest.fixture(scope="module")
def table():
    """Rows of the table: how each kind is trained, why, and how far it is from the loop."""
    rows: dict[str, list] = {}
    yield rows
    ways = [how for how, _, _ in rows.values()]
    lines = ["| Kind | Trained | Reason | Largest deviation |", "|---|---|---|---|"]
    lines += [f"| {name} | {how} | {why} | {far:.0e} |" for name, (how, why, far) in rows.items()]
    text = ", ".join(f"{ways.count(how)} {how}" for how in (AS_ONE, ONE_BY_ONE, NOT))
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text("\n".join([*lines, "", f"{len(rows)} kinds: {text}.", ""]))
    print("\n" + TABLE.read_text())


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", KINDS)
def test_each_seed_ends_where_the_loop_ends(name, table, monkeypatch):
    """Or `fit` says what is wrong, in words of its own."""
    kind, far = KINDS[name], 0.0
    # So that the small batches are stacked and the large ones are not, of digits and of words.
    monkeypatch.setattr(cohort, "STACKED_UP_TO", dict.fromkeys(cohort.STACKED_UP_TO, 1_100))
    for size, optimizer, way in product(BATCHES, OPTIMIZERS, WAYS):
        if kind.needs not in (None, optimizer):
            continue
        monkeypatch.setattr(compiling, "RECORDING_PAYS", WAYS[way])
        monkeypatch.setattr(compiling, "COMPILING_PAYS", 10**9)
        made, options = OPTIMIZERS[optimizer]
        settings = {"batch_size": BATCHES[size], "optimizer": made, "max_epochs": 2, **options}
        settings["loss"] = kind.loss
        if kind.trained == NOT:
            why = refusal(kind, settings)
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run = fit(kind.make, kind.data(), seeds=SEEDS, metrics={}, progress=False, **settings)
        why = run.history.attrs["one_by_one"]
        assert bool(why) == (kind.trained != AS_ONE) and kind.reason in why, why
        if kind.repeats:
            far = max(far, deviation(kind, run, settings))
            assert far < kind.tolerance, (size, optimizer, way)
    table[name] = kind.trained, why, far


def refusal(kind, settings) -> str:
    settings = {**settings, "max_epochs": 40}  # one of them fails after thirty updates
    with pytest.raises(ValueError, match=kind.reason) as refused:
        fit(kind.make, kind.data(), seeds=SEEDS, metrics={}, progress=False, **settings)
    message = str(refused.value)
    assert not re.search(FOREIGN, message), message
    return message.partition("\n")[0][-160:]


def deviation(kind, run, settings) -> float:
    """Of weights, buffers and the last losses, over all seeds."""
    data, differences = kind.data(), []
    last = run.history[run.history.epoch == 2].set_index("seed")
    for seed, trained in zip(SEEDS, run.networks, strict=True):
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = hand_written_loop(kind.make, data, seed, **settings)
            losses = measured_losses(expected, data, kind.loss)
        assert largest_difference(trained, seeded(kind.make, seed)[0]) > 1e-4, "nothing was trained"
        own = last.loc[seed, ["train_loss", "val_loss"]]
        differences += [abs(mine - loop) for mine, loop in zip(own, losses, strict=True)]
        differences.append(largest_difference(trained, expected))
    return max(differences)
