"""The claims a second time: each difference as a weighted sum of stored or printed numbers.

The paper's come from the file of its tables, ours from what runs stored; nothing of the code that
judges is used.
"""

import json
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from rule_again import Part, interval

TABLES = json.loads(
    (Path(__file__).parents[2] / "doamlib" / "paper_tables.json").read_text(encoding="utf-8")
)
LEVELS = ("OL1", "OL2", "OL3")
DOAM, DOAM_O = "SSD+DOAM-T", "SSD+DOAM-O"
READINGS = (DOAM, "SSD+DOAM-T, as the paper says", "SSD+DOAM-T, normalised steps")
RIVALS = ("SSD", "SSD+SE", "SSD+Non-local", "SSD+DA")
DETECTORS = ("SSD", "YOLOv3", "FCOS")
OTHER_ROWS = {
    ("table_5", "DOAM-T"): "DOAM",
    ("table_9", "DOAM-T"): "EG+MA",
    ("table_9", "DOAM-O"): "EG+MA+O",
}
ONE = "one"


class Claim(NamedTuple):
    """Name of a difference -> its terms (weight, arm, column); ``None`` for no printed table.

    Numbers are points or percent, but for names that speak of a lift. ``chosen``: the parts of a
    reading that acts, where acting is part of the claim.
    """

    table: str | None
    parts: dict
    beside: dict | None = None
    sampling: bool = False
    readings: bool = False
    margins: dict | None = None
    chosen: dict | None = None

    @property
    def arms(self):
        """Whose results it reads, each once."""
        return list(dict.fromkeys(arm for terms in self.parts.values() for _, arm, _ in terms))


# --- numbers --------------------------------------------------------------------------------------


def printed(table, arm, column):
    """What a table of the paper prints of an arm."""
    detector, _, method = arm.partition("+")
    method = OTHER_ROWS.get((table, method), method)
    row = {"method": method or "SSD"}
    if table == "table_6":
        row = {"detector": detector, "method": method or "base"}
    (found,) = [r for r in TABLES[table]["rows"] if row.items() <= r.items()]
    return found[column]


def stored(metrics, column):
    """A number that a run left behind, as a share; None where it left none."""
    if column == ONE:
        return 1.0
    if column in LEVELS:
        column = ("levels", column, "mAP")
    elif isinstance(column, str):
        column = ("AP", TABLES["classes"].get(column, column))
    for name in column:
        metrics = (metrics or {}).get(name)
    return metrics


def machine(result):
    hardware = result.provenance["hardware"]
    return hardware["cpu" if hardware["device"] == "cpu" else "device"]


def by_seed(runs, terms, reading=DOAM, times=100):
    """Seed -> the sum in points, where all is stored and was made on one kind of processor."""
    stands_for = {arm: reading if arm == DOAM else arm for _, arm, _ in terms}
    found = {}
    for seed in sorted({seed for _, seed in runs}):
        own = {arm: runs.get((other, seed)) for arm, other in stands_for.items()}
        if None in own.values() or len(set(map(machine, own.values()))) > 1:
            continue
        values = [stored(own[arm].metrics, column) for _, arm, column in terms]
        if None not in values:
            sides = zip(terms, values, strict=True)
            found[seed] = times * sum(weight * value for (weight, *_), value in sides)
    return found


def on_paper(table, terms):
    return table and sum(weight * printed(table, arm, column) for weight, arm, column in terms)


def parts_of(claim, runs, reading=DOAM):
    """The deciding parts with their numbers, and those beside them."""

    def numbers(differences):
        margins = dict.fromkeys(differences, 0.5) | (claim.margins or {})
        return {
            name: Part(
                by_seed(runs, terms, reading, times=1 if "lift" in name else 100),
                on_paper(claim.table, terms),
                margins[name],
            )
            for name, terms in differences.items()
        }

    parts, beside = claim.parts, claim.beside or {}
    if reading != DOAM and claim.chosen:
        beside = beside | {name: of for name, of in parts.items() if name not in claim.chosen}
        parts = claim.chosen
    return numbers(parts), numbers(beside)


def acts(runs, arm):
    """Whether another image's map costs a point or more, and surely something."""
    exchange = [(1, arm, ("attention", "own")), (-1, arm, ("attention", "other"))]
    if not (lost := by_seed(runs, exchange).values()):
        return False
    mean, _, low, _ = interval(lost)
    return mean >= 1 and (low is None or low > 0)


def acting_reading(runs):
    """The first of those with five seeds that acts; else the code's."""
    enough = [arm for arm in READINGS if sum(own == arm for own, _ in runs) >= 5]
    return next((arm for arm in enough if acts(runs, arm)), DOAM)


# --- the claims -----------------------------------------------------------------------------------


def less(arm, base, column="mAP"):
    return [(1, arm, column), (-1, base, column)]


def turned(terms):
    return [(-weight, *of) for weight, *of in terms]


