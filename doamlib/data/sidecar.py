"""What generated data know about themselves and real data cannot: occlusion, masks, seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pydantic import ConfigDict, Field, ValidationError

from doamlib.config import Config
from doamlib.data.faults import error
from doamlib.data.files import Folder

Box = tuple[float, float, float, float]


class _Entry(Config):
    # A newer generator may write more; old books must go on reading it.
    model_config = ConfigDict(extra="ignore", populate_by_name=True)


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
        occlusion: O, how much of what the item does to the image is hidden; continuous.
        level: 1, 2 or 3, the level that O falls into.
        share: the part of O that is explained by material above and below the item.
        clutter: the part explained by edges around it.
        tilt_degrees: angle between the blade's plane and the belt.
        core_pixels: pixels of the mask on which O is measured.
        silhouette: the item's mask; None where the generator left it out.
    """

    name: str = Field(alias="class")
    box: Box
    occlusion: float
    level: int
    share: float
    clutter: float
    tilt_degrees: float
    core_pixels: int
    silhouette: Silhouette | None = None


class HarmlessItem(_Entry):
    """One harmless object: its name and its box x1, y1, x2, y2 in pixels."""

    name: str
    box: Box


class SidecarImage(_Entry):
    """Everything that the generator knows about one image.

    Attributes:
        image: the image's id (its stem).
        seed: what the image was drawn from.
        containers: trays, bags and cases in it, as the generator names them.
        items: the prohibited items, in the order of the annotation file.
        harmless: everything else that matters.
    """

    image: str
    seed: Any
    containers: tuple[Any, ...] = ()
    items: tuple[SidecarItem, ...] = ()
    harmless: tuple[HarmlessItem, ...] = ()


def read_sidecar(root: Path | str, split: str) -> dict[str, SidecarImage]:
    """``<root>/sidecar/<split>.jsonl``: one JSON object a line, one line an image.

    Returns:
        Image id -> what is known about it; empty where there is no sidecar (real data).

    Raises:
        DataError: a line does not hold what :class:`SidecarImage` says, or an image occurs twice.
    """
    folder, name = Folder(root), f"sidecar/{split}.jsonl"
    if not folder.exists(name):
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
