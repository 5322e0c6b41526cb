"""What the book asks of Sphinx beyond Jupyter Book's settings: a Sphinx extension (_config.yml).

Faults of the theme are mended here and nowhere else: sphinx-book-theme 1.3.0 on
pydata-sphinx-theme 0.17.1, sphinx-thebe 0.3.1.

- Thebe declares a variable twice, an error in the console of every page; nothing is run live here.
- What every page loads and none needs is taken away (:mod:`doamlib.book.slimming`).
- Negative numbers get a minus sign (:mod:`doamlib.book.typography`).
- Captions and alternative texts of drawn figures come from `FIGURES`; what draws them is folded.
- Each page says with which command it can be run again.
- The repository's address comes from the environment (`REPOSITORY`); without it buttons are absent.
- Equations of the book are ``(book 5)``, so that nobody takes them for the paper's Eq. 5.
- Python looks for garbage among new objects only: among all pages read so far it finds none, in a
  quarter of the whole time.
- Terms that a reader looks for and no heading names are entered into the index (`TERMS`), which the
  search ranks first.
"""

from __future__ import annotations

import copy
import gc
import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes

from doamlib.book.slimming import slim
from doamlib.book.typography import set_minus

TERMS = "_index.yml"
"""In the book's folder: page -> terms, or page#anchor -> terms."""

FIGURES = "_figures.yml"
"""In the book's folder: page -> what :func:`with_captions` puts on it."""

REPOSITORY = "BOOK_REPOSITORY"
"""Set by the workflow that publishes, e.g. an address of GitHub."""

LONG = 4
"""Lines of drawing code from which on it is folded."""


def setup(app: Any) -> dict[str, Any]:
    """Called by Sphinx."""
    gc.set_threshold(50_000, 1_000_000)
    app.add_css_file("icons.css")
    app.connect("config-inited", _link_repository)
    app.connect("html-page-context", _leave_out_thebe, priority=900)
    app.connect("source-read", _caption)
    app.connect("doctree-read", _enter_terms)
    app.connect("html-collect-pages", _keep_terms)
    app.connect("env-get-updated", _number_equations, priority=900)  # after Sphinx has counted
    app.connect("build-finished", _finish)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _link_repository(app: Any, config: Any) -> None:
    config.html_theme_options |= buttons(os.environ.get(REPOSITORY, ""))


FILES = (
    "<p>The whole book: <a href='doam-book.pdf'>as a PDF</a>, "
    "<a href='doam-book-notebooks.zip'>as executed notebooks</a></p>"
)
"""Made by scripts/make_pdf.py, which the publishing workflow runs."""


def buttons(address: str) -> dict[str, Any]:
    """The theme's settings for what leads out of a page; none without a repository's address."""
    if not address:
        return {}
    return {
        "repository_url": address,
        "repository_branch": "main",
        "path_to_docs": "book",
        "use_repository_button": True,
        "use_issues_button": True,
        "extra_footer": FILES,
        "launch_buttons": {
            "notebook_interface": "jupyterlab",
            "colab_url": "https://colab.research.google.com",
            "binderhub_url": "https://mybinder.org",
        },
    }


def _leave_out_thebe(app: Any, page: str, template: str, context: dict, doctree: Any) -> None:
    for kind in ("script_files", "css_files"):
        files = context.get(kind, [])
        context[kind] = [file for file in files if "thebe" not in _said(file)]


def _said(file: Any) -> str:
    """Address and text of a script, as Sphinx holds it."""
    attributes = getattr(file, "attributes", {}) or {}
    return f"{getattr(file, 'filename', file)} {attributes.get('body', '')}"


# --- figures --------------------------------------------------------------------------------------


def _caption(app: Any, page: str, source: list[str]) -> None:
    path = Path(app.srcdir) / FIGURES
    if path.is_file() and source[0].lstrip().startswith("{"):
        app.env.note_dependency(FIGURES)
        wanted = _read(path.read_text(encoding="utf-8")).get(page, [])
        notebook = with_captions(json.loads(source[0]), wanted)
        source[0] = json.dumps(with_command(notebook, page))


def with_command(notebook: dict[str, Any], page: str) -> dict[str, Any]:
    """Say behind the parameters cell how this page is run again with the same parameters."""
    for place, cell in enumerate(notebook["cells"]):
        tags = cell["metadata"].get("tags", [])
        if "parameters" in tags and "remove-input" not in tags:
            found = re.search(r"^profile = '([\w-]+)'", "".join(cell["source"]), re.MULTILINE)
            told = COMMAND.format(page=page, profile=found[1] if found else "quick")
            command = {"cell_type": "markdown", "id": "command", "metadata": {}, "source": told}
            notebook["cells"].insert(place + 1, command)
            break
    return notebook


COMMAND = """:::{{admonition}} Run this page again
:class: tip dropdown
```bash
.venv/bin/papermill book/{page}.ipynb out.ipynb -f params/{profile}.yaml
```
:::
"""


