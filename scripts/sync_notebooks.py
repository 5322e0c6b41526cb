"""Write the current parameters cell into every notebook: python scripts/sync_notebooks.py."""

from pathlib import Path

import nbformat

from doamlib.experiments.parameters import cell_source, from_file

REPOSITORY = Path(__file__).resolve().parent.parent


def main() -> None:
    source = cell_source(from_file(REPOSITORY / "params" / "quick.yaml"))
    for path in sorted((REPOSITORY / "book").rglob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if "parameters" in cell.metadata.get("tags", []):
                cell.source = source
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main()
