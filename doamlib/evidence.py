"""What decides each claim: from the runs of one profile to a verdict, beside the paper's numbers.

A claim is put so that it says "these differences are positive"; :mod:`doamlib.statistics` holds the
rule that judges them. What differs between arms is written once and read twice, from the paper's
own tables and from results. ``judge_...`` takes results and whether they are full-size. Differences
of AP are in points, those of maps and occlusion in percent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cache, partial

import pandas as pd

from doamlib import comparison, paths
from doamlib.comparison import LEVELS, Runs, minus, printed
from doamlib.data.classes import SHORT_NAMES
from doamlib.data.splits import SMALL
from doamlib.paper import table
from doamlib.statistics import BySeed, Verdict, judge, judge_all, judge_fact, judge_number, trend

DOAM_T, DOAM_O = "SSD+DOAM-T", "SSD+DOAM-O"
RIVALS = ("SSD", "SSD+SE", "SSD+Non-local", "SSD+DA")
DETECTORS = ("SSD", "YOLOv3", "FCOS")
PLUGGED = tuple((f"{name}+DOAM-T", name) for name in DETECTORS)

Printed = dict[str, float]
Pair = tuple[str, str]
Judge = Callable[[Runs, bool], Verdict]
Gain = Callable[[str, str, str], BySeed]
"""``arm - base`` in a column, by seed; the paper counts as one seed."""
Differences = Callable[[Gain], dict[str, BySeed]]


# --- claims about differences between arms --------------------------------------------------------


def difference_claim(
    table: str, deciding: Differences, shown: Differences = lambda gain: {}
) -> tuple[Judge, Callable[[], Printed]]:
    """The two functions of a claim that differences between arms are positive.

    Args:
        table: of the paper, which prints the columns that the differences are made of.
        deciding: the differences that the claim says are positive.
        shown: further ones, which stand beside them and do not decide.
    """

    def of_paper() -> Printed:
        frame = printed(table)

        def paper_gain(arm: str, base: str, column: str) -> BySeed:
            return {0: float(frame.loc[arm, column] - frame.loc[base, column])}

        theirs = deciding(paper_gain) | shown(paper_gain)
        return {name: by_seed[0] for name, by_seed in theirs.items()}

    def test(runs: Runs, full_size: bool) -> Verdict:
        paper, our_gain = of_paper(), partial(comparison.gain, runs)
        verdict = judge_all(deciding(our_gain), full_size, paper)
        beside = {
            name: judge(by_seed, full_size, paper[name])
            for name, by_seed in shown(our_gain).items()
        }
        return verdict.model_copy(update={"parts": beside | verdict.parts})

    return test, of_paper


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


def level_gains(gain: Gain) -> dict[str, BySeed]:
    """What DOAM-T gains over SSD on each occlusion level."""
    return {f"gain over SSD at {level}": gain(DOAM_T, "SSD", level) for level in LEVELS}


def level_slopes(gain: Gain) -> dict[str, BySeed]:
    """Claim 3: how the gain over each rival rises from level to level (least-squares slope)."""
    slopes = {}
    for base in RIVALS:
        by_level = [gain(DOAM_T, base, level) for level in LEVELS]
        seeds = sorted(set.intersection(*map(set, by_level)))
        rows = {seed: [values[seed] for values in by_level] for seed in seeds}
        slopes[f"its rise a level, over {base}"] = trend(rows, range(len(LEVELS)))
    return slopes


def class_costs(gain: Gain) -> dict[str, BySeed]:
    """What two classes of YOLOv3 lose with DOAM-T (claim 5)."""
    return {
        f"its cost for YOLOv3, {name}": gain("YOLOv3", "YOLOv3+DOAM-T", name)
        for name in ("FO", "SC")
    }


# --- claim 8: complexity --------------------------------------------------------------------------


def _added(rows: pd.DataFrame, size: str, compute: str) -> dict[str, float]:
    added = rows.loc["DOAM"] - rows.loc["SSD"]
    return {
        "million parameters": added.params / 1e6,
        "MiB": added[size],
        "GFLOPs": added[compute],
    }


def printed_cost() -> Printed:
    """Table VIII: what DOAM adds to SSD."""
    return _added(table(8).set_index("method").map(float), "size_mb", "gflops")


@cache
def _count() -> dict[str, float]:
    from doamlib.complexity import complexity_table  # torchvision: 1.5 s that few pages need

    rows = complexity_table()
    more = {name: (rows.params[name] - rows.params["DOAM"]) / 1e6 for name in rows.index}
    return _added(rows, "size_mib", "gmacs") | more


def judge_cost(runs: Runs, full_size: bool) -> Verdict:
    """Claim 8, within a whole unit of the last digit: the paper subtracts truncated numbers."""
    ours, paper = _count(), printed_cost()
    units = {"million parameters": 0.1, "MiB": 0.1, "GFLOPs": 0.01}
    parts = {name: judge_number(ours[name], paper[name], units[name]) for name in units}
    for rival in ("SE", "Non-local", "DA"):
        reason = f"{rival} has {ours[rival]:.3g} million parameters more than DOAM"
        parts[f"fewer than {rival}"] = judge_fact(ours[rival] > 0, reason)
    against = {name: part for name, part in parts.items() if part.status == "contradicted"}
    decisive = against or parts
    listed = "; ".join(f"{name}: {part.reason}" for name, part in decisive.items())
    reason = f"{len(decisive)} of {len(parts)} parts ({listed})"
    return judge_fact(not against, reason).model_copy(update={"parts": parts})


# --- claims 10 to 13: maps, pool, sizes -----------------------------------------------------------


REGION = ("lift_silhouette", "lift_box")
"""Where a map is asked to lie: on the silhouette, or in the box where no silhouette is known."""


def _map_score(runs: Runs, arm: str, kind: str, score: str, part: str = "") -> dict[int, float]:
    """Mean score of an arm's maps over the test set by seed, times 100; see doamlib.explain.

    With ``part``: of the same network with that part drawn anew, a mean of ten draws.
    """
    found = {}
    for (own, seed), result in runs.items():
        known = result.metrics.get("maps", {}).get(kind, {})
        known = known.get("random", {}).get(part, {}) if part else known.get(score, {})
        value = known.get(score if part else "mean")
        if own == arm and value is not None:
            found[seed] = 100 * value
    return found


def _lifts(runs: Runs, kind: str, part: str = "") -> dict[int, float]:
    """How much of DOAM-T's map lies on the item, in percent of an even spread."""
    found = [_map_score(runs, DOAM_T, kind, score, part) for score in REGION]
    return found[0] or found[1]