def with_captions(notebook: dict[str, Any], wanted: list[dict[str, Any]]) -> dict[str, Any]:
    """Give drawn figures their captions, alternative texts and names; fold what draws them.

    A cell of several figures is shown as several, because MyST-NB has one caption a cell.

    Args:
        notebook: an executed page (nbformat's JSON).
        wanted: its entries of ``_figures.yml``; one whose cell is not there is passed over.

    Returns:
        The notebook, changed.
    """
    cells = []
    for cell in notebook["cells"]:
        entry = next((e for e in wanted if cell["cell_type"] == "code" and _is_of(cell, e)), None)
        cells += _captioned(cell, entry) if entry else [cell]
    notebook["cells"] = cells
    return notebook


def _is_of(cell: dict[str, Any], entry: dict[str, Any]) -> bool:
    pieces = entry["cell"] if isinstance(entry["cell"], list) else [entry["cell"]]
    return any(piece in "".join(cell["source"]) for piece in pieces)


def _captioned(cell: dict[str, Any], entry: dict[str, Any]) -> list[dict[str, Any]]:
    """The cell in parts: its code with what it prints first, then each figure, then the rest."""
    pictures = iter(entry.get("figures", [entry]))
    parts = [copy.deepcopy(cell) | {"outputs": []}]
    shows = drew = False
    for output in cell.get("outputs", []):
        if not _is_quote(output):  # MyST-NB takes quotes out before it shows anything
            if drew or (shows and _is_figure(output)):
                parts.append(copy.deepcopy(cell) | {"outputs": []})
            shows, drew = True, _is_figure(output)
            if drew and (picture := next(pictures, None)):
                parts[-1]["metadata"]["mystnb"] = {
                    "figure": {"name": picture["name"], "caption": picture["caption"]},
                    "image": {"alt": picture["alt"]},
                }
        parts[-1]["outputs"].append(output)
    for number, part in enumerate(parts):
        tags = part["metadata"].setdefault("tags", [])
        if number:
            part["id"] = f"{cell.get('id', 'figure')}-{number}"
            tags.append("remove-input")
        elif len("".join(cell["source"]).splitlines()) >= LONG and not entry.get("open"):
            tags.append("hide-input")
    return parts


def _is_quote(output: dict[str, Any]) -> bool:
    return "quote" in (output.get("metadata", {}).get("doam") or {})


def _is_figure(output: dict[str, Any]) -> bool:
    return any(kind.startswith("image/") for kind in output.get("data", {}))


# --- equations ------------------------------------------------------------------------------------


def _number_equations(app: Any, env: Any) -> list[str]:
    for figures in env.toc_fignumbers.values():
        numbers = figures.get("displaymath", {})
        numbers.update({label: own_number(number) for label, number in numbers.items()})
    return []


def own_number(number: tuple[Any, ...]) -> tuple[str]:
    """How an equation of the book is numbered, from Sphinx's count: ``(5,)`` is ``book 5``."""
    return (f"book {'.'.join(map(str, number))}",)


# --- index ----------------------------------------------------------------------------------------


def _enter_terms(app: Any, doctree: nodes.document) -> None:
    from sphinx.addnodes import index

    page, taught = app.env.docname, terms_of(Path(app.srcdir))
    elsewhere = {t for place, ts in taught.items() if place.partition("#")[0] != page for t in ts}
    for node in doctree.findall(index):  # the glossary stands behind the page that teaches a term
        node["entries"] = [
            (kind, term, target, "" if term in elsewhere else main, key)
            for kind, term, target, main, key in node["entries"]
        ]
    for place, terms in taught.items():
        name, _, anchor = place.partition("#")
        if name == page and terms:
            target = anchor or next(iter(doctree.findall(nodes.section)))["ids"][0]
            entries = [("single", term, target, "main", None) for term in terms]
            doctree.insert(0, index(entries=entries))


@cache
def _read(text: str) -> dict[str, Any]:
    """A file of YAML, parsed once for all pages."""
    return yaml.safe_load(text)


def _keep_terms(app: Any) -> list[Any]:
    """Give the search the terms of pages that are not written anew, which Sphinx 7 forgets."""
    from sphinx.addnodes import index

    kept = app.builder.indexer._index_entries
    for page in app.env.found_docs - kept.keys():
        entries = [e for node in app.env.get_doctree(page).findall(index) for e in node["entries"]]
        kept[page] = sorted({(term, target or "", main) for _, term, target, main, _ in entries})
    return []


def terms_of(book: Path) -> dict[str, list[str]]:
    """What ``_index.yml`` enters: ``page`` or ``page#anchor`` -> terms; empty without the file."""
    path = book / TERMS
    return _read(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _finish(app: Any, failure: Exception | None) -> None:
    if failure is None and app.builder.format == "html":
        slim(Path(app.outdir))
        set_minus(Path(app.outdir))
