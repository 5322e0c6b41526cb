"""Datasets: quotas, layout, sidecar, determinism, resuming."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from pycocotools import mask as coco_mask
from pydantic import ValidationError

from doamlib.core import paths
from doamlib.data.classes import CLASSES
from doamlib.data.faults import DataError
from doamlib.simulation import GENERATOR_VERSION, SimulationConfig, generate
from doamlib.simulation.dataset import _remaining, drawn, is_complete
from doamlib.simulation.scenes.compose import window_size
from doamlib.simulation.scenes.image import make_image, scene_seed
from doamlib.simulation.scenes.occlusion import LEVEL_LIMITS, level_of
from doamlib.simulation.scenes.quotas import ImagePlan, largest_remainder, plan_images

SMALL = SimulationConfig(train_images=5, test_images=4, seed=3, field_of_view=0.25)
STORED = Path(__file__).parents[1] / "data" / "simulation"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return generate(SMALL, tmp_path_factory.mktemp("data") / "small", report=lambda line: None)


def digests(root: Path) -> dict[str, str]:
    return json.loads((root / "manifest.json").read_text())["files"]


def sidecar(root: Path, split: str) -> list[dict]:
    return [json.loads(line) for line in (root / "sidecar" / f"{split}.jsonl").open()]


# -------------------------------------------------------------------------------------- quotas


def test_the_paper_preset_reproduces_tables_two_and_three():
    """Paper: Tables II and III."""
    plans = plan_images(SimulationConfig.paper())
    train, test = ([p for p in plans if p.split == split] for split in ("train", "test"))
    assert (len(train), len(test)) == (7109, 1776)
    assert Counter(c for p in train for c in p.classes) == dict(
        zip(CLASSES, (1589, 809, 1494, 1635, 1612), strict=True)
    )
    table = {
        level: Counter(c for p in test if p.level == level for c in p.classes)
        for level in (1, 2, 3)
    }
    for level, row in (
        (1, (206, 88, 160, 214, 255)),
        (2, (148, 84, 126, 88, 105)),
        (3, (50, 63, 83, 41, 70)),
    ):
        assert table[level] == dict(zip(CLASSES, row, strict=True))
    assert Counter(p.level for p in test) == {1: 922, 2: 548, 3: 306}
    assert Counter(len(p.classes) for p in train) == {1: 7079, 2: 30}
    assert Counter(len(p.classes) for p in test) == {1: 1771, 2: 5}
    assert [p.index for p in plans] == list(range(8885))


@settings(max_examples=60, deadline=None)
@given(train=st.integers(0, 900), test=st.integers(1, 900), seed=st.integers(0, 99))
def test_any_size_keeps_the_proportions(train, test, seed):
    config = SimulationConfig(train_images=train, test_images=test, seed=seed)
    plans = plan_images(config)
    assert Counter(p.split for p in plans) == Counter(train=train, test=test)
    assert all(p.classes for p in plans)
    items = Counter(c for p in plans if p.split == "train" for c in p.classes)
    assert abs(items["Folding_Knife"] - train * 1589 / 7109) <= 1.5
    levels = Counter(p.level for p in plans if p.split == "test")
    assert abs(levels[3] - test * 306 / 1776) <= 3.5


@given(
    weights=st.lists(st.integers(0, 50), min_size=1, max_size=8).filter(sum),
    total=st.integers(0, 300),
)
def test_largest_remainder_is_whole_and_close(weights, total):
    counts = largest_remainder(weights, total)
    assert sum(counts) == total
    exact = [w * total / sum(weights) for w in weights]
    assert all(abs(c - e) < 1 for c, e in zip(counts, exact, strict=True))


def test_without_cutters_no_class_is_planned():
    plans = plan_images(SimulationConfig.backgrounds())
    assert {p.classes for p in plans} == {()} and {p.level for p in plans} == {None}


# ------------------------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    "wrong",
    [
        {"train_images": 0, "test_images": 0},
        {"train_images": -1, "test_images": 3},
        {"train_images": 1, "test_images": 1, "field_of_view": 0.1},
        {"train_images": 1, "test_images": 1, "field_of_view": 1.2},
        {"train_images": 1, "test_images": 1, "seed": -4},
        {"train_images": 1, "test_images": 1, "knives": True},
        {"train_images": "1", "test_images": 1},
    ],
)
def test_a_wrong_configuration_is_refused(wrong):
    with pytest.raises(ValidationError):
        SimulationConfig(**wrong)


def test_fingerprints_tell_configurations_apart():
    presets = [
        SimulationConfig.tiny(),
        SimulationConfig.quick(),
        SimulationConfig.paper(),
        SimulationConfig.backgrounds(),
        SimulationConfig(train_images=7109, test_images=1776, seed=1),
    ]
    fingerprints = {config.fingerprint for config in presets}
    assert len(fingerprints) == len(presets)
    assert all(len(f) == 16 and int(f, 16) >= 0 for f in fingerprints)
    assert SimulationConfig.paper().fingerprint == SimulationConfig.paper().fingerprint


# ------------------------------------------------------------------------------------- dataset


def test_layout_is_that_of_opixray(dataset):
    stems = {s: (dataset / s / f"{s}_knife.txt").read_text().split() for s in ("train", "test")}
    assert stems == {
        "train": [f"{i:06d}" for i in range(5)],
        "test": [f"{i:06d}" for i in range(5, 9)],
    }
    width, height = window_size(SMALL.field_of_view)
    for split, names in stems.items():
        for stem in names:
            pixels = cv2.imread(str(dataset / split / f"{split}_image" / f"{stem}.jpg"))
            assert pixels.shape == (height, width, 3)
            annotation = dataset / split / f"{split}_annotation" / f"{stem}.txt"
            for line in annotation.read_text().splitlines():
                image, name, *corners = line.split(" ")
                x1, y1, x2, y2 = map(int, corners)
                assert image == f"{stem}.jpg" and name in CLASSES
                assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height


def test_level_lists_agree_with_the_sidecar_and_the_plan(dataset):
    records = sidecar(dataset, "test")
    planned = {p.stem: p.level for p in plan_images(SMALL) if p.split == "test"}
    for level in (1, 2, 3):
        listed = (dataset / "test" / f"test_knife-{level}.txt").read_text().split()
        assert listed == [r["image"] for r in records if r["level"] == level]
        assert listed == [stem for stem, wanted in planned.items() if wanted == level]
    for record in records:
        assert record["level"] == max(level_of(i["occlusion"]) for i in record["items"])


def test_boxes_cover_the_stored_silhouettes(dataset):
    for split in ("train", "test"):
        for record in sidecar(dataset, split):
            for item in record["items"]:
                mask = coco_mask.decode(item["silhouette"]).astype(bool)
                x1, y1, x2, y2 = item["box"]
                assert mask.sum() == mask[y1:y2, x1:x2].sum() >= item["core_pixels"] >= 40
                rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
                assert columns[0] - x1 <= 6 and x2 - columns[-1] <= 7
                assert rows[0] - y1 <= 6 and y2 - rows[-1] <= 7


def test_sidecar_says_what_is_in_an_image(dataset):
    for record in sidecar(dataset, "train") + sidecar(dataset, "test"):
        assert 1 <= len(record["containers"]) <= 3 and 0.92 <= record["scale"] <= 1.08
        x0, y0, x1, y1 = record["window"]
        assert (x1 - x0, y1 - y0) == window_size(SMALL.field_of_view)
        assert 85 <= record["display"]["jpeg_quality"] <= 95
        for item in record["harmless"]:
            assert item["name"] not in (*CLASSES, "cloth", "film")
            bx0, by0, bx1, by1 = item["box"]
            assert 0 <= bx0 < bx1 <= x1 - x0 and 0 <= by0 < by1 <= y1 - y0


def test_manifest_lists_every_file_with_its_hash(dataset):
    manifest = json.loads((dataset / "manifest.json").read_text())
    assert manifest["fingerprint"] == SMALL.fingerprint
    assert SimulationConfig(**manifest["config"]) == SMALL
    files = {
        p.relative_to(dataset).as_posix()
        for p in dataset.rglob("*")
        if p.is_file() and p.name not in ("manifest.json", ".lock")
    }
    assert set(manifest["files"]) == files
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((dataset / name).read_bytes()).hexdigest() == digest


@pytest.mark.slow
def test_the_number_of_processes_does_not_matter(dataset, tmp_path):
    again = generate(SMALL, tmp_path / "two", processes=2, report=lambda line: None)
    assert digests(again) == digests(dataset)


def test_who_draws_and_in_which_order_does_not_matter(dataset, tmp_path):
    def backwards(config, plans):
        return ((plan, drawn(config, plan)) for plan in reversed(plans))

    again = generate(SMALL, tmp_path / "far", report=lambda line: None, draw=backwards)
    assert digests(again) == digests(dataset)


def test_other_seeds_give_other_images(dataset):
    other = SMALL.model_copy(update={"seed": 4})
    pixels = [make_image(c, ImagePlan(0, "train", (CLASSES[0],)))[0] for c in (SMALL, other)]
    assert not np.array_equal(*pixels)


def test_no_two_datasets_or_splits_share_a_scene():
    """Else a model trained on one preset would have seen the other's test images."""
    quick = SimulationConfig.quick()
    other = {"seed": 1, "field_of_view": 0.31, "cutters": False}
    configs = [
        SimulationConfig.tiny(),
        quick,
        SimulationConfig.paper(),
        SimulationConfig.backgrounds(),
        SimulationConfig(train_images=1100, test_images=0, field_of_view=quick.field_of_view),
        SimulationConfig(train_images=0, test_images=300, field_of_view=quick.field_of_view),
        *(quick.model_copy(update={name: value}) for name, value in other.items()),
    ]
    seeds = [tuple(scene_seed(c, plan)) for c in configs for plan in plan_images(c)]
    assert len(set(seeds)) == len(seeds)
    train, test = (ImagePlan(3, split, ("Scissor",)) for split in ("train", "test"))
    assert scene_seed(quick, train) != scene_seed(quick, test)


