"""The page of all claims is read from the lessons' outputs."""

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook, new_output

import claims_page

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def measured(number, common_belief):
    """The output of claim()."""
    claim = {"number": number, "sentence": "More is less", "numbers": "2 | 1", "holds": True}
    claim["common_belief"] = common_belief
    return new_output("display_data", {claims_page.CLAIM: claim})


def test_the_page_is_that_of_the_lessons():
    assert (NOTEBOOKS / "CLAIMS.md").read_text() == claims_page.table(NOTEBOOKS)


def test_the_page_has_a_row_for_each_claim(tmp_path):
    outputs = [measured("1.1", common_belief=False), measured("1.2", common_belief=True)]
    notebook = new_notebook(cells=[new_code_cell("claim(...)", outputs=outputs)])
    nbformat.write(notebook, tmp_path / "01_one.ipynb")
    rows = claims_page.table(tmp_path).removeprefix(claims_page.HEAD).splitlines()
    assert rows == [
        r"| [1.1](01_one.ipynb) | More is less | 2 \| 1 | no, against the common belief |",
        r"| [1.2](01_one.ipynb) | More is less | 2 \| 1 | yes |",
    ]
