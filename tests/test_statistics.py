import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from doamlib.statistics import (
    Verdict,
    bootstrap_mean,
    image_resamples,
    judge,
    judge_all,
    judge_fact,
    judge_number,
    paired_differences,
    percentile_interval,
    smallest_difference,
    summarise,
    trend,
)

FIVE = [1.0, 2.0, 3.0, 4.0, 5.0]  # mean 3, sd sqrt(2.5), standard error sqrt(0.5)
T_4 = 2.7764451052  # 97.5% point of t with 4 degrees of freedom, from a table


def by_seed(values) -> dict[int, float]:
    return dict(enumerate(map(float, values)))


def assert_share(share: float, expected: float, trials: int) -> None:
    """``share`` of ``trials`` is ``expected`` within four standard errors of a simulation."""
    assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / trials)


# --- estimates ---------------------------------------------------------------------------------


def test_summary_by_hand():
    estimate = summarise(FIVE)
    assert (estimate.n, estimate.mean) == (5, 3.0)
    assert estimate.sd == pytest.approx(2.5**0.5, abs=1e-12)
    half = T_4 * 0.5**0.5
    assert (estimate.low, estimate.high) == pytest.approx((3 - half, 3 + half), abs=1e-8)
    assert str(estimate) == "+3.00 (95% interval +1.04 to +4.96, 5 seeds)"


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng, trials = np.random.default_rng(0), 2000
    for level in (0.95, 0.8):
        covered = 0
        for sample in rng.normal(0.7, 1.3, (trials, 5)):
            estimate = summarise(sample, level)
            covered += estimate.low <= 0.7 <= estimate.high
        assert_share(covered / trials, level, trials)


def test_one_seed_has_a_mean_and_nothing_else():
    estimate = summarise([2.0])
    assert (estimate.mean, estimate.sd, estimate.low, estimate.high) == (2.0, None, None, None)
    assert str(estimate) == "+2.00 (1 seed, no interval)"


def test_equal_values_give_an_interval_of_no_width(recwarn):
    estimate = summarise([0.1] * 5)
    assert (estimate.low, estimate.high) == (estimate.mean, estimate.mean)
    assert len(recwarn) == 0


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf"), 1.0]])
def test_nothing_and_not_a_number_are_refused(values):
    with pytest.raises(ValueError, match="finite"):
        summarise(values)
    with pytest.raises(ValueError, match="finite"):
        bootstrap_mean(values, seed=0)


def test_pairing_uses_the_shared_seeds():
    arm, base = {0: 5.0, 1: 6.0, 2: 7.0}, {2: 1.0, 0: 4.0, 9: 0.0}
    assert paired_differences(arm, base) == {0: 1.0, 2: 6.0}
    with pytest.raises(ValueError, match="no shared seed"):
        paired_differences({0: 1.0}, {1: 1.0})


def test_pairing_removes_what_the_arms_share():
    rng = np.random.default_rng(0)
    luck, own = rng.normal(0, 10, 5), rng.normal(0, 0.1, (2, 5))
    arm, base = by_seed(1 + luck + own[0]), by_seed(luck + own[1])
    assert judge(paired_differences(arm, base), full_size=True).status == "supported"
    unpaired = paired_differences(arm, by_seed(np.roll(list(base.values()), 1)))
    assert judge(unpaired, full_size=True).status == "inconclusive"


def test_trend_by_hand():
    # least squares through (1, 0), (2, 1), (3, 5): slope (-1 * 0 + 0 * 1 + 1 * 5) / 2
    slopes = trend({3: [0.0, 1.0, 5.0], 4: [2.0, 2.0, 2.0]}, levels=[1, 2, 3])
    assert slopes == pytest.approx({3: 2.5, 4: 0.0}, abs=1e-12)


# --- test images -------------------------------------------------------------------------------


@given(st.integers(1, 30), st.integers(0, 20))
def test_resamples_draw_as_many_images_as_there_are(images, resamples):
    counts = image_resamples(images, resamples, seed=1)
    assert counts.shape == (resamples, images)
    assert_array_equal(counts.sum(axis=1), images)


