"""What every page of the book would load and none needs, taken out of the rendered pages.

Without this the theme (pydata-sphinx-theme 0.17.1) brings to each page, in bytes: a script of all
Font Awesome icons (1,500,000), their font (156,000) and their names in the style sheet (86,000),
where the book shows thirty; and the index of the search (210,000), which the search page alone
asks.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

ICONS = "_static/icons.css"
FONT = "_static/icons.woff"
THEME = "_static/styles/pydata-sphinx-theme.css"
SCRIPT = re.compile(r'\s*<script[^>]*src="[^"]*scripts/fontawesome\.js[^"]*"[^>]*></script>')
SEARCH = re.compile(
    r'\s*<script src="[^"]*(?:searchtools|language_data|searchindex)\.js[^"]*"></script>'
)
LIST = '<div role="list" class="citation-list">'
"""Docutils calls the bibliography a list and gives it no items."""

PARAMETERS = re.compile(r"<dl>\s*((?:<dd>.*?</dd>\s*)+)</dl>", re.DOTALL)
"""Sphinx sets a long signature as a list of definitions without a term, which no list may be."""

NAMED = re.compile(r'\.fa-[a-z0-9-]+:before(?:,\.fa-[a-z0-9-]+:before)*\{content:"[^"]*"\}')
"""Rules that give a named icon its glyph: ``icons.css`` draws those in use."""

FACE = re.compile(
    r'url\((\.\./vendor/[^)]*)/fa-solid-900\.woff2\) format\("woff2"\),'
    r'url\([^)]*\) format\("truetype"\)'
)
GLYPH = re.compile(r"[\ue000-\uf8ff]|\\f[0-9a-f]{3}\b")
"""An icon that a style sheet shows by its place in the font, as it is or escaped."""


def slim(site: Path) -> None:
    """Make the pages of a rendered book lighter; a second time changes nothing."""
    slim_icons(site)
    slim_theme(site)
    for path in site.rglob("*.html"):
        if path.name != "search.html":
            text = path.read_text(encoding="utf-8")
            if (mended := PARAMETERS.sub(as_lines, SEARCH.sub("", text))) != text:
                path.write_text(mended, encoding="utf-8")


def as_lines(found: re.Match[str]) -> str:
    """A signature's parameters, a line each, without the marks of a list."""
    lines = found[1].replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")
    return f"<span>{lines}</span>"


def slim_theme(site: Path) -> int:
    """Leave in the theme's style sheet and in its icon font what the book shows.

    Args:
        site: a rendered book.

    Returns:
        Icons that are left in the font.
    """
    from fontTools.subset import Options, Subsetter, load_font, save_font

    sheet = site / THEME
    text = NAMED.sub("", sheet.read_text(encoding="utf-8")) if sheet.is_file() else ""
    if not (found := FACE.search(text)):
        return 0
    others = sorted((site / "_static").rglob("*.css"))
    style = text + "".join(p.read_text(encoding="utf-8") for p in others if p != sheet)
    shown = {ord(g) if len(g) == 1 else int(g[1:], 16) for g in GLYPH.findall(style)}
    options = Options(flavor="woff")
    with load_font(sheet.parent / found[1] / "fa-solid-900.ttf", options) as font:
        subsetter = Subsetter(options)
        subsetter.populate(unicodes=shown)
        subsetter.subset(font)
        save_font(font, site / FONT, options)
    sheet.write_text(FACE.sub('url(../icons.woff) format("woff")', text), encoding="utf-8")
    return len(shown)


def slim_icons(site: Path) -> list[str]:
    """Replace the theme's script of all icons by a style sheet of those that pages show.

    Args:
        site: a rendered book.

    Returns:
        Names of the icons that were found in the script.
    """
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    script = site / "_static" / "scripts" / "fontawesome.js"
    everything = script.read_text(encoding="utf-8") if script.is_file() else ""
    names = {name for text in pages.values() for name in re.findall(r"\bfa-([a-z0-9-]+)", text)}
    scripts = "".join(
        path.read_text(encoding="utf-8") for path in (site / "_static").glob("scripts/sphinx-*.js")
    )
    names |= set(re.findall(r"\bfa-([a-z0-9-]+)", scripts))
    found = {name: shape for name in sorted(names) if (shape := icon(everything, name))}
    if found:
        rules = [f".fa-{name} {{ --icon: url('{address}'); }}" for name, address in found.items()]
        (site / ICONS).write_text("\n".join([GROUND, *rules, ""]), encoding="utf-8")
    for path, text in pages.items():
        mended = SCRIPT.sub("", text).replace(LIST, LIST.replace(' role="list"', ""))
        if mended != text:
            path.write_text(mended, encoding="utf-8")
    return list(found)


GROUND = """\
/* Made by doamlib/book/slimming.py of Font Awesome Free (CC BY 4.0): the icons in use. */
i[class*="fa-"], span[class*="fa-"] {
  display: inline-block; width: 1em; height: 1em; vertical-align: -0.125em;
  background: currentColor; mask: var(--icon) center / contain no-repeat;
}
i[class*="fa-"]::before, span[class*="fa-"]::before { content: none; }"""


def icon(script: str, name: str) -> str:
    """An icon of Font Awesome's script, by name or by an older name, as a data address; or ""."""
    shape = r'\[(\d+),(\d+),\[[^\]]*\],"\w+",\[?"([^"]+)"'
    older = rf'\[(\d+),(\d+),\[[^\]]*"{re.escape(name)}"[^\]]*\],"\w+",\[?"([^"]+)"'
    found = re.search(rf'[{{,]"?{re.escape(name)}"?:{shape}', script) or re.search(older, script)
    if not found:
        return ""
    width, height, path = found.groups()
    box = f"viewBox='0 0 {width} {height}'"
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' {box}><path d='{path}'/></svg>"
    return f"data:image/svg+xml,{quote(svg, safe=' /:=')}".replace("'", "%27")
