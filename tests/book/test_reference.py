"""The reference of the library: whole, from docstrings, and a gap in a face fails the build."""

import io
import pkgutil
import re
from importlib import import_module
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from sphinx.application import Sphinx

import doamlib
from doamlib.book import reference

BOOK = Path(__file__).parents[2] / "book"


def test_every_room_that_shows_names_is_in_the_reference_once():
    packages = [m.name for m in pkgutil.walk_packages(doamlib.__path__, "doamlib.") if m.ispkg]
    showing = [name for name in packages if getattr(import_module(name), "__all__", None)]
    assert set(showing) <= set(reference.ROOMS)
    directive = re.compile(r":::\{room\} (\S+)\n(:short:\n)?:::")
    found = [
        hit for path in BOOK.glob("reference*.md") for hit in directive.findall(path.read_text())
    ]
    entries = [room for room, short in found if not short]
    assert sorted(entries) == sorted(reference.ROOMS)
    assert [room for room, short in directive.findall((BOOK / "reference.md").read_text())] == [
        room for room, short in found if short
    ]
    assert sorted(room for room, short in found if short) == sorted(reference.ROOMS)


@pytest.mark.parametrize("room", reference.ROOMS)
def test_each_name_of_a_face_has_a_home_and_a_purpose(room):
    names = reference.face(room)
    assert names
    for name in names:
        module, _, own = reference.home(room, name).rpartition(".")
        assert module.startswith("doamlib") and hasattr(import_module(module), own)
        row = reference.line(reference.home(room, name))
        assert len(row.split("     - ")[1].strip()) > 10, name


def test_names_have_the_address_of_where_they_are_defined():
    assert reference.home("doamlib.models", "DOAM") == "doamlib.models.doam.DOAM"
    assert reference.home("doamlib.data", "CLASSES") == "doamlib.data.classes.CLASSES"
    with pytest.raises(AttributeError, match="no attribute 'gone'"):
        reference.home("doamlib.models", "gone")


def test_a_line_is_not_cut_at_an_abbreviation():
    row = reference.line("doamlib.simulation.scenes.steps.render_cutter")
    assert re.search(r"Fig\. \d", row)


def test_what_pages_import_is_found_with_their_reading_order(tmp_path):
    code = "from doamlib.models import DOAM\nfrom doamlib.book import plots\nimport numpy as np"
    cells = [new_code_cell(code), new_markdown_cell("from doamlib.models import SSD")]
    nbformat.write(new_notebook(cells=cells), tmp_path / "page.ipynb")
    assert list(reference.imported(tmp_path / "page.ipynb")) == ["doamlib.models.doam.DOAM"]
    assert reference.pages()["doamlib.models.doam.DOAM"][0] == "doam"
    assert "doamlib.models.edges.SobelEdges" in reference.listed("doamlib.models")
    assert len(reference.listed("doamlib.claims")) < len(reference.listed("doamlib.models"))


# --- rendered -------------------------------------------------------------------------------------


@pytest.fixture
def rendered(tmp_path, monkeypatch):
    """Render a page of this text; gives its article and what Sphinx warned of."""
    monkeypatch.setattr(reference, "pages", dict)

    def run(text):
        (tmp_path / "index.md").write_text(text)
        settings = {
            "extensions": ["myst_parser", "doamlib.book.reference"],
            "myst_enable_extensions": ["colon_fence"],
            "napoleon_use_ivar": True,
        }
        warned = io.StringIO()
        app = Sphinx(
            tmp_path, None, tmp_path / "out", tmp_path / "trees", "html", settings, None, warned
        )
        app.build()
        page = BeautifulSoup((tmp_path / "out" / "index.html").read_text(), "html.parser")
        return page.find(role="main"), warned.getvalue()

    return run


def test_an_entry_has_a_signature_arguments_and_its_source(rendered):
    article, warned = rendered(
        "# Page\n\n:::{room} doamlib.recipe\n:::\n\nSee `doamlib.recipe.planned_steps` and `x`.\n"
    )
    assert warned == ""
    (entry,) = (
        dt for dt in article.find_all("dt") if dt.get("id") == "doamlib.recipe.planned_steps"
    )
    assert "batches" in entry.get_text()
    assert entry.find("a", href=re.compile(r"_modules/doamlib/recipe"))
    (config,) = (
        dt for dt in article.find_all("dt") if dt.get("id") == "doamlib.recipe.TrainingConfig"
    )
    assert "(...)" in config.get_text()
    link = article.find_all("p")[-1].find("a")
    assert link["href"] == "#doamlib.recipe.planned_steps" and link.get_text() == (
        "doamlib.recipe.planned_steps"
    )


def test_a_name_that_is_not_there_is_a_warning_that_names_it(rendered, monkeypatch):
    monkeypatch.setattr(reference, "face", lambda room: ["table", "gone"])
    _, warned = rendered("# Page\n\n:::{room} doamlib.paper\n:::\n")
    assert "module 'doamlib.paper' has no attribute 'gone'" in warned
