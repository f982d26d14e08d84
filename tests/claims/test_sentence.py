"""How a claim is shown, and when it stops a notebook."""

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from course_lib.claims import ClaimError, Evidence, claim, equal, measured, registry, sentence
from course_lib.claims.registry import Registration

YES = Evidence(True, "median 3 against 9 epochs · 16 of 16 seeds", "difference 6 epochs", 6.0, 16)
NO = Evidence(False, "median 9 against 3 epochs · 0 of 16 seeds", "difference -6 epochs", -6.0, 16)
FEW = Evidence(False, "median 3 against 9 epochs · 2 of 2 seeds", "difference 6 epochs", 6.0, 2)


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No claims before, none registered, no replications."""
    monkeypatch.setattr(sentence, "_shown", {})
    monkeypatch.setattr(registry, "REGISTERED", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COURSE_STRICT", raising=False)
    registry.registrations.cache_clear()
    yield tmp_path
    registry.registrations.cache_clear()


def test_claim_is_one_line_and_its_details(capsys):
    claim("3.2", "Larger batches need more epochs.", YES)
    assert capsys.readouterr().out == (
        "3.2 Larger batches need more epochs. · median 3 against 9 epochs · 16 of 16 seeds\n"
        "    difference 6 epochs\n"
    )


def test_claim_publishes_text_markdown_and_json_in_a_notebook():
    InteractiveShell.instance()
    try:
        with capture_output() as captured:
            claim("3.10", "Larger is later", YES)
    finally:
        InteractiveShell.clear_instance()
    [output] = captured.outputs
    line = "> **3.10** Larger is later. · median 3 against 9 epochs · 16 of 16 seeds\n\n<details>"
    assert output.data["text/markdown"].startswith(line)
    assert "- difference 6 epochs\n" in output.data["text/markdown"]
    assert output.data["application/vnd.course.claim+json"] == {
        "number": "3.10",
        "sentence": "Larger is later",
        "holds": True,
        "shown": YES.shown,
        "details": YES.details,
        "effect": 6.0,
        "repetitions": 16,
    }


def test_a_registered_claim_folds_its_registration_away(alone, capsys):
    (alone / "lesson_03.toml").write_text(
        '["3.2"]\nsentence = "Larger is later"\nkind = "learning"\nconditions = "digits, SGD"\n'
        'rival = "nothing"\nchosen_on = "seeds 0 to 15"\n'
    )
    claim("3.2", "Larger is later.", YES)
    out = capsys.readouterr().out
    assert "Conditions: digits, SGD\n    Rival: nothing\n    Chosen on: seeds 0 to 15\n" in out
    claim("3.2", "Another sentence", YES)
    assert "Conditions" not in capsys.readouterr().out
    assert registry.registered("3.2") == Registration(
        "Larger is later", "learning", "digits, SGD", "nothing", "seeds 0 to 15"
    )


def test_a_registration_has_a_kind_and_no_unknown_fields():
    with pytest.raises(ValueError, match="kind='other' must be"):
        Registration("S", "other", "", "", "")


def test_claim_shows_in_how_many_replications_it_held(alone, capsys):
    (alone / "results").mkdir()
    rows = "".join(f"3.2,{n},{n != 4},6.0\n3.20,{n},False,6.0\n" for n in range(20))
    text = f"# when and where\nclaim,set,held,effect\n{rows}"
    (alone / "results/replication.csv").write_text(text)
    claim("3.2", "Larger is later", YES)
    assert "· 16 of 16 seeds · replicated 19 of 20\n" in capsys.readouterr().out
    claim("3.3", "Larger is later", YES)
    assert "replicated" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [(NO, "does not hold here"), (FEW, "too few repetitions to tell: 2, not 8")],
)
def test_a_claim_that_does_not_hold_says_so_and_stops_only_where_validated(
    evidence, verdict, capsys, monkeypatch
):
    claim("1.2", "Larger is later", evidence)
    assert f"· {verdict}\n" in capsys.readouterr().out
    monkeypatch.setenv("COURSE_STRICT", "1")
    with pytest.raises(ClaimError, match=verdict):
        claim("1.2", "Larger is later", evidence)
    assert verdict in capsys.readouterr().out, "it is shown all the same"
    claim("1.2", "Larger is later", YES)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("3", "So", YES), ValueError, "number='3' must be"),
        ((3.2, "So", YES), ValueError, "number=3.2 must be"),
        (("3.2", " ", YES), ValueError, "sentence=' ' must say"),
        (("3.2", "So", True), TypeError, "evidence=True of claim 3.2 must be"),
    ],
)
def test_claim_names_what_is_wrong(arguments, error, message):
    with pytest.raises(error, match=message):
        claim(*arguments)


def test_measured_is_one_line_a_claim_in_the_order_of_their_numbers():
    claim("1.10", "Ten", equal(1, 1))
    claim("1.9", "First version", equal(1, 1))
    claim("1.9", "Run again", equal(2, 3))
    lines = measured()
    assert repr(lines).splitlines() == [
        "1.9 Run again. · 2 against 3 · does not hold here",
        "1.10 Ten. · 1 against 1",
    ]
    assert lines._repr_markdown_().splitlines()[0].startswith("- **1.9** Run again.")
