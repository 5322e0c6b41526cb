"""What the page on the attention switch has found, in sentences that are true for any outcome.

**The rule**, written before any reference run. What a trained network loses when each test
image gets another image's attention map is the mAP with its own maps minus the mAP with exchanged
ones. The map *acts* if that is 1 mAP or more on average over seeds and, with several seeds, its 95%
t interval lies above zero. Either answer is *settled* if the whole interval lies on its side of
1 mAP and there are as many seeds as a verdict needs (both conditions are stricter since 28 November
2026, when one seed was stored). The edge channel is judged in the same way. A network whose own mAP
is below `ABLE` has little to lose and is not judged.

Taught in ``book/attention_switch.ipynb``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import pandas as pd

from doamlib.claims.admission import ACTS, matters
from doamlib.claims.comparison import arms_in, exchanged, map_losses
from doamlib.claims.verdict import MIN_SEEDS
from doamlib.evaluation.map_swaps import EDGE_SWAPS, SWAPS
from doamlib.evaluation.statistics import Estimate, summarise
from doamlib.experiments.arms import READINGS
from doamlib.experiments.results import Runs

ABLE = 5.0
"""mAP in points that a network must have, on average over seeds, to be judged."""

MAP, EDGES = "other", "edges_other"
"""The exchanges between images that decide: of the map, and of the edge channel."""

EXCHANGES = (*(name for name in SWAPS if name != "own"), "edge_map", *EDGE_SWAPS)
"""Every exchange that :func:`doamlib.evaluation.map_swaps.map_effect` reports."""

CODE, CONCAT = READINGS[0], "SSD+Concat"
OTHERS = ("YOLOv3+DOAM-T", "FCOS+DOAM-T")
"""The code's reading in front of the paper's other detectors."""

SHORT = dict(zip(READINGS, ("the code's", "the paper's", "the normalised"), strict=True))


def losses(runs: Runs) -> pd.DataFrame:
    """Every exchange of every arm.

    Returns:
        Indexed by ``arm`` and ``exchange``, those of `EXCHANGES` that were measured: ``lost`` (mean
        over seeds, points), ``low`` and ``high`` (95% t interval, NaN for one seed), ``n``.
    """
    rows = {}
    for arm in arms_in(runs):
        for exchange in EXCHANGES:
            if by_seed := map_losses(runs, arm, exchange):
                rows[arm, exchange] = summarise(by_seed)
    index = pd.MultiIndex.from_tuples(rows, names=["arm", "exchange"])
    columns = {"lost": "mean", "low": "low", "high": "high", "n": "n"}
    values = {c: [getattr(e, of) for e in rows.values()] for c, of in columns.items()}
    return pd.DataFrame(values, index=index).astype({"low": float, "high": float})


@dataclass(frozen=True)
class Effect:
    """What one exchange between images does to one arm.

    Attributes:
        arm: its name.
        loss: the mAP lost, in points, over seeds.
    """

    arm: str
    loss: Estimate

    @property
    def acts(self) -> bool:
        """By :func:`doamlib.claims.admission.matters`."""
        return matters(self.loss)

    @property
    def settled(self) -> bool:
        """Whether enough seeds lie on one side of `ACTS`, with their whole interval."""
        if self.loss.n < MIN_SEEDS:
            return False
        return self.loss.low >= ACTS or self.loss.high < ACTS

    def __str__(self) -> str:
        return f"{_signed(-self.loss.mean)} in {SHORT.get(self.arm, self.arm)}"


def effects(runs: Runs, exchange: str, arms: Sequence[str] = READINGS) -> list[Effect]:
    """The effect of an exchange on each of these arms that has one measured and is `ABLE`."""
    found = []
    for arm in arms:
        by_seed = map_losses(runs, arm, exchange)
        if by_seed and 100 * fmean(exchanged(runs, arm, "own").values()) >= ABLE:
            found.append(Effect(arm, summarise(by_seed)))
    return found


def finding(runs: Runs) -> str:
    """The page's finding in one sentence: which maps act, and which edge channels.

    Args:
        runs: of `READINGS` and "SSD+Concat", of one profile.
    """
    maps, edges = effects(runs, MAP), effects(runs, EDGES, (*READINGS, CONCAT))
    if not maps and any(map_losses(runs, arm, MAP) for arm in READINGS):
        return f"These networks find too little to tell: with DOAM all stay below {ABLE:g} mAP."
    if not maps:
        return "No attention map has been exchanged in these runs, so nothing is known yet."
    of_map, of_edges = "another image's map changes the mAP by", "another image's edges:"
    told = f"The attention map {_acts(maps, 'readings of DOAM', of_map)}"
    if not edges:
        return f"{told}; the edge channel was not exchanged."
    return f"{told}; the edge channel {_acts(edges, 'networks', of_edges)}."


def _acts(found: list[Effect], several: str, changes: str) -> str:
    acting, total = sum(effect.acts for effect in found), len(found)
    if total == 1:
        (only,) = found
        where = f"{SHORT[only.arm]} reading of DOAM" if only.arm in SHORT else only.arm
        acts = "acts" if only.acts else "does not act"
        return f"{acts} in {where} ({changes} {_signed(-only.loss.mean)})"
    many = f"{acting or 'none'} of the {total}"
    if acting == total:
        many = "both" if total == 2 else f"all {total}"
    return f"acts in {many} {several} ({changes} {', '.join(map(str, found))})"


def elsewhere(runs: Runs) -> str:
    """The same of the other detectors behind the code's reading, in one sentence.

    Args:
        runs: of `OTHERS`, of one profile; those that are not there are not spoken of.
    """
    maps, edges = effects(runs, MAP, OTHERS), effects(runs, EDGES, OTHERS)
    if not maps or not edges:
        return "Of the other detectors nothing is known yet."
    of_map, of_edges = "another image's map changes the mAP by", "another image's edges:"
    told = f"Behind the same module in other detectors the map {_acts(maps, 'networks', of_map)}"
    told += f"; the edge channel {_acts(edges, 'networks', of_edges)}"
    return told + (", by one seed each." if {e.loss.n for e in maps + edges} == {1} else ".")


def how_sure(runs: Runs) -> str:
    """A second sentence: which of the finding's parts are settled."""
    judged = [(effect, "map") for effect in effects(runs, MAP)]
    judged += [(effect, "edges") for effect in effects(runs, EDGES, (*READINGS, CONCAT))]
    if not judged:
        return "It takes trained networks with DOAM to know."
    if all(effect.loss.n == 1 for effect, _ in judged):
        return "One seed says nothing about chance: this is a first look."
    seeds = sorted({effect.loss.n for effect, _ in judged})
    counted = f"{seeds[0]} seeds" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    open_ = [_open(effect, what) for effect, what in judged if not effect.settled]
    told = f"Over {counted}, {len(judged) - len(open_)} of these {len(judged)} answers are settled,"
    told += " each by its own 95 percent interval"
    return told + (f"; open: {', '.join(open_)}." if open_ else ".")


