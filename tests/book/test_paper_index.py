"""Every item of the paper has a page, a function and a test; what is missing is told."""

import pytest

from doamlib.book import paper_index
from doamlib.book.paper_index import Row, documented, items, missing, named, rows, said, told


def test_the_paper_has_twenty_equations_two_algorithms_nine_tables_and_seven_figures():
    kinds = [name.split()[0] for name in items()]
    counts = {kind: kinds.count(kind) for kind in ("Eq.", "Algorithm", "Table", "Fig.")}
    assert counts == {"Eq.": 20, "Algorithm": 2, "Table": 9, "Fig.": 7}


def test_every_item_is_taught_computed_and_tested():
    assert missing(rows()) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see Eq. 5", {"Eq. 5"}),
        ("Eq. 1 and 2, then Eq. 7 to 9", {"Eq. 1", "Eq. 2", "Eq. 7", "Eq. 8", "Eq. 9"}),
        ("Eqs. (13), (15) and (16)", {"Eq. 13", "Eq. 15", "Eq. 16"}),
        ("Tables IV, V and VII to IX", {f"Table {n}" for n in ("IV", "V", "VII", "VIII", "IX")}),
        ("Fig. 6 and 7 of Algorithm 2", {"Fig. 6", "Fig. 7", "Algorithm 2"}),
        ("Eq. 21, Fig. 8, Table X, Algorithm 3, Equation 4, Tables", set()),
        ("Eq. 12.", {"Eq. 12"}),
    ],
)
def test_what_a_text_names(text, found):
    assert named(text) == found


def test_a_docstring_speaks_in_its_line_alone():
    other = "As Eq. 3 of the SE paper.\n\nArgs:\n    x: of Eq. 4.\n\nPaper: Eq. 1, 2;\nFig. 3.\n"
    assert said(other) == {"Eq. 1", "Eq. 2", "Fig. 3"}
    assert said("One thing.\n\nPaper: Eq. 5.\n\nRaises:\n    ValueError: Eq. 6.") == {"Eq. 5"}
    assert said("Keeps what is below L. Paper: Eq. 17, 18.") == {"Eq. 17", "Eq. 18"}
    assert said("No Paper: here, see Eq. 9.") == said(None) == set()


def test_places_are_found_by_file_class_and_method(tmp_path):
    package = tmp_path / "library"
    package.mkdir()
    lines = [
        'class A:\n    """Paper: Eq. 1."""\n',
        '    def f(self):\n        """Paper: Fig. 2."""\n',
    ]
    (package / "room.py").write_text("".join(lines))
    found = dict(documented(package))
    assert found == {"library.room.A": {"Eq. 1"}, "library.room.A.f": {"Fig. 2"}}


def test_pages_come_in_reading_order_and_lists_do_not_teach(tmp_path):
    (tmp_path / "_toc.yml").write_text("root: b\nchapters:\n- file: a\n- file: notation\n")
    for name in ("a", "b", "notation"):
        (tmp_path / f"{name}.md").write_text("Eq. 5")
    assert list(told(tmp_path)) == [("b", {"Eq. 5"}), ("a", {"Eq. 5"})]


def test_what_is_missing_is_told_and_stops_the_page(monkeypatch):
    lacking = Row("Eq. 4", "the map B1", ("doam",), ("f",), ())
    assert missing([lacking]) == ["Eq. 4 (the map B1): no test names it"]
    monkeypatch.setattr(paper_index, "rows", lambda: [lacking])
    with pytest.raises(ValueError, match="no test names it"):
        paper_index.show()
