"""Fit the two occlusion thresholds on re-creations of the published examples.

The paper's figure of occlusion levels shows six cutters: on cloth and in a backpack (OL1), half on
a phone and half on a laptop (OL2), on stacked electronics and under a bundle of rods (OL3). Each is
re-created in 100 variants (shapes, places and classes vary) and O is measured.

* OL2/OL3: the middle of the gap between the OL2 examples' 90% and the OL3 examples' 10% quantile.
* OL1/OL2: the examples overlap (as they do by eye), so every border between the OL1 examples' 90%
  quantile and the OL2 examples' median agrees with them; among these, the one that brings the share
  of OL1 among natural scenes closest to the paper's 51.9%.

The results are rounded to two decimals and frozen as
``doamlib.simulation.scenes.occlusion.LEVEL_LIMITS``.

    python scripts/simulation_fit_occlusion.py [OUT.json]

The book shows the copy in ``book/measurements/occlusion_fit.json``.
"""

from __future__ import annotations

import json
import math
import sys

import numpy as np

from doamlib.core.files import write_text
from doamlib.data.classes import CLASSES
from doamlib.simulation.dice import Dice
from doamlib.simulation.scenes.compose import compose
from doamlib.simulation.scenes.occlusion import LEVEL_LIMITS, level_of
from doamlib.simulation.scenes.steps import Placement, arrange, measure_subject

VARIANTS = 100
NATURAL_SCENES = 600
PAPER_OL1_SHARE = 0.519


def _around(names: list[str], dice: Dice, spread: float) -> list[Placement]:
    return [
        Placement(name, *dice.point(spread, spread), psi=dice.between(0, 6.28), seed=dice.seed())
        for name in names
    ]


def anchor(name: str, dice: Dice) -> list[Placement]:
    """One variant of a published example: the cutter first, then what lies with it."""
    u = dice.between
    psi = u(0, 2 * math.pi)
    cutter = Placement(dice.pick(CLASSES), psi=psi, tilt=abs(dice.normal(0.1)), seed=dice.seed())
    if name == "bare tray":
        return [cutter]
    if name == "on cloth":
        return [cutter, *_around(["cloth"] * dice.count(1, 2), dice, 25)]
    if name == "in backpack":
        return [cutter, *_around(["cloth"] * dice.count(1, 3) + ["film"], dice, 30)]
    if name == "half on phone":
        reach = u(25, 45)
        there = (reach * math.cos(psi), reach * math.sin(psi))
        return [cutter, Placement("phone", *there, psi + u(0.8, 2.3), seed=dice.seed())]
    if name == "half on laptop":
        reach = u(100, 122)
        there = (reach * math.cos(psi), reach * math.sin(psi))
        return [cutter, Placement("laptop", *there, psi + u(1.2, 1.9), seed=dice.seed())]
    if name == "on stacked electronics":
        pile = [dice.pick(("circuit_board", "phone", "hard_disk")) for _ in range(3)]
        return [cutter, *_around([*pile, "circuit_board"], dice, 20)]
    if name == "under rods":
        bundles = [
            Placement("rod_bundle", u(-10, 10), u(-9, 9), psi + dice.normal(0.05), seed=dice.seed())
            for _ in range(3)
        ]
        return [cutter, *bundles]
    raise ValueError(f"no anchor {name!r}")


LEVELS = {
    "on cloth": 1,
    "in backpack": 1,
    "half on phone": 2,
    "half on laptop": 2,
    "on stacked electronics": 3,
    "under rods": 3,
}


def measure(name: str) -> np.ndarray:
    """O of every variant of an anchor, sorted."""
    values = []
    for variant in range(VARIANTS):
        container = "backpack" if name == "in backpack" else "tray"
        scene = arrange(anchor(name, Dice([3, *name.encode(), variant])), container, variant)
        values.append(measure_subject(scene, 0)[1].value)
    return np.sort(values)


def natural() -> np.ndarray:
    """O of cutters in random scenes, without any quota, sorted."""
    scenes = [compose([31, i], [CLASSES[i % 5]], 0.5) for i in range(NATURAL_SCENES)]
    return np.sort([scene.subjects[0].occlusion.value for scene in scenes])


def fit(values: dict[str, np.ndarray], free: np.ndarray) -> dict[str, float]:
    """The two borders."""
    group = {
        level: np.concatenate([v for n, v in values.items() if LEVELS.get(n) == level])
        for level in (1, 2, 3)
    }
    lowest, highest = np.quantile(group[1], 0.9), np.median(group[2])
    gap = np.quantile(group[2], 0.9), np.quantile(group[3], 0.1)
    wanted = np.quantile(free, PAPER_OL1_SHARE)
    return {
        "OL1/OL2": float(np.clip(wanted, lowest, highest)),
        "OL1/OL2 lowest": float(lowest),
        "OL1/OL2 highest": float(highest),
        "OL2/OL3": float(np.mean(gap)),
    }


def main(target: str | None = None) -> None:
    values = {name: measure(name) for name in ("bare tray", *LEVELS)}
    quantiles = {
        name: np.quantile(v, [0.1, 0.5, 0.9]).round(4).tolist() for name, v in values.items()
    }
    for name, (low, median, high) in quantiles.items():
        print(f"{name:24s} median {median:.3f}, 10-90% {low:.3f}-{high:.3f}")
    free = natural()
    borders = {name: round(v, 4) for name, v in fit(values, free).items()}
    shares = [round(float(np.mean([level_of(v) == k for v in free])), 3) for k in (1, 2, 3)]
    print("fitted", borders, "frozen", LEVEL_LIMITS, "natural shares", shares)
    if target:
        result = {
            "quantiles_10_50_90": quantiles,
            "fitted": borders,
            "frozen": LEVEL_LIMITS,
            "natural_shares": shares,
        }
        write_text(target, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
