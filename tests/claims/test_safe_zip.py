"""Zips, JSON and arrays from strangers: every trick is refused, in one line, before it costs."""

import io
import json
import re
import stat
import struct
import tracemalloc
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from doamlib.claims.verify import ArchiveError, safe_zip
from doamlib.claims.verify.safe_zip import parse_arrays, parse_json, read_file, unpack
from doamlib.core.files import npz_bytes

NAMES = re.compile(r"[a-z/]+\.json")
LIMITS = safe_zip.Limits(members=5, member=4 * 2**20, total=6 * 2**20)
NOISE = np.random.default_rng(0).bytes(3 * 2**20)
FORM = {"a": ("f", 1), "b": ("iu", 2)}


def zipped(files, method=zipfile.ZIP_DEFLATED):
    """A zip of (name or ZipInfo, content) pairs, nothing checked."""
    made = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(made, "w", method) as archive:
        warnings.simplefilter("ignore")  # about duplicate names
        for name, content in files:
            archive.writestr(name, content)
    return made.getvalue()


def patched(data, **fields):
    """The only member's sizes or flags rewritten, in its own header and in the directory."""
    places = {"flags": (6, 8, "<H"), "crc": (14, 16, "<L"), "size": (22, 24, "<L")}
    data, directory = bytearray(data), data.rindex(b"PK\x01\x02")
    for field, value in fields.items():
        local, central, form = places[field]
        struct.pack_into(form, data, local, value)
        struct.pack_into(form, data, directory + central, value)
    return bytes(data)


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


HOSTILE = {
    "not a zip": (b"hello", "cannot be unpacked"),
    "empty": (b"", "cannot be unpacked"),
    "truncated": (zipped([("a.json", NOISE)])[:-200], "cannot be unpacked"),
    "damaged": (
        zipped([("a.json", "{}")], zipfile.ZIP_STORED).replace(b"{}", b"{]"),
        "cannot be unpacked (Bad CRC-32",
    ),
    "cut inside": (
        patched(zipped([("a.json", b"x" * 99)], zipfile.ZIP_STORED), size=200),
        "unpacks to only 99 bytes; 200 are declared",
    ),
    "absolute": (zipped([("/a.json", "{}")]), "leads out of the archive"),
    "drive": (zipped([("c:/a.json", "{}")]), "leads out of the archive"),
    "parent": (zipped([("a/../../b.json", "{}")]), "leads out of the archive"),
    "backslash": (zipped([("..\\b.json", "{}")]), "leads out of the archive"),
    "link": (zipped([(link("a.json"), "/etc/passwd")]), "is a link or no regular file"),
    "twice": (zipped([("a.json", "{}"), ("a.json", "[]")]), "'a.json': is there 2 times"),
    "foreign": (zipped([("a.json", "{}"), ("a.sh", "rm")]), "'a.sh': does not belong here"),
    "folder": (zipped([("a/", "")]), "'a/': is a link or no regular file"),
    "encrypted": (
        patched(zipped([("a.json", "{}")]), flags=1),
        "is encrypted; nothing in",
    ),
    "bzip2": (zipped([("a.json", "{}")], zipfile.ZIP_BZIP2), "compression 12"),
    "too many": (zipped([(f"{'a' * n}.json", "{}") for n in range(1, 7)]), "6 members; at most 5"),
    "large member": (zipped([("a.json", NOISE * 2)]), "6,291,456 bytes unpacked; a member has"),
    "large together": (
        zipped([("a.json", NOISE), ("b.json", NOISE), ("c.json", "{}")]),
        "6,291,458 bytes unpacked; all members together",
    ),
    "ratio": (zipped([("a.json", b"0" * 2**21)]), "2,097,152 bytes from"),
    "lies about its size": (
        patched(zipped([("a.json", b"0" * 99)]), size=10),
        "a.json: unpacks to more bytes; 10 are declared",
    ),
}


@pytest.mark.parametrize("trick", HOSTILE)
def test_a_hostile_zip_is_refused_in_one_line(trick):
    data, words = HOSTILE[trick]
    with pytest.raises(ArchiveError) as refused:
        unpack(data, "theirs.zip", NAMES, LIMITS)
    line = str(refused.value)
    assert line.startswith("theirs.zip") and words in line and line.isprintable(), line


def test_what_is_fine_comes_out_as_it_went_in():
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        files = {"a.json": NOISE, "b/c.json": b"", "d.json": b"0" * 2**19}
        assert unpack(zipped(files.items(), method), "own.zip", NAMES, LIMITS) == files


@pytest.mark.parametrize("crc", [0, zlib.crc32(b"0" * 10)])
def test_a_bomb_that_declares_ten_bytes_costs_no_memory(crc):
    """Also with the checksum of the ten bytes that it declares."""
    bomb = patched(zipped([("a.json", b"0" * 2**26)]), size=10, crc=crc)
    tracemalloc.start()
    with pytest.raises(ArchiveError, match="unpacks to more bytes; 10 are declared"):
        unpack(bomb, "bomb.zip", NAMES, LIMITS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_a_name_reaches_no_terminal_as_it_is():
    data = zipped([("\x1b]0;owned\x07\n\u202e.json", "{}")])
    with pytest.raises(ArchiveError) as refused:
        unpack(data, "theirs.zip", NAMES, LIMITS)
    assert str(refused.value).isascii() and str(refused.value).isprintable()


@given(st.text(max_size=600))
def test_what_is_printed_is_one_short_line_of_ascii(text):
    line = safe_zip.printable(text)
    assert line.isascii() and len(line) <= 400 and (not line or line.isprintable())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"AP": NaN}', "the number NaN; numbers are finite"),
        ('{"AP": -Infinity}', "the number -Infinity"),
        ('{"AP": 1e999}', "the number 1e999"),
        (f'{{"AP": {"9" * 5000}}}', "the number 9999"),
        ("[" * 20 + "]" * 20, "nested over 12 deep"),
        ("[" * 100_000, "nested over 12 deep"),
        ('{"a":' * 50_000, "nested over 12 deep"),
        ('{"AP": 1, "AP": 2}', "AP: stands there twice"),
        ("{", "is not JSON"),
        ("", "is not JSON"),
        ("null", "is empty"),
        (b"\xff\xfe{}", "is not JSON"),
    ],
)
def test_json_that_only_python_would_take_is_refused(text, words):
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(ArchiveError) as refused:
        parse_json(data, "theirs.zip: metrics.json")
    line = str(refused.value)
    assert line.startswith("theirs.zip: metrics.json") and words in line and len(line) <= 400


