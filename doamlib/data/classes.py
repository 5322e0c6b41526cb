"""Names of classes: the five kinds of cutter in the order of the paper's tables, and others'."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import count

CLASSES = ("Folding_Knife", "Straight_Knife", "Scissor", "Utility_Knife", "Multi-tool_Knife")
"""As OPIXray's annotation files spell them; class ``i`` has label ``i + 1``, 0 is background."""

SHORT_NAMES = ("FO", "ST", "SC", "UT", "MU")
"""The paper's abbreviations (Table II), in the same order."""

HIXRAY_CLASSES = (
    *("Portable_Charger_1", "Portable_Charger_2", "Water", "Laptop"),
    *("Mobile_Phone", "Tablet", "Cosmetic", "Nonmetallic_Lighter"),
)
"""Of HiXray, which lies on disk as OPIXray does; in the order of its authors' code."""

RESERVED = ("mAP", "boxes", "images", "backgrounds")
"""Columns that tables have beside the classes; a class of this name would hide one of them."""

LONGEST = 100
"""Characters of a class name."""


def short_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Short names for the columns of a table, all different: as a rule of one to three characters.

    OPIXray's five have the paper's. Others get the initials of their words, or their first two
    letters (*Baton*: BA, *Mobile_Phone*: MP); where two would be alike the later one takes the next
    letters of its name, and in the end a number.

    Args:
        classes: class names in label order, all different.
    """
    if tuple(classes) == CLASSES:
        return SHORT_NAMES
    taken: list[str] = []
    for name in classes:
        taken.append(next(short for short in _candidates(name) if short not in taken))
    return tuple(taken)


def unfit(name: str) -> str:
    """Why a class cannot have this name, and what to do; empty if it can."""
    if name in RESERVED:
        return f"class {name!r} has the name of a column of the tables"
    if not name.strip() or not name.isprintable() or len(name) > LONGEST:
        shown = name if len(name) <= LONGEST else f"{name[:20]}..."
        return f"class {shown!r} is not a name of at most {LONGEST} printable characters"
    if name.count("$") > 1:
        return f"class {name!r} has two $, between which figures would set a formula"
    return ""


def _candidates(name: str) -> Iterator[str]:
    words = re.findall(r"\w+", name.replace("_", " ")) or ["class"]
    letters = "".join(words).upper()
    initials = "".join(word[0] for word in words).upper()
    if len(words) > 1:
        yield initials[:3]
    for second in range(1, len(letters)):
        yield letters[0] + letters[second]
    yield letters[:1]
    for number in count(1):
        yield f"{letters[:2]}{number}"
