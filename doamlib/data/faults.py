"""What can be wrong with a dataset, said in one line: where, what, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from doamlib.core.config import Config
from doamlib.core.report import Refusal, one_line

Severity = Literal["error", "warning", "note"]
"""An error stops training; a warning was dealt with (a box clipped); a note is worth knowing."""


class Fault(Config):
    """One finding about one place of a dataset.

    Attributes:
        severity: ``error``, ``warning`` or ``note``.
        code: short stable name of the kind of fault, for example ``missing-image``.
        message: what is wrong, with the offending value.
        file: path relative to the dataset's root (``.``: the root itself).
        line: line number from 1, or None where lines mean nothing.
        fix: what to do about it.
    """

    severity: Severity
    code: str
    message: str
    file: str
    line: int | None = None
    fix: str = ""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        fix = f"; {self.fix}" if self.fix else ""
        said = f"{self.severity}: {one_line(self.message)}{one_line(fix)} [{self.code}]"
        return f"{one_line(place)}: {said}"


class DataError(Refusal, ValueError):
    """A fault that training cannot go on with; its text is the fault's one line."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)  # the fault as the only argument, so that the error can be pickled

    @property
    def fault(self) -> Fault:
        """The fault that was met."""
        return self.args[0]


def error(code: str, message: str, file: str, line: int | None = None, fix: str = "") -> DataError:
    """A :class:`DataError` from the parts of its fault."""
    fault = Fault(severity="error", code=code, message=message, file=file, line=line, fix=fix)
    return DataError(fault)


class FaultLog:
    """Collects faults, so that reading goes on behind the first one."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def add(self, severity: Severity, code: str, message: str, file: str, **more) -> None:
        """Note a fault; ``more`` may hold ``line`` and ``fix``."""
        self.faults.append(Fault(severity=severity, code=code, message=message, file=file, **more))

    @contextmanager
    def catching(self) -> Iterator[None]:
        """Turn a :class:`DataError` raised inside the block into an entry."""
        try:
            yield
        except DataError as raised:
            self.faults.append(raised.fault)

    def raise_first_error(self) -> None:
        """Raise the first entry that is an error, if there is one.

        Raises:
            DataError: see above.
        """
        for fault in self.faults:
            if fault.severity == "error":
                raise DataError(fault)