def test_the_seed_in_the_sidecar_is_the_scenes(dataset):
    plans = plan_images(SMALL)
    for record in sidecar(dataset, "train") + sidecar(dataset, "test"):
        assert record["seed"][:-1] == scene_seed(SMALL, plans[int(record["image"])])


@pytest.mark.parametrize(
    ("config", "split"),
    [
        (SMALL.model_copy(update={"train_images": 6}), "train"),
        (SMALL.model_copy(update={"test_images": 5}), "train"),
        (SMALL, "test"),
    ],
)
def test_counts_and_split_change_the_picture(config, split):
    plans = ImagePlan(2, "train", ("Scissor",)), ImagePlan(2, split, ("Scissor",))
    one, other = (make_image(c, p)[0] for c, p in zip((SMALL, config), plans, strict=True))
    assert not np.array_equal(one, other)


def test_generating_again_changes_nothing(dataset):
    before = {p: p.stat().st_mtime_ns for p in dataset.rglob("*") if p.is_file()}
    lines: list[str] = []
    assert generate(SMALL, dataset, report=lines.append) == dataset
    after = {p: p.stat().st_mtime_ns for p in dataset.rglob("*") if p.is_file()}
    assert {p for p in before if before[p] != after[p]} <= {dataset / ".lock"}
    assert lines == []


