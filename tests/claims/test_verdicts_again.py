"""Verdicts and admission once more, from the stored numbers and scipy alone.

Nothing of the code that judges is used: the paper's differences are read off its tables' file, the
rule is written down a second time. Asked of every stored layer, and of fabricated ones, so that
there is always something to compare.
"""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from fabricated import FULL, reference
from scipy import stats

from doamlib.claims import outcomes
from doamlib.experiments import references
from doamlib.experiments.results import processor

TABLES = json.loads(
    (Path(__file__).parents[2] / "doamlib" / "paper_tables.json").read_text(encoding="utf-8")
)
SMALL = FULL | {"width": 0.2, "image_size": 96, "profile": "reference"}
RIVALS = {"SSD": "SSD", "SSD+SE": "SE", "SSD+Non-local": "Non-local", "SSD+DA": "DA"}


def paper_map(table, row):
    (found,) = [r["mAP"] for r in TABLES[table]["rows"] if r["method"] == row]
    return float(found)


def claim_pairs():
    """Number of a claim -> its differences in mAP: arm, base, what the paper prints."""
    four = {arm: paper_map("table_4", row) for arm, row in RIVALS.items()}
    doam = paper_map("table_4", "DOAM-T")
    nine = ["SSD", "SSD+Concat", "SSD+EG", "SSD+EG+MA/G", "SSD+DOAM-T", "SSD+DOAM-O"]
    names = ("SSD", "Concat", "EG", "EG+MA/G", "EG+MA", "EG+MA+O")
    printed = [paper_map("table_9", name) for name in names]
    steps = zip(pairwise(nine), pairwise(printed), strict=True)
    return {
        1: [("SSD+DOAM-T", base, doam - theirs) for base, theirs in four.items()],
        9: [(upper, lower, high - low) for (lower, upper), (low, high) in steps],
    }


def maps(layer, arm):
    return {
        seed: 100 * r.metrics["AP"]["mAP"] for (own, seed), r in layer.results.items() if own == arm
    }


def paired(layer, arm, base):
    one, other = maps(layer, arm), maps(layer, base)
    return np.array(
        [
            one[seed] - other[seed]
            for seed in sorted(one.keys() & other.keys())
            if processor(layer.results[arm, seed]) == processor(layer.results[base, seed])
        ]
    )


def judged_again(differences, papers):
    """Status of each part."""
    p = [stats.ttest_1samp(d, 0).pvalue for d in differences]
    order = np.argsort(p)
    adjusted = np.maximum.accumulate([(len(p) - k) * p[i] for k, i in enumerate(order)])
    holm = dict(zip(order.tolist(), adjusted, strict=True))
    found = []
    for number, (d, theirs) in enumerate(zip(differences, papers, strict=True)):
        low, high = stats.ttest_1samp(d, 0).confidence_interval(0.95)
        if len(d) < (10 if abs(theirs) < 1 else 5):
            found.append("open")
        elif low > 0:
            found.append("supported")
        elif high < 0 and holm[number] < 0.05:
            found.append("contradicted")
        elif low < 0 < high and max(-low, high) < 0.5:
            found.append("no effect")
        else:
            found.append("open")
    return found


@pytest.fixture(params=["stored", "like the paper", "turned", "nothing", "noisy", "few seeds"])
def layers(request, smoke):
    options = {
        "like the paper": {},
        "turned": {"sign": -1.0},
        "nothing": {"sign": 0.0},
        "noisy": {"noise": 1.0},
        "few seeds": {"noise": 0.5, "seeds": 5},
    }
    if request.param != "stored":
        return [reference(smoke, changes=SMALL, **options[request.param])]
    stored = [layer for layer in references() if layer.results]
    if not stored:
        pytest.skip("no reference results are stored yet")
    return stored


def test_parts_and_verdicts_follow_from_the_numbers(layers):
    for layer in layers:
        for number, pairs in claim_pairs().items():
            (at,) = [a for a in outcomes([layer], [number])[number].scales.values() if a.reference]
            verdict = at.code or at.verdict  # of the code's own reading
            differences = [paired(layer, arm, base) for arm, base, _ in pairs]
            papers = [theirs for *_, theirs in pairs]
            for (arm, base, theirs), d in zip(pairs, differences, strict=True):
                part = verdict.parts[f"{arm} − {base}"]
                assert part.paper == pytest.approx(theirs, abs=1e-6)
                assert part.estimate.n == len(d)
                interval = stats.ttest_1samp(d, 0).confidence_interval(0.95)
                own = (part.estimate.mean, part.estimate.low, part.estimate.high)
                assert own == pytest.approx((d.mean(), *interval), abs=1e-9)
            if verdict.status != "not admitted":
                again = judged_again(differences, papers)
                assert [part.status for part in verdict.parts.values()] == again
                wanted = {"contradicted"} & set(again) or set(again)
                assert verdict.status == (wanted.pop() if len(wanted) == 1 else "open")


def test_admission_follows_from_what_the_runs_left_behind(layers):
    for layer in layers:
        (at,) = [a for a in outcomes([layer], [1])[1].scales.values() if a.reference]
        plain = [r for (arm, _), r in layer.results.items() if arm == "SSD"]
        level = [np.mean([r.metrics["levels"][f"OL{n}"]["mAP"] for r in plain]) for n in (1, 2, 3)]
        rises = []
        for result in plain:
            epochs = result.history.epochs
            steps = np.cumsum([epoch["steps"] for epoch in epochs])
            points = [epoch["test_mAP"] for epoch in epochs]
            rises.append(100 * (points[-1] - np.interp(0.8 * steps[-1], steps, points)))
        right = (
            np.mean(list(maps(layer, "SSD").values())) >= 30
            and level[0] > level[1] > level[2]
            and np.mean(rises) < 1
            and all(r.metrics["images"] >= 1776 for r in plain)
        )
        assert right == all(check.holds for check in at.checks)
