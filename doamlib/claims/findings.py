"""What was found, in sentences: made from verdicts, so that they are true whatever comes out.

Every experiment page opens with :func:`found` and :func:`how_sure` of its claims, the landing page
with :func:`summary`. A sentence names its scale, because a result holds there and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping

from doamlib.claims.claims import AtScale, Claim, Outcome
from doamlib.claims.comparison import map_losses
from doamlib.claims.findings_attention import Effect
from doamlib.claims.rules import DOAM_T, IN_USE
from doamlib.claims.verdict import Status, Verdict
from doamlib.core.report import counted
from doamlib.evaluation.statistics import Estimate, summarise
from doamlib.experiments.arms import READINGS
from doamlib.experiments.results import processor

SHOWN = 3
"""Parts that a sentence names; the rest are counted."""

VERBS: dict[Status, str] = {
    "supported": "holds",
    "contradicted": "does not hold",
    "no effect": "shows no effect",
    "open": "stays open",
    "not admitted": "cannot be decided",
    "not run yet": "was not run whole yet",
}
ANSWERS: dict[Status, str] = {
    "supported": "Yes",
    "contradicted": "No",
    "no effect": "It makes no difference",
    "open": "Open",
    "not admitted": "Not decided (these runs are not admitted)",
    "not run yet": "Not run whole yet",
}


def found(outcome: Outcome) -> str:
    """What was found about a claim, in one sentence, with up to three numbers."""
    claim = f"Claim {outcome.claim.number}"
    if outcome.fact is not None:
        return f"{claim} {VERBS[outcome.fact.status]}{_of_parts(outcome.fact)}."
    at = outcome.best
    if at is None:
        return f"{claim} was not run yet, at any scale."
    verdict, numbers = at.verdict, _numbers(at.verdict, outcome.claim.unit, both=_both(at))
    if verdict.status == "not run yet":
        numbers = _why_nothing(at, outcome.claim)
    tally = "" if verdict.headline == verdict.status else f" ({verdict.headline})"
    said = f"claim {outcome.claim.number} {VERBS[verdict.status]}{tally}"
    return f"On {at.scale.data}, {said}: {numbers}."


def _why_nothing(at: AtScale, claim: Claim) -> str:
    """Why runs of a claim's arms give none of its numbers."""
    arms = [at.reading if arm == DOAM_T else arm for arm in claim.arms]
    own = at.reference.of(arms)
    seeds = {arm: {seed for of, seed in own if of == arm} for arm in arms}
    if not set.intersection(*seeds.values()):
        return "none of its arms share a seed"
    if len({processor(result) for result in own.values()}) > 1:
        return "its arms were trained on different kinds of processor"
    return "these data do not hold what it takes to tell"


def how_sure(outcome: Outcome) -> str:
    """How sure :func:`found` is: seeds, power, readings, and what the other scales say."""
    if outcome.fact is not None:
        return "It needs no training, so no seed is in it."
    at = outcome.best
    if at is None:
        return "Nothing may be said about it before it has run."
    verdict = at.verdict
    said = []
    if verdict.status == "not admitted":
        said.append(f"these runs may not decide it ({verdict.reason})")
    else:
        said.append(_judged_by(verdict))
    if verdict.power is not None:
        times = f"{100 * verdict.power:.0f} of 100"
        said.append(
            f"differences as large as the paper's would show as a whole in {times} such studies"
        )
    if at.code is not None:
        judged = f"judged is the reading whose attention acts, {at.reading}"
        said.append(f"{judged}; the code's own reading {VERBS[at.code.status]}")
    for other in outcome.scales.values():
        if other.reference is not None and other is not at:
            said.append(f"on {other.scale.data} it {VERBS[other.verdict.status]}")
    missing = [name for name, other in outcome.scales.items() if other.reference is None]
    if missing:
        said.append(f"not run yet: {' and '.join(missing)}")
    text = "; ".join(said)
    return f"{text[0].upper()}{text[1:]}."


def summary(outcomes: Mapping[int, Outcome]) -> list[str]:
    """What was found, in five sentences: DOAM, occlusion, over-sampling, attention, cost and data.

    Args:
        outcomes: of :func:`doamlib.claims.claims.outcomes`, all thirteen.
    """
    return [
        _about(outcomes[1], "Does DOAM help?", f"{DOAM_T} − SSD"),
        _about(outcomes[3], "Does it help more where items are hidden?"),
        _about(outcomes[6], "Does over-sampling add to it?"),
        _about_attention(outcomes[11]),
        _about_cost(outcomes),
    ]


