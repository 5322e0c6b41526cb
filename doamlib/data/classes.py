"""The five kinds of cutter, in the order of the paper's tables; and what files call them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from doamlib.data.faults import error

CLASSES = ("Folding_Knife", "Straight_Knife", "Scissor", "Utility_Knife", "Multi-tool_Knife")
"""As OPIXray's annotation files spell them; class ``i`` has label ``i + 1`` (0: background)."""

SHORT_NAMES = ("FO", "ST", "SC", "UT", "MU")
"""The paper's abbreviations (Table II), in the same order."""


@dataclass(frozen=True)
class Spelling:
    """From a class name in a file to a label.

    Attributes:
        classes: the dataset's class names; the first has label 1.
        names: a file's spelling -> the name in ``classes``; ``""`` leaves a class out. Spellings
            that are not mapped stand for themselves.
    """

    classes: tuple[str, ...]
    names: Mapping[str, str]

    def label(self, name: str, file: str, line: int | None = None, place: str = "") -> int:
        """The label from 1, or 0 for a class to leave out.

        Args:
            name: as the file spells it.
            file: for the message, as ``line`` and ``place`` are.
            line: in the file.
            place: put before the message.

        Raises:
            DataError: the class is not known, and not left out either.
        """
        ours = self.names.get(name, name)
        if ours == "":
            return 0
        if ours in self.classes:
            return self.classes.index(ours) + 1
        message = f"{place}class {ours!r} is not one of {', '.join(self.classes)}"
        fix = f"correct it, or map it: names={{{name!r}: ''}} leaves it out"
        raise error("unknown-class", message, file, line, fix)
