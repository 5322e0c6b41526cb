"""Zip files, JSON and arrays from strangers: checked before they are unpacked, refused in one line.

A zip of a few kilobytes can hold gigabytes of zeros, files that lead out of their folder, or two
files of one name. So its directory is judged first, then every member is unpacked with a limit on
what really comes out, into memory and never onto the disk. An ``.npz`` is a zip of ``.npy`` files
and goes the same way.
"""

from __future__ import annotations

import io
import json
import math
import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, RuntimeError, NotImplementedError),
    *(OSError, EOFError, ValueError, TypeError, OverflowError, SyntaxError, MemoryError),
)
"""What zipfile, zlib, json and numpy raise on bytes that are not what they seem."""

RATIO, RATIO_FROM = 100, 2**20
"""A member of more than a MiB that shrank to less than a hundredth is taken for a bomb."""

DEPTH = 12
"""Lists and objects within each other in JSON; a result's own have 7."""

CHUNK = 2**16
"""More than zipfile reads beyond what it is asked for."""

LONGEST_NUMBER = 40
LONGEST_LINE = 400

NPY = re.compile(r"[a-z0-9_]+\.npy")

ArrayForm = Mapping[str, tuple[str, int]]
"""Array -> the kinds of dtype (numpy's letters) and the number of dimensions that it may have."""


class ArchiveError(Exception):
    """An archive was refused.

    Args:
        place: archive, member and value, from outside in.
        found: what is wrong.
        right: what would be right.

    The text is one line of printable ASCII, whatever the archive holds.
    """

    def __init__(self, place: str, found: str, right: str) -> None:
        super().__init__(printable(f"{place}: {found}; {right}"))


@dataclass(frozen=True)
class Limits:
    """The most that a zip may hold: members, bytes of a member, bytes of all members."""

    members: int
    member: int
    total: int


ARRAYS = Limits(members=100, member=8 * 2**20, total=16 * 2**20)
"""Of an ``.npz``."""


def printable(text: str, longest: int = LONGEST_LINE) -> str:
    """One line of ASCII: control characters, as a terminal would obey them, are written out."""
    line = " ".join(str(text).encode("ascii", "backslashreplace").decode().split())
    line = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in line)
    return line if len(line) <= longest else f"{line[: longest - 3]}..."


def read_file(path: Path, limit: int) -> bytes:
    """A regular file's bytes, at most ``limit``.

    Raises:
        ArchiveError: it is no file, is larger, or cannot be read.
    """
    try:
        if path.is_dir():
            raise ArchiveError(path.name, "is a folder", f"name its archives: {path}/*.zip")
        if not path.is_file():
            raise ArchiveError(path.name, "there is no such file", f"looked for {path}")
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise ArchiveError(path.name, f"cannot be read ({error.strerror})", str(path)) from None
    if len(data) > limit:
        right = f"an archive has at most {limit:,} bytes"
        raise ArchiveError(path.name, f"{path.stat().st_size:,} bytes", right)
    return data


