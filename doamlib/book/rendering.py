"""What the book asks of Sphinx beyond Jupyter Book's settings: a Sphinx extension (_config.yml).

Faults of the theme are mended here and nowhere else: sphinx-book-theme 1.3.0 on
pydata-sphinx-theme 0.17.1, sphinx-thebe 0.3.1.

- Thebe declares a variable twice, an error in the console of every page; nothing is run live here.
- The script of all Font Awesome icons weighs 1.5 MB, more than any page: the book needs twenty.
- Terms that a reader looks for and no heading names are entered into the index (`TERMS`), which the
  search ranks first.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from docutils import nodes

ICONS = "_static/icons.css"
SCRIPT = re.compile(r'\s*<script[^>]*src="[^"]*scripts/fontawesome\.js[^"]*"[^>]*></script>')
TERMS = "_index.yml"
"""In the book's folder: page -> terms, or page#anchor -> terms."""


def setup(app: Any) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_css_file("icons.css")
    app.connect("html-page-context", _leave_out_thebe, priority=900)
    app.connect("doctree-read", _enter_terms)
    app.connect("build-finished", _finish)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _leave_out_thebe(app: Any, page: str, template: str, context: dict, doctree: Any) -> None:
    for kind in ("script_files", "css_files"):
        files = context.get(kind, [])
        context[kind] = [file for file in files if "thebe" not in _said(file)]


def _said(file: Any) -> str:
    """Address and text of a script, as Sphinx holds it."""
    attributes = getattr(file, "attributes", {}) or {}
    return f"{getattr(file, 'filename', file)} {attributes.get('body', '')}"


# --- index ----------------------------------------------------------------------------------------


def _enter_terms(app: Any, doctree: nodes.document) -> None:
    from sphinx.addnodes import index

    page = app.env.docname
    for place, terms in terms_of(Path(app.srcdir)).items():
        name, _, anchor = place.partition("#")
        if name == page and terms:
            target = anchor or next(iter(doctree.findall(nodes.section)))["ids"][0]
            entries = [("single", term, target, "main", None) for term in terms]
            doctree.insert(0, index(entries=entries))


def terms_of(book: Path) -> dict[str, list[str]]:
    """What ``_index.yml`` enters: ``page`` or ``page#anchor`` -> terms; empty without the file."""
    path = book / TERMS
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}


# --- icons ----------------------------------------------------------------------------------------


def _finish(app: Any, failure: Exception | None) -> None:
    if failure is None and app.builder.format == "html":
        slim_icons(Path(app.outdir))


def slim_icons(site: Path) -> list[str]:
    """Replace the theme's script of all icons by a style sheet of those that pages show.

    Args:
        site: a rendered book.

    Returns:
        Names of the icons that were found in the script.
    """
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    script = site / "_static" / "scripts" / "fontawesome.js"
    everything = script.read_text(encoding="utf-8") if script.is_file() else ""
    names = {name for text in pages.values() for name in re.findall(r"\bfa-([a-z0-9-]+)", text)}
    scripts = "".join(
        path.read_text(encoding="utf-8") for path in (site / "_static").glob("scripts/sphinx-*.js")
    )
    names |= set(re.findall(r"\bfa-([a-z0-9-]+)", scripts))
    found = {name: shape for name in sorted(names) if (shape := icon(everything, name))}
    if found:
        rules = [f".fa-{name} {{ --icon: url('{address}'); }}" for name, address in found.items()]
        (site / ICONS).write_text("\n".join([GROUND, *rules, ""]), encoding="utf-8")
    for path, text in pages.items():
        if SCRIPT.search(text):
            path.write_text(SCRIPT.sub("", text), encoding="utf-8")
    return list(found)


GROUND = """/* Made by doamlib/book/rendering.py from Font Awesome Free (CC BY 4.0), the icons in use. */
i[class*="fa-"], span[class*="fa-"] {
  display: inline-block; width: 1em; height: 1em; vertical-align: -0.125em;
  background: currentColor; mask: var(--icon) center / contain no-repeat;
}
i[class*="fa-"]::before, span[class*="fa-"]::before { content: none; }"""


def icon(script: str, name: str) -> str:
    """An icon of Font Awesome's script, by name or by an older name, as a data address; or ""."""
    shape = r'\[(\d+),(\d+),\[[^\]]*\],"\w+",\[?"([^"]+)"'
    older = rf'\[(\d+),(\d+),\[[^\]]*"{re.escape(name)}"[^\]]*\],"\w+",\[?"([^"]+)"'
    found = re.search(rf'[{{,]"?{re.escape(name)}"?:{shape}', script) or re.search(older, script)
    if not found:
        return ""
    width, height, path = found.groups()
    box = f"viewBox='0 0 {width} {height}'"
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' {box}><path d='{path}'/></svg>"
    return f"data:image/svg+xml,{quote(svg, safe=' /:=')}".replace("'", "%27")
