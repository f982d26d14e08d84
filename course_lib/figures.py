"""Figures: how they look, and how a lesson shows them. Nothing here trains or prints."""

import io
from collections.abc import Iterable
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from IPython.display import Markdown, display
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, NullLocator
from scipy.optimize import isotonic_regression

if TYPE_CHECKING:
    from seaborn.axisgrid import Grid

DOTS_PER_INCH = 110
STYLE, PALETTE = "whitegrid", "colorblind"
GRID = "#e3e3e3"
PLAIN = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "grid.color": GRID,
}
# One colour for 1, 4, 16, ... 16,384, from light to dark. Neighbours are at least 22 apart in
# CIELAB, and 14 for eyes without red, green or blue cones (Machado et al., 2009).
BATCH_COLORS = (
    "#f5a800",
    "#ed731d",
    "#e34d38",
    "#c31e74",
    "#9f218a",
    "#5332a2",
    "#1d3076",
    "#0a1a3f",
)
LARGEST = 4 ** (len(BATCH_COLORS) - 1)
FULL_BATCH_COLOR = "#111111"
PREDICTED = {"color": "#404040", "linestyle": "--", "linewidth": 1.5, "zorder": 0.9}
LINE_HEIGHT = 1.25  # of a label, in font sizes

_batch_scale = LinearSegmentedColormap.from_list("batch size", BATCH_COLORS)


def use_theme() -> None:
    """Draw in the course's style from now on: a light grid, colours that colour-blind eyes part."""
    import seaborn  # takes longer than the rest of this module, and only who draws needs it

    seaborn.set_theme(style=STYLE, palette=PALETTE, rc=PLAIN)


def batch_color(batch_size: float | str) -> str:
    """The colour of a batch size, the same in all figures: the larger, the darker and cooler.

    Args:
        batch_size: the number of samples, or "full", which is black whatever the data. Sizes
            from 1 to 16,384 have colours of their own, larger ones that of 16,384.

    Raises:
        ValueError: neither a number from 1 on nor "full".
    """
    if isinstance(batch_size, str) and batch_size == "full":
        return FULL_BATCH_COLOR
    if not isinstance(batch_size, Real) or not batch_size >= 1:
        raise ValueError(f'batch_size={batch_size!r} must be a number from 1 on, or "full"')
    return to_hex(_batch_scale(float(np.log(batch_size) / np.log(LARGEST))))


def batch_palette(
    batch_sizes: Iterable[float | str], full: int | None = None
) -> dict[float | str, str]:
    """The colours of batch sizes as seaborn takes them: `palette=batch_palette(sizes)`.

    Args:
        batch_sizes: numbers of samples, or "full".
        full: the size of the full batch, where it stands among them as a number.
    """
    return {size: batch_color("full" if size == full else size) for size in batch_sizes}


def predicted(axes: Axes, x: Any, y: Any, label: str = "predicted", **line: Any) -> Line2D:
    """Draw what a law predicts, dashed and dark grey, behind the dots that test it.

    Args:
        axes: where to draw.
        x: numbers, as for `axes.plot`.
        y: numbers, as for `axes.plot`.
        label: what `label_lines` or a legend writes beside it.
        line: further options of `axes.plot`.
    """
    [drawn] = axes.plot(x, y, label=label, **{**PREDICTED, **line})
    return drawn


