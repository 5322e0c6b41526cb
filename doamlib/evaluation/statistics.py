"""What a handful of seeds and a test set allow to say: intervals and paired differences.

Two sources of chance, never mixed: the seed (initial weights, data order), judged by t intervals
over runs; and the choice of test images, judged by a bootstrap over images. A verdict rests on the
first, because the paper's claims are about methods trained anew, on one fixed test set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from doamlib.core.config import Record
from doamlib.core.report import counted

LEVEL = 0.95
"""Of every interval in the book."""

POWER = 0.8
"""How often `smallest_difference` would be shown."""

BySeed = Mapping[int, float]
"""A result of one arm, or a difference of two, for each seed."""

# --- estimates over seeds -----------------------------------------------------------------------


class Estimate(Record):
    """A mean over seeds.

    Attributes:
        n: number of seeds.
        mean: their mean.
        sd: standard deviation (n - 1 in the denominator); None for one seed.
        low: lower end of the t interval of the mean; None for one seed.
        high: upper end.
        level: of the interval, 0 to 1.
    """

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None
    level: float

    @property
    def in_brackets(self) -> str:
        """The mean and its interval for a narrow column, e.g. ``+1.20 [+0.80, +1.60]``."""
        ends = "" if self.low is None else f" [{self.low:+z.2f}, {self.high:+z.2f}]"
        return f"{self.mean:+z.2f}{ends}"

    def __str__(self) -> str:
        seeds = counted(self.n, "seed")
        if self.low is None:
            return f"{self.mean:+z.2f} ({seeds}, no interval)"
        interval = f"{100 * self.level:.3g}% interval {self.low:+z.2f} to {self.high:+z.2f}"
        return f"{self.mean:+z.2f} ({interval}, {seeds})"


def summarise(values: BySeed | Sequence[float], level: float = LEVEL) -> Estimate:
    """Mean, standard deviation and t interval of independent runs.

    Args:
        values: one for each seed.
        level: confidence, 0 to 1.

    Returns:
        The estimate. Equal values give an interval of no width; one value gives none.

    Raises:
        ValueError: no value, or one that is not finite.
    """
    x = _finite(values)
    low = high = mean = float(x.mean())
    if len(x) == 1:
        return Estimate(n=1, mean=mean, sd=None, low=None, high=None, level=level)
    if not is_constant(x):
        low, high = map(float, stats.ttest_1samp(x, 0.0).confidence_interval(level))
    return Estimate(n=len(x), mean=mean, sd=float(x.std(ddof=1)), low=low, high=high, level=level)


def paired_differences(arm: BySeed, base: BySeed) -> dict[int, float]:
    """``arm - base`` for every seed that both have.

    Raises:
        ValueError: no seed is shared.
    """
    shared = sorted(set(arm) & set(base))
    if not shared:
        raise ValueError(f"no shared seed: {sorted(arm)} and {sorted(base)}")
    return {seed: arm[seed] - base[seed] for seed in shared}


def trend(values: Mapping[int, ArrayLike], levels: Sequence[float]) -> dict[int, float]:
    """Least-squares slope for each seed, e.g. of the gain against the occlusion level (Fig. 5).

    Args:
        values: seed -> one value a level.
        levels: at least two different numbers.

    Returns:
        seed -> change a level.
    """
    return {
        seed: float(stats.linregress(levels, np.asarray(row, np.float64)).slope)
        for seed, row in values.items()
    }


def smallest_difference(sd: float, n: int) -> float:
    """The true difference that ``n`` seeds would show with probability `POWER`.

    "Show" means: the t interval lies above zero. From the non-central t distribution,
    taking ``sd`` for the true standard deviation of the paired differences.

    Args:
        sd: standard deviation of the differences, in the unit that the result then has.
        n: seeds, 2 at least.

    Raises:
        ValueError: fewer than two seeds, which show no difference of any size.
    """
    if n < 2:
        raise ValueError(f"n = {n}: an interval needs two seeds at least")
    critical = stats.t.ppf((1 + LEVEL) / 2, n - 1)

    def missing_power(shift: float) -> float:
        return float(stats.nct.sf(critical, n - 1, shift)) - POWER

    return float(optimize.brentq(missing_power, 0.0, 10 * critical) * sd / np.sqrt(n))


# --- test images --------------------------------------------------------------------------------


class Interval(NamedTuple):
    """An estimate from one test set and its bootstrap interval."""

    estimate: float
    low: float
    high: float


def image_resamples(image_count: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """How often each test image is drawn, for a bootstrap over images.

    The same rows given to two arms make the comparison paired. They are the ``image_weights`` of
    `doamlib.evaluation.ap.average_precisions`.

    Returns:
        int64 (resamples, image_count); each row sums to ``image_count``.

    Raises:
        ValueError: there is no image.
    """
    if image_count < 1:
        raise ValueError("a bootstrap needs at least one image")
    generator = np.random.default_rng(seed)
    return generator.multinomial(image_count, np.full(image_count, 1 / image_count), resamples)


def percentile_interval(estimate: float, resampled: ArrayLike) -> Interval:
    """Percentile interval of a statistic from its values on `image_resamples`.

    NaN values (a resample without any item of a class) are left out; all NaN gives NaN.
    """
    resampled = np.asarray(resampled, np.float64)
    known = resampled[~np.isnan(resampled)]
    if known.size == 0:
        return Interval(estimate, np.nan, np.nan)
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(estimate, float(low), float(high))


def bootstrap_mean(values: ArrayLike, seed: int) -> Interval:
    """Bias-corrected bootstrap interval (BCa) of the mean of one number an image.

    For the difference of two arms give the per-image differences. Equal values give an interval of
    no width.

    Raises:
        ValueError: no value, or one that is not finite.
    """
    x = _finite(np.asarray(values, np.float64))
    mean = float(x.mean())
    if is_constant(x):
        return Interval(mean, mean, mean)
    generator = np.random.default_rng(seed)
    result = stats.bootstrap((x,), np.mean, confidence_level=LEVEL, batch=1000, rng=generator)
    return Interval(mean, *map(float, result.confidence_interval))


def _finite(values: BySeed | Sequence[float] | NDArray) -> NDArray[np.float64]:
    x = np.asarray(list(values.values()) if isinstance(values, Mapping) else values, np.float64)
    if x.ndim != 1 or len(x) == 0 or not np.isfinite(x).all():
        raise ValueError(f"need at least one value and only finite ones, not {values}")
    return x


def is_constant(values: BySeed | Sequence[float] | NDArray) -> bool:
    """Whether all values are equal, to rounding; refuses what :func:`summarise` refuses."""
    x = _finite(values)
    return bool(np.ptp(x) <= 1e-12 * np.abs(x).max())