finite = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**30), 10**30)


@given(st.dictionaries(st.text(), st.lists(finite | st.booleans() | st.text() | st.none())))
def test_plain_json_is_read_as_it_is(value):
    assert parse_json(json.dumps(value).encode(), "own") == value


def npy(array=None, shape=None, descr=None):
    """An array file whose header may lie."""
    made = io.BytesIO()
    if array is not None:
        np.lib.format.write_array(made, array)
    else:
        header = {"descr": descr, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(made, header)
    return made.getvalue()


GOOD = npy(np.zeros(3))
PAIR = npy(np.zeros((2, 2), np.int32))


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a.npy": GOOD}, "b: is missing"),
        ({"a.npy": GOOD, "b.npy": PAIR, "c.npy": GOOD}, "c: does not belong here"),
        ({"a.npy": GOOD, "b": PAIR}, "'b': does not belong here"),
        ({"a.npy": npy(np.array([{}])), "b.npy": PAIR}, "a: holds pickled objects"),
        ({"a.npy": npy(np.array(["x"])), "b.npy": PAIR}, "a: dtype <U1"),
        ({"a.npy": npy(np.zeros(3, [("x", "f4")])), "b.npy": PAIR}, "a: dtype [('x', '<f4')]"),
        ({"a.npy": GOOD, "b.npy": npy(np.zeros(4, int))}, "b: dtype int64, shape (4,)"),
        ({"a.npy": npy(shape=(10**12,), descr="<f8"), "b.npy": PAIR}, "takes 8,000,000,000,000"),
        ({"a.npy": npy(shape=(0, 10**12), descr="<f8"), "b.npy": PAIR}, "a: dtype float64, shape"),
        ({"a.npy": GOOD, "b.npy": npy(shape=(10**12, 0), descr="<i8")}, "b: shape"),
        ({"a.npy": GOOD, "b.npy": npy(shape=(-1, -4), descr="<i8")}, "b: "),
        ({"a.npy": GOOD[:-1], "b.npy": PAIR}, "a: shape (3,) of float64 takes 24 bytes"),
        ({"a.npy": b"\x80\x04N.", "b.npy": PAIR}, "a: has no header"),
        ({"a.npy": b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 70_000, "b.npy": PAIR}, "has no header"),
        ({"a.npy": npy(np.zeros(2**21)), "b.npy": PAIR}, "16,777,344 bytes unpacked"),
        ({"a.npy": npy(np.zeros(2**19)), "b.npy": PAIR}, "bytes from"),
    ],
)
def test_arrays_of_another_form_are_refused_before_they_are_made(files, words):
    with pytest.raises(ArchiveError) as refused:
        parse_arrays(zipped(files.items()), "theirs.zip: x.npz", FORM)
    assert str(refused.value).startswith("theirs.zip: x.npz") and words in str(refused.value)


def test_an_array_of_empty_texts_is_refused():
    """A header of 128 bytes could make a list of 10^12 of them."""
    files = {"a.npy": npy(shape=(10**12,), descr="<U0")}
    with pytest.raises(ArchiveError, match="a: dtype <U0"):
        parse_arrays(zipped(files.items()), "x.npz", {"a": ("U", 1)})


def test_arrays_come_back_as_they_were():
    arrays = {"a": np.arange(5, dtype=np.float32), "b": np.asfortranarray(np.eye(3, dtype=int))}
    found = parse_arrays(npz_bytes(**arrays, c=np.zeros((0, 4))), "x", FORM, {"c": ("f", 2)})
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
    assert found["c"].shape == (0, 4) and safe_zip.ARRAYS.total >= 16 * 2**20


def test_a_file_is_read_whole_or_not_at_all(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"12345")
    assert read_file(tmp_path / "x.zip", 5) == b"12345"
    with pytest.raises(ArchiveError, match=r"x\.zip: 5 bytes; an archive has at most 4 bytes"):
        read_file(tmp_path / "x.zip", 4)
    with pytest.raises(ArchiveError, match="there is no such file"):
        read_file(tmp_path / "none.zip", 5)


def test_an_empty_zip_a_folder_and_an_endless_number_are_named(tmp_path):
    with pytest.raises(ArchiveError, match=r"theirs\.zip: is empty; pack again"):
        unpack(zipped([]), "theirs.zip", NAMES, LIMITS)
    with pytest.raises(ArchiveError, match=r"is a folder; name its archives: .*\*\.zip"):
        read_file(tmp_path, 100)
    with pytest.raises(ArchiveError, match=r"9\.\.\. of 5000 characters; numbers are finite"):
        parse_json(b"9" * 5000, "theirs.json")