def test_resamples_depend_on_the_seed_alone():
    assert_array_equal(image_resamples(50, 3, seed=1), image_resamples(50, 3, seed=1))
    assert (image_resamples(50, 3, seed=1) != image_resamples(50, 3, seed=2)).any()
    with pytest.raises(ValueError, match="at least one image"):
        image_resamples(0, 3, seed=1)


def test_image_bootstrap_covers_a_known_precision():
    # Images hold 1 to 5 detections; an easy image's are right with probability 0.9, a hard one's
    # 0.3. Detections of an image share its difficulty, so only images may be resampled.
    rng, trials, images = np.random.default_rng(0), 500, 150
    covered = 0
    for trial in range(trials):
        detections = rng.integers(1, 6, images)
        right = rng.binomial(detections, rng.choice([0.9, 0.3], images))
        weights = image_resamples(images, 400, seed=trial)
        precision = (weights @ right) / (weights @ detections)
        interval = percentile_interval(right.sum() / detections.sum(), precision)
        covered += interval.low <= 0.6 <= interval.high
    assert_share(covered / trials, 0.95, trials)


def test_percentile_interval_leaves_out_what_is_not_known():
    values = [*np.linspace(0, 1, 101), *[np.nan] * 500]
    assert percentile_interval(0.5, values) == pytest.approx((0.5, 0.025, 0.975), abs=1e-12)
    assert_array_equal(percentile_interval(np.nan, [np.nan]), [np.nan] * 3)


def test_bootstrap_of_a_mean_covers_it_though_the_numbers_are_skewed():
    rng, trials = np.random.default_rng(0), 300
    intervals = [bootstrap_mean(rng.exponential(2.0, 100), seed=i) for i in range(trials)]
    assert_share(np.mean([low <= 2.0 <= high for _, low, high in intervals]), 0.95, trials)


def test_bootstrap_of_equal_numbers_has_no_width(recwarn):
    assert bootstrap_mean([0.25] * 8, seed=0) == (0.25, 0.25, 0.25)
    assert bootstrap_mean([0.25], seed=0) == (0.25, 0.25, 0.25)
    assert len(recwarn) == 0


# --- one difference ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shift", "status"), [(0.0, "supported"), (-3.0, "inconclusive"), (-6.0, "contradicted")]
)
def test_the_interval_decides(shift, status):
    verdict = judge(by_seed(np.add(FIVE, shift)), full_size=True)
    assert verdict.status == status
    assert verdict.sentence().startswith(status.capitalize() + ": ")


def test_the_interval_s_end_at_zero_is_inconclusive():
    half = summarise(FIVE).high - 3
    for shift, status in ((1e-6, "supported"), (-1e-6, "inconclusive")):
        assert judge(by_seed(np.add(FIVE, half - 3 + shift)), full_size=True).status == status


@given(st.lists(st.integers(-999, 999).map(lambda n: n / 100), min_size=5, max_size=9, unique=True))
def test_turning_the_claim_round_turns_the_verdict_round(values):
    opposite = {"supported": "contradicted", "contradicted": "supported"}
    there = judge(by_seed(values), full_size=True).status
    back = judge(by_seed(np.negative(values)), full_size=True).status
    assert back == opposite.get(there, there)


def test_sentences():
    assert judge(by_seed(FIVE), full_size=True, paper=3.12).sentence() == (
        "Supported: +3.00 (95% interval +1.04 to +4.96, 5 seeds); the paper's +3.12 lies inside."
    )
    assert judge(by_seed(np.add(FIVE, -3)), full_size=True, paper=3.12).sentence() == (
        "Inconclusive: +0.00 (95% interval -1.96 to +1.96, 5 seeds) contains zero; 5 seeds would "
        "show a true difference of 2.66 four times in five; the paper's +3.12 lies above."
    )
    assert judge(by_seed(FIVE), full_size=True, paper=0.5).reason.endswith("+0.50 lies below")
    assert judge(by_seed(FIVE), full_size=False).sentence() == (
        "Not tested here: these are not full-size reference results; "
        "measured +3.00 (95% interval +1.04 to +4.96, 5 seeds)."
    )


