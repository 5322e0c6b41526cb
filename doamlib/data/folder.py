"""A dataset's folder: paths stay inside, bytes are text, and what is not so is said in a line."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from doamlib.core.paths import at_home
from doamlib.data.faults import DataError, error

MAX_BYTES = 500_000_000
"""A larger file is refused unread: JSON needs many times its size (COCO's own has 449 million)."""

MAX_ENTRIES = 1_000_000
"""The same of a text's lines and a JSON's list: each may be at fault (COCO has 860,001 boxes)."""

LONGEST_PATH = 1000


class Folder:
    """A dataset's root. Every file is reached through it, by a path relative to it.

    Raises:
        DataError: ``root`` is not a folder.
    """

    def __init__(self, root: Path | str) -> None:
        place = at_home(root)
        if not os.path.isdir(place):
            raise error("no-root", f"{root} is not a folder", ".", fix="give the dataset's folder")
        self.path = place.resolve()

    def inside(self, name: str, file: str | None = None) -> Path:
        """The real path of something that exists below the root, symbolic links followed.

        Args:
            name: path relative to the root.
            file: where the name was met, for the message; by default the name itself.

        Raises:
            DataError: it is absent (``missing``) or lies outside the root (``outside-root``).
        """
        file = file or name
        message = f"{name!r} leads outside the dataset"
        fix = "keep every file of a dataset below its root"
        outside = error("outside-root", message, file, fix=fix)
        if _leads_out(name):
            raise outside
        try:
            real = (self.path / name).resolve(strict=True)
        except (OSError, RuntimeError, ValueError):  # absent; a circle of links; a NUL in the name
            raise error("missing", f"{name!r} does not exist", file) from None
        if not real.is_relative_to(self.path):
            raise outside
        return real

    def file(self, name: str, file: str | None = None) -> Path:
        """The real path of a regular file below the root; arguments as in :meth:`inside`.

        Raises:
            DataError: it is absent, lies outside the root, is a folder or a device, or has more
                than :data:`MAX_BYTES`.
        """
        real = self.inside(name, file)
        if not real.is_file():
            raise error("not-a-file", f"{name!r} is not a file", file or name)
        if (size := real.stat().st_size) > MAX_BYTES:
            message = f"{name!r} has {size:,} bytes, and {MAX_BYTES:,} are read at most"
            raise error("huge-file", message, file or name, fix="divide it")
        return real

    def exists(self, name: str) -> bool:
        """Whether there is anything under this name below the root (a broken link counts)."""
        return not _leads_out(name) and os.path.lexists(self.path / name)

    def names(self, name: str) -> list[str]:
        """The names in a subfolder, sorted.

        Raises:
            DataError: it is absent, lies outside the root, is no folder or cannot be read.
        """
        real = self.inside(name)
        if not real.is_dir():
            raise error("not-a-folder", f"{name!r} is not a folder", name)
        with _reading(name):
            return sorted(os.listdir(real))

    def text(self, name: str) -> str:
        """The text of a UTF-8 file, without a byte-order mark.

        Raises:
            DataError: it cannot be reached or read, or is not UTF-8 (then with the line).
        """
        real = self.file(name)
        with _reading(name):
            data = real.read_bytes()
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as bad:
            line = data[: bad.start].count(b"\n") + 1
            value = f"byte 0x{data[bad.start]:02x} is not UTF-8 text"
            raise error("encoding", value, name, line, "save the file as UTF-8") from None

    def lines(self, name: str) -> Iterator[tuple[int, str]]:
        r"""Number (from 1) and stripped text of every line that is not blank; ``\r\n`` is fine.

        Raises:
            DataError: as :meth:`text`; or there are more than :data:`MAX_ENTRIES`.
        """
        text = self.text(name)
        if (count := text.count("\n")) > MAX_ENTRIES:
            raise too_many(count, "lines", name)
        for number, line in enumerate(text.split("\n"), start=1):
            if stripped := line.strip():
                yield number, stripped

    def sha256(self, name: str) -> str:
        """The SHA-256 of a file's bytes, in hexadecimal.

        Raises:
            DataError: it cannot be reached or read.
        """
        with _reading(name), self.file(name).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


def too_many(count: int, what: str, name: str) -> DataError:
    """The refusal of a file with more than :data:`MAX_ENTRIES` of something."""
    message = f"has {count:,} {what}, and {MAX_ENTRIES:,} are read at most"
    return error("huge-file", message, name, fix="divide it")


def unfit_path(path: str) -> str:
    """Why annotations cannot call an image by this path; empty if they can."""
    if path.isprintable() and len(path) <= LONGEST_PATH and PurePosixPath(path).name:
        return ""
    return f"{path!r:.200} is not a file's printable path of at most {LONGEST_PATH:,} characters"


def _leads_out(name: str) -> bool:
    return os.path.isabs(name) or os.path.normpath(name).split(os.sep)[0] == ".."


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """What the file system refuses inside becomes a DataError."""
    try:
        yield
    except OSError as failed:
        raise error("unreadable", f"cannot be read ({failed.strerror})", name) from None
