"""Reader for OPIXray as it lies on disk, for HiXray, and for generated data: one layout."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from doamlib.data.classes import CLASSES, HIXRAY_CLASSES
from doamlib.data.dataset import Dataset
from doamlib.data.faults import FaultLog, error
from doamlib.data.folder import Folder
from doamlib.data.images import SUFFIXES, image_size
from doamlib.data.layouts import describe, find_splits, how_to_convert
from doamlib.data.sample import Annotation, Row, boxes_within


def read_opixray(
    root: Path | str, split: str, *, names: Mapping[str, str] | None = None, strict: bool = True
) -> Dataset:
    r"""One split of a dataset in OPIXray's layout.

    ``<split>/<split>_image/<stem>.jpg`` (or ``.TIFF``), ``<split>/<split>_annotation/<stem>.txt``
    with lines ``image class x1 y1 x2 y2``, ``<split>/<split>_knife.txt`` with one stem a line
    (``\r\n`` or ``\n``), and for the test split ``test_knife-1.txt`` to ``-3.txt``, the occlusion
    levels. An empty annotation file makes a background image (version 2 of the dataset).

    HiXray lies there in the same way with eight classes of its own; its split list may be called
    ``<split>_name.txt``. The first row of the split tells whose classes they are.

    The official loader skips rows of unknown classes, drops boxes that start right of the frame and
    turns an image without rows into a box of class 5; here the first is an error, boxes are clipped
    and dropped only without area, and such an image has no box.

    Args:
        root: the folder that holds ``train`` and ``test``.
        split: ``train`` or ``test``.
        names: spelling in the files -> name of a class; ``""`` leaves a class out.
        strict: raise at the first error; otherwise leave out what is at fault and go on.

    Returns:
        The index; warnings and notes in ``faults``, and where not strict the errors.

    Raises:
        DataError: strict, and the data have an error; or ``root`` is not a folder.
    """
    log = FaultLog()
    folder = Folder(root)
    reader = _Reader(folder, split, names or {}, log)
    records: list[Annotation] = []
    with log.catching():
        records = reader.read()
    if strict:
        log.raise_first_error()
    sources = tuple(name for name in reader.lists() if folder.exists(name))
    return Dataset(folder.path, split, reader.classes, tuple(records), sources, tuple(log.faults))


@dataclass(frozen=True)
class _Reader:
    folder: Folder
    split: str
    names: Mapping[str, str]
    log: FaultLog

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """HiXray's where the first row of the split names one of them, else OPIXray's."""
        place = f"{self.split}/{self.split}_annotation"
        files = self.folder.names(place) if self.folder.exists(place) else []
        for file in files:
            for _, text in self._quiet_lines(f"{place}/{file}"):
                name = [*text.split(), ""][1]
                return HIXRAY_CLASSES if self._named(name) in HIXRAY_CLASSES else CLASSES
        return CLASSES

    def _named(self, name: str) -> str:
        return self.names.get(name, name)

    def _quiet_lines(self, file: str) -> list[tuple[int, str]]:
        """The lines of a file; none where it is at fault, which its own reading tells."""
        with FaultLog().catching():
            return list(self.folder.lines(file))
        return []

    def lists(self) -> list[str]:
        """The split list, then the three level lists."""
        name = f"{self.split}/{self.split}_knife"
        other = f"{self.split}/{self.split}_name.txt"
        whole = other if self.folder.exists(other) else f"{name}.txt"
        return [whole, *(f"{name}-{level}.txt" for level in (1, 2, 3))]

    def _look_around(self) -> None:
        """What lies there where this is not OPIXray's layout at all."""
        ours = (self.lists()[0], "train/train_image", "test/test_image")
        if any(map(self.folder.exists, ours)):
            return
        fix = f"convert it: {how_to_convert(self.folder.path)}"
        if len(find_splits(self.folder.path)) > 1:
            fix = "it looks like COCO JSON: set dataset: coco"
        message = f"is not there: not OPIXray's layout; found {describe(self.folder)}"
        raise error("missing", message, self.lists()[0], fix=fix)

    def read(self) -> list[Annotation]:
        """Everything that is not at fault, in the order of the split list."""
        self._look_around()
        stems = self._read_list(self.lists()[0])
        if not stems:
            raise error("empty-list", "names no image", self.lists()[0], fix="write one a line")
        images, levels = self._find_images(stems), self._read_levels(stems)
        records = []
        for stem, line in stems.items():
            size = rows = None
            with self.log.catching():
                size = self._measure(stem, images.get(stem), line)
            with self.log.catching():
                rows = self._read_rows(stem)
            if size is not None and rows is not None:
                found = boxes_within(rows, *size, self.log)
                records.append(Annotation(stem, images[stem], *found, levels.get(stem), *size))
        return records

    def _read_list(self, name: str) -> dict[str, int]:
        """Stem -> line, in the order of the file."""
        stems: dict[str, int] = {}
        for line, entry in self.folder.lines(name):
            stem = _stem(entry)
            if "/" in stem or "\\" in stem or stem == ".." or not stem.isprintable():
                message, fix = f"{entry!r} is not a bare stem", "write the name only"
                self.log.add("error", "bad-stem", message, name, line=line, fix=fix)
            elif stem in stems:
                message, fix = f"{stem!r} stands in line {stems[stem]} too", "remove one of them"
                self.log.add("warning", "listed-twice", message, name, line=line, fix=fix)
            else:
                stems[stem] = line
        return stems

    def _find_images(self, stems: Mapping[str, int]) -> dict[str, str]:
        """Stem -> path relative to the root."""
        place = f"{self.split}/{self.split}_image"
        files = [name for name in self.folder.names(place) if _suffix(name)]
        # Where a stem has several images, the first kind wins.
        found: dict[str, str] = {}
        for name in sorted(files, key=lambda name: SUFFIXES.index(_suffix(name).lower())):
            if (stem := _stem(name)) in found:
                message = f"is a second image named {stem}: {found[stem]} is used"
                self.log.add("warning", "two-images", message, f"{place}/{name}")
            found.setdefault(stem, f"{place}/{name}")
        if unlisted := sorted(found.keys() - stems.keys()):
            message = f"{len(unlisted):,} images are in no list and stay unused, e.g. {unlisted[0]}"
            self.log.add("note", "unlisted-images", message, place)
        return found

    def _read_levels(self, stems: Mapping[str, int]) -> dict[str, int]:
        """Stem -> occlusion level; empty for a split without level lists."""
        whole, *lists = self.lists()
        found: dict[str, int] = {}
        present = [(k, name) for k, name in enumerate(lists, start=1) if self.folder.exists(name)]
        for level, name in present:
            with self.log.catching():
                for stem, line in self._read_list(name).items():
                    if stem not in stems:
                        message = f"{stem!r} is not in {whole}"
                        self.log.add("warning", "level-unlisted", message, name, line=line)
                    elif found.setdefault(stem, level) != level:
                        message, fix = f"{stem!r} has level {found[stem]} too", "keep one of them"
                        self.log.add("error", "two-levels", message, name, line=line, fix=fix)
        for stem in stems if present else ():
            if stem not in found:
                message = f"{stem!r} is in none of the level lists"
                self.log.add("warning", "no-level", message, whole, line=stems[stem])
        return found

    def _measure(self, stem: str, path: str | None, line: int) -> tuple[int, int]:
        if path is None:
            message = f"image {stem!r} is not in {self.split}/{self.split}_image"
            fix = "copy it there or remove the line"
            raise error("missing-image", message, self.lists()[0], line, fix)
        return image_size(self.folder.file(path), path)

    def _read_rows(self, stem: str) -> list[Row] | None:
        """The rows of an annotation file; None if one of them is at fault."""
        file = f"{self.split}/{self.split}_annotation/{stem}.txt"
        if not self.folder.exists(file):
            fix = "restore it; an image without items has an empty file"
            raise error("missing-annotation", "does not exist", file, fix=fix)
        rows, lines = [], list(self.folder.lines(file))
        for line, text in lines:
            if _stem(image := text.split()[0]) != stem:
                message = f"names another image, {image!r}"
                self.log.add("warning", "other-image", message, file, line=line)
            with self.log.catching():
                rows.append(self._parse(text, file, line))
        if not lines:
            self.log.add("note", "no-box", "has no row: a background image", file)
        return [row for row in rows if row.label] if len(rows) == len(lines) else None

    def _parse(self, text: str, file: str, line: int) -> Row:
        try:
            _, name, *corners = text.split()
            x1, y1, x2, y2 = map(float, corners)
            if not math.isfinite(x1 + y1 + x2 + y2):
                raise ValueError
        except ValueError:
            message, fix = f"not a class and a box: {text!r}", "write: image class x1 y1 x2 y2"
            raise error("bad-row", message, file, line, fix) from None
        ours = self._named(name)
        if ours not in (*self.classes, ""):
            message = f"class {ours!r} is not one of {', '.join(self.classes)}"
            fix = f"correct it, or map it: names={{{name!r}: ''}} leaves it out"
            raise error("unknown-class", message, file, line, fix)
        label = self.classes.index(ours) + 1 if ours else 0
        return Row((x1, y1, x2, y2), label, file, line, name)


def _suffix(name: str) -> str:
    suffix = PurePosixPath(name).suffix
    return suffix if suffix.lower() in SUFFIXES else ""


def _stem(name: str) -> str:
    return name.removesuffix(_suffix(name))
