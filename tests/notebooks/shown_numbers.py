"""The rule that every number of a lesson's text is one that the lesson shows.

A number of the text is shown if one of an output, rounded to the digits given, is that number, or
if it stands in the code as it is. In per cent it is shown by a share, too, and a share by per cent;
signs are not compared. After "about" and the like, the noughts at the end of a whole number are not
digits given: about 1,200 is shown by 1,214.

Not looked at are code, mathematics, links, years, the numbers of lessons and claims, exercises,
the terms, and all from the references on. Numbers from elsewhere, and arithmetic written out, are
listed in the cell, for all to see: ``<!-- numbers: 58 19 9170 -->``.
"""

import ast
import re
from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from functools import cache
from typing import NamedTuple

from nbformat import NotebookNode

from claims_page import CLAIM

NUMBER = re.compile(
    r"(?:(?P<hedge>\b(?:about|almost|around|near|nearly|roughly|some)|[~≈])\s*)?"
    r"(?<![\w.])(?<![A-Za-z]-)"  # not within a name such as B2, ResNet-50 or 1.2.3
    r"(?P<digits>(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?)"
    r"(?!\d|(?:st|nd|rd|th)\b)(?P<unit>\s*(?:%|per\s?cent\b|percentage\s+points?\b))?"
)
LISTED = re.compile(r"<!--\s*numbers:(.*?)-->", re.DOTALL)
REFERENCES = re.compile(r"^#+ References", re.MULTILINE)
JOINED = re.compile(r"\s*(?:,|,?\s*(?:and|or|to|against)|[-–])\s*")  # as in "2, 3 and 5 %"
EXERCISE = re.compile(r"^\*\*Exercise", re.MULTILINE)  # to the end of its cell
MONTH = "(?:January|February|March|April|May|June|July|August|September|October|November|December)"
YEAR = r"(?:19|20)\d\d(?:[-–]\d\d)?"
MORE = r"(?:(?:,|,? and|,? or|,? to)\s+{0})*"
OVERLOOKED = [  # in this order
    r"<!--.*?-->",
    r"```.*?```",
    r"`[^`]*`",
    r"\$\$.*?\$\$",
    r"(?<!\\)\$[^$]*\$",
    r"\]\([^)]*\)",
    r"https?://\S+",
    r"</?[a-z][^>]*>",
    r"^\|[^\n]*English[^\n]*\|$(?:\n\|[^\n]*)*",  # the terms
    r"^\s*\d[.)]\s",  # of a list
    r"\b(?:[Ll]essons?|[Ee]xercises?|[Ss]ections?|[Ee]quations?)\s+\d+" + MORE.format(r"\d+"),
    r"\b[Cc]laims?\s+\d+\.\d+" + MORE.format(r"\d+\.\d+"),
    rf"\b(?:\d{{1,2}}\s+)?{MONTH}\s+{YEAR}",
    r"\b\d{4}-\d\d-\d\d\b",
    rf"\b(?:[A-Z][\w’'-]+|others|colleagues|al\.),?\s+\(?{YEAR}" + MORE.format(YEAR),
    rf"\bin\s+{YEAR}\b",
]
MINUTES = r"\b\d+(?: to \d+)? minutes?\b"  # of the first cell: how long the lesson takes


class Number(NamedTuple):
    """A number as it stands in a text, from `start` to `end`."""

    value: Decimal
    places: int  # digits after the point; fewer than none where noughts were not meant
    percent: bool | None  # None: perhaps, as the number after it
    start: int
    end: int


def numbers_in(text: str) -> Iterator[Number]:
    """The numbers of a text in their order, without signs."""
    for found in NUMBER.finditer(text):
        value = Decimal(found["digits"].replace(",", ""))
        places = -value.as_tuple().exponent
        if found["hedge"] and places == 0:
            places = min(-value.normalize().as_tuple().exponent, 0)
        yield Number(value, places, bool(found["unit"]), found.start("digits"), found.end())


def joined(text: str) -> list[Number]:
    """The numbers of a text; in "2, 3 and 5 %" all of them may be in per cent."""
    numbers = list(numbers_in(text))
    for place in reversed(range(len(numbers) - 1)):
        one, other = numbers[place : place + 2]
        between = text[one.end : other.start]
        if one.percent is False and other.percent is not False and JOINED.fullmatch(between):
            numbers[place] = one._replace(percent=None)
    return numbers


