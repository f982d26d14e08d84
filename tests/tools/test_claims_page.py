"""The page of all claims is read from the lessons' outputs, and from what was registered."""

import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

import claims_page
from course_lib.claims import registry

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
REGISTERED = """
["1.1"]
sentence = "More is less"
kind = "learning"
conditions = "digits"
rival = "nothing"
belief = "Smith 2018: more is | more"
chosen_on = "seeds 0 to 15"

["1.2"]
sentence = "One is one"
kind = "exact"
conditions = "none"
rival = "two"
chosen_on = ""
"""
FORMER = """\
number,fate,became,note,sentence
1.1,kept,1.2,,One is one
1.2,kept,1.1,with a rival,Less is more
1.3,corrected,1.1,,"More, or less"
1.4,dropped,,a timing of one machine,It is fast
1.5,kept,2.1,,Two is two
"""


def measured(number, sentence):
    """The output of claim()."""
    claim = {"number": number, "sentence": sentence, "shown": "median 2 | 1 nats", "holds": True}
    return new_output("display_data", {claims_page.CLAIM: claim | {"details": "", "effect": 1.0}})


def test_the_page_is_that_of_the_lessons():
    assert (NOTEBOOKS / "CLAIMS.md").read_text() == claims_page.table(NOTEBOOKS)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A lesson with two claims, its registrations, and a first edition of five."""
    (tmp_path / "lesson_01.toml").write_text(REGISTERED)
    (tmp_path / "first.csv").write_text(FORMER)
    monkeypatch.setattr(registry, "REGISTERED", tmp_path)
    monkeypatch.setattr(claims_page, "FIRST_EDITION", tmp_path / "first.csv")
    outputs = [measured("1.1", "More is less"), measured("1.2", "One is one")]
    notebook = new_notebook(cells=[new_code_cell("claim(...)", outputs=outputs)])
    nbformat.write(notebook, tmp_path / "01_one.ipynb")
    registry.registrations.cache_clear()
    yield tmp_path
    registry.registrations.cache_clear()


def rows(folder):
    page = claims_page.table(folder).removeprefix(claims_page.HEAD)
    return page.partition(claims_page.FORMERLY)[0].splitlines()


def test_the_page_has_a_row_for_each_claim(folder):
    assert rows(folder) == [
        r"| [1.1](01_one.ipynb) | More is less | median 2 \| 1 nats | not yet | "
        r"Smith 2018: more is \| more |",
        r"| [1.2](01_one.ipynb) | One is one | median 2 \| 1 nats | exact |  |",
    ]


def test_the_page_says_how_often_a_claim_was_replicated(folder):
    (folder / "results").mkdir()
    table = "".join(f"1.1,{n},{n > 0},1.0\n" for n in range(20))
    (folder / "results/replication.csv").write_text(f"claim,set,held,effect\n{table}")
    assert [row.split(" | ")[3] for row in rows(folder)] == ["19 of 20", "exact"]


def test_the_page_says_what_became_of_the_first_edition(folder):
    assert claims_page.table(folder).partition(claims_page.FORMERLY)[2].splitlines() == [
        "- **1.1** One is one. *Kept as 1.2.*",
        "- **1.2** Less is more. *Kept as 1.1, with a rival:* More is less.",
        "- **1.3** More, or less. *Corrected to 1.1:* More is less.",
        "- **1.4** It is fast. *Dropped as a claim: a timing of one machine.*",
        "- **1.5** Two is two. *Kept as 2.1.*",
    ]


def test_every_claim_of_the_first_edition_is_accounted_for():
    old = claims_page.first_edition()
    counts = {1: 7, 2: 9, 3: 9, 4: 7, 5: 8, 6: 8, 7: 7, 8: 7}
    numbers = [f"{lesson}.{n}" for lesson, count in counts.items() for n in range(1, count + 1)]
    assert [claim["number"] for claim in old] == numbers
    for claim in old:
        assert claim["fate"] in claims_page.FATES
        assert bool(claim["became"]) == (claim["fate"] != "dropped")
        assert claim["note"] or claim["fate"] != "dropped"


def test_what_a_claim_became_is_registered_once():
    became = [claim["became"] for claim in claims_page.first_edition() if claim["became"]]
    assert len(set(became)) == len(became)
    for number in became:
        registrations = registry.registrations(int(re.match(r"\d+", number)[0]))
        assert not registrations or number in registrations
