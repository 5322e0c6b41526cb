"""Who is told how far the work is, and in which words."""

from collections.abc import Callable

Report = Callable[[str], None]
"""Gets one line of progress at a time: ``print``, a cell's output, a queue."""


def clock(seconds: float) -> str:
    """A duration as people read it: ``48 s``, ``12 min``, ``3.4 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
