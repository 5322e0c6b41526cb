"""The book as one PDF, printed by headless Chromium, and its notebooks in one archive: make pdf.

The pages of a rendered book become one document in reading order: a cover, the contents, the pages
with their code, and the folded solutions at the end. The reference of the library, which is for
looking up, is left out. Both files are put beside the pages.

python scripts/make_pdf.py [FOLDER OF THE RENDERED BOOK]
"""

from __future__ import annotations

import argparse
import re
import sys
import zipfile
from pathlib import Path

from bs4 import BeautifulSoup, Tag
from check_book import browser, chromium, served

from doamlib.core import paths
from doamlib.core.chapters import page_names

PDF, ARCHIVE, WHOLE = "doam-book.pdf", "doam-book-notebooks.zip", "_whole.html"
LEFT_OUT = "a.headerlink, button, script, .prev-next-footer, .toggle-details__summary > svg"
PARAMETERS = ".cell.tag_parameters"
SCALE = 0.75
"""Of the print: so a sheet is as wide as a small window, and tables are laid out as on one."""

STYLE = """
@page { size: A4; margin: 16mm 16mm 18mm; }
body { font-size: 13pt; -webkit-print-color-adjust: exact; }
section.page, .solutions, .contents-page { break-before: page; }
h1 { font-size: 24pt; } h2 { font-size: 18pt; } h3 { font-size: 15pt; }
h1, h2, h3, .cell_output p:has(> strong), p:has(+ .cell_output) { break-after: avoid; }
h1, h2, h3 { padding-top: 2mm; }
pre { white-space: pre-wrap; font-size: 10pt; } table { font-size: 10pt; }
.cell, .cell_input, .cell_output, .highlight, pre, details, .admonition { break-inside: auto; }
img, svg { max-width: 100%; break-inside: avoid; }
figure, tr:not(.why), .numbers { break-inside: avoid; }
a { color: inherit; text-decoration: none; } span.pasted-text { font-weight: inherit; }
.cover { padding-top: 120mm; text-align: center; } .contents li { margin: 1mm 0; }
.solution { width: auto; margin: 0 0 4mm; }
details > summary, button { display: none !important; }
* { animation: none !important; transition: none !important; }
"""
"""Headings have a padding: without it Chromium writes those at the top of a sheet twice into the
outline. Unfolded cells fade in on the screen; printed meanwhile they would stay pale."""