def band(
    axes: Axes, table: pd.DataFrame, x: str, y: str, share: float = 1.0, **line: Any
) -> Line2D:
    """Draw the median over the seeds as a line and, shaded, where a share of the seeds lies.

    The line ends where a seed has no finite value: the rest have no median to be trusted.

    Args:
        axes: where to draw.
        table: one row for each seed and value of `x`, such as the history of one batch size.
        x: a column whose values the seeds share, such as "epoch" or "step".
        y: the measured column.
        share: the share of the seeds within the band: 1 for all, 0.5 for the middle half.
        line: options of `axes.plot`, such as color and label.

    Raises:
        ValueError: `share` is not between 0 and 1, or a column is missing.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share={share!r} must be above 0 and at most 1, as 0.5 for one half")
    if missing := [column for column in (x, y) if column not in table]:
        raise ValueError(f"table must have the column {missing[0]!r}; it has {', '.join(table)}")
    groups = table[[x, y]].replace([np.inf, -np.inf], np.nan).groupby(x)[y]
    parts = [(1 - share) / 2, 0.5, (1 + share) / 2]
    levels = np.array([np.quantile(values, parts) for _, values in groups]).T
    grid = list(groups.groups)
    [drawn] = axes.plot(grid, levels[1], **line)
    axes.fill_between(grid, levels[0], levels[2], color=drawn.get_color(), alpha=0.2, linewidth=0)
    return drawn


def batch_axis(axes: Axes) -> None:
    """Make x the axis of batch sizes: logarithmic, with ticks as 1, 4, 16, 64."""
    axes.set_xscale("log", base=4)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("batch size")


def log_axis(axes: Axes, name: str = "y") -> None:
    """Make the axis "x" or "y" logarithmic, with ticks as 1, 2, 5, 10 in plain numbers."""
    axes.set(**{f"{name}scale": "log"})
    axis = getattr(axes, f"{name}axis")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:,g}")
    axis.set_minor_locator(NullLocator())


def error_axis(axes: Axes) -> None:
    """Make y the axis of an error, 1 - accuracy: logarithmic, with ticks as 5 %, 2 %, 1 %.

    Accuracies crowd below 1; errors on this axis show that 99 % is twice as good as 98 %. An
    error of 0 lies below the axis.
    """
    axes.set_yscale("log", nonpositive="clip")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda error, _: f"{100 * error:.3g} %")
    axes.yaxis.set_minor_locator(NullLocator())


def label_lines(axes: Axes, **text: Any) -> None:
    """Write each line's label at its right end, in its colour, and take the legend away.

    Labels that would overlap are moved apart, in all as little as possible. Call it last: the
    distances hold for the limits and the size that the axes have then.

    Args:
        axes: whose lines are labelled, those drawn with `label=...`.
        text: options of `axes.annotate`, such as fontsize in points.
    """
    figure = axes.figure.figure  # axes may lie in a figure within a figure
    figure.draw_without_rendering()  # settles limits and layout
    if legend := axes.get_legend():
        legend.remove()
    halo = [withStroke(linewidth=3, foreground="white")]  # other lines may pass below
    text = {"fontsize": plt.rcParams["xtick.labelsize"], "va": "center", **text}
    labelled = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    ends = {line: end for line in labelled if (end := _right_end(axes, line)) is not None}
    heights = np.array([axes.transData.transform(end)[1] for end in ends.values()])
    heights *= 72 / figure.dpi  # from pixels to points
    size = FontProperties(size=text["fontsize"]).get_size_in_points()
    shifts = _apart(heights, LINE_HEIGHT * size) - heights
    for (line, end), shift in zip(ends.items(), shifts, strict=True):
        options = {"color": line.get_color(), "path_effects": halo, **text}
        axes.annotate(
            str(line.get_label()),
            (end[0], end[1]),
            (6, shift),
            textcoords="offset points",
            annotation_clip=False,
            **options,
        )


def _right_end(axes: Axes, line: Line2D) -> np.ndarray | None:
    """The rightmost point of a line that can be seen, in its data's units."""
    points = np.asarray(line.get_xydata())
    pixels = axes.transData.transform(points)
    seen = [axes.bbox.padded(1).contains(x, y) for x, y in pixels]  # a point that is no number: no
    return points[seen][pixels[seen, 0].argmax()] if any(seen) else None


def _apart(heights: np.ndarray, gap: float) -> np.ndarray:
    """The heights next to the given ones, by least squares, of which no two are closer than gap."""
    order = np.argsort(heights, kind="stable")
    steps = gap * np.arange(len(heights))
    moved = np.empty_like(heights)
    moved[order] = isotonic_regression(heights[order] - steps).x + steps
    return moved


def show(figure: "Figure | Axes | Grid", alt: str) -> None:
    """Display a figure as PNG with its text, and close it.

    Args:
        figure: a matplotlib figure, one of its axes, or a seaborn grid.
        alt: one sentence that says what is seen.

    Raises:
        ValueError: `alt` is empty.
    """
    whole = figure.figure.figure  # axes may lie in a figure within a figure
    image = io.BytesIO()
    whole.savefig(image, format="png", dpi=DOTS_PER_INCH, bbox_inches="tight")
    plt.close(whole)
    display_image({"image/png": image.getvalue()}, alt)


def display_image(bundle: dict[str, Any], alt: str) -> None:
    """Display one picture, in the forms that a front end may choose from, and its text below.

    The text stands below the picture, where every reader finds it: JupyterLab and GitHub drop the
    image's ``alt`` metadata, which pages made from the notebook keep.

    Raises:
        ValueError: `alt` is empty.
    """
    if not alt.strip():
        raise ValueError(f"alt={alt!r} must say in a sentence what the figure shows")
    display({**bundle, "text/plain": alt}, metadata={"image/png": {"alt": alt}}, raw=True)
    display(Markdown(f"*{alt}*"))