def numbers_are_shown(notebook: NotebookNode, name: str) -> Iterator[str]:
    """Every number of the text is one that the lesson shows, or is listed in its cell."""
    shown = Shown(notebook)
    for count, source in texts(notebook):
        listed = {number.value for part in LISTED.findall(source) for number in numbers_in(part)}
        lacking = [n for n in joined(masked(source, count)) if not shown.has(n)]
        for number in lacking:
            if number.value not in listed:
                digits = source[number.start : number.end]
                yield f"cell {count}: nothing shows {digits!r} in {sentence(source, number)!r}"
        for value in sorted(listed - {number.value for number in lacking}):
            yield f"cell {count}: {value} is listed and need not be"


def texts(notebook: NotebookNode) -> Iterator[tuple[int, str]]:
    """The markdown cells up to the references, without exercises; cells are counted from 1."""
    for count, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "markdown":
            text, *after = REFERENCES.split(cell.source)
            yield count, EXERCISE.split(text)[0]
            if after:
                return


def masked(source: str, count: int) -> str:
    """The text with blanks in place of all that is not looked at."""
    for pattern in [*OVERLOOKED, *([MINUTES] if count == 1 else [])]:
        source = re.sub(pattern, blank, source, flags=re.DOTALL | re.MULTILINE)
    return source


def blank(found: re.Match) -> str:
    return re.sub(r"[^\n]", " ", found[0])


def sentence(source: str, number: Number) -> str:
    """The sentence around a number, or the row of a table."""
    ends = [end.end() for end in re.finditer(r"[.!?:]\s+|\n\n|\n(?=\|)", source)]
    start = max((end for end in ends if end <= number.start), default=0)
    stop = min((end for end in ends if end >= number.end), default=len(source))
    return " ".join(source[start:stop].split())


class Shown:
    """The numbers that a lesson's outputs and code show."""

    def __init__(self, notebook: NotebookNode) -> None:
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        outputs = [text_of(output) for cell in cells for output in cell.outputs]
        numbers = [number for text in outputs for number in numbers_in(text)]
        plain = {number.value for number in numbers if not number.percent}
        percent = {number.value for number in numbers if number.percent}
        self.plain = frozenset(plain | {value / 100 for value in percent})
        self.percent = frozenset(percent | {value * 100 for value in plain})
        self.code = {value for cell in cells[1:] for value in literals(cell.source)}

    def has(self, number: Number) -> bool:
        """Whether an output shows it, rounded to its digits, or the code has it as it is."""
        if number.percent is None:
            return any(self.has(number._replace(percent=unit)) for unit in (False, True))
        if (number.value / 100 if number.percent else number.value) in self.code:
            return True
        shown = self.percent if number.percent else self.plain
        return number.value in rounded(shown, number.places)


@cache
def rounded(values: frozenset[Decimal], places: int) -> set[Decimal]:
    """The numbers rounded; a half goes up, or to the even digit as Python has it."""
    step = Decimal(1).scaleb(-places)
    ways = (ROUND_HALF_UP, ROUND_HALF_EVEN)
    return {(value / step).to_integral_value(way) * step for value in values for way in ways}


def text_of(output: NotebookNode) -> str:
    """What an output says, but for pictures and what an author has said of them or of a claim."""
    data = output.get("data", {})
    if "image/png" in data:
        return ""
    if CLAIM in data:
        claim = data[CLAIM]
        replicated = data.get("text/markdown", "").partition("\n")[0].partition(claim["shown"])[2]
        return f"{claim['sentence']}\n{claim['shown']}\n{replicated}\n{claim['details']}"
    if "text/markdown" in data:
        text = data["text/markdown"].partition("<details>")[0]
        return "" if re.fullmatch(r"\*[^*].*\*", text, re.DOTALL) else text  # below a picture
    shown = output.get("text", "") if output.get("name") == "stdout" else ""
    return shown + data.get("text/plain", "")


def literals(source: str) -> Iterator[Decimal]:
    """The numbers that stand in code."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            yield Decimal(repr(node.value))
