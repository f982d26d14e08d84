"""Parts of made-up lessons, and changes that break them."""

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_notebook, new_output

import claims_page
import lessons
import stamp
from lesson_rules import NAMES, ROOT

NAME = "01_epoch_batch_iteration.ipynb"
ADDRESS = stamp.address(ROOT)
SENTENCE = "More is less"
BADGE = stamp.badge(ADDRESS, NAME)
FIRST = f"""\
# Lesson 1

{BADGE}{chr(10) * 2 * bool(BADGE)}\
How many?

After this lesson you can count. Prerequisites: none. 20 minutes."""
TERMS = """\
| English | Simplified Chinese | Traditional Chinese |
|---|---|---|
| epoch | 轮次 | 週期 |
| batch | 批次 | 批次 |
| step | 步 | 步 |

All terms: [glossary](glossary.md)."""
REFERENCES = "## References\n\n[A paper](https://arxiv.org/abs/1609.04836)"
NEIGHBOURS = "\n".join(f"[{name}]({name})" for name in NAMES[:2])


def figure(alt="A curve that falls.", **others):
    """An image output; the test is about its metadata, so its content may be anything."""
    data = {"image/png": "AAAA", "text/plain": alt, **others}
    return new_output("display_data", data, metadata={"image/png": {"alt": alt}})


def measured(number, holds=True, sentence=SENTENCE):
    """The output of claim()."""
    claim = {"number": number, "sentence": sentence, "shown": "median 2 against 1 epochs"}
    claim |= {"details": "difference 1", "holds": holds, "effect": 1.0, "repetitions": 16}
    line = f"> **{number}** {sentence}. · {claim['shown']} · replicated 19 of 20\n\n<details>8"
    return new_output("display_data", {claims_page.CLAIM: claim, "text/markdown": line})


def executed(cells) -> NotebookNode:
    """A notebook of these cells, in the form in which it is committed."""
    code = [cell for cell in cells if cell.cell_type == "code"]
    for count, cell in enumerate(code, 1):
        cell.execution_count = count
    notebook = new_notebook(cells=cells)
    lessons.normalise(notebook)
    return notebook


def say(number, text):
    """A change: a cell's source is another one."""
    return lambda cells: cells[number].update(source=text)


def show(number, *outputs):
    """A change: a cell's outputs are others."""
    return lambda cells: cells[number].update(outputs=list(outputs))


def mark(number, **metadata):
    """A change: a cell's metadata are others."""
    return lambda cells: cells[number].update(metadata=nbformat.from_dict(metadata))
