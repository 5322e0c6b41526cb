"""Short names of any classes: readable, different, and the paper's for OPIXray's five only."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doamlib.data.classes import (
    CLASSES,
    HIXRAY_CLASSES,
    LONGEST,
    RESERVED,
    SHORT_NAMES,
    short_names,
    unfit,
)


def test_opixrays_five_have_the_papers_abbreviations():
    assert short_names(CLASSES) == SHORT_NAMES
    assert short_names(list(CLASSES)) == SHORT_NAMES


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (("Baton",), ("BA",)),
        (("Gun", "Knife", "Wrench", "Pliers", "Scissors"), ("GU", "KN", "WR", "PL", "SC")),
        (("item0", "item1", "item2"), ("IT", "IE", "IM")),
        (("Mobile_Phone", "Multi-purpose"), ("MP", "MU")),
        (CLASSES[::-1], ("MTK", "UK", "SC", "SK", "FK")),
        (HIXRAY_CLASSES, ("PC1", "PC2", "WA", "LA", "MP", "TA", "CO", "NL")),
        (("剪刀", "刀", "1", "!?"), ("剪刀", "刀", "1", "CL")),
    ],
)
def test_other_classes_are_abbreviated_by_their_own_names(classes, expected):
    assert short_names(classes) == expected


def test_eighty_classes_that_are_all_but_alike_stay_apart():
    names = short_names([f"kind {number}" for number in range(80)])
    assert len(set(names)) == 80


@given(st.lists(st.text(min_size=1, max_size=12), unique=True, max_size=40))
def test_whatever_the_names_the_short_ones_differ(classes):
    names = short_names(classes)
    assert len(names) == len(set(names)) == len(classes)


@pytest.mark.parametrize("name", [*RESERVED, "", " ", "a\nb", "x" * (LONGEST + 1), "a\u202eb"])
def test_names_that_would_break_a_table_are_told(name):
    assert unfit(name)
    assert len(unfit(name)) < 200 and "\n" not in unfit(name)


@pytest.mark.parametrize("name", ["x" * LONGEST, "<b>", "Messer, groß", "剪刀", "map"])
def test_other_names_are_fine(name):
    assert unfit(name) == ""