def _open(effect: Effect, what: str) -> str:
    where = f"{what} in {SHORT.get(effect.arm, effect.arm)}"
    if effect.loss.low is None:
        return f"{where} (one seed)"
    return f"{where} ({_signed(-effect.loss.high)} to {_signed(-effect.loss.low)})"


def _signed(change: float) -> str:
    text = f"{change:+.2f}"
    return "0.00" if text[1:] == "0.00" else text


def meaning(runs: Runs) -> str:
    """What follows for the module of every table, the one that the code computes."""
    maps, edges = effects(runs, MAP, (CODE,)), effects(runs, EDGES, (CODE,))
    if not maps or not edges:
        return "What follows for the published module stays open: these runs cannot tell."
    acts, uses = maps[0].acts, edges[0].acts
    settled = maps[0].settled and edges[0].settled
    told = {
        (True, True): "both of its gifts are used, the map and the edge channel",
        (True, False): "its map is used, and the edge channel that it weighs is not",
        (False, True): "it hands SSD a channel of edges and little else: in effect it is "
        "the Concat of Table IX, whatever its map looks like",
        (False, False): "SSD behind it needs neither its map nor its edge channel, and reads the "
        "colours as it would without the module",
    }[acts, uses]
    sure = "" if settled else " (not settled: more seeds could change this)"
    return f"As the code computes DOAM, {told}{sure}."
