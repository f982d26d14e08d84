"""Measure every learning claim again on other seeds, and write in which sets of seeds it held.

A replication executes a lesson's measuring cells as they are, but for COURSE_FIRST_SEED: `seeds=16`
then stands for 16 other seeds, each with a split of its own. Tables are written after each set, so
a run that was stopped goes on where it was; if these cells have changed the old rows are dropped.
"""

import argparse
import hashlib
import io
import os
import sys
import tokenize
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stdout
from multiprocessing import active_children, get_context
from pathlib import Path

import nbformat
import pandas as pd
from tqdm import tqdm

import provenance
import slicing
import stamp
from course_lib.claims.registry import registrations

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
COLUMNS = {"claim": str, "set": int, "held": bool, "effect": float}
APART = 1_000  # from the first seed of a set to that of the next; no lesson takes as many
ENOUGH = 0.95  # of the sets: a claim that holds in fewer is reworded or dropped
PRELOADED = ["course_lib", "course_lib.figures", "seaborn", "torchmetrics.functional"]
NOTE = """\
Each learning claim on other seeds, a set of them a row, each seed with a split of its own.
set: the first seed of the set. held: whether the claim held. effect: as the claim reports it."""


def code_cells(path: Path) -> list[str]:
    """The code of a lesson, without set-up, exercises and cells that fail on purpose."""
    cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    cells = [cell for cell in cells if not cell.source.startswith(stamp.SETUP)]
    passing = [cell for cell in cells if "raises-exception" not in cell.metadata.get("tags", [])]
    return [cell.source for cell in passing if ".check(" not in cell.source]


def measuring(path: Path) -> list[str]:
    """The cells of a lesson that a replication executes."""
    return slicing.needed(code_cells(path), learning_claims(path))


def digest(path: Path) -> str:
    """Tells two versions of a lesson's experiments apart, by the code of its replications."""
    text = "\n".join(map(bare, measuring(path)))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def bare(source: str) -> str:
    """Code without comments and white space: of every Python the same, as its tree is not."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    return "".join("".join(lines).split())


def learning_claims(path: Path) -> set[str]:
    """The numbers of a lesson's claims that other seeds could refute."""
    claims = registrations(int(path.name[:2]))
    return {number for number, claim in claims.items() if claim.kind == "learning"}


def replicate(path: Path, first_seed: int) -> list[tuple[str, int, bool, float]]:
    """Measure a lesson's learning claims with other seeds; rows of the table."""
    os.environ |= {"COURSE_FIRST_SEED": str(first_seed), "COURSE_STRICT": "0"}
    os.environ |= {"MPLBACKEND": "Agg", "TQDM_DISABLE": "1"}
    os.chdir(path.parent)
    from course_lib import explorers, figures
    from course_lib.claims.sentence import shown

    figures.show = explorers.explore = lambda drawing, alt: None
    namespace = {"__name__": "__main__"}
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        for source in measuring(path):
            exec(compile(source, path.stem, "exec"), namespace)
    for worker in active_children():  # of the lesson's sweeps: they would wait for more
        worker.terminate()
    wanted = learning_claims(path)
    return [
        (c.number, first_seed, c.holds, c.evidence.effect) for c in shown() if c.number in wanted
    ]


def kept(out: Path, paths: list[Path]) -> pd.DataFrame:
    """The rows of a former run that the lessons' code still stands for."""
    if not out.exists():
        return table([])
    head = out.read_text().splitlines()
    current = [path for path in paths if f"# {code_line(path)}" in head]
    rows = pd.read_csv(out, comment="#", dtype={"claim": str})
    return rows[rows.claim.isin(set().union(*map(learning_claims, current)))]


def table(rows: list[tuple[str, int, bool, float]]) -> pd.DataFrame:
    """Rows as `replicate` returns them, with the types of the columns."""
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def code_line(path: Path) -> str:
    """What the head of the table says of a lesson's code."""
    return f"lesson {path.name[:2]}: {digest(path)}"


def missing(
    paths: list[Path], first_seeds: list[int], rows: pd.DataFrame
) -> Iterator[tuple[Path, int]]:
    """The lessons and sets of which a claim has no row yet."""
    done = set(zip(rows.claim, rows["set"], strict=True))
    for seed in first_seeds:
        for path in paths:
            if not {(number, seed) for number in learning_claims(path)} <= done:
                yield path, seed


def write(out: Path, rows: pd.DataFrame, codes: list[str]) -> None:
    """Write all rows, in order, below the code that they stand for."""
    rows = rows.assign(place=rows.claim.map(place)).sort_values(["place", "set"])
    provenance.write(out, [*NOTE.splitlines(), *provenance.lines(), *codes], rows[list(COLUMNS)])


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """For each claim, in how many sets it held, of how many, and the range of its effect."""
    grouped = rows.groupby("claim", sort=False)
    return grouped.agg(
        held=("held", "sum"), sets=("held", "size"), least=("effect", "min"), most=("effect", "max")
    )


def main(paths: list[Path], sets: int, start: int, out: Path, processes: int) -> int:
    """Run what is missing; return how many sets failed and claims held in too few."""
    lessons = sorted({*NOTEBOOKS.glob("[0-9]*.ipynb"), *paths})
    rows, codes = kept(out, lessons), list(map(code_line, lessons))
    first_seeds = [start + APART * number for number in range(sets)]
    failures = []
    context = get_context("forkserver")  # a lesson's set begins with the imports done
    context.set_forkserver_preload(PRELOADED)
    with ProcessPoolExecutor(processes, context, max_tasks_per_child=1) as pool:
        jobs = {pool.submit(replicate, *each): each for each in missing(paths, first_seeds, rows)}
        for job in tqdm(as_completed(jobs), total=len(jobs), desc="replications"):
            path, seed = jobs[job]
            if error := job.exception():
                failures.append(f"{path.stem}, seeds from {seed}: {type(error).__name__}: {error}")
                continue
            rows = pd.concat([rows, table(job.result())])
            rows = rows.drop_duplicates(["claim", "set"], keep="last")
            write(out, rows, codes)
    counts = summary(rows[rows["set"].isin(first_seeds)])
    wanted = set().union(*map(learning_claims, paths))
    return reported(counts.reindex(sorted(wanted, key=place)), sets, failures)


def place(number: str) -> tuple[int, ...]:
    """Lesson and number of a claim, to sort by."""
    return tuple(map(int, number.split(".")))


def reported(counts: pd.DataFrame, sets: int, failures: list[str]) -> int:
    """Print all claims, those that held in too few sets and what failed; count the latter two."""
    counts = counts.fillna({"held": 0, "sets": 0}).astype({"held": int, "sets": int})
    print(counts.to_string())
    short = counts.held[counts.held < ENOUGH * sets]
    problems = [f"claim {claim} held in {held} of {sets} sets" for claim, held in short.items()]
    for problem in [*problems, *failures]:
        print(f"NOT REPLICATED: {problem}", file=sys.stderr)
    return len(problems) + len(failures)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=20)
    parser.add_argument("--start", type=int, default=100_000, help="the first seed of all")
    parser.add_argument("--out", type=Path, default=NOTEBOOKS / "results" / "replication.csv")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="sets at a time")
    parser.add_argument("notebooks", nargs="*", type=Path)
    given = parser.parse_args()
    lessons = [path.resolve() for path in given.notebooks or sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))]
    sys.exit(min(main(lessons, given.sets, given.start, given.out, given.processes), 1))
