"""Pages run on data without levels, without masks, and without test items of a class."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import check_book
import matplotlib.pyplot as plt
import nbformat
import pytest
from coco_tools import edit, write_coco
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from nbconvert import HTMLExporter

from doamlib.book.build import execute, toc_notebooks
from doamlib.experiments import Study
from doamlib.experiments.parameters import Parameters, from_values

REPOSITORY = Path(__file__).parents[2]
BOOK = REPOSITORY / "book"
TABLES = (
    "attention_comparison",
    "occlusion_levels",
    "detectors",
    "sampling_strategies",
    "pool_contents",
    "ablation",
)
TINY = {
    **{"profile": "mine", "dataset": "coco", "arms": ["SSD", "SSD+DOAM-T"], "image_size": 96},
    **{"width": 0.05, "doam_width": 0.25, "warm_start": "none", "epochs": 1, "batch_size": 8},
    **{"warmup_steps": 2, "device": "cpu", "processes": 1},
}


STRANGE = (
    "<script>window.pwned = 1</script>",
    "</td></table>" + "</div>" * 9 + "<img src=x onerror='pwned=1'>",
    '../../"&amp; חרב' + "W" * 80,
)
"""Names of classes; none may be more than text. The last one has no item in test."""


ONLY_CELLS = "[...document.querySelector('main').children].every(e => e.matches('.jp-Cell'))"
PICTURE = "<img src=x onerror='window.pwned=1'>\"חרב.png"


def second_box(content):
    """Every image gets an item of the other class: none has one class alone."""
    content["annotations"] += [
        {**a, "id": 100 + a["id"], "category_id": 3 - a["category_id"], "bbox": [30, 20, 25, 22]}
        for a in list(content["annotations"])
    ]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("others")
    counts = {"train": 12, "test": 2}
    write_coco(root / "hole", STRANGE, counts=counts, size=(70, 62))
    (root / "hole/test/test_1.png").rename(root / "hole/test" / PICTURE)
    edit(root / "hole/test.json", lambda data: data["images"][0].update(file_name=PICTURE))
    write_coco(root / "pairs", ("Gun", "Knife"), counts={"train": 8, "test": 4}, size=(70, 64))
    for split in ("train", "test"):
        edit(root / "pairs" / f"{split}.json", second_box)
    return root


@pytest.fixture
def shell(monkeypatch):
    """What a kernel runs, in this process: the libraries are imported once for all pages."""
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    monkeypatch.chdir(REPOSITORY / "book")
    monkeypatch.setenv("PWD", os.getcwd())
    plt.switch_backend("agg")
    yield InteractiveShell.instance()
    InteractiveShell.instance().history_manager.end_session()
    InteractiveShell.clear_instance()
    plt.close("all")


def run_page(shell, page, values):
    """Everything that the page prints; a cell that fails fails the test."""
    said = ""
    for cell in nbformat.read(REPOSITORY / "book" / f"{page}.ipynb", 4).cells:
        sources = [cell.source] if cell.cell_type == "code" else []
        if "parameters" in cell.metadata.get("tags", []):
            sources.append("# Parameters\n" + "\n".join(f"{k} = {v!r}" for k, v in values.items()))
        for source in sources:
            with capture_output() as captured:
                done = shell.run_cell(source, store_history=True)
            said += captured.stdout
            assert done.success, f"{page}: {source}\n{captured.stdout[-3000:]}"
    return said


INSTEAD = {
    "pool_contents": ["These data do not say how occluded", "There is no SSD+DOAM-O among"],
    "occlusion_levels": ["this run: no run whose data say how occluded an item is"],
    "beyond": ["There is no image without an item: false alarms cannot be counted."],
    "attention_comparison": [f": {STRANGE[0]}, ", f"; no test item: {STRANGE[2]}\n"],
}
"""What stands where a figure could not be drawn, or explains a table."""


@pytest.mark.slow
@pytest.mark.parametrize("page", [*TABLES, "beyond", "what_it_looks_at", "map_quality", "dataset"])
def test_a_page_runs_and_says_in_a_line_what_the_data_do_not_have(page, folders, home, shell):
    said = run_page(shell, page, {**TINY, "data_root": str(folders / "hole")})
    missing = f"; no occlusion levels; no masks; no {STRANGE[2]} in test"
    assert [line for line in [missing, *INSTEAD.get(page, [])] if line not in said] == []


@pytest.mark.slow
def test_a_readers_own_detector_looks_at_pictures_of_its_data(folders, home, shell):
    values = {**TINY, "data_root": str(folders / "hole"), "seeds": [5]}
    said = run_page(shell, "own_image", values)
    assert "SSD+DOAM-O, seed 0, shipped with the book" in said  # nothing is trained yet
    Study(Parameters.model_validate_json(json.dumps(values))).results(["SSD+DOAM-T"])
    assert "SSD+DOAM-T, seed 5, of your own runs" in run_page(shell, "own_image", values)


@pytest.fixture(scope="module")
def opixray(study, smoke, tmp_path_factory):
    """Parameters for a miniature in OPIXray's layout: Windows line ends, nothing that tells O."""
    root = tmp_path_factory.mktemp("real") / "OPIXray"
    shutil.copytree(study.data.train.root, root)
    (root / "manifest.json").unlink()
    shutil.rmtree(root / "sidecar")
    for listed in root.rglob("*_knife*.txt"):
        listed.write_bytes(listed.read_bytes().replace(b"\n", b"\r\n"))
    changes = {"profile": "opixray", "dataset": "opixray", "data_root": str(root)}
    return from_values(smoke.model_dump() | changes)


