"""What generated data know about themselves and real data cannot: occlusion, masks, objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask
from pydantic import ConfigDict, Field, ValidationError

from doamlib.core.config import Config
from doamlib.data.faults import error
from doamlib.data.folder import Folder

Box = tuple[float, float, float, float]


class _Entry(Config):
    model_config = ConfigDict(extra="ignore")


class Silhouette(_Entry):
    """A mask in COCO's compressed run-length encoding: ``size`` is height and width."""

    size: tuple[int, int]
    counts: str

    def mask(self) -> np.ndarray:
        """Boolean array H,W: True where the item is."""
        return coco_mask.decode(self.model_dump()).astype(bool)


class SidecarItem(_Entry):
    """One prohibited item.

    Attributes:
        name: its class (key ``class``).
        box: x1, y1, x2, y2 in pixels of the image.
        occlusion: O, from 0 (as visible as on a bare tray) towards 1 (invisible).
        level: 1, 2 or 3, the level that O falls into.
        silhouette: where the item attenuates at all.
    """

    name: str = Field(alias="class")
    box: Box
    occlusion: float
    level: int
    silhouette: Silhouette


class HarmlessItem(_Entry):
    """One harmless object: its name and its box x1, y1, x2, y2 in pixels."""

    name: str
    box: Box


class SidecarImage(_Entry):
    """What the generator knows about one image.

    The file holds more, which nobody reads back: the seeds and containers of an image; of an item
    the parts of O (``share``, ``clutter``, ``core_pixels``) and its tilt.

    Attributes:
        image: the image's id (its stem).
        items: the prohibited items, in the order of the annotation file.
        harmless: everything else that matters.
    """

    image: str
    items: tuple[SidecarItem, ...]
    harmless: tuple[HarmlessItem, ...]


def sidecar_of(split: str) -> str:
    """Where a split's sidecar lies, relative to the dataset's root."""
    return f"sidecar/{split}.jsonl"


def has_sidecar(root: Path | str, split: str) -> bool:
    """Whether there is one, and so masks: generated data have it, real data do not."""
    return Folder(root).exists(sidecar_of(split))


def read_sidecar(root: Path | str, split: str) -> dict[str, SidecarImage]:
    """``<root>/sidecar/<split>.jsonl``: one JSON object a line, one line an image.

    Returns:
        Image id -> what is known about it; empty where there is no sidecar (real data).

    Raises:
        DataError: a line does not hold what :class:`SidecarImage` says, or an image occurs twice.
    """
    folder, name = Folder(root), sidecar_of(split)
    if not has_sidecar(root, split):
        return {}
    found: dict[str, SidecarImage] = {}
    fix = "generate the dataset again"
    for line, text in folder.lines(name):
        try:
            entry = SidecarImage.model_validate_json(text)
        except ValidationError as bad:
            first = bad.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            message = f"{where or 'the line'}: {first['msg']}"
            raise error("bad-sidecar", message, name, line, fix) from None
        if entry.image in found:
            raise error("bad-sidecar", f"image {entry.image!r} occurs twice", name, line, fix)
        found[entry.image] = entry
    return found
