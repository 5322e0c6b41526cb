"""Open every page of the rendered book in headless Chromium and say what is wrong: make check-book.

Both themes, four widths. Faults: a foreign request, an error in the console, a page wider than the
window, a broken link or anchor, a serious accessibility finding (axe-core), an image without
alternative text or caption, raw markup, a warning or an object shown as Python names it, a code
cell over 40 lines, a page over its weight, a search that does not put the right page first.

What was found on a page is kept beside the book (checked.json) and holds until the page, the style
or this script changes: an interrupted check goes on, and a second one looks at what is new.

python scripts/check_book.py [FOLDER] [--only PAGE ...] [--again]
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, SimpleQueue
from urllib.parse import quote

import yaml
from check_html import cells, images, links, objects, raw

from doamlib.core import paths
from doamlib.core.files import write_text

WIDTHS = (390, 768, 1366, 1920)
AXE_WIDTHS = {"light": 1366, "dark": 390}
"""Theme -> width at which accessibility is looked at, most of the time: contrast depends on the
theme, layout on the width, hardly anything on both."""

AT_ONCE = 2
"""Pages that are looked at side by side, each in a browser of its own."""

MAX_BYTES = 2_500_000
"""Of a page with all that it loads, uncompressed."""

IMPACTS = ("serious", "critical")
QUERIES = Path(__file__).resolve().parent.parent / "book" / "_queries.yml"
KEPT = "checked.json"
NOT_PAGES = ("search.html", "genindex.html", "py-modindex.html")


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
    server.handle_error = lambda *_: None  # a browser that leaves before a file is whole
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
    context = opened.new_context(viewport={"width": WIDTHS[0], "height": 900})
    context.add_init_script(
        "localStorage.setItem('mode', 'light'); localStorage.setItem('theme', 'light')"
    )
    page = context.new_page()
    faults = _loaded(page, base, name)
    for theme, axe_width in AXE_WIDTHS.items():
        page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            page.evaluate(SETTLED)
            where = f"{name} ({theme}, {width} px)"
            if over := page.evaluate(OVERFLOW):
                faults.append(f"{where}: wider than the window: {over}")
            if width == axe_width:
                faults += [f"{where}: {finding}" for finding in _axe(page)]
    context.close()
    return list(dict.fromkeys(faults))


def look_all(base: str, names: list[str], done) -> None:
    """Look at several pages side by side.

    Args:
        base: address of the site.
        names: pages.
        done: called with a page's name and its faults, one page at a time.
    """
    waiting: SimpleQueue[str] = SimpleQueue()
    for name in names:
        waiting.put(name)
    lock = threading.Lock()

    def work() -> None:
        with browser() as opened, contextlib.suppress(Empty):
            while True:
                name = waiting.get_nowait()
                faults = look(opened, base, name)
                with lock:
                    done(name, faults)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for worker in [pool.submit(work) for _ in range(min(AT_ONCE, len(names)))]:
            worker.result()


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

SETTLED = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""Two frames: after a change of the window's size the page's own scripts have had their turn."""


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
    page.evaluate("window.MathJax?.startup?.promise")  # formulas and their fonts count too
    if sum(weight) > MAX_BYTES:
        faults.append(f"{name}: weighs {sum(weight) / 1e6:.1f} MB, at most {MAX_BYTES / 1e6:.1f}")
    return faults


def _axe(page) -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    options = {"resultTypes": ["violations"], "runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]}
    options |= {"preload": False}  # it would ask for imported style sheets at wrong addresses
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


def _searched(base: str, queries: dict[str, str]) -> list[str]:
    with browser() as opened:
        return search(opened, base, queries)


class Seen:
    """What was found on each page, kept in a file while the page and the book's style stay.

    Args:
        file: where; written after each page.
        site: the rendered book.
    """

    def __init__(self, file: Path, site: Path) -> None:
        self.file, self.site = file, site
        self.found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        files = sorted((site / "_static").rglob("*"))
        style = [file for file in files if file.suffix in (".css", ".js")]
        self.world = "".join(map(_digest, [Path(__file__), *style]))

    def _now(self, name: str) -> str:
        return hashlib.sha256(f"{self.world}{_digest(self.site / name)}".encode()).hexdigest()

    def of(self, name: str) -> list[str] | None:
        """The faults of a page; None where nobody has looked since it changed."""
        known = self.found.get(name, {})
        return known.get("faults") if known.get("digest") == self._now(name) else None

    def keep(self, name: str, faults: list[str]) -> None:
        """Remember a page's faults."""
        self.found[name] = {"digest": self._now(name), "faults": faults}
        write_text(self.file, json.dumps(self.found, indent=1))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check(
    site: Path, only: list[str] | None = None, again: bool = False, report=print
) -> list[str]:
    """Every fault of a rendered book, one line each.

    Args:
        site: its folder; what was found is kept beside it.
        only: pages to open, without ``.html``; all by default.
        again: look at pages that have not changed too.
        report: gets a line for each page.
    """
    names = [name for name in pages_of(site) if not only or name.removesuffix(".html") in only]
    seen = Seen(site.parent / KEPT, site)
    found = {name: None if again else seen.of(name) for name in names}
    waiting = [name for name in names if found[name] is None]
    report(f"{len(waiting)} pages to look at, {len(names) - len(waiting)} unchanged since the last")

    def done(name: str, faults: list[str]) -> None:
        found[name] = faults
        seen.keep(name, faults)
        report(f"{name}: {len(faults)} faults" if faults else f"{name}: fine")

    queries = yaml.safe_load(QUERIES.read_text(encoding="utf-8")) if QUERIES.is_file() else {}
    with served(site) as base:
        look_all(base, waiting, done)
        with ThreadPoolExecutor(1) as pool:  # a browser of its own too
            searched = pool.submit(_searched, base, queries).result()
    seen_by_browser = [fault for name in names for fault in found[name] or ()]
    in_files = links(site) + images(site) + cells(site) + raw(site) + objects(site)
    return in_files + seen_by_browser + searched


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", nargs="?", type=Path, default=paths.build() / "_build" / "html")
    parser.add_argument("--only", nargs="+", help="pages, without .html")
    parser.add_argument("--again", action="store_true", help="also what was seen and is unchanged")
    arguments = parser.parse_args()
    if not (arguments.site / "index.html").is_file():
        sys.exit(f"{arguments.site} holds no rendered book: run make book first")
    if chromium() is None:
        sys.exit("no Chromium found: install chromium, or name one in CHROMIUM")
    faults = check(arguments.site.resolve(), arguments.only, arguments.again)
    print("\n".join(faults) or "nothing to complain about")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
