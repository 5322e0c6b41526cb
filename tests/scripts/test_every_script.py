"""Scripts and benchmarks, which write numbers that the book shows: all imported, short ones run.

Import alone finds what a move or a renamed function broke. What is run here is made tiny; long
fits and probes (physics tables, occlusion, display, recipes, attention) are imported only.
"""

import importlib
import json
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from doamlib.core import paths
from doamlib.experiments.detectors import shipped
from doamlib.experiments.parameters import from_file
from doamlib.experiments.results import RunConfig
from doamlib.experiments.study import Study

REPOSITORY = Path(__file__).parents[2]
FILES = sorted([*REPOSITORY.glob("scripts/*.py"), *REPOSITORY.glob("benchmarks/*.py")])
EXTRAS = {"make_physics_tables": ("spekpy", "xraydb")}
"""Scripts with packages of their own (``pip install -e .[physics]``)."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_is_imported_without_doing_anything_and_tells_how_it_is_run(path, capsys):
    for package in EXTRAS.get(path.stem, ()):
        pytest.importorskip(package)
    module = importlib.import_module(path.stem)
    assert Path(module.__file__) == path
    assert callable(module.main) and len(module.__doc__) > 40
    assert capsys.readouterr().out == ""


@pytest.fixture
def run(monkeypatch):
    """Runs a script's main function as the command line would."""

    def main(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        return importlib.import_module(name).main()

    return main


# --- without training -----------------------------------------------------------------------------


def test_a_parameters_cell_is_written_again(tmp_path, run, monkeypatch):
    page = tmp_path / "book" / "lessons.ipynb"
    page.parent.mkdir()
    shutil.copytree(REPOSITORY / "params", tmp_path / "params")
    notebook = nbformat.read(REPOSITORY / "book" / page.name, as_version=4)
    (cell,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    right, cell.source = cell.source, "epochs = 7"
    nbformat.write(notebook, page)
    monkeypatch.setattr("sync_notebooks.REPOSITORY", tmp_path)
    run("sync_notebooks")
    assert page.read_bytes() == (REPOSITORY / "book" / page.name).read_bytes() and right


def test_the_seal_lists_what_is_committed(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("doamlib.book.seal.write", lambda: tmp_path / "SHA256SUMS")
    run("seal")
    assert "files" in capsys.readouterr().out


def test_the_generators_golden_pictures_are_made_again(run, tmp_path, monkeypatch):
    monkeypatch.setattr("simulation_golden.TARGET", tmp_path / "golden.json")
    run("simulation_golden")
    made, stored = (
        json.loads(path.read_text())
        for path in (tmp_path / "golden.json", REPOSITORY / "tests/data/simulation/golden.json")
    )
    assert made.keys() == stored.keys() and made["images"].keys() == stored["images"].keys()


def test_rates_of_the_generator(run, tmp_path):
    run("bench_simulation", "--images", 1, "--out", tmp_path / "rates.json")
    found = json.loads((tmp_path / "rates.json").read_text())
    assert all(rate > 0 for rate in found["images_per_second_and_core"].values())


def test_rates_of_loading(run, tmp_path):
    run("bench_loading", "--images", 3, "--size", 32, "--batch", 2, "--out", tmp_path / "l.json")
    rates = json.loads((tmp_path / "l.json").read_text())["images_per_second"]
    assert {"build cache", "batch, second pass"} <= rates.keys() and min(rates.values()) > 0


def test_times_of_the_evaluation(run, monkeypatch, capsys):
    for name, few in {"IMAGES": 60, "PER_IMAGE": 5, "RESAMPLES": 5}.items():
        monkeypatch.setattr(f"bench_evaluation.{name}", few)
    run("bench_evaluation")
    assert capsys.readouterr().out.count("mAP 0.") == 2


def test_the_readmes_picture(run, tmp_path, monkeypatch):
    monkeypatch.setattr("readme_picture.TARGET", tmp_path / "readme.png")
    run("readme_picture")
    assert (tmp_path / "readme.png").stat().st_size > 10_000


def test_a_nudge_moves_every_weight_by_about_a_millionth_and_no_count():
    import torch
    from measure_noise import RELATIVE, nudged

    weights = {"w": torch.full((1000,), 3.0), "seen": torch.tensor(7)}
    moved = nudged(weights, seed=0)
    assert moved["seen"] == 7 and torch.equal(weights["w"], torch.full((1000,), 3.0))
    errors = (moved["w"].double() - 3) / 3
    assert 0.9 * RELATIVE < errors.std() < 1.1 * RELATIVE
    assert not torch.equal(moved["w"], nudged(weights, seed=1)["w"])


# --- with a little training -----------------------------------------------------------------------


@pytest.fixture
def measurements(home, tmp_path, monkeypatch):
    """Where scripts write what they measure, in place of the book's folder."""
    monkeypatch.setattr(paths, "measurements", lambda: tmp_path)
    return tmp_path


@pytest.mark.slow
def test_how_much_of_training_is_the_network(study, run, tmp_path):
    smoke = REPOSITORY / "params" / "smoke.yaml"
    run("bench_training", "-f", smoke, "--rounds", 1, "--out", tmp_path / "t.json")
    found = json.loads((tmp_path / "t.json").read_text())
    assert 0 <= found["loader_share"] < 1 and found["rate_against_bare"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "file", "seeds"),
    [
        ("measure_spread", "ssd_spread", {"SSD": 2}),
        ("compare_precision", "precision_pairs", (0, 1)),
    ],
)
def test_measurements_over_seeds(name, file, seeds, study, smoke, run, measurements, monkeypatch):
    # Where bfloat16 is emulated it is slow; in one process the patch below is seen.
    slim = smoke.model_copy(update={"width": 0.05, "processes": 1})
    monkeypatch.setattr(f"{name}.from_file", lambda path: slim)
    monkeypatch.setattr(RunConfig, "explained", False)  # no maps, which no script here reads
    monkeypatch.setattr(f"{name}.SEEDS", seeds)
    run(name)
    found = json.loads((measurements / f"{file}.json").read_text())
    assert found["seeds"] == [0, 1] and found["data"] == study.fingerprint


@pytest.mark.slow
def test_a_shipped_warm_start_is_found_by_the_runs_that_want_it(home, run, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "warm_starts", lambda: tmp_path / "warm_starts")
    values = yaml.safe_load((REPOSITORY / "params" / "smoke.yaml").read_text())
    (tmp_path / "warm.yaml").write_text(yaml.safe_dump(values | {"warm_start": "harmless"}))
    run("ship_warm_starts", "-f", tmp_path / "warm.yaml", "--only", "SSD")
    study = Study(from_file(tmp_path / "warm.yaml"), lambda line: None)
    found = study.store.starting_weights(study.config("SSD", 0).warm_run())
    assert found.parent == tmp_path / "warm_starts" and found.suffix == ".safetensors"
    assert json.loads((found.parent / "recipes.json").read_text()).keys() == {found.stem}


@pytest.mark.slow
def test_a_shipped_detector_is_found_where_it_was_written(study, run, tmp_path, capsys):
    study.results(["SSD"])
    smoke = REPOSITORY / "params" / "smoke.yaml"
    run("ship_detectors", "-f", smoke, "--arms", "SSD", "--to", tmp_path)
    (found,) = shipped(tmp_path)
    assert found.arm == "SSD" and found.path.name in capsys.readouterr().out
    with pytest.raises(SystemExit, match="seed 77 of SSD is not trained: doam train"):
        run("ship_detectors", "-f", smoke, "--arms", "SSD", "--seed", 77, "--to", tmp_path)
