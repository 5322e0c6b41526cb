"""One set of dependencies: pyproject.toml, the lock and environment.yml say the same."""

import re
import tomllib
from pathlib import Path

import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.version import Version

REPOSITORY = Path(__file__).parent.parent
CONDA_NAMES = {
    "torch": "pytorch",
    "opencv-python-headless": "py-opencv",
    "matplotlib": "matplotlib-base",
}


def _declared() -> dict[str, Requirement]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = project["dependencies"] + extras["test"] + extras["cluster"]
    return {Requirement(line).name: Requirement(line) for line in lines}


def _locked() -> list[tuple[str, Version, Marker | None, int]]:
    text = (REPOSITORY / "requirements.lock").read_text()
    entries = re.findall(
        r"^(\S+)==(\S+)(?: ; (.+?))? \\\n((?:    --hash.+\n?)+)", text, re.MULTILINE
    )
    return [
        (name, Version(version), Marker(marker) if marker else None, hashes.count("--hash=sha256:"))
        for name, version, marker, hashes in entries
    ]


def test_the_lock_pins_every_dependency_inside_its_range():
    locked = {}
    for name, version, _, _ in _locked():
        locked.setdefault(name, []).append(version)
    for name, requirement in _declared().items():
        assert name in locked, f"{name} is not in requirements.lock: run make lock"
        assert all(requirement.specifier.contains(version) for version in locked[name]), name


def test_every_locked_package_has_a_hash_and_none_a_url():
    text = (REPOSITORY / "requirements.lock").read_text()
    pins = re.findall(r"^[a-z0-9][^ ]*==", text, re.MULTILINE | re.IGNORECASE)
    entries = _locked()
    assert len(entries) == len(pins) > 100
    assert all(hashes > 0 for *_, hashes in entries)
    assert "://" not in text and "@" not in text


def test_conda_environment_lists_the_same_packages_and_ranges():
    listed = yaml.safe_load((REPOSITORY / "environment.yml").read_text())["dependencies"]
    (pip,) = (entry["pip"] for entry in listed if isinstance(entry, dict))
    lines = [line for line in (*listed, *pip) if isinstance(line, str) and line[0] != "-"]
    conda = {Requirement(line).name: Requirement(line) for line in lines}
    declared = {CONDA_NAMES.get(name, name): r for name, r in _declared().items()}
    assert set(conda) - {"python", "pip"} == set(declared)
    for name, requirement in declared.items():
        assert conda[name].specifier == requirement.specifier, name


def test_what_conda_hands_to_pip_is_what_a_file_of_requirements_may_hold():
    """``--no-deps`` there is an error of pip's, and the whole environment fails."""
    listed = yaml.safe_load((REPOSITORY / "environment.yml").read_text())["dependencies"]
    (pip,) = (entry["pip"] for entry in listed if isinstance(entry, dict))
    assert [line for line in pip if line.startswith("-")] == ["-e ."]


def test_conda_python_is_the_projects():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    listed = yaml.safe_load((REPOSITORY / "environment.yml").read_text())["dependencies"]
    assert f"python{project['requires-python']}" in listed


def test_every_dependency_says_what_it_is_for():
    text = (REPOSITORY / "pyproject.toml").read_text().split("[project.scripts]")[0]
    lines = re.findall(r'^  "[a-z].*"(.*)$', text, re.MULTILINE)
    assert len(lines) > 20
    assert all(re.match(r",\s+# \w", line) for line in lines)
