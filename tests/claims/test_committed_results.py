"""Committed results: they stay small, and no seed is committed in part."""

import json
import zipfile

import pytest

from doamlib.claims.verify.archive import LAYER_BYTES
from doamlib.core import paths
from doamlib.experiments.archive import pack
from doamlib.experiments.parameters import Parameters
from doamlib.experiments.values import read_yaml

PARAMS = paths.repository() / "params"
REFERENCE = read_yaml(PARAMS / "reference.yaml")["arms"]


def faults(folder):
    """What is wrong with a folder of results, a line each: its size, and seeds in part.

    Who contributes OPIXray results may name fewer arms.
    """
    size = sum(path.stat().st_size for path in folder.glob("*.zip"))
    found = [f"{size} bytes, at most {LAYER_BYTES}"] if size > LAYER_BYTES else []
    files = [read_yaml(path) for path in PARAMS.glob("*.yaml")]
    default = Parameters.model_fields["arms"].default
    asked = {values["profile"]: values.get("arms", default) for values in files}
    for (profile, seed), arms in held(folder).items():
        if profile not in asked:
            found.append(f"{profile}: no such parameter file")
        for arm in asked.get(profile, ()):
            if arm not in arms and profile != "opixray":
                found.append(f"{profile}, seed {seed}: {arm} is missing")
    return found


def held(folder):
    """(Profile, seed) -> arms whose results are in one of its archives."""
    found = {}
    for path in sorted(folder.glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            index, names = json.loads(archive.read("runs.json")), archive.namelist()
        for run in index["runs"]:
            arms = found.setdefault((index["parameters"]["profile"], run["seed"]), set())
            if f"{run['key']}/metrics.json" in names:
                arms.add(run["arm"])
    return found


def write(folder, arms, seed=0, profile="reference", name=None, without=()):
    """An archive that lists these arms; ``without``: those that it lists and does not hold."""
    runs = [{"key": f"{n:016x}", "arm": arm, "seed": seed} for n, arm in enumerate(arms)]
    index = {"parameters": {"profile": profile}, "runs": runs}
    with zipfile.ZipFile(folder / (name or f"{profile}-seed{seed}.zip"), "w") as archive:
        archive.writestr("runs.json", json.dumps(index))
        for run in runs:
            if run["arm"] not in without:
                archive.writestr(f"{run['key']}/metrics.json", "{}")


def test_the_committed_results_are_small_and_whole():
    assert paths.reference_results().is_dir()
    assert faults(paths.reference_results()) == []


def test_a_whole_seed_passes_in_one_archive_or_several(tmp_path):
    assert faults(tmp_path) == []
    write(tmp_path, REFERENCE)
    write(tmp_path, REFERENCE[:7], seed=1)
    write(tmp_path, REFERENCE[7:], seed=1, name="reference-seed1-1.zip")
    more = read_yaml(PARAMS / "more-seeds.yaml")["arms"]
    write(tmp_path, more, seed=5, profile="more-seeds")
    assert faults(tmp_path) == []


@pytest.mark.parametrize("missing", [REFERENCE[0], REFERENCE[-1]])
def test_a_missing_arm_is_told(missing, tmp_path):
    write(tmp_path, REFERENCE)
    write(tmp_path, [arm for arm in REFERENCE if arm != missing], seed=1)
    assert faults(tmp_path) == [f"reference, seed 1: {missing} is missing"]


def test_an_arm_that_is_listed_and_not_there_is_missing(tmp_path):
    write(tmp_path, REFERENCE, without=["SSD+SE"])
    assert faults(tmp_path) == ["reference, seed 0: SSD+SE is missing"]
    write(tmp_path, ["SSD"], without=["SSD"])
    assert len(faults(tmp_path)) == len(REFERENCE)


def test_a_profile_without_a_parameter_file_is_told(tmp_path):
    write(tmp_path, REFERENCE, profile="mine")
    assert faults(tmp_path) == ["mine: no such parameter file"]


def test_too_much_is_told(tmp_path):
    write(tmp_path, REFERENCE)
    write(tmp_path, REFERENCE, seed=1)
    (size,) = {path.stat().st_size for path in tmp_path.glob("*.zip")}
    with (tmp_path / "reference-seed1.zip").open("rb+") as file:
        content = file.read()
        # A zip is read from its end; no room on the disk is taken.
        file.truncate(0)
        file.seek(LAYER_BYTES - 2 * size)
        file.write(content)
    assert LAYER_BYTES == 30 * 2**20 and faults(tmp_path) == []
    write(tmp_path, REFERENCE[:1], seed=2, profile="opixray")
    (found,) = faults(tmp_path)
    assert found.endswith(f" bytes, at most {LAYER_BYTES}")


def test_what_a_study_packs_is_read_as_whole(study, tmp_path):
    study.results()
    pack(study, tmp_path)
    assert faults(tmp_path) == []
    assert held(tmp_path) == {("smoke", 0): set(study.parameters.arms)}
