"""The doctor's report: typed, as JSON for programs, as text for people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import get_args

from doamlib.core.config import Config
from doamlib.data.faults import Fault, Severity

TABLE_NAMES = {2: "II", 3: "III"}
"""How the paper prints the numbers of the tables that data are compared with."""

SHOWN = 20
"""At most so many lines of each kind of fault are printed, then how many more there are."""


class SplitReport(Config):
    """What one split holds.

    Attributes:
        counts: one entry a class (boxes), ``boxes``, ``images``, ``backgrounds``.
        levels: the same for each occlusion level (``OL1`` ...).
        clipped: rows that reached out of their image.
        dropped: rows that had no area inside it.
        sources: SHA-256 of the split lists, or of the JSON file.
        fingerprint: names images, annotations and classes; None if they could not be read.
    """

    counts: dict[str, int]
    levels: dict[str, dict[str, int]]
    clipped: int
    dropped: int
    sources: dict[str, str]
    fingerprint: str | None


class Comparison(Config):
    """One number of Table II or III beside ours.

    Attributes:
        table: 2 or 3.
        row: ``train``, ``test`` or ``OL1`` to ``OL3``.
        column: class abbreviation (boxes) or ``images``.
        paper: what is printed.
        found: what was counted.
        explanation: of the difference; empty if there is none, None if none is known.
    """

    table: int
    row: str
    column: str
    paper: int
    found: int
    explanation: str | None

    def __str__(self) -> str:
        place = f"Table {TABLE_NAMES[self.table]}, {self.row}, {self.column}"
        why = f" ({self.explanation})" if self.explanation else ""
        return f"{place}: paper {self.paper:,}, found {self.found:,}{why}"


class Report(Config):
    """What :func:`check` found. ``as_json()`` is the machine-readable form.

    Attributes:
        root: the folder as it was given.
        format: ``opixray`` or ``coco``; ``unknown`` where no file of either was found, and ``auto``
            where there is no folder.
        generated: whether a manifest says that the data come from our generator.
        ok: whether training can go on: there is no error.
        splits: by name.
        comparisons: with the paper's tables; empty for data with other classes.
        line: images, boxes and what was dropped, clipped or suspicious, as training prints it.
        known: what does not add up in the paper's own numbers; read it beside the comparisons.
        faults: all of them, in the order of the files. ``str(report)`` cuts long lists of one kind
            and says so; this has them whole.
    """

    root: str
    format: str
    generated: bool
    ok: bool
    splits: dict[str, SplitReport]
    comparisons: tuple[Comparison, ...]
    known: tuple[str, ...]
    line: str
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        kind = "generated data" if self.generated else "data"
        lines = [f"{self.root}: {kind} in {self.format} format"]
        for name, split in self.splits.items():
            counts = ", ".join(f"{key} {value:,}" for key, value in split.counts.items())
            rows = f"{split.clipped:,} rows clipped, {split.dropped:,} dropped"
            lines += [f"{name}: {counts}; {rows}; fingerprint {split.fingerprint}"]
            lines += [f"  sha256 {digest} {file}" for file, digest in split.sources.items()]
        if self.comparisons:
            equal = sum(number.explanation == "" for number in self.comparisons)
            total = len(self.comparisons)
            lines += [f"{equal} of {total} numbers in Tables II and III are the paper's"]
            lines += [str(number) for number in self.comparisons if number.explanation]
        lines += [f"known: {fact}" for fact in self.known]
        lines += self._fault_lines()
        lines += [self.line] if self.splits else []
        errors = sum(fault.severity == "error" for fault in self.faults)
        verdict = "training can go on" if self.ok else "training cannot go on"
        return "\n".join([*lines, f"errors: {errors:,}; {verdict}"])

    def _fault_lines(self) -> Iterator[str]:
        """Errors first, then warnings, then notes; of each code at most :data:`SHOWN`."""
        worst_first, kinds = get_args(Severity), defaultdict(list)
        for fault in sorted(self.faults, key=lambda fault: worst_first.index(fault.severity)):
            kinds[fault.severity, fault.code].append(fault)
        for (_, code), faults in kinds.items():
            yield from map(str, faults[:SHOWN])
            if len(faults) > SHOWN:
                yield f"... and {len(faults) - SHOWN:,} more [{code}]"
