"""Write build/benchmark.md and build/cost.png from pytest-benchmark's record of `make bench`."""

import json
import sys
from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt

from course_lib.claims import Table

CELL = ["network", "batch_size"]
GOALS = [20, 15, 8, 2, 1] + [8, 8, 3, 1.2, 1]  # fit at S = 16: MLP, then LeNet
CUTS = {"seeds": "samples == 32", "samples": "seeds == 16"}  # the figure's two panels
TEXT = """\
# Benchmark

{date}, {cpu}, {cores} cores, Python {python}, {versions}.
PyTorch's threads: {threads}, but {cores} for `fit` in the sweep. The machine's load just before:
{load:.1f}. Written by `make bench`.

## Training

How many times faster than a hand-written PyTorch loop, per seed and epoch, on the digits; S is the
number of seeds. All measure loss and accuracy on the training and the held-out part after each
epoch, and the time for that counts. After each lap of whole epochs, at least 0.2 s, the
hand-written loop makes one; a number is the median of {laps} such ratios. `fit` is in a run so long
that it compiles where that is of use; the seconds of compiling, with nothing cached, are not in the
ratio but beside it (S = 16). MiB: by how much a process that has imported `course_lib` grows at its
peak (`fit` at S = 16, with the compiler).{jax}

{training}

![Seconds for one epoch of all seeds against their number, and against the batch size](cost.png)

## A sweep like lesson 3's, of LeNet

LeNet on the digits, SGD at 0.05, 16 seeds, 60 epochs or until every seed has reached 95 % held-out
accuracy. Seconds are all that pass, with evaluation and compiling. By hand: seconds per epoch of
the hand-written loop with one seed and one thread (median of {laps}) times the epochs of each seed
until it stops, added up; the sum was not run. In all: {seconds:.0f} s (goal: 60),
{times_faster:.1f} times faster than by hand.

{sweep}

## Cold start

In fresh processes, medians of {imports}: `import course_lib` takes {course_lib:.2f} s,
`import pytorch_lightning` {pytorch_lightning:.2f} s, {import_ratio:.2f} times (goal: 1.3).
"""


def results(record: dict, test: str) -> pd.DataFrame:
    """All measurements of one test."""
    entries = [entry for entry in record["benchmarks"] if entry["name"].startswith(test)]
    rows = [
        {**(entry["params"] or {}), **entry["extra_info"], "wall": entry["stats"]["max"]}
        for entry in entries
    ]
    return pd.DataFrame(rows)


def medians(lists: pd.Series) -> pd.Series:
    return lists.explode().astype(float).groupby(level=0).median()


def trainings(record: dict) -> pd.DataFrame:
    """One row a cell and contender: its times, and its ratio to the hand-written loop."""
    frame = results(record, "test_training")
    laps = frame.explode(["seconds", "reference_seconds"])
    frame["ratio"] = medians(laps.seeds * laps.reference_seconds / laps.seconds)
    frame["fit"] = medians(frame.seconds)
    frame["one_by_hand"] = medians(frame.reference_seconds)
    return frame


def training_table(record: dict, frame: pd.DataFrame) -> Table:
    """Speeds and peak memory; a network and a batch size a row."""
    memory = results(record, "test_memory").pivot_table("mebibytes", CELL, "contender", sort=False)
    at_16 = frame.query("contender == 'fit' and seeds == 16").set_index(CELL).loc[memory.index]
    ratios = frame.pivot(index=CELL, columns=["contender", "seeds"], values="ratio")
    ratios = ratios.loc[memory.index].dropna(axis="columns").map("{:.1f}".format)
    columns = {"by hand, ms": (1e3 * at_16.one_by_hand).map("{:.2f}".format)}
    columns |= {f"{name}, S = {seeds}": ratios[name, seeds] for name, seeds in ratios}
    columns["goal, S = 16"] = [f"{goal:g}" for goal in GOALS]
    columns["compiling, s"] = at_16.compile_seconds.round(1)
    columns |= {f"{name}, MiB": memory[name].round().astype(int) for name in memory}
    return Table(pd.DataFrame(columns, memory.index).reset_index())


def sweeps(record: dict) -> pd.DataFrame:
    frame = results(record, "test_sweep")
    frame["by_hand"] = medians(frame.reference_seconds) * frame.epochs
    return frame


def sweep_table(frame: pd.DataFrame) -> Table:
    columns = {
        "batch_size": frame.batch_size,
        "epochs of all seeds": frame.epochs,
        "seconds": frame.wall.round(1),
        "of these compiling": frame.compile_seconds.round(1),
        "by hand, s": frame.by_hand.round(1),
        "times faster": (frame.by_hand / frame.wall).round(1),
    }
    return Table(columns)


def draw(frame: pd.DataFrame) -> plt.Figure:
    """Seconds for an epoch of all seeds: against S at B = 32, and against B at S = 16."""
    frame = frame[frame.contender == "fit"].drop(columns="seconds")
    frame["by hand, one by one"] = frame.seeds * frame.one_by_hand
    ways = ["fit", "by hand, one by one"]
    frame = frame.melt(["network", "samples", "seeds"], ways, "trained", "seconds")
    sns.set_theme(style="whitegrid", palette="colorblind")
    figure, panels = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True)
    for axes, (x, fixed) in zip(panels, CUTS.items(), strict=True):
        style = {"hue": "network", "style": "trained", "markers": True, "legend": x == "samples"}
        sns.lineplot(frame.query(fixed), x=x, y="seconds", **style, ax=axes)
        axes.set(yscale="log", ylabel="seconds for an epoch of all seeds")
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:.0f}")
    panels[0].set(title="batch size 32", xlabel="number of seeds")
    panels[1].set(title="16 seeds", xlabel="batch size (samples)")
    sns.move_legend(panels[1], "upper left", bbox_to_anchor=(1, 1))
    figure.tight_layout()
    return figure


def text(record: dict, frame: pd.DataFrame) -> str:
    machine, sweep = record["machine_info"], sweeps(record)
    imports = results(record, "test_cold_start").drop(columns="wall").loc[0]
    seconds = imports.map(lambda values: pd.Series(values).median())
    return TEXT.format(
        date=record["datetime"][:10],
        cpu=machine["cpu"].get("brand_raw", machine["machine"]),
        cores=machine["cpu"]["count"],
        python=machine["python_version"],
        versions=", ".join(f"{name} {number}" for name, number in machine["versions"].items()),
        threads=machine["threads"],
        load=machine["load"],
        laps=len(frame.seconds[0]),
        jax="" if "JAX" in set(frame.contender) else " JAX is not installed and was skipped.",
        training=training_table(record, frame)._repr_markdown_(),
        sweep=sweep_table(sweep)._repr_markdown_(),
        seconds=sweep.wall.sum(),
        times_faster=sweep.by_hand.sum() / sweep.wall.sum(),
        imports=len(imports.course_lib),
        import_ratio=seconds.course_lib / seconds.pytorch_lightning,
        **seconds,
    )


def main(path: Path) -> None:
    record = json.loads(path.read_text())
    frame = trainings(record)
    report = text(record, frame)
    (path.parent / "benchmark.md").write_text(report)
    draw(frame).savefig(path.parent / "cost.png", dpi=110)
    print(report)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
