"""The rule that turns paired differences into verdicts. Fixed on 26 November 2026, before the runs.

A claim is put as "these paired differences over seeds are positive". Each difference is a *part*,
judged by the 95% t interval of its mean over seeds
(:func:`doamlib.evaluation.statistics.summarise`):

- *supported*: the interval lies above zero.
- *contradicted*: it lies below zero, and does so when all parts of the claim are read together
  (Holm's procedure at 5%): a single part is enough to contradict the claim, so the chance that one
  does by accident is held at 5% for the claim as a whole.
- *no effect*: it holds zero, lies within half a point of mAP to either side, and does not hold the
  paper's difference. A difference that is not zero but smaller than that is supported or
  contradicted; its size says the rest.
- *open*: anything else, also while there are fewer than 5 seeds, or than 10 where the paper's
  difference is below one point.

*Size* is judged apart from sign: whether the interval contains the paper's difference, lies below
it or above.

The claim is supported if all its parts are. That needs no correction: the more parts, the harder
it gets, which :func:`power` puts into a number. It is contradicted if one part is, has no effect if
all parts have none, and is open otherwise. Its headline counts what holds.

Whether results may decide at all is another question: :mod:`doamlib.claims.admission`. What was
changed after the first day, and what was known then:
:data:`doamlib.claims.amendments.AMENDMENTS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field
from scipy import stats

from doamlib.core.config import Record
from doamlib.evaluation.statistics import BySeed, Estimate, is_constant, summarise

MIN_SEEDS = 5
"""Fewer get no verdict: the t interval reaches 2.5 sd to either side at 3 seeds, 1.2 at 5."""

MORE_SEEDS = 10
"""Seeds where the paper's difference is below `SMALL_DIFFERENCE`."""

SMALL_DIFFERENCE = 1.0
NO_EFFECT = 0.5
"""Points of mAP: an interval within this to either side of zero says that nothing happens."""

CHANCE = 0.05
TRIALS = 4000

Status = Literal["supported", "contradicted", "no effect", "open", "not admitted", "not run yet"]
Size = Literal["contains", "below", "above", ""]


class Verdict(Record):
    """What may be said about a claim or one of its parts, and why.

    Attributes:
        status: see the module's rule; ``not admitted`` and ``not run yet`` are set by
            :mod:`doamlib.claims.claims`, which knows where results come from.
        reason: one line of plain English.
        estimate: the mean difference, where there is one.
        paper: the paper's difference, where it prints one.
        size: where the interval lies to the paper's difference: it contains it, lies below or
            above it; empty where either is unknown.
        parts: those that decide the claim, by name.
        beside: further differences that are shown and do not decide.
        power: how often, 0 to 1, a study with as many seeds and this spread would find every part
            supported if the paper's differences were true; None where that cannot be told, and
            while a part has too few seeds for any verdict.
    """

    status: Status
    reason: str
    estimate: Estimate | None = None
    paper: float | None = None
    size: Size = ""
    parts: dict[str, Verdict] = Field(default_factory=dict)
    beside: dict[str, Verdict] = Field(default_factory=dict)
    power: float | None = None

    @property
    def headline(self) -> str:
        """The weakest statement that the parts allow, e.g. ``2 of 4 hold, 1 against, 1 open``."""
        states = [part.status for part in self.parts.values()]
        if len(states) < 2 or len({*states} & {"not admitted", "not run yet"}):
            return self.status
        words = {"contradicted": "against", "no effect": "no effect", "open": "open"}
        counts = [f"{states.count(s)} {word}" for s, word in words.items() if s in states]
        return ", ".join([f"{states.count('supported')} of {len(states)} hold", *counts])


def judge(
    differences: BySeed, paper: float | None = None, margin: float | None = NO_EFFECT
) -> Verdict:
    """Verdict on the claim that one paired difference is positive; see the module's rule.

    Args:
        differences: seed -> difference, sides put so that the claim says "positive". Reasons print
            two decimals, so give AP in points (0 to 100).
        paper: the paper's difference.
        margin: half width of what counts as no effect, in the same unit; None: nothing does.

    Raises:
        ValueError: a difference is not finite.
    """
    known = {} if paper is None else {"": paper}
    return judge_all({"": differences}, known, {"": margin}).parts[""]


def judge_all(
    claims: Mapping[str, BySeed],
    paper: Mapping[str, float] | None = None,
    margins: Mapping[str, float | None] | None = None,
) -> Verdict:
    """Verdict on the claim that all of several paired differences are positive.

    Args:
        claims: name of the part -> differences by seed, as for `judge`.
        paper: the paper's differences, by the same names.
        margins: of `judge`, by the same names; `NO_EFFECT` where a name is missing.

    Raises:
        ValueError: there is no part, or a difference is not finite.
    """
    if not claims:
        raise ValueError("a claim needs at least one difference")
    paper, margins = paper or {}, margins or {}
    together = _holm(claims)
    parts = {
        name: _part(by_seed, paper.get(name), margins.get(name, NO_EFFECT), together.get(name, 1.0))
        for name, by_seed in claims.items()
    }
    enough = all(len(of) >= seeds_needed(paper.get(name)) for name, of in claims.items())
    known = power(claims, paper) if enough else None
    return judge_facts(parts).model_copy(update={"power": known})


