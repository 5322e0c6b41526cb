"""Where annotation tools put things: finding a split's COCO JSON and its images, in any case."""

from __future__ import annotations

import os
import posixpath
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from doamlib.core.report import counted
from doamlib.data.faults import DataError, error
from doamlib.data.folder import Folder
from doamlib.data.images import PICTURES, SUFFIXES

DEPTH = 4
"""Folders below the root that are looked into."""

SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""How tools spell the splits (Roboflow: valid; CVAT: Validation), in any case, also with a year."""

LEVELS = ("easy", "hard", "hidden")
"""PIDray's three test lists, ``annotations/xray_test_easy.json`` ...: levels 1 to 3."""

KINDS = {".json": "JSON file", ".xml": "Pascal VOC XML file", ".csv": "CSV file"}
"""What a file is by its suffix; of text files only some hold annotations (:func:`kind_of`)."""

SUPPORTED = "OPIXray's layout and COCO JSON with a file for train and one for test"


def how_to_convert(root: Path) -> str:
    """The command that makes COCO files of a folder, to be typed as it is."""
    return f"doam data convert {shlex.quote(str(root))} TARGET --split 0.8"


def words_of(path: str) -> list[list[str]]:
    """The words of each part of a path, file name first: lower case, without digits.

    ``annotations/instances_Train2017.json`` gives ``[[instances, train], [annotations]]``.
    """
    parts = list(PurePosixPath(path).parts)[::-1]
    stem = parts[0].rsplit(".", 1)[0] if parts else ""
    return [re.findall(r"[^\W\d_]+", part.lower()) for part in (stem, *parts[1:])]


def split_of(path: str) -> str | None:
    """The split that a path is about: its file's name decides before the folder around it."""
    for words in words_of(path):
        for split, spellings in SPLITS.items():
            if set(words) & set(spellings):
                return split
    return None


def walk(folder: Folder) -> Iterator[tuple[str, list[str]]]:
    """Every folder below the root as a relative path with its files, sorted; links not followed."""
    for place, folders, files in os.walk(folder.path):
        relative = Path(place).relative_to(folder.path)
        deep = len(relative.parts) >= DEPTH
        folders[:] = [] if deep else sorted(name for name in folders if not name.startswith("."))
        yield relative.as_posix(), sorted(files)


def files_of(folder: Folder) -> list[str]:
    """Every file that :func:`walk` meets, as a path relative to the root."""
    return [posixpath.normpath(f"{place}/{n}") for place, names in walk(folder) for n in names]


def annotation_files(folder: Folder, split: str) -> list[str]:
    """The JSON files that could be the split's annotations, the likeliest kind of them only.

    A file named exactly as the split comes first; then COCO's ``instances_`` before its
    ``captions_``, then what lies least deep. Another split's file never counts.

    Args:
        folder: the root.
        split: train, val or test; or any word that stands in the file's path.
    """
    found = [path for path in files_of(folder) if path.lower().endswith(".json")]
    if split in SPLITS:
        found = [path for path in found if split_of(path) == split]
    else:
        word = re.compile(rf"(^|[^a-zA-Z]){re.escape(split)}([^a-zA-Z]|$)", re.IGNORECASE)
        found = [path for path in found if word.search(path)]
    exact = [path for path in found if PurePosixPath(path).stem.lower() == split.lower()]
    found = exact or found
    found = [path for path in found if "instances" in words_of(path)[0]] or found
    shallowest = min((path.count("/") for path in found), default=0)
    return [path for path in found if path.count("/") == shallowest]


def find_splits(root: Path | str) -> tuple[str, ...]:
    """The splits among ``train``, ``val`` and ``test`` that have an annotation file."""
    folder = Folder(root)
    return tuple(split for split in SPLITS if annotation_files(folder, split))


