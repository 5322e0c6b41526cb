"""The rule of verdicts written down a second time, from its text: numbers to a status.

Nothing of the code that judges is used, only numpy and scipy's distributions.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats


class Part(NamedTuple):
    """One difference: seed -> points, the paper's, and half the width of what is no effect."""

    values: dict[int, float]
    paper: float | None = None
    margin: float | None = 0.5


def interval(values):
    """Mean, standard deviation and 95% t interval; of one value only the mean."""
    x = np.array(list(values))
    if len(x) == 1:
        return float(x[0]), None, None, None
    mean, sd = x.mean(), x.std(ddof=1)
    half = stats.t.ppf(0.975, len(x) - 1) * sd / np.sqrt(len(x))
    return mean, sd, mean - half, mean + half


def alike(values):
    return np.ptp(list(values)) < 1e-9


def p_value(values):
    mean, sd, *_ = interval(values)
    return 2 * stats.t.sf(abs(mean) / (sd / np.sqrt(len(values))), len(values) - 1)


def rejected(parts):
    """The names of the parts that Holm's procedure rejects at 5%, stepping down from the least."""
    p = {n: p_value(part.values.values()) for n, part in parts.items() if has_spread(part)}
    found = set()
    for step, name in enumerate(sorted(p, key=p.get)):
        if p[name] >= 0.05 / (len(p) - step):
            break
        found.add(name)
    return found


def has_spread(part):
    return len(part.values) > 1 and not alike(part.values.values())


def has_seeds_enough(part):
    return len(part.values) >= (10 if part.paper is not None and abs(part.paper) < 1 else 5)


def status_of(part, is_rejected):
    if not part.values:
        return "not run yet"
    if not has_seeds_enough(part) or not has_spread(part):
        return "open"
    _, _, low, high = interval(part.values.values())
    if low > 0:
        return "supported"
    if high < 0:
        return "contradicted" if is_rejected else "open"
    if part.paper is not None and low <= part.paper <= high:
        return "open"  # what the paper found may be true
    return "no effect" if part.margin is not None and max(-low, high) < part.margin else "open"


def statuses(parts):
    """Name of each part -> its status, all of them read together."""
    against = rejected(parts)
    return {name: status_of(part, name in against) for name, part in parts.items()}


def whole(states):
    """The claim's status from those of its parts."""
    if "contradicted" in states:
        return "contradicted"
    (first, *others) = set(states)
    return first if not others and first != "open" else "open"


def size_of(part):
    """Where the interval lies to the paper's difference."""
    if part.paper is None or len(part.values) < 2:
        return ""
    _, _, low, high = interval(part.values.values())
    if low > part.paper:
        return "above"
    return "below" if high < part.paper else "contains"


def power_of(parts):
    """How often all parts would be supported if the paper's differences were true: by drawing."""
    seeds = set.intersection(*(set(part.values) for part in parts.values()))
    if len(seeds) < 3 or None in [part.paper for part in parts.values()]:
        return None
    if not all(map(has_seeds_enough, parts.values())):
        return None  # whatever is true, nothing would be supported yet
    measured = [[part.values[seed] for seed in sorted(seeds)] for part in parts.values()]
    covariance, n = np.atleast_2d(np.cov(measured)), len(seeds)
    theirs = [part.paper for part in parts.values()]
    draw = np.random.default_rng(1).multivariate_normal
    drawn = draw(theirs, covariance, size=(4000, n), check_valid="ignore")
    error = drawn.std(axis=1, ddof=1) / np.sqrt(n)
    shown = drawn.mean(axis=1) > stats.t.ppf(0.975, n - 1) * error
    return shown.all(axis=1).mean()
