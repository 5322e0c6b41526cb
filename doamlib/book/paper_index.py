"""The paper's equations, algorithms, tables and figures: where taught, computed and tested.

Nothing is listed by hand. A page names what it tells (``Eq. 5``, ``Tables II and III``); a
docstring of the library or of a test ends in ``Paper: Eq. 1, 2; Fig. 3.``, which no equation of
another paper can be mistaken for. What one of the three does not name is reported, and the page and
a test fail. Shown in ``book/paper_index.ipynb``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import NamedTuple

from IPython.display import display

from doamlib.core import paths
from doamlib.core.chapters import page_names, page_text, title_of

ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")
TITLES: dict[str, tuple[str, ...]] = {
    "Eq.": (
        "a step of Edge Guidance",
        "Edge Guidance: the map A",
        "a step of Material Awareness",
        "Material Awareness: the map B1",
        "means over regions: the maps B2",
        "the gate chooses: the map B",
        "A and B fused: the map C",
        "the attention map M",
        "the output D",
        "the loss of a batch",
        "which batches enter a pool that has room",
        "which batches enter a full pool",
        "the non-local block",
        "RIA, read as a non-local block",
        "squeeze-and-excitation",
        "DOAM, read as squeeze-and-excitation",
        "easy batches: a pool that has room",
        "easy batches: a full pool",
        "random batches",
        "focal loss",
    ),
    "Algorithm": ("DOAM", "over-sampling"),
    "Table": (
        "X-ray datasets",
        "images and classes",
        "test images by occlusion level",
        "attention mechanisms by class",
        "attention mechanisms by occlusion level",
        "three detectors",
        "sampling strategies",
        "parameters, size and operations",
        "ablation",
    ),
    "Fig.": (
        "the five cutters",
        "the three occlusion levels",
        "DOAM in front of a detector",
        "the over-sampling strategy",
        "gain by occlusion level",
        "Grad-CAM",
        "attention maps",
    ),
}
"""Kind -> what each item is, in the paper's order; tables are counted in Roman numerals."""

WORDS = {"Eqs.": "Eq.", "Algorithms": "Algorithm", "Tables": "Table", "Figs.": "Fig."}
NUMBER = r"\(?(?:[0-9]+|[IVX]+)\)?"
NAMED = re.compile(
    rf"\b(Eqs?\.|Algorithms?|Tables?|Figs?\.)[\s~]({NUMBER}(?:(?:, and |, | and | to ){NUMBER})*)"
)
LINE = re.compile(r"(?:^|\.)\s*Paper: ((?:.+\n?)+?)(?:\n\s*\n|\Z)", re.MULTILINE)
"""A sentence of its own, at the end of a paragraph."""
SHOWN = 2
"""Places of a kind that a row names at most, in reading order."""

LISTS = ("paper_index", "notation", "glossary", "bibliography", "lecturers")
"""Pages that list and do not teach."""


class Row(NamedTuple):
    """An item of the paper, and the places that name it."""

    item: str
    title: str
    pages: tuple[str, ...]
    functions: tuple[str, ...]
    tests: tuple[str, ...]


def items() -> dict[str, str]:
    """Every item of the paper (``Eq. 5``, ``Table IV``) with what it is."""
    return {
        f"{kind} {ROMAN[index] if kind == 'Table' else index + 1}": title
        for kind, titles in TITLES.items()
        for index, title in enumerate(titles)
    }


def named(text: str) -> set[str]:
    """The items that a text names: ``Eq. 7 to 9`` are three; numbers out of range are not ours."""
    found = set()
    for word, numbers in NAMED.findall(text):
        kind, last, joined = WORDS.get(word, word), 0, ""
        for part in re.findall(r"[0-9]+|[IVX]+|to", numbers):
            if part == "to":
                joined = "to"
                continue
            number = ROMAN.index(part) + 1 if part in ROMAN else int(part) if part.isdigit() else 0
            found |= {(kind, n) for n in range(last if joined else number, number + 1)}
            last, joined = number, ""
    return {
        f"{kind} {ROMAN[number - 1] if kind == 'Table' else number}"
        for kind, number in found
        if 1 <= number <= len(TITLES[kind])
    }


