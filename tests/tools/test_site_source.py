"""The site is complete, and every link and every file that its pages ask for is part of it."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

import site_source

LESSONS = sorted(site_source.NOTEBOOKS.glob("[0-9]*.ipynb"))
LOADED = ("script", "img", "iframe", "source", "video", "audio", "embed", "object")


class Page(HTMLParser):
    """What a page's tags ask for: `links` to follow, `files` to load, `ids` to be led to."""

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.files, self.ids, self.alts = [], [], set(), []
        self.text = path.read_text()
        self.feed(self.text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids |= {values.get("id"), values.get("name") if tag == "a" else None} - {None}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        elif tag == "link" and values.get("rel") not in ("index", "search", "next", "prev"):
            self.files.append(values["href"])
        elif tag in LOADED:
            self.files += [values[name] for name in ("src", "data") if values.get(name)]
        if tag == "img":
            self.alts.append(values.get("alt"))


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The whole site, made as `make site` makes it; a warning of Sphinx is an error."""
    pytest.importorskip("myst_nb", reason="needs the packages of the group docs")
    sources, built = (tmp_path_factory.mktemp(name) for name in ("sources", "site"))
    site_source.write(sources)
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going"]
    done = subprocess.run([*command, sources, built], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return built


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Page]:
    """All pages that a reader can come to, by their files."""
    return {path: Page(path) for path in sorted(site.glob("*.html"))}


def elsewhere(address: str) -> bool:
    """Tell whether an address leads out of the site."""
    return re.match(r"(https?:)?//|mailto:|data:", address) is not None


@pytest.mark.slow
def test_every_lesson_has_a_page_that_offers_its_notebook(site, pages):
    for lesson in LESSONS:
        page = pages[site / f"{lesson.stem}.html"]
        offered = [site / link for link in page.links if link.endswith(f"/{lesson.name}")]
        assert offered and offered[0].read_bytes() == lesson.read_bytes()
    assert {site / f"{name}.html" for name in ("index", "CLAIMS", "replication", "glossary")} <= {
        *pages
    }


@pytest.mark.slow
def test_no_page_loads_anything_from_a_network(site, pages):
    wanted = {(path.name, file) for path, page in pages.items() for file in page.files}
    assert len(wanted) > 100
    assert [each for each in wanted if elsewhere(each[1]) and not each[1].startswith("data:")] == []
    for name, file in wanted:
        assert file.startswith("data:") or (site / file.partition("?")[0]).exists(), (name, file)


@pytest.mark.slow
def test_no_style_sheet_loads_anything_from_a_network(site):
    sheets = list(site.rglob("*.css"))
    assert site / "_static" / "katex" / "katex.min.css" in sheets
    for sheet in sheets:
        for address in re.findall(r"url\(['\"]?([^'\")]+)", sheet.read_text()):
            assert address.startswith(("data:", "#")) or not elsewhere(address), (sheet, address)
            place = sheet.parent / re.split("[?#]", address)[0]
            assert address.startswith(("data:", "#")) or place.exists(), (sheet, address)


@pytest.mark.slow
def test_every_link_within_the_site_leads_somewhere(site, pages):
    inner = [
        (path, *urldefrag(unquote(link)))
        for path, page in pages.items()
        for link in page.links
        if not elsewhere(link)
    ]
    assert sum("glossary.html" in file and mark != "" for _, file, mark in inner) > 90
    for path, file, mark in inner:
        target = site / file if file else path
        assert target.exists(), (path.name, file)
        if mark and target in pages:
            assert mark in pages[target].ids, (path.name, file, mark)


@pytest.mark.slow
def test_formulas_and_explorers_come_with_what_moves_them(site, pages):
    page = pages[site / "03_batch_size_tradeoff.html"]
    assert page.text.count('class="tex"') > 20 and "\\mathcal B_{\\text{noise}}" in page.text
    scripts = [file.partition("?")[0] for file in page.files if ".js" in file]
    assert {"_static/katex/katex.min.js", "_static/mathematics.js"} <= {*scripts}
    assert page.text.count('class="explorer"') == page.text.count("vegaEmbed(") > 0
    assert page.text.index("_static/explorers.js") < page.text.index("vegaEmbed(")
    assert "window.vegaEmbed" in (site / "_static" / "explorers.js").read_text()


@pytest.mark.slow
def test_set_up_is_folded_and_figures_keep_their_text(site, pages):
    page = pages[site / "03_batch_size_tradeoff.html"]
    assert page.text.index("tag_hide-input") < page.text.index("# @title Set-up")
    assert len(page.alts) > 5 and all(alt and len(alt) > 60 for alt in page.alts)


@pytest.mark.slow
def test_the_start_page_lists_every_lesson_with_its_opening(site, pages):
    start = pages[site / "index.html"]
    for lesson in LESSONS:
        assert f"{lesson.stem}.html" in start.links
    assert re.search(rf"<ol.*?(<li>.*?minutes.*?){{{len(LESSONS)}}}</ol>", start.text, re.DOTALL)


def test_the_replications_are_those_of_the_results(monkeypatch):
    rows = site_source.replicate.table([("3.1", 0, True, 0.8), ("3.1", 1000, False, -0.1)])
    monkeypatch.setattr(site_source.replicate, "kept", lambda out, lessons: rows)
    page = site_source.replications(LESSONS)
    assert "so far: 1. They held in 1 of 2 measurements" in page
    assert re.search(r"^\| \[3\.1\]\(03_\S+\) \| After equal .* \| 1 of 2 \|$", page, re.MULTILINE)
    assert re.search(r"^\| \[3\.2\]\(03_\S+\) \| .* \| – \|$", page, re.MULTILINE)
    assert "[3.5]" not in page  # a timing


def test_a_single_file_is_offered_while_it_is_newer_than_its_lesson(tmp_path, monkeypatch):
    monkeypatch.setattr(site_source, "SINGLES", tmp_path / "colab")
    single = tmp_path / "colab" / LESSONS[0].name
    assert "single" not in site_source.downloads(LESSONS[0], tmp_path / "none")
    single.parent.mkdir()
    single.write_text("{}")
    assert f"downloads/single/{single.name}" in site_source.downloads(LESSONS[0], tmp_path / "new")
    assert (tmp_path / "new" / "downloads" / "single" / single.name).read_text() == "{}"


def test_colab_is_offered_where_the_repository_has_an_address(tmp_path, monkeypatch):
    assert "Colab" not in site_source.downloads(LESSONS[0], tmp_path / "before")
    monkeypatch.setattr(site_source.stamp, "address", lambda root: "https://github.com/some/one")
    link = f"[Open in Colab](https://colab.research.google.com/github/some/one/blob/main/notebooks/{LESSONS[0].name})"
    assert site_source.downloads(LESSONS[0], tmp_path / "after").startswith(link)


@pytest.mark.parametrize("file", ["pages.yml"])
def test_the_workflow_pins_its_actions_and_asks_for_little(file):
    text = (site_source.ROOT / ".github" / "workflows" / file).read_text()
    actions = re.findall(r"uses: (.*)", text)
    assert len(actions) == 4
    assert all(re.fullmatch(r"\S+@[0-9a-f]{40} # v[0-9.]+", action) for action in actions)
    assert text.count("persist-credentials: false") == text.count("actions/checkout@")
    assert text.count("write") == 2 and "permissions:\n  contents: read\n" in text
    assert "site PYTHON=python" in text
