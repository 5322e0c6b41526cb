"""What a handful of seeds and a test set allow to say: intervals, paired differences, verdicts.

Two sources of chance, never mixed: the seed (initial weights, data order), judged by t intervals
over runs; and the choice of test images, judged by a bootstrap over images. A verdict rests on the
first, because the paper's claims are about methods trained anew, on one fixed test set.

**The verdict rule.** A claim is put as "this paired difference is positive". With at least
`MIN_SEEDS` full-size reference runs an arm, it is *supported* when the 95% t interval of the mean
difference over seeds lies above zero, *contradicted* when it lies below, and *inconclusive* when it
contains zero; otherwise it is *not tested here*. A claim of several differences (an ordering, a
list of rivals) is supported when all its parts are, contradicted when one part is, by Holm's
step-down procedure over the parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from scipy import optimize, stats

from doamlib.config import Config

MIN_SEEDS = 5
"""Fewer get no verdict: the t interval reaches 2.5 sd to either side at 3 seeds, 1.2 at 5."""

POWER = 0.8
"""How often `smallest_difference` would be shown."""

BySeed = Mapping[int, float]
"""A result of one arm, or a difference of two, for each seed."""

Status = Literal["supported", "contradicted", "inconclusive", "not tested here"]


# --- estimates over seeds -----------------------------------------------------------------------


class Estimate(Config):
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

    def __str__(self) -> str:
        seeds = f"{self.n} seed{'s' if self.n > 1 else ''}"
        if self.low is None:
            return f"{self.mean:+.2f} ({seeds}, no interval)"
        percent = f"{100 * self.level:.3g}%"
        return f"{self.mean:+.2f} ({percent} interval {self.low:+.2f} to {self.high:+.2f}, {seeds})"


def summarise(values: BySeed | Sequence[float], level: float = 0.95) -> Estimate:
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
    if not _constant(x):
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


def smallest_difference(sd: float, n: int, level: float = 0.95) -> float:
    """The true difference that ``n`` seeds would show with probability `POWER`.

    "Show" means: the t interval of this level lies above zero. From the non-central t distribution,
    taking ``sd`` for the true standard deviation of the paired differences.
    """
    critical = stats.t.ppf((1 + level) / 2, n - 1)

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
    `doamlib.evaluation.average_precisions`.

    Returns:
        int64 (resamples, image_count); each row sums to ``image_count``.
    """
    if image_count < 1:
        raise ValueError("a bootstrap needs at least one image")
    generator = np.random.default_rng(seed)
    return generator.multinomial(image_count, np.full(image_count, 1 / image_count), resamples)


def percentile_interval(estimate: float, resampled: ArrayLike, level: float = 0.95) -> Interval:
    """Percentile interval of a statistic from its values on `image_resamples`.

    NaN values (a resample without any item of a class) are left out; all NaN gives NaN.
    """
    resampled = np.asarray(resampled, np.float64)
    known = resampled[~np.isnan(resampled)]
    if known.size == 0:
        return Interval(estimate, np.nan, np.nan)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high))


def bootstrap_mean(values: ArrayLike, seed: int, level: float = 0.95) -> Interval:
    """Bias-corrected bootstrap interval (BCa) of the mean of one number an image.

    For the difference of two arms give the per-image differences. Equal values give an interval of
    no width.

    Raises:
        ValueError: no value, or one that is not finite.
    """
    x = _finite(np.asarray(values, np.float64))
    mean = float(x.mean())
    if _constant(x):
        return Interval(mean, mean, mean)
    generator = np.random.default_rng(seed)
    result = stats.bootstrap((x,), np.mean, confidence_level=level, batch=1000, rng=generator)
    return Interval(mean, *map(float, result.confidence_interval))


# --- verdicts -----------------------------------------------------------------------------------


class Verdict(Config):
    """What may be said about a claim, and why.

    Attributes:
        status: see the module's rule.
        reason: one line of plain English.
        estimate: the mean difference, where there is one.
        parts: the verdicts of a claim of several differences.
    """

    status: Status
    reason: str
    estimate: Estimate | None = None
    parts: dict[str, Verdict] = Field(default_factory=dict)

    def sentence(self) -> str:
        """The verdict in one line, e.g. ``Supported: +1.20 (95% interval ...).``"""
        return f"{self.status.capitalize()}: {self.reason}."


