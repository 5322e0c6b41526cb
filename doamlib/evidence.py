"""What decides each claim: from the runs of one profile to a verdict, beside the paper's numbers.

A claim is put so that it says "these differences are positive"; :mod:`doamlib.statistics` holds the
rule that judges them. ``printed_...`` gives what the paper's own tables say, by the name of the
difference; ``judge_...`` takes results and whether they are full-size. Differences of AP are in
points, those of maps and occlusion in percent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache

from doamlib import paths
from doamlib.comparison import LEVELS, Runs, gain, printed
from doamlib.complexity import complexity_table
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


# --- differences and what the paper gives for them ------------------------------------------------


def _printed_gains(table: str, pairs: Iterable[Pair], column: str = "mAP") -> Printed:
    frame = printed(table)
    return {
        f"{arm} − {base}": float(frame.loc[arm, column] - frame.loc[base, column])
        for arm, base in pairs
    }


def _gains(runs: Runs, pairs: Iterable[Pair], column: str = "mAP") -> dict[str, BySeed]:
    return {f"{arm} − {base}": gain(runs, arm, base, column) for arm, base in pairs}


def gain_claim(
    table: str, pairs: tuple[Pair, ...], column: str = "mAP"
) -> tuple[Callable[[], Printed], Judge]:
    """The two functions of a claim that is a list of differences of one column of one table."""

    def of_paper() -> Printed:
        return _printed_gains(table, pairs, column)

    def test(runs: Runs, full_size: bool) -> Verdict:
        return judge_all(_gains(runs, pairs, column), full_size, of_paper())

    return of_paper, test


def _minus(first: BySeed, second: BySeed) -> dict[int, float]:
    return {seed: first[seed] - second[seed] for seed in sorted(set(first) & set(second))}


def _with_shown(
    verdict: Verdict, shown: Mapping[str, BySeed], full_size: bool, paper: Printed
) -> Verdict:
    """The verdict with further differences among its parts, which show and do not decide."""
    parts = {name: judge(by_seed, full_size, paper[name]) for name, by_seed in shown.items()}
    return verdict.model_copy(update={"parts": parts | verdict.parts})


# --- claim 2: the classes -------------------------------------------------------------------------


def _class_parts(gains: Mapping[str, BySeed]) -> dict[str, dict[int, float]]:
    """ST gains more than each other class, and SC less than the average over classes."""
    parts = {
        f"gain ST − gain {name}": _minus(gains["ST"], gains[name])
        for name in SHORT_NAMES
        if name != "ST"
    }
    return parts | {"mean gain − gain SC": _minus(gains["mAP"], gains["SC"])}


def _class_gains(of_column: Callable[[str], BySeed]) -> dict[str, BySeed]:
    return {name: of_column(name) for name in ("ST", "SC", "FO", "UT", "MU", "mAP")}


def printed_classes() -> Printed:
    """Table IV: the gain of each class, and the differences that claim 2 says are positive."""
    theirs = _class_gains(
        lambda name: {0: _printed_gains("IV", [(DOAM_T, "SSD")], name)[f"{DOAM_T} − SSD"]}
    )
    shown = {f"gain {name}": theirs[name] for name in SHORT_NAMES}
    return {name: values[0] for name, values in (shown | _class_parts(theirs)).items()}


def judge_classes(runs: Runs, full_size: bool) -> Verdict:
    """Claim 2: Straight Knife gains more than any other class, Scissor less than the average."""
    ours, paper = _class_gains(lambda name: gain(runs, DOAM_T, "SSD", name)), printed_classes()
    shown = {f"gain {name}": ours[name] for name in SHORT_NAMES}
    return _with_shown(judge_all(_class_parts(ours), full_size, paper), shown, full_size, paper)


# --- claim 3: occlusion levels --------------------------------------------------------------------


def _slopes(at_levels: Iterable[BySeed]) -> dict[int, float]:
    """Seed -> change of the gain from one level to the next, for seeds that have all three."""
    by_level = list(at_levels)
    seeds = set.intersection(*map(set, by_level))
    rows = {seed: [values[seed] for values in by_level] for seed in sorted(seeds)}
    return trend(rows, range(len(LEVELS)))


def printed_levels() -> Printed:
    """Table V: the gain over SSD by level, and the slope of the gain over each rival."""
    theirs = {}
    for base in RIVALS:
        by_level = [
            _printed_gains("V", [(DOAM_T, base)], level)[f"{DOAM_T} − {base}"] for level in LEVELS
        ]
        if base == "SSD":
            theirs = {f"gain over SSD at {level}": by_level[i] for i, level in enumerate(LEVELS)}
        theirs[f"its rise a level, over {base}"] = _slopes({0: v} for v in by_level)[0]
    return theirs


def judge_levels(runs: Runs, full_size: bool) -> Verdict:
    """Claim 3: the gain rises from level to level (least-squares slope), over each rival."""
    paper = printed_levels()
    slopes = {
        f"its rise a level, over {base}": _slopes(
            gain(runs, DOAM_T, base, level) for level in LEVELS
        )
        for base in RIVALS
    }
    shown = {f"gain over SSD at {level}": gain(runs, DOAM_T, "SSD", level) for level in LEVELS}
    return _with_shown(judge_all(slopes, full_size, paper), shown, full_size, paper)


# --- claim 5: the detectors ----------------------------------------------------------------


def printed_detectors() -> Printed:
    """Table VI: the gain of each detector, and what two classes of YOLOv3 lose."""
    cost = [("YOLOv3", "YOLOv3+DOAM-T")]
    costs = {
        f"its cost for YOLOv3, {name}": value
        for name in ("FO", "SC")
        for value in _printed_gains("VI", cost, name).values()
    }
    return _printed_gains("VI", PLUGGED) | costs


def judge_detectors(runs: Runs, full_size: bool) -> Verdict:
    """Claim 5: the gains decide; what two classes of YOLOv3 lose is shown beside them."""
    paper = printed_detectors()
    costs = {
        f"its cost for YOLOv3, {name}": gain(runs, "YOLOv3", "YOLOv3+DOAM-T", name)
        for name in ("FO", "SC")
    }
    return _with_shown(judge_all(_gains(runs, PLUGGED), full_size, paper), costs, full_size, paper)


# --- claim 8: complexity --------------------------------------------------------------------------


def printed_cost() -> Printed:
    """Table VIII: what DOAM adds to SSD."""
    rows = table(8).set_index("method").map(float)
    ssd, doam = rows.loc["SSD"], rows.loc["DOAM"]
    return {
        "million parameters": float(doam.params - ssd.params) / 1e6,
        "MiB": float(doam.size_mb - ssd.size_mb),
        "GFLOPs": float(doam.gflops - ssd.gflops),
    }


@cache
def _count() -> dict[str, float]:
    rows = complexity_table()
    added = rows.loc["DOAM"] - rows.loc["SSD"]
    ours = {
        "million parameters": added.params / 1e6,
        "MiB": added.size_mib,
        "GFLOPs": added.gmacs,
    }
    return ours | {name: (rows.params[name] - rows.params["DOAM"]) / 1e6 for name in rows.index}


def judge_cost(runs: Runs, full_size: bool) -> Verdict:
    """Claim 8, within a whole unit of the last digit: the paper subtracts truncated numbers."""
    ours, paper = _count(), printed_cost()
    units = {"million parameters": 0.1, "MiB": 0.1, "GFLOPs": 0.01}
    parts = {name: judge_number(ours[name], paper[name], units[name]) for name in units}
    for rival in ("SE", "Non-local", "DA"):
        reason = f"{rival} has {ours[rival]:.3g} million parameters more than DOAM"
        parts[f"fewer than {rival}"] = judge_fact(ours[rival] > 0, reason)
    return _all_facts(parts)


def _all_facts(parts: dict[str, Verdict]) -> Verdict:
    against = {name: part for name, part in parts.items() if part.status == "contradicted"}
    shown = against or parts
    listed = "; ".join(f"{name}: {part.reason}" for name, part in shown.items())
    reason = f"{len(shown)} of {len(parts)} parts ({listed})"
    return judge_fact(not against, reason).model_copy(update={"parts": parts})


# --- claims 10 to 13: maps, pool, sizes -----------------------------------------------------------


REGION = ("lift_silhouette", "lift_box")
"""Where a map is asked to lie: on the silhouette, or in the box where no silhouette is known."""


def _map_score(runs: Runs, arm: str, kind: str, score: str, part: str = "") -> dict[int, float]:
    """Mean score of an arm's maps over the test set by seed, times 100; see doamlib.explain.

    With ``part`` it is the score of the same network with that part drawn anew.
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
        "learned (lift above that of random weights)": _minus(lifts, _lifts(runs, kind, part)),
    }


def judge_gradcam(runs: Runs, full_size: bool) -> Verdict:
    """Claim 10: wider, more even; and on the target, because of what was learned."""
    parts = {
        name: _minus(
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
        f"lift above that of {kind}": judge(_minus(lifts, _lifts(runs, kind)), full_size)
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
    gains = {name: printed_classes()[f"gain {name}"] for name in SHORT_NAMES}
    least = min(gains, key=gains.get)
    found["Scissor gains least from DOAM (Section V-A)"] = judge_fact(
        least == "SC", f"{least} gains {gains[least]:+.2f}, SC {gains['SC']:+.2f}"
    )
    return found
