"""The pages of a book as one document: in order, links inside it, solutions at the end."""

import pytest
from bs4 import BeautifulSoup

pytest.importorskip("playwright", reason="playwright is not installed: pip install .[test]")

import make_pdf

PAGE = "<html><head><link href='{name}.css'></head><body><article>{body}</article></body></html>"
FIRST = (
    "<h1 id='top'>First</h1><a href='second.html#there'>on</a><a href='#top'>up</a>"
    "<button>copy</button><div class='solution dropdown admonition' id='s'>It is four.</div>"
    "<p>After.</p>"
)
SECOND = "<h1 id='top'>Second</h1><p id='there'>There</p><a href='https://x.y'>out</a>"


@pytest.fixture
def whole(tmp_path):
    for name, body in (("first", FIRST), ("second", SECOND)):
        (tmp_path / f"{name}.html").write_text(PAGE.format(name=name, body=body))
    return BeautifulSoup(make_pdf.whole_book(tmp_path, ["first", "second"]), "html.parser")


def test_pages_come_in_order_behind_their_contents(whole):
    assert [a.get_text() for a in whole.select("ol.contents a")] == ["First", "Second"]
    assert [section["id"] for section in whole.select("section.page")] == ["first", "second"]
    assert {tag["href"] for tag in whole.head.find_all("link")} == {"first.css", "second.css"}


def test_links_stay_in_the_document_and_identifiers_do_not_clash(whole):
    ids = [tag["id"] for tag in whole.find_all(id=True)]
    assert len(set(ids)) == len(ids)
    for link in whole.find_all("a", href=True):
        assert link["href"] == "https://x.y" or link["href"].removeprefix("#") in ids


def test_the_light_colours_hold_though_a_pages_script_would_take_them_away(tmp_path):
    """Without a theme's name no colour has a value: intervals were printed without the paper's."""
    script = "<script>document.documentElement.dataset.theme = localStorage.theme</script>"
    page = PAGE.format(name="a", body="<h1>A</h1>").replace("<head>", f"<head>{script}")
    (tmp_path / "a.html").write_text(page)
    book = BeautifulSoup(make_pdf.whole_book(tmp_path, ["a"]), "html.parser")
    assert script in page and book.html["data-theme"] == "light" and not book.head.find("script")


def test_solutions_stand_at_the_end_under_the_name_of_their_page(whole):
    text = whole.body.get_text(" ", strip=True)
    assert text.index("After.") < text.index("There") < text.index("Solutions")
    assert text.endswith("Solutions First It is four.")


def test_what_only_a_screen_can_use_is_left_out(whole):
    assert whole.find("button") is None


def test_the_longest_parameters_are_told_and_no_others(tmp_path):
    cell = "<div class='cell tag_parameters'>{}</div>"
    told = {"a": "", "b": "epochs = 3", "c": "epochs = 3, width = 0.2", "d": "seeds = [0]"}
    for name, text in told.items():
        body = f"<h1>{name}</h1>" + cell.format(text)
        (tmp_path / f"{name}.html").write_text(PAGE.format(name=name, body=body))
    book = BeautifulSoup(make_pdf.whole_book(tmp_path, list(told)), "html.parser")
    assert [tag.get_text() for tag in book.select(".tag_parameters")] == [told["c"]]
