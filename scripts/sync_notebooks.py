"""Write the cells that all notebooks share: python scripts/sync_notebooks.py.

The first cell, which tells what to install where the library is missing, and the parameters cell.
"""

from pathlib import Path

import nbformat

from doamlib.book.first_cell import SOURCE, TAGS, is_first_cell
from doamlib.experiments.parameters import cell_source, from_file

REPOSITORY = Path(__file__).resolve().parent.parent


def main() -> None:
    source = cell_source(from_file(REPOSITORY / "params" / "quick.yaml"))
    for path in sorted((REPOSITORY / "book").rglob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if "parameters" in cell.metadata.get("tags", []):
                cell.source = source
        put_first_cell(notebook)
        nbformat.write(notebook, path)


def put_first_cell(notebook: nbformat.NotebookNode) -> None:
    """Put the first cell before all other code, under the page's opening; once."""
    notebook.cells = [cell for cell in notebook.cells if not is_first_cell(cell.source)]
    cell = nbformat.v4.new_code_cell(SOURCE, metadata={"tags": TAGS})
    if notebook.nbformat_minor < 5:
        del cell["id"]
    code = (n for n, cell in enumerate(notebook.cells) if cell.cell_type == "code")
    notebook.cells.insert(next(code), cell)


if __name__ == "__main__":
    main()