def whole_book(site: Path, names: list[str]) -> str:
    """One HTML document of these pages, whose identifiers and links do not clash.

    Args:
        site: the rendered book.
        names: its pages in reading order, without ``.html``.
    """
    # Colours have values below a theme's name only, which a page's script would take away again.
    html = "<html lang='en' data-theme='light'><head><meta charset='utf-8'></head><body></body>"
    whole = BeautifulSoup(html, "html.parser")
    heads = {}  # formulas are loaded by pages that have some
    for name in names:
        page = BeautifulSoup((site / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
        heads |= {str(tag): tag for tag in page.head.find_all(["link", "script", "style"])}
    unwanted = ("DOCUMENTATION_OPTIONS", "dataset.theme")
    whole.head.extend(tag for text, tag in heads.items() if not any(u in text for u in unwanted))
    whole.head.append(_new(whole, "style", STYLE))
    title = _new(whole, "section", "")
    title["class"] = "cover"
    title.append(_new(whole, "h1", "DOAM-O, rebuilt"))
    title.append(_new(whole, "p", "A paper made again, page by page"))
    contents, solutions = _new(whole, "ol", ""), []
    contents["class"] = "contents"
    heading = _new(whole, "h1", "Contents")
    heading["class"] = "contents-page"
    whole.body.extend([title, heading, contents])
    articles = {name: _article(site, name, names) for name in names}
    _tell_parameters_once(list(articles.values()))
    for name, article in articles.items():
        entry, link = _new(whole, "li", ""), _new(whole, "a", _heading(article))
        link["href"] = f"#{name}"
        entry.append(link)
        contents.append(entry)
        solutions += [(_heading(article), found) for found in _solutions(article)]
        whole.body.append(article)
    if solutions:
        whole.body.append(_at_the_end(whole, solutions))
    return str(whole)


def _tell_parameters_once(articles: list[Tag]) -> None:
    """Of the pages' parameters, which differ only in how many a page reads, print the longest."""
    cells = [cell for article in articles for cell in article.select(PARAMETERS)]
    longest = max(cells, key=lambda cell: len(cell.get_text()), default=None)
    for cell in cells:
        if cell is not longest:
            cell.decompose()


def _at_the_end(whole: BeautifulSoup, solutions: list[tuple[str, Tag]]) -> Tag:
    """The part of the solutions, each page's under its heading."""
    part = _new(whole, "section", "")
    part["class"] = "solutions bd-article"
    part.append(_new(whole, "h1", "Solutions"))
    before = None
    for heading, solution in solutions:
        if heading != before:
            part.append(_new(whole, "h3", heading))
        before = heading
        part.append(solution)
    return part


def _article(site: Path, name: str, names: list[str]) -> Tag:
    """A page's text; ``#id`` becomes ``#name--id``, and links to other pages stay in the book."""
    soup = BeautifulSoup((site / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
    article = soup.find("article")
    for tag in article.select(LEFT_OUT):
        tag.decompose()
    for tag in article.find_all(id=True):
        tag["id"] = f"{name}--{tag['id']}"
    for link in article.find_all("a", href=True):
        page, _, anchor = link["href"].partition("#")
        other = page.removesuffix(".html") or name
        if other in names and not re.match(r"[a-z]+:", link["href"]):
            link["href"] = f"#{other}--{anchor}" if anchor else f"#{other}"
    article.name, article["class"], article["id"] = "section", "page bd-article", name
    return article


def _solutions(article: Tag) -> list[Tag]:
    """Folded solutions, taken out of the page."""
    return [tag.extract() for tag in article.select("div.solution")]


def _heading(article: Tag) -> str:
    return article.find("h1").get_text().strip() if article.find("h1") else article["id"]


def _new(soup: BeautifulSoup, name: str, text: str) -> Tag:
    tag = soup.new_tag(name)
    tag.string = text
    return tag


def print_book(site: Path, names: list[str]) -> Path:
    """Write the PDF into the rendered book's folder; returns its path."""
    (site / WHOLE).write_text(whole_book(site, names), encoding="utf-8")
    try:
        with served(site) as base, browser() as opened:
            page = opened.new_page()
            page.goto(f"{base}/{WHOLE}", wait_until="networkidle", timeout=300_000)
            page.evaluate("window.MathJax ? MathJax.startup.promise : 0")
            page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            number = "<div style='font-size:8px;width:100%;text-align:center'>{}</div>"
            page.pdf(
                path=site / PDF,
                scale=SCALE,
                prefer_css_page_size=True,
                display_header_footer=True,
                header_template="<span></span>",
                footer_template=number.format("<span class='pageNumber'></span>"),
                outline=True,
                tagged=True,
            )
    finally:
        (site / WHOLE).unlink()
    return site / PDF


def archive(site: Path, names: list[str]) -> Path:
    """All executed notebooks in one file beside the pages; returns its path."""
    with zipfile.ZipFile(site / ARCHIVE, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            notebook = site / "_sources" / f"{name}.ipynb"
            if notebook.is_file():
                file.write(notebook, f"doam-book/{notebook.name}")
    return site / ARCHIVE


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", nargs="?", type=Path, default=paths.build() / "_build" / "html")
    site = parser.parse_args().site.resolve()
    names = [name for name in page_names(paths.book()) if not name.startswith("reference")]
    missing = [name for name in names if not (site / f"{name}.html").is_file()]
    if missing:
        sys.exit(f"{site} holds no page {missing[0]}: run make book first")
    if chromium() is None:
        sys.exit("no Chromium found: install chromium, or name one in CHROMIUM")
    print(print_book(site, names))
    print(archive(site, names))
    return 0


if __name__ == "__main__":
    sys.exit(main())
