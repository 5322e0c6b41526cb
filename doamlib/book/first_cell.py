"""The first cell of every notebook: silent where the library is, helpful where it is not.

``scripts/sync_notebooks.py`` writes it, so that a page copied alone to JupyterLab, Colab or
Binder says what it lacks in place of a traceback.
"""

from __future__ import annotations

SOURCE = """\
import importlib.util

if importlib.util.find_spec("doamlib") is None:
    raise SystemExit(
        "This page needs doamlib, the library of the book it comes from, and the files beside it. "
        "Get the book's whole folder (on Colab: clone its repository in a cell), then run "
        "'pip install -e FOLDER' and this cell again. Everything else the page makes by itself."
    )"""

TAGS = ["remove-cell"]
"""Nothing that a reader of the rendered book needs to see."""


def is_first_cell(source: str) -> bool:
    """Whether a cell is this one, perhaps of an older wording."""
    return source.startswith("import importlib.util") and "doamlib" in source
