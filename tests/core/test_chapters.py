"""The book's pages are found in reading order, whatever their kind, and called by their heading."""

import json

import pytest

from doamlib.core.chapters import page_names, page_text, title_of


@pytest.fixture
def book(tmp_path):
    toc = "root: index\nparts:\n  - caption: One\n    chapters:\n      - file: b\n      - file: a\n"
    (tmp_path / "_toc.yml").write_text(toc)
    cells = [
        {"cell_type": "markdown", "source": ["# The bag\n", "It is full."]},
        {"cell_type": "code", "source": "# no heading"},
        {"cell_type": "markdown", "source": "The end."},
    ]
    (tmp_path / "b.ipynb").write_text(json.dumps({"cells": cells}))
    (tmp_path / "a.md").write_text("Before.\n\n# Notes \n\n## Parts\n")
    return tmp_path


def test_pages_come_in_the_order_of_the_table_of_contents(book):
    assert page_names(book) == ["index", "b", "a"]


def test_a_page_that_is_commented_out_is_none(book):
    toc = book / "_toc.yml"
    toc.write_text(toc.read_text().replace("      - file: b", "#     - file: b"))
    assert page_names(book) == ["index", "a"]


def test_the_text_of_a_notebook_leaves_its_code_out(book):
    assert page_text(book, "b") == "# The bag\nIt is full.\nThe end."
    assert page_text(book, "a").startswith("Before.")
    assert page_text(book, "index") == ""


def test_a_page_is_called_by_its_first_heading(book):
    assert title_of(page_text(book, "b")) == "The bag"
    assert title_of(page_text(book, "a")) == "Notes"
    assert title_of("## Parts\n#nothing") == ""
