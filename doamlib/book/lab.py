"""Pages in JupyterLab: quoted numbers and citations readable, a start page. See ``make lab``.

A notebook's text says ``{glue:text}`name:.1f` ``, which Sphinx understands and JupyterLab does not.
jupyterlab-myst shows ``{eval}`expression` ``, whose values stand in the cell's metadata. So the
server hands out the one for the other, with the values that are known, and writes back what it was:
the files, and what the build checks, stay as they are. Citations, which need Sphinx as well, become
links to the bibliography on the same way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from pybtex.database import parse_file

from doamlib.book.known import spelled, values_in
from doamlib.core import paths
from doamlib.core.chapters import page_text, title_of
from doamlib.core.files import write_text

DOC = re.compile(r"\{doc\}`([\w/]+)`")
TITLED = re.compile(r"\{doc\}`[^<`]+ <([\w/]+)>`")
GLUE = re.compile(r"\{glue:text\}`([^`]+)`")
EVAL = re.compile(r"\{eval\}`__import__\(\"doamlib\.book\"\)\.book\.quoted\(\"([^`\"]+)\"\)`")
CITE = re.compile(r"\{cite\}`([\w,]+)`")
CITED = re.compile(r"\[[^\]]*\]\(bibliography\.md#([\w,]+)\)")
METADATA = "user_expressions"
"""Where jupyterlab-myst keeps the values of a cell's expressions."""

START = "START.md"
GENERATED = "{room}"
"""In a page that only a build fills (:mod:`doamlib.book.reference`)."""


def expression(ask: str) -> str:
    """What a kernel is asked for a quoted number; it runs before the page imports anything."""
    return f'__import__("doamlib.book").book.quoted("{ask}")'


def for_reading(notebook: dict[str, Any], known: Mapping[str, str]) -> None:
    """Change a notebook in place so that JupyterLab shows its quoted numbers.

    Args:
        notebook: as nbformat's JSON.
        known: name -> text of what was quoted when it last ran.
    """
    for cell in notebook["cells"]:
        if cell["cell_type"] != "markdown":
            continue
        cell["source"] = CITE.sub(_by_author, DOC.sub(_by_title, cell["source"]))
        asked = list(dict.fromkeys(GLUE.findall(cell["source"])))
        if asked:
            cell["source"] = GLUE.sub(
                lambda found: f"{{eval}}`{expression(found[1])}`", cell["source"]
            )
            cell["metadata"][METADATA] = [
                {
                    "expression": expression(ask),
                    "result": {
                        "status": "ok",
                        "data": {"text/plain": spelled(ask, known)},
                        "metadata": {},
                    },
                }
                for ask in asked
            ]


def for_keeping(notebook: dict[str, Any]) -> None:
    """Undo :func:`for_reading` in place."""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            told = EVAL.sub(r"{glue:text}`\1`", cell["source"])
            cell["source"] = CITED.sub(r"{cite}`\1`", TITLED.sub(r"{doc}`\1`", told))
            cell["metadata"].pop(METADATA, None)


def _by_title(found: re.Match[str]) -> str:
    """A link to a page under its title, which Sphinx finds by itself."""
    title = title_of(page_text(paths.book(), found[1]))
    return f"{{doc}}`{title} <{found[1]}>`" if title else found[0]


def _by_author(found: re.Match[str]) -> str:
    """A link to the bibliography that says who wrote it and when: (Hu et al. 2018)."""
    named = "; ".join(_authors().get(key, key) for key in found[1].split(","))
    return f"[({named})](bibliography.md#{found[1]})"


@cache
def _authors() -> dict[str, str]:
    """Key -> authors and year of every entry of ``references.bib``."""
    told = {}
    for key, entry in parse_file(str(paths.book() / "references.bib")).entries.items():
        names = [" ".join(person.last_names) for person in entry.persons["author"]]
        who = " and ".join(names) if len(names) < 3 else f"{names[0]} et al."
        told[key] = re.sub(r"[{}]", "", f"{who} {entry.fields['year']}")
    return told


def known_of(notebook: dict[str, Any], page: str) -> dict[str, str]:
    """What the page quoted: in its own saved outputs, else in the copy of the last build."""
    own = values_in(notebook)
    built = paths.build() / "pages" / f"{page}.ipynb"
    if own or not built.is_file():
        return own
    return values_in(json.loads(built.read_text(encoding="utf-8")))


class BookContents(AsyncLargeFileManager):
    """Files as they are; notebooks through :func:`for_reading` and :func:`for_keeping`."""

    async def get(self, path: str, *args: Any, **options: Any) -> dict[str, Any]:
        """A file's model, as JupyterLab asks for it."""
        model = await super().get(path, *args, **options)
        if model["type"] == "notebook" and model["content"]:
            for_reading(model["content"], known_of(model["content"], Path(path).stem))
        return model

    async def save(self, model: dict[str, Any], path: str = "") -> dict[str, Any]:
        """Write a file as JupyterLab sends it."""
        if model.get("type") == "notebook" and model.get("content"):
            for_keeping(model["content"])
        return await super().save(model, path)


# --- start page -----------------------------------------------------------------------------------


def start_page(book: Path | None = None) -> Path:
    """Write the page that JupyterLab opens first: all pages in reading order, with their cost."""
    book = book or paths.book()
    toc = yaml.safe_load((book / "_toc.yml").read_text(encoding="utf-8"))
    lines = [HEAD]
    for part in [{"caption": "First", "chapters": [{"file": toc["root"]}]}, *toc["parts"]]:
        rows = [row for chapter in part["chapters"] if (row := _row(book, chapter["file"]))]
        if rows:  # the reference of the library, written by the build, is no page to run
            lines += [f"\n## {part['caption']}\n", "| page | you will learn | cost |"]
            lines += ["|---|---|---|", *rows]
    write_text(book / START, "\n".join(lines) + "\n")
    return book / START


def _row(book: Path, name: str) -> str | None:
    """A page's row of the table; none for a page that the build writes."""
    path, known = book / f"{name}.ipynb", {}
    if path.is_file():
        known = known_of(json.loads(path.read_text(encoding="utf-8")), name)
    else:
        path = path.with_suffix(".md")
    if path.suffix == ".md" and GENERATED in path.read_text(encoding="utf-8"):
        return None
    head = page_text(book, name)
    return f"| [{title_of(head)}]({path.name}) | {_learns(head)} | {_cost(known)} |"


HEAD = """# Start here

This folder holds the pages of the book, each a notebook that you can run. Open one, then *Run*,
*Run All Cells*. What is missing is trained first: one line says how long it still takes, and you
may interrupt it at any time; the next run goes on. Numbers in the text show "…" until they have
been computed; they appear when you run the cell of the text again, or open the page anew.

The cell of each page that begins *Change these here* holds its parameters. Without changes a page
uses those of `params/quick.yaml`. Costs are those of the last build on this machine."""


def _learns(head: str) -> str:
    found = re.search(r"\*\*You will learn\*\* (.+)", head)
    text = re.sub(r"\{\w+\}`([^`]+)`", r"\1", found[1]) if found else ""
    return text.replace("|", "\\|")


def _cost(known: Mapping[str, str]) -> str:
    if "page-seconds" not in known:
        return "not run here yet"
    return f"{spelled('page-seconds:.0f', known)} s, {spelled('page-gib:.1f', known)} GiB"
