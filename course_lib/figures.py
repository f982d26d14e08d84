"""Figures: how they look, and how a lesson shows them. Nothing here trains or prints."""

import io
from typing import TYPE_CHECKING

from IPython.display import Markdown, display
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from seaborn.axisgrid import Grid

DOTS_PER_INCH = 110
STYLE, PALETTE = "whitegrid", "colorblind"


def use_theme() -> None:
    """Draw in the course's style from now on: a light grid, colours that colour-blind eyes part."""
    import seaborn  # takes longer than the rest of this module, and only who draws needs it

    seaborn.set_theme(style=STYLE, palette=PALETTE)


def show(figure: "Figure | Axes | Grid", alt: str) -> None:
    """Display a figure as PNG with its text, and close it.

    The text stands below the figure, where every reader finds it: JupyterLab and GitHub drop the
    image's ``alt`` metadata, which pages made from the notebook keep.

    Args:
        figure: a matplotlib figure, one of its axes, or a seaborn grid.
        alt: one sentence that says what is seen.

    Raises:
        ValueError: `alt` is empty.
    """
    if not alt.strip():
        raise ValueError(f"alt={alt!r} must say in a sentence what the figure shows")
    whole = figure.figure.figure  # axes may lie in a figure within a figure
    image = io.BytesIO()
    whole.savefig(image, format="png", dpi=DOTS_PER_INCH, bbox_inches="tight")
    plt.close(whole)
    display(
        {"image/png": image.getvalue(), "text/plain": alt},
        metadata={"image/png": {"alt": alt}},
        raw=True,
    )
    display(Markdown(f"*{alt}*"))
