"""Negative numbers of rendered pages get a minus sign, as in print.

What computes and what is checked (results, sentences made from them, tables) keeps the hyphen of
Python, so that every number can be compared and searched for as it was written.
"""

from __future__ import annotations

import re
from pathlib import Path

KEPT = r"<(?P<tag>script|style|pre|code|svg|textarea)\b.*?</(?P=tag)>|\\\(.*?\\\)|<[^>]*>"
"""What is no text of the page: code, drawings, formulas, tags."""

HYPHEN = r"(?<![\w.\-\N{EN DASH}/])-(?=\.?\d)"
"""In front of a number, and not between two words or numbers."""

EITHER = re.compile(f"(?P<kept>{KEPT})|{HYPHEN}", re.DOTALL)


def with_minus(html: str) -> str:
    """A page whose negative numbers have a minus sign; a second time changes nothing."""
    return EITHER.sub(lambda found: found["kept"] or "\N{MINUS SIGN}", html)


def set_minus(site: Path) -> None:
    """Change the pages of a rendered book, in place."""
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        if (set_ := with_minus(text)) != text:
            path.write_text(set_, encoding="utf-8")
