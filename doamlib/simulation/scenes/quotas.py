"""Which classes, at which occlusion level, each image shows: Tables II and III scaled.

One rule for every size: the number of items is scaled from the number of images, items are shared
among the tables' cells by largest remainder, and surplus items join an image of their own level.
For 7,109 and 1,776 images this gives both tables exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from doamlib.data.classes import CLASSES
from doamlib.simulation.config import SimulationConfig

Table = dict[int | None, tuple[tuple[int, ...], int]]
"""By occlusion level: items by class, and how many images show two of them."""
TRAIN: Table = {None: ((1589, 809, 1494, 1635, 1612), 30)}
"""OPIXray's training split (Table II)."""
TEST: Table = {
    1: ((206, 88, 160, 214, 255), 1),
    2: ((148, 84, 126, 88, 105), 3),
    3: ((50, 63, 83, 41, 70), 1),
}
"""Its test split (Table III)."""


@dataclass(frozen=True)
class ImagePlan:
    """What one image must show.

    Attributes:
        index: Number of the image in the dataset; its name and part of its seed.
        split: ``train`` or ``test``.
        classes: Class names of its cutters; empty without cutters.
        level: Occlusion level (test split with cutters), else None.
    """

    index: int
    split: str
    classes: tuple[str, ...]
    level: int | None = None

    @property
    def stem(self) -> str:
        """File name without extension, six digits."""
        return f"{self.index:06d}"


def largest_remainder(weights: Sequence[int], total: int) -> list[int]:
    """Whole numbers in proportion to weights that sum to total (ties: earlier first)."""
    whole = sum(weights)
    shares = [divmod(weight * total, whole) for weight in weights]
    counts = [share for share, _ in shares]
    order = sorted(range(len(weights)), key=lambda i: -shares[i][1])
    for i in order[: total - sum(counts)]:
        counts[i] += 1
    return counts


def _scaled(
    table: Table, images: int, generator: np.random.Generator
) -> list[tuple[tuple[str, ...], int | None]]:
    """Classes and level of every image of a split, for this number of images."""
    rows, doubles = zip(*table.values(), strict=True)
    cells = [number for row in rows for number in row]
    pairs = round(images * sum(doubles) / (sum(cells) - sum(doubles)))
    counts = np.reshape(largest_remainder(cells, images + pairs), (len(rows), len(CLASSES)))
    plans = []
    for level, row, double in zip(table, counts, largest_remainder(doubles, pairs), strict=True):
        items = generator.permutation(np.repeat(CLASSES, row)).tolist()
        plans += [(tuple(items[2 * k : 2 * k + 2]), level) for k in range(double)]
        plans += [((item,), level) for item in items[2 * double :]]
    return plans


def plan_images(config: SimulationConfig) -> list[ImagePlan]:
    """Every image of a dataset, training split first, in random order within a split.

    Paper: Tables II and III.
    """
    generator = np.random.default_rng([config.seed, 1])
    plans: list[ImagePlan] = []
    splits = (("train", config.train_images, TRAIN), ("test", config.test_images, TEST))
    for split, images, table in splits:
        drawn = _scaled(table, images, generator) if config.cutters else [((), None)] * images
        for i in generator.permutation(images):
            plans.append(ImagePlan(len(plans), split, *drawn[i]))
    return plans
