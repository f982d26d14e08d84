"""Exercises of lesson 5."""

import math
from functools import partial

import numpy as np
import pytest
import torch

from course_lib.datasets import Digits
from course_lib.exercises import ____, lesson_05
from course_lib.history import reached
from course_lib.models import MLP
from course_lib.training import fit
from exercise_rules import ExerciseRules, made_up_run

run = partial(made_up_run, batch_size=8, epochs=10)
UPDATES = reached(run(), val_accuracy=0.9, interpolate=True)["step"].median()
EPOCHS = reached(run(), val_accuracy=0.9, interpolate=True)["epoch"].median()


def step(weight, gradient, memory, lr, momentum):
    memory = momentum * memory + gradient
    return weight - lr * memory, memory


def the_colleagues(weight, gradient, memory, lr, momentum):
    weight = weight - lr * (momentum * memory + gradient)
    memory = gradient
    return weight, memory


def old_memory(w, g, v, lr, momentum):
    return w - lr * v, momentum * v + g


def twice(w, g, v, lr, momentum):
    v = momentum * v + g
    return w - lr * (v + g), v


def averaged(w, g, v, lr, momentum):
    v = momentum * v + (1 - momentum) * g
    return w - lr * v, v


def textbook(w, g, v, lr, momentum):
    v = momentum * v - lr * g
    return w + v, v


def control(lr=0.02, momentum=0, **others):
    return {"batch_size": 8, "lr": lr, "momentum": momentum, **others}


def words(*names):
    return dict(zip("ABCD", names, strict=True))


class TestLesson5(ExerciseRules):
    lesson = lesson_05
    right = [
        (lesson_05.q1, step),
        (lesson_05.q1, lambda *arguments: list(step(*arguments))),
        (lesson_05.q2, words("rate", "little", "well", "much")),
        (lesson_05.q2, words("Rate ", "little", "WELL", "much")),
        (lesson_05.q3, (2 / (math.sqrt(2) + math.sqrt(50))) ** 2, 4 / 9),
        (lesson_05.q3, 0.055, 0.5),
        (lesson_05.q3, np.float32(0.05), 0.5),
        (lesson_05.q4, control()),
        (lesson_05.q4, control(0.002 / (1 - 0.9), max_epochs=20)),
        (lesson_05.q4, {"lr": 0.02}),
        (lesson_05.q5, UPDATES, run()),
        (lesson_05.q5, UPDATES * 1.29, run()),
        (lesson_05.q5, np.float64(UPDATES / 1.29), run(seeds=16)),
    ]
    wrong = [
        (lesson_05.q1, the_colleagues, "remembers the last gradient only"),
        (lesson_05.q1, lambda w, *a: (2 * w - step(w, *a)[0], step(w, *a)[1]), "goes uphill"),
        (lesson_05.q1, old_memory, "uses the old memory"),
        (lesson_05.q1, twice, "counts twice"),
        (lesson_05.q1, averaged, "averaged form"),
        (lesson_05.q1, textbook, "textbooks' convention"),
        (lesson_05.q1, lambda w, g, v, lr, m: (w - lr * g, 0.0), "plain descent"),
        (lesson_05.q1, lambda w, g, v, lr, m: (w, v), "after 1 of the gradients .* 0.8 would be"),
        (lesson_05.q1, lambda w, g, v, lr, m: w, "should return two things"),
        (lesson_05.q1, lambda w, g, v, lr, m: (None, v), "single number"),
        (lesson_05.q1, lambda w: w, "stops with `TypeError`"),
        (lesson_05.q1, 0.9, "the function itself"),
        (lesson_05.q2, words("well", "little", "rate", "much"), "lowest after 60"),
        (lesson_05.q2, words("much", "little", "well", "rate"), "D comes in waves"),
        (lesson_05.q2, words("little", "rate", "well", "much"), "A rises first"),
        (lesson_05.q2, words("rate", "rate", "well", "much"), "belongs to one curve"),
        (lesson_05.q2, words("rate", "too little", "well", "much"), "is none of"),
        (lesson_05.q2, "rate", "Hand in a dictionary"),
        (lesson_05.q3, 0.08, 0.5, "It explodes: 50 x 0.08"),
        (lesson_05.q3, 0.038, 0, "curvature 2 .* it creeps"),
        (lesson_05.q3, 0.07, 0.9, "it swings, and loses only the root of 0.9"),
        (lesson_05.q3, 0.0559, 0.4, "it jumps from wall to wall"),
        (lesson_05.q3, 0.05, 1, "to just below 1"),
        (lesson_05.q3, -0.05, 0.5, "The rate is positive"),
        (lesson_05.q3, "0.05", 0.5, "is text"),
        (lesson_05.q4, control(0.002), "run without momentum"),
        (lesson_05.q4, control(0.002, 0.9), "run with momentum"),
        (lesson_05.q4, control(0.0002), "The wrong way"),
        (lesson_05.q4, control(0.0002, 0.9), "Can a plain run be as fast"),
        (lesson_05.q4, control(0.02, 0.5), "without any momentum"),
        (lesson_05.q4, control(0.01), "Which rate, without momentum"),
        (lesson_05.q4, control() | {"batch_size": 64}, "Leave it at 8"),
        (lesson_05.q4, control(weight_decay=0.1), "Leave `weight_decay`"),
        (lesson_05.q4, 0.02, "Hand in a dictionary"),
        (lesson_05.q5, UPDATES / 10, run(), "the rate is a tenth, too"),
        (lesson_05.q5, UPDATES * 10, run(), "counts ten times"),
        (lesson_05.q5, EPOCHS, run(), "You predicted epochs"),
        (lesson_05.q5, UPDATES * 2, run(), "same effective rate"),
        (lesson_05.q5, math.inf, run(), "not a number of updates"),
        (lesson_05.q5, UPDATES, run(accuracy=0.8), "Give the run more epochs"),
        (lesson_05.q5, UPDATES, run(batch_size=64), "Leave it at 8"),
        (lesson_05.q5, UPDATES, run(seeds=4), "4 seeds"),
    ]


