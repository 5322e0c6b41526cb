"""Faults of a rendered book that its files show without a browser; make check-book asks this too.

Links and anchors that lead nowhere, images without alternative text or caption, markup that nothing
has read, warnings and objects shown as Python names them, code cells over 40 lines. Half a minute,
where the browser takes a quarter of an hour.

python scripts/check_html.py [FOLDER]
"""

from __future__ import annotations

import argparse
import functools
import re
import sys
from pathlib import Path
from urllib.parse import unquote, urldefrag

from bs4 import BeautifulSoup

from doamlib.core import paths

MAX_LINES = 40


def links(site: Path) -> list[str]:
    """Links and anchors within the book that lead nowhere."""
    soups = {path: _soup(path) for path in site.rglob("*.html")}
    anchors = {
        path: {tag.get(key) for tag in soup.find_all(True) for key in ("id", "name")}
        for path, soup in soups.items()
    }
    faults = []
    for path, soup in soups.items():
        for href in {tag["href"] for tag in soup.find_all("a", href=True)}:
            if re.match(r"[a-z]+:", href) or href == "#":
                continue
            name, anchor = urldefrag(href)
            target = (path.parent / unquote(name.split("?")[0])).resolve() if name else path
            where = f"{path.relative_to(site)}: link to {href}"
            if not target.exists():
                faults.append(f"{where}: no such file")
            elif anchor and target in anchors and unquote(anchor) not in anchors[target]:
                faults.append(f"{where}: no such anchor")
    return faults


def images(site: Path) -> list[str]:
    """Images of the text without an alternative text, or not in a figure with a caption."""
    faults = []
    for path in site.rglob("*.html"):
        article = _soup(path).find("article")
        for image in article.find_all("img") if article else ():
            where = f"{path.relative_to(site)}: image {Path(image.get('src', '')).name[:16]}"
            alt = image.get("alt", "")
            if len(alt) < 12 or re.fullmatch(r"\S+\.(png|svg|jpg)", alt):
                faults.append(f"{where}: no alternative text")
            figure = image.find_parent("figure")
            if figure is None or figure.find("figcaption") is None:
                faults.append(f"{where}: no caption")
    return faults


def cells(site: Path) -> list[str]:
    """Code cells that are too long to read; the folded list of parameters is none to be read."""
    faults = []
    for path in site.rglob("*.html"):
        for number, cell in enumerate(_soup(path).select("div.cell_input"), start=1):
            lines = cell.get_text().strip().count("\n") + 1
            if lines > MAX_LINES and not cell.find_parent(class_="tag_parameters"):
                faults.append(f"{path.relative_to(site)}: code cell {number} has {lines} lines")
    return faults


RAW = re.compile(r":::+|\{(?:glue|doc|numref|ref|eq|term|cite|py)[:\w]*\}`|```")


def raw(site: Path) -> list[str]:
    """Markup that nothing has read, shown to the reader; code is left out."""
    faults = []
    for path in site.rglob("*.html"):
        article = _soup(path).find("article")
        for text in article.find_all(string=RAW) if article else ():
            if not text.find_parent(["pre", "code"]):
                shown = " ".join(text.split())
                faults.append(f"{path.relative_to(site)}: raw markup {shown[:60]!r}")
    return faults


OBJECT = re.compile(r"<[\w.]+ [^<>\n]{0,80}at 0x[0-9a-f]+>")


def objects(site: Path) -> list[str]:
    """What Python says unasked: a warning, or the name of a thing that has no text of its own."""
    faults = []
    for path in site.rglob("*.html"):
        for warned in _soup(path).select("div.cell_output div.output.stderr"):
            said = " ".join(warned.get_text().split())
            faults.append(f"{path.relative_to(site)}: a cell warns {said[:80]!r}")
        for shown in _soup(path).select("div.cell_output pre"):
            if found := OBJECT.search(shown.get_text()):
                faults.append(f"{path.relative_to(site)}: a cell shows the object {found[0]}")
    return faults


def _soup(path: Path) -> BeautifulSoup:
    return _parsed(path.read_text(encoding="utf-8"))


@functools.lru_cache(maxsize=64)  # three checks read each page
def _parsed(text: str) -> BeautifulSoup:
    return BeautifulSoup(text, "html.parser")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", nargs="?", type=Path, default=paths.build() / "_build" / "html")
    site = parser.parse_args().site.resolve()
    faults = [fault for check in (links, images, cells, raw, objects) for fault in check(site)]
    print("\n".join(faults) or "nothing to complain about")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
