"""Draw the README's figure: which batch size is best depends on what is held equal."""

from pathlib import Path

import seaborn as sns
from matplotlib import pyplot as plt

from course_lib import MLP, Digits, sweep
from course_lib.figures import batch_palette, use_theme

FIGURE = Path(__file__).resolve().parent.parent / "notebooks" / "figures" / "teaser.png"
BUDGETS = {"10 epochs": {"max_epochs": 10}, "300 updates": {"max_steps": 300}}
MEDIAN = {"estimator": "median", "errorbar": None, "color": "0.25", "linewidth": 1, "markers": "_"}
SETTINGS = {"batch_sizes": [1, 4, 16, 64, 256, "full"], "seeds": 16, "lr": 0.1}


def draw() -> plt.Figure:
    """Train each batch size under both budgets and draw the held-out accuracy reached."""
    use_theme()
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True)
    for axes, (title, budget) in zip(panels, BUDGETS.items(), strict=True):
        history = sweep(MLP, Digits(), **SETTINGS, **budget)
        last = history[history.step == history.groupby("batch_size").step.transform("max")]
        columns = {"x": "batch_size", "y": "val_accuracy"}
        colors = {"hue": "batch_size", "palette": batch_palette(last.batch_size), "legend": False}
        sns.stripplot(last, **columns, **colors, alpha=0.6, ax=axes)
        sns.pointplot(last, **columns, **MEDIAN, ax=axes)
        axes.set(title=f"after {title}", xlabel="batch size", ylabel="held-out accuracy")
    figure.suptitle("Which batch size is best? (one learning rate, each dot one of 16 seeds)")
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    FIGURE.parent.mkdir(exist_ok=True)
    draw().savefig(FIGURE, dpi=110)
    print(f"{FIGURE.name}: drawn")
