"""What people are told about time and errors."""

from doamlib.core.report import clock, message_of


def test_clock():
    assert [clock(s) for s in (1.4, 89, 90, 5399, 5400)] == [
        "1 s",
        "89 s",
        "2 min",
        "90 min",
        "1.5 h",
    ]


def test_an_error_says_something_on_one_line():
    assert message_of(ValueError("a\n  b ")) == "a b"
    assert message_of(EOFError()) == "EOFError"
