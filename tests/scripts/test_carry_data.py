"""A dataset that is carried to another machine: its caches are the same there, to the bit."""

import shutil
import subprocess
import sys
from pathlib import Path

import carry_data
import numpy as np
import pytest
import torch

from doamlib.experiments.parameters import from_file
from doamlib.experiments.study import Study

REPOSITORY = Path(__file__).parents[2]
SMOKE = REPOSITORY / "params" / "smoke.yaml"
KIB = 8
"""Of a part here, so that there are several."""

BARE = """
import runpy, sys
sys.modules.update(dict.fromkeys(("doamlib", "torch", "cv2", "pydantic", "filelock")))
sys.argv = ["carry_data", "unpack", *sys.argv[1:]]
runpy.run_path({!r}, run_name="__main__")
"""
"""``unpack`` where the library and what it needs are missing."""


def unpack(parts, home):
    script = BARE.format(str(REPOSITORY / "scripts" / "carry_data.py"))
    command = [sys.executable, "-c", script, parts, home]
    return subprocess.run(command, capture_output=True, text=True, cwd=home.parent)


def refused(parts, home):
    done = unpack(parts, home)
    assert done.returncode == 1 and done.stdout == "" and not home.exists()
    (line,) = done.stderr.splitlines()
    return line


@pytest.fixture(scope="module")
def packed(study, tmp_path_factory):
    """The parts; and an old one, which packing takes away."""
    folder = tmp_path_factory.mktemp("packed")
    (folder / "data.999").touch()
    carry_data.pack(SMOKE, folder, KIB / 1024)
    return folder


@pytest.fixture
def parts(packed, tmp_path):
    return Path(shutil.copytree(packed, tmp_path / "parts"))


def test_parts_keep_their_limit_and_replace_older_ones(packed):
    sizes = [path.stat().st_size for path in packed.iterdir()]
    assert len(sizes) > 2 and max(sizes) == KIB * 1024 and not (packed / "data.999").exists()


def test_elsewhere_data_are_opened_and_nothing_is_generated_or_decoded(
    study, parts, tmp_path, monkeypatch
):
    size, there = study.parameters.image_size, tmp_path / "there"
    here = [study.data.cached(split, size, 1, print) for split in ("train", "test")]
    done = unpack(parts, there)
    assert done.returncode == 0 and "are there" in done.stdout, done.stderr
    monkeypatch.setenv("DOAM_HOME", str(there))

    def refuse(*arguments, **options):
        raise AssertionError("made again")

    monkeypatch.setattr("doamlib.experiments.data.generate", refuse)
    monkeypatch.setattr("doamlib.data.cache._build", refuse)
    monkeypatch.setattr("doamlib.data.images.decode", refuse)
    other = Study(from_file(SMOKE), print)
    assert other.data.fingerprint == study.data.fingerprint
    assert other.data.train.root.is_relative_to(there)
    for split, ours in zip(("train", "test"), here, strict=True):
        theirs = other.data.cached(split, size, 1, print)
        assert theirs._folder.is_relative_to(there)
        for name in ("images.npy", "done.npy", "index.json"):
            assert (theirs._folder / name).read_bytes() == (ours._folder / name).read_bytes()
        (images, targets), (expected, wanted) = (c.batch(range(len(c))) for c in (theirs, ours))
        assert torch.equal(images, expected)
        assert all(
            torch.equal(a["boxes"], b["boxes"]) for a, b in zip(targets, wanted, strict=True)
        )


def test_every_other_file_is_the_same_and_a_stub_is_small(study, parts, tmp_path):
    unpack(parts, tmp_path / "there")
    root = study.data.train.root
    copy = tmp_path / "there" / "datasets" / root.name
    names = {p.relative_to(root) for p in root.rglob("*") if p.is_file() and p.name != ".lock"}
    assert names == {p.relative_to(copy) for p in copy.rglob("*") if p.is_file()}
    for name in names:
        if name.suffix == ".jpg":
            assert (copy / name).stat().st_size < 1000
        else:
            assert (copy / name).read_bytes() == (root / name).read_bytes()
    assert {path.name for path in copy.parent.iterdir()} == {root.name, "cache"}


