"""The planner page computes what course_lib.planner computes, and refuses what that refuses."""

import json
import math
import re
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from py_mini_racer import MiniRacer

from course_lib.planner import plan

DOCS = Path(__file__).parent.parent / "docs"
STATIC = DOCS / "_static"
JSON = """
function planned(text) {
  const asText = (_, value) => (value === Infinity ? "inf" : value);
  try { return JSON.stringify(plan(JSON.parse(text)), asText); }
  catch (error) { return JSON.stringify({ field: error.field, message: error.message }); }
}
"""


@pytest.fixture(scope="module")
def browser() -> MiniRacer:
    """The engine of Chromium with the page's scripts, but without a page."""
    engine = MiniRacer()
    for name in ("planner", "planner_curve", "planner_page"):
        engine.eval((STATIC / f"{name}.js").read_text())
    engine.eval(JSON)
    return engine


def on_the_page(browser: MiniRacer, given: dict) -> dict:
    """What the page makes of these arguments."""
    return json.loads(browser.call("planned", json.dumps(given)))


def numbers(tree: dict) -> dict[str, float]:
    """The numbers of a plan by their names."""
    found = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            found |= {f"{name}.{key}": each for key, each in numbers(value).items()}
        elif isinstance(value, list | tuple):
            found |= {f"{name}.{i}": float(each) for i, each in enumerate(value)}
        else:
            found[name] = float(value)
    return found


def repeats(rng: np.random.Generator, mean: float) -> list[float]:
    """The updates of three runs or more, or of equal ones."""
    scatter = rng.choice([0, 0.001, 0.05])
    return list(mean * (1 + scatter * rng.uniform(-1, 1, rng.integers(3, 9))))


def arguments(seed: int) -> dict:
    """What a reader may enter: two runs, repeated or not, or a noise scale and one run."""
    rng = np.random.default_rng(seed)
    size, updates, timed, seconds = 10 ** rng.uniform([0, 1, 0, -6], [3, 6, 3, 1])
    factor, longer = 10 ** rng.uniform(0.3, 3, 2)
    few = updates / factor ** rng.uniform(0.1, 0.8)
    given = {
        "sizes": [size, size * factor],
        "updates": [updates, few],
        "relative_error": rng.uniform(),
        "timed_sizes": [timed, timed * longer],
        "seconds": [seconds, seconds * longer ** rng.uniform(0.01, 0.99)],
        "lr": 10 ** rng.uniform(-5, 1),
        "beta2": rng.uniform(0.9, 1),
        "power": rng.choice([0.5, 1.0]),
        "largest": rng.choice([None, int(10 ** rng.uniform(0, 4))]),
        "devices": int(rng.integers(1, 100)),
        "exchange": rng.choice([0, rng.uniform()]),
        "price": rng.choice([0, rng.uniform(0, 10)]),
    }
    if seed % 3 == 1:
        given |= {"updates": [repeats(rng, updates), repeats(rng, few)], "relative_error": None}
    if seed % 3 == 2:
        given |= {"sizes": size, "updates": updates, "noise_scale": 10 ** rng.uniform(0, 5)}
    return given


@pytest.mark.parametrize("first", range(0, 1000, 100))
def test_the_page_computes_what_python_computes(browser, first):
    for seed in range(first, first + 100):
        given = arguments(seed)
        expected, found = numbers(asdict(plan(**given))), numbers(on_the_page(browser, given))
        assert found == pytest.approx(expected, rel=1e-9, abs=0), given


def test_the_inputs_are_of_every_kind():
    plans = [plan(**arguments(seed)) for seed in range(300)]
    limited = np.mean([made.fastest.limited for made in plans])
    opened = np.mean([math.isinf(made.critical_interval[1]) for made in plans])
    assert 0.1 < limited < 0.9 and 0.05 < opened < 0.9


GIVEN = {
    "sizes": [16, 256],
    "updates": [1000, 150],
    "relative_error": 0.1,
    "timed_sizes": [32, 512],
    "seconds": [0.005, 0.035],
    "lr": 0.1,
}
NOISE = {**GIVEN, "sizes": 16, "updates": 1000, "noise_scale": 90}
WRONG = {
    "sizes": [[256, 16], [16, 16], [0, 16], [16], 16, ["a", "b"], None],
    "updates": [[1000, 1000], [1000, 1200], [1000, 62.5], [1000, 50], [1000], [0, 10], 1000]
    + [[1000, None], [[1, 2, 3], [1, 2]], [[9, 9, 9], 5], [[9, 9, 9], [5, 5, -5]]],
    "timed_sizes": [[512, 32], [32, 512, 1024], None],
    "seconds": [[0.02, 0.02], [0.02, 0.01], [0.001, 0.02], [-1, 1], 0.1],
    "relative_error": [None, -0.1, 1.1, "much"],
    "largest": [0, 1.5, "all"],
    "devices": [0, 2.5],
    "exchange": [-0.1, 1e10],
    "price": [-1],
    "lr": [0, -1, None],
    "beta2": [-0.1, 1.1],
    "power": [-1, 2],
}
WRONG_NOISE = {
    "sizes": [[16, 256], 0],
    "updates": [[1000, 150], -1],
    "noise_scale": [0, -1, "large"],
    "relative_error": [None, 2],
}
CASES = [
    ({**given, name: value}, name)
    for given, wrong in ((GIVEN, WRONG), (NOISE, WRONG_NOISE))
    for name, values in wrong.items()
    for value in values
]


