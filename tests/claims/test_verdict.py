"""The rule of verdicts, by hand and by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from doamlib.claims.verdict import (
    Verdict,
    judge,
    judge_all,
    judge_fact,
    judge_facts,
    power,
    seeds_needed,
)
from doamlib.evaluation.statistics import paired_differences, summarise, trend

FIVE = [1.0, 2.0, 3.0, 4.0, 5.0]  # mean 3, sd sqrt(2.5), standard error sqrt(0.5)
HALF = 2.7764451052 * 0.5**0.5  # of its 95% interval: 97.5% point of t with 4 degrees of freedom


def by_seed(values) -> dict[int, float]:
    return dict(enumerate(map(float, values)))


def around(mean: float, spread: float = 1.0) -> dict[int, float]:
    """Five differences of this mean and, as in FIVE, standard error sqrt(0.5) * spread."""
    return by_seed(mean + spread * (np.array(FIVE) - 3))


def assert_share(share: float, expected: float, trials: int) -> None:
    """``share`` of ``trials`` is ``expected`` within four standard errors of a simulation."""
    assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / trials)


# --- one difference ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mean", "spread", "status"),
    [
        (HALF + 1e-6, 1, "supported"),
        (HALF - 1e-6, 1, "open"),
        (-HALF + 1e-6, 1, "open"),
        (-HALF - 1e-6, 1, "contradicted"),
        (0.0, 0.499 / HALF, "no effect"),
        (0.0, 0.501 / HALF, "open"),
        (0.02, 0.49 / HALF, "open"),  # to +0.51
        (-0.02, 0.49 / HALF, "open"),  # to -0.51
        (0.3, 0.1 / HALF, "supported"),  # within half a point, but not zero: its size says it
        (-0.3, 0.1 / HALF, "contradicted"),
    ],
)
def test_the_interval_decides(mean, spread, status):
    verdict = judge(around(mean, spread))
    assert verdict.status == status
    assert verdict.reason


def test_an_interval_that_holds_the_papers_difference_is_never_called_no_effect():
    near = around(0.0, 1.5 / HALF)
    for outside in (None, 1.6, -1.6):
        assert judge(near, outside, margin=2.0).status == "no effect"
    both = judge(near, 1.4, margin=2.0)
    assert both.status == "open" and "the paper's difference is no larger" in both.reason
    assert both.size == "contains"


def test_another_unit_has_another_margin_or_none():
    near = around(0.0, 0.9 / HALF)
    assert judge(near).status == "open" == judge(near, margin=None).status
    assert judge(near, margin=1.0).status == "no effect"


@given(st.lists(st.integers(-999, 999).map(lambda n: n / 100), min_size=5, max_size=9, unique=True))
def test_turning_the_claim_round_turns_the_verdict_round(values):
    opposite = {"supported": "contradicted", "contradicted": "supported"}
    there, back = judge(by_seed(values)), judge(by_seed(np.negative(values)))
    assert back.status == opposite.get(there.status, there.status)


@pytest.mark.parametrize(
    ("paper", "size", "words"),
    [
        (3.0, "contains", "; the paper's +3.00 lies inside"),
        (3 + HALF + 0.01, "below", "lies above"),
        (3 + HALF - 0.01, "contains", "lies inside"),
        (3 - HALF + 0.01, "contains", "lies inside"),
        (3 - HALF - 0.01, "above", "; the paper's +1.03 lies below"),
    ],
)
def test_size_is_judged_apart_from_sign(paper, size, words):
    verdict = judge(around(3), paper)
    assert (verdict.status, verdict.size, verdict.paper) == ("supported", size, paper)
    assert verdict.reason.endswith(words)
    assert judge(around(3)).size == "" == judge({0: 3.0}, paper).size


def sentence(verdict):
    return f"{verdict.status.capitalize()}: {verdict.reason}."


def test_sentences():
    assert sentence(judge(around(3), 3.12)) == (
        "Supported: +3.00 (95% interval +1.04 to +4.96, 5 seeds); the paper's +3.12 lies inside."
    )
    assert sentence(judge(around(0), 3.12)) == (
        "Open: +0.00 (95% interval -1.96 to +1.96, 5 seeds), contains zero; "
        "the paper's +3.12 lies above."
    )
    assert sentence(judge(around(0, 0.1))) == (
        "No effect: +0.00 (95% interval -0.20 to +0.20, 5 seeds), within 0.5 of zero."
    )


@pytest.mark.parametrize(
    ("values", "paper", "status", "why"),
    [
        ([], None, "not run yet", "no results"),
        ([3.0], None, "open", "1 of the 5 seeds"),
        (FIVE[:4], None, "open", "4 of the 5 seeds"),
        (FIVE, 0.99, "open", "5 of the 10 seeds"),
        (FIVE, -0.99, "open", "5 of the 10 seeds"),
        (FIVE, 1.0, "supported", ""),
        ([*FIVE, *FIVE], 0.99, "supported", ""),
        ([*FIVE, *FIVE][:9], 0.99, "open", "9 of the 10 seeds"),
        ([3.0] * 5, None, "open", "nothing is known about chance"),
        ([0.0] * 5, None, "open", "nothing is known about chance"),
    ],
)
def test_too_little_is_open(values, paper, status, why):
    verdict = judge(by_seed(values), paper)
    assert verdict.status == status and why in verdict.reason
    assert (verdict.estimate is None) == (not values)


def test_small_differences_need_ten_seeds_and_others_five():
    assert [seeds_needed(paper) for paper in (None, 3.12, 1.0, 0.99, -0.5, 0.0)] == [
        *(5, 5, 5, 10, 10, 10)
    ]


def test_a_difference_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="finite"):
        judge(by_seed([1, 2, 3, 4, np.nan]))


@pytest.mark.slow
def test_without_a_true_difference_few_verdicts_are_given():
    rng, trials = np.random.default_rng(1), 1000
    verdicts = [judge(by_seed(row)).status for row in rng.normal(0, 1, (trials, 5))]
    assert_share(verdicts.count("supported") / trials, 0.025, trials)
    assert_share(verdicts.count("contradicted") / trials, 0.025, trials)


# --- several differences -----------------------------------------------------------------------


STRONG, WEAK, NONE, AGAINST = around(3, 0.1), around(0.6), around(0, 0.1), around(-3, 0.1)


@pytest.mark.parametrize(
    ("parts", "status", "headline"),
    [
        ([STRONG, STRONG], "supported", "2 of 2 hold"),
        ([STRONG, WEAK], "open", "1 of 2 hold, 1 open"),
        ([STRONG, NONE], "open", "1 of 2 hold, 1 no effect"),
        ([NONE, NONE], "no effect", "0 of 2 hold, 2 no effect"),
        ([NONE, WEAK], "open", "0 of 2 hold, 1 no effect, 1 open"),
        (
            [STRONG, WEAK, NONE, AGAINST],
            "contradicted",
            "1 of 4 hold, 1 against, 1 no effect, 1 open",
        ),
        ([AGAINST, AGAINST], "contradicted", "0 of 2 hold, 2 against"),
        ([STRONG], "supported", "supported"),
        ([{}, {}], "not run yet", "not run yet"),
        ([STRONG, {}], "open", "open"),
    ],
)
def test_the_headline_is_the_weakest_statement_that_the_parts_allow(parts, status, headline):
    verdict = judge_all(dict(zip("abcd", parts, strict=False)))
    assert (verdict.status, verdict.headline) == (status, headline)


def test_the_reason_names_the_parts_that_decide():
    verdict = judge_all({"good": STRONG, "bad": AGAINST}, {"bad": 4.0})
    assert verdict.reason.startswith("1 of 2 parts do not hold (bad: -3.00 (")
    assert "good" not in verdict.reason and "the paper's +4.00 lies above" in verdict.reason
    assert set(verdict.parts) == {"good", "bad"}
    open_one = judge_all({"good": STRONG, "vague": WEAK, "zero": NONE})
    assert open_one.reason.startswith("2 of 3 parts are not supported (vague: +0.60 (")
    assert "; zero: +0.00" in open_one.reason


def test_support_needs_no_correction_but_one_part_against_does():
    """Two-sided p of t with 4 degrees of freedom: 0.033 at t = 3.2, 0.0013 at t = 8."""
    just, clear = around(3.2 * 0.5**0.5), around(8 * 0.5**0.5)
    assert stats.t.sf(3.2, 4) * 2 == pytest.approx(0.0329, abs=1e-4)
    both = judge_all({"a": just, "b": just})
    assert both.status == "supported"
    against = {"a": around(-3.2 * 0.5**0.5), "b": just}
    verdict = judge_all(against)  # 2 * 0.033 > 0.05
    assert verdict.parts["a"].status == "open" and verdict.status == "open"
    assert "not when all parts are read together" in verdict.parts["a"].reason
    assert judge_all({"a": against["a"]}).status == "contradicted"  # alone it is one test
    # The smallest p of two is doubled, the other is not: 2 * 0.0013 and 1 * 0.033.
    verdict = judge_all({"a": against["a"], "b": clear})
    assert verdict.parts["a"].status == "contradicted"
    # Of three, the middle one is doubled and stops the last: 3 * 0.0013, 2 * 0.033, 1 * 0.033.
    verdict = judge_all({"a": against["a"], "b": clear, "c": just})
    assert verdict.parts["a"].status == "open"


def test_holm_never_gives_a_larger_p_a_smaller_adjusted_one():
    """0.030 doubled is 0.060; 0.035 after it counts once, but no less than 0.060."""
    t = [stats.t.isf(p / 2, 4) * 0.5**0.5 for p in (0.030, 0.035)]
    verdict = judge_all({"a": around(-t[0]), "b": around(-t[1])})
    assert [part.status for part in verdict.parts.values()] == ["open", "open"]
    t = [stats.t.isf(p / 2, 4) * 0.5**0.5 for p in (0.024, 0.035)]
    verdict = judge_all({"a": around(-t[0]), "b": around(-t[1])})
    assert [part.status for part in verdict.parts.values()] == ["contradicted"] * 2


def test_a_part_of_a_single_claim_is_judged_as_a_claim_of_its_own():
    part = judge_all({"only": around(-1, 0.5)}).parts["only"]
    assert part == judge(around(-1, 0.5))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-4, 4), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_the_parts_does_not_matter(means, random):
    claims = {f"{i}": around(mean, 1) for i, mean in enumerate(means)}
    names = random.sample(sorted(claims), len(claims))
    there, back = judge_all(claims), judge_all({name: claims[name] for name in names})
    assert there.status == back.status
    assert there.parts == back.parts


@pytest.mark.slow
def test_a_claim_without_true_differences_is_contradicted_by_chance_at_most_once_in_forty():
    rng, trials = np.random.default_rng(3), 600
    against = 0
    for sample in rng.normal(0, 1, (trials, 4, 5)):
        verdict = judge_all({str(i): by_seed(row) for i, row in enumerate(sample)})
        against += verdict.status == "contradicted"
    # Holm keeps 5% for both sides together, and is nearly exact for independent parts.
    assert_share(against / trials, 0.025, trials)


def test_no_part_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        judge_all({})
    with pytest.raises(ValueError, match="at least one"):
        judge_facts({})


# --- power -------------------------------------------------------------------------------------


def test_power_of_one_part_is_that_of_the_t_test():
    sd = 2.5**0.5
    for n, paper in ((5, 1.0), (5, 3.0)):
        shift = paper / (sd / n**0.5)
        expected = stats.nct.sf(stats.t.ppf(0.975, n - 1), n - 1, shift)
        assert power({"a": around(9)}, {"a": paper}) == pytest.approx(expected, abs=0.03)


def test_power_of_six_parts_that_share_arms_is_that_of_simulated_studies():
    """Claim 7 of the paper, arms with an independent sd of 0.5, its differences taken for true."""
    rng = np.random.default_rng(0)
    arms = {"O": 1.35, "T": 0.79, "E": 0.0, "R": 0.2, "F": 0.03}
    pairs = [(a, b) for a in "OT" for b in "ERF"]
    paper = {a + b: arms[a] - arms[b] for a, b in pairs}
    columns = {name: i for i, name in enumerate(arms)}

    def differences(scores):  # ..., arms to ..., parts
        return np.stack([scores[..., columns[a]] - scores[..., columns[b]] for a, b in pairs], -1)

    drawn = differences(rng.normal(list(arms.values()), 0.5, (4000, 10, 5)))
    expected = (
        (stats.ttest_1samp(drawn, 0, axis=1).confidence_interval(0.95).low > 0).all(-1).mean()
    )
    assert 0.3 < expected < 0.8
    exact = np.linalg.qr(rng.normal(size=(10, 6)) * [0, 1, 1, 1, 1, 1] + [1, 0, 0, 0, 0, 0])[0]
    scores = 0.5 * 3 * exact[:, 1:]  # columns orthogonal to ones and each other: sd 0.5, no luck
    measured = {n: by_seed(d) for n, d in zip(paper, differences(scores).T, strict=True)}
    assert power(measured, paper) == pytest.approx(expected, abs=0.04)


def test_parts_that_move_together_have_the_power_of_one():
    one = around(1)
    paper = {"a": 2.0, "b": 2.0}
    alone, twice = power({"a": one}, {"a": 2.0}), power({"a": one, "b": one}, paper)
    assert twice == pytest.approx(alone, abs=1e-9)
    turned = by_seed(list(one.values())[::-1])
    assert power({"a": one, "b": turned}, paper) < 0.8 * alone


def test_power_is_not_told_without_a_spread_or_without_the_papers_number():
    assert power({"a": {0: 1.0, 1: 2.0}}, {"a": 1.0}) is None
    assert power({"a": {0: 1.0, 1: 2.0, 2: 1.5}}, {"a": 1.0}) > 0
    assert power({"a": around(1)}, {}) is None
    assert power({"a": around(1), "b": {}}, {"a": 1.0, "b": 1.0}) is None
    assert judge_all({"a": around(1)}, {"a": 9.0}).power == pytest.approx(1.0, abs=0.01)


def test_no_power_is_told_while_no_verdict_is_possible():
    few, five, ten = ({seed: 2.0 + 0.1 * seed for seed in range(n)} for n in (3, 5, 10))
    assert judge_all({"a": few}, {"a": 2.0}).power is None
    assert judge_all({"a": five}, {"a": 2.0}).power == 1.0
    # Below one point the rule asks for ten seeds, of one part as of all.
    assert judge_all({"a": five, "b": five}, {"a": 2.0, "b": 0.9}).power is None
    assert judge_all({"a": ten, "b": ten}, {"a": 2.0, "b": 0.9}).power == 1.0


# --- the paper's claims, each in a form that these functions judge --------------------------------


def test_a_gain_that_grows_with_occlusion_is_a_trend():
    # Claim 3, Table V: gains of 2.42, 2.91 and 4.48 over SSD; slope (4.48 - 2.42) / 2
    gains = np.random.default_rng(0).normal([2.42, 2.91, 4.48], 0.1, (5, 3))
    verdict = judge(trend(dict(enumerate(gains)), levels=[1, 2, 3]), paper=1.03)
    assert verdict.status == "supported"
    assert verdict.estimate.mean == pytest.approx(1.03, abs=0.2)


def test_the_largest_gain_is_a_list_of_rivals():
    # Claim 2, Table IV: the gain on Straight Knife exceeds that on every other class
    gain = {"FO": 4.46, "ST": 6.48, "SC": 1.71, "UT": 2.34, "MU": 0.56}
    noise = np.random.default_rng(0).normal(0, 0.2, (5, 5))
    gains = {name: by_seed(g + noise[i]) for i, (name, g) in enumerate(gain.items())}
    rivals = {n: paired_differences(gains["ST"], gains[n]) for n in gain if n != "ST"}
    assert judge_all(rivals).status == "supported"


def test_facts_need_no_seeds():
    assert sentence(judge_fact(False, "sixteen boxes of 0.39% to 1.67%")) == (
        "Contradicted: sixteen boxes of 0.39% to 1.67%."
    )
    both = judge_facts({"a": judge_fact(True, "one"), "b": judge_fact(False, "two")})
    assert (both.status, both.headline) == ("contradicted", "1 of 2 hold, 1 against")
    assert both.reason == "1 of 2 parts do not hold (b: two)"
    assert judge_facts({"a": judge_fact(True, "one")}).status == "supported"


def test_a_verdict_survives_storage():
    verdict = judge_all({"a": around(3, 0.1), "b": around(0.1, 1)}, {"a": 2.0, "b": 2.0})
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict
    assert verdict.parts["b"].estimate == summarise(around(0.1, 1))
