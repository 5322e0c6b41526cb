"""Minus signs of rendered pages."""

import pytest

from doamlib.book.typography import set_minus, with_minus


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<td>-2.67</td>", "<td>−2.67</td>"),
        ("here [-3.1, -.5] or (-1)", "here [−3.1, −.5] or (−1)"),
        ("<span>here </span>-2", "<span>here </span>−2"),
        ("2021-03, F-1, 1e-6, 3-4, pages 3\N{EN DASH}-", None),
        ("<a href='x -1.html'>a - b</a> -f --seed -x1", None),
        ("<pre>print(-1)\n-2</pre> <code class='x'>-3</code>", None),
        ("<svg><text>-1</text></svg>\\(x = -1\\)<script>a = -1;</script>", None),
        ("<pre>-1</pre>-2<pre>-3</pre>", "<pre>-1</pre>−2<pre>-3</pre>"),
        ("<p>-1 < 2</p>", "<p>−1 < 2</p>"),
    ],
)
def test_numbers_of_the_text_have_a_minus_and_nothing_else_does(html, expected):
    assert with_minus(html) == (expected or html)
    assert with_minus(with_minus(html)) == with_minus(html)


def test_every_page_of_a_site_is_set_and_no_other_file(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("a.html", "deep/b.html", "c.txt"):
        (tmp_path / name).write_text("<p>-1</p>", encoding="utf-8")
    set_minus(tmp_path)
    found = [(tmp_path / n).read_text("utf-8") for n in ("a.html", "deep/b.html", "c.txt")]
    assert found == ["<p>−1</p>", "<p>−1</p>", "<p>-1</p>"]