def power(claims: Mapping[str, BySeed], paper: Mapping[str, float]) -> float | None:
    """How often every part would be supported if the paper's differences were the true ones.

    By simulation: as many seeds as all parts share, normal differences with the covariance over
    seeds that was measured, fixed random numbers. So parts that share an arm stay correlated.

    Returns:
        0 to 1; None with fewer than three shared seeds or a part that the paper does not print.
    """
    seeds = sorted(set.intersection(*(set(by_seed) for by_seed in claims.values())))
    if len(seeds) < 3 or not claims.keys() <= paper.keys():
        return None
    rows = [[by_seed[seed] for by_seed in claims.values()] for seed in seeds]
    measured = np.array(rows)  # seeds x parts
    spread = (measured - measured.mean(axis=0)) / np.sqrt(len(seeds) - 1)
    drawn = np.random.default_rng(0).standard_normal((TRIALS, len(seeds), len(seeds))) @ spread
    drawn += [paper[name] for name in claims]
    error = drawn.std(axis=1, ddof=1) / np.sqrt(len(seeds))
    low = drawn.mean(axis=1) - stats.t.ppf(1 - CHANCE / 2, len(seeds) - 1) * error
    return float((low > 0).all(axis=1).mean())


def judge_fact(holds: bool, reason: str) -> Verdict:
    """Verdict on a statement that needs no statistics, with the arithmetic as its reason."""
    return Verdict(status="supported" if holds else "contradicted", reason=reason)


def judge_facts(parts: Mapping[str, Verdict]) -> Verdict:
    """Verdict on the claim that all of several facts or numbers hold.

    Raises:
        ValueError: there is no part.
    """
    if not parts:
        raise ValueError("a claim needs at least one part")
    status = _whole([part.status for part in parts.values()])
    return Verdict(status=status, reason=_why(status, parts), parts=dict(parts))


def seeds_needed(paper: float | None) -> int:
    """How many seeds a part needs, by the paper's difference in points."""
    return MORE_SEEDS if paper is not None and abs(paper) < SMALL_DIFFERENCE else MIN_SEEDS


def _part(by_seed: BySeed, paper: float | None, margin: float | None, together: float) -> Verdict:
    """``together``: Holm's p-value of this part among all parts of its claim."""
    if not by_seed:
        return Verdict(status="not run yet", reason="there are no results", paper=paper)
    estimate = summarise(by_seed)
    status, why = _decide(estimate, by_seed, paper, margin, together)
    size = _size(estimate, paper)
    reason = f"{estimate}{why}"
    if size:
        place = {"contains": "lies inside", "below": "lies above", "above": "lies below"}[size]
        reason += f"; the paper's {paper:+z.2f} {place}"
    return Verdict(status=status, reason=reason, estimate=estimate, paper=paper, size=size)


def _decide(
    estimate: Estimate, by_seed: BySeed, paper: float | None, margin: float | None, together: float
) -> tuple[Status, str]:
    if estimate.n < (needed := seeds_needed(paper)):
        return "open", f", {estimate.n} of the {needed} seeds that a verdict needs"
    if is_constant(by_seed):
        return "open", ", every seed gave the same, so nothing is known about chance"
    if estimate.low > 0:
        return "supported", ""
    if estimate.high < 0:
        if together < CHANCE:
            return "contradicted", ""
        return "open", ", below zero alone, not when all parts are read together"
    inside = margin is not None and -margin < estimate.low and estimate.high < margin
    if inside and _size(estimate, paper) == "contains":
        return "open", f", within {margin:g} of zero, but the paper's difference is no larger"
    if inside:
        return "no effect", f", within {margin:g} of zero"
    return "open", ", contains zero"


def _size(estimate: Estimate, paper: float | None) -> Size:
    if paper is None or estimate.low is None:
        return ""
    if estimate.low <= paper <= estimate.high:
        return "contains"
    return "below" if estimate.high < paper else "above"


def _whole(states: list[Status]) -> Status:
    """The status of a claim from those of its parts."""
    if "contradicted" in states:
        return "contradicted"
    for all_of_them in ("supported", "no effect", "not run yet"):
        if set(states) == {all_of_them}:
            return all_of_them
    return "open"


STAND: dict[Status, str] = {
    "supported": "hold",
    "contradicted": "do not hold",
    "no effect": "show no effect",
    "open": "are not supported",
    "not run yet": "have no results",
}


def _why(status: Status, parts: Mapping[str, Verdict]) -> str:
    deciding = [f"{name}: {part.reason}" for name, part in parts.items() if part.status == status]
    if status == "open":
        deciding = [f"{n}: {p.reason}" for n, p in parts.items() if p.status != "supported"]
    return f"{len(deciding)} of {len(parts)} parts {STAND[status]} ({'; '.join(deciding)})"


def _holm(claims: Mapping[str, BySeed]) -> dict[str, float]:
    """Holm's adjusted two-sided p-values of the parts that have a spread over seeds."""
    p = {
        name: float(stats.ttest_1samp(list(by_seed.values()), 0.0).pvalue)
        for name, by_seed in claims.items()
        if by_seed and not is_constant(by_seed)
    }
    adjusted, largest = {}, 0.0
    for step, name in enumerate(sorted(p, key=lambda name: (p[name], name))):
        largest = max(largest, min(1.0, (len(p) - step) * p[name]))
        adjusted[name] = largest
    return adjusted
