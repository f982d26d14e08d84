"""How Sphinx makes the site. `make site` puts the lessons beside this file and calls it."""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

project = "The Batch Size Course"
author = "The Batch Size Course authors"
project_copyright = f"{author}. Code: MIT. Text and figures: CC BY 4.0"

extensions = ["myst_nb"]
exclude_patterns = ["downloads"]
nb_execution_mode = "off"  # the lessons are committed with their outputs
suppress_warnings = ["mystnb.unknown_mime_type"]  # claims and explorers have others beside
nb_merge_streams = True
nb_render_markdown_format = "myst"  # of outputs: captions, claims
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
myst_enable_extensions = ["attrs_block", "attrs_inline", "dollarmath"]
myst_heading_anchors = 3

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["course.css"]
html_favicon = "_static/favicon.svg"
html_context = {"default_mode": "auto"}  # light or dark as the reader's system is
html_copy_source = False
html_use_index = False
html_math_renderer = "katex"
html_theme_options = {
    "home_page_in_toc": True,
    "navbar_persistent": [],
    "show_toc_level": 2,
    "use_download_button": False,
    "use_source_button": False,
}


def set_inline(translator: Any, node: nodes.math) -> None:
    """Write a formula of a line as TeX, which mathematics.js sets in the browser."""
    translator.body.append(f'<span class="tex">{translator.encode(node.astext())}</span>')
    raise nodes.SkipNode


def set_displayed(translator: Any, node: nodes.math_block) -> None:
    """Write a formula with lines of its own."""
    translator.body.append(f'<div class="tex">{translator.encode(node.astext())}</div>')
    raise nodes.SkipNode


def add_scripts(app: Sphinx, _name: str, _template: str, context: dict, _tree: Any) -> None:
    """Load KaTeX, Vega and the planner on the pages that have formulas, explorers or its form."""
    body = context.get("body", "")
    if 'class="tex"' in body:
        app.add_css_file("katex/katex.min.css")
        app.add_js_file("katex/katex.min.js", loading_method="defer")
        app.add_js_file("mathematics.js", loading_method="defer")
    if 'class="explorer"' in body:
        app.add_js_file("explorers.js")
    if 'id="planner"' in body:
        app.add_css_file("planner.css")
        for script in ("planner.js", "planner_curve.js", "planner_page.js"):
            app.add_js_file(script, loading_method="defer")


def setup(app: Sphinx) -> None:
    """Tell Sphinx of the above."""
    app.add_html_math_renderer("katex", (set_inline, None), (set_displayed, None))
    app.connect("html-page-context", add_scripts)