def _about(outcome: Outcome, question: str, part: str = "") -> str:
    """The answer that a claim gives, or one ``part`` of it where the others ask something else."""
    at = outcome.best
    if at is None:
        return f"{question} Not run yet."
    verdict = at.verdict
    states = {own.status for own in verdict.parts.values()}
    status = verdict.parts[part].status if part else verdict.status
    answer = ANSWERS[status]
    if status == "contradicted" and not part and len(states) > 1:
        answer = "Not everywhere"
    tally = "" if part or verdict.headline == status else f" ({verdict.headline})"
    if part:
        verdict = verdict.model_copy(update={"parts": {part: verdict.parts[part]}})
    numbers = _numbers(verdict, outcome.claim.unit, shown=1, both=_both(at))
    return f"{question} {answer}{tally}, on {at.scale.data}: {numbers}."


def _both(at: AtScale) -> str:
    """Behind the first number, where another reading than the code's was judged: the code's too."""
    if at.code is None:
        return ""
    words = at.reading.partition(", ")[2]
    judged = words if words.startswith("as ") else f"with {words}"
    first = next((part.estimate for part in at.code.parts.values() if part.estimate), None)
    code = "nothing yet" if first is None else _interval(first)
    return f" {judged} and {code} as the code says"


def _about_attention(outcome: Outcome) -> str:
    question = "Does the attention act?"
    at = outcome.best
    lost = {arm: map_losses(at.reference.results, arm, "other") for arm in READINGS} if at else {}
    known = [Effect(arm, summarise(values)) for arm, values in lost.items() if values]
    if not known:
        return f"{question} Not run yet."
    acting = [f"“{effect.arm}”" for effect in known if effect.acts]
    numbers = "; ".join(
        f"{_interval(summarise([-value for value in lost[effect.arm].values()]))} in “{effect.arm}”"
        for effect in known
    )
    answer = f"Only in {' and '.join(acting)}" if acting else "In no reading of the module"
    if len(acting) == len(known):
        answer = "Yes"
    if at.verdict.status == "not admitted":
        answer = ANSWERS["not admitted"]
    elif not all(effect.settled for effect in known):
        answer = f"Open, at a first look: {answer[0].lower()}{answer[1:]}"
    changes = f"another image's map changes the mAP by {numbers}"
    return f"{question} {answer}, on {at.scale.data}: {changes}."


def _about_cost(outcomes: Mapping[int, Outcome]) -> str:
    cheap = outcomes[8].fact
    decided = [o for o in outcomes.values() if o.scales and o.scales["OPIXray"].reference]
    real = "no run on the real OPIXray data has been contributed yet"
    if decided:
        were = f"{counted(len(decided), 'claim')} {'was' if len(decided) == 1 else 'were'}"
        real = f"{were} run on the real OPIXray data"
    return f"What it costs: {cheap.beside[IN_USE].reason}; {real}."


def _of_parts(fact: Verdict) -> str:
    """How many parts of a fact hold, and what decides it."""
    if not fact.parts:
        return f": {fact.reason}"
    parts = fact.parts.items()
    side = "for" if fact.status == "supported" else "against"
    said = [f"“{name}”: {part.reason}" for name, part in parts if part.status == fact.status]
    for name, part in fact.beside.items():
        said.append(f"beside it, “{name}” {VERBS[part.status]}: {part.reason}")
    return f" ({fact.headline}); {side} {'; '.join(said)}"


def _numbers(verdict: Verdict, unit: str, shown: int = SHOWN, both: str = "") -> str:
    """The first parts with their intervals and the paper's numbers; the others counted.

    ``both`` stands behind the first.
    """
    known = {name: part for name, part in verdict.parts.items() if part.estimate}
    if not known:
        return verdict.reason
    listed = []
    for name, part in list(known.items())[:shown]:
        theirs = "" if part.paper is None else f" (paper {part.paper:+z.2f})"
        readings = "" if listed else both
        listed.append(f"{name} {_interval(part.estimate, unit)}{readings}{theirs}")
    if len(known) > shown:
        listed.append(f"and {len(known) - shown} more")
    return "; ".join(listed)


def _interval(estimate: Estimate, unit: str = "") -> str:
    text = estimate.in_brackets + (f" {unit}" if unit else "")
    return text + (" (one seed)" if estimate.low is None else "")


def _judged_by(verdict: Verdict) -> str:
    counts = sorted({part.estimate.n for part in verdict.parts.values() if part.estimate})
    if not counts:
        return "no seed has all that it compares"
    few, many = counts[0], counts[-1]
    if many == 1:
        return "one seed, which has no interval, decides nothing"
    seeds = counted(few, "seed") if few == many else f"{few} to {many} seeds"
    return f"judged by {seeds} and 95% intervals"