def test_a_folder_with_something_else_is_refused(dataset, tmp_path):
    with pytest.raises(ValueError, match="choose another folder"):
        generate(SMALL.model_copy(update={"seed": 9}), dataset)
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match=r"thesis\.tex"):
        generate(SMALL, tmp_path)
    with pytest.raises(ValueError, match="processes is 0"):
        generate(SMALL, tmp_path / "new", processes=0)


def test_a_damaged_dataset_is_named(tmp_path):
    config = SimulationConfig(train_images=1, test_images=0, field_of_view=0.2)
    root = generate(config, tmp_path / "one", report=lambda line: None)
    (root / "train" / "train_image" / "000000.jpg").unlink()
    with pytest.raises(
        ValueError, match=r"1 files are missing, first train/train_image/000000\.jpg"
    ):
        generate(config, root)


def test_cutter_free_images_have_empty_annotations(tmp_path):
    config = SimulationConfig(train_images=2, test_images=1, field_of_view=0.3, cutters=False)
    root = generate(config, tmp_path / "none", report=lambda line: None)
    for record in sidecar(root, "train") + sidecar(root, "test"):
        assert record["items"] == [] and record["level"] is None
        assert record["harmless"]
    assert (root / "train/train_annotation/000000.txt").read_text() == ""
    assert all((root / f"test/test_knife-{k}.txt").read_text() == "" for k in (1, 2, 3))