@pytest.mark.parametrize(
    ("values", "full_size", "why"),
    [
        ([], True, "no results"),
        ([3.0], True, "1 of the 5 seeds"),
        ([3.0, 3.1, 3.2, 3.3], True, "4 of the 5 seeds"),
        (FIVE, False, "not full-size"),
        ([3.0] * 5, True, "same difference"),
        ([0.0] * 5, True, "same difference"),
    ],
)
def test_what_is_not_tested_here(values, full_size, why):
    verdict = judge(by_seed(values), full_size)
    assert verdict.status == "not tested here"
    assert why in verdict.reason


def test_a_difference_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="finite"):
        judge(by_seed([1, 2, 3, 4, np.nan]), full_size=True)


def test_without_a_true_difference_few_verdicts_are_given():
    rng, trials = np.random.default_rng(1), 1000
    verdicts = [judge(by_seed(row), True).status for row in rng.normal(0, 1, (trials, 5))]
    assert_share(verdicts.count("supported") / trials, 0.025, trials)
    assert_share(verdicts.count("contradicted") / trials, 0.025, trials)


@pytest.mark.parametrize("n", [5, 8])
def test_the_smallest_difference_is_shown_four_times_in_five(n):
    rng, trials = np.random.default_rng(2), 1000
    truth = smallest_difference(sd=0.5, n=n)
    verdicts = [judge(by_seed(row), True).status for row in rng.normal(truth, 0.5, (trials, n))]
    assert_share(verdicts.count("supported") / trials, 0.8, trials)


def test_the_smallest_difference_falls_with_seeds_and_scales_with_the_noise():
    by_n = [smallest_difference(1.0, n) for n in (2, 3, 5, 10, 30)]
    assert by_n == sorted(by_n, reverse=True)
    assert smallest_difference(3.0, 5) == pytest.approx(3 * by_n[2], rel=1e-9)


# --- several differences -----------------------------------------------------------------------


def around(mean: float, spread: float) -> dict[int, float]:
    """Five differences of this mean and, as in FIVE, standard error sqrt(0.5) * spread."""
    return by_seed(mean + spread * (np.array(FIVE) - 3))


def test_all_parts_must_be_shown():
    strong, weak, against = around(3, 0.1), around(0.1, 1), around(-3, 0.1)
    assert judge_all({"a": strong, "b": strong}, full_size=True).status == "supported"
    assert judge_all({"a": strong, "b": weak}, full_size=True).status == "inconclusive"
    assert judge_all({"a": strong, "b": weak, "c": against}, True).status == "contradicted"
    few = {0: 1.0, 1: 2.0}
    assert judge_all({"a": strong, "b": few}, full_size=True).status == "not tested here"
    assert judge_all({"a": strong}, full_size=False).status == "not tested here"


def test_the_reason_names_the_parts_that_decide():
    verdict = judge_all({"good": around(3, 0.1), "bad": around(-3, 0.1)}, True, {"bad": 0.4})
    assert verdict.reason.startswith("1 of 2 parts (bad: -3.00 (")
    assert "the paper's +0.40 lies above" in verdict.reason
    assert set(verdict.parts) == {"good", "bad"}


def test_holm_levels_by_hand():
    # Two-sided p of a t of 4 degrees of freedom: t = 8 gives 0.0013, t = 3.2 gives 0.033,
    # t = 3 gives 0.040. Holm: 0.0013 < 0.05/3; 0.033 > 0.05/2, so the procedure stops there.
    error = 0.5**0.5
    claims = {"c": around(3 * error, 1), "a": around(8 * error, 1), "b": around(3.2 * error, 1)}
    verdict = judge_all(claims, full_size=True)
    assert {name: part.status for name, part in verdict.parts.items()} == {
        "a": "supported",
        "b": "inconclusive",
        "c": "inconclusive",
    }
    levels = {name: part.estimate.level for name, part in verdict.parts.items()}
    assert levels == pytest.approx({"a": 1 - 0.05 / 3, "b": 0.975, "c": 0.975}, abs=1e-12)
    assert verdict.status == "inconclusive"
    # with b out of the way, c is the last of two and is judged at 95%
    assert judge_all({"a": claims["a"], "c": claims["c"]}, True).status == "supported"


