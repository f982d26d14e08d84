"""The rule that compares the numbers of a text with those of outputs and code."""

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from made_up import FIRST, NAME, TERMS, figure, measured
from shown_numbers import numbers_are_shown


def found(text, *outputs, code="x = y", before=()):
    """What the rule says of a text below a cell that has shown something."""
    cells = [
        new_markdown_cell(FIRST),
        new_code_cell("repository = 77"),
        new_code_cell(code, outputs=list(outputs)),
        *map(new_markdown_cell, before),
        new_markdown_cell(text),
    ]
    return list(numbers_are_shown(new_notebook(cells=cells), NAME))


def printed(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def result(text, **others):
    return new_output("execute_result", {"text/plain": text, **others})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("96 %", "0.955"),
        ("95.5 %", "0.955"),
        ("97 %", "0.9736"),
        ("97 %", "97.4 %"),
        ("97 per cent", "97.4%"),
        ("12 percentage points", "0.1234"),
        ("0.97", "97.4 %"),
        ("0.97", "0.9736"),
        ("0.12", "0.125"),
        ("0.13", "0.125"),
        ("3.5", "3.50"),
        ("1,437", "1437"),
        ("1437", "1,437 samples"),
        ("0.0015", "1.5e-03"),
        ("0.3", "-0.31"),
        ("-0.3", "tensor([-0.3100])"),
        ("16, 64 and 256", "16 64 256"),
        ("about 1,200", "1214"),
        ("some 300", "309"),
        ("near 3,000", "3,075"),
        ("about 17", "17.4"),
        ("B=4", "4"),
        ("97 to 98 %", "0.97 0.98"),
        ("95, 97 and 98 %", "95.1 % 0.97 0.98"),
        ("16 and 98 %", "16 0.98"),
    ],
)
def test_a_number_is_shown_when_rounded_to_its_digits(text, shown):
    assert not found(f"There are {text} here.", printed(shown))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("97", "0.955"),
        ("97 %", "0.955"),
        ("95 %", "0.955"),
        ("97 %", "97"),
        ("0.970", "0.9736"),
        ("0.9736", "0.97"),
        ("97", "97.6"),
        ("97 of the 98 %", "0.97 0.98"),
        ("1,200", "1214"),
        ("about 1,200", "1,260"),
        ("about 17", "16.4"),
        ("300", "309"),
        ("16", "x16"),
        ("16", "ResNet-16"),
        ("437", "1,437"),
        ("4", "1.4"),
    ],
)
def test_a_number_is_not_shown_by_another_one(text, shown):
    [message] = found(f"We wait. There are {text} here. So it is.", printed(shown))
    assert message.startswith("cell 4: nothing shows '")
    assert message.endswith(f"in 'There are {text} here.'")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("16", "seeds = 16"),
        ("1,437", "N = 1_437"),
        ("0.1", "lr = 0.1"),
        ("0.001", "lr = 1e-3"),
        ("90 %", "target = 0.9"),
    ],
)
def test_a_number_of_the_code_is_shown(text, code):
    assert not found(f"There are {text} here.", code=code)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("0.1", "lr = 0.123"),
        ("16 %", "seeds = 16"),
        ("17", "'17 of them'  # 17"),
        ("17", "x17 = y"),
        ("77", "y"),  # of the set-up cell
    ],
)
def test_code_shows_only_its_settings_as_they_are(text, code):
    assert found(f"There are {text} here.", code=code)


@pytest.mark.parametrize(
    "text",
    [
        "`fit(lr=17)` and ``` \n17\n ``` and\n```\n17\n```\n",
        "$B = 17$ and\n\n$$ 17\n + x $$",
        "[this](https://arxiv.org/abs/1609.04836), https://a.org/17 and [that](17_a.ipynb#17)",
        '<a id="17"></a>',
        "**Exercise 17.** What is 17 and 18?",
        "Seen.\n\n**Exercise 17.** What is 17 and 18?",
        "McCandlish and others 2018, Hoffer et al. 2017, Ioffe and Szegedy (2015) and Wu, 2018",
        "Smith 2017, 2018 and 2019; Kunstner 2023-24; as in 2015; on 17 November 2026",
        "See lesson 17, lessons 18, 19 and 20, claim 3.14, exercise 17, equation 17, section 17.",
        "7. First\n8. Second\n",
        "Two, three and seventeen, the 17th, B17, ResNet-17 and v1.17.2",
        "text\n\n## References\n\nPages 17 to 18",
        f"{TERMS}\n".replace("epoch", "17 epochs"),
    ],
)
def test_not_every_number_needs_to_be_shown(text):
    assert not found(text)


def test_all_cells_after_the_references_are_overlooked():
    assert not found("17", before=["## References"])
    assert found("17", before=["In the end"])


def test_minutes_need_to_be_shown_but_in_the_first_cell():
    assert "20 minutes" in FIRST
    assert len(found("It takes 20 minutes.")) == 1


def test_another_table_than_that_of_terms_is_looked_at():
    [message] = found("| B | epochs |\n|---|---|\n| small | 17 |\n")
    assert message.endswith("in '| small | 17 |'")


@pytest.mark.parametrize(
    ("output", "shows"),
    [
        (result("17"), True),
        (result("Markdown object", **{"text/markdown": "It is 17"}), True),
        (result("17", **{"text/markdown": "It is"}), False),
        (figure("A line at 17"), False),
        (result("", **{"text/markdown": "*A line at 17*"}), False),
        (printed("17", name="stderr"), False),
        (result("x", **{"text/html": "17"}), False),
        (measured("17.18"), False),
        (measured("1.1", sentence="Seventeen is 17"), True),
    ],
)
def test_what_counts_as_an_output(output, shows):
    assert bool(found("There are 17.", output)) != shows


@pytest.mark.parametrize("text", ["a median of 2", "a difference of 1", "it held in 19 of 20"])
def test_a_claim_shows_its_numbers(text):
    assert not found(text, measured("1.7"))


def test_numbers_from_elsewhere_are_listed():
    text = "He gets 58 % and 19 %, she 9170.\n\n<!-- numbers: 58 19 9170 -->"
    assert not found(text)
    assert len(found(text.replace("9170 -->", "-->"))) == 1


def test_what_is_listed_without_need_is_named():
    text = "He gets 58 % and 19.\n\n<!-- numbers: 58 19 20 -->"
    assert found(text, printed("19")) == [
        "cell 4: 19 is listed and need not be",
        "cell 4: 20 is listed and need not be",
    ]


def test_a_list_is_for_its_cell_only():
    assert len(found("She gets 58 %.", before=["He gets 58 %. <!-- numbers: 58 -->"])) == 1