@pytest.mark.parametrize(("given", "name"), CASES)
def test_the_page_refuses_what_python_refuses_in_the_same_field(browser, given, name):
    with pytest.raises(ValueError, match=rf"^{name}="):
        plan(**given)
    found = on_the_page(browser, given)
    assert found["field"] == name
    assert re.fullmatch(r"[A-Z].{10,}\.", found["message"]), found


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({}, "Little would: twice the fastest batch size takes"),
        ({"largest": 70}, "Little would: twice the fastest batch size takes"),
        ({"relative_error": 0.5}, "A better known critical batch size may change it"),
        ({"largest": 3}, "Memory decides: if a device held batches of"),
    ],
)
def test_the_page_says_what_would_change_the_answer(browser, inputs, sentence):
    given = json.dumps({**GIVEN, "devices": 1, "exchange": 0, **inputs})
    assert browser.eval(f"change(plan({given}), {given})").startswith(sentence)


class Form(HTMLParser):
    """What stands in the page's form: `entries` as a browser sends them, `bare` without a label."""

    def __init__(self, text: str):
        super().__init__()
        self.entries, self.bare, self.inside, self.select = {}, [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.inside += [tag] if tag in ("label", "select") else []
        if tag == "select":
            self.select = values["name"]
        if tag == "option" and "selected" in values:
            self.entries[self.select] = values["value"]
        if tag == "input" and (values.get("type") != "radio" or "checked" in values):
            self.entries[values["name"]] = values.get("value", "")
        if tag in ("input", "select") and "label" not in self.inside:
            self.bare.append(values["name"])

    def handle_endtag(self, tag):
        if tag in self.inside:
            self.inside.remove(tag)


@pytest.fixture(scope="module")
def form() -> Form:
    """The form as the page has it."""
    return Form((DOCS / "planner.md").read_text())


def arguments_from(browser: MiniRacer, entries: dict[str, str]) -> dict:
    """What the page reads in a form that is filled in so."""
    return json.loads(browser.eval(f"JSON.stringify(argumentsOf({json.dumps(entries)}))"))


def test_every_field_has_a_label(form):
    assert len(form.entries) == 18 and form.bare == []


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({}, {"sizes": [8, 1437], "updates": [468, 175], "relative_error": 0.1, "largest": None}),
        ({"updates1": "9, 8,7", "updates2": "5;4 3"}, {"updates": [[9, 8, 7], [5, 4, 3]]}),
        ({"updates1": "1,437"}, {"updates": [[1, 437], [175]]}),
        ({"way": "noise"}, {"sizes": 8, "updates": 468, "noise_scale": 14}),
        ({"optimizer": "adam", "beta2": ".99"}, {"power": 0.5, "beta2": 0.99}),
        ({"lr": " 1e-3 ", "devices": "", "price": "dear"}, {"lr": 1e-3, "price": "dear"}),
    ],
)
def test_the_form_is_read_as_it_is_meant(browser, form, entries, expected):
    given = arguments_from(browser, form.entries | entries)
    assert {name: given[name] for name in expected} == expected


@pytest.mark.parametrize("way", ["runs", "noise"])
def test_the_page_opens_with_a_plan(browser, form, way):
    given = arguments_from(browser, form.entries | {"way": way})
    assert numbers(on_the_page(browser, given)) == pytest.approx(numbers(asdict(plan(**given))))


def test_the_curve_is_drawn_with_its_description(browser):
    given = {**GIVEN, "devices": 8, "largest": 40}
    text = json.dumps(given)
    svg = browser.eval(f"curve(plan({text}), {given['largest']}, 340)")
    assert "NaN" not in svg and "undefined" not in svg and "Infinity" not in svg
    together = 8 * plan(**given).fastest.batch_size
    assert re.search(rf'role="img" aria-label="Predicted .*fastest: {together} per update', svg)
    assert svg.count('class="mark"') == 3 and svg.count('class="law"') == 2
