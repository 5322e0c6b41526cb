"""What readers see of a table: explained heads, sensible digits, nothing empty."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from doamlib.book import pages
from doamlib.data import CLASSES


@pytest.fixture
def shown(monkeypatch):
    """Call ``pages.show``; gives the caption and the rows of each table that it displays."""

    def call(frames, **options):
        styled = []
        monkeypatch.setattr(pages, "display", styled.append)
        pages.show(frames, **options)
        return [_read(style.to_html()) for style in styled]

    return call


def _read(html):
    soup = BeautifulSoup(html, "html.parser")
    rows = [
        [cell.get_text(strip=True) for cell in row.find_all(["th", "td"])]
        for row in soup.find_all("tr")
    ]
    return soup.caption.get_text(), rows


def test_a_table_has_its_title_its_digits_and_a_dash_for_what_is_missing(shown):
    frame = pd.DataFrame({"mAP": [12.345, np.nan]}, index=["SSD", "FCOS"])
    assert shown({"this run": frame}) == [
        ("this run", [["", "mAP"], ["SSD", "12.35"], ["FCOS", "–"]])
    ]
    ((_, rows),) = shown({"this run": frame}, digits=1)
    assert rows[1] == ["SSD", "12.3"]


@pytest.mark.parametrize("nothing", [np.nan, None, "", "–"])
def test_a_column_that_holds_nothing_is_left_out(shown, nothing):
    frame = pd.DataFrame(
        {"ours": [1.0, 2.0], "low": [nothing, nothing], "n": [1, 1]}, index=list("ab")
    )
    ((_, rows),) = shown({"differences": frame})
    assert rows == [["", "ours, mean", "seeds"], ["a", "1.00", "1"], ["b", "2.00", "1"]]


def test_a_column_that_holds_one_number_stays(shown):
    frame = pd.DataFrame({"ours": [1.0, 2.0], "low": [np.nan, 0.5]}, index=list("ab"))
    ((_, rows),) = shown({"differences": frame})
    assert rows[0] == ["", "ours, mean", "from (95%)"] and rows[1] == ["a", "1.00", "–"]


def test_what_rounds_to_zero_has_no_sign_and_words_stay_words(shown):
    frame = pd.DataFrame({"gain": [-0.001, -0.5, 0.001], "arm": ["-0.001", "<b>", "c"]})
    ((_, rows),) = shown({"gains": frame})
    assert [row[1:] for row in rows[1:]] == [["0.00", "-0.001"], ["-0.50", "<b>"], ["0.00", "c"]]


def test_zero_is_something(shown):
    ((_, rows),) = shown({"zeros": pd.DataFrame({"gain": [0.0, 0.0]})})
    assert rows[0] == ["", "gain"]


@pytest.mark.parametrize("frame", [pd.DataFrame(), pd.DataFrame({"mAP": [np.nan]}, index=["SSD"])])
def test_a_table_without_anything_is_announced(shown, capsys, frame):
    assert shown({"this run": frame}) == []
    assert capsys.readouterr().out == "this run: not measured\n"


def test_names_of_strangers_are_text(shown):
    frame = pd.DataFrame({"<b>": [1.0]}, index=["<i>x</i>"])
    ((caption, rows),) = shown({"<script>": frame})
    assert caption == "<script>" and rows == [["", "<b>"], ["<i>x</i>", "1.00"]]


@pytest.mark.parametrize(
    ("classes", "labels", "said"),
    [
        (CLASSES, [1], ""),
        (("Flasche groß", "Gun"), [1, 2], "FG: Flasche groß, GU: Gun\n"),
        (("Flasche groß", "Gun"), [1], "FG: Flasche groß, GU: Gun; no test item: Gun\n"),
    ],
)
def test_abbreviations_are_explained_unless_they_are_the_papers(classes, labels, said, capsys):
    test = SimpleNamespace(truth=SimpleNamespace(label=np.array(labels)))
    config = SimpleNamespace(data=SimpleNamespace(classes=classes))
    pages.explain_classes({("SSD", 0): SimpleNamespace(config=config, test_set=lambda: test)})
    pages.explain_classes({})
    assert capsys.readouterr().out == said
