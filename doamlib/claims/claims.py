"""The paper's thirteen claims as data, and the verdict on each, scale by scale.

The paper's numbers come from its own tables (:mod:`doamlib.paper`), ours from the reference layer;
:mod:`doamlib.claims.rules` says what decides each claim, :mod:`doamlib.claims.verdict` by which
rule, and :mod:`doamlib.claims.admission` which results may. Results of different scales are never
pooled, and stale ones never read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise, product

from doamlib.claims import rules
from doamlib.claims.admission import (
    SCALES,
    Check,
    Scale,
    acts,
    admission,
    plain_detectors,
    scale_of,
)
from doamlib.claims.rules import DOAM_O, DOAM_T, RIVALS, Judge, difference_claim, gains
from doamlib.claims.verdict import MIN_SEEDS, Status, Verdict
from doamlib.experiments.archive import Reference
from doamlib.experiments.arms import READINGS, TABLES
from doamlib.experiments.results import Runs, of_arms


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    Attributes:
        number: 1 to 13.
        statement: in our words.
        where: in the paper.
        page: the notebook that tests it.
        test: results of one scale to a verdict; without results its parts hold the paper's numbers.
        arms: whose results the test reads; none where no training is needed.
        pool: whether it is about over-sampling, for :func:`doamlib.claims.admission.admission`.
        readings: whether ``SSD+DOAM-T`` may be any reading of the module: then the one whose
            attention acts is judged, and the code's beside it. Claims 5 and 9 compare arms that
            only the code's reading has: other detectors, and over-sampling.
        unit: of its numbers; empty where each part's name says its own.
        chosen: the test of a reading that was chosen because its attention acts, where ``test``
            asks for that too.
    """

    number: int
    statement: str
    where: str
    page: str
    test: Judge
    arms: tuple[str, ...] = ()
    pool: bool = False
    readings: bool = False
    unit: str = "mAP"
    chosen: Judge | None = None

    @property
    def reads(self) -> list[str]:
        """Every arm that its verdict and their admission look at."""
        readings = READINGS if self.readings else ()
        return list(dict.fromkeys([*self.arms, *plain_detectors(self.arms), *readings]))


@dataclass(frozen=True)
class AtScale:
    """What one scale says about a claim.

    Attributes:
        scale: where.
        verdict: on it.
        reference: the results behind it; None without any.
        checks: of admission; all hold where the verdict is one of the rule's.
        reading: the arm that stood for ``SSD+DOAM-T``.
        code: the verdict on the code's own reading, where another was judged.
    """

    scale: Scale
    verdict: Verdict
    reference: Reference | None = None
    checks: tuple[Check, ...] = ()
    reading: str = DOAM_T
    code: Verdict | None = None


@dataclass(frozen=True)
class Outcome:
    """A claim with what every scale says about it.

    Attributes:
        claim: which.
        scales: name of the scale -> what it says; empty for a claim that needs no training.
        fact: the verdict of a claim that needs none.
    """

    claim: Claim
    scales: dict[str, AtScale] = field(default_factory=dict)
    fact: Verdict | None = None

    @property
    def best(self) -> AtScale | None:
        """What the largest scale says that decides; else that measured anything; else that ran."""
        found = [at for at in reversed(self.scales.values()) if at.reference]
        decided = [at for at in found if at.verdict.status in DECIDED]
        measured = [at for at in found if any(p.estimate for p in at.verdict.parts.values())]
        return next(iter(decided or measured or found), None)

    @property
    def verdict(self) -> Verdict:
        """The fact's, or that of the best scale; without any result, that it was not run yet."""
        if self.fact is not None:
            return self.fact
        return (self.best or next(iter(self.scales.values()))).verdict

    @property
    def runs(self) -> Runs:
        """The results that its verdicts and their admission were read from, of all scales."""
        found = {}
        for name, at in self.scales.items():
            if at.reference:
                own = at.reference.of(self.claim.reads)
                found |= {(f"{name}: {arm}", seed): r for (arm, seed), r in own.items()}
        return found


