"""Explorers: charts that move without a kernel, made with Vega-Altair.

An explorer is published as Vega-Lite of version 5, as a PNG and as text. JupyterLab draws the
first, even in a notebook that is not trusted; GitHub, and nbconvert as it comes, show the PNG.
Scripts are not published: they weigh 0.9 MB, and HTML beside them would be taken first, by
JupyterLab without trust and by GitHub without its scripts, that is empty. A page gets them where
it is made, by `animate`, and Colab, which draws HTML, in its own copy of the notebook. Nothing is
ever loaded from a network.
"""

import hashlib
import io
import json
import sys
from collections.abc import Iterable
from functools import cache
from typing import Any

import altair
import vl_convert
from PIL import Image

from course_lib.figures import GRID, LARGEST, PREDICTED, batch_palette, display_image

VEGA_LITE = "application/vnd.vegalite.v5+json"
SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
POINTS = 200  # of a predicted curve
SCALE = 1.5  # pixels of the PNG for one of the chart
INK = "#262626"  # seaborn's
STYLE = """\
<style>
.explorer.vega-embed { display: block; }
.explorer svg { max-width: 100%; height: auto; }
.explorer .vega-bindings { font: 14px sans-serif; padding: .5em 1em; }
.explorer .vega-bind > label {
  display: grid; grid-template-columns: 17em 14em 4em; gap: 1em; align-items: center;
}
.explorer .vega-bind-name { padding: 0; }
@media (max-width: 640px) {
  .explorer .vega-bind > label { grid-template-columns: 1fr 4em; gap: 0 1em; }
  .explorer .vega-bind-name { grid-column: 1 / -1; }
  .explorer .vega-bind input { min-width: 0; width: 100%; margin: 0; }
}
</style>"""


@altair.theme.register("batch size course", enable=False)
def theme() -> altair.theme.ThemeConfig:
    """The look of `figures.use_theme`, for charts."""
    axis: altair.theme.AxisConfigKwds = {
        "labelColor": INK,
        "labelFontSize": 13,
        "titleColor": INK,
        "titleFontSize": 14,
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "domainColor": "#cccccc",
        "gridColor": GRID,
        "tickColor": GRID,
    }
    config: altair.theme.ConfigKwds = {
        "font": "Arial, 'DejaVu Sans', 'Liberation Sans', sans-serif",
        "axis": axis,
        "legend": {"disable": True},
        "text": {"color": INK, "fontSize": 13},
        "title": {"anchor": "start", "color": INK, "fontSize": 15, "fontWeight": "normal"},
        "view": {"stroke": None, "continuousWidth": 560, "continuousHeight": 340},
    }
    return {"background": "white", "padding": 8, "config": config}


def slider(
    name: str, label: str, low: float, high: float, start: float, step: float
) -> altair.Parameter:
    """A number that the reader moves: `chart.add_params(rate)`, and `rate` in any formula.

    Args:
        name: its name in formulas, of letters, digits and underscores.
        label: what stands beside the slider; say the unit.
        low: the least value.
        high: the largest value.
        start: the value before anybody moves it, which the PNG shows.
        step: the distance of two values.

    Raises:
        ValueError: a name that formulas cannot hold, or a start outside the slider.
    """
    if not name.isidentifier():
        raise ValueError(f"name={name!r} must be a name such as noise_scale; label is free text")
    if not low <= start <= high:
        raise ValueError(f"start={start!r} must lie from low={low!r} to high={high!r}")
    bind = altair.binding_range(min=low, max=high, step=step, name=label)
    return altair.param(name=name, value=start, bind=bind)


def batch_axis(largest: int = LARGEST) -> altair.X:
    """The axis of the column batch_size: logarithmic, with ticks as 1, 4, 16, 64."""
    ticks = [4**power for power in range(32) if 4**power <= largest]
    scale = altair.Scale(type="log", base=4, domain=[1, largest])
    return altair.X("batch_size:Q", scale=scale, title="batch size").axis(values=ticks, format="d")


def batch_colors(batch_sizes: Iterable[int], full: int | None = None) -> altair.Color:
    """The colours of the column batch_size, as `figures.batch_palette` has them."""
    colors = batch_palette(sorted(set(map(int, batch_sizes))), full)
    return altair.Color("batch_size:N").scale(domain=[*colors], range=[*colors.values()])


