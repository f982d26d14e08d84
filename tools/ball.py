"""Draw lesson 5's animation: a walker and a ball meet a hill, at equal effective rate."""

from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.animation import FuncAnimation, PillowWriter

from course_lib import surfaces
from course_lib.figures import use_theme

ANIMATION = Path(__file__).resolve().parent.parent / "notebooks" / "figures" / "ball.gif"
START, STEPS, PER_SECOND = [-4.5, 0.0], 100, 10
RUNNERS = {"walker": (0.5, 0.0), "ball": (0.05, 0.9)}  # learning rate, momentum
TRAIL = 6  # steps that stay in sight


def height(x: np.ndarray) -> np.ndarray:
    """The loss on the cross-section y = 0."""
    return surfaces.bump(torch.tensor(np.stack([x, 0 * x], -1))).numpy()


def positions(rate: float, momentum: float) -> np.ndarray:
    """Where a runner is after each step."""
    path = surfaces.descend(surfaces.bump, START, steps=STEPS, lr=rate, momentum=momentum)
    return path.x.to_numpy()


def draw() -> FuncAnimation:
    """One frame for every step."""
    use_theme()
    figure, axes = plt.subplots(figsize=(5.6, 3), layout="tight")
    x = np.linspace(-5, 3, 300)
    axes.plot(x, height(x), "0.55", zorder=0)
    axes.plot(0, height(np.zeros(1)), "*", color="C3", markersize=11, label="minimum")
    axes.set(xlabel="weight x", ylabel="loss", ylim=(-0.5, 6.5))
    paths = {name: positions(*setting) for name, setting in RUNNERS.items()}
    lines = {
        name: axes.plot([], [], "o-", markersize=9, markevery=[-1], linewidth=1, label=name)[0]
        for name in paths
    }
    axes.legend(loc="upper right")

    def show(step: int) -> None:
        axes.set_title(f"step {step}: equal effective rate 0.5")
        for name, line in lines.items():
            trail = paths[name][max(0, step - TRAIL) : step + 1]
            line.set_data(trail, height(trail))

    return FuncAnimation(figure, show, range(STEPS + 1))


if __name__ == "__main__":
    ANIMATION.parent.mkdir(exist_ok=True)
    draw().save(ANIMATION, PillowWriter(PER_SECOND), dpi=80)
    print(f"{ANIMATION.name}: drawn, {ANIMATION.stat().st_size // 1000} kB")
