"""The sentences about maps with weights drawn anew say what the numbers say."""

from types import SimpleNamespace

import numpy as np
import pytest

from doamlib.claims import findings_maps as findings
from doamlib.claims.rules import DOAM_T, judge_attention
from doamlib.claims.verdict import MIN_SEEDS

LEARNED = "learned (lift minus that of random weights)"


def run(trained, draws, correlation=0.25, region="lift_silhouette"):
    known = [value for value in draws if value is not None]
    drawn = {region: float(np.mean(known)) if known else None, "correlation": correlation}
    drawn["draws"] = {region: draws}
    maps = {"lift_silhouette": {"mean": None}, region: {"mean": trained}, "random": {"doam": drawn}}
    return SimpleNamespace(metrics={"maps": {"attention": maps}})


def checked(runs):
    return findings.map_check(runs, DOAM_T, "attention", "doam")


def seeds(differences):
    return {(DOAM_T, s): run(1.0 + d, [0.5, None, 1.5]) for s, d in enumerate(differences)}


def test_one_seed_by_hand():
    check = checked({(DOAM_T, 3): run(1.2, [0.8, 1.2, 1.3, None])})
    assert check.answer == "above, but open after 1 seed"
    assert str(check) == (
        "above, but open after 1 seed. The lift over the silhouette is 1.20, with weights drawn "
        "anew 1.10 on average; the difference is +0.10 (1 seed, no interval). "
        "The draws reach from 0.80 to 1.30; 2 of the 3 get as high."
    )
    (row,) = check.table().to_dict("records")
    assert row == {
        "correlation": 0.25,
        "trained": 1.2,
        "mean of draws": pytest.approx(1.1),
        "lowest": 0.8,
        "highest": 1.3,
        "as high": "2 of 3",
    }


@pytest.mark.parametrize(
    ("differences", "answer"),
    [
        ([0.1, 0.11, 0.12, 0.1, 0.11], "passes"),
        ([-0.1, -0.11, -0.12, -0.1, -0.11], "does not pass"),
        ([0.1, 0.2, -0.1, 0.05, 0.0], "above, but open after 5 seeds"),
        ([-0.1, 0.02], "not above, and open after 2 seeds"),
        ([0.0], "not above, and open after 1 seed"),
    ],
)
def test_the_answer_is_that_of_the_claims_rule(differences, answer):
    given = seeds(differences)
    assert checked(given).answer == answer
    status = judge_attention(given).parts[LEARNED].status
    assert status == {"passes": "supported", "does not pass": "contradicted"}.get(answer, "open")
    assert (len(differences) >= MIN_SEEDS) or "open" in answer


def test_draws_of_all_seeds_are_counted_each_against_its_own_seed():
    given = {(DOAM_T, 0): run(1.0, [0.9, 1.1]), (DOAM_T, 1): run(2.0, [1.1, 1.2])}
    told = "The draws reach from 0.90 to 1.20; 1 of the 4 get as high."
    assert str(checked(given)).endswith(told)
    assert str(checked({(DOAM_T, 0): run(1.0, [0.9])})).endswith("none of the 1 get as high.")
    assert checked(given).table().index.tolist() == [0, 1]


def test_without_a_silhouette_the_box_counts():
    check = checked({(DOAM_T, 0): run(1.2, [1.0], region="lift_box")})
    assert check.region == "lift_box" and "over the box is 1.20" in str(check)


def test_what_was_not_looked_at_is_not_told():
    none = SimpleNamespace(metrics={})
    for given in ({}, {(DOAM_T, 0): none}, {("SSD", 0): run(1.2, [1.0])}):
        assert checked(given) is None
    assert checked({(DOAM_T, 0): run(None, [1.0])}) is None  # every map is blank
    assert checked({(DOAM_T, 0): run(1.0, [None])}) is None  # so is every draw
    check = checked({(DOAM_T, 0): none, (DOAM_T, 1): run(1.2, [1.0], correlation=None)})
    assert list(check.trained) == [1] and np.isnan(check.table()["correlation"].item())


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (3.0, "above edges and darkness"),
        (1.5, "above edges, below darkness"),
        (0.5, "below edges and darkness"),
        (2.0, "above edges, level with darkness"),
        (np.nan, "not measured"),
    ],
)
def test_where_a_number_lies_to_others(value, told):
    assert findings.beside(value, {"edges": 1.0, "darkness": 2.0}) == told


def test_what_is_not_known_is_not_compared_with():
    assert findings.beside(1.0, {"edges": np.nan, "darkness": 0.5}) == "above darkness"
    assert findings.beside(1.0, {"edges": np.nan}) == "not measured"
