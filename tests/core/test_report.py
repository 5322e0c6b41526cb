"""What people are told about time."""

from doamlib.core.report import clock


def test_clock():
    assert [clock(s) for s in (1.4, 89, 90, 5399, 5400)] == [
        "1 s",
        "89 s",
        "2 min",
        "90 min",
        "1.5 h",
    ]
