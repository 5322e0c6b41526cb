"""Who is told how far the work is, and in which words."""

from collections.abc import Callable


class Refusal(Exception):
    """What was asked for cannot be done; the message is one line that says what to do about it.

    Base of every error that a user can cause: a notebook and the command line show the line alone.
    """

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows in place of a traceback (a hook of IPython's)."""
        return [f"{type(self).__name__}: {self}"]


Report = Callable[[str], None]
"""Gets one line of progress at a time: ``print``, a cell's output, a queue."""

LONGEST = 600
"""Characters of a part of a message."""


def one_line(text: str, longest: int = LONGEST) -> str:
    """A stranger's text as a message shows it: one line, no control or direction marks, not long.

    Newlines, escape sequences of terminals and marks that turn the direction of reading become
    their escapes; accents and other scripts stay.
    """
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: longest + 1])
    return plain if len(plain) <= longest else f"{plain[:longest]}..."


def message_of(error: BaseException) -> str:
    """What an error says, on one line; its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def clock(seconds: float) -> str:
    """A duration as people read it: ``48 s``, ``12 min``, ``3.4 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def counted(number: int, what: str) -> str:
    """A number of things: ``1 image``, ``1,200 boxes``."""
    plural = f"{what}es" if what.endswith("x") else f"{what}s"
    return f"{number:,} {what if number == 1 else plural}"
