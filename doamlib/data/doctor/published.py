"""What the paper prints about OPIXray, beside what a copy of it holds."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from doamlib.data.classes import CLASSES, SHORT_NAMES
from doamlib.data.doctor.report import TABLE_NAMES, Comparison, SplitReport
from doamlib.paper import table

MISPRINT = ("OL2", "SC", 125)
"""A count on the real files found so many where Table III prints one more."""


def _printed(number: int) -> pd.DataFrame:
    """Table II or III, indexed by its rows; its "total" is called what it counts, ``images``."""
    rows = table(number).set_index("split" if number == 2 else "level")
    return rows.rename(columns={"total_images": "images"})


def compare(splits: Mapping[str, SplitReport]) -> tuple[Comparison, ...]:
    """Every number of Tables II and III beside ours; levels only where the test split has some.

    Args:
        splits: ``train`` and ``test`` as the doctor counted them.
    """
    found = {}
    for name, split in splits.items():
        found[2, name] = (split.counts, split.dropped)
        found |= {(3, level): (counts, split.dropped) for level, counts in split.levels.items()}
    numbers = []
    for (number, row), (counts, dropped) in found.items():
        printed = _printed(number).loc[row]
        for column, ours in zip((*SHORT_NAMES, "images"), (*CLASSES, "images"), strict=True):
            paper, count = int(printed[column]), counts[ours]
            why = _explain(row, column, paper, count, dropped)
            place = {"table": number, "row": row, "column": column}
            numbers.append(Comparison(**place, paper=paper, found=count, explanation=why))
    return tuple(numbers)


def _explain(row: str, column: str, paper: int, found: int, dropped: int) -> str | None:
    if found == paper:
        return ""
    if (row, column, found) == MISPRINT:
        return "known: the files hold one box fewer than is printed"
    if column != "images" and 0 < paper - found <= dropped:
        return f"explained if among the {dropped} rows dropped for want of area"
    return None


def known() -> tuple[str, ...]:
    """What does not add up in the paper's own numbers, with the arithmetic."""
    facts = []
    for number, rows in ((2, ("train", "test")), (3, ("OL1", "OL2", "OL3"))):
        printed = _printed(number).loc[list(rows)]
        boxes = " + ".join(f"{n:,}" for n in printed[list(SHORT_NAMES)].sum(axis=1))
        images = " + ".join(f"{n:,}" for n in printed["images"])
        name = f"Table {TABLE_NAMES[number]} ({', '.join(rows)})"
        facts.append(f"{name}: the class columns count {boxes} boxes, the totals {images} images")
    level, column, count = MISPRINT
    printed = _printed(3).loc[level, column]
    facts.append(f"Table III, {level}, {column}: {printed} is printed, the real files hold {count}")
    train = _printed(2).loc["train", "images"]
    facts.append(f"the official README gives 7,019 training images, Table II {train:,}")
    return tuple(facts)
