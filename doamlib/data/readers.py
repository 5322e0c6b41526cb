"""From a folder to its splits, whatever the format: what the doctor and training both call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from doamlib.data.coco import read_coco
from doamlib.data.dataset import Dataset
from doamlib.data.folder import Folder
from doamlib.data.layouts import files_of, find_splits
from doamlib.data.opixray import read_opixray

Format = Literal["opixray", "coco"]
TRAINED_ON = ("train", "test")


def detect_format(root: Path | str) -> Format:
    """OPIXray's layout or COCO.

    COCO files may lie beside image folders that are named as OPIXray's (``doam data export`` leaves
    images where they lay): what tells OPIXray is its annotations, or images without any JSON.

    Raises:
        DataError: ``root`` is not a folder.
    """
    folder = Folder(root)
    for split in TRAINED_ON:
        own = (f"{split}/{split}_annotation", f"{split}/{split}_knife.txt")
        if any(map(folder.exists, own)):
            return "opixray"
    images = any(folder.exists(f"{split}/{split}_image") for split in TRAINED_ON)
    return "opixray" if images and not find_splits(root) else "coco"


def has_json(folder: Folder) -> bool:
    """Whether there is any JSON file below the root."""
    return any(path.lower().endswith(".json") for path in files_of(folder))


def read_splits(
    root: Path | str, format: Format, names: Mapping[str, str] | None = None
) -> Iterator[Dataset]:
    """Train, test, and where there is one beside them the validation split.

    What is at fault is left out and stands in ``Dataset.faults``; a split that is not there is an
    empty dataset with that fault. Of a folder without any split only ``train`` is tried.

    Args:
        root: the dataset's folder.
        format: as :func:`detect_format` tells.
        names: spelling in the files -> class name; ``""`` leaves a class out.

    Raises:
        DataError: ``root`` is not a folder.
    """
    if format == "opixray":
        for split in TRAINED_ON:
            yield read_opixray(root, split, names=names, strict=False)
        return
    found = find_splits(root)
    wanted = TRAINED_ON if found else ("train",)
    for split in (*wanted, *(("val",) if {"val", "test"} <= set(found) else ())):
        yield read_coco(root, split, names=names, strict=False)
