"""Every committed number is sealed: ``book/SHA256SUMS`` lists the files that hold them.

The archives of the reference layer, the measurements and the warm starts' recipes are what the
book's numbers come from. A build refuses files that are not the listed ones, so that nobody changes
a number by accident; ``sha256sum -c`` reads the list too. After adding results on purpose:
``python scripts/seal.py``.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from doamlib.core import paths
from doamlib.core.files import write_text

NAME = "SHA256SUMS"
SEALED = ("reference_results/**/*", "measurements/*.json")


def sums(book: Path | None = None) -> dict[str, str]:
    """Path below the book's folder -> SHA-256 of each file that holds numbers, as it is now."""
    book = book or paths.book()
    files = sorted(path for pattern in SEALED for path in book.glob(pattern) if path.is_file())
    return {
        path.relative_to(book).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def write(book: Path | None = None) -> Path:
    """Seal the files as they are; returns the list's path."""
    book = book or paths.book()
    lines = [f"{digest}  {name}\n" for name, digest in sums(book).items()]
    write_text(book / NAME, "".join(lines))
    return book / NAME


def broken(book: Path | None = None) -> list[str]:
    """One line for each file that is not what the list says; empty where all are.

    Args:
        book: the folder of the book; a folder without a list has nothing sealed.
    """
    book = book or paths.book()
    if not (book / NAME).is_file():
        return []
    rows = (book / NAME).read_text(encoding="utf-8").splitlines()
    listed = {name: digest for digest, name in (row.split("  ", 1) for row in rows)}
    found = sums(book)
    faults = []
    for name in sorted(listed.keys() | found.keys()):
        if name not in found:
            faults.append(f"{name} is listed in {NAME} and gone")
        elif name not in listed:
            faults.append(f"{name} is not listed in {NAME}; if it is yours: python scripts/seal.py")
        elif listed[name] != found[name]:
            faults.append(f"{name} was changed after it was sealed; restore it from the repository")
    return faults
