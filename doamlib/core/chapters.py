"""The book's pages as they lie on disk: their order, their text and their titles."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml


def page_names(book: Path) -> list[str]:
    """The pages of ``_toc.yml`` in reading order, without their ending."""
    return list(_named(yaml.safe_load((book / "_toc.yml").read_text(encoding="utf-8"))))


def _named(entry: Any) -> Iterator[str]:
    if isinstance(entry, dict):
        for key, value in entry.items():
            yield from [value] if key in ("root", "file") else _named(value)
    elif isinstance(entry, list):
        for one in entry:
            yield from _named(one)


def page_text(book: Path, name: str) -> str:
    """The text of a page, be it a notebook (code left out) or Markdown; empty without a page."""
    notebook, text = book / f"{name}.ipynb", book / f"{name}.md"
    if notebook.is_file():
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    return text.read_text(encoding="utf-8") if text.is_file() else ""


def title_of(text: str) -> str:
    """The first heading of a page's text; empty without one."""
    found = re.search(r"^# (.+)$", text, re.MULTILINE)
    return found[1].strip() if found else ""
