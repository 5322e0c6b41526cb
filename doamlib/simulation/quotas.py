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

TRAIN_ITEMS = (1589, 809, 1494, 1635, 1612)
"""Items by class in OPIXray's training split (Table II)."""
TEST_ITEMS = ((206, 88, 160, 214, 255), (148, 84, 126, 88, 105), (50, 63, 83, 41, 70))
"""Items by occlusion level and class in the test split (Table III)."""
TRAIN_IMAGES, TEST_IMAGES = 7109, 1776
TEST_PAIRS = (1, 3, 1)
"""Images with two items by occlusion level: 923, 551 and 307 items lie in 922, 548, 306 images."""


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


def _images(items: list[str], pairs: int, generator: np.random.Generator) -> list[tuple[str, ...]]:
    """Shuffled items as images: the first ``pairs`` with two, the others with one."""
    items = [items[i] for i in generator.permutation(len(items))]
    double = [tuple(items[2 * k : 2 * k + 2]) for k in range(pairs)]
    return double + [(item,) for item in items[2 * pairs :]]


def _repeated(counts: Sequence[int]) -> list[str]:
    return [name for name, count in zip(CLASSES, counts, strict=True) for _ in range(count)]


def _train(images: int, generator: np.random.Generator) -> list[tuple[tuple[str, ...], None]]:
    pairs = round(images * (sum(TRAIN_ITEMS) - TRAIN_IMAGES) / TRAIN_IMAGES)
    items = _repeated(largest_remainder(TRAIN_ITEMS, images + pairs))
    return [(names, None) for names in _images(items, pairs, generator)]


def _test(images: int, generator: np.random.Generator) -> list[tuple[tuple[str, ...], int]]:
    pairs = round(images * sum(TEST_PAIRS) / TEST_IMAGES)
    cells = largest_remainder([n for row in TEST_ITEMS for n in row], images + pairs)
    plans: list[tuple[tuple[str, ...], int]] = []
    for level, double in enumerate(largest_remainder(TEST_PAIRS, pairs), start=1):
        items = _repeated(cells[5 * (level - 1) : 5 * level])
        plans += [(names, level) for names in _images(items, double, generator)]
    return plans


def plan_images(config: SimulationConfig) -> list[ImagePlan]:
    """Every image of a dataset, training split first, in random order within a split."""
    generator = np.random.default_rng([config.seed, 1])
    plans: list[ImagePlan] = []
    for split, images, draw in (
        ("train", config.train_images, _train),
        ("test", config.test_images, _test),
    ):
        drawn = draw(images, generator) if config.cutters else [((), None)] * images
        for i in generator.permutation(images):
            plans.append(ImagePlan(len(plans), split, *drawn[i]))
    return plans
