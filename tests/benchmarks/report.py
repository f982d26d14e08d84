"""Write build/benchmark.md from pytest-benchmark's record of `make bench`.

What was left out of the record (`pytest -k`) is left out of the tables.
"""

import json
import sys
from pathlib import Path

import pandas as pd

CELL, RUN = ["network", "batch_size"], ["network", "batch_size", "optimizer", "epochs"]
GOALS = {  # fit at S = 16, whatever the optimizer
    "MLP": {1: 150, 8: 35, 32: 15, 256: 4},
    "LeNet": {1: 16, 8: 9, 32: 4, 256: 1.2},
}
GOALS_FIRST, GOALS_LATER = [10, 8, 8, 5], [14, 12, 12, 7]  # whole runs, in their order
RATIOS = {  # columns of the first table: contender, seeds, optimizer
    "`fit`, SGD": ("fit", 16, "SGD"),
    "`fit`, momentum": ("fit", 16, "momentum"),
    "`fit`, AdamW": ("fit", 16, "AdamW"),
    "goal": None,
    "JAX, SGD": ("JAX", 16, "SGD"),
    "`fit`, 1 seed, SGD": ("fit", 1, "SGD"),
    "Lightning, 1 seed, SGD": ("Lightning", 1, "SGD"),
}
HEAD = """\
# Benchmark

{date}, {cpu}, {cores} cores, Python {python}, {versions}.
PyTorch's threads: {threads}. The machine's load just before: {load:.1f}. Written by `make bench`.
All on the digits; every way to train measures loss and accuracy on the training and the held-out
part after each epoch, and the time for that counts.
"""
TRAINING = """\
## A long run

How many times faster than a hand-written PyTorch loop with the same optimizer, per seed and epoch;
`fit` and JAX with 16 seeds, where nothing else is said. After each lap of whole epochs, at least
0.2 s, the hand-written loop makes one; a number is the median of {laps} such ratios (LeNet with
JAX: of {slow_laps}). Compiling is not in them. Its seconds stand beside them, for 16 seeds and SGD
/ momentum / AdamW: of what no row before has compiled, such as the evaluation, which all share.
Momentum is 0.9.{jax}

{table}
"""
WHOLE = """\
## A short run, everything counted

Seconds of 16 hand-written loops, one after another, over seconds of `fit` with 16 seeds: set-up,
recording, compiling and evaluation included, imports not. Each `fit` is in a process of its own:
the first one ever on a machine (nothing compiled), a later one (with what the first has left), and
one on a machine that a long run has compiled for. The loop runs for one seed after `fit`, in the
same process; its time counts 16 times. Medians of {repetitions}.

{table}
"""
MEMORY = """\
## Memory

MiB by which a process that has imported `course_lib` grows at its peak; SGD, `fit` with 16 seeds,
and with the compiler.

{table}
"""
IMPORT = """\
## Import

In fresh processes, medians of {imports}: `import course_lib` takes {course_lib:.2f} s,
`import pytorch_lightning` {pytorch_lightning:.2f} s, {ratio:.2f} times (goal: 1.2).
"""


def results(record: dict, test: str) -> pd.DataFrame:
    """All measurements of one test."""
    entries = [entry for entry in record["benchmarks"] if entry["name"].startswith(test)]
    return pd.DataFrame([{**(entry["params"] or {}), **entry["extra_info"]} for entry in entries])


def trainings(record: dict) -> pd.DataFrame:
    """One row a cell and contender: its times, and its ratio to the hand-written loop."""
    frame = results(record, "test_training")
    if frame.empty:
        return frame
    laps = frame.explode(["seconds", "reference_seconds"])
    laps["ratio"] = laps.seeds * laps.reference_seconds / laps.seconds
    columns = ["ratio", "seconds", "reference_seconds"]
    medians = laps[columns].astype(float).groupby(level=0).median()
    frame["laps"] = frame.seconds.map(len)
    return frame.assign(**medians, compile_seconds=frame.get("compile_seconds"))


def shown(numbers: pd.Series, form: str) -> list[str]:
    return ["–" if pd.isna(number) else form.format(number) for number in numbers]


