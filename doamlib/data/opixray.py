"""Reader for OPIXray as it lies on disk, and for generated data, which uses the same layout."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from doamlib.data.classes import CLASSES
from doamlib.data.dataset import Dataset, label_of
from doamlib.data.faults import FaultLog, error
from doamlib.data.files import Folder
from doamlib.data.images import image_size
from doamlib.data.sample import Annotation, Row, boxes_within

LEVELS = (1, 2, 3)
SUFFIXES = (".jpg", ".jpeg", ".tiff", ".tif", ".png")
"""Image files, compared without regard to case; where a stem has several, the first kind wins."""


def read_opixray(
    root: Path | str,
    split: str,
    *,
    classes: tuple[str, ...] = CLASSES,
    names: Mapping[str, str] | None = None,
    strict: bool = True,
) -> Dataset:
    r"""One split of a dataset in OPIXray's layout.

    ``<split>/<split>_image/<stem>.jpg`` (or ``.TIFF``), ``<split>/<split>_annotation/<stem>.txt``
    with lines ``image class x1 y1 x2 y2``, ``<split>/<split>_knife.txt`` with one stem a line
    (``\r\n`` or ``\n``), and for the test split ``test_knife-1.txt`` to ``-3.txt``, the occlusion
    levels. An empty annotation file makes a background image (version 2 of the dataset).

    The official loader skips rows of unknown classes, drops boxes that start right of the frame and
    turns an image without rows into a box of class 5; here the first is an error, boxes are clipped
    and dropped only without area, and such an image has no box.

    Args:
        root: the folder that holds ``train`` and ``test``.
        split: ``train`` or ``test``.
        classes: class names in label order, for data with other classes in this layout (HiXray).
        names: spelling in the files -> name in ``classes``; ``""`` leaves a class out.
        strict: raise at the first error; otherwise leave out what is at fault and go on.

    Returns:
        The index; warnings and notes in ``faults``, and where not strict the errors.

    Raises:
        DataError: strict, and the data have an error; or ``root`` is not a folder.
    """
    folder, log = Folder(root), FaultLog()
    records = []
    with log.catching():
        stems = _read_list(folder, _list_name(split), log)
        if not stems:
            raise error("empty-list", "names no image", _list_name(split), fix="write one a line")
        images = _find_images(folder, f"{split}/{split}_image", log)
        levels = _read_levels(folder, split, stems, log)
        _note_unlisted(images, stems, split, log)
        for stem, line in stems.items():
            size = rows = None
            with log.catching():
                size = _measure(folder, images.get(stem), stem, split, line)
            with log.catching():
                annotation = f"{split}/{split}_annotation/{stem}.txt"
                rows = _read_rows(folder, annotation, stem, classes, names or {}, log)
            if size is not None and rows is not None:
                boxes, labels = boxes_within(rows, *size, log)
                level = levels.get(stem)
                records.append(Annotation(stem, images[stem], boxes, labels, level, *size))
    if strict:
        log.raise_first_error()
    lists = [_list_name(split), *(_list_name(split, level) for level in LEVELS)]
    sources = tuple(name for name in lists if folder.exists(name))
    return Dataset(folder.path, split, classes, tuple(records), sources, tuple(log.faults))


def _list_name(split: str, level: int | None = None) -> str:
    suffix = "" if level is None else f"-{level}"
    return f"{split}/{split}_knife{suffix}.txt"


def _read_list(folder: Folder, name: str, log: FaultLog) -> dict[str, int]:
    """Stem -> line, in the order of the file."""
    stems: dict[str, int] = {}
    for line, entry in folder.lines(name):
        stem = _stem(entry)
        if "/" in stem or "\\" in stem or stem == ".." or not stem.isprintable():
            message = f"{entry!r} is not a bare stem"
            log.add("error", "bad-stem", message, name, line=line, fix="write the name only")
        elif stem in stems:
            message = f"{stem!r} is listed before, in line {stems[stem]}"
            log.add("warning", "listed-twice", message, name, line=line, fix="remove the line")
        else:
            stems[stem] = line
    return stems


def _image_suffix(name: str) -> str:
    suffix = PurePosixPath(name).suffix
    return suffix if suffix.lower() in SUFFIXES else ""


def _stem(name: str) -> str:
    return name.removesuffix(_image_suffix(name))


def _find_images(folder: Folder, name: str, log: FaultLog) -> dict[str, str]:
    """Stem -> path relative to the root."""
    found: dict[str, str] = {}
    files = [file for file in folder.names(name) if _image_suffix(file)]
    for file in sorted(files, key=lambda file: SUFFIXES.index(_image_suffix(file).lower())):
        if (stem := _stem(file)) in found:
            message = f"is a second image named {stem}: {found[stem]} is used"
            log.add("warning", "two-images", message, f"{name}/{file}", fix="remove one of them")
        else:
            found[stem] = f"{name}/{file}"
    return found


def _read_levels(
    folder: Folder, split: str, stems: dict[str, int], log: FaultLog
) -> dict[str, int]:
    """Stem -> occlusion level, for a split that has level lists."""
    found: dict[str, int] = {}
    present = [level for level in LEVELS if folder.exists(_list_name(split, level))]
    for level in present:
        name, entries = _list_name(split, level), {}
        with log.catching():
            entries = _read_list(folder, name, log)
        for stem, line in entries.items():
            if stem not in stems:
                message = f"{stem!r} is not in {_list_name(split)}"
                log.add("warning", "level-unlisted", message, name, line=line)
            elif stem in found:
                message = f"{stem!r} has level {found[stem]} as well"
                log.add("error", "two-levels", message, name, line=line, fix="keep one of the two")
            else:
                found[stem] = level
    for stem, line in stems.items():
        if present and stem not in found:
            message = f"{stem!r} is in none of the level lists"
            log.add("warning", "no-level", message, _list_name(split), line=line)
    return found


def _note_unlisted(
    images: dict[str, str], stems: dict[str, int], split: str, log: FaultLog
) -> None:
    if unlisted := [stem for stem in images if stem not in stems]:
        message = f"{len(unlisted):,} images are in no list and stay unused, e.g. {unlisted[0]}"
        log.add("note", "unlisted-images", message, f"{split}/{split}_image")


def _measure(folder: Folder, path: str | None, stem: str, split: str, line: int) -> tuple[int, int]:
    if path is None:
        message = f"image {stem!r} is not in {split}/{split}_image"
        fix = "copy it there or remove the line"
        raise error("missing-image", message, _list_name(split), line, fix)
    return image_size(folder.file(path), path)


def _read_rows(
    folder: Folder,
    file: str,
    stem: str,
    classes: tuple[str, ...],
    names: Mapping[str, str],
    log: FaultLog,
) -> list[Row] | None:
    """The rows of an annotation file; None if one of them is at fault."""
    if not folder.exists(file):
        fix = "restore it; an image without items has an empty file"
        raise error("missing-annotation", "does not exist", file, fix=fix)
    rows, lines = [], list(folder.lines(file))
    for line, text in lines:
        if _stem(image := text.split()[0]) != stem:
            log.add("warning", "other-image", f"names another image, {image!r}", file, line=line)
        with log.catching():
            rows.append(_parse(text, file, line, classes, names))
    if not lines:
        log.add("note", "no-box", "has no row: a background image", file)
    return [row for row in rows if row.label] if len(rows) == len(lines) else None


def _parse(
    text: str, file: str, line: int, classes: tuple[str, ...], names: Mapping[str, str]
) -> Row:
    fields = text.split()
    fix = "write: image class x1 y1 x2 y2"
    if len(fields) != 6:
        raise error("bad-row", f"{len(fields)} fields in place of 6: {text!r}", file, line, fix)
    try:
        box = tuple(float(field) for field in fields[2:])
    except ValueError:
        box = (math.nan,)
    if not all(math.isfinite(value) for value in box):
        raise error("bad-row", f"the corners are not numbers: {text!r}", file, line, fix)
    try:
        label = label_of(fields[1], classes, names)
    except KeyError:
        message = f"class {fields[1]!r} is not one of {', '.join(classes)}"
        fix = f"correct it, or map it: names={{{fields[1]!r}: ''}} leaves it out"
        raise error("unknown-class", message, file, line, fix) from None
    return Row(box, label, file, line, fields[1])
