import numpy as np
import pytest

from doamlib.core.trend import FEWEST, WINDOW, next_loss


def test_a_straight_line_goes_on():
    line = [9.0 - 0.25 * i for i in range(30)]
    expected, spread = next_loss(line)
    assert expected == pytest.approx(9.0 - 0.25 * 30)
    assert 0 < spread < 1e-6


def test_line_and_spread_are_those_of_linear_regression():
    """The textbook's prediction interval, worked out with the design matrix."""
    losses = np.random.default_rng(0).normal(5, 1, WINDOW)
    design = np.stack([np.ones(WINDOW), np.arange(WINDOW)], axis=1)
    weights, squares, *_ = np.linalg.lstsq(design, losses, rcond=None)
    new = np.array([1.0, WINDOW])
    leverage = new @ np.linalg.inv(design.T @ design) @ new
    variance = squares[0] / (WINDOW - 2) * (1 + leverage)
    assert next_loss(losses) == pytest.approx((new @ weights, np.sqrt(variance)))


def test_only_the_window_counts_and_a_few_losses_are_none():
    losses = np.random.default_rng(0).normal(5, 1, 50).tolist()
    assert next_loss(losses) == next_loss(losses[-WINDOW:]) != next_loss(losses[-WINDOW + 1 :])
    assert next_loss(losses[: FEWEST - 1]) is None and next_loss([]) is None
    assert next_loss(losses[:FEWEST]) is not None


def test_noise_about_any_line_is_measured_in_its_own_standard_deviations():
    """Excesses follow Student's t with 18 degrees of freedom, whose variance is 18 / 16."""
    generator = np.random.default_rng(0)
    excesses = []
    for slope, scale in [(-3.0, 0.1), (0.0, 1.0), (0.5, 40.0)]:
        for _ in range(1000):
            noise = generator.normal(0, scale, WINDOW + 1)
            losses = 100 + slope * np.arange(WINDOW + 1) + noise
            expected, spread = next_loss(losses[:-1])
            excesses.append((losses[-1] - expected) / spread)
    by_line = np.reshape(excesses, (3, -1))
    np.testing.assert_allclose(by_line.mean(axis=1), 0, atol=0.12)
    np.testing.assert_allclose(by_line.std(axis=1), np.sqrt(18 / 16), rtol=0.1)


def test_losses_that_never_differ_have_a_spread_all_the_same():
    assert next_loss([7.0] * 30) == (pytest.approx(7.0), pytest.approx(0, abs=1e-6))
    assert next_loss([7.0] * 30)[1] > 0 and next_loss([0.0] * 30)[1] > 0
