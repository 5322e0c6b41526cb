"""Quoted numbers of a page, as JupyterLab asks for them: light enough to answer before any import.

See :mod:`doamlib.book.quoting`, which stores them, and :mod:`doamlib.book.lab`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

GLUE_PREFIX = "application/papermill.record/"
"""How MyST-NB finds a value that is stored in an executed notebook but not shown."""

QUOTED: dict[str, str] = {}
"""Name -> text of what this process has quoted."""

UNKNOWN = "…"
"""What stands for a number in JupyterLab before the page has run."""


class Spelled(str):
    """Text that a kernel answers without quotation marks."""

    def __repr__(self) -> str:
        return str(self)


def quoted(ask: str) -> Spelled:
    """What this kernel has quoted so far, as JupyterLab asks for it in a page's text.

    Args:
        ask: ``name`` or ``name:.1f``, as in ``{glue:text}``.
    """
    return Spelled(spelled(ask, QUOTED))


def spelled(ask: str, known: Mapping[str, str]) -> str:
    """A quoted value in the form that the text asks for, or `UNKNOWN`."""
    name, _, form = ask.partition(":")
    if name not in known:
        return UNKNOWN
    return format(float(known[name]), form) if form else known[name]


def records(notebook: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any], str]]:
    """What the outputs of an executed notebook (nbformat's JSON) record for the build to check.

    Yields:
        The code cell's number, from 1; the record; and the quoted value, if it is one of a quote.
    """
    code_cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(code_cells, start=1):
        for output in cell["outputs"]:
            if record := output.get("metadata", {}).get("doam"):
                lines = output.get("data", {}).get(GLUE_PREFIX + "text/plain", "")
                yield number, record, "".join(lines)


def values_in(notebook: Mapping[str, Any]) -> dict[str, str]:
    """Every quoted value in the outputs of a notebook (nbformat's JSON), by name."""
    return {
        record["quote"]: _read(text) if text[:1] in ('"', "'") else text
        for _, record, text in records(notebook)
        if "quote" in record
    }


def as_glue(text: str) -> str:
    """A quoted text as an output holds it, so that the page shows it as it is.

    MyST-NB reads what looks like Python: ``23,740`` would become ``(23, 740)``, and ``0.50`` lose
    its nought. Such a text is put in quotation marks, which MyST-NB takes off.
    """
    return text if _read(text) == text else repr(text)


def _read(text: str) -> str:
    try:
        return str(ast.literal_eval(text))
    except (SyntaxError, ValueError):
        return text
