"""tools/replicate.py: learning claims on other seeds, and the replications that are shipped."""

import os
import sys
from concurrent.futures import Future
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook

import replicate
from course_lib import explorers, figures
from course_lib.claims import registry, sentence
from course_lib.claims.registry import registrations

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SHIPPED = NOTEBOOKS / "results" / "replication.csv"
SETS, SHARE = 20, 0.95
NOT_YET = {"02", "04", "05", "07"}  # lessons whose replications are to be run
IMPORTS = """\
import pandas as pd
from course_lib.checks import seeds
from course_lib.claims import claim, less
from course_lib.exercises import lesson_01
from course_lib.figures import show"""
VALUES = "low = pd.Series(0.0, index=seeds(8))\nhigh = low + 1 + low.index / 1_000"
CELLS = [
    IMPORTS,
    VALUES,
    'claim("1.1", "Low is less", less(low, high))',
    "show(no_figure, alt='None')",
    "lesson_01.q1.check(____)",
    "1 / 0",
    'claim("1.2", "High is less where 102,000 is a seed", less(high, low if 102_000 in low.index '
    "else high + 1))",
    'claim("1.3", "Exact", less(low, high))',
]
FAILS = "if 101_000 in high.index:\n    raise ValueError('no such run')\nlow = low + 0"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder with three registered claims a lesson; replications run in this process."""
    for lesson in (1, 2):
        (tmp_path / f"lesson_0{lesson}.toml").write_text(
            "".join(
                f'["{lesson}.{n}"]\nsentence = "S"\nkind = "{kind}"\nconditions = ""\n'
                'rival = ""\nchosen_on = ""\n'
                for n, kind in enumerate(["learning", "learning", "exact"], 1)
            )
        )
    monkeypatch.setattr(registry, "REGISTERED", tmp_path)
    monkeypatch.setattr(replicate, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(replicate, "ProcessPoolExecutor", Inline)
    monkeypatch.setattr(figures, "show", figures.show)
    monkeypatch.setattr(explorers, "explore", explorers.explore)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.chdir(tmp_path)
    registrations.cache_clear()
    yield tmp_path
    registrations.cache_clear()


class Inline:
    """Executes what is submitted at once; each replication begins without claims."""

    def __init__(self, *_, **__):
        self.executed = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, function, *arguments):
        sentence._shown.clear()
        future = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


def lesson(folder, number=1, cells=CELLS):
    """Write a lesson; one of its cells fails on purpose."""
    cells = [new_code_cell(cell.replace('"1.', f'"{number}.')) for cell in cells]
    for cell in cells:
        if cell.source == "1 / 0":
            cell.metadata["tags"] = ["raises-exception"]
    path = folder / f"0{number}_lesson.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return path


def run(folder, *paths, sets=2):
    """Replicate lessons; how many problems there were, and the table."""
    out = folder / "results" / "replication.csv"
    problems = replicate.main(list(paths), sets, 100_000, out, 1)
    rows = pd.read_csv(out, comment="#", dtype={"claim": str}) if out.exists() else None
    return problems, rows


def counted(monkeypatch):
    """The sets of seeds that are executed from here on."""
    executed, whole = [], replicate.replicate

    def counting(path, first_seed):
        executed.append((path.name[:2], first_seed))
        return whole(path, first_seed)

    monkeypatch.setattr(replicate, "replicate", counting)
    return executed


def test_each_learning_claim_has_a_row_for_each_set(folder):
    _, rows = run(folder, lesson(folder))
    assert list(rows.columns) == ["claim", "set", "held", "effect"]
    assert rows[["claim", "set"]].values.tolist() == [
        ["1.1", 100_000],
        ["1.1", 101_000],
        ["1.2", 100_000],
        ["1.2", 101_000],
    ]
    assert list(rows.held) == [True, True, True, True]
    assert list(rows.effect) == [101.004, 102.004, 1, 1]


def test_a_claim_that_held_in_too_few_sets_is_named(folder, capsys):
    problems, rows = run(folder, lesson(folder), sets=3)
    assert problems == 1
    assert list(rows.held) == [True, True, True, True, True, False]
    table, error = capsys.readouterr()
    lines = [line.split() for line in table.splitlines() if line.startswith("1.")]
    assert [line[:3] for line in lines] == [["1.1", "3", "3"], ["1.2", "2", "3"]]
    assert "NOT REPLICATED: claim 1.2 held in 2 of 3 sets\n" in error


@pytest.mark.parametrize(("held", "problems"), [(19, 0), (18, 1)])
def test_nineteen_of_twenty_are_enough(held, problems, capsys):
    table = pd.DataFrame({"held": [held], "sets": [20]}, index=["1.1"])
    assert replicate.reported(table, 20, []) == problems


def test_what_was_measured_is_not_measured_again(folder, monkeypatch):
    path = lesson(folder)
    _, first = run(folder, path)
    executed = counted(monkeypatch)
    assert run(folder, path)[0] == 0
    assert executed == []
    _, rows = run(folder, path, sets=3)
    assert executed == [("01", 102_000)]
    assert rows[rows["set"] < 102_000].values.tolist() == first.values.tolist()


@pytest.mark.parametrize(
    ("old", "new", "again"),
    [
        ("low + 1", "low + 2", True),
        ("1 / 0", "2 / 0", False),
        ("q1", "q2", False),
        ("alt='None'", "alt='Nothing'", False),
        ('"Exact"', '"Exactly"', False),
        ("seeds(8)\n", "seeds(8)  # a comment\n", False),
    ],
)
def test_rows_of_changed_experiments_are_dropped(folder, monkeypatch, old, new, again):
    path = lesson(folder)
    other = lesson(folder, 2)
    run(folder, path, other)
    executed = counted(monkeypatch)
    path = lesson(folder, 1, [cell.replace(old, new) for cell in CELLS])
    _, rows = run(folder, path, other)
    assert executed == [("01", 100_000), ("01", 101_000)] * again
    assert len(rows) == 8


def test_comments_and_white_space_are_no_change():
    source = "a = '#1'  # one\n# two\nif a:\n    b = f'{a}#'\n"
    assert replicate.bare(source) == "a='#1'ifa:b=f'{a}#'"


def test_rows_of_other_lessons_stay(folder):
    first, second = lesson(folder), lesson(folder, 2)
    run(folder, first)
    problems, rows = run(folder, second, sets=1)
    assert list(rows.claim) == ["1.1", "1.1", "1.2", "1.2", "2.1", "2.2"]
    assert problems == 0, "the other lesson's two sets are not this run's"


def test_a_set_that_fails_is_named_and_the_others_go_on(folder, capsys):
    path = lesson(folder, 1, [*CELLS[:2], FAILS, *CELLS[2:]])
    problems, rows = run(folder, path, lesson(folder, 2), sets=3)
    assert list(rows["set"][rows.claim == "1.1"]) == [100_000, 102_000]
    assert list(rows["set"][rows.claim == "2.1"]) == [100_000, 101_000, 102_000]
    errors = capsys.readouterr().err
    message = "NOT REPLICATED: 01_lesson, seeds from 101000: ValueError: no such run\n"
    assert message in errors and "NOT REPLICATED: claim 1.1 held in 2 of 3 sets\n" in errors
    assert problems == 4  # 1.1, 1.2, 2.2 and the failure


def test_a_claim_that_a_lesson_does_not_make_is_named(folder, capsys):
    problems, rows = run(folder, lesson(folder, 1, CELLS[:3]))
    assert problems == 1 and set(rows.claim) == {"1.1"}
    assert "claim 1.2 held in 0 of 2 sets" in capsys.readouterr().err


def test_where_every_set_fails_nothing_is_written(folder):
    problems, rows = run(folder, lesson(folder, 1, ["1 + '1'", *CELLS[2:3]]))
    assert problems == 4 and rows is None


def test_a_lesson_without_learning_claims_is_not_executed(folder, monkeypatch):
    executed = counted(monkeypatch)
    assert run(folder, lesson(folder, 3)) == (0, None)
    assert executed == []


def test_the_head_says_what_the_rows_stand_for(folder):
    path = lesson(folder)
    run(folder, path)
    head = (folder / "results/replication.csv").read_text()
    assert f"# lesson 01: {replicate.digest(path)}\n" in head
    assert "# date: 20" in head and "# set: the first seed of the set." in head


@pytest.mark.slow
def test_sets_run_in_processes_of_their_own(tmp_path, monkeypatch):
    wanted = replicate.learning_claims(Path("01_lesson.ipynb"))
    cells = [IMPORTS, VALUES, *(f'claim("{n}", "S", less(low, high))' for n in sorted(wanted))]
    monkeypatch.setattr(replicate, "NOTEBOOKS", tmp_path)
    before = Path.cwd()
    problems, rows = run(tmp_path, lesson(tmp_path, 1, cells))
    assert problems == 0 and len(rows) == 2 * len(wanted)
    assert Path.cwd() == before and "COURSE_FIRST_SEED" not in os.environ
    assert sys.modules["course_lib.figures"].show is figures.show


REPLICATED = [
    path for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")) if path.name[:2] not in NOT_YET
]


@pytest.mark.parametrize("path", REPLICATED, ids=lambda path: path.stem)
def test_every_learning_claim_is_replicated_as_its_lesson_stands(path):
    assert f"# {replicate.code_line(path)}" in SHIPPED.read_text().splitlines()
    summary = replicate.summary(shipped())
    for claim in sorted(replicate.learning_claims(path)):
        assert claim in summary.index, f"claim {claim} is not replicated"
        sets, held = summary.loc[claim, ["sets", "held"]]
        assert sets >= SETS and held >= SHARE * sets, f"claim {claim}: {held} of {sets}"


def test_no_replication_is_shipped_twice():
    assert not shipped().duplicated(["claim", "set"]).any()


def shipped() -> pd.DataFrame:
    return pd.read_csv(SHIPPED, comment="#", dtype={"claim": str})
