"""Does a map show what was learned? Adebayo et al.'s test with weights drawn anew (NeurIPS 2018).

Part of a trained network gets fresh random weights, and its maps are drawn and scored again. A map
that stays the same, or finds the item as well, shows the image and the architecture, not the
learning.

One draw is no baseline: what an untrained DOAM prefers depends on the signs of its last weights,
and its lift may be a tenth of an even spread or three times it. So there are ``DRAWS`` draws, and
batch normalisations drawn anew get statistics of training images first, as training would give
them. At their start, mean 0 and variance 1, they pass on whatever comes: that saturates the sigmoid
of M in few draws of the code's reading, and in most of the paper's, which has one a convolution.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from doamlib.data.cache import CachedDataset
from doamlib.evaluation.map_scores import (
    Kind,
    chosen_images,
    item_maps,
    kinds_of,
    lift,
    regions,
    without_nan,
)
from doamlib.evaluation.test_set import TestSet
from doamlib.models.detector import Detector, build_detector

Part = Literal["doam", "late", "all"]

PARTS: dict[Part, tuple[str, ...]] = {
    "doam": ("doam.",),
    "late": ("network.backbone.extra.", "network.head."),
    "all": ("",),
}
"""What `randomised` may draw anew; ``late`` is SSD's conv5 and all behind it, heads included."""

CHECKED: dict[Kind, tuple[Part, ...]] = {"attention": ("doam",), "gradcam": ("late", "all")}
"""What is drawn anew to find out whether a map shows what was learned."""

Calibrated = dict[int, dict[str, Tensor]]
"""Seed of a draw -> DOAM drawn anew, with the statistics of its batch normalisations."""

DRAWS = 10
CALIBRATION_IMAGES = 128
BATCH = 32
MEASURED = ("correlation", "lift_box", "lift_silhouette")


def calibration_images(train: CachedDataset) -> Tensor:
    """At most 128 training images, uint8 N,3,S,S; the same ones for all runs on the same data."""
    return train.batch(chosen_images(len(train), CALIBRATION_IMAGES))[0]


def randomised(
    detector: Detector, part: Part, seed: int, images: Tensor, doams: Calibrated | None = None
) -> Detector:
    """A copy with one of ``PARTS`` as freshly initialised from ``seed``, the rest as trained.

    Args:
        detector: a trained one; it is left as it is.
        part: what is drawn anew.
        seed: of the draw.
        images: training images, uint8 N,3,S,S; batch normalisations drawn anew get their statistics
            from them.
        doams: DOAMs of earlier draws from the same ``images``; a draw that is not there is added.

    Returns:
        In evaluation mode, on the detector's device.

    Raises:
        ValueError: the detector has no such part.
    """
    fresh = build_detector(detector.config, seed).state_dict()
    drawn = {name: value for name, value in fresh.items() if name.startswith(PARTS[part])}
    if not drawn:
        raise ValueError(f"this detector has no part {part!r}: {', '.join(PARTS[part])} missing")
    changed = copy.deepcopy(detector).eval()
    changed.load_state_dict(drawn, strict=False)
    norms = {
        name: layer
        for name, layer in changed.named_modules()
        if isinstance(layer, _BatchNorm) and name.startswith(PARTS[part])
    }
    doams = {} if doams is None else doams
    of_doam = {name for name in norms if name.startswith("doam.")}
    if of_doam and of_doam == norms.keys() and seed in doams:
        changed.doam.load_state_dict(doams[seed])
    elif norms:
        _calibrate(changed, norms, images)
    if of_doam:
        doams[seed] = changed.doam.state_dict()
    return changed


@torch.no_grad()
def _calibrate(detector: Detector, norms: Mapping[str, _BatchNorm], images: Tensor) -> None:
    """Running statistics of the named batch normalisations: means over batches of ``images``."""
    momenta = {name: layer.momentum for name, layer in norms.items()}
    for layer in norms.values():
        layer.reset_running_stats()
        layer.momentum = None  # a cumulative mean, where every batch counts the same
        layer.train()
    for batch in images.split(BATCH):
        inputs = detector.network_input(detector.pixels(batch)[0])
        if any(name.startswith("network.") for name in norms):
            detector.network(inputs)
    for name, layer in norms.items():
        layer.momentum = momenta[name]
        layer.eval()


