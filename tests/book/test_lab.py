"""Pages in JupyterLab: quoted numbers are values there, and what is saved is what was there."""

import asyncio
import copy
import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from doamlib.book import known, lab
from doamlib.book.quoting import quote
from doamlib.core import paths

BOOK = Path(__file__).parents[2] / "book"
NOTEBOOKS = sorted(BOOK.glob("*.ipynb"))


def page(*texts):
    """A notebook as JupyterLab's server holds it."""
    return new_notebook(cells=[new_markdown_cell(text) for text in texts])


def values(notebook):
    return {
        value["expression"]: value["result"]["data"]["text/plain"]
        for cell in notebook["cells"]
        for value in cell["metadata"].get(lab.METADATA, [])
    }


def joined(notebook):
    return "\n".join(
        "".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown"
    )


def test_a_known_number_is_shown_in_the_form_that_the_text_asks_for():
    notebook = page("It gains {glue:text}`gain:+.1f` on {glue:text}`data`.")
    lab.for_reading(notebook, {"gain": "2.34", "data": "OPIXray-Sim"})
    assert list(values(notebook).values()) == ["+2.3", "OPIXray-Sim"]
    assert all(asked in notebook["cells"][0]["source"] for asked in values(notebook))


def test_an_unknown_number_is_no_format_string():
    notebook = page("It gains {glue:text}`gain:+.1f`.")
    lab.for_reading(notebook, {})
    assert list(values(notebook).values()) == ["…"]


def test_a_citation_names_authors_and_year_and_leads_to_the_bibliography():
    notebook = page("As in {cite}`hu2018squeeze,efron1979bootstrap`, twice {cite}`hu2018squeeze`.")
    before = joined(notebook)
    lab.for_reading(notebook, {})
    both = "[(Hu et al. 2018; Efron 1979)](bibliography.md#hu2018squeeze,efron1979bootstrap)"
    assert joined(notebook).startswith(f"As in {both}, twice [(Hu et al. 2018)]")
    lab.for_keeping(notebook)
    assert joined(notebook) == before


def test_the_kernel_answers_what_the_page_asks_as_soon_as_it_is_quoted(capsys):
    notebook = page("{glue:text}`lab-test:.2f`")
    lab.for_reading(notebook, {})
    (asked,) = values(notebook)
    assert repr(eval(asked)) == known.UNKNOWN
    quote("lab-test", 1 / 3)
    assert repr(eval(asked)) == "0.33"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_page_has_no_raw_quote_and_is_saved_as_it_was(path):
    notebook = nbformat.read(path, as_version=4)
    shown = copy.deepcopy(dict(notebook))
    lab.for_reading(shown, {})
    assert "{glue:text}" not in joined(shown)
    assert "{cite}" not in joined(shown)
    assert not re.search(r"\{doc\}`[^<`]*`", joined(shown))
    lab.for_keeping(shown)
    assert joined(shown) == joined(notebook)
    assert all(lab.METADATA not in cell["metadata"] for cell in shown["cells"])


def test_the_server_hands_out_values_and_writes_back_the_file(tmp_path):
    text = "It gains {glue:text}`gain:.1f` mAP."
    record = {"doam": {"quote": "gain", "digest": "", "sources": {}}}
    data = {known.GLUE_PREFIX + "text/plain": "3.14159"}
    output = new_output("display_data", data=data, metadata=record)
    cells = [new_markdown_cell(text), new_code_cell("quote(...)", outputs=[output])]
    nbformat.write(new_notebook(cells=cells), tmp_path / "page.ipynb")
    contents = lab.BookContents(root_dir=str(tmp_path))
    model = asyncio.run(contents.get("page.ipynb"))
    assert list(values(model["content"]).values()) == ["3.1"]
    asyncio.run(contents.save(model, "page.ipynb"))
    assert nbformat.read(tmp_path / "page.ipynb", as_version=4).cells[0].source == text


def test_the_start_page_lists_every_page_in_reading_order(tmp_path, monkeypatch):
    monkeypatch.setenv("DOAM_HOME", str(tmp_path))
    for path in [*BOOK.glob("*.ipynb"), *BOOK.glob("*.md"), BOOK / "_toc.yml"]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    text = lab.start_page(tmp_path).read_text()
    toc = (BOOK / "_toc.yml").read_text()
    generated = {path.stem for path in BOOK.glob("*.md") if lab.GENERATED in path.read_text()}
    wanted = [name for name in re.findall(r"(?:root|file): (\S+)", toc) if name not in generated]
    assert "glossary" in wanted and "reference" not in wanted
    assert re.findall(r"\]\((\w+)\.(?:ipynb|md)\)", text) == wanted
    assert "not run here yet" in text and "Untitled" not in text
    assert not re.search(r"\|---\|---\|---\|\n(\n|$)", text), "a part whose table has no row"
    assert paths.build() == tmp_path / "build"
