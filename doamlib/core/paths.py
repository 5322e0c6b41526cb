"""Where things lie: one function a place."""

from __future__ import annotations

import os
from pathlib import Path

from doamlib.core.report import Refusal


def repository() -> Path:
    """The checkout that this package was installed from: sources of the book, committed results."""
    return Path(__file__).resolve().parent.parent.parent


def home() -> Path:
    """The folder that holds what is made: ``runs``, ``datasets`` and ``build``.

    ``DOAM_HOME`` where it is set, else the repository.
    """
    configured = os.environ.get("DOAM_HOME")
    return at_home(configured).resolve() if configured else repository()


def at_home(path: Path | str) -> Path:
    """The path with ``~`` resolved; of a user whom nobody knows it stays as it is."""
    return Path(os.path.expanduser(path))


class PlaceError(Refusal, OSError):
    """A folder that is to be written to cannot be; the message says what to set."""


def writable(folder: Path, fix: str = "set DOAM_HOME to a folder of your own") -> Path:
    """The folder, made where it is missing; ``fix`` says what helps where that cannot be.

    Raises:
        PlaceError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        refused = "" if os.access(folder, os.W_OK | os.X_OK) else "permission denied"
    except OSError as failed:
        refused = (failed.strerror or str(failed)).lower()
    if refused:
        raise PlaceError(f"{folder} cannot be written to ({refused}); {fix}")
    return folder


def runs() -> Path:
    """The local run store (ignored by git)."""
    return home() / "runs"


def datasets() -> Path:
    """Generated datasets and image caches (ignored by git)."""
    return home() / "datasets"


def build() -> Path:
    """Executed notebooks and the rendered book (ignored by git)."""
    return home() / "build"


def book() -> Path:
    """The sources of the book."""
    return repository() / "book"


def measurements() -> Path:
    """Committed JSON that scripts and benchmarks wrote: what pages quote beside stored runs."""
    return book() / "measurements"


def reference_results() -> Path:
    """The read-only layer of committed results."""
    return book() / "reference_results"


def warm_starts() -> Path:
    """Committed starting weights of small detectors."""
    return reference_results() / "warm_starts"


def detectors() -> Path:
    """Committed weights of trained detectors, for ``doam detect``."""
    return reference_results() / "detectors"
