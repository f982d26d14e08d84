"""Explorers: what is published, and that it moves in a browser without a kernel and a network."""

import copy
import html
import json
import re
import shutil
import subprocess
import sys
from types import ModuleType

import altair as alt
import pandas as pd
import pytest
from jinja2 import DictLoader
from nbconvert import HTMLExporter
from nbformat.v4 import new_code_cell, new_notebook, new_output

from course_lib import explorers, figures
from course_lib.explorers import VEGA_LITE

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
FLAGS = "--headless --no-sandbox --disable-gpu --disable-background-networking --no-first-run"
SLIDER = {"name": "noise", "label": "noise scale", "low": 1, "high": 100, "start": 10, "step": 1}
POLICY = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'"
# Jupyter's own page asks the network for the scripts of widgets and mathematics.
PAGE = """\
{% extends "lab/index.html.j2" %}
{% block html_head %}<meta http-equiv="Content-Security-Policy" content="POLICY; img-src data:">
<script>
const report = {refused: [], errors: []};
document.addEventListener("securitypolicyviolation", e => report.refused.push(e.blockedURI));
window.onerror = message => report.errors.push(message);
window.onunhandledrejection = event => report.errors.push(`${event.reason}`);
console.error = console.warn = (...texts) => report.errors.push(texts.join(" "));
</script>{% endblock %}
{% block body_footer %}<pre id="report"></pre><script>
const picture = () => [...document.querySelectorAll("svg.marks")].map(svg => svg.outerHTML);
setTimeout(async () => {
  report.before = picture();
  const input = document.querySelector("input[type=range]");
  report.label = input.closest(".vega-bind").innerText;
  input.value = 8;
  input.dispatchEvent(new Event("input"));
  await new Promise(resolve => setTimeout(resolve, 500));
  report.after = picture();
  document.querySelector("#report").textContent = JSON.stringify(report);
}, 1000);
</script></body>{% endblock %}
"""


@pytest.fixture
def chart():
    """Dots and a law that a slider moves."""
    noise = explorers.slider(**SLIDER)
    updates = 30 * (1 + noise / alt.datum.batch_size)
    table = pd.DataFrame({"batch_size": [1, 16], "updates": [320.0, 50.0]})
    dots = (
        alt.Chart(table)
        .mark_circle()
        .encode(explorers.batch_axis(256), alt.Y("updates:Q"), explorers.batch_colors([1, 16]))
    )
    law = explorers.prediction(256, updates=updates)
    return (dots + law + explorers.batch_rule(noise, "noise scale:")).add_params(noise)


@pytest.fixture
def published(monkeypatch):
    """What explore hands to the front end: pairs of data and metadata."""
    outputs = []
    monkeypatch.setattr(
        figures, "display", lambda data, metadata=None, raw=False: outputs.append((data, metadata))
    )
    return outputs


def test_an_explorer_is_vega_lite_a_picture_and_a_text(chart, published):
    explorers.explore(chart, alt="A falling curve.")
    (data, metadata), _ = published
    assert set(data) == {VEGA_LITE, "image/png", "text/plain"}
    assert data["image/png"].startswith(b"\x89PNG") and data["text/plain"] == "A falling curve."
    assert metadata == {"image/png": {"alt": "A falling curve."}}
    assert data[VEGA_LITE]["$schema"].endswith("vega-lite/v5.json")
    assert data[VEGA_LITE]["description"] == "A falling curve."


def test_an_explorer_needs_a_text(chart, published):
    with pytest.raises(ValueError, match="alt=' ' must say in a sentence"):
        explorers.explore(chart, alt=" ")
    assert not published


@pytest.mark.slow
def test_colab_gets_a_page_of_its_own(chart, published, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    explorers.explore(chart, alt="A falling curve.")
    (data, _), _ = published
    assert set(data) == {"text/html", "text/plain"}
    spec = explorers.specification(chart, "A falling curve.")
    assert data["text/html"] == explorers.scripts() + explorers.html(spec)


def test_a_formula_of_numbers_is_one_of_sliders_too():
    noise = explorers.slider(**SLIDER)
    size = alt.datum.batch_size

    def law(size, noise):
        return 30 * (1 + noise / size) ** 0.5

    spec = explorers.specification(explorers.prediction(256, updates=law(size, noise)), "A law.")
    calculated = {each["as"]: each["calculate"] for each in spec["transform"]}
    assert calculated["updates"] == "toNumber((30 * pow((1 + (noise / datum.batch_size)),0.5)))"
    assert law(4, 12) == 60


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "noise scale"}, "name='noise scale' must be a name such as noise_scale"),
        ({"start": 200}, "start=200 must lie from low=1 to high=100"),
    ],
)
def test_a_slider_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        explorers.slider(**{**SLIDER, **change})


@pytest.mark.parametrize("formulas", [{}, {"updates": 1, "seconds": 2}])
def test_a_prediction_is_one_formula(formulas):
    with pytest.raises(ValueError, match="must be one column, such as updates="):
        explorers.prediction(**formulas)


def test_the_look_is_that_of_the_figures(chart):
    spec = explorers.specification(chart, "Dots.")
    color = spec["layer"][0]["encoding"]["color"]["scale"]
    assert color == {"domain": [1, 16], "range": [*map(figures.batch_color, (1, 16))]}
    assert spec["layer"][1]["mark"]["color"] == figures.PREDICTED["color"]
    assert spec["config"]["legend"] == {"disable": True}
    assert alt.theme.active != "batch size course"  # others' charts keep their look


def notebook(chart, count=2):
    """A notebook that shows a chart, as lessons are committed."""
    spec = explorers.specification(chart, "A falling </script> curve.")
    outputs = [
        new_output("display_data", {VEGA_LITE: copy.deepcopy(spec), "image/png": "QUJD"})
        for _ in range(count)
    ]
    return new_notebook(cells=[new_code_cell("explore(chart)", outputs=outputs)])


@pytest.mark.slow
def test_a_page_has_the_scripts_once(chart):
    book = notebook(chart)
    explorers.animate(book)
    first, second = [output.data["text/html"] for output in book.cells[0].outputs]
    assert first == explorers.scripts() + second and len(second) < 1e4
    assert second.count("</script>") == 1


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs the browser Chromium or Chrome")
def test_a_page_moves_without_kernel_and_network(chart, tmp_path):
    book = notebook(chart, count=1)
    explorers.animate(book)
    loader = DictLoader({"page.html.j2": PAGE.replace("POLICY", POLICY)})
    page, _ = HTMLExporter(template_file="page.html.j2", extra_loaders=[loader]).from_notebook_node(
        book
    )
    (tmp_path / "page.html").write_text(page)
    report = shown(tmp_path / "page.html")
    assert report["refused"] == report["errors"] == []
    assert len(report["before"]) == 1 and "noise scale" in report["label"]
    assert "noise scale: 10" in report["before"][0] and "noise scale: 8" in report["after"][0]


def shown(path):
    """What the page's own script reports when a browser shows it."""
    options = [*FLAGS.split(), "--virtual-time-budget=10000", f"--user-data-dir={path.parent}"]
    command = [BROWSER, *options, "--dump-dom", path.as_uri()]
    page = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    return json.loads(html.unescape(re.search(r'<pre id="report">(.*?)</pre>', page, re.S)[1]))


def test_batch_sizes_have_the_colours_of_figures():
    scale = explorers.batch_colors([1437, 1], full=1437).to_dict()["scale"]
    assert scale == {"domain": [1, 1437], "range": ["#f5a800", "#111111"]}