def _on_the_item(runs: Runs, kind: str, part: str) -> dict[str, BySeed]:
    """Lift above 1, and above that of the map when the weights of a part are drawn anew."""
    lifts = _lifts(runs, kind)
    return {
        "on the target (lift above 1)": {seed: value - 100 for seed, value in lifts.items()},
        "learned (lift above that of random weights)": minus(lifts, _lifts(runs, kind, part)),
    }


def judge_gradcam(runs: Runs, full_size: bool) -> Verdict:
    """Claim 10: wider, more even; and on the target, because of what was learned."""
    parts = {
        name: minus(
            _map_score(runs, DOAM_T, "gradcam", score), _map_score(runs, "SSD", "gradcam", score)
        )
        for name, score in (("wider (cover)", "cover"), ("more even (evenness)", "evenness"))
    }
    return judge_all(parts | _on_the_item(runs, "gradcam", "all"), full_size)


def judge_attention(runs: Runs, full_size: bool) -> Verdict:
    """Claim 11: the map prefers the item, because of what was learned.

    Whether it also beats plain edges and plain darkness is shown and does not decide.
    """
    lifts = _lifts(runs, "attention")
    shown = {
        f"lift above that of {kind}": judge(minus(lifts, _lifts(runs, kind)), full_size)
        for kind in ("edges", "darkness")
    }
    verdict = judge_all(_on_the_item(runs, "attention", "doam"), full_size)
    return verdict.model_copy(update={"parts": verdict.parts | shown})


def judge_pool(runs: Runs, full_size: bool) -> Verdict:
    """Claim 12: pooled images are more occluded than the average training image."""
    by_seed = {}
    for (arm, seed), result in runs.items():
        pool = result.metrics.get("pool", {})
        if arm == DOAM_O and pool:
            by_seed[seed] = 100 * (pool["pooled_occlusion"] - pool["epoch_occlusion"])
    return judge(by_seed, full_size)


def judge_small(runs: Runs, full_size: bool) -> Verdict:
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
    same, other = printed("IX").loc[DOAM_O], printed("IV").loc[DOAM_O]
    agree = int((same[list(SHORT_NAMES)] == other[list(SHORT_NAMES)]).sum())
    found["DOAM-O is the same in Tables IV and IX"] = judge_fact(
        bool(same.mAP == other.mAP),
        f"mAP {other.mAP:.2f} and {same.mAP:.2f}; {agree} of {len(SHORT_NAMES)} classes agree",
    )
    rows = printed("IV")[list(SHORT_NAMES)]
    gained = rows.loc[DOAM_T] - rows.loc["SSD"]
    least = gained.idxmin()
    found["Scissor gains least from DOAM (Section V-A)"] = judge_fact(
        least == "SC", f"{least} gains {gained[least]:+.2f}, SC {gained['SC']:+.2f}"
    )
    return found
