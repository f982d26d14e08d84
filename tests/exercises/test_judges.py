"""Judges that several lessons share."""

import re
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from course_lib.exercises.judges import number, numeric, repeated_run, single_run, too_late
from course_lib.exercises.question import Mistake, Question
from exercise_rules import made_up_run

run = partial(made_up_run, batch_size=32, epochs=10)


@pytest.fixture
def pair():
    return Question(numeric((23, 22.5), {}, "No."), "Yes.", ["Think."], "It is 23 and 22.5.")


@pytest.mark.parametrize("kind", [tuple, list, np.array, torch.tensor, pd.Series])
def test_a_pair_may_be_any_sequence(kind, pair):
    assert pair.verdict(kind([23, 22.5])).correct
    assert pair.verdict(kind([22.5, 23])).message == "**Not quite.** No."
    assert "Hand in 2 numbers" in pair.verdict(kind([23.0, 22.5, 1.0])).message


@pytest.mark.parametrize("answer", [{23, 22.5}, {23: 22.5}, torch.tensor(23), np.eye(2), "ab"])
def test_what_is_no_pair_is_asked_for_as_one(answer, pair):
    assert re.search("Hand in 2 numbers|single number|is text", pair.verdict(answer).message)


@pytest.mark.parametrize("answer", [(1, (2, 3)), [[1], 2], object(), 2**70, True])
def test_what_is_no_number_is_asked_for_as_one(answer):
    with pytest.raises(Mistake, match="A single number is wanted here"):
        number(answer)


@pytest.mark.parametrize("answer", [1.5, [1.5], np.float32(1.5), torch.full((1,), 1.5)])
def test_a_single_number_may_have_any_form(answer):
    assert number(answer) == 1.5
    assert number(torch.tensor(1.5, requires_grad=True)) == 1.5


@pytest.mark.parametrize("judged", [single_run, repeated_run])
@pytest.mark.parametrize(
    ("fixed", "message"),
    [
        ({"batch_size": 64}, r"The batch size is 32. Leave it at 64\.$"),
        ({"largest": 16}, "The batch size is 32. Leave it at 16 or below."),
        ({"epochs": 4}, "The run has 10 epochs. Leave it at 4."),
    ],
)
def test_what_an_exercise_fixes_must_not_be_changed(judged, fixed, message):
    with pytest.raises(Mistake, match=message):
        judged(run(), **fixed)


def test_one_lucky_seed_is_no_repeated_run():
    with pytest.raises(Mistake, match="This run has 7 seeds. Show it for 8 or more."):
        repeated_run(run(seeds=7))


@pytest.mark.parametrize("fixed", [{}, {"batch_size": 32, "epochs": 10}, {"largest": 32}])
def test_a_run_that_will_do_is_its_history(fixed):
    history, single = run(), run(seeds=1)
    assert repeated_run(history, **fixed) is history
    assert single_run(single, **fixed) is single


def test_seeds_that_are_too_late_are_counted():
    late = run(seeds=8).assign(val_accuracy=lambda rows: rows.val_accuracy - 0.1 * (rows.seed > 2))
    assert too_late(late, 0.9) == "3 of 8 seeds reached 90%."
    assert too_late(run(), 0.9, within=9) == "0 of 8 seeds reached 90% within 9 epochs."
    assert too_late(run(), 0.9) == too_late(run(), 0.9, within=10) == ""
