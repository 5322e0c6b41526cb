"""Who is told how far the work is."""

from collections.abc import Callable

Report = Callable[[str], None]
"""Gets one line of progress at a time: ``print``, a cell's output, a queue."""
