"""What decides each claim: from the runs of one profile to a verdict, beside the paper's numbers.

A claim is put so that it says "these differences are positive"; :mod:`doamlib.claims.verdict` holds
the rule that judges them. What differs between arms is written once and read twice, from the
paper's own tables and from results. Differences of AP are in points, others in percent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cache, partial

import pandas as pd

from doamlib.claims import comparison
from doamlib.claims.comparison import LEVELS, map_losses, minus, paired, printed
from doamlib.claims.verdict import NO_EFFECT, Verdict, judge, judge_all, judge_fact, judge_facts
from doamlib.core import paths
from doamlib.data.classes import SHORT_NAMES
from doamlib.data.splits import SMALL
from doamlib.evaluation.statistics import BySeed, trend
from doamlib.experiments.results import Runs
from doamlib.paper import table

DOAM_T, DOAM_O = "SSD+DOAM-T", "SSD+DOAM-O"
RIVALS = ("SSD", "SSD+SE", "SSD+Non-local", "SSD+DA")
DETECTORS = ("SSD", "YOLOv3", "FCOS")
PLUGGED = tuple((f"{name}+DOAM-T", name) for name in DETECTORS)

Pair = tuple[str, str]
Judge = Callable[[Runs], Verdict]
Gain = Callable[[str, str, str], BySeed]
"""``arm - base`` in a column, by seed; the paper counts as one seed."""
Differences = Callable[[Gain], dict[str, BySeed]]


# --- claims about differences between arms --------------------------------------------------------


def difference_claim(
    table: str, deciding: Differences, shown: Differences = lambda gain: {}
) -> Judge:
    """The test of a claim that differences between arms are positive.

    Args:
        table: of the paper, which prints the columns that the differences are made of.
        deciding: the differences that the claim says are positive.
        shown: further ones, which stand beside them and do not decide.
    """

    def test(runs: Runs) -> Verdict:
        frame = printed(table)

        def paper_gain(arm: str, base: str, column: str) -> BySeed:
            return {0: float(frame.loc[arm, column] - frame.loc[base, column])}

        our_gain = partial(comparison.gain, runs)
        theirs = {n: v[0] for n, v in (deciding(paper_gain) | shown(paper_gain)).items()}
        beside = {n: judge(by_seed, theirs[n]) for n, by_seed in shown(our_gain).items()}
        return judge_all(deciding(our_gain), theirs).model_copy(update={"beside": beside})

    return test


def gains(pairs: Iterable[Pair], column: str = "mAP") -> Differences:
    """What each arm gains over its base in one column."""
    return lambda gain: {f"{arm} − {base}": gain(arm, base, column) for arm, base in pairs}


def class_gains(gain: Gain) -> dict[str, BySeed]:
    """What DOAM-T gains over SSD in each class."""
    return {f"gain {name}": gain(DOAM_T, "SSD", name) for name in SHORT_NAMES}


def class_order(gain: Gain) -> dict[str, BySeed]:
    """Claim 2: ST gains more than each other class, and SC less than the average over classes."""
    straight, scissor, mean = (gain(DOAM_T, "SSD", name) for name in ("ST", "SC", "mAP"))
    parts = {
        f"gain ST − gain {name}": minus(straight, gain(DOAM_T, "SSD", name))
        for name in SHORT_NAMES
        if name != "ST"
    }
    return parts | {"mean gain − gain SC": minus(mean, scissor)}


def level_gains(gain: Gain, levels: Iterable[str] = LEVELS[:-1]) -> dict[str, BySeed]:
    """What DOAM-T gains over SSD on occlusion levels, by default on those that do not decide."""
    return {f"gain over SSD at {level}": gain(DOAM_T, "SSD", level) for level in levels}


def growing_gain(gain: Gain) -> dict[str, BySeed]:
    """Claim 3: how the gain over each rival rises from level to level (least-squares slope), and
    the gain over SSD on the last one: a loss that shrinks has such a slope, too.
    """
    slopes = {}
    for base in RIVALS:
        by_level = [gain(DOAM_T, base, level) for level in LEVELS]
        seeds = sorted(set.intersection(*map(set, by_level)))
        rows = {seed: [values[seed] for values in by_level] for seed in seeds}
        slopes[f"its rise from level to level, over {base}"] = trend(rows, range(len(LEVELS)))
    return slopes | level_gains(gain, LEVELS[-1:])


def class_costs(gain: Gain) -> dict[str, BySeed]:
    """What two classes of YOLOv3 lose with DOAM-T (claim 5)."""
    return {
        f"its cost for YOLOv3, {name}": gain("YOLOv3", "YOLOv3+DOAM-T", name)
        for name in ("FO", "SC")
    }


# --- claim 8: complexity --------------------------------------------------------------------------

SAID = {"parameters": 0.41, "size": 0.11, "GFLOPs": 7.14}
"""What DOAM adds to SSD in percent, in the words of Section V-D."""

CHEAP = 1.10
"""DOAM is called cheap in use if a training step takes at most this much of the plain SSD's time
and memory. The paper claims nothing about either, so this limit of ours decides nothing; it was
written when the measurement was known."""


@cache
def _counted() -> tuple[pd.DataFrame, pd.Series]:
    """Rows as Table VIII was counted; and the parameters of each row with the text's places."""
    # torchvision: few pages need it
    from doamlib.models.complexity import complexity_table, text_table

    return complexity_table(), text_table().params