def markdown(table: pd.DataFrame) -> str:
    """A table's columns and rows in Markdown."""
    rows = [list(table), [":---"] * table.shape[1], *table.astype(str).to_numpy()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def training_table(frame: pd.DataFrame) -> str:
    """Speeds and seconds of compiling; a network and a batch size a row."""
    rows = pd.MultiIndex.from_frame(frame[CELL].drop_duplicates())
    by_contender = frame.set_index(["contender", "seeds", "optimizer", *CELL]).sort_index()

    def column(value: str, *contender) -> pd.Series:
        wanted = [(*contender, *row) for row in rows]
        return by_contender[value].reindex(wanted).set_axis(rows)

    by_hand = frame[frame.optimizer == "SGD"].groupby(CELL).reference_seconds.median()
    columns = {"by hand, SGD, ms": shown(1e3 * by_hand.reindex(rows), "{:.1f}")}
    for name, contender in RATIOS.items():
        goals = [f"{GOALS[network][size]:g}" for network, size in rows]
        columns[name] = shown(column("ratio", *contender), "{:.1f}") if contender else goals
    fits = [contender for name, contender in RATIOS.items() if contender and contender[1] == 16]
    seconds = [shown(column("compile_seconds", *each), "{:.0f}") for each in fits[:3]]
    columns["compiling, s"] = [" / ".join(each) for each in zip(*seconds, strict=True)]
    return markdown(pd.DataFrame(columns, rows).reset_index())


def training_section(frame: pd.DataFrame) -> str:
    without = "" if "JAX" in set(frame.contender) else " JAX was not measured."
    laps = {"laps": frame.laps.max(), "slow_laps": frame.laps.min()}
    return TRAINING.format(**laps, jax=without, table=training_table(frame))


def whole_runs(record: dict) -> pd.DataFrame:
    """One row a repetition and process: seconds, seconds by hand and their ratio."""
    frame = results(record, "test_whole_run")
    if frame.empty:
        return frame
    frame = frame.melt([*RUN, "repetition", "seeds"], ["first", "later", "compiled"], "process")
    frame = frame.join(pd.DataFrame(frame.pop("value").tolist()))
    frame["ratio"] = frame.seeds * frame.by_hand / frame.seconds
    return frame


def whole_table(frame: pd.DataFrame) -> str:
    medians = frame.groupby([*RUN, "process"], sort=False)[["ratio", "seconds"]].median()
    medians = medians.unstack("process")
    rows = medians.index
    columns = {"16 by hand, s": (16 * frame.groupby(RUN).by_hand.median()).reindex(rows).round(1)}
    names = {"first": "first process", "later": "later ones", "compiled": "compiled before"}
    for process, name in names.items():
        columns[f"{name}, s"] = medians["seconds", process].round(1)
        columns[f"{name}, times faster"] = medians["ratio", process].round(1)
    table = pd.DataFrame(columns, rows)
    if len(rows) == len(GOALS_FIRST):
        table.insert(3, "goal", GOALS_FIRST)
        table.insert(6, "goal, later", GOALS_LATER)
    return markdown(table.reset_index())


def whole_section(frame: pd.DataFrame) -> str:
    repetitions = frame.repetition.nunique()
    return WHOLE.format(repetitions=repetitions, table=whole_table(frame))


def memory_section(memory: pd.DataFrame) -> str:
    table = memory.pivot_table("mebibytes", CELL, "contender", sort=False).round().reset_index()
    return MEMORY.format(table=markdown(table))


def import_section(imports: pd.DataFrame) -> str:
    seconds = imports.loc[0].map(lambda values: pd.Series(values).median())
    ratio = seconds.course_lib / seconds.pytorch_lightning
    return IMPORT.format(imports=len(imports.course_lib[0]), ratio=ratio, **seconds)


def head(record: dict) -> str:
    machine = record["machine_info"]
    return HEAD.format(
        date=record["datetime"][:10],
        cpu=machine["cpu"].get("brand_raw", machine["machine"]),
        cores=machine["cpu"]["count"],
        python=machine["python_version"],
        versions=", ".join(f"{name} {number}" for name, number in machine["versions"].items()),
        threads=machine["threads"],
        load=machine["load"],
    )


def main(path: Path) -> None:
    record = json.loads(path.read_text())
    frame, sections = trainings(record), [head(record)]
    measured = {training_section: frame, whole_section: whole_runs(record)}
    measured |= {memory_section: results(record, "test_memory")}
    measured |= {import_section: results(record, "test_import")}
    sections += [section(results) for section, results in measured.items() if len(results)]
    report = "\n".join(sections)
    (path.parent / "benchmark.md").write_text(report)
    print(report)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
