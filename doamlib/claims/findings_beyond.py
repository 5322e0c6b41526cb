"""What the page beyond the paper has found, in sentences that are true for any outcome.

It asks three questions that no claim of the paper answers: false alarms, small items, few shots.
Taught in ``book/beyond.ipynb``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from doamlib.evaluation.statistics import BySeed, summarise

HALF = 0.5
"""Share of the items at which the finding compares false alarms."""


def finding(
    alarms: Mapping[str, float] | None, extra: Mapping[str, BySeed], few: Mapping[int, BySeed]
) -> str:
    """The page's finding in one sentence, a part a question.

    Args:
        alarms: arm -> false alarms a harmless bag where `HALF` of the items are found; NaN where
            they never are; None where no image is without an item.
        extra: arm -> by seed, its gain over SSD on small items minus that on the others, in mAP.
        few: images a class -> by seed, the gain of DOAM-T over SSD with so few, in mAP.
    """
    return f"{_alarms(alarms)}; {_small(extra)}; {_shots(few)}."


def _alarms(alarms: Mapping[str, float] | None) -> str:
    if alarms is None:
        return "There is no image without an item: false alarms cannot be counted"
    if not alarms:
        return "False alarms were not counted in these runs"
    told = [
        f"{arm} never finds that many" if math.isnan(count) else f"{count:.2f} with {arm}"
        for arm, count in alarms.items()
    ]
    return f"False alarms a harmless bag when {HALF:.0%} of the items are found: {', '.join(told)}"


def _small(extra: Mapping[str, BySeed]) -> str:
    known = {arm: by_seed for arm, by_seed in extra.items() if by_seed}
    if not known:
        return "what is gained on small items was not measured"
    told = [f"{arm} {summarise(by_seed).in_brackets}" for arm, by_seed in known.items()]
    what = "mAP gained over SSD on the smallest quarter of items minus that on the others"
    return f"{what}: {', '.join(told)}"


def _shots(few: Mapping[int, BySeed]) -> str:
    known = {shots: by_seed for shots, by_seed in few.items() if by_seed}
    if not known:
        return "the few-shot runs were not trained yet"
    told = [f"{summarise(gain).in_brackets} with {shots}" for shots, gain in known.items()]
    return f"mAP gained by DOAM-T over SSD by images a class: {', '.join(told)}"


def how_sure(*measured: Mapping[object, BySeed]) -> str:
    """How sure :func:`finding` is, by the seeds behind its differences."""
    seeds = [len(by_seed) for of in measured for by_seed in of.values() if by_seed]
    if not seeds:
        return "It takes trained networks to know."
    end = "no claim of the paper rests on it."
    if max(seeds) == 1:
        return f"One seed says nothing about chance, so this is a first look, and {end}"
    few = f"{min(seeds)} to " if min(seeds) < max(seeds) else ""
    return f"An interval over {few}{max(seeds)} seeds that holds zero leaves it open; {end}"
