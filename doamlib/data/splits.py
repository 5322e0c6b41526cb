"""What a dataset holds, as tables; and parts of it that anybody can draw again."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from doamlib.core.files import write_text
from doamlib.data.dataset import Dataset
from doamlib.data.faults import error
from doamlib.data.sample import Annotation

SMALL = 0.0012
"""Section III-C: SPIE calls an object small whose box covers at most 0.12% of the image."""


def box_table(dataset: Dataset) -> pd.DataFrame:
    """One row a box.

    Returns:
        Columns ``image_id``, ``class``, ``level`` (1 to 3, or missing), ``width`` and ``height`` in
        pixels of the original image, ``area_share`` (the box's share of the image's area, 0..1).
    """
    rows = []
    for record in dataset.records:
        area = record.width * record.height
        for (x1, y1, x2, y2), label in record.items():
            width, height = x2 - x1, y2 - y1
            name = dataset.classes[label - 1]
            share = width * height / area
            rows.append((record.image_id, name, record.level, width, height, share))
    columns = ["image_id", "class", "level", "width", "height", "area_share"]
    numbers = dict.fromkeys(columns[3:], float)
    return pd.DataFrame(rows, columns=columns).astype({"level": "Int64", **numbers})


def count_table(*datasets: Dataset) -> pd.DataFrame:
    """Table II: one row a split, and ``all`` below them where there are several.

    Returns:
        One column a class (boxes), then ``boxes``, ``images`` and ``backgrounds`` (images without a
        box). The paper's "total" counts images, its class columns count boxes.

    Paper: Table II.
    """
    rows = {dataset.split: _counts(dataset.records, dataset.classes) for dataset in datasets}
    table = pd.DataFrame.from_dict(rows, orient="index")
    if len(datasets) > 1:
        table.loc["all"] = table.sum()
    return table


def level_table(dataset: Dataset) -> pd.DataFrame:
    """Table III: one row an occlusion level that occurs (``OL1`` ...), columns of Table II.

    Paper: Table III.
    """
    rows = {}
    for level in sorted({record.level for record in dataset.records} - {None}):
        records = [record for record in dataset.records if record.level == level]
        rows[f"OL{level}"] = _counts(records, dataset.classes)
    return pd.DataFrame.from_dict(rows, orient="index")


def small_object_ids(dataset: Dataset, max_share: float = SMALL) -> tuple[str, ...]:
    """The images that have a box and whose every box covers at most ``max_share`` of the image."""
    largest = box_table(dataset).groupby("image_id")["area_share"].max()
    small = set(largest.index[largest <= max_share])
    return tuple(image_id for image_id in dataset.image_ids if image_id in small)


def few_shot_ids(dataset: Dataset, shots: int, seed: int) -> tuple[str, ...]:
    """``shots`` images a class; fewer shots of the same seed are part of more.

    Only images whose items are all of one class are drawn, so that every class has exactly
    ``shots`` images.

    Raises:
        DataError: a class has fewer such images.
    """
    pure = defaultdict(list)
    for record in dataset.records:
        if len(set(record.labels.tolist())) == 1:
            pure[int(record.labels[0])].append(record.image_id)
    drawn: set[str] = set()
    for label, name in enumerate(dataset.classes, start=1):
        if len(pure[label]) < shots:
            message = f"{name}: {len(pure[label])} images of it alone, {shots} are wanted"
            fix = "add images, or leave the few-shot arms out"
            raise error("few-images", message, next(iter(dataset.sources), "."), fix=fix)
        drawn.update(_shuffled(pure[label], seed)[:shots])
    return tuple(image_id for image_id in dataset.image_ids if image_id in drawn)


def validation_split(
    dataset: Dataset, share: float, seed: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The ids to train on and the ids to validate on, in the dataset's order.

    Of every class the same share is taken; an image counts for the class of its first box, images
    without a box form a class of their own.

    Args:
        dataset: usually the training split.
        share: of the images that go into validation, above 0 and below 1.
        seed: another seed, another split.

    Raises:
        ValueError: ``share`` is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise ValueError(f"share = {share}: give a number above 0 and below 1")
    groups = defaultdict(list)
    for record in dataset.records:
        groups[int(record.labels[0]) if len(record.labels) else 0].append(record.image_id)
    held_out: set[str] = set()
    for ids in groups.values():
        held_out.update(_shuffled(ids, seed)[: round(share * len(ids))])
    ids = dataset.image_ids
    return tuple(i for i in ids if i not in held_out), tuple(i for i in ids if i in held_out)


def write_list(path: Path | str, image_ids: Sequence[str]) -> None:
    """Write a split list as OPIXray has them: one id a line."""
    write_text(path, "".join(f"{image_id}\n" for image_id in image_ids))


def _counts(records: Sequence[Annotation], classes: Sequence[str]) -> dict[str, int]:
    labels = [label for record in records for label in record.labels.tolist()]
    boxes = {name: labels.count(label) for label, name in enumerate(classes, start=1)}
    empty = sum(not len(record.labels) for record in records)
    return {**boxes, "boxes": len(labels), "images": len(records), "backgrounds": empty}


def _shuffled(image_ids: Iterable[str], seed: int) -> list[str]:
    """In an order that depends on seed and ids alone: on no library's generator, no other image."""
    return sorted(image_ids, key=lambda i: hashlib.sha256(f"{seed} {i}".encode()).digest())
