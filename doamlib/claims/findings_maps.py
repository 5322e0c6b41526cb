"""What the check with weights drawn anew says of a map, in sentences that are true for any outcome.

**The rule** is the part *learned* of claims 10 and 11 (:mod:`doamlib.claims.rules`): the lift of
the trained network's map lies above the mean lift of the maps of ten networks in which a part was
drawn anew. It *passes* if the 95% t interval of that difference over seeds lies above zero, by
:func:`doamlib.claims.verdict.judge`, which asks for several seeds. The region is the silhouette
where one is known, else the box. Neither the correlation of the maps nor the range of the draws
decides; both are told.

Taught in ``book/map_quality.ipynb``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from doamlib.claims.comparison import minus
from doamlib.claims.rules import REGION
from doamlib.claims.verdict import judge
from doamlib.core.report import counted
from doamlib.evaluation.statistics import BySeed, Estimate, summarise
from doamlib.experiments.results import Runs

OVER = dict(zip(REGION, ("the silhouette", "the box"), strict=True))


@dataclass(frozen=True)
class MapCheck:
    """One kind of map of one arm, and the same map with a part of the weights drawn anew.

    Attributes:
        region: what the lifts are over, one of `REGION`.
        trained: lift of the trained network's map, by seed.
        mean: of the lifts of the draws.
        draws: the lift of each draw that is not blank.
        correlation: of the trained and the drawn maps, NaN where none can be told.
    """

    region: str
    trained: BySeed
    mean: BySeed
    draws: Mapping[int, list[float]]
    correlation: BySeed

    @property
    def difference(self) -> Estimate:
        """Trained minus the mean of the draws, over seeds."""
        return summarise(minus(self.trained, self.mean))

    @property
    def as_high(self) -> dict[int, int]:
        """How many of a seed's draws have the lift of its trained map or a higher one."""
        return {s: sum(d >= self.trained[s] for d in draws) for s, draws in self.draws.items()}

    @property
    def answer(self) -> str:
        """Whether it passes, in a few words."""
        verdict = judge(minus(self.trained, self.mean), margin=None)
        if verdict.status in ("supported", "contradicted"):
            return "passes" if verdict.status == "supported" else "does not pass"
        after = f"open after {counted(self.difference.n, 'seed')}"
        return f"above, but {after}" if self.difference.mean > 0 else f"not above, and {after}"

    def __str__(self) -> str:
        lift, drawn = (np.mean(list(values.values())) for values in (self.trained, self.mean))
        lifts = [value for draws in self.draws.values() for value in draws]
        told = (
            f"{self.answer}. The lift over {OVER[self.region]} is {lift:.2f}, with weights drawn "
            f"anew {drawn:.2f} on average; the difference is {self.difference}"
        )
        if not lifts:
            return f"{told}."
        reach = f"from {min(lifts):.2f} to {max(lifts):.2f}"
        high = sum(self.as_high.values()) or "none"
        return f"{told}. The draws reach {reach}; {high} of the {len(lifts)} get as high."

    def table(self) -> pd.DataFrame:
        """The numbers, a row a seed."""
        rows = {
            seed: {
                "correlation": self.correlation[seed],
                "trained": lift,
                "mean of draws": self.mean[seed],
                "lowest": min(self.draws[seed], default=np.nan),
                "highest": max(self.draws[seed], default=np.nan),
                "as high": f"{self.as_high[seed]} of {len(self.draws[seed])}",
            }
            for seed, lift in self.trained.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("seed")


def map_check(runs: Runs, arm: str, kind: str, part: str) -> MapCheck | None:
    """What the runs of an arm tell of one kind of map and one part drawn anew.

    Args:
        runs: results, by (arm, seed).
        arm: whose.
        kind: ``attention`` or ``gradcam``.
        part: one of :data:`doamlib.evaluation.randomisation.PARTS`.

    Returns:
        Over the first of `REGION` that is known; None where no run tells.
    """
    told = {
        seed: result.metrics.get("maps", {}).get(kind, {})
        for (own, seed), result in runs.items()
        if own == arm
    }
    for region in REGION:
        trained = {s: maps.get(region, {}).get("mean") for s, maps in told.items()}
        drawn = {s: maps.get("random", {}).get(part, {}) for s, maps in told.items()}
        seeds = [s for s in told if trained[s] is not None and drawn[s].get(region) is not None]
        if seeds:
            return MapCheck(
                region,
                {s: trained[s] for s in seeds},
                {s: drawn[s][region] for s in seeds},
                {s: _listed(drawn[s], region) for s in seeds},
                {s: _number(drawn[s].get("correlation")) for s in seeds},
            )
    return None


def _listed(drawn: Mapping, region: str) -> list[float]:
    return [value for value in drawn.get("draws", {}).get(region, []) if value is not None]


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def beside(value: float, others: Mapping[str, float]) -> str:
    """Where a number lies to others, e.g. ``above edges, below darkness``.

    Args:
        value: NaN where it was not measured.
        others: name -> number, at least one.
    """
    known = {name: other for name, other in others.items() if not np.isnan(other)}
    if np.isnan(value) or not known:
        return "not measured"
    places = {
        "above": [name for name, other in known.items() if value > other],
        "level with": [name for name, other in known.items() if value == other],
        "below": [name for name, other in known.items() if value < other],
    }
    return ", ".join(f"{place} {' and '.join(names)}" for place, names in places.items() if names)
