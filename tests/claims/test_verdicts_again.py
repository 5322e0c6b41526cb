"""Verdicts once more, from the stored numbers, the paper's tables and scipy alone.

What a claim says (``claims_again``), the rule (``rule_again``) and admission (``admission_again``)
are written down a second time; nothing of the code that judges is used. Asked of every stored
layer, and of fabricated ones, so that there is always something to compare.
"""

import admission_again
import numpy as np
import pytest
from claims_again import DOAM, acting_reading, claims_of, parts_of
from layers import NAMES, READING, layer_named
from rule_again import alike, interval, power_of, rejected, size_of, statuses, whole

from doamlib.claims import outcomes
from doamlib.experiments import references


def assert_part(part, own, status):
    """A part's numbers are those that follow from the stored and the printed ones."""
    assert part.status == status
    assert part.paper == (None if own.paper is None else pytest.approx(own.paper, abs=1e-6))
    if not own.values:
        assert part.estimate is None and part.size == ""
        return
    found, values = part.estimate, own.values.values()
    assert found.n == len(values) and found.level == 0.95
    mean, sd, low, high = interval(values)
    if sd is None:
        assert (found.mean, found.sd, found.low) == (pytest.approx(mean), None, None)
    else:
        numbers = (found.mean, found.sd, found.low, found.high)
        assert numbers == pytest.approx((mean, sd, low, high), abs=1e-9)
    if len(values) < 2 or not alike(values):
        assert part.size == size_of(own)


def assert_verdict(verdict, claim, runs, reading, instead):
    """The verdict is that of the rule; ``instead``: where no rule is asked, what stands there."""
    parts, beside = parts_of(claim, runs, reading)
    assert list(verdict.parts) == list(parts) and list(verdict.beside) == list(beside)
    states = statuses(parts)
    shown = {name: statuses({name: part})[name] for name, part in beside.items()}
    for name, part in (parts | beside).items():
        judged = (verdict.parts | verdict.beside)[name]
        assert_part(judged, part, instead or (states | shown)[name])
    assert verdict.status == (instead or whole(list(states.values())))
    expected = None if instead else power_of(parts)
    if expected is None:
        assert verdict.power is None
    else:  # two simulations of 4000
        assert verdict.power == pytest.approx(expected, abs=0.05)


def assert_judged_again(layer):
    """Every claim of a layer: admitted or not, on which reading, and with which verdict."""
    runs, scale = layer.results, admission_again.scale_of(layer.parameters)
    claims = claims_of(runs)
    found = outcomes([layer], list(claims))
    for number, claim in claims.items():
        at = found[number].scales[scale]
        checks = admission_again.checks(layer.parameters, runs, claim.arms, claim.sampling)
        instead = "not admitted" if not all(checks.values()) else None
        if not checks:
            assert at.reference is None and at.checks == ()
            instead = "not run yet"
        reading = acting_reading(runs) if claim.readings else DOAM
        assert at.reading == reading
        assert_verdict(at.verdict, claim, runs, reading, instead)
        assert (at.code is None) == (reading == DOAM)
        if at.code is not None:
            assert_verdict(at.code, claim, runs, DOAM, instead)


@pytest.mark.parametrize("name", NAMES)
def test_verdicts_follow_from_the_numbers(name, smoke):
    assert_judged_again(layer_named(name, smoke))


def test_verdicts_of_stored_layers_follow_from_the_numbers():
    stored = [layer for layer in references() if admission_again.scale_of(layer.parameters)]
    if not stored:
        pytest.skip("no reference results are stored yet")
    for layer in stored:
        assert_judged_again(layer)


@pytest.mark.parametrize("name", READING)
def test_the_reading_is_the_one_that_acts(name, smoke):
    layer, (_, expected) = layer_named(name, smoke), READING[name]
    found = outcomes([layer], [1, 5])
    assert acting_reading(layer.results) == expected == found[1].scales["small"].reading
    assert found[5].scales["small"].reading == DOAM


def test_the_fabricated_layers_hold_every_case(smoke):
    """Each status, each size, and parts that only reading all of them together keeps open."""
    seen, sizes, together = {}, set(), 0
    for name in NAMES:
        runs = layer_named(name, smoke).results
        for number, claim in claims_of(runs).items():
            parts, beside = parts_of(claim, runs)
            states = statuses(parts)
            seen.setdefault(number, set()).update(states.values(), [whole(list(states.values()))])
            sizes |= {size_of(part) for part in (parts | beside).values()}
            alone = {n for n in parts if rejected({n: parts[n]}) and states[n] == "open"}
            enough = [n for n in alone if len(parts[n].values) == 10]
            together += sum(np.mean([*parts[n].values.values()]) < 0 for n in enough)
    most = {"supported", "contradicted", "open", "not run yet"}
    without_margin = {10, 12}
    for number, states in seen.items():
        assert states == most | (set() if number in without_margin else {"no effect"}), number
    assert sizes == {"", "contains", "below", "above"} and together > 5
