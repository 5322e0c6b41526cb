"""Write the cells that all notebooks have: python scripts/sync_notebooks.py.

The first cell, which tells what to install where the library is missing, and the parameters that
the page reads.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat

from doamlib.book.first_cell import SOURCE, TAGS, is_first_cell
from doamlib.experiments.parameters import Parameters, cell_source, from_file

REPOSITORY = Path(__file__).resolve().parent.parent
NO_RUN = {"image"}
"""Parameters that no run depends on: a page declares them if it reads them itself."""


def main() -> None:
    for path in sorted((REPOSITORY / "book").rglob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if "parameters" in cell.metadata.get("tags", []):
                cell.source = parameters_cell(notebook)
        put_first_cell(notebook)
        nbformat.write(notebook, path)


def put_first_cell(notebook: nbformat.NotebookNode) -> None:
    """Put the first cell before all other code, once; cells are numbered as nbstripout does."""
    notebook.cells = [cell for cell in notebook.cells if not is_first_cell(cell.source)]
    cell = nbformat.v4.new_code_cell(SOURCE, metadata={"tags": list(TAGS)})
    code = (n for n, cell in enumerate(notebook.cells) if cell.cell_type == "code")
    notebook.cells.insert(next(code), cell)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = str(number)


def parameters_cell(notebook: nbformat.NotebookNode) -> str:
    """The parameters cell that a page must have: what its code reads, with quick.yaml's values."""
    code = "\n".join(
        cell.source
        for cell in notebook.cells
        if cell.cell_type == "code"
        and "parameters" not in cell.metadata.get("tags", [])
        and not is_first_cell(cell.source)
    )
    return cell_source(from_file(REPOSITORY / "params" / "quick.yaml"), keys_read(code))


def keys_read(code: str) -> list[str]:
    """The parameters that a page's code reads, by itself or through a Study, in their order.

    Opening data reads the group "data"; a run is made by all of them.
    """
    everything = list(Parameters.model_fields)
    read = {"profile", *re.findall(r"\bparameters\.(\w+)", code)}
    if re.search(r"\.(results|announce|plan|config|found)\(|TablePage\(", code):
        read |= set(everything) - NO_RUN
    if "Study(" in code:
        read |= {"device", "processes"}
    if re.search(r"\bstudy\.data\b", code):
        read |= set(everything[everything.index("dataset") : everything.index("arms")])
    return [key for key in everything if key in read]


if __name__ == "__main__":
    main()