def test_a_single_part_is_judged_as_a_claim_of_its_own():
    part = judge_all({"only": around(1, 0.5)}, full_size=True).parts["only"]
    assert part == judge(around(1, 0.5), full_size=True)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-4, 4), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_the_parts_does_not_matter(means, random):
    claims = {f"{i}": around(mean, 1) for i, mean in enumerate(means)}
    names = random.sample(sorted(claims), len(claims))
    there, back = judge_all(claims, True), judge_all({name: claims[name] for name in names}, True)
    assert there.status == back.status
    assert there.parts == back.parts


def test_a_family_without_true_differences_is_decided_at_most_once_in_twenty():
    rng, trials = np.random.default_rng(3), 400
    decided = 0
    for sample in rng.normal(0, 1, (trials, 4, 5)):
        verdict = judge_all({str(i): by_seed(row) for i, row in enumerate(sample)}, True)
        decided += any(part.status != "inconclusive" for part in verdict.parts.values())
    assert_share(decided / trials, 0.05, trials)  # Holm is nearly exact for independent parts


def test_no_part_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        judge_all({}, full_size=True)


# --- the paper's claims, each in a form that these functions judge --------------------------------


def test_a_gain_that_grows_with_occlusion_is_a_trend():
    # Claim 3, Table V: gains of 2.42, 2.91 and 4.48 over SSD; slope (4.48 - 2.42) / 2
    gains = np.random.default_rng(0).normal([2.42, 2.91, 4.48], 0.1, (5, 3))
    slopes = trend(dict(enumerate(gains)), levels=[1, 2, 3])
    verdict = judge(slopes, full_size=True, paper=1.03)
    assert verdict.status == "supported"
    assert verdict.estimate.mean == pytest.approx(1.03, abs=0.2)


def test_the_largest_gain_is_a_list_of_rivals():
    # Claim 2, Table IV: the gain on Straight Knife exceeds that on every other class
    gain = {"FO": 4.46, "ST": 6.48, "SC": 1.71, "UT": 2.34, "MU": 0.56}
    noise = np.random.default_rng(0).normal(0, 0.2, (5, 5))
    gains = {name: by_seed(g + noise[i]) for i, (name, g) in enumerate(gain.items())}
    rivals = {
        f"ST over {name}": paired_differences(gains["ST"], gains[name])
        for name in gain
        if name != "ST"
    }
    assert judge_all(rivals, full_size=True).status == "supported"


def test_counts_need_no_seeds():
    # Claim 8: "0.1e6 parameters"; the exact increase is 24,334, which does not round to 0.1e6
    verdict = judge_number(24_334, 0.1e6, half_unit=0.05e6)
    assert verdict.status == "contradicted"
    assert "24,334" in verdict.reason and "100,000" in verdict.reason
    assert judge_number(32.8435, 32.8435, half_unit=0.00005).status == "supported"
    assert judge_number(0.0, 0.5, half_unit=0.5).status == "supported"
    assert judge_fact(False, "sixteen boxes of 0.39% to 1.67%").sentence() == (
        "Contradicted: sixteen boxes of 0.39% to 1.67%."
    )


def test_a_verdict_survives_storage():
    verdict = judge_all({"a": around(3, 0.1), "b": around(0.1, 1)}, full_size=True)
    assert Verdict.model_validate_json(verdict.as_json()) == verdict
    assert f"difference of {smallest_difference(2.5**0.5, 5):.2f} " in verdict.parts["b"].reason