def test_what_is_there_is_left_and_what_is_missing_is_added(parts, tmp_path):
    there = tmp_path / "there"
    unpack(parts, there)
    again = unpack(parts, there)
    assert again.returncode == 0 and again.stdout.endswith("already there\n")
    gone, kept = sorted((there / "datasets" / "cache").iterdir())
    inode, content = kept.stat().st_ino, (gone / "images.npy").read_bytes()
    shutil.rmtree(gone)
    assert unpack(parts, there).returncode == 0
    assert (gone / "images.npy").read_bytes() == content and kept.stat().st_ino == inode


def test_a_dataset_that_is_half_generated_there_is_left_alone(study, parts, tmp_path):
    begun = tmp_path / "there" / "datasets" / study.data.train.root.name
    begun.mkdir(parents=True)
    done = unpack(parts, tmp_path / "there")
    assert done.returncode == 1 and done.stderr.startswith(f"{begun} is unfinished: remove it")


@pytest.mark.parametrize("number", [0, 1])
def test_a_missing_part_is_named(number, parts, tmp_path):
    (parts / f"data.{number}").unlink()
    assert f"data.{number} is missing: carry" in refused(parts, tmp_path / "there")


@pytest.mark.parametrize("at", [0, 33, 50, carry_data.HEAD.size, -1])
def test_a_flipped_byte_is_noticed_wherever_it_is(at, parts, tmp_path):
    content = bytearray((parts / "data.1").read_bytes())
    content[at] ^= 1
    (parts / "data.1").write_bytes(content)
    assert "data.1 is damaged: carry it here again" in refused(parts, tmp_path / "there")


def test_a_part_that_is_cut_short_or_of_another_packing_is_noticed(parts, tmp_path):
    whole = (parts / "data.1").read_bytes()
    (parts / "data.1").write_bytes(whole[:20])
    assert "data.1 is damaged" in refused(parts, tmp_path / "there")
    carry_data.write_parts(b"other" * 10_000, tmp_path / "others", KIB * 1024)
    shutil.copy(tmp_path / "others" / "data.1", parts)
    assert "data.1 belongs to another packing than data.0" in refused(parts, tmp_path / "there")


def test_pixels_that_are_not_those_packed_get_no_name(parts, tmp_path, monkeypatch):
    decode = carry_data.decoded
    monkeypatch.setattr(carry_data, "decoded", lambda strip, count: 255 - decode(strip, count))
    with pytest.raises(SystemExit, match=r"images\.npy is not what was packed"):
        carry_data.unpack(parts, tmp_path / "there")
    datasets = tmp_path / "there" / "datasets"
    assert all(path.name.endswith(".unpacking") for path in datasets.iterdir())


def test_a_loss_is_noticed_while_packing(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (3, 3, 8, 8), np.uint8)
    np.save(tmp_path / "images.npy", noise)
    strip = carry_data.encoded(tmp_path / "images.npy", 1, 2)
    assert np.array_equal(carry_data.decoded(strip, 2), noise[1:])
    monkeypatch.setitem(carry_data.WEBP, "lossless", False)
    with pytest.raises(ValueError, match="images from 1 on change in WebP"):
        carry_data.encoded(tmp_path / "images.npy", 1, 2)


def test_wrong_calls_get_one_line(tmp_path):
    (tmp_path / "real.yaml").write_text("dataset: opixray\ndata_root: somewhere\n")
    for file, told in (("real.yaml", "only generated data"), ("none.yaml", "none.yaml")):
        with pytest.raises(SystemExit, match=told) as stopped:
            carry_data.pack(tmp_path / file, tmp_path, 40)
        assert "\n" not in str(stopped.value)