PAGES = [page for page in sorted(toc_notebooks(BOOK)) if "data_root" in (BOOK / page).read_text()]


def test_pages_that_read_data_are_found():
    assert len(PAGES) > 20


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_page_that_reads_data_takes_the_real_dataset(page, opixray, shell):
    run_page(shell, page.removesuffix(".ipynb"), opixray.model_dump(mode="json"))


@pytest.mark.slow
def test_an_executed_page_names_the_real_dataset(opixray, tmp_path):
    execute(BOOK / "occlusion_levels.ipynb", tmp_path / "made.ipynb", opixray)
    cells = nbformat.read(tmp_path / "made.ipynb", as_version=4).cells
    assert any("profile = 'opixray'" in cell.source for cell in cells)


@pytest.mark.slow
@pytest.mark.skipif(check_book.chromium() is None, reason="no Chromium is installed")
@pytest.mark.parametrize("page", ["attention_comparison", "dataset"])
def test_names_of_strangers_run_no_script_and_break_no_layout(
    page, folders, home, tmp_path, monkeypatch
):
    """As JupyterLab shows an executed page: what a cell displays as HTML is put in as it is."""
    monkeypatch.chdir(REPOSITORY / "book")
    values = json.dumps({**TINY, "data_root": str(folders / "hole")})
    made = tmp_path / "made.ipynb"
    execute(Path(f"{page}.ipynb"), made, Parameters.model_validate_json(values))
    html, _ = HTMLExporter().from_filename(str(made))
    (tmp_path / "page.html").write_text(html)
    with check_book.browser() as browser:
        shown = browser.new_page(viewport={"width": 1200, "height": 900})
        shown.route("http*://**", lambda route: route.abort())
        shown.goto((tmp_path / "page.html").as_uri())
        assert shown.evaluate("window.pwned === undefined")
        assert not shown.query_selector_all("img[src=x]")
        assert any(name in shown.inner_text("body") for name in STRANGE)
        assert shown.evaluate(ONLY_CELLS)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["dataset", "what_it_looks_at", "map_quality"])
def test_no_image_of_one_class_alone(page, folders, home, shell):
    said = run_page(shell, page, {**TINY, "data_root": str(folders / "pairs")})
    assert page != "dataset" or "no few-shot lists" in said
