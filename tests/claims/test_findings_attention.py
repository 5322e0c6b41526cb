"""The sentences about the attention switch say what the numbers say, whatever these are."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doamlib.claims import findings_attention as findings
from doamlib.claims.comparison import map_losses
from doamlib.claims.findings_attention import CODE, CONCAT, EXCHANGES
from doamlib.evaluation.map_swaps import exchanges
from doamlib.evaluation.statistics import summarise
from doamlib.experiments.arms import ARMS, READINGS

PAPER = READINGS[1]


def run(**mAP):
    """Stands in for a Result; mAP in points."""
    return SimpleNamespace(metrics={"attention": {k: v / 100 for k, v in mAP.items()}})


def runs(arm, *, own=30.0, lost=(), edges_lost=()):
    """Results of an arm, one a seed, that lose so many points by each exchange between images."""
    given = {
        seed: {"own": own} | ({"other": own - lost[seed]} if seed < len(lost) else {})
        for seed in range(max(len(lost), len(edges_lost)))
    }
    for seed, loss in enumerate(edges_lost):
        given[seed]["edges_other"] = own - loss
    return {(arm, seed): run(**values) for seed, values in given.items()}


def test_a_loss_is_own_minus_exchanged_in_points_by_seed():
    given = {(CODE, 3): run(own=30, other=28.5), (CODE, 4): run(own=30, other=31)}
    assert map_losses(given, CODE, "other") == pytest.approx({3: 1.5, 4: -1.0})
    assert map_losses(given, CODE, "edges_other") == {}
    assert map_losses(given, PAPER, "other") == {}


def test_runs_that_were_not_asked_have_no_loss():
    """Plain SSD stores an empty answer, an older result none."""
    given = {("SSD", 0): run(), (CODE, 0): SimpleNamespace(metrics={})}
    assert map_losses(given, "SSD", "other") == map_losses(given, CODE, "other") == {}
    assert findings.losses(given).empty
    assert "nothing is known" in findings.finding(given)


def test_the_table_has_every_exchange_that_was_measured_with_its_interval():
    given = runs(CODE, lost=(1.0, 3.0)) | {(CONCAT, 0): run(own=20, edges_mean=19)}
    table = findings.losses(given)
    assert list(table.index) == [(CODE, "other"), (CONCAT, "edges_mean")]
    row, expected = table.loc[CODE, "other"], summarise([1.0, 3.0])
    np.testing.assert_allclose(
        row, [expected.mean, expected.low, expected.high, 2], rtol=1e-12, atol=1e-12
    )
    assert np.isnan(table.loc[(CONCAT, "edges_mean"), ["low", "high"]].astype(float)).all()


def test_every_exchange_of_a_run_has_a_place_in_the_table():
    """None is left out, and none is listed that no run measures."""
    doam = SimpleNamespace(attention=None)
    assert set(exchanges(doam)) == set(EXCHANGES)


@pytest.mark.parametrize(
    ("lost", "acts", "settled"),
    [
        ((1.0,), True, False),  # exactly the smallest that matters; one seed settles nothing
        ((0.99,), False, False),
        ((1.4, 1.6, 1.5, 1.5, 1.5), True, True),
        ((1.4, 1.6, 1.5, 1.5), True, False),  # a verdict needs five seeds
        ((1.0, 3.0, 1.0, 3.0, 2.0), True, False),  # above zero, but from 0.8 on
        ((0.1, 0.0, -0.1, 0.0, 0.0), False, True),
        ((0.4, 0.6, 0.5, 0.5, 0.5), False, True),  # above zero, and too small to matter
        ((6.0, 0.0, 0.0), False, False),  # 2 on average, and chance alone could do it
        ((0.0, 2.6, 0.0), False, False),  # 0.87 on average, could be well above 1
        ((-5.0, -5.2, -4.9, -5.0, -5.1), False, True),  # better with another's: does not act
        ((0.0, 0.0), False, False),
    ],
)
def test_the_rule_by_hand(lost, acts, settled):
    (effect,) = findings.effects(runs(CODE, lost=lost), "other")
    assert (effect.acts, effect.settled) == (acts, settled)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-20, 20), min_size=1, max_size=8))
def test_the_rule_is_the_one_that_is_stated(losses):
    """Against the interval computed by numpy and scipy alone."""
    from scipy import stats

    (effect,) = findings.effects(runs(CODE, lost=losses), "other")
    mean, n = np.mean(losses), len(losses)
    half = stats.t.ppf(0.975, n - 1) * np.std(losses, ddof=1) / np.sqrt(n) if n > 1 else 0.0
    margin = min(abs(mean - 1), abs(mean - half), abs(mean - half - 1), abs(mean + half - 1))
    if margin < 1e-6:
        return  # rounding decides
    assert effect.acts == (mean >= 1 and (n == 1 or mean - half > 0))
    assert effect.settled == (n >= 5 and (mean - half >= 1 or mean + half < 1))


OUTCOMES = {
    "code inert, paper acts": (
        runs(CODE, lost=(0.1, -0.1, 0.0, 0.1, -0.1), edges_lost=(5.0, 5.2, 5.1, 5.0, 5.2))
        | runs(PAPER, lost=(1.5, 1.7, 1.6, 1.5, 1.7), edges_lost=(0.1, 0.0, 0.2, 0.1, 0.0)),
        "acts in 1 of the 2 readings of DOAM",
        "channel acts in 1 of the 2 networks",
        "4 of these 4 answers are settled",
        "a channel of edges and little else",
    ),
    "nothing acts": (
        runs(CODE, lost=(0.0, 2.6, 0.0, -2.0, 0.2), edges_lost=(0.1, 0.0, 0.1, 0.0, 0.1)),
        "does not act in the code's reading of DOAM (another image's map changes the mAP by -0.16",
        "channel does not act in the code's reading of DOAM",
        "open: map in the code's",
        "needs neither its map nor its edge channel",
    ),
    "both act": (
        runs(CODE, lost=(2.0, 2.1, 2.2, 2.0, 2.1), edges_lost=(9.0, 9.1, 9.2, 9.0, 9.1)),
        "map acts in the code's reading of DOAM",
        "channel acts in the code's reading of DOAM",
        "2 of these 2 answers",
        "both of its gifts are used",
    ),
    "all act": (
        runs(CODE, lost=(2.0, 2.1, 2.0, 2.1, 2.0), edges_lost=(9.0, 9.1, 9.0, 9.1, 9.0))
        | runs(PAPER, lost=(3.0, 3.1, 3.0, 3.1, 3.0), edges_lost=(9.0, 9.1, 9.0, 9.1, 9.0))
        | runs(READINGS[2], edges_lost=(9.0, 9.1, 9.0, 9.1, 9.0)),
        "map acts in both readings of DOAM",
        "channel acts in all 3 networks",
        "5 of these 5 answers",
        "both of its gifts are used",
    ),
    "only the map": (
        runs(CODE, lost=(2.0, 2.1, 2.2, 2.0, 2.1), edges_lost=(0.0, 0.1, 0.0, 0.0, 0.1))
        | runs(PAPER, lost=(0.0, 0.1, 0.0, 0.0, 0.1))
        | {(CONCAT, 0): run(own=20, edges_other=10)},
        "acts in 1 of the 2 readings",
        "channel acts in 1 of the 2 networks",
        "3 of these 4 answers",
        "its map is used, and the edge channel that it weighs is not",
    ),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_other_outcomes_give_other_sentences(name):
    given, maps, edges, sure, meaning = OUTCOMES[name]
    told = findings.finding(given)
    assert maps in told and edges in told
    assert sure in findings.how_sure(given)
    assert meaning in findings.meaning(given)
    for text in (told, findings.how_sure(given), findings.meaning(given)):
        assert text.endswith(".") and text.count("..") == 0


def test_the_sentence_tells_the_change_not_the_loss():
    given = runs(CODE, lost=(1.5,), edges_lost=(-0.25,)) | runs(PAPER, lost=(0.001,))
    told = findings.finding(given)
    assert "another image's map changes the mAP by -1.50 in the code's, 0.00 in the paper" in told
    assert "the code's reading of DOAM (another image's edges: +0.25)" in told


def test_a_network_that_finds_next_to_nothing_is_not_judged():
    """It has no mAP to lose, so that it loses none says nothing."""
    weak = runs(CODE, own=findings.ABLE - 0.1, lost=(0.0, 0.0), edges_lost=(0.0, 0.0))
    assert findings.effects(weak, "other") == []
    assert "find too little to tell" in findings.finding(weak)
    assert "takes trained networks" in findings.how_sure(weak)
    assert "stays open" in findings.meaning(weak)
    assert len(findings.losses(weak)) == 2  # the table still shows what was measured
    assert findings.effects(runs(CODE, own=findings.ABLE, lost=(0.0,)), "other")
    both = weak | runs(PAPER, lost=(3.0, 3.1))
    assert "map acts in the paper's reading" in findings.finding(both)
    alone = runs(PAPER, lost=(3.0, 3.1)) | {(CONCAT, 0): run(own=20, edges_other=10)}
    assert "channel acts in SSD+Concat (another image's edges" in findings.finding(alone)


def test_the_other_detectors_have_a_sentence_of_their_own():
    yolo, fcos = findings.OTHERS
    assert findings.elsewhere({}) == "Of the other detectors nothing is known yet."
    one = runs(yolo, lost=(0.1,), edges_lost=(0.2,))
    told = findings.elsewhere(one)
    assert (
        "map does not act in YOLOv3+DOAM-T (another image's map changes the mAP by -0.10)" in told
    )
    assert told.endswith("(another image's edges: -0.20), by one seed each.")
    both = findings.elsewhere(one | runs(fcos, lost=(0.2, 0.3), edges_lost=(1.4, 1.5)))
    assert "map acts in none of the 2 networks" in both and "FCOS" in both
    assert "channel acts in 1 of the 2 networks" in both
    assert both.endswith("-1.45 in FCOS+DOAM-T).") and "by one seed" not in both
    assert findings.elsewhere(runs(CODE, lost=(5.0, 5.1))) == findings.elsewhere({})


def test_one_seed_is_called_one_and_several_are_counted():
    assert "One seed says nothing about chance" in findings.how_sure(runs(CODE, lost=(5.0,)))
    given = runs(CODE, lost=(5.0, 5.1, 5.2, 5.1, 5.1)) | runs(PAPER, lost=(0.0,) * 6)
    assert "Over 5 to 6 seeds, 2 of these 2 answers are settled" in findings.how_sure(given)
    assert "open" not in findings.how_sure(given)
    mixed = given | {(CONCAT, 0): run(own=20, edges_other=10)}
    assert "edges in SSD+Concat (one seed)" in findings.how_sure(mixed)
    assert "takes trained networks" in findings.how_sure({})


def test_an_open_answer_shows_its_interval_as_a_change():
    text = findings.how_sure(runs(CODE, lost=(0.0, 2.6, 0.0)))
    interval = summarise([0.0, 2.6, 0.0])
    ends = re.search(r"\((\S+) to (\S+)\)", text).groups()
    numbers = list(map(float, ends))
    assert numbers == pytest.approx([-interval.high, -interval.low], abs=0.005)


def test_what_is_not_settled_is_said_not_to_be():
    one = runs(CODE, lost=(0.0,), edges_lost=(9.0,))
    assert "not settled" in findings.meaning(one)
    several = runs(CODE, lost=(0.0, 0.2), edges_lost=(9.0, 9.1))
    assert "not settled" in findings.meaning(several)  # 0.1, but up to 1.37
    edges = runs(CODE, lost=(0.0, 0.0), edges_lost=(9.0, 0.0))
    assert "not settled" in findings.meaning(edges)
    many = runs(CODE, lost=(0.0, 0.1, 0.0, 0.1, 0.0), edges_lost=(9.0, 9.1, 9.0, 9.1, 9.0))
    assert "not settled" not in findings.meaning(many)
    assert "stays open" in findings.meaning(runs(PAPER, lost=(0.0,), edges_lost=(9.0,)))


def test_every_arm_that_is_judged_exists():
    assert {CODE, CONCAT, *findings.SHORT} <= set(ARMS)
