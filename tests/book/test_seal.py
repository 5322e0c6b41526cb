"""Committed numbers cannot change unnoticed."""

import hashlib
import re

import pytest

from doamlib.book import seal
from doamlib.core import paths


@pytest.fixture
def book(tmp_path):
    """A book with an archive, a recipe below it, a measurement, and a page that is not sealed."""
    for name in (
        "reference_results/a.zip",
        "reference_results/starts/r.json",
        "measurements/m.json",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f'{{"mAP": 0.401, "name": "{name}"}}')
    (tmp_path / "page.ipynb").write_text("{}")
    seal.write(tmp_path)
    return tmp_path


def test_the_list_is_what_sha256sum_writes(book):
    content = (book / "measurements/m.json").read_bytes()
    row = f"{hashlib.sha256(content).hexdigest()}  measurements/m.json\n"
    assert row in (book / seal.NAME).read_text()
    assert len((book / seal.NAME).read_text().splitlines()) == 3
    assert seal.broken(book) == []


@pytest.mark.parametrize(
    "name", ["reference_results/a.zip", "reference_results/starts/r.json", "measurements/m.json"]
)
def test_one_changed_digit_a_new_and_a_missing_file_are_named(book, name):
    path = book / name
    whole = path.read_text()
    path.write_text(whole.replace("0.401", "0.402"))
    assert seal.broken(book) == [
        f"{name} was changed after it was sealed; restore it from the repository"
    ]
    path.rename(path.with_name("other.json"))
    gone, new = sorted(seal.broken(book), key=lambda line: "not listed" in line)
    assert gone == f"{name} is listed in SHA256SUMS and gone" and "python scripts/seal.py" in new
    path.with_name("other.json").rename(path)
    path.write_text(whole)
    assert seal.broken(book) == []


def test_a_folder_without_a_list_has_nothing_sealed(tmp_path):
    assert seal.broken(tmp_path) == []


def test_the_books_own_numbers_are_sealed():
    assert seal.broken() == []
    listed = (paths.book() / seal.NAME).read_text()
    assert re.search(r"  measurements/simulation\.json$", listed, re.MULTILINE)
    assert "reference_results/warm_starts/recipes.json" in listed


def test_a_build_refuses_numbers_that_were_changed(book, smoke, monkeypatch):
    from doamlib.book.build import BuildError, build

    (book / "measurements/m.json").write_text("{}")
    monkeypatch.setenv("DOAM_HOME", str(book / "home"))
    with pytest.raises(BuildError, match=r"measurements/m\.json was changed after it was sealed"):
        build(smoke, source=book)
