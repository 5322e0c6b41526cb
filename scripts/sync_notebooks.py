"""Write into every notebook the parameters that it reads: python scripts/sync_notebooks.py."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat

from doamlib.experiments.parameters import Parameters, cell_source, from_file

REPOSITORY = Path(__file__).resolve().parent.parent


def main() -> None:
    for path in sorted((REPOSITORY / "book").rglob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if "parameters" in cell.metadata.get("tags", []):
                cell.source = parameters_cell(notebook)
        nbformat.write(notebook, path)


def parameters_cell(notebook: nbformat.NotebookNode) -> str:
    """The parameters cell that a page must have: what its code reads, with quick.yaml's values."""
    code = "\n".join(
        cell.source
        for cell in notebook.cells
        if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", [])
    )
    return cell_source(from_file(REPOSITORY / "params" / "quick.yaml"), keys_read(code))


def keys_read(code: str) -> list[str]:
    """The parameters that a page's code reads, by itself or through a Study, in their order.

    Opening data reads the group "data"; a run is made by all of them.
    """
    everything = list(Parameters.model_fields)
    if re.search(r"\.(results|announce|plan|config)\(|TablePage\(", code):
        return everything
    read = {"profile", *re.findall(r"\bparameters\.(\w+)", code)}
    if "Study(" in code:
        read |= {"device", "processes"}
    if re.search(r"\bstudy\.data\b", code):
        read |= set(everything[everything.index("dataset") : everything.index("arms")])
    return [key for key in everything if key in read]


if __name__ == "__main__":
    main()
