"""One image of a dataset: its pixels and its line in the sidecar."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from doamlib.simulation.config import SimulationConfig
from doamlib.simulation.dice import Dice
from doamlib.simulation.optics.display import DisplayChain
from doamlib.simulation.scenes.compose import (
    Composition,
    Found,
    compose,
    render_pixels,
    visible_part,
)
from doamlib.simulation.scenes.occlusion import level_of
from doamlib.simulation.scenes.quotas import ImagePlan
from doamlib.simulation.scenes.scene import Item

BOX_MARGIN = 6
"""Pixels an annotated box leaves around the silhouette, as the published red boxes do."""
BELT_SHARE = 0.25
"""Share of frames with visible belt noise around the containers."""
LISTED_SHARE = 0.5
"""A harmless item is listed if this share of its silhouette is in the window."""
LISTED_SIDE = 6
"""Shortest side in pixels of a listed harmless item's box."""
SPLITS = ("train", "test")


def scene_seed(config: SimulationConfig, plan: ImagePlan) -> list[int]:
    """Seed of an image: no other dataset, split or number has the same.

    All of the configuration counts, sizes too: a small dataset is never a part of a larger one, so
    a model that was trained on one may be tested on another.
    """
    dataset = config.fingerprint
    words = int(dataset[:8], 16), int(dataset[8:], 16)
    return [*words, SPLITS.index(plan.split), plan.index]


def make_image(config: SimulationConfig, plan: ImagePlan) -> tuple[np.ndarray, dict[str, Any]]:
    """Draw one image of a dataset.

    Args:
        config: The dataset.
        plan: Which image (from :func:`doamlib.simulation.scenes.quotas.plan_images`).

    Returns:
        Pixels, uint8 (H, W, 3) RGB, and the sidecar's record (plain JSON values): ``image``,
        ``split``, ``seed``, ``containers``, ``scale`` (px/mm), ``window`` (frame pixels), ``belt``,
        ``level``, ``display``, ``items`` and ``harmless``; boxes are x1, y1, x2, y2 in image
        pixels, ends excluded.
    """
    names = list(plan.classes) if config.cutters else [None]
    composition = compose(scene_seed(config, plan), names, config.field_of_view, plan.level)
    dice = Dice([*composition.seed, 1])
    chain, belt = DisplayChain.varied(dice), dice.chance(BELT_SHARE)
    pixels = render_pixels(composition.basis, chain, dice, belt)
    items = [_item_record(found, composition) for found in composition.subjects if config.cutters]
    record = {
        "image": plan.stem,
        "split": plan.split,
        "seed": composition.seed,
        "containers": [placed.container.kind for placed in composition.scene.containers],
        "scale": round(composition.scene.scale, 6),
        "window": list(composition.window),
        "belt": belt,
        "level": max((item["level"] for item in items), default=None),
        "display": chain.model_dump(mode="json"),
        "items": items,
        "harmless": _harmless(composition, config.cutters),
    }
    return pixels, record


def _item_record(found: Found, composition: Composition) -> dict[str, Any]:
    x0, y0, x1, y1 = composition.window
    left, top, right, bottom = found.patch.box
    around = (top - y0, y1 - bottom), (left - x0, x1 - right)
    mask = np.pad(found.occlusion.silhouette, around)
    margins = np.array([-BOX_MARGIN, -BOX_MARGIN, BOX_MARGIN, BOX_MARGIN])
    box = np.clip(found.box + margins, 0, 2 * mask.shape[::-1]).tolist()
    encoded = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    occlusion = found.occlusion
    return {
        "class": found.item.kind.name,
        "box": box,
        "occlusion": round(occlusion.value, 5),
        "level": level_of(occlusion.value),
        "share": round(occlusion.share, 5),
        "clutter": round(occlusion.clutter, 5),
        "tilt_degrees": round(found.item.tilt_degrees, 2),
        "core_pixels": occlusion.core_pixels,
        "silhouette": {"size": encoded["size"], "counts": encoded["counts"].decode("ascii")},
    }


def _harmless(composition: Composition, cutters: bool) -> list[dict[str, Any]]:
    """Name and tight box of every harmless item that is visible enough."""
    items: list[Item] = [item for item in composition.scene.items if item.kind.listed]
    if not cutters:
        items += [found.item for found in composition.subjects]
    records = []
    for item in items:
        seen = visible_part(item, composition.scene, composition.window, LISTED_SHARE)
        if seen is None:
            continue
        x0, y0, x1, y1 = seen[1]
        if min(x1 - x0, y1 - y0) >= LISTED_SIDE:
            records.append({"name": item.kind.name, "box": [x0, y0, x1, y1]})
    return records
