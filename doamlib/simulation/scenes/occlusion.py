"""How occluded a cutter is: a continuous O between 0 and 1, and the three levels cut from it.

O compares how visible the item is where it lies with how visible it would be on a bare tray,
pixel by pixel and in displayed colour (no noise, no sharpening). Contrast counts less where the
surroundings are busy. Thresholds are fixed numbers, not quantiles, so a level keeps its meaning
when the generator changes; ``scripts/simulation_fit_occlusion.py`` fits them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from doamlib.simulation.optics.display import DisplayChain, clean_colour, luminance, tone
from doamlib.simulation.optics.physics import log_attenuation, physics

SILHOUETTE = 0.02
"""High-energy log-attenuation (thin-layer value) above which a pixel belongs to the item."""
CORE_SHARE = 0.25
"""The core is what attenuates more than this share of the item's 90th percentile."""
K0, K1 = 0.10, 1.5
"""Visibility is c / (c + K0 + K1 * clutter)."""
CLUTTER_PX = 2.0
"""Standard deviation of the clutter window."""
TRAY_LOAD = 0.25
"""Polyethylene load (g/cm2) of the bare tray that visibility is compared with."""
LEVEL_LIMITS = (0.13, 0.32)
"""OL1 below the first, OL3 from the second."""
BLACK_LUMA = 15.0


@dataclass(frozen=True)
class Occlusion:
    """Occlusion of one item, with the maps it is made of (all on the item's patch).

    Attributes:
        value: O, 0 (as on a bare tray) towards 1 (invisible).
        silhouette: bool (H, W).
        core: bool (H, W), the strongly attenuating part.
        weight: float32 (H, W), attenuation on the core, at most 1.
        contrast: c1, colour distance the item makes where it lies, float32 (H, W).
        reference: c0, colour distance it would make on a bare tray.
        clutter_map: Local standard deviation of the surroundings' colour.
        clutter: Its weighted mean.
        share: Share of the core where the surroundings attenuate more than the item.
        black: Share of the core that would be black (luma < 15) on a bare tray.
    """

    value: float
    silhouette: np.ndarray
    core: np.ndarray
    weight: np.ndarray
    contrast: np.ndarray
    reference: np.ndarray
    clutter_map: np.ndarray
    clutter: float
    share: float
    black: float

    @property
    def core_pixels(self) -> int:
        """Size of the core."""
        return int(self.core.sum())


def level_of(value: float) -> int:
    """Occlusion level 1, 2 or 3 of an O."""
    return 1 + sum(value >= limit for limit in LEVEL_LIMITS)


def silhouette_of(basis: np.ndarray) -> np.ndarray:
    """Where an item alone attenuates visibly: bool (H, W) of basis maps (2, H, W)."""
    data = physics()
    thin = [np.float32(data.high @ data.mu[name]) for name in ("pe", "steel")]
    return basis[0] * thin[0] + basis[1] * thin[1] > SILHOUETTE


def measure_occlusion(own: np.ndarray, others: np.ndarray) -> Occlusion:
    """O of an item.

    Args:
        own: Basis maps of the item alone, float32 (2, H, W), g/cm2.
        others: Basis maps of everything else there, float32 (2, H, W).

    Raises:
        ValueError: the item has no visible pixel here.
    """
    low, high = log_attenuation(own)
    silhouette = silhouette_of(own)
    if not silhouette.any():
        raise ValueError("the item has no visible pixel in this window")
    core = silhouette & (high > CORE_SHARE * np.quantile(high[silhouette], 0.9))
    weight = np.minimum(high, 1) * core
    tray = np.zeros_like(own)
    tray[0] = TRAY_LOAD * physics().materials["pe"].polyethylene
    others_low, others_high = log_attenuation(others)
    around, bare = clean_colour(others_low, others_high), clean_colour(*log_attenuation(tray))
    contrast = np.linalg.norm(clean_colour(*log_attenuation(own + others)) - around, axis=2)
    reference = np.linalg.norm(clean_colour(*log_attenuation(own + tray)) - bare, axis=2)
    mean = cv2.GaussianBlur(around, (0, 0), CLUTTER_PX)
    variance = (cv2.GaussianBlur(around * around, (0, 0), CLUTTER_PX) - mean * mean).sum(axis=2)
    clutter = np.sqrt(np.maximum(variance, 0))
    seen = (weight * contrast / (contrast + K0 + K1 * clutter)).sum()
    seen_bare = (weight * reference / (reference + K0)).sum()
    luma = tone(luminance(low, high), DisplayChain())
    return Occlusion(
        value=max(0.0, 1 - float(seen / max(seen_bare, 1e-6))),
        silhouette=silhouette,
        core=core,
        weight=weight,
        contrast=contrast,
        reference=reference,
        clutter_map=clutter,
        clutter=float((weight * clutter).sum() / weight.sum()),
        share=float((others_high > high)[core].mean()),
        black=float((luma < BLACK_LUMA)[core].mean()),
    )