DECIDED: tuple[Status, ...] = ("supported", "contradicted", "no effect")


# --- the list -------------------------------------------------------------------------------------

_ABLATION = tuple(TABLES["IX"].values())
_OTHERS = ("SSD+DOAM-E", "SSD+DOAM-R", "SSD+DOAM-F")
_SAMPLED = tuple((f"{d}+DOAM-O", f"{d}+DOAM-T") for d in rules.DETECTORS)
_STRATEGIES = tuple(product((DOAM_O, DOAM_T), _OTHERS))
_CHAIN = tuple((upper, lower) for lower, upper in pairwise(_ABLATION))

CLAIMS: tuple[Claim, ...] = (
    Claim(
        1,
        "DOAM-T beats plain SSD and its rivals SE, Non-local and dual attention.",
        "Table IV",
        "attention_comparison",
        difference_claim("IV", gains([(DOAM_T, base) for base in RIVALS])),
        (DOAM_T, *RIVALS),
        readings=True,
    ),
    Claim(
        2,
        "The gain over SSD is largest for Straight Knife, the most occluded class, and small for "
        "Scissor, which the paper calls the least occluded (its Table III says otherwise).",
        "Table IV, Section V-A",
        "attention_comparison",
        difference_claim("IV", rules.class_order, rules.class_gains),
        (DOAM_T, "SSD"),
        unit="AP",
        readings=True,
    ),
    Claim(
        3,
        "The gain of DOAM grows with occlusion, over SSD and over each rival.",
        "Table V, Fig. 5",
        "occlusion_levels",
        difference_claim("V", rules.growing_gain, rules.level_gains),
        (DOAM_T, *RIVALS),
        readings=True,
    ),
    Claim(
        4,
        "Under heavy occlusion (OL3) Non-local falls below plain SSD.",
        "Table V",
        "occlusion_levels",
        difference_claim("V", gains([("SSD", "SSD+Non-local")], "OL3")),
        ("SSD", "SSD+Non-local"),
    ),
    Claim(
        5,
        "DOAM is plug-and-play: it helps SSD, YOLOv3 and FCOS.",
        "Table VI",
        "detectors",
        difference_claim("VI", gains(rules.PLUGGED), rules.class_costs),
        tuple(arm for pair in rules.PLUGGED for arm in pair),
    ),
    Claim(
        6,
        "Over-sampling adds to DOAM with every detector.",
        "Table VI",
        "detectors",
        difference_claim("VI", gains(_SAMPLED)),
        tuple(arm for pair in _SAMPLED for arm in pair),
        pool=True,
    ),
    Claim(
        7,
        "Hard samples are the right ones to repeat: hard beats easy, random and focal, and these "
        "three do worse than no over-sampling.",
        "Table VII",
        "sampling_strategies",
        difference_claim("VII", gains(_STRATEGIES)),
        (DOAM_T, DOAM_O, *_OTHERS),
        pool=True,
    ),
    Claim(
        8,
        "DOAM costs little: a negligible addition to SSD, with fewer parameters than SE, Non-local "
        "and dual attention.",
        "Table VIII",
        "complexity",
        rules.judge_cost,
        unit="",
    ),
    Claim(
        9,
        "Each part of DOAM-O adds to the one before: SSD, Concat, EG, EG+MA/G, EG+MA, +O.",
        "Table IX",
        "ablation",
        difference_claim("IX", gains(_CHAIN)),
        _ABLATION,
        pool=True,
    ),
    Claim(
        10,
        "Grad-CAM of the network with DOAM covers the target more widely and more evenly.",
        "Fig. 6",
        "map_quality",
        rules.judge_gradcam,
        arms=(DOAM_T, "SSD"),
        unit="",
        readings=True,
    ),
    Claim(
        11,
        "DOAM's attention map highlights the prohibited item: more of it lies on the item than on "
        "as large a part of the image elsewhere.",
        "Fig. 7",
        "map_quality",
        rules.judge_attention,
        (DOAM_T,),
        readings=True,
        unit="",
        chosen=partial(rules.judge_attention, chosen=True),
    ),
    Claim(
        12,
        "Batches with a large loss are the more occluded ones.",
        "Section IV-B, I",
        "pool_contents",
        rules.judge_pool,
        arms=(DOAM_O,),
        unit="points of occlusion",
        pool=True,
    ),
    Claim(
        13,
        "All items of OPIXray are small by SPIE's definition.",
        "Section III-C",
        "dataset",
        rules.judge_small,
        unit="% of the image",
    ),
)
"""All thirteen, in the order of the scoreboard."""


