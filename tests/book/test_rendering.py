"""What the book adds to Sphinx: captions, folds, index terms, ways out."""

import io
from pathlib import Path

import nbformat
import numpy as np
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from doamlib.book import rendering
from doamlib.book.pictures import smaller_png

BOOK = Path(__file__).parents[2] / "book"
WANTED = yaml.safe_load((BOOK / rendering.FIGURES).read_text())
PNG = new_output("display_data", data={"image/png": "AAAA"})
TABLE = new_output("display_data", data={"text/html": "<table></table>"})
QUOTE = new_output("display_data", data={}, metadata={"doam": {"quote": "x"}})


def entry(**changes):
    picture = {"cell": "draw(", "name": "fig-a", "caption": "A", "alt": "An alternative"}
    return picture | changes


def parts(outputs, source="draw()", **changes):
    notebook = new_notebook(cells=[new_code_cell(source, outputs=outputs)])
    return rendering.with_captions(notebook, [entry(**changes)])["cells"]


def test_a_figure_gets_its_caption_name_and_alternative_text():
    (cell,) = parts([QUOTE, PNG])
    assert cell["metadata"]["mystnb"]["figure"] == {"name": "fig-a", "caption": "A"}
    assert cell["metadata"]["mystnb"]["image"] == {"alt": "An alternative"}
    assert cell["outputs"] == [QUOTE, PNG]


def test_a_table_beside_a_figure_gets_no_caption_of_it():
    first, second = parts([PNG, TABLE])
    assert "figure" in first["metadata"]["mystnb"] and second["outputs"] == [TABLE]
    assert "mystnb" not in second["metadata"] and "remove-input" in second["metadata"]["tags"]


def test_each_figure_of_a_cell_has_its_own_caption():
    figures = [{"name": f"fig-{n}", "caption": n, "alt": n} for n in "ab"]
    names = [
        cell["metadata"]["mystnb"]["figure"]["name"] for cell in parts([PNG, PNG], figures=figures)
    ]
    assert names == ["fig-a", "fig-b"]


def test_long_drawing_code_is_folded_unless_it_is_part_of_the_story():
    long = "draw()\n" * rendering.LONG
    assert "hide-input" in parts([PNG], long)[0]["metadata"]["tags"]
    assert "hide-input" not in parts([PNG], long, open=True)[0]["metadata"]["tags"]
    assert "hide-input" not in parts([PNG])[0]["metadata"]["tags"]


@pytest.mark.parametrize("page", WANTED)
def test_every_entry_names_one_cell_of_its_page(page):
    cells = nbformat.read(BOOK / f"{page}.ipynb", as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    for wanted in WANTED[page]:
        assert sum(rendering._is_of(cell, wanted) for cell in code) == 1, wanted["cell"]


def test_names_are_given_once_and_texts_say_something():
    figures = [f for es in WANTED.values() for e in es for f in e.get("figures", [e])]
    names = [figure["name"] for figure in figures]
    assert len(set(names)) == len(names)
    assert all(
        len(figure["alt"]) > 25 and figure["caption"].endswith((".", "`")) for figure in figures
    )


def test_terms_lead_to_pages_and_every_query_has_one():
    pages = {place.partition("#")[0] for place in rendering.terms_of(BOOK)}
    for page in pages:
        assert any((BOOK / f"{page}.{kind}").is_file() for kind in ("ipynb", "md")), page
    queries = yaml.safe_load((BOOK / "_queries.yml").read_text())
    assert len(queries) >= 20
    assert set(queries.values()) <= pages


def test_a_page_says_how_it_is_run_again():
    cell = new_code_cell("profile = 'reference'  # name", metadata={"tags": ["parameters"]})
    _, said = rendering.with_command(new_notebook(cells=[cell]), "doam")["cells"]
    command = ".venv/bin/papermill book/doam.ipynb out.ipynb -f params/reference.yaml"
    assert command in said["source"]


def test_without_an_address_there_are_no_buttons():
    assert rendering.buttons("") == {}
    assert (
        rendering.buttons("https://example.org/a/b")["repository_url"] == "https://example.org/a/b"
    )


def test_a_drawn_figure_gets_smaller_and_looks_the_same():
    ramp = np.linspace(0, 255, 200).astype(np.uint8)
    picture = np.stack(
        [np.tile(ramp, (200, 1))] * 3 + [np.full((200, 200), 255, np.uint8)], axis=-1
    )
    noisy = picture + np.random.default_rng(0).integers(0, 3, picture.shape, dtype=np.uint8) * (
        picture < 250
    )
    saved = io.BytesIO()
    Image.fromarray(noisy, "RGBA").save(saved, "PNG")
    small = smaller_png(saved.getvalue())
    assert len(small) < len(saved.getvalue())
    seen = np.asarray(Image.open(io.BytesIO(small)).convert("RGB")).astype(int)
    assert np.abs(seen - noisy[..., :3]).mean() < 4


def test_what_is_small_already_stays_as_it_is():
    saved = io.BytesIO()
    Image.new("L", (1, 1)).save(saved, "PNG", optimize=True)
    assert len(smaller_png(saved.getvalue())) <= len(saved.getvalue())
