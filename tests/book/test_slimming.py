"""What pages load and do not need goes, and what they show stays."""

import shutil
from pathlib import Path

import pydata_sphinx_theme
from fontTools.ttLib import TTFont

from doamlib.book import slimming


def test_icons_in_use_become_a_small_style_sheet_and_the_script_goes(tmp_path):
    shapes = (
        '{home:[1,2,[],"f0","M0 0"],sun:[512,512,["light"],"f1","M1 1z"],moon:[3,3,[],"f2","M2"]}'
    )
    (tmp_path / "_static" / "scripts").mkdir(parents=True)
    (tmp_path / "_static" / "scripts" / "fontawesome.js").write_text(shapes)
    tag = '<script defer src="_static/scripts/fontawesome.js?digest=1"></script>'
    page = tmp_path / "index.html"
    page.write_text(f'<html>{tag}<i class="fa-solid fa-sun"></i></html>')
    assert slimming.slim_icons(tmp_path) == ["sun"]
    assert "fontawesome" not in page.read_text() and "fa-sun" in page.read_text()
    assert "M1 1z" in (tmp_path / slimming.ICONS).read_text()
    assert slimming.slim_icons(tmp_path) == ["sun"]  # a second build changes nothing
    assert "M1 1z" in slimming.icon(shapes, "light")  # an older name
    assert slimming.icon(shapes, "no-such") == ""


def test_the_lines_of_a_long_signature_are_no_list(tmp_path):
    page = tmp_path / "reference.html"
    page.write_text("<dl class='py'><dt>f(<dl>\n<dd><em>a</em>,</dd>\n<dd>b</dd>\n</dl>)</dt></dl>")
    slimming.slim(tmp_path)
    text = page.read_text()
    assert text.count("<dl") == 1 and "<dd>" not in text and "</dd>" not in text
    assert '<span class="sig-line"><em>a</em>,</span>' in text


STATIC = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme" / "static"
BELL, ANGLE_DOWN, COFFEE = 0xF0F3, 0xF107, 0xF0F4


def themed(folder):
    """The style sheet and the fonts of the installed theme, where a build puts them."""
    sheet = folder / slimming.THEME
    sheet.parent.mkdir(parents=True)
    shutil.copy(STATIC / "styles" / "pydata-sphinx-theme.css", sheet)
    fonts = "vendor/fontawesome/webfonts"
    shutil.copytree(STATIC / fonts, folder / "_static" / fonts)
    (folder / "_static" / "own.css").write_text("summary::after { content: '\\f107'; }")
    return sheet


def test_the_icon_font_keeps_what_style_sheets_show(tmp_path):
    sheet = themed(tmp_path)
    shown = slimming.slim_theme(tmp_path)
    glyphs = TTFont(tmp_path / slimming.FONT).getBestCmap()
    assert {BELL, ANGLE_DOWN} <= set(glyphs) and COFFEE not in glyphs
    assert 10 < len(glyphs) <= shown < 60
    assert (tmp_path / slimming.FONT).stat().st_size < 10_000
    assert 'url(../icons.woff) format("woff")' in sheet.read_text()
    assert "fa-solid-900" not in sheet.read_text()


def test_the_style_sheet_loses_the_names_of_icons_and_nothing_else(tmp_path):
    sheet = themed(tmp_path)
    before = sheet.read_text()
    slimming.slim_theme(tmp_path)
    after = sheet.read_text()
    assert len(before) - len(after) > 80_000
    assert ".fa-coffee:before" in before and ".fa-coffee:before" not in after
    assert after.count("{") == after.count("}")
    assert ".admonition" in after and "--pst-icon-bell" in after
    slimming.slim_theme(tmp_path)
    assert sheet.read_text() == after


def test_only_the_search_page_loads_the_index_of_the_search(tmp_path):
    tags = [
        f'<script src="{name}"></script>'
        for name in ("_static/searchtools.js", "_static/language_data.js", "searchindex.js")
    ]
    other = '<script src="_static/doctools.js?v=1"></script>'
    for name in ("index.html", "search.html"):
        (tmp_path / name).write_text("\n".join([*tags, other]))
    slimming.slim(tmp_path)
    assert (tmp_path / "index.html").read_text().strip() == other
    assert (tmp_path / "search.html").read_text() == "\n".join([*tags, other])