IN_USE = "cheap in use"


def judge_cost(runs: Runs) -> Verdict:
    """Claim 8, in two parts: DOAM adds no more than the text says, digits cut as Table VIII cuts
    them; and it has fewer parameters than each rival, wherever the rivals stand. Beside it, whether
    it is cheap in use (`CHEAP`).
    """
    rows, at_texts_places = _counted()
    columns = {"parameters": "params", "size": "size_mib", "GFLOPs": "gmacs"}
    shares = {
        name: int(1e4 * (rows[column]["DOAM"] / rows[column]["SSD"] - 1)) / 100
        for name, column in columns.items()
    }
    added = ", ".join(f"{n} {shares[n]:.2f}% (said {SAID[n]:.2f}%)" for n in SAID)
    no_more = all(shares[n] <= SAID[n] for n in SAID)
    more = {
        place: min(of[rival] - of["DOAM"] for rival in ("SE", "Non-local", "DA"))
        for place, of in (("as counted", rows.params), ("at the text's places", at_texts_places))
    }
    fewer = ", ".join(f"{n:,.0f} fewer than the smallest rival {p}" for p, n in more.items())
    time, memory = _measured_cost()
    cost = (
        f"with DOAM a training step of SSD300 on a CPU takes {time:.2f} times the time and "
        f"{memory:.2f} times the memory"
    )
    parts = {
        "adds no more than the text says": judge_fact(no_more, added),
        "fewer parameters than SE, Non-local, DA": judge_fact(min(more.values()) > 0, fewer),
    }
    cheap = judge_fact(max(time, memory) <= CHEAP, f"{cost} (cheap: up to {CHEAP:g})")
    return judge_facts(parts).model_copy(update={"beside": {IN_USE: cheap}})


def _measured_cost() -> tuple[float, float]:
    """Time and memory of a training step with DOAM over those without; see bench_models.py."""
    file = paths.measurements() / "rows_cpu.json"
    rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
    memory = rows["DOAM"]["memory_gib"] / rows["SSD"]["memory_gib"]
    return rows["DOAM"]["fastest_ratio"], memory


# --- claims 10 to 13: maps, pool, sizes -----------------------------------------------------------


REGION = ("lift_silhouette", "lift_box")
"""Where a map is asked to lie: on the silhouette, or in the box where no silhouette is known."""


