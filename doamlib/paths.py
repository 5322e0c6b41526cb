"""Where things lie: one function a place, all below one home folder."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The folder that holds ``runs``, ``datasets`` and ``build``.

    ``DOAM_HOME`` where it is set, else the repository that this package was installed from, else
    the current folder.
    """
    if configured := os.environ.get("DOAM_HOME"):
        return Path(configured).expanduser().resolve()
    repository = Path(__file__).resolve().parent.parent
    return repository if (repository / "pyproject.toml").is_file() else Path.cwd()


def runs() -> Path:
    """The local run store (ignored by git)."""
    return home() / "runs"


def datasets() -> Path:
    """Generated datasets and image caches (ignored by git)."""
    return home() / "datasets"


def reference_results() -> Path:
    """The read-only layer of committed results."""
    return home() / "book" / "reference_results"
