"""How well a map fits an item: scores of a map over a box or a silhouette.

Maps lie on the network's input, S x S. A region is the share of each pixel that lies inside, so
boxes need no rounding and a thin blade does not vanish. Scores of a map m and a region r:

- ``lift``: mean of m over r divided by the mean of m, which is the share of energy inside divided
  by the share of area. 1: no preference, also by rule for a map that is 0 everywhere.
- ``pointing``: is the largest value inside the box? Tied largest values count by their share
  inside, so that a constant map scores the box's share of the area, as a blind guess would.
- ``cover``: share of the silhouette where m is at least half its largest value in the image.
- ``evenness``: 1 minus the Gini coefficient of m over the silhouette. 1: the same everywhere; near
  0: all in one spot. A map that is 0 on the whole silhouette has cover and evenness 0. A constant
  map is perfectly even and covers all: neither means anything without a lift above 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

SCORES = ("lift_box", "lift_silhouette", "pointing", "cover", "evenness")


def _overlap(low: ArrayLike, high: ArrayLike, size: int) -> NDArray[np.float64]:
    """Length that each interval (N,) shares with each of the pixels 0..size: (N, size)."""
    pixel = np.arange(size)
    low, high = np.reshape(low, (-1, 1)), np.reshape(high, (-1, 1))
    return np.clip(np.minimum(high, pixel + 1) - np.maximum(low, pixel), 0, 1)


def box_region(box: ArrayLike, size: int) -> NDArray[np.float64]:
    """Share of every pixel (size, size) inside a box x1, y1, x2, y2; outside the frame is cut."""
    x1, y1, x2, y2 = np.asarray(box, np.float64)
    return _overlap(y1, y2, size).T @ _overlap(x1, x2, size)


def mask_region(mask: NDArray[np.bool_], size: int) -> NDArray[np.float64]:
    """Share of every pixel (size, size) that a mask H,W covers when stretched over the square."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    down, across = (
        _overlap(lines * (size / length), (lines + 1) * (size / length), size)
        for lines, length in zip((rows, columns), mask.shape, strict=True)
    )
    return down.T @ mask[np.ix_(rows, columns)].astype(np.float64) @ across


def lift(values: NDArray, region: NDArray) -> float:
    """Mean over the region over mean over the image (see the module)."""
    mean = values.mean(dtype=np.float64)
    return float(np.average(values, weights=region) / mean) if mean > 0 else 1.0


def pointing(values: NDArray, region: NDArray) -> float:
    """Share of the tied largest values inside the region, 0 to 1."""
    return float(region[values == values.max()].mean())


def cover(values: NDArray, region: NDArray) -> float:
    """Share of the region at half the image's largest value or more."""
    highest = values.max()
    return float(np.average(values >= highest / 2, weights=region)) if highest > 0 else 0.0


def evenness(values: NDArray, region: NDArray) -> float:
    """1 minus Gini over the region: twice the area under the Lorenz curve."""
    weight = region[region > 0].astype(np.float64)
    inside = values[region > 0].astype(np.float64)
    if inside.max() <= 0:
        return 0.0
    order = np.argsort(inside)
    pixels = np.concatenate([[0], np.cumsum(weight[order])])
    energy = np.concatenate([[0], np.cumsum((weight * inside)[order])])
    return float(2 * np.trapezoid(energy / energy[-1], pixels / pixels[-1]))


def score_map(values: NDArray, box: NDArray, silhouette: NDArray | None) -> dict[str, float]:
    """All of ``SCORES`` of a map S,S, not negative; NaN where a region is empty or not known."""
    asked = {
        "lift_box": (lift, box),
        "lift_silhouette": (lift, silhouette),
        "pointing": (pointing, box),
        "cover": (cover, silhouette),
        "evenness": (evenness, silhouette),
    }
    return {
        name: score(values, region) if region is not None and region.any() else float("nan")
        for name, (score, region) in asked.items()
    }