@pytest.mark.parametrize("manifest", ["", "{", "[]", "{}", '{"fingerprint": 3, "files": {}}'])
def test_a_broken_manifest_is_refused_with_its_folder_and_the_cure(tmp_path, manifest):
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(DataError, match=rf"error: {tmp_path}: .*; delete the folder"):
        is_complete(tmp_path, SMALL)


@pytest.mark.slow
def test_a_killed_run_continues_and_ends_up_the_same(dataset, tmp_path):
    root = tmp_path / "killed"
    script = f"""
        from pathlib import Path
        from doamlib.simulation import GENERATOR_VERSION, SimulationConfig, generate
        generate(SimulationConfig.model_validate_json({SMALL.as_json()!r}), Path({str(root)!r}))
    """
    run = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)])
    parts = root / ".unfinished"
    deadline = time.monotonic() + 60
    while len(list(parts.glob("*.json"))) < 2:
        assert run.poll() is None and time.monotonic() < deadline, "finished before it was killed"
        time.sleep(0.002)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    assert not (root / "manifest.json").exists()
    kept = {p.stem: _image(root, p.stem).stat().st_mtime_ns for p in parts.glob("*.json")}
    broken = min(kept)
    _image(root, broken).write_bytes(b"half an image")
    with pytest.raises(ValueError, match="another configuration"):
        generate(SMALL.model_copy(update={"seed": 9}), root)
    lines: list[str] = []
    generate(SMALL, root, report=lines.append)
    assert f"{len(kept) - 1} of 9 images kept" in lines[0]
    assert digests(root) == digests(dataset)
    for stem in set(kept) - {broken}:
        assert _image(root, stem).stat().st_mtime_ns == kept[stem]
    assert not parts.exists()


def _image(root: Path, stem: str) -> Path:
    split = "train" if int(stem) < SMALL.train_images else "test"
    return root / split / f"{split}_image" / f"{stem}.jpg"


def test_progress_is_told_with_the_remaining_time():
    line = _remaining(30, 120, 10.0)
    assert line == "simulation: 30 of 120 images, 3.0 a second, 0 min 30 s left"


# -------------------------------------------------------------------------------------- golden


def test_images_look_as_they_did():
    """Mean colours on a coarse grid; exact pixels may differ between processors.

    After an intended change raise GENERATOR_VERSION and run scripts/simulation_golden.py.
    """
    golden = json.loads((STORED / "golden.json").read_text())
    config = SimulationConfig(**golden["config"])
    for plan in plan_images(config):
        pixels, _ = make_image(config, plan)
        grid = cv2.resize(pixels, tuple(golden["grid"]), interpolation=cv2.INTER_AREA)
        assert_allclose(grid.astype(int), golden["images"][plan.stem], atol=4)


def test_frozen_occlusion_limits_are_the_fitted_ones_rounded():
    fitted = json.loads((paths.measurements() / "occlusion_fit.json").read_text())["fitted"]
    assert (round(fitted["OL1/OL2"], 2), round(fitted["OL2/OL3"], 2)) == LEVEL_LIMITS


def test_stored_measurements_pass_their_gates_and_belong_to_this_generator():
    """After an intended change run scripts/simulation_measure.py again (ten minutes)."""
    measured = json.loads((paths.measurements() / "simulation.json").read_text())
    assert measured["generator_version"] == GENERATOR_VERSION
    for view, limits in measured["realism"]["gate"].items():
        for name, limit in limits.items():
            assert measured["realism"]["scores"][view][name] >= limit, (view, name)
    for presence in measured["presence"].values():
        assert presence["images"] >= 2000
        assert presence["interval"][1] < 0.58
    images = measured["presence"]["1.0"]["images"] // 2
    wanted = ((0.45, 0.58), (0.25, 0.37), (0.14, 0.22))
    for share, (low, high) in zip(measured["levels"]["ours"], wanted, strict=True):
        chance = 2 * (share * (1 - share) / images) ** 0.5  # two standard errors
        assert low - chance <= share <= high + chance
    for name, ours in measured["boxes"]["ours_5_50_95"].items():
        real = measured["boxes"]["real_min_median_max"][name]
        assert ours[1] == pytest.approx(real[1], rel=0.25)
    cut = measured["cut"].values()
    shares = [group["share"] for group in cut]
    chance = sum(s * (1 - s) / group["count"] for s, group in zip(shares, cut, strict=True)) ** 0.5
    assert min(shares) > 0.1 and abs(shares[0] - shares[1]) < 2.5 * chance
