// KaTeX sets what docs/conf.py wrote as TeX.
for (const place of document.querySelectorAll(".tex")) {
  katex.render(place.textContent, place, { displayMode: place.tagName === "DIV", throwOnError: false });
}
