"""Draw lesson 5's animation: a walker and a ball meet a hill."""

from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.animation import FuncAnimation, PillowWriter

from course_lib import surfaces
from course_lib.figures import use_theme

ANIMATION = Path(__file__).resolve().parent.parent / "notebooks" / "figures" / "ball.gif"
START, RATE, STEPS, EVERY, PER_SECOND = [-4.5, 0.0], 0.01, 180, 2, 16
MOMENTA = {"walker (β = 0)": 0, "ball (β = 0.95)": 0.95}


def height(x: np.ndarray) -> np.ndarray:
    """The loss on the cross-section y = 0."""
    return surfaces.bump(torch.tensor(np.stack([x, 0 * x], -1))).numpy()


def positions(momentum: float) -> np.ndarray:
    """Where the ball is after each step."""
    path = surfaces.descend(surfaces.bump, START, steps=STEPS, lr=RATE, momentum=momentum)
    return path.x.to_numpy()


def draw() -> FuncAnimation:
    """One frame for every second step."""
    use_theme()
    figure, axes = plt.subplots(figsize=(5.6, 3), layout="tight")
    x = np.linspace(-5, 3, 300)
    axes.plot(x, height(x), "0.5")
    axes.set(xlabel="x (weight)", ylabel="loss", ylim=(-0.4, 6.4))
    paths = [positions(momentum) for momentum in MOMENTA.values()]
    dots = [axes.plot([], [], "o", markersize=12, label=name)[0] for name in MOMENTA]
    axes.legend(loc="upper right")

    def show(step: int) -> None:
        axes.set_title(f"step {step}, learning rate {RATE}")
        for dot, path in zip(dots, paths, strict=True):
            dot.set_data(path[step : step + 1], height(path[step : step + 1]) + 0.15)

    return FuncAnimation(figure, show, range(0, STEPS + 1, EVERY))


if __name__ == "__main__":
    ANIMATION.parent.mkdir(exist_ok=True)
    draw().save(ANIMATION, PillowWriter(PER_SECOND), dpi=80)
    print(f"{ANIMATION.name}: drawn, {ANIMATION.stat().st_size // 1000} kB")