def _map_score(runs: Runs, arm: str, kind: str, score: str, part: str = "") -> dict[int, float]:
    """Mean score of an arm's maps by seed; see :mod:`doamlib.evaluation.map_scores`.

    With ``part``: of the same network with that part drawn anew, a mean of ten draws.
    """
    found = {}
    for (own, seed), result in runs.items():
        known = result.metrics.get("maps", {}).get(kind, {})
        known = known.get("random", {}).get(part, {}) if part else known.get(score, {})
        value = known.get(score if part else "mean")
        if own == arm and value is not None:
            found[seed] = value
    return found


def _percent(runs: Runs, arm: str, score: str) -> dict[int, float]:
    return {seed: 100 * value for seed, value in _map_score(runs, arm, "gradcam", score).items()}


def _blank_maps(runs: Runs, arm: str) -> dict[int, float]:
    """Share of Grad-CAM's maps without any value, in percent, by seed."""
    kept = {run: result.metrics.get("maps", {}).get("gradcam", {}) for run, result in runs.items()}
    return {s: 100 * of["blank"] for (own, s), of in kept.items() if own == arm and "blank" in of}


def _lifts(runs: Runs, kind: str, part: str = "") -> dict[int, float]:
    """How much of DOAM-T's map lies on the item, in times an even spread."""
    found = [_map_score(runs, DOAM_T, kind, score, part) for score in REGION]
    return found[0] or found[1]


def _on_the_item(runs: Runs, kind: str, part: str) -> dict[str, BySeed]:
    """Lift above 1, and above that of the map when the weights of a part are drawn anew."""
    lifts = _lifts(runs, kind)
    return {
        "on the target (lift minus 1)": {seed: value - 1 for seed, value in lifts.items()},
        "learned (lift minus that of random weights)": minus(lifts, _lifts(runs, kind, part)),
    }


def judge_gradcam(runs: Runs) -> Verdict:
    """Claim 10: wider, more even; and on the target, because of what was learned.

    Each arm's means are over its own maps that are not blank; how many more are blank with DOAM
    stands beside the claim.
    """
    parts = {
        name: paired(runs, DOAM_T, "SSD", lambda arm, s=score: _percent(runs, arm, s))
        for name, score in (("wider (cover, %)", "cover"), ("more even (evenness, %)", "evenness"))
    }
    parts |= _on_the_item(runs, "gradcam", "all")
    blank = paired(runs, DOAM_T, "SSD", lambda arm: _blank_maps(runs, arm))
    beside = {"more maps are blank and left out (%)": judge(blank, margin=None)}
    verdict = judge_all(parts, margins=dict.fromkeys(parts))
    return verdict.model_copy(update={"beside": beside})


USED = "used (own map above another image's, mAP)"


def judge_attention(runs: Runs, chosen: bool = False) -> Verdict:
    """Claim 11: the map prefers the item, because of what was learned, and the detector uses it.

    A map that nothing reads highlights nothing for anyone: the detector must do better with an
    image's own map than with another image's. Whether the map also beats plain edges and plain
    darkness is shown and does not decide.

    Args:
        runs: results.
        chosen: the reading is judged because its map acts in these runs, so that they cannot test
            it again: whether the map is used stands beside the claim.
    """
    lifts = _lifts(runs, "attention")
    parts = _on_the_item(runs, "attention", "doam")
    beside = {
        "lift above that of edges": minus(lifts, _lifts(runs, "edges")),
        "lift above that of darkness": minus(lifts, _lifts(runs, "darkness")),
        "mAP with its own map above that with plain edges for a map": map_losses(
            runs, DOAM_T, "edge_map"
        ),
    }
    (beside if chosen else parts)[USED] = map_losses(runs, DOAM_T, "other")
    margins = dict.fromkeys([*parts, *beside]) | {USED: NO_EFFECT}
    verdict = judge_all(parts, margins=margins)
    shown = {name: judge(by_seed, margin=margins[name]) for name, by_seed in beside.items()}
    return verdict.model_copy(update={"beside": shown})


