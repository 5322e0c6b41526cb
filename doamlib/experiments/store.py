"""The run store: finds results, guards what is being made, and puts what is finished in its place.

Two layers hold results of the same form. ``runs/<key>/`` is local and ignored by git. The reference
layer is read-only: archives (zip) of committed results, so that the book can show large runs
without a GPU. Nothing is trained here; see :mod:`doamlib.experiments.train_run`.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from doamlib.core import paths
from doamlib.core.files import write_bytes
from doamlib.experiments.results import Result, RunConfig, warm_name


class RunStore:
    """Results by what they are results of.

    Args:
        root: the local layer; ``runs`` by default.
        reference: the folder of archives; the committed one by default.
    """

    def __init__(self, root: Path | str | None = None, reference: Path | str | None = None) -> None:
        self.root = Path(root or paths.runs())
        self.reference = Path(reference or paths.reference_results())

    def find(self, config: RunConfig, fingerprint: str) -> Result | None:
        """The local result of this configuration on these data, if it is finished."""
        result = Result(self.root / config.key(fingerprint), "local")
        try:
            # The key leaves defaults out, and a default may have changed since.
            return result if result.config == config else None
        except (OSError, KeyError, ValueError):
            return None

    @contextmanager
    def making(self, key: str, wait: float = -1) -> Iterator[Path]:
        """Inside, this process alone makes the run ``key``; gives the folder of what is unfinished.

        The folder is kept if the making stops, and the next attempt goes on in it.

        Args:
            key: of the run.
            wait: seconds for another process that makes it; below 0: until it is done.

        Raises:
            filelock.Timeout: the other process still makes it.
        """
        paths.writable(self.root / "locks")
        with FileLock(self.root / "locks" / key, timeout=wait):
            yield self.root / "partial" / key

    def put(self, key: str, made: Path, test_set: bytes) -> None:
        """Move a finished result into its place, in one step; what led to it is removed.

        So is a result of the same key that :meth:`find` does not take: one of another default.

        Args:
            key: of the run.
            made: the folder with the result's files, inside that of :meth:`making`.
            test_set: the test images' annotations, kept once for all runs on the same data.
        """
        fingerprint = Result(made, "local").identity["fingerprint"]
        write_bytes(self.root / "test_sets" / f"{fingerprint}.npz", test_set)
        place, partial = self.root / key, self.root / "partial" / key
        if place.exists():  # no system replaces a folder that is not empty
            shutil.rmtree(partial / "old", ignore_errors=True)
            os.replace(place, partial / "old")
        os.replace(made, place)
        shutil.rmtree(partial)

    def starting_weights(self, config: RunConfig) -> Path | None:
        """Where a warm run's weights lie, committed or local; none if it is not trained yet."""
        shipped = paths.warm_starts() / f"{warm_name(config)}.safetensors"
        if shipped.is_file():
            return shipped
        found = self.find(config, config.data.simulation.fingerprint)
        return found.weights() if found else None

    def digests(self) -> dict[str, str]:
        """Name -> digest of every result in both layers."""
        reference = [
            Result(place, "reference")
            for archive in sorted(self.reference.glob("*.zip"))
            for place in zipfile.Path(archive).iterdir()
            if (place / "identity.json").exists()
        ]
        local = [Result(path.parent, "local") for path in self.root.glob("*/identity.json")]
        return {result.name: result.digest() for result in [*reference, *local]}
