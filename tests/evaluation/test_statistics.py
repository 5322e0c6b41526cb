import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from doamlib.evaluation.statistics import (
    bootstrap_mean,
    image_resamples,
    is_constant,
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


def test_an_estimate_is_written_with_its_interval_where_it_has_one():
    assert summarise([1.0, 1.2, 1.4]).in_brackets == "+1.20 [+0.70, +1.70]"
    assert summarise([1.2]).in_brackets == "+1.20"


def test_summary_by_hand():
    estimate = summarise(FIVE)
    assert (estimate.n, estimate.mean) == (5, 3.0)
    assert estimate.sd == pytest.approx(2.5**0.5, abs=1e-12)
    half = T_4 * 0.5**0.5
    assert (estimate.low, estimate.high) == pytest.approx((3 - half, 3 + half), abs=1e-8)
    assert str(estimate) == "+3.00 (95% interval +1.04 to +4.96, 5 seeds)"


@pytest.mark.slow
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
    assert summarise(paired_differences(arm, base)).low > 0
    unpaired = summarise(paired_differences(arm, by_seed(np.roll(list(base.values()), 1))))
    assert unpaired.low < 0 < unpaired.high


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_bootstrap_of_a_mean_covers_it_though_the_numbers_are_skewed():
    rng, trials = np.random.default_rng(0), 300
    intervals = [bootstrap_mean(rng.exponential(2.0, 100), seed=i) for i in range(trials)]
    assert_share(np.mean([low <= 2.0 <= high for _, low, high in intervals]), 0.95, trials)


def test_bootstrap_of_equal_numbers_has_no_width(recwarn):
    assert bootstrap_mean([0.25] * 8, seed=0) == (0.25, 0.25, 0.25)
    assert bootstrap_mean([0.25], seed=0) == (0.25, 0.25, 0.25)
    assert len(recwarn) == 0


# --- power -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("n", [5, 8])
def test_the_smallest_difference_is_shown_four_times_in_five(n):
    rng, trials = np.random.default_rng(2), 1000
    truth = smallest_difference(sd=0.5, n=n)
    shown = [summarise(row).low > 0 for row in rng.normal(truth, 0.5, (trials, n))]
    assert_share(np.mean(shown), 0.8, trials)


def test_the_smallest_difference_is_that_of_tables_of_power():
    """Effect size of a t test of one sample, two-sided at 5%, power 80%; n of 5, 10 and 20."""
    found = [smallest_difference(1.0, n) for n in (5, 10, 20)]
    assert found == pytest.approx([1.68, 1.00, 0.66], abs=0.006)


def test_fewer_than_two_seeds_show_no_difference():
    for n in (0, 1):
        with pytest.raises(ValueError, match=f"n = {n}: an interval needs two seeds"):
            smallest_difference(1.0, n)


def test_the_smallest_difference_falls_with_seeds_and_scales_with_the_noise():
    by_n = [smallest_difference(1.0, n) for n in (2, 3, 5, 10, 30)]
    assert by_n == sorted(by_n, reverse=True)
    assert smallest_difference(3.0, 5) == pytest.approx(3 * by_n[2], rel=1e-9)


def test_equal_up_to_rounding_is_constant_and_nothing_else_is():
    assert is_constant([0.3, 0.1 + 0.2]) and is_constant([0.0, 0.0]) and is_constant([7.0])
    assert not is_constant([1.0, 1.0 + 1e-9]) and not is_constant([1.0, -1.0])
