"""The paper's thirteen claims as data, and the verdict on each.

The paper's numbers come from its own tables (:mod:`doamlib.paper`), ours from the reference layer;
:mod:`doamlib.evidence` says what decides each claim. Results of different profiles are never
pooled, and stale ones never read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from itertools import pairwise, product

from doamlib import evidence
from doamlib.arms import TABLES
from doamlib.comparison import Runs
from doamlib.data.splits import SMALL
from doamlib.evidence import DOAM_O, DOAM_T, RIVALS, Judge, Printed, difference_claim, gains
from doamlib.reference import Reference
from doamlib.statistics import Verdict


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    Attributes:
        number: 1 to 13.
        statement: in our words.
        where: in the paper.
        page: the notebook that tests it.
        test: results of one profile, and whether they are full-size, to a verdict.
        printed: what the paper's own tables give, by part; empty where it prints no number.
        arms: whose results the test reads; none where no training is needed.
        unit: of its numbers.
    """

    number: int
    statement: str
    where: str
    page: str
    test: Judge
    printed: Callable[[], Printed] = dict
    arms: tuple[str, ...] = ()
    unit: str = "mAP"


@dataclass(frozen=True)
class Outcome:
    """A claim, its verdict, and the reference results behind it (none: there were none)."""

    claim: Claim
    verdict: Verdict
    reference: Reference | None

    @property
    def runs(self) -> Runs:
        """The results that the verdict was read from."""
        return self.reference.of(self.claim.arms) if self.reference else {}


# --- the list -------------------------------------------------------------------------------------


_ABLATION = tuple(TABLES["IX"].values())
_OTHERS = ("SSD+DOAM-E", "SSD+DOAM-R", "SSD+DOAM-F")
_SAMPLED = tuple((f"{d}+DOAM-O", f"{d}+DOAM-T") for d in evidence.DETECTORS)
_STRATEGIES = tuple(product((DOAM_O, DOAM_T), _OTHERS))
_CHAIN = tuple((upper, lower) for lower, upper in pairwise(_ABLATION))

CLAIMS: tuple[Claim, ...] = (
    Claim(
        1,
        "DOAM-T beats plain SSD and its rivals SE, Non-local and dual attention.",
        "Table IV",
        "attention_comparison",
        *difference_claim("IV", gains([(DOAM_T, base) for base in RIVALS])),
        (DOAM_T, *RIVALS),
    ),
    Claim(
        2,
        "The gain over SSD is largest for Straight Knife, the most occluded class, and small for "
        "Scissor, which the paper calls the least occluded (its Table III says otherwise).",
        "Table IV, Section V-A",
        "attention_comparison",
        *difference_claim("IV", evidence.class_order, evidence.class_gains),
        (DOAM_T, "SSD"),
        unit="AP",
    ),
    Claim(
        3,
        "The gain of DOAM grows with occlusion, over SSD and over each rival.",
        "Table V, Fig. 5",
        "occlusion_levels",
        *difference_claim("V", evidence.level_slopes, evidence.level_gains),
        (DOAM_T, *RIVALS),
    ),
    Claim(
        4,
        "Under heavy occlusion (OL3) Non-local falls below plain SSD.",
        "Table V",
        "occlusion_levels",
        *difference_claim("V", gains([("SSD", "SSD+Non-local")], "OL3")),
        ("SSD", "SSD+Non-local"),
    ),
    Claim(
        5,
        "DOAM is plug-and-play: it helps SSD, YOLOv3 and FCOS, at a small cost for YOLOv3 on "
        "Folding Knife and Scissor.",
        "Table VI",
        "detectors",
        *difference_claim("VI", gains(evidence.PLUGGED), evidence.class_costs),
        tuple(arm for pair in evidence.PLUGGED for arm in pair),
    ),
    Claim(
        6,
        "Over-sampling adds to DOAM with every detector.",
        "Table VI",
        "detectors",
        *difference_claim("VI", gains(_SAMPLED)),
        tuple(arm for pair in _SAMPLED for arm in pair),
    ),
    Claim(
        7,
        "Hard samples are the right ones to repeat: hard beats easy, random and focal, and these "
        "three do worse than no over-sampling.",
        "Table VII",
        "sampling_strategies",
        *difference_claim("VII", gains(_STRATEGIES)),
        (DOAM_T, DOAM_O, *_OTHERS),
    ),
    Claim(
        8,
        "DOAM is cheap, with fewer parameters than SE, Non-local and dual attention.",
        "Table VIII",
        "complexity",
        evidence.judge_cost,
        evidence.printed_cost,
        unit="",
    ),
    Claim(
        9,
        "Each part of DOAM-O adds to the one before: SSD, Concat, EG, EG+MA/G, EG+MA, +O.",
        "Table IX",
        "ablation",
        *difference_claim("IX", gains(_CHAIN)),
        _ABLATION,
    ),
    Claim(
        10,
        "Grad-CAM of the network with DOAM covers the target more widely and more evenly.",
        "Fig. 6",
        "what_it_looks_at",
        evidence.judge_gradcam,
        arms=(DOAM_T, "SSD"),
        unit="%",
    ),
    Claim(
        11,
        "DOAM's attention map highlights the prohibited item: more of it lies on the item than on "
        "as large a part of the image elsewhere.",
        "Fig. 7",
        "what_it_looks_at",
        evidence.judge_attention,
        arms=(DOAM_T,),
        unit="% above an even spread",
    ),
    Claim(
        12,
        "Batches with a large loss are the heavily occluded ones.",
        "Section IV-B",
        "sampling_strategies",
        evidence.judge_pool,
        arms=(DOAM_O,),
        unit="% occlusion above the average",
    ),
    Claim(
        13,
        "All items of OPIXray are small by SPIE's definition.",
        "Section III-C",
        "dataset",
        evidence.judge_small,
        lambda: {"at most": 100 * SMALL},
        unit="% of the image",
    ),
)


def outcomes(
    references: Iterable[Reference], numbers: Collection[int] | None = None
) -> dict[int, Outcome]:
    """Claims judged, each on the first profile that can decide it.

    Args:
        references: as :func:`doamlib.reference.references` orders them. Where none decides, the
            first that measured anything is shown; where none did, the claim stands without
            numbers.
        numbers: of the claims; all by default.

    Returns:
        Number of the claim -> outcome; stale results are never read.
    """
    found = {}
    for claim in CLAIMS:
        if numbers is not None and claim.number not in numbers:
            continue
        tried = [_outcome(claim, reference) for reference in references if claim.arms]
        tried.append(_outcome(claim, None))
        decided = [o for o in tried if o.verdict.status != "not tested here"]
        measured = [o for o in tried if _has_numbers(o.verdict)]
        found[claim.number] = (decided or measured or tried[-1:])[0]
    return found


def _outcome(claim: Claim, reference: Reference | None) -> Outcome:
    runs, full_size = (reference.results, reference.full_size) if reference else ({}, False)
    return Outcome(claim, claim.test(runs, full_size), reference)


def _has_numbers(verdict: Verdict) -> bool:
    return verdict.estimate is not None or any(map(_has_numbers, verdict.parts.values()))
