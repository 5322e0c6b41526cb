"""The session on a GPU machine: what travels there, and the checks that may stop it."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from doamlib.experiments.archive import pack
from doamlib.experiments.parameters import from_file
from doamlib.experiments.store import RunStore
from doamlib.experiments.study import Study

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "scripts" / "reference_on_gpu.sh"
BROUGHT = ("torch", "torchvision", "numpy", "scipy", "pandas", "pillow", "matplotlib")
"""With OpenCV, which depends on numpy only: what the script expects of the other machine."""

spec = importlib.util.spec_from_file_location("gpu_session", SCRIPT.with_name("gpu_session.py"))
session = importlib.util.module_from_spec(spec)
spec.loader.exec_module(session)


def carried():
    return re.search(r'CARRIED="([^"]+)"', SCRIPT.read_text())[1].split()


def needed_by(names):
    """The packages and, as far as they are installed, all that they depend on."""
    found, todo = set(), [*names]
    while todo:
        name = canonicalize_name(todo.pop())
        if name in found:
            continue
        found.add(name)
        try:
            lines = map(Requirement, requires(name) or ())
        except importlib.metadata.PackageNotFoundError:
            continue
        todo += [r.name for r in lines if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found


def test_bash_can_read_the_script():
    assert subprocess.run(["bash", "-n", SCRIPT]).returncode == 0


def test_a_wrong_call_says_how_and_fails():
    for arguments in ([], ["fly"], ["run"], ["run", "out", "soon"]):
        done = subprocess.run([SCRIPT, *arguments], capture_output=True, text=True)
        assert done.returncode == 1 and "usage" in done.stdout


def test_the_lock_pins_each_carried_package_once():
    lock = (REPOSITORY / "requirements.lock").read_text()
    for name in carried():
        assert len(re.findall(rf"^{name}==", lock, re.MULTILINE)) == 1, name


ONLY = """
import importlib, sys

class Refuse:
    def find_spec(self, name, path, target=None):
        if name in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
for absent in each_absent:
    try:
        for name in imported:
            importlib.import_module(name)
        print("all")
    except ModuleNotFoundError as missing:
        print(missing.name)
