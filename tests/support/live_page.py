"""A page's first cells, and the surroundings of a reader, for tests with a live kernel."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat

REPOSITORY = Path(__file__).parents[2]
PARAMETERS, CHECK = [
    cell
    for cell in nbformat.read(REPOSITORY / "book" / "measuring.ipynb", 4).cells
    if "parameters" in cell.metadata.get("tags", []) or "from_notebook(" in cell.source
][:2]
SHOW = "print(parameters.model_dump_json())"


def environment(work):
    """As a terminal opened in the reader's folder gives it; the library of this checkout."""
    paths = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PWD": str(work), "PYTHONPATH": paths}