def split_files(folder: Folder, split: str) -> tuple[str, list[tuple[str, int | None]]]:
    """The annotation files of a split, each with the occlusion level that all its images have.

    Usually one without a level; three for PIDray's test split. Where there is no test split, the
    validation split takes its place.

    Returns:
        The split that was found (``split``, or ``val`` for ``test``), and its files.

    Raises:
        DataError: none fits (the message says what was found instead), or several do.
    """
    wanted, found = split, annotation_files(folder, split)
    if not found and split == "test":
        split, found = "val", annotation_files(folder, "val")
    if not found:
        raise no_annotations(folder, wanted)
    if len(found) == 1:
        return split, [(found[0], None)]
    levels = {level: [p for p in found if level in words_of(p)[0]] for level in LEVELS}
    if all(len(files) == 1 for files in levels.values()) and len(found) == len(LEVELS):
        return split, [(levels[level][0], n) for n, level in enumerate(LEVELS, start=1)]
    what = f"split {split!r}: several JSON files fit: {', '.join(found)}"
    raise error("no-annotations", what, ".", fix=f"rename the right one: {split}.json")


def no_annotations(folder: Folder, split: str) -> DataError:
    """That no annotation file fits: what was found, what is supported, what converts it."""
    fix = f"supported are {SUPPORTED}; convert others with: {how_to_convert(folder.path)}"
    message = f"split {split!r}: no JSON file fits; found {describe(folder)}"
    others = [other for other in find_splits(folder.path) if other != split]
    if others:
        fix = f"add {split}.json, or divide the images: {how_to_convert(folder.path)}"
        message += f" with the splits {', '.join(others)}"
    return error("no-annotations", message, ".", fix=fix)


def describe(folder: Folder) -> str:
    """What lies below a root, in a line: annotations by format, and images."""
    names = files_of(folder)
    kinds = Counter(kind for name in names if (kind := kind_of(folder, name)))
    kinds["image"] = sum(map(is_image, names))
    return ", ".join(counted(count, kind) for kind, count in kinds.items())


def kind_of(folder: Folder, name: str) -> str:
    """What a file is by its name and place; ``""`` for one that holds no annotations."""
    path = PurePosixPath(name)
    if path.suffix.lower() != ".txt":
        return KINDS.get(path.suffix.lower(), "")
    labels = any("labels" in words for words in words_of(name)[1:])
    beside = any(folder.exists(str(path.with_suffix(suffix))) for suffix in SUFFIXES)
    return "YOLO text file" if labels or beside else ""


def is_image(name: str) -> bool:
    """Whether a file's name is that of an image that is read."""
    return PurePosixPath(name).suffix.lower() in PICTURES


def image_folder(folder: Folder, file: str, names: Sequence[str], level: int | None) -> str:
    """The folder that the file names of an annotation file start from.

    All folders are tried whose path does not speak of another split or level: the annotation
    file's own first, then those that name its split, then ``images``, then the rest. The one that
    holds most of the names is taken, the first of several.

    Args:
        folder: the root.
        file: the annotation file.
        names: file names in it, all or a sample.
        level: 1 to 3 for one of PIDray's test lists.

    Raises:
        DataError: no folder holds any of them.
    """
    split, own = split_of(file), PurePosixPath(file).parent.as_posix()
    wanted = {LEVELS[level - 1]} if level else set()

    def words(place: str) -> set[str]:
        return {word for part in words_of(f"{place}/x")[1:] for word in part}

    def fits(place: str) -> bool:
        other = split_of(f"{place}/x")
        return split is None or (other in (None, split) and words(place) & set(LEVELS) <= wanted)

    def rank(place: str) -> tuple:
        unnamed = split is None or split_of(f"{place}/x") != split
        unlevelled = not wanted <= words(place)
        return unlevelled, place != own, unnamed, "images" not in words(place), place.count("/")

    places = sorted((place for place, _ in walk(folder) if fits(place)), key=rank)
    held = {p: sum(folder.exists(posixpath.normpath(f"{p}/{n}")) for n in names) for p in places}
    best = max(places, key=held.__getitem__)
    if not held[best]:
        message = f"images[0]: {names[0]!r} is in none of {', '.join(places[:6])}"
        near = _nearly(folder, names[0])
        fix = f"write {near}, which is there" if near else "move the images to one of them"
        raise error("missing-image", message, file, fix=fix)
    return best


def _nearly(folder: Folder, name: str) -> str:
    """A file below the root of this name in another folder, case or coding; ``""`` without one."""
    wanted = PurePosixPath(unquote(name)).name.casefold()
    every = (f"{place}/{n}" for place, files in walk(folder) for n in files)
    near = (path for path in every if PurePosixPath(path).name.casefold() == wanted)
    return posixpath.normpath(path) if (path := next(near, "")) else ""
