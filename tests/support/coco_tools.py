"""Writes small COCO datasets as tools do: noise with one dark box an image."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from doamlib.data.classes import CLASSES


def write_picture(path: Path, size=(60, 40), boxes=(), seed=0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(190, 250, (size[1], size[0], 3), dtype=np.uint8)
    for x, y, width, height in boxes:
        pixels[int(y) : int(y + height), int(x) : int(x + width)] = 40
    Image.fromarray(pixels).save(path)


def write_coco(
    root: Path,
    names=CLASSES,
    *,
    counts={"train": 6, "test": 4},  # noqa: B006 - read only
    ids=None,
    file="{split}.json",
    images="{split}",
    prefix="",
    size=(60, 40),
) -> Path:
    """A dataset with one box an image; ``{split}`` in ``file`` and ``images`` is the split's name.

    Args:
        ids: of the categories; 1, 2, ... by default.
        prefix: put before the file names in the JSON.
    """
    ids = ids or range(1, len(names) + 1)
    for part, (split, count) in enumerate(counts.items()):
        content = {"images": [], "annotations": [], "categories": []}
        content["categories"] = [{"id": i, "name": n} for i, n in zip(ids, names, strict=True)]
        for number in range(1, count + 1):
            box = [4 + number, 3 + part, 20, 15 + number]
            name = f"{split}_{number}.png"
            write_picture(
                root / images.format(split=split) / name, size, [box], 100 * part + number
            )
            entry = {"id": number, "file_name": prefix + name, "width": size[0], "height": size[1]}
            content["images"].append(entry)
            category = list(ids)[(number - 1) % len(names)]
            item = {"id": number, "image_id": number, "category_id": category, "bbox": box}
            content["annotations"].append({**item, "iscrowd": 0, "area": box[2] * box[3]})
        target = root / file.format(split=split)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(content))
    return root


def edit(file: Path, change) -> None:
    """Let ``change`` alter the content of a JSON file in place."""
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