def unpack(data: bytes, place: str, allowed: re.Pattern[str], limits: Limits) -> dict[str, bytes]:
    """A zip's members, name -> content, in its order.

    Args:
        data: the zip.
        place: names it in a message.
        allowed: a member's whole name.
        limits: on declared and on real sizes.

    Raises:
        ArchiveError: it is no zip or damaged, or a member is refused: its name, that it is twice
            there, a link, encrypted or oddly compressed, its declared or its real size.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_directory(archive.infolist(), place, allowed, limits)
            return {m.filename: _content(archive, m, place) for m in archive.infolist()}
    except UNREADABLE as error:
        right = "it must be a whole zip, as doam train --pack writes it"
        raise ArchiveError(place, f"cannot be unpacked ({error})", right) from None


def _check_directory(
    members: list[zipfile.ZipInfo], place: str, allowed: re.Pattern[str], limits: Limits
) -> None:
    if not members:
        raise ArchiveError(place, "is empty", "pack again")
    if len(members) > limits.members:
        right = f"at most {limits.members} are allowed"
        raise ArchiveError(place, f"{len(members)} members", right)
    for member in members:
        _check_member(member, f"{place}: {member.orig_filename!r}", allowed, limits)
    name, times = Counter(member.filename for member in members).most_common(1)[0]
    if times > 1:
        raise ArchiveError(f"{place}: {name!r}", f"is there {times} times", "each name once")
    if (total := sum(member.file_size for member in members)) > limits.total:
        right = f"all members together have at most {limits.total:,} bytes"
        raise ArchiveError(place, f"{total:,} bytes unpacked", right)


def _check_member(
    member: zipfile.ZipInfo, place: str, allowed: re.Pattern[str], limits: Limits
) -> None:
    name, size = member.orig_filename, member.file_size
    parts = re.split(r"[/\\]", name)
    if ".." in parts or parts[0] == "" or ":" in parts[0]:
        raise ArchiveError(place, "leads out of the archive", "names are relative, without '..'")
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
        raise ArchiveError(place, "is a link or no regular file", "only files are allowed")
    if not allowed.fullmatch(name):
        raise ArchiveError(place, "does not belong here", f"a name fits {allowed.pattern}")
    if member.flag_bits & 0x41:
        raise ArchiveError(place, "is encrypted", "nothing in an archive is secret")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArchiveError(place, f"compression {member.compress_type}", "use stored or deflated")
    if size > limits.member:
        right = f"a member has at most {limits.member:,}"
        raise ArchiveError(place, f"{size:,} bytes unpacked", right)
    if size > RATIO_FROM and size > RATIO * member.compress_size:
        right = f"results shrink to no less than a {RATIO}th"
        raise ArchiveError(place, f"{size:,} bytes from {member.compress_size:,}", right)


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo, place: str) -> bytes:
    """What is really there; zipfile would cut it off, unseen, at the size declared."""
    declared = member.file_size
    member.file_size = declared + CHUNK
    with archive.open(member) as stream:
        content = stream.read(declared + 1)
    if len(content) != declared:
        found = "more" if len(content) > declared else f"only {len(content):,}"
        where = f"{place}: {member.filename}"
        raise ArchiveError(where, f"unpacks to {found} bytes", f"{declared:,} are declared")
    return content


def parse_json(data: bytes, place: str) -> Any:
    """JSON as its standard has it: UTF-8, finite numbers, each key once, no deep nesting.

    Raises:
        ArchiveError: it is anything else.
    """

    def number(text: str, kind: type = float) -> float | int:
        if len(text) > LONGEST_NUMBER or not math.isfinite(float(text)):
            said = text if len(text) <= 40 else f"{text[:40]}... of {len(text)} characters"
            raise ArchiveError(place, f"the number {said}", "numbers are finite")
        return kind(text)

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(pairs)) < len(pairs):
            twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
            raise ArchiveError(f"{place}: {twice}", "stands there twice", "write each key once")
        return found

    hooks = {"parse_constant": number, "parse_float": number, "object_pairs_hook": once}
    try:
        value = json.loads(data.decode(), parse_int=lambda text: number(text, int), **hooks)
    except RecursionError:
        value = None
    except ValueError as error:
        raise ArchiveError(place, f"is not JSON ({error})", "write UTF-8 JSON") from None
    if value is None or _deeper_than(DEPTH, value):
        raise ArchiveError(place, f"is empty or nested over {DEPTH} deep", "write plain results")
    return value


def _deeper_than(depth: int, value: Any) -> bool:
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_deeper_than(depth - 1, one) for one in inner)


def parse_arrays(
    data: bytes, place: str, form: ArrayForm, more: ArrayForm | None = None
) -> dict[str, NDArray]:
    """The arrays of an ``.npz``, without pickle and of the size that their bytes have.

    Args:
        data: the ``.npz``.
        place: names it in a message.
        form: the arrays that must be there.
        more: arrays that may be there.

    Raises:
        ArchiveError: the zip is refused; an array is missing, unknown, pickled or of another form.
    """
    files = unpack(data, place, NPY, ARRAYS)
    arrays = {name.removesuffix(".npy"): content for name, content in files.items()}
    known = {**form, **(more or {})}
    for name in sorted(arrays.keys() - known.keys()):
        right = f"arrays are {', '.join(known)}"
        raise ArchiveError(f"{place}: {name}", "does not belong here", right)
    for name in sorted(form.keys() - arrays.keys()):
        raise ArchiveError(f"{place}: {name}", "is missing", f"arrays are {', '.join(form)}")
    return {
        name: _array(content, f"{place}: {name}", *known[name]) for name, content in arrays.items()
    }


def _array(content: bytes, place: str, kinds: str, ndim: int) -> NDArray:
    stream = io.BytesIO(content)
    try:
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
        shape, fortran, dtype = read[npy.read_magic(stream)](stream)
    except (*UNREADABLE, KeyError) as error:
        raise ArchiveError(place, f"has no header ({error})", "write it with numpy") from None
    if dtype.hasobject:
        raise ArchiveError(place, "holds pickled objects", "store plain numbers")
    if dtype.kind not in kinds or len(shape) != ndim or not dtype.itemsize:
        right = f"dtype of kind {' or '.join(kinds)} in {ndim} dimensions"
        raise ArchiveError(place, f"dtype {dtype}, shape {shape}", right)
    size, offset = math.prod(shape) * dtype.itemsize, stream.tell()
    fits = all(0 <= length <= len(content) for length in shape)
    if not fits or size != len(content) - offset:
        right = f"its data have {len(content) - offset:,}"
        raise ArchiveError(place, f"shape {shape} of {dtype} takes {size:,} bytes", right)
    order = "F" if fortran else "C"
    return np.ndarray(shape, dtype, buffer=content, offset=offset, order=order)