def judge(
    differences: BySeed, full_size: bool, paper: float | None = None, level: float = 0.95
) -> Verdict:
    """Verdict on the claim that a paired difference is positive.

    Args:
        differences: seed -> difference, sides put so that the claim says "positive". Reasons print
            two decimals, so give AP in points (0 to 100).
        full_size: whether every run behind it is a full-size reference result.
        paper: the paper's difference; the reason then says how it lies to the interval.
        level: of the interval.

    Raises:
        ValueError: a difference is not finite.
    """
    if not differences:
        return Verdict(status="not tested here", reason="there are no results")
    estimate = summarise(differences, level)
    reason = str(estimate)
    if untested := _why_untested(differences, full_size):
        reason = f"{untested}; measured {estimate}"
        return Verdict(status="not tested here", reason=reason, estimate=estimate)
    if estimate.low > 0 or estimate.high < 0:
        status = "supported" if estimate.low > 0 else "contradicted"
    else:
        status = "inconclusive"
        smallest = smallest_difference(estimate.sd, estimate.n, level)
        reason += f" contains zero; {estimate.n} seeds would show a true difference of "
        reason += f"{smallest:.2f} four times in five"
    if paper is not None:
        place = "above" if paper > estimate.high else "below" if paper < estimate.low else "inside"
        reason += f"; the paper's {paper:+.2f} lies {place}"
    return Verdict(status=status, reason=reason, estimate=estimate)


def judge_all(
    claims: Mapping[str, BySeed], full_size: bool, paper: Mapping[str, float] | None = None
) -> Verdict:
    """Verdict on the claim that all of several paired differences are positive.

    Holm's step-down procedure keeps the chance of any wrong decision among the parts at 5%: the
    part of smallest p is judged at level 1 - 0.05/m, the next at 1 - 0.05/(m - 1), and so on; from
    the first that is inconclusive on, all are judged at that part's level. Each part's interval is
    shown at the level it was judged at, so a part is decided if and only if its interval excludes
    zero.

    Args:
        claims: name of the part -> differences by seed, as for `judge`.
        full_size: whether every run behind them is a full-size reference result.
        paper: the paper's differences, by the same names.

    Raises:
        ValueError: there is no part, or a difference is not finite.
    """
    if not claims:
        raise ValueError("a claim needs at least one difference")
    untested = [name for name, by_seed in claims.items() if _why_untested(by_seed, full_size)]
    levels = dict.fromkeys(claims, 0.95) if untested else _holm_levels(claims)
    parts = {
        name: judge(by_seed, full_size, (paper or {}).get(name), levels[name])
        for name, by_seed in claims.items()
    }
    for status in ("not tested here", "contradicted", "inconclusive", "supported"):
        deciding = {name: part for name, part in parts.items() if part.status == status}
        if deciding:
            break
    listed = "; ".join(f"{name}: {part.reason}" for name, part in deciding.items())
    return Verdict(
        status=status, reason=f"{len(deciding)} of {len(parts)} parts ({listed})", parts=parts
    )


def judge_number(measured: float, printed: float, half_unit: float) -> Verdict:
    """Verdict on a printed number that no seed changes, such as a count of parameters (Table VIII).

    Args:
        measured: ours.
        printed: the paper's.
        half_unit: half a unit of the last printed digit; supported within it.
    """
    holds = abs(measured - printed) <= half_unit
    numbers = [f"{number:,.6g}" for number in (measured, printed, half_unit)]
    return judge_fact(holds, "measured {}, the paper prints {} (plus or minus {})".format(*numbers))


def judge_fact(holds: bool, reason: str) -> Verdict:
    """Verdict on a statement that needs no statistics, with the arithmetic as its reason."""
    return Verdict(status="supported" if holds else "contradicted", reason=reason)


def _holm_levels(claims: Mapping[str, BySeed]) -> dict[str, float]:
    p = {name: float(stats.ttest_1samp(_finite(v), 0.0).pvalue) for name, v in claims.items()}
    levels, step = {}, 0
    for name in sorted(p, key=lambda name: (p[name], name)):
        alpha = 0.05 / (len(p) - step)
        levels[name] = 1 - alpha
        step += p[name] < alpha  # after the first inconclusive part the level stays
    return levels


def _why_untested(differences: BySeed, full_size: bool) -> str:
    if not full_size:
        return "these are not full-size reference results"
    if len(differences) < MIN_SEEDS:
        return f"{len(differences)} of the {MIN_SEEDS} seeds that a verdict needs"
    if _constant(_finite(differences)):
        return "every seed gave the same difference, so nothing is known about chance"
    return ""


def _finite(values: BySeed | Sequence[float] | NDArray) -> NDArray[np.float64]:
    x = np.asarray(list(values.values()) if isinstance(values, Mapping) else values, np.float64)
    if x.ndim != 1 or len(x) == 0 or not np.isfinite(x).all():
        raise ValueError(f"need at least one value and only finite ones, not {values}")
    return x


def _constant(x: NDArray[np.float64]) -> bool:
    return bool(np.ptp(x) <= 1e-12 * np.abs(x).max())
