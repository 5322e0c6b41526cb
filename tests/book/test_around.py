"""Glossary, notation, bibliography: what is named is there, and what is there is used."""

import re
from pathlib import Path

import nbformat
import pytest

from doamlib.data.classes import SHORT_NAMES
from doamlib.experiments.arms import ARMS

REPOSITORY = Path(__file__).parents[2]
BOOK = REPOSITORY / "book"
LIBRARY = "\n".join(path.read_text() for path in (REPOSITORY / "doamlib").rglob("*.py"))


def prose():
    """Page -> its text."""
    texts = {path.stem: path.read_text() for path in BOOK.glob("*.md")}
    for path in BOOK.glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        texts[path.stem] = "\n".join(c.source for c in cells if c.cell_type == "markdown")
    return texts


def terms():
    text = (BOOK / "glossary.md").read_text()
    parts = re.findall(r":::\{glossary\}\n(.*?)\n:::", text, re.DOTALL)
    return [line for part in parts for line in part.splitlines() if line and line[0] != " "]


def entries():
    """Key -> fields of each work."""
    text = (BOOK / "references.bib").read_text()
    found = re.findall(r"^@\w+\{(\w+),\n(.*?)\n\}", text, re.MULTILINE | re.DOTALL)
    return {key: dict(re.findall(r"(\w+) = \{(.*)\},?$", body, re.M)) for key, body in found}


def test_every_abbreviation_of_classes_levels_and_arms_is_explained():
    known = terms()
    arms = {name.split("+")[-1].split(",")[0] for name in ARMS if "DOAM-" in name}
    assert {*SHORT_NAMES, "OL1", "OL2", "OL3", *arms} <= set(known)
    assert len(known) == len(set(known)) > 50


@pytest.mark.parametrize("word", ["arm", "profile", "lift", "prior", "pool", "gate", "reading"])
def test_a_house_word_is_linked_where_pages_use_it(word):
    link = re.compile(rf"\{{term\}}`(?:[^`]*<)?{word}>?`")
    assert word in terms()
    assert any(link.search(text) for name, text in prose().items() if name != "glossary")


def test_every_linked_word_is_in_the_glossary():
    linked = {
        (found.split("<")[1].rstrip(">") if "<" in found else found)
        for text in prose().values()
        for found in re.findall(r"\{term\}`([^`]+)`", text)
    }
    assert linked <= set(terms()) and len(linked) > 10


def test_every_name_in_the_notation_is_one_of_the_library():
    text = (BOOK / "notation.md").read_text()
    names = set()
    for line in text.splitlines():
        if line.startswith("|"):
            in_code = line.split("|")[-2]  # the last column
            for code in re.findall(r"`([^`]+)`", in_code):
                names |= set(re.findall(r"[A-Za-z_]{3,}", code))
    assert len(names) > 40
    missing = [name for name in sorted(names) if not re.search(rf"\b{name}\b", LIBRARY)]
    assert missing == [] or set(missing) <= {"doamlib"}, missing


def test_works_are_complete_and_no_two_have_one_title():
    works = entries()
    assert len(works) >= 25
    for key, fields in works.items():
        assert fields["title"] and fields["author"], key
        assert 1900 < int(fields["year"]) < 2030, key
        assert {"journal", "booktitle", "note"} & fields.keys(), f"{key} does not say where"
        assert re.match(r"[a-z]+(\d{4})[a-z0-9]+$", key)[1] == fields["year"], key
        first, last = map(int, fields.get("pages", "1--2").split("--"))
        assert first < last, key
    titles = [re.sub(r"[{}]", "", fields["title"]).lower() for fields in works.values()]
    assert len(set(titles)) == len(titles)


def test_every_work_is_cited_and_most_where_they_are_used():
    cited = {
        page: {
            key.strip()
            for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text)
            for key in keys.split(",")
        }
        for page, text in prose().items()
    }
    works = set(entries())
    assert set().union(*cited.values()) == works
    in_place = set().union(*(keys for page, keys in cited.items() if page != "bibliography"))
    assert len(in_place) > 0.75 * len(works), sorted(works - in_place)


def test_the_plan_for_lecturers_names_pages_that_exist():
    text = (BOOK / "lecturers.md").read_text()
    sessions = re.findall(r"^### (\d)\. ", text, re.MULTILINE)
    assert sessions == list("123456")
    for part in text.split("\n### ")[1:7]:
        for promise in ("**Goal**", "**Pages**", "**Homework**", "**Cost**", "**Skip**"):
            assert promise in part, part[:40]
