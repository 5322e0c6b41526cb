"""One image of a dataset: its pixels and its line in the sidecar."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from doamlib.simulation.canvas import overlap
from doamlib.simulation.compose import Composition, Found, compose, render_pixels, tight_box
from doamlib.simulation.config import GENERATOR_VERSION, SimulationConfig
from doamlib.simulation.dice import Dice
from doamlib.simulation.display import DisplayChain
from doamlib.simulation.occlusion import level_of, silhouette_of
from doamlib.simulation.quotas import ImagePlan
from doamlib.simulation.scene import Item

BOX_MARGIN = 6
"""Pixels an annotated box leaves around the silhouette, as the published red boxes do."""
BELT_SHARE = 0.25
"""Share of frames with visible belt noise around the containers."""
LISTED_SHARE = 0.5
"""A harmless item is listed if this share of its silhouette is in the window."""
LISTED_SIDE = 6
"""Shortest side in pixels of a listed harmless item's box."""


def make_image(config: SimulationConfig, plan: ImagePlan) -> tuple[np.ndarray, dict[str, Any]]:
    """Draw one image of a dataset.

    Args:
        config: The dataset.
        plan: Which image (from :func:`doamlib.simulation.quotas.plan_images`).

    Returns:
        Pixels, uint8 (H, W, 3) RGB, and the sidecar's record (plain JSON values): ``image``,
        ``split``, ``seed``, ``containers``, ``scale`` (px/mm), ``window`` (frame pixels), ``belt``,
        ``level``, ``display``, ``items`` and ``harmless``; boxes are x1, y1, x2, y2 in image
        pixels, ends excluded.
    """
    identity = [config.seed, GENERATOR_VERSION, plan.index]
    names = list(plan.classes) if config.cutters else [None]
    composition = compose(identity, names, config.field_of_view, plan.level)
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
    width, height = x1 - x0, y1 - y0
    mask = np.zeros((height, width), np.uint8, order="F")
    px0, py0, px1, py1 = found.patch.box
    mask[py0 - y0 : py1 - y0, px0 - x0 : px1 - x0] = found.occlusion.silhouette
    tight = found.box
    box = [
        max(tight[0] - BOX_MARGIN, 0),
        max(tight[1] - BOX_MARGIN, 0),
        min(tight[2] + BOX_MARGIN, width),
        min(tight[3] + BOX_MARGIN, height),
    ]
    encoded = coco_mask.encode(mask)
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
    window, scale = composition.window, composition.scene.scale
    items: list[Item] = [item for item in composition.scene.items if item.kind.listed]
    if not cutters:
        items += [found.item for found in composition.subjects]
    records = []
    for item in items:
        if not item.may_touch(window, scale):
            continue
        inside = overlap(item.sketch(scale).box, window)
        if inside is None:
            continue
        patch = item.patch(scale)
        mask = silhouette_of(patch.basis)
        x, y = inside[0] - patch.x, inside[1] - patch.y
        seen = mask[y : y + inside[3] - inside[1], x : x + inside[2] - inside[0]]
        box = tight_box(seen)
        if box is None or seen.sum() < LISTED_SHARE * mask.sum():
            continue
        if min(box[2] - box[0], box[3] - box[1]) >= LISTED_SIDE:
            dx, dy = inside[0] - window[0], inside[1] - window[1]
            corners = [box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy]
            records.append({"name": item.kind.name, "box": corners})
    return records
