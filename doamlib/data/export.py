"""A dataset into a new folder, in a layout that other tools read: COCO JSON or OPIXray's."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from doamlib.core.files import filled_or_empty, write_text
from doamlib.core.paths import at_home
from doamlib.data.classes import CLASSES, HIXRAY_CLASSES
from doamlib.data.coco import write_coco
from doamlib.data.dataset import Dataset
from doamlib.data.faults import error
from doamlib.data.folder import Folder
from doamlib.data.images import SUFFIXES
from doamlib.data.sample import Annotation
from doamlib.data.splits import write_list

Layout = Literal["coco", "opixray"]
LEVELS = (1, 2, 3)


def new_folder(target: Path | str) -> Path:
    """A folder to write into: one that is empty or not there yet.

    Raises:
        DataError: it holds something.
    """
    target = at_home(target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise error("in-use", f"{target} is not an empty folder", ".", fix="name a new one")
    return target


def export(datasets: Sequence[Dataset], target: Path | str, layout: Layout = "coco") -> Path:
    """Write splits with their images into a new folder; a reader gives the same boxes again.

    Images are hard links where the file system allows it, else copies. Occlusion levels are kept in
    both layouts; masks are not. The folder is there as a whole or not at all.

    Args:
        datasets: splits of one dataset.
        target: a folder that is empty or not there yet.
        layout: ``coco`` (``train.json`` ... and the images where they lay) or ``opixray`` (as
            :mod:`doamlib.data.opixray` reads it).

    Raises:
        DataError: the target is in use; OPIXray's layout cannot hold these classes, this split or
            these names.
        ValueError: no such layout.
    """
    if layout not in get_args(Layout):
        raise ValueError(f"layout {layout!r}: choose {' or '.join(get_args(Layout))}")
    target = new_folder(target)
    kept = layout == "coco"
    places = [[r.path for r in d.records] if kept else _renamed(d) for d in datasets]
    with filled_or_empty(target):
        for dataset, names in zip(datasets, places, strict=True):
            folder = Folder(dataset.root)
            for record, name in zip(dataset.records, names, strict=True):
                _place(folder.file(record.path), target / name)
        for dataset in datasets:  # last: a folder with annotations is whole
            if kept:
                write_coco(dataset, target / f"{dataset.split}.json")
            else:
                _as_opixray(dataset, target)
    return target


def _renamed(dataset: Dataset) -> list[str]:
    """Where OPIXray's layout has each image; its names are bare stems without spaces."""
    if dataset.split not in ("train", "test") or dataset.classes not in (CLASSES, HIXRAY_CLASSES):
        message = f"split {dataset.split!r} with classes {', '.join(dataset.classes)[:200]}"
        fix = "OPIXray's layout has train and test with its own five classes: export as coco"
        raise error("not-opixray", message, ".", fix=fix)
    names = [f"{dataset.split}/{dataset.split}_image/{_file_name(r)}" for r in dataset.records]
    counts = Counter(names)
    for record, name in zip(dataset.records, names, strict=True):
        if counts[name] > 1 or not name.lower().endswith(SUFFIXES):
            message = f"{record.path} cannot be called {PurePosixPath(name).name} there"
            raise error("not-opixray", message, ".", fix="rename the image, or export as coco")
    return names


def _file_name(record: Annotation) -> str:
    return re.sub(r"[\s/\\]+", "_", record.image_id) + PurePosixPath(record.path).suffix


def _as_opixray(dataset: Dataset, target: Path) -> None:
    base = target / dataset.split / dataset.split
    stems = {}
    for record in dataset.records:
        name = _file_name(record)
        stems[record.image_id] = stem = PurePosixPath(name).stem
        rows = [
            " ".join([name, dataset.classes[label - 1], *(f"{v:.9g}" for v in corners)])
            for corners, label in record.items()
        ]
        write_text(Path(f"{base}_annotation", f"{stem}.txt"), "".join(f"{r}\n" for r in rows))
    levels = {level: [r for r in dataset.records if r.level == level] for level in LEVELS}
    if any(levels.values()):
        for level, records in levels.items():
            write_list(f"{base}_knife-{level}.txt", [stems[r.image_id] for r in records])
    write_list(f"{base}_knife.txt", list(stems.values()))


def _place(file: Path, copy: Path) -> None:
    copy.parent.mkdir(parents=True, exist_ok=True)
    if copy.exists():
        return
    try:
        os.link(file, copy)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(file, copy)
