"""The browser's check of the book fails on each kind of fault: one planted of each."""

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="playwright is not installed: pip install .[test]")

SCRIPT = Path(__file__).parents[2] / "scripts" / "check_book.py"
spec = importlib.util.spec_from_file_location("check_book", SCRIPT)
check_book = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check_book)

BROWSER = pytest.mark.skipif(
    check_book.chromium() is None,
    reason="no Chromium is installed: apt install chromium, or name one in CHROMIUM",
)
SOUND = (
    '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>A page</title>'
    '<link rel="icon" href="data:,"></head><body><main><article><h1>A page</h1>{}</article></main>'
    "</body></html>"
)
PICTURE = (
    "<figure><img src='dot.svg' alt='A dot in a square'><figcaption>A dot</figcaption></figure>"
)
DOT = "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><circle r='4'/></svg>"


def site(folder, body, **pages):
    """A rendered book of these pages; index.html has the body."""
    (folder / "dot.svg").write_text(DOT)
    for name, text in {"index": body, **pages}.items():
        (folder / f"{name}.html").write_text(SOUND.format(text))
    return folder


@pytest.fixture(scope="module")
def opened():
    with check_book.browser() as browser:
        yield browser


def looked_at(opened, folder):
    with check_book.served(folder) as base:
        return check_book.look(opened, base, "index.html")


@pytest.mark.parametrize(
    "body, fault",
    [
        ("<a href='gone.html'>away</a>", "link to gone.html: no such file"),
        ("<a href='#gone'>down</a>", "link to #gone: no such anchor"),
        ("<a href='other.html#gone'>over</a>", "link to other.html#gone: no such anchor"),
    ],
)
def test_broken_links_and_anchors_are_seen(tmp_path, body, fault):
    assert check_book.links(site(tmp_path, body, other="")) == [f"index.html: {fault}"]


def test_links_that_lead_somewhere_are_fine(tmp_path):
    body = (
        "<p id='here'><a href='#here'>a</a><a href='other.html#h'>b</a><a href='https://x.y'>c</a>"
    )
    assert check_book.links(site(tmp_path, body, other="<i id='h'></i>")) == []


def test_images_need_a_text_and_a_caption(tmp_path):
    assert check_book.images(site(tmp_path, PICTURE)) == []
    hashed = PICTURE.replace("A dot in a square", "3f2a9c0d77aa81.png")
    assert "no alternative text" in check_book.images(site(tmp_path, hashed))[0]
    bare = "<img src='dot.svg' alt='A dot in a square'>"
    assert "no caption" in check_book.images(site(tmp_path, bare))[0]


def test_long_cells_are_seen(tmp_path):
    cell = "<div class='cell_input'><pre>{}</pre></div>"
    assert check_book.cells(site(tmp_path, cell.format("a\n" * 40))) == []
    fault = "index.html: code cell 1 has 41 lines"
    assert check_book.cells(site(tmp_path, cell.format("a\n" * 41))) == [fault]


def test_raw_markup_is_seen_and_code_may_hold_any(tmp_path):
    fine = "<pre>:::{note}</pre><p><code>{glue:text}`x`</code> and a set {1, 2}</p>"
    assert check_book.raw(site(tmp_path, fine)) == []
    for body in (":::{prf:algorithm} A", "it is {glue:text}`x:.1f`", "see {numref}`fig-a`"):
        (fault,) = check_book.raw(site(tmp_path, f"<p>{body}</p>"))
        assert fault == f"index.html: raw markup {body!r}"


