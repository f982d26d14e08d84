"""tools/ball.py: the animation shows what lesson 5 tells."""

from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

import ball

LESSON = Path(__file__).parents[2] / "notebooks" / "05_momentum.ipynb"


def test_both_have_the_same_effective_rate():
    effective = [rate / (1 - momentum) for rate, momentum in ball.RUNNERS.values()]
    assert effective == pytest.approx([0.5, 0.5])


def test_the_walker_stays_before_the_hill_and_the_ball_comes_to_rest_behind_it():
    walker, rolling = (ball.positions(*setting) for setting in ball.RUNNERS.values())
    assert (walker < -2).all()  # the hill's top is at -2.12; he turns round before it
    assert (rolling > 1).any()
    assert np.abs(rolling[-10:]).max() < 0.1


def test_the_lesson_has_the_same_runners_and_start():
    cells = nbformat.read(LESSON, 4).cells
    source = next(cell.source for cell in cells if 'runners = {"walker"' in cell.source)
    for name, (rate, momentum) in ball.RUNNERS.items():
        assert f'"{name}": ({rate}, {momentum},' in source
    assert f"torch.tensor({ball.START})" in source


def test_the_animation_that_is_shipped_has_a_frame_for_every_step():
    with Image.open(ball.ANIMATION) as animation:
        assert animation.n_frames == ball.STEPS + 1