def said(docstring: str | None) -> set[str]:
    """The items of a docstring's ``Paper:`` line."""
    line = LINE.search(docstring or "")
    return named(" ".join(line[1].split())) if line else set()


def documented(folder: Path) -> Iterator[tuple[str, set[str]]]:
    """Functions, classes and methods below a folder whose docstring has a ``Paper:`` line."""
    for file in sorted(folder.rglob("*.py")):
        module = ".".join(file.relative_to(folder.parent).with_suffix("").parts)
        yield from _in(ast.parse(file.read_text(encoding="utf-8")), module)


def _in(node: ast.AST, name: str) -> Iterator[tuple[str, set[str]]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            own = f"{name}.{child.name}"
            if found := said(ast.get_docstring(child)):
                yield own, found
            yield from _in(child, own)


def told(book: Path) -> Iterator[tuple[str, set[str]]]:
    """The book's pages, as they come in the table of contents, with what their text names."""
    for name in page_names(book):
        if name not in LISTS:
            yield name, named(page_text(book, name))


def rows(repository: Path | None = None) -> list[Row]:
    """The index: a row an item.

    Args:
        repository: whose book, library and tests; the one this package is in by default.
    """
    repository = repository or paths.repository()
    sources = (
        list(told(repository / "book")),
        list(documented(repository / "doamlib")),
        list(documented(repository / "tests")),
    )
    return [
        Row(item, title, *(tuple(n for n, found in s if item in found) for s in sources))
        for item, title in items().items()
    ]


def missing(index: list[Row]) -> list[str]:
    """One line for each item without a page, function or test."""
    return [
        f"{row.item} ({row.title}): no {what} names it"
        for row in index
        for what, places in (("page", row[2]), ("function", row[3]), ("test", row[4]))
        if not places
    ]


def show() -> None:
    """Display the index.

    Raises:
        ValueError: an item has no page, function or test.
    """
    index = rows()
    if faults := missing(index):
        raise ValueError("\n".join(faults))
    book = paths.book()
    pages = dict.fromkeys(page for row in index for page in row.pages)
    titles = {page: title_of(page_text(book, page)) for page in pages}
    heads = ("In the paper", "It is", "Taught in", "Computed by", "Tested by")
    head = "".join(f"<th scope='col'>{title}</th>" for title in heads)
    body = "".join(_html(row, titles) for row in index)
    caption = "<caption>Where the paper's items are taught, computed and tested</caption>"
    html = f"<table class='words paper-index'>{caption}<thead><tr>{head}</tr></thead>"
    display({"text/html": f"{html}<tbody>{body}</tbody></table>"}, raw=True)


def _html(row: Row, titles: Mapping[str, str]) -> str:
    pages = (f"<a href='{page}.html'>{escape(titles[page])}</a>" for page in row.pages[:SHOWN])
    functions = (_code(name.removeprefix("doamlib.")) for name in row.functions[:SHOWN])
    tests = (_test(name) for name in row.tests[:SHOWN])
    cells = "".join(f"<td>{'<br>'.join(places)}</td>" for places in (pages, functions, tests))
    return f"<tr><th scope='row'>{row.item}</th><td>{escape(row.title)}</td>{cells}</tr>"


def _test(name: str) -> str:
    """The file of a test, and its name, which is a sentence."""
    module, _, test = name.rpartition(".")
    return f"{_code(module.rpartition('.')[2] + '.py')} {test[5:].replace('_', ' ')}"


def _code(name: str) -> str:
    """Code that may be broken behind dots and underscores."""
    breakable = re.sub(r"([._])", r"\g<1><wbr>", escape(name))
    return f"<code>{breakable}</code>"
