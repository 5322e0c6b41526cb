"""Files written in one step: a reader sees the old content or the new one, never a part."""

from __future__ import annotations

import io
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np


def npz_bytes(**arrays: np.ndarray) -> bytes:
    """Arrays as a compressed ``.npz``; the same arrays give the same bytes."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def write_bytes(path: os.PathLike[str] | str, data: bytes) -> None:
    """Write a file in one step: a reader sees the old content or the new, never a part.

    A symbolic link stays one: the file that it leads to is replaced.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    # No two writers share it, also not threads or containers with one number of process; a name
    # may have 255 bytes. tempfile would keep other users from reading what is written.
    temporary = path.with_name(f".{path.name[:50]}.{secrets.token_hex(8)}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def filled_or_empty(folder: Path) -> Iterator[None]:
    """Take out of a folder what was put into it if something ends that early, Ctrl-C too.

    Args:
        folder: empty, or not there yet; then it is away again as well.
    """
    there = folder.exists()
    try:
        yield
    except BaseException:
        for inside in list(folder.iterdir()) if there else [folder]:
            shutil.rmtree(inside, ignore_errors=True)
            if inside.is_file():
                inside.unlink()
        raise


def write_text(path: Path | str, text: str) -> None:
    """Write a UTF-8 file in one step, as :func:`write_bytes`; a name that is no UTF-8 escaped."""
    write_bytes(path, text.encode(errors="backslashreplace"))