def gains(pairs, column="mAP"):
    return {f"{arm} − {base}": less(arm, base, column) for arm, base in pairs}


def gain(column):
    return less(DOAM, "SSD", column)


def rise(base):
    """Of the gain from level to level: of three equal steps it is half of last less first."""
    weights = zip((-0.5, 0, 0.5), LEVELS, strict=True)
    return [(w * side, arm, level) for w, level in weights for side, arm in ((1, DOAM), (-1, base))]


def class_order():
    ahead = {f"gain ST − gain {c}": gain("ST") + turned(gain(c)) for c in ("FO", "SC", "UT", "MU")}
    return ahead | {"mean gain − gain SC": gain("mAP") + turned(gain("SC"))}


def of_tables():
    """Claims that tables print; beside them the gains by class and level, and the costs."""
    by_class = {f"gain {c}": gain(c) for c in TABLES["classes"]}
    by_level = {f"gain over SSD at {level}": gain(level) for level in LEVELS}
    rises = {f"its rise from level to level, over {base}": rise(base) for base in RIVALS}
    rises |= {name: by_level.pop(name) for name in list(by_level)[2:]}
    costs = {f"its cost for YOLOv3, {c}": less("YOLOv3", "YOLOv3+DOAM-T", c) for c in ("FO", "SC")}
    helped = [(f"{d}+DOAM-T", d) for d in DETECTORS]
    sampled = [(f"{d}+DOAM-O", f"{d}+DOAM-T") for d in DETECTORS]
    strategies = [(a, f"SSD+DOAM-{x}") for a in (DOAM_O, DOAM) for x in "ERF"]
    chain = ("SSD", "SSD+Concat", "SSD+EG", "SSD+EG+MA/G", DOAM, DOAM_O)
    steps = [(upper, lower) for lower, upper in pairwise(chain)]
    return {
        1: Claim("table_4", gains([(DOAM, base) for base in RIVALS]), readings=True),
        2: Claim("table_4", class_order(), by_class, readings=True),
        3: Claim("table_5", rises, by_level, readings=True),
        4: Claim("table_5", gains([("SSD", "SSD+Non-local")], "OL3")),
        5: Claim("table_6", gains(helped), costs),
        6: Claim("table_6", gains(sampled), sampling=True),
        7: Claim("table_7", gains(strategies), sampling=True),
        9: Claim("table_9", gains(steps), sampling=True),
    }


def on_item(kind, part, region):
    lift = ("maps", kind, region, "mean")
    return {
        "on the target (lift minus 1)": [(1, DOAM, lift), (-1, DOAM, ONE)],
        "learned (lift minus that of random weights)": [
            (1, DOAM, lift),
            (-1, DOAM, ("maps", kind, "random", part, region)),
        ],
    }


def of_maps(region):
    """Claims 10 and 11, which no table prints."""
    parts = {
        "wider (cover, %)": gain(("maps", "gradcam", "cover", "mean")),
        "more even (evenness, %)": gain(("maps", "gradcam", "evenness", "mean")),
    } | on_item("gradcam", "all", region)
    used = "used (own map above another image's, mAP)"
    own, other, edge = ((DOAM, ("attention", n)) for n in ("own", "other", "edge_map"))
    of_attention = on_item("attention", "doam", region) | {used: [(1, *own), (-1, *other)]}
    lifts = {n: (DOAM, ("maps", n, region, "mean")) for n in ("attention", "edges", "darkness")}
    beside = {
        f"lift above that of {n}": [(1, *lifts["attention"]), (-1, *lifts[n])]
        for n in ("edges", "darkness")
    } | {"mAP with its own map above that with plain edges for a map": [(1, *own), (-1, *edge)]}
    blank = {"more maps are blank and left out (%)": gain(("maps", "gradcam", "blank"))}
    none = dict.fromkeys([*parts, *of_attention, *beside, *blank])
    return {
        10: Claim(None, parts, blank, readings=True, margins=none),
        11: Claim(
            None,
            of_attention,
            beside,
            readings=True,
            margins=none | {used: 0.5},
            chosen=on_item("attention", "doam", region),
        ),
    }


def of_pool():
    names = ("pooled_occlusion", "epoch_occlusion", "most_occluded")
    pooled, average, most = ((DOAM_O, ("pool", name)) for name in names)
    parts = {
        "more occluded than the average": [(1, *pooled), (-1, *average)],
        "above 25% of what choosing batches by occlusion would reach": [
            (1, *pooled),
            (-0.75, *average),
            (-0.25, *most),
        ],
    }
    return {12: Claim(None, parts, sampling=True, margins=dict.fromkeys(parts))}


def claims_of(runs):
    """Number -> claim; where no silhouette is known, a box says where the item is."""
    lifts = [r.metrics.get("maps", {}).get("attention", {}) for r in runs.values()]
    region = "lift_silhouette" if any("lift_silhouette" in lift for lift in lifts) else "lift_box"
    return of_tables() | of_maps(region) | of_pool()