def test_an_object_without_a_text_of_its_own_is_seen(tmp_path):
    shown = "<div class='cell_output'><pre>{}</pre></div>"
    fine = shown.format("mAP 16.6 at 0x10") + "<pre>&lt;function f at 0x7f&gt;</pre>"
    assert check_book.objects(site(tmp_path, fine)) == []
    for name in ("<function judge at 0x7f0fed78a520>", "<a.B object at 0x7f>"):
        body = shown.format("{10: " + name.replace("<", "&lt;").replace(">", "&gt;") + "}")
        (fault,) = check_book.objects(site(tmp_path, body))
        assert fault == f"index.html: a cell shows the object {name}"
    warned = "<div class='cell_output'><div class='output stderr'>/tmp/x.py:1: Old</div></div>"
    (fault,) = check_book.objects(site(tmp_path, warned))
    assert fault == "index.html: a cell warns '/tmp/x.py:1: Old'"


@pytest.mark.slow
@BROWSER
def test_a_sound_page_has_no_fault(tmp_path, opened):
    assert looked_at(opened, site(tmp_path, PICTURE)) == []


@pytest.mark.slow
@BROWSER
@pytest.mark.parametrize(
    "body, fault",
    [
        ("<img src='http://example.invalid/a.png' alt='far away'>", "foreign request"),
        ("<script>undefined_function()</script>", "console error"),
        ("<script>console.error('broken')</script>", "console error: broken"),
        ("<div style='width: 3000px'>wide</div>", "wider than the window"),
        ("<p style='color: #eee; background: #fff'>pale</p>", "color-contrast (serious)"),
        ("<img src='dot.svg'>", "image-alt (critical)"),
        ("<img src='gone.svg' alt='a missing picture'>", "is missing"),
    ],
)
def test_each_kind_of_fault_is_seen(tmp_path, opened, body, fault):
    assert any(fault in line for line in looked_at(opened, site(tmp_path, body)))


@pytest.mark.slow
@BROWSER
def test_a_heavy_page_is_seen(tmp_path, opened):
    body = "<script src='heavy.js'></script>"
    (tmp_path / "heavy.js").write_text("/*" + "x" * check_book.MAX_BYTES + "*/")
    assert any("weighs 2.5 MB" in line for line in looked_at(opened, site(tmp_path, body)))


def test_what_was_seen_holds_until_the_page_or_its_style_changes(tmp_path):
    folder = site(tmp_path, "fine", other="also fine")
    (folder / "_static").mkdir()
    (folder / "_static" / "a.css").write_text("p {}")

    def seen():
        return check_book.Seen(tmp_path / "checked.json", folder)

    assert seen().of("index.html") is None
    seen().keep("index.html", [])
    seen().keep("other.html", ["a fault"])
    assert seen().of("index.html") == [] and seen().of("other.html") == ["a fault"]
    site(tmp_path, "changed", other="also fine")
    assert seen().of("index.html") is None and seen().of("other.html") == ["a fault"]
    (folder / "_static" / "a.css").write_text("p { color: red }")
    assert seen().of("other.html") is None


@pytest.mark.slow
@BROWSER
def test_a_check_looks_at_what_has_changed_and_forgets_no_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(check_book, "QUERIES", tmp_path / "none.yml")
    folder = tmp_path / "html"
    folder.mkdir()
    site(folder, PICTURE, other="<script>console.error('broken')</script>")
    said = []
    first = check_book.check(folder, report=said.append)
    assert first == ["other.html: console error: broken"]
    assert said[0].startswith("2 pages to look at") and "index.html: fine" in said
    said.clear()
    site(folder, PICTURE + "more", other="<script>console.error('broken')</script>")
    assert check_book.check(folder, report=said.append) == first
    assert said == ["1 pages to look at, 1 unchanged since the last", "index.html: fine"]


@pytest.mark.slow
@BROWSER
def test_the_first_result_of_a_search_is_judged(tmp_path, opened):
    results = "<div id='search-results'><ul class='search'><li><a href='doam.html'>D</a></ul></div>"
    with check_book.served(site(tmp_path, "", search=results)) as base:
        assert check_book.search(opened, base, {"gate": "doam"}) == []
        (fault,) = check_book.search(opened, base, {"pool": "sampling"})
    assert fault == "search for 'pool': first comes doam.html, not sampling"