def test_a_blank_inside_a_function_is_not_answered_yet():
    verdict = lesson_05.q1.verdict(lambda w, g, v, lr, m: (w - lr * ____, v))
    assert verdict.message.startswith("**Not answered yet.**")


def test_the_right_step_is_pytorchs():
    path = []
    for momentum in lesson_05.MOMENTA:
        weight = torch.ones(1, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([weight], lr=1, momentum=momentum)
        for gradient, lr in zip(lesson_05.GRADIENTS, lesson_05.RATES, strict=True):
            optimizer.param_groups[0]["lr"] = lr
            weight.grad = torch.tensor([gradient], dtype=torch.float64)
            optimizer.step()
            path.append(weight.item())
    assert lesson_05.walked_by(lesson_05.pytorch) == pytest.approx(path)


def ravine_losses(lr, momentum, steps=150):
    curvatures, weights, memory = np.array([0.01, 1.0]), np.array([-9.0, 1.0]), np.zeros(2)
    losses = []
    for _ in range(steps):
        losses.append((curvatures * weights**2).sum() / 2)
        memory = momentum * memory + curvatures * weights
        weights = weights - lr * memory
    return np.array(losses)


def test_the_curves_are_what_the_clues_say():
    losses = {name: ravine_losses(*setting) for name, setting in lesson_05.CURVES.items()}
    rises = {name: int((np.diff(curve) > 0).sum()) for name, curve in losses.items()}
    assert min(losses, key=lambda name: losses[name][60]) == "C"
    assert losses["A"].max() > 5 * losses["A"][0]
    assert rises["B"] == 0
    assert rises["D"] > 40
    assert rises["A"] == losses["A"].argmax()  # it rises once, and then falls


def test_the_solution_of_the_last_exercise_is_right():
    """As it is shown, but for the network, which is smaller."""
    source = lesson_05.q5.answer.split("```python\n")[1].split("```")[0]
    names = {"partial": partial, "MLP": MLP, "Digits": Digits, "fit": fit, "reached": reached}
    exec(source.replace('"max_epochs": 15', '"max_epochs": 9, "progress": False'), names)
    assert lesson_05.q5.verdict(names["predicted"], names["run"]).correct