def _ranks(values: NDArray) -> NDArray[np.float32]:
    """Of all pixels (tied ones share the mean), with mean 0 and length 1; 0 for a constant map."""
    ranks = stats.rankdata(values)
    ranks -= ranks.mean()
    return (ranks / max(1.0, np.linalg.norm(ranks))).astype(np.float32)


def _correlation(first: NDArray, second: NDArray) -> float:
    """Spearman's, of two maps' ranks, -1 to 1; NaN where one is constant (it ranks nothing)."""
    return float(first @ second) if first.any() and second.any() else float("nan")


def randomisation_check(
    detector: Detector,
    cached: CachedDataset,
    kind: Kind,
    part: Part,
    seeds: Sequence[int],
    images: Tensor,
    doams: Calibrated | None = None,
) -> pd.DataFrame:
    """Every item's map by every randomised network, beside the trained one's.

    Args:
        detector: the trained one, in evaluation mode.
        cached: test images at its input size.
        kind: of map.
        part: what is drawn anew.
        seeds: one a draw.
        images: as `randomised` takes them.
        doams: as `randomised` takes them.

    Returns:
        A row a draw and item: ``image`` (id), ``item`` (number within ``cached``), ``map``,
        ``part``, ``draw`` (its seed), ``blank``, ``lift_box``, ``lift_silhouette`` (NaN where no
        silhouette is known), and ``correlation`` with the trained network's map.
    """
    test, places = TestSet.of(cached.dataset), regions(cached)
    ids = [test.image_ids[index] for index in test.truth.image_index]
    trained = [_ranks(values) for values in item_maps(detector, cached, kind)]
    rows = []
    for seed in seeds:
        other = randomised(detector, part, seed, images, doams)
        for item, values in enumerate(item_maps(other, cached, kind)):
            box, silhouette = places[item]
            row = {"image": ids[item], "item": item, "draw": seed, "blank": not values.any()}
            row["lift_box"] = lift(values, box)
            known = silhouette is not None and silhouette.any()
            row["lift_silhouette"] = lift(values, silhouette) if known else np.nan
            row["correlation"] = _correlation(trained[item], _ranks(values))
            rows.append(row)
    return pd.DataFrame(rows).assign(map=kind, part=part)


def sanity(
    detector: Detector, cached: CachedDataset, images: Tensor, seed: int
) -> dict[str, dict[Part, Any]]:
    """Each map of a detector beside those of ``DRAWS`` networks with randomised weights; for JSON.

    Args:
        detector: a trained one, in evaluation mode.
        cached: test images at its input size.
        images: as `randomised` takes them.
        seed: the draws take this one and the next nine.

    Returns:
        Map -> part of ``CHECKED`` -> ``correlation``, ``lift_box`` and ``lift_silhouette`` of the
        randomised networks, means over images without blank maps, then over draws; ``draws``, the
        same three as lists with an entry a draw; ``images``, how many were looked at. None stands
        for NaN.
    """
    asked = (range(seed, seed + DRAWS), images, {})  # "all" finds DOAM as "doam" has drawn it
    return {
        kind: {
            part: _summed_up(randomisation_check(detector, cached, kind, part, *asked))
            for part in CHECKED[kind]
        }
        for kind in kinds_of(detector)
    }


def _summed_up(frame: pd.DataFrame) -> dict[str, Any]:
    of_image = frame[~frame["blank"]].groupby(["draw", "image"])[list(MEASURED)].mean()
    draws = of_image.groupby("draw").mean().reindex(frame["draw"].unique())
    listed = {name: list(without_nan(dict(draws[name])).values()) for name in MEASURED}
    means = without_nan(draws.mean().to_dict())
    return means | {"draws": listed, "images": int(frame["image"].nunique())}
