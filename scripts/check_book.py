"""Open every page of the rendered book in headless Chromium and say what is wrong: make check-book.

Both themes, four widths. Faults: a foreign request, an error in the console, a page wider than the
window, a broken link or anchor, a serious accessibility finding (axe-core), an image without
alternative text or caption, a code cell over 40 lines, a page over its weight, a search that does
not put the right page first.

python scripts/check_book.py [FOLDER] [--only PAGE]
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urldefrag

import yaml
from bs4 import BeautifulSoup

from doamlib.core import paths

WIDTHS = (390, 768, 1366, 1920)
AXE_WIDTHS = (390, 1366)
"""Accessibility hardly depends on the width: the phone's layout and the laptop's are looked at."""

THEMES = ("light", "dark")
MAX_BYTES = 2_500_000
"""Of a page with all that it loads, uncompressed."""

MAX_LINES = 40
IMPACTS = ("serious", "critical")
QUERIES = Path(__file__).resolve().parent.parent / "book" / "_queries.yml"
NOT_PAGES = ("search.html", "genindex.html", "py-modindex.html")


# --- without a browser ----------------------------------------------------------------------------


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


def _soup(path: Path) -> BeautifulSoup:
    return _parsed(path.read_text(encoding="utf-8"))


@functools.lru_cache(maxsize=64)  # three checks read each page
def _parsed(text: str) -> BeautifulSoup:
    return BeautifulSoup(text, "html.parser")


# --- with a browser -------------------------------------------------------------------------------


def chromium() -> str | None:
    """The system's Chromium or Chrome; None where neither is installed."""
    named = os.environ.get("CHROMIUM")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return named or next((found for name in names if (found := shutil.which(name))), None)


@contextlib.contextmanager
def served(site: Path) -> Iterator[str]:
    """The folder behind an address of this machine, as a reader's browser would see it."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def browser() -> Iterator:
    """A headless Chromium (a Playwright browser)."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            yield launched
        finally:
            launched.close()


def look(opened, base: str, name: str) -> list[str]:
    """Everything that a browser can tell about one page, in both themes and all widths."""
    faults: list[str] = []
    for theme in THEMES:
        context = opened.new_context(viewport={"width": WIDTHS[-1], "height": 900})
        context.add_init_script(
            f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}')"
        )
        page = context.new_page()
        faults += _loaded(page, base, name)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            where = f"{name} ({theme}, {width} px)"
            if over := page.evaluate(OVERFLOW):
                faults.append(f"{where}: wider than the window: {over}")
            if width in AXE_WIDTHS:
                faults += [f"{where}: {finding}" for finding in _axe(page)]
        context.close()
    return list(dict.fromkeys(faults))


OVERFLOW = """() => {
  const room = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= room + 1) return "";
  const boxed = e => { for (let up = e.parentElement; up; up = up.parentElement)
    if (getComputedStyle(up).overflowX !== "visible" && up.clientWidth <= room &&
        up !== document.body && up !== document.documentElement) return true; return false; };
  const wide = [...document.querySelectorAll("article *")].filter(
    e => e.getBoundingClientRect().right > room + 1 && !boxed(e));
  const first = wide[0] || document.body, whole = document.documentElement.scrollWidth;
  return `${first.tagName.toLowerCase()}.${first.className} ${whole}`;
}"""


def _loaded(page, base: str, name: str) -> list[str]:
    """Open the page and listen: foreign requests, console errors, what is missing, its weight."""
    faults, weight = [], []

    def answered(response) -> None:
        if not response.url.startswith("data:"):
            with contextlib.suppress(Exception):
                weight.append(len(response.body()))
            if response.status >= 400:
                faults.append(f"{name}: {response.url.removeprefix(base)} is missing")

    def allow(route) -> None:
        url = route.request.url
        if url.startswith((base, "data:", "blob:")):
            route.continue_()
        else:
            faults.append(f"{name}: foreign request to {url}")
            route.abort()

    page.route("**/*", allow)
    page.on("response", answered)
    page.on("pageerror", lambda error: faults.append(f"{name}: console error: {error}"))
    page.on(
        "console",
        lambda said: (
            faults.append(f"{name}: console error: {said.text}") if said.type == "error" else None
        ),
    )
    page.goto(f"{base}/{name}", wait_until="networkidle")
    if sum(weight) > MAX_BYTES:
        faults.append(f"{name}: weighs {sum(weight) / 1e6:.1f} MB, at most {MAX_BYTES / 1e6:.1f}")
    return faults


def _axe(page) -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    options = {"resultTypes": ["violations"], "runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]}
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{rule['id']} ({rule['impact']}), {len(rule['nodes'])} times, first "
        f"{rule['nodes'][0]['html'][:110]!r}{_why(rule['nodes'][0])}"
        for rule in found
        if rule["impact"] in IMPACTS
    ]


def _why(node: dict) -> str:
    return "".join(f" ({check['message'][:160]})" for check in node.get("any", [])[:1])


def search(opened, base: str, queries: dict[str, str]) -> list[str]:
    """Queries whose first result is not the page that they ask for.

    Args:
        opened: a browser.
        base: address of the site.
        queries: what is typed -> name of the page.
    """
    page = opened.new_page()
    faults = []
    for query, wanted in queries.items():
        page.goto(f"{base}/search.html?q={quote(query)}")
        with contextlib.suppress(Exception):
            page.wait_for_selector("#search-results ul.search li a", timeout=8000)
        first = page.locator("#search-results ul.search li a").first
        got = first.get_attribute("href") if first.count() else "nothing"
        if not re.search(rf"(^|/){re.escape(wanted)}\.html", got):
            faults.append(f"search for {query!r}: first comes {got}, not {wanted}")
    page.close()
    return faults


# --- all ------------------------------------------------------------------------------------------


def pages_of(site: Path) -> list[str]:
    """The pages to open, the landing page first."""
    names = [path.relative_to(site).as_posix() for path in sorted(site.rglob("*.html"))]
    names = [name for name in names if name not in NOT_PAGES and not name.startswith("_")]
    return sorted(names, key=lambda name: name != "index.html")


def check(site: Path, only: str | None = None, report=print) -> list[str]:
    """Every fault of a rendered book, one line each."""
    faults = links(site) + images(site) + cells(site)
    queries = yaml.safe_load(QUERIES.read_text(encoding="utf-8")) if QUERIES.is_file() else {}
    with served(site) as base, browser() as opened:
        for name in pages_of(site):
            if only is None or name == f"{only}.html":
                found = look(opened, base, name)
                report(f"{name}: {len(found)} faults" if found else f"{name}: fine")
                faults += found
        faults += search(opened, base, queries)
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", nargs="?", type=Path, default=paths.build() / "_build" / "html")
    parser.add_argument("--only", help="one page, without .html")
    arguments = parser.parse_args()
    if not (arguments.site / "index.html").is_file():
        sys.exit(f"{arguments.site} holds no rendered book: run make book first")
    if chromium() is None:
        sys.exit("no Chromium found: install chromium, or name one in CHROMIUM")
    faults = check(arguments.site.resolve(), arguments.only)
    print("\n".join(faults) or "nothing to complain about")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