def prediction(largest: int = LARGEST, **formula: Any) -> altair.Chart:
    """A law over batch sizes, drawn as `figures.predicted` does, that follows the sliders.

    Args:
        largest: where the line ends; it begins at 1.
        formula: the column that it predicts, such as `seconds=0.3 * (1 + noise / size)`, where
            `size` is `altair.datum.batch_size` and `noise` a slider.

    Raises:
        ValueError: not exactly one formula.
    """
    if len(formula) != 1:
        raise ValueError(
            f"formula={formula!r} must be one column, such as updates=1 + noise / size"
        )
    [(column, expression)] = formula.items()
    parts = altair.sequence(POINTS + 1, as_="part")
    size = largest ** (altair.datum.part / POINTS)
    chart = altair.Chart(parts).transform_calculate(batch_size=size)
    chart = chart.transform_calculate(**{column: _text(expression)})
    chart = chart.mark_line(clip=True, color=str(PREDICTED["color"]), strokeDash=[6, 4])
    return chart.encode(x="batch_size:Q", y=f"{column}:Q")


def batch_rule(batch_size: Any, label: str) -> altair.LayerChart:
    """A vertical rule at a batch size that a formula of sliders gives; its number stands above.

    Args:
        batch_size: the formula, such as `(noise * a / b) ** 0.5`.
        label: the text before the number, such as "predicted best batch size".
    """
    number = f"{json.dumps(label)} + ' ' + format(datum.batch_size, '.0f')"
    chart = altair.Chart(altair.sequence(1)).transform_calculate(batch_size=_text(batch_size))
    chart = chart.transform_calculate(label=number).encode(x="batch_size:Q")
    text = chart.mark_text(align="left", baseline="bottom").encode(
        x=altair.value(0), y=altair.value(-6), text="label:N"
    )
    return chart.mark_rule(clip=True, color=INK) + text


def _text(formula: Any) -> str:
    """A formula in Vega's language; only functions write out all kinds that Altair has."""
    return str(altair.expr.toNumber(formula))


def explore(chart: altair.TopLevelMixin, alt: str) -> None:
    """Display a chart that moves, and its text.

    Args:
        chart: an Altair chart; what it needs must be in it, as in a table with few columns.
        alt: one sentence that says what is seen before anything is moved.

    Raises:
        ValueError: `alt` is empty.
    """
    spec = specification(chart, alt)
    if "google.colab" in sys.modules:
        display_image({"text/html": scripts() + html(spec)}, alt)
    else:
        display_image({VEGA_LITE: spec, "image/png": _png(spec)}, alt)


def _png(spec: dict[str, Any]) -> bytes:
    """The picture before anything is moved; packed anew, it takes a quarter of vl-convert's."""
    drawn = vl_convert.vegalite_to_png(spec, scale=SCALE)
    packed = io.BytesIO()
    Image.open(io.BytesIO(drawn)).convert("RGB").save(packed, format="png", optimize=True)
    return packed.getvalue()


def specification(chart: altair.TopLevelMixin, alt: str) -> dict[str, Any]:
    """A chart as Vega-Lite, in the course's look."""
    with altair.theme.enable("batch size course"):
        spec = chart.to_dict()
    options = {"actions": False, "mode": "vega-lite", "renderer": "svg"}
    return spec | {"$schema": SCHEMA, "description": alt, "usermeta": {"embedOptions": options}}


def html(spec: dict[str, Any]) -> str:
    """A chart as a part of a page that has the `scripts`."""
    plain = {key: value for key, value in spec.items() if key != "$schema"}  # scripts may be newer
    text = json.dumps(plain).replace("<", "\\u003c")  # a text may not end the script
    place = f"explorer-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return (
        f'<div class="explorer" id="{place}"></div><script>vegaEmbed("#{place}", {text})</script>'
    )


@cache
def bundle() -> str:
    """JavaScript that gives a page `vegaEmbed`: Vega, Vega-Lite and Vega-Embed, 0.9 MB."""
    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed")
    return f"(() => {{{script}}})()"  # its names are to stay its own


@cache
def scripts() -> str:
    """What a page needs once, before its explorers, where it can load no file."""
    script = bundle().replace("</script", "<\\/script")
    return f"{STYLE}<script>{script}</script>"


def animate(notebook: dict[str, Any]) -> None:
    """Give a notebook's explorers HTML with scripts, for whatever makes a page of it."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    charts = [output["data"] for output in outputs if VEGA_LITE in output.get("data", {})]
    for count, data in enumerate(charts):
        data["text/html"] = html(data[VEGA_LITE]) if count else scripts() + html(data[VEGA_LITE])