SELECTIVE = 0.25
"""Claim 12: a pool counts as one of heavily occluded batches if it comes at least this share of the
way from the average batch to the most occluded ones. Written before the runs that it judges, when
three short runs of the quick profile had been seen."""


def judge_pool(runs: Runs) -> Verdict:
    """Claim 12: pooled images are more occluded than the average training image, and notably so.

    Whole batches mix hidden and open images, so no pool can be much above the average; what can be
    reached at all is :func:`doamlib.evaluation.test_set.within_reach`.
    """
    above, enough = {}, {}
    for (arm, seed), result in runs.items():
        pool = result.metrics.get("pool", {})
        if arm == DOAM_O and pool:
            above[seed] = 100 * (pool["pooled_occlusion"] - pool["epoch_occlusion"])
            reach = 100 * (pool["most_occluded"] - pool["epoch_occlusion"])
            enough[seed] = above[seed] - SELECTIVE * reach
    needed = f"above {SELECTIVE:.0%} of what choosing batches by occlusion would reach"
    parts = {"more occluded than the average": above, needed: enough}
    return judge_all(parts, margins=dict.fromkeys(parts))


def judge_small(runs: Runs) -> Verdict:
    """Claim 13, from what is known of the real boxes, whatever was trained."""
    stored = json.loads((paths.measurements() / "simulation.json").read_text(encoding="utf-8"))
    smallest, median, largest = stored["boxes"]["real_min_median_max"]["area_percent"]
    reason = (
        f"sixteen real boxes cover {smallest}% to {largest}% of their images, "
        f"median {median}%; the limit is {100 * SMALL:.2f}%"
    )
    return judge_fact(largest <= 100 * SMALL, reason)


# --- the paper against itself ---------------------------------------------------------------------


def arithmetic() -> dict[str, Verdict]:
    """Statements of the paper that its own tables can check, in the order of its tables."""
    found = {}
    levels = table(3).set_index("level")
    shares = (levels.loc["OL3", list(SHORT_NAMES)] / levels[list(SHORT_NAMES)].sum()).sort_values()
    found["Scissor is the least occluded class (Section V-A)"] = judge_fact(
        shares.index[0] == "SC",
        "shares at OL3: " + ", ".join(f"{n} {100 * s:.1f}%" for n, s in shares[::-1].items()),
    )
    for name in ("IV", "VI", "VII", "IX"):
        rows = printed(name)
        means = rows[list(SHORT_NAMES)].mean(axis=1)
        off = rows.index[(means - rows.mAP).abs() > 0.0101]
        listed = ", ".join(f"{a} prints {rows.mAP[a]:.2f}, mean {means[a]:.2f}" for a in off)
        reason = listed or "every row agrees up to rounding"
        found[f"mAP is the mean of the classes (Table {name})"] = judge_fact(not len(off), reason)
    found["Parameters and size grow by the same percentage (Section V-D)"] = judge_fact(
        SAID["parameters"] == SAID["size"],
        f"said are {SAID['parameters']}% and {SAID['size']}%, and size is four bytes a parameter",
    )
    same, other = printed("IX").loc[DOAM_O], printed("IV").loc[DOAM_O]
    agree = int((same[list(SHORT_NAMES)] == other[list(SHORT_NAMES)]).sum())
    found["DOAM-O is the same in Tables IV and IX"] = judge_fact(
        bool(same.mAP == other.mAP),
        f"mAP {other.mAP:.2f} and {same.mAP:.2f}; {agree} of {len(SHORT_NAMES)} classes agree",
    )
    rows = printed("IV")[list(SHORT_NAMES)]
    gained = (rows.loc[DOAM_T] - rows.loc["SSD"]).sort_values(ascending=False)
    found["ST, FO and UT gain most from DOAM (Section V-A)"] = judge_fact(
        set(gained.index[:3]) == {"ST", "FO", "UT"},
        ", ".join(f"{name} {gain:+.2f}" for name, gain in gained.items()),
    )
    return found