"""
"""What of ``imported`` is missed first without the modules of each set, in one process: whatever an
import that failed leaves behind was found without them too."""


@pytest.mark.slow
def test_training_imports_nothing_that_is_neither_brought_nor_carried():
    there = needed_by(BROUGHT) | {"opencv-python-headless", "setuptools", "doamlib"}
    assert needed_by(carried()) - there <= set(carried())  # they are installed with --no-deps
    each_absent = []
    for without in ({"pycocotools", "captum"}, {"captum"}, set()):
        present = (there | set(carried())) - without
        each_absent.append(
            {
                module
                for module, owners in packages_distributions().items()
                if not present & set(map(canonicalize_name, owners))
            }
        )
    code = f"each_absent = {each_absent}\nimported = {session.IMPORTED}\n{ONLY}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["pycocotools", "captum", "all"], done.stderr


@pytest.mark.slow
def test_the_command_line_starts_without_jupyter():
    code = (
        "import runpy, sys\n"
        "absent = ('IPython', 'ipykernel', 'nbformat', 'papermill', 'jupyter_book', 'seaborn')\n"
        "sys.modules.update(dict.fromkeys(absent))\n"
        "sys.argv = ['doam', 'data', 'check', 'no-such-folder']\n"
        "runpy.run_module('doamlib.cli', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 1 and "no-such-folder" in done.stdout, done.stderr


def test_wheels_of_absent_and_of_older_packages_are_installed(tmp_path, monkeypatch):
    installed = {"some-package": "1.10.0", "newer": "2.0", "same": "3.1"}

    def version(name):
        try:
            return installed[name]
        except KeyError:
            raise session.PackageNotFoundError(name) from None

    monkeypatch.setattr(session, "version", version)
    names = ("some_package-1.9.2", "newer-2.0.1", "same-3.1", "absent-0.1")
    for name in names:
        (tmp_path / f"{name}-py3-none-any.whl").touch()
    found = [path.name.removesuffix("-py3-none-any.whl") for path in session.lacking(tmp_path)]
    assert found == ["absent-0.1", "newer-2.0.1"]


def test_a_gpu_is_insisted_on(tmp_path, monkeypatch):
    """``auto`` would go on with the CPU, for days."""
    file = tmp_path / "some.yaml"
    file.write_text("device: cpu\n")
    session.machine(file)
    file.write_text("device: auto\n")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit, match="finds no GPU"):
        session.machine(file)


def test_a_run_that_began_anew_after_the_kill_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setenv("DOAM_HOME", str(tmp_path))
    history = tmp_path / "runs" / "abc" / "history.json"
    with pytest.raises(SystemExit, match="nothing was interrupted"):
        session.resumed({})
    with pytest.raises(SystemExit, match="not finished"):
        session.resumed({"abc": 1.25})
    history.parent.mkdir(parents=True)
    history.write_text(json.dumps({"epochs": [{"seconds": 1.25}, {"seconds": 2.0}]}))
    session.resumed({"abc": 1.25})
    with pytest.raises(SystemExit, match="began anew"):
        session.resumed({"abc": 1.26})


@pytest.fixture
def one_of_two(study, tmp_path):
    """A parameter file of two arms, of which a store of its own holds one."""
    file = tmp_path / "two.yaml"
    file.write_text(json.dumps(study.parameters.model_dump(mode="json")))
    (result,) = study.results(["SSD"]).values()
    store = RunStore(tmp_path / "home" / "runs", reference=tmp_path)
    shutil.copytree(study.store.root / result.key, store.root / result.key)
    shutil.copytree(study.store.root / "test_sets", store.root / "test_sets")
    return file, Study(from_file(file), lambda line: None, store)


def test_archives_are_read_back_and_what_is_missing_is_told(one_of_two, tmp_path, capsys):
    file, own = one_of_two
    pack(own, tmp_path / "packed")
    assert session.check(file, tmp_path / "packed") == session.UNFINISHED
    assert "1 runs read back, 1 of the file missing" in capsys.readouterr().out
    (tmp_path / "packed" / "large").write_bytes(bytes(16 * 2**20 + 1))
    with pytest.raises(SystemExit, match="over 16 MB: large"):
        session.check(file, tmp_path / "packed")


def test_a_fuller_archive_stops_packing_in_one_line(one_of_two, study, tmp_path, monkeypatch):
    file, _ = one_of_two
    study.results()
    pack(study, tmp_path / "packed")
    monkeypatch.setenv("DOAM_HOME", str(tmp_path / "home"))
    with pytest.raises(SystemExit, match="arms that are not finished here"):
        session.pack(file, tmp_path / "packed")


def test_an_unfinished_seed_is_kept_without_weights(one_of_two, tmp_path, monkeypatch):
    file, own = one_of_two
    monkeypatch.setenv("DOAM_HOME", str(tmp_path / "home"))
    checkpoint = own.store.root / "partial" / "key" / "checkpoint.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"state")
    session.keep(file, tmp_path / "kept.tar.gz")
    with tarfile.open(tmp_path / "kept.tar.gz") as archive:
        names = archive.getnames()
        archive.extractall(tmp_path / "other", filter="data")
    assert "partial/key/checkpoint.pt" in names
    assert not any(name.endswith(".safetensors") for name in names)
    elsewhere = Study(own.parameters, print, RunStore(tmp_path / "other", reference=tmp_path))
    done = [run.arm for run in elsewhere.plan() if run.result is not None]
    assert done == ["SSD"]
    assert elsewhere.plan()[0].result.digest() == own.plan()[0].result.digest()


def test_a_whole_seed_is_kept_if_it_was_not_packed(one_of_two, tmp_path, monkeypatch):
    file, own = one_of_two
    monkeypatch.setenv("DOAM_HOME", str(tmp_path / "home"))
    values = own.parameters.model_dump(mode="json")
    file.write_text(json.dumps(values | {"arms": ["SSD"]}))
    (tmp_path / "out").mkdir()
    session.keep(file, tmp_path / "out" / "kept.tar.gz")  # refused, say, for a fuller archive
    with tarfile.open(tmp_path / "out" / "kept.tar.gz") as archive:
        assert f"{own.plan()[0].result.key}/metrics.json" in archive.getnames()
    (tmp_path / "out" / "kept.tar.gz").unlink()
    session.pack(file, tmp_path / "out")
    session.keep(file, tmp_path / "out" / "kept.tar.gz")
    assert not (tmp_path / "out" / "kept.tar.gz").exists()


def test_what_does_not_fit_is_left_and_the_rest_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "MAX_BYTES", 40_000)
    for name, size in (("a", 10_000), ("b", 50_000), ("c", 10_000)):
        (tmp_path / name).write_bytes(os.urandom(size))
    assert session.write_tar(tmp_path / "t", tmp_path, [[tmp_path / n] for n in "abc"]) == 1
    with tarfile.open(tmp_path / "t") as archive:
        assert archive.getnames() == ["a", "c"]


def test_seeds_that_are_committed_are_not_trained_again(one_of_two, tmp_path, monkeypatch):
    file, own = one_of_two
    pack(own, tmp_path / "packed")
    archive = session.importlib.import_module("doamlib.experiments.archive")
    layers = archive.references(tmp_path / "packed")
    monkeypatch.setattr("doamlib.experiments.archive.references", lambda: layers)
    values = own.parameters.model_dump(mode="json")
    for arms, seeds, left in (
        (["SSD"], [0], None),
        (["SSD"], [0, 4], [4]),
        (values["arms"], [0], [0]),
    ):
        file.write_text(json.dumps(values | {"arms": arms, "seeds": seeds}))
        session.write_missing(file, tmp_path / "left.yaml")
        text = (tmp_path / "left.yaml").read_text()
        assert (json.loads(text)["seeds"] if text else None) == left


def test_the_trial_has_every_arm_and_a_handful_of_images(tmp_path):
    session.write_trial(REPOSITORY / "params" / "reference.yaml", tmp_path / "trial.yaml")
    trial, whole = (
        from_file(f) for f in (tmp_path / "trial.yaml", REPOSITORY / "params/reference.yaml")
    )
    assert trial.processes == os.cpu_count()
    assert {*trial.arms} == {*whole.arms} and trial.image_size == whole.image_size
    assert len(trial.seeds) == 1 and trial.train_images < 100 > trial.warm_images


# --- seeds that are unfinished --------------------------------------------------------------------


@pytest.fixture
def unfinished(one_of_two, tmp_path, monkeypatch):
    """The parameter file, the folder with an archive of one arm of two, and an empty home."""
    file, own = one_of_two
    pack(own, tmp_path / "unfinished")
    monkeypatch.setenv("DOAM_HOME", str(tmp_path / "there"))
    return file, tmp_path / "unfinished"


def test_runs_of_an_unfinished_seed_are_taken_up_and_packed_as_they_were(
    unfinished, tmp_path, capsys
):
    file, folder = unfinished
    session.take_up(file, folder)
    assert capsys.readouterr().out == "smoke-seed0.zip: 1 runs taken up, 0 were there\n"
    study = Study(from_file(file), print)
    done, left = study.plan()
    assert done.arm == "SSD" and done.result.weights() is None and left.result is None
    assert [task.config for task in study.missing(study.plan())[1]] == [left.config]
    session.pack(file, tmp_path / "packed")
    (archive,) = folder.iterdir()
    assert (tmp_path / "packed" / archive.name).read_bytes() == archive.read_bytes()
    session.rates(file)
    session.keep(file, tmp_path / "kept.tar.gz")
    with tarfile.open(tmp_path / "kept.tar.gz") as kept:
        assert f"{done.result.key}/metrics.json" in kept.getnames()


def test_a_run_that_is_there_stays_and_what_was_begun_of_another_makes_room(
    unfinished, tmp_path, capsys
):
    file, folder = unfinished
    study = Study(from_file(file), print)
    key = study.plan()[0].config.key(study.fingerprint)
    begun = tmp_path / "there" / "runs" / "partial" / key / "result"
    begun.mkdir(parents=True)
    (begun / "metrics.json").write_text("cut sh")
    session.take_up(file, folder)
    assert study.plan()[0].result.ap() >= 0 and not begun.parent.exists()
    inode = (study.store.root / key).stat().st_ino
    session.take_up(file, folder)
    assert capsys.readouterr().out.endswith("0 runs taken up, 1 were there\n")
    assert (study.store.root / key).stat().st_ino == inode


@pytest.mark.parametrize("other", ["name", "precision"])
def test_runs_of_another_processor_are_left(other, unfinished, monkeypatch, capsys):
    file, folder = unfinished
    if other == "name":
        monkeypatch.setattr("doamlib.core.provenance._cpu", lambda: "Abacus 3000")
    else:
        monkeypatch.setattr("doamlib.core.precision.chosen", lambda *given: "Abacus 3000")
    session.take_up(file, folder)
    out = capsys.readouterr().out
    assert re.search(r"left, because .* trained it and here is .*Abacus 3000", out)
    assert out.count("\n") == 1 and Study(from_file(file), print).plan()[0].result is None


def test_what_is_committed_or_not_asked_for_is_not_taken_up(
    unfinished, tmp_path, monkeypatch, capsys
):
    file, folder = unfinished
    archive = session.importlib.import_module("doamlib.experiments.archive")
    with monkeypatch.context() as patch:
        layers = archive.references(folder)
        patch.setattr("doamlib.experiments.archive.references", lambda: layers)
        session.take_up(file, folder)
    assert "whole in book/reference_results: delete it" in capsys.readouterr().out
    values = json.loads(file.read_text())
    file.write_text(json.dumps(values | {"epochs": values["epochs"] + 1}))
    session.take_up(file, folder)
    assert "no run that these parameters ask for" in capsys.readouterr().out
    assert not list((tmp_path / "there").glob("runs/*/metrics.json"))


UNFINISHED = sorted((REPOSITORY / "book" / "reference_results" / "unfinished").glob("*.zip"))


@pytest.mark.slow
@pytest.mark.parametrize("path", UNFINISHED, ids=lambda path: path.name)
def test_a_committed_unfinished_seed_is_taken_up_where_it_was_trained(
    path, tmp_path, monkeypatch, capsys
):
    """Fails once the seed is whole, or no longer what the code computes: delete the file then."""
    file = REPOSITORY / "params" / f"{path.name.partition('-seed')[0]}.yaml"
    monkeypatch.setenv("DOAM_HOME", str(tmp_path))
    archive = session.importlib.import_module("doamlib.experiments.archive")
    layer = archive.read_archive(session.zipfile.Path(path), path.name)
    assert session.committed().isdisjoint(r.config.digest() for r in layer.results.values())
    (hardware,) = {r.provenance["hardware"]["device"] for r in layer.results.values()}
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **options: True)
    for name, number in (("some other GPU", 0), (hardware, len(layer.results))):
        monkeypatch.setattr("torch.cuda.get_device_name", lambda device, name=name: name)
        session.take_up(file)
        done = [run for run in Study(from_file(file), print).plan() if run.result]
        assert len(done) == number, capsys.readouterr().out
    session.pack(file, tmp_path / "packed")
    with (
        session.zipfile.ZipFile(path) as ours,
        session.zipfile.ZipFile(tmp_path / "packed" / path.name) as again,
    ):
        assert ours.namelist() == again.namelist()
        for name in ours.namelist():  # what a zlib compressed may depend on its version
            assert name.endswith(".npz") or ours.read(name) == again.read(name), name
