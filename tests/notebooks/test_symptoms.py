"""Each symptom has a fault and a fix that run, and its links lead somewhere."""

import re

import pytest

from course_lib.claims.registry import registered
from lesson_rules import NAMES, NOTEBOOKS, ROOT

PAGE = (NOTEBOOKS / "symptoms.md").read_text(encoding="utf-8")
HEAD, *SYMPTOMS = re.split(r'(?m)^<a id="', PAGE)
TITLES = [re.search(r"^### (.*)", symptom, re.M)[1] for symptom in SYMPTOMS]
MAX_LINES, MAX_WIDTH = 30, 100
each_symptom = pytest.mark.parametrize("symptom", SYMPTOMS, ids=TITLES)


def code_of(symptom):
    (code,) = re.findall(r"^```python\n(.*?)^```", symptom, re.M | re.S)
    return code


def cause_of(symptom):
    return re.search(r"^### .*?\n\n(.*?)\n\n```", symptom, re.M | re.S)[1]


def links_in(text):
    """The targets of links outside code, with the titles that a pointer shows."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    return re.findall(r'\]\(([^)\s]+)(?: "([^"]*)")?\)', prose)


def anchors_of(text):
    slugs = [re.sub(r"[^\w -]", "", title.lower()) for title in re.findall(r"^#+ (.*)", text, re.M)]
    return {*re.findall(r'<a id="([^"]+)"', text), *(slug.replace(" ", "-") for slug in slugs)}


def test_there_are_many_symptoms_each_with_a_title_of_its_own():
    assert len(set(TITLES)) == len(SYMPTOMS) >= 25


def test_the_table_leads_to_every_symptom_and_every_group():
    listed = {target[1:] for target, _ in links_in(HEAD)}
    names = {symptom.partition('"')[0] for symptom in SYMPTOMS}
    groups = anchors_of("\n".join(re.findall(r"^## .*", PAGE, re.M)))
    assert listed == names | groups


@each_symptom
def test_a_symptom_has_a_cause_a_short_fix_and_a_lesson(symptom):
    assert 1 <= len(re.findall(r"\w{2,}[.:]\s", cause_of(symptom) + "\n")) <= 6
    lines = code_of(symptom).splitlines()
    assert len(lines) <= MAX_LINES and max(map(len, lines)) <= MAX_WIDTH
    assert re.search(r"^ *assert |assert_close|pytest\.raises", code_of(symptom), re.M)
    targets = [target for target, _ in links_in(symptom)]
    assert set(targets) & set(NAMES)
    assert any(target.startswith("glossary.md#") for target in targets)


@pytest.mark.slow
@each_symptom
def test_the_fault_is_there_and_the_fix_removes_it(symptom, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where Lightning writes its logs
    exec(compile(code_of(symptom), "symptom", "exec"), {"__name__": "symptom"})


def test_links_to_files_lead_to_places_in_them():
    local = {target for target, _ in links_in(PAGE) if "://" not in target}
    assert len(local) > 25
    for file, _, place in (target.partition("#") for target in local):
        text = (NOTEBOOKS / file).read_text(encoding="utf-8") if file else PAGE
        assert not place or place in anchors_of(text), f"{file}#{place} is not there"


def test_other_links_are_to_threads_and_papers():
    outside = {target for target, _ in links_in(PAGE) if "://" in target}
    thread = r"https://github\.com/[\w.-]+/[\w.-]+/(issues|pull)/\d+"
    paper = r"https://arxiv\.org/abs/\d{4}\.\d{5}"
    assert [link for link in outside if not re.fullmatch(f"{thread}|{paper}", link)] == []


def test_claims_are_named_as_they_are_registered():
    named = re.findall(r'\[claim (\S+)\]\(CLAIMS\.md(?: "(.*?)")?\)', PAGE)
    assert len(named) == PAGE.count("[claim ") > 2
    for number, sentence in named:
        claim = registered(number)
        assert claim is not None and claim.sentence == sentence, f"claim {number} says otherwise"


def test_readme_and_glossary_lead_to_the_page():
    assert "(notebooks/symptoms.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "(symptoms.md)" in (NOTEBOOKS / "glossary.md").read_text(encoding="utf-8")
