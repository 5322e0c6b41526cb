"""What was set or changed in the rules when something had been measured already, and what it was.

The rules themselves are in :mod:`doamlib.claims.verdict`, :mod:`doamlib.claims.rules` and
:mod:`doamlib.claims.admission`. A limit that is written with numbers in sight may be fair and is
still worth knowing about, so each is listed with the day and with what was known on it. Shown in
``book/measuring.ipynb``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Amendment:
    """One limit or rule that was written or changed with numbers in sight.

    Attributes:
        day: of November 2026.
        claims: whose verdicts it may move.
        change: what has held since.
        known: what had been measured when it was written.
    """

    day: int
    claims: str
    change: str
    known: str


_TRIALS = "trial runs of the plain detectors"
_ONE_SEED = "one seed of the reference runs, which decides nothing by itself"

AMENDMENTS: tuple[Amendment, ...] = (
    Amendment(26, "all", "What runs must pass to be admitted.", _TRIALS),
    Amendment(
        26,
        "1, 2, 3, 10, 11",
        "A map acts if exchanging it between images costs a point of mAP, and the first reading of "
        "the module whose map acts is judged.",
        "short runs of three readings on validation images: the paper's text lost more than a "
        "point, the two others less",
    ),
    Amendment(
        26,
        "8",
        "A training step is cheap in use if it takes at most a tenth more time and memory.",
        "both ratios, which are above that",
    ),
    Amendment(
        26,
        "12",
        "A pool must come a quarter of the way from the average batch to the most occluded ones.",
        "three short runs of the quick profile",
    ),
    Amendment(
        28,
        "3",
        "Its gain over SSD at OL3 must be positive, too: a loss that shrinks is no gain that "
        "grows.",
        f"{_ONE_SEED}; in it one reading loses on every level, and less where more is hidden",
    ),
    Amendment(
        28,
        "8",
        "A cost smaller than the text says no longer contradicts the claim, digits are cut as "
        "Table VIII cuts them, and the limit on time and memory, which the paper does not set, "
        "stands beside the claim. Before, the claim was contradicted.",
        "every number of it",
    ),
    Amendment(
        28,
        "1, 2, 3, 10, 11",
        "A reading takes the place of the code's only with enough seeds for a verdict. Whether the "
        "detector uses its map is then no part of claim 11, because it was chosen for that.",
        _ONE_SEED,
    ),
    Amendment(
        28,
        "none; sentences about 10, 11",
        "Whether a map acts is settled only if the whole interval lies on one side of a point, "
        "with as many seeds as a verdict needs. Before, it was enough to act.",
        _ONE_SEED,
    ),
    Amendment(
        28,
        "5, 12",
        "They are worded as what is judged: 5 without the cost on two classes, which is shown "
        "beside it; 12 with 'the more occluded' batches, not 'the heavily occluded' ones.",
        _ONE_SEED,
    ),
    Amendment(
        28,
        "1 to 7, 9, 11",
        "An interval that holds the paper's difference is never called no effect.",
        _ONE_SEED,
    ),
)
"""In the order in which they were written."""