def outcomes(
    references: Iterable[Reference], numbers: Collection[int] | None = None
) -> dict[int, Outcome]:
    """Claims judged at every scale.

    Args:
        references: as :func:`doamlib.experiments.archive.references` orders them; of several
            profiles at one scale the first is taken.
        numbers: of the claims; all by default.

    Returns:
        Number of the claim -> outcome; stale results are never read.
    """
    layers: dict[str, tuple[Scale, Reference]] = {}
    for reference in references:
        if (scale := scale_of(reference.parameters)) and reference.results:
            layers.setdefault(scale.name, (scale, reference))
    return {
        claim.number: _outcome(claim, layers)
        for claim in CLAIMS
        if numbers is None or claim.number in numbers
    }


def _outcome(claim: Claim, layers: dict[str, tuple[Scale, Reference]]) -> Outcome:
    if not claim.arms:
        return Outcome(claim, fact=claim.test({}))
    return Outcome(
        claim,
        {scale.name: _at_scale(claim, *layers.get(scale.name, (scale, None))) for scale in SCALES},
    )


def _at_scale(claim: Claim, scale: Scale, reference: Reference | None) -> AtScale:
    runs = reference.results if reference else {}
    reading = judged_reading(runs) if claim.readings else DOAM_T
    verdict, checks = _judged(claim, scale, runs, reading)
    if not checks:
        return AtScale(scale, verdict)
    code = None if reading == DOAM_T else _judged(claim, scale, runs, DOAM_T)[0]
    return AtScale(scale, verdict, reference, tuple(checks), reading, code)


def judged_reading(runs: Runs) -> str:
    """The reading that stands for ``SSD+DOAM-T``: the first whose attention acts, else the code's.

    It needs a verdict's seeds: fewer show what acts in them, not what acts.
    """
    known = [arm for arm in READINGS if len(of_arms(runs, [arm])) >= MIN_SEEDS]
    return next((arm for arm in known if acts(runs, arm)), DOAM_T)


def _judged(claim: Claim, scale: Scale, runs: Runs, reading: str) -> tuple[Verdict, list[Check]]:
    """The verdict with a reading in the place of ``SSD+DOAM-T``, and what its runs had to pass."""
    code = reading == DOAM_T
    test = claim.test if code else claim.chosen or claim.test
    verdict = test(runs if code else _as_doam_t(runs, reading))
    arms = [reading if arm == DOAM_T else arm for arm in claim.arms]
    checks = admission(scale, runs, arms, claim.pool)
    if not checks:
        return _without(verdict, "not run yet", "no run at this scale yet"), []
    if failed := [check for check in checks if not check.holds]:
        verdict = _without(verdict, "not admitted", "; ".join(map(str, failed)))
    return verdict, checks


def _as_doam_t(runs: Runs, reading: str) -> Runs:
    """The same runs with another reading in the place of ``SSD+DOAM-T``."""
    others = {key: result for key, result in runs.items() if key[0] != DOAM_T}
    own = {(DOAM_T, seed): result for (arm, seed), result in runs.items() if arm == reading}
    return others | own


def _without(verdict: Verdict, status: Status, reason: str) -> Verdict:
    """The same numbers without a verdict, for a claim and all its parts."""
    parts, beside = (
        {name: part.model_copy(update={"status": status}) for name, part in of.items()}
        for of in (verdict.parts, verdict.beside)
    )
    changes = {"status": status, "reason": reason, "parts": parts, "beside": beside, "power": None}
    return verdict.model_copy(update=changes)
