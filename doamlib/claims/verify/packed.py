"""A packed run under examination, and how its numbers are compared with what they should be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from doamlib.claims.verify.safe_zip import ArchiveError
from doamlib.evaluation.test_set import TestSet
from doamlib.experiments.archive import DIGITS
from doamlib.experiments.parameters import Parameters
from doamlib.experiments.results import Result

EXACT = 1e-9
"""What a number computed again may differ by: sums are taken in another order."""

ROUNDED = 10.0 ** (1 - DIGITS)
"""The same, relative, where numbers were rounded to ``DIGITS`` digits before."""


@dataclass(frozen=True)
class PackedRun:
    """One run of an archive.

    Attributes:
        place: archive and folder, for messages.
        arm: what ``runs.json`` says that it is.
        seed: likewise.
        parameters: of the archive.
        result: its files, of the right form (:mod:`doamlib.claims.verify.forms`).
        test: the archive's test set.
    """

    place: str
    arm: str
    seed: int
    parameters: Parameters
    result: Result
    test: TestSet

    def need(self, holds: bool, member: str, found: str, right: str) -> None:
        """Go on only if it holds.

        Raises:
            ArchiveError: it does not; names the member, what was found and what is right.
        """
        if not holds:
            raise ArchiveError(f"{self.place}/{member}", found, right)

    def same(self, stored: Any, right: Any, member: str, slack: float, relative: float = 0) -> None:
        """Go on only if two JSON values are equal, numbers up to ``slack`` (absolute) or
        ``relative`` to the right one.

        Raises:
            ArchiveError: names the first number that differs, and the right one.
        """
        for path, one, other in differences(stored, right):
            near = are_numbers(one, other) and abs(one - other) <= slack + relative * abs(other)
            self.need(near, member, f"{path} = {one}", f"the archive's own files give {other}")


def are_numbers(*values: Any) -> bool:
    """Whether all are numbers; True and False are not."""
    return all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)


def differences(stored: Any, right: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Path, stored and right value of every number that differs and every place of other shape."""
    if isinstance(stored, dict) and isinstance(right, dict) and stored.keys() == right.keys():
        for key in right:
            yield from differences(stored[key], right[key], f"{path}.{key}" if path else key)
    elif isinstance(stored, list) and isinstance(right, list) and len(stored) == len(right):
        for number, pair in enumerate(zip(stored, right, strict=True)):
            yield from differences(*pair, f"{path}[{number}]")
    elif isinstance(stored, (dict, list)) or isinstance(right, (dict, list)):
        yield path, _outline(stored), _outline(right)
    elif stored != right or type(stored) is not type(right):
        yield path, stored, right


def _outline(value: Any) -> Any:
    if isinstance(value, dict):
        return f"keys {', '.join(value) or '(none)'}"
    return f"a list of {len(value)}" if isinstance(value, list) else value
