"""Imports flow one way, and a page's name is enough to find it."""

import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent


def test_imports_flow_one_way():
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_no_file_outgrows_a_screenful_of_ideas():
    lengths = {
        path: len(path.read_text().splitlines()) for path in (REPOSITORY / "doamlib").rglob("*.py")
    }
    lengths[REPOSITORY / "doamlib" / "cli.py"] -= 100  # a function and its help for each command
    longest = max(lengths, key=lengths.get)
    assert lengths[longest] <= 350, f"{longest.name}: {lengths[longest]} lines; split it"


ROOMS = ("core", "data", "data.doctor", "models", "evaluation", "experiments", "claims", "book")


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_is_for_and_shows_its_main_names(room):
    package = importlib.import_module(f"doamlib.{room}")
    assert len(package.__doc__.strip().splitlines()) >= 5
    for name in getattr(package, "__all__", ()):
        shown = getattr(package, name)
        # A module of the same name would hide it as soon as anybody imports that.
        assert not isinstance(shown, types.ModuleType)
        assert importlib.util.find_spec(f"{package.__name__}.{name}") is None
    with pytest.raises(AttributeError, match=f"doamlib.{room}' has no attribute 'nothing'"):
        _ = package.nothing


def test_the_names_that_others_use_stay_where_they_are():
    from doamlib.evaluation import average_precision
    from doamlib.models import DOAM, DOAMConfig, complexity_table, load_official_state_dict

    used = (average_precision, DOAM, DOAMConfig, complexity_table, load_official_state_dict)
    assert all(callable(name) for name in used)


def test_a_wrong_import_fails_the_contract(tmp_path):
    """The smallest library with the rooms' names, and one import back up."""
    names = ("core", "paper", "data", "recipe", "models", "simulation", "sampling")
    names += ("evaluation", "training")
    for name in (*names, "experiments", "claims", "book", "cli", "cli_data"):
        (tmp_path / "doamlib" / name).mkdir(parents=True)
        (tmp_path / "doamlib" / name / "__init__.py").touch()
    (tmp_path / "doamlib" / "__init__.py").touch()
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    assert contract(tmp_path).returncode == 0
    upward = tmp_path / "doamlib" / "models" / "__init__.py"
    upward.write_text("import doamlib.training\n")
    done = contract(tmp_path)
    assert done.returncode == 1 and "doamlib.models is not allowed to import" in done.stdout
    upward.write_text("")
    (tmp_path / "doamlib" / "new.py").touch()  # a module that no floor names
    assert contract(tmp_path).returncode != 0


def contract(folder):
    lint = Path(sys.executable).with_name("lint-imports")
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(
        [lint, "--no-cache"], cwd=folder, capture_output=True, text=True, env=environment
    )


def test_the_walk_that_contributors_are_told_is_there():
    """Every file and name of the walk from a parameter file to a stored result exists."""
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    walk = text.split("never going back up:")[1].split("\n## ")[0]
    steps = re.findall(r"^\d\. `([a-z_/]+\.py)`(.*?)(?=^\d\. |\Z)", walk, re.M | re.S)
    assert len(steps) == 6
    for file, words in steps:
        module = importlib.import_module("doamlib." + file.removesuffix(".py").replace("/", "."))
        (first, *_) = re.findall(r"`([A-Za-z_.]+)`", words)
        owner, _, method = first.partition(".")
        assert hasattr(module, owner) and (not method or hasattr(getattr(module, owner), method))


@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md"])
def test_paths_that_the_guides_name_exist(file):
    for name in re.findall(
        r"`((?:doamlib|scripts|benchmarks|params|book|tests)/[\w./-]+)`",
        (REPOSITORY / file).read_text(),
    ):
        places = (REPOSITORY, REPOSITORY / "doamlib")  # the guides leave the library's name out
        assert any((place / name).exists() for place in places), name
