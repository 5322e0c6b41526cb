"""Admission a second time: each check by its own arithmetic, from what runs left behind.

Nothing of the code that judges is used; the thresholds are those of its text.
"""

import math

LEVELS = ("OL1", "OL2", "OL3")
WHOLE = ((8, 16, 16, 8, 1), (8, 16, 32, 16, 8))
"""Channels of the module's two branches, as the official code has them."""
IN_WORDS = ((8, 8), (8, 8))
"""The same as the paper's text has them."""


def scale_of(parameters):
    """The column of the scoreboard; none for other data sets."""
    if parameters.dataset == "simulation":
        return "full size" if _full_size(parameters) else "small"
    return "OPIXray" if parameters.dataset == "opixray" else None


def _full_size(p):
    return p.width == 1 and p.image_size == 300 and p.field_of_view == 1


def needed(parameters):
    """Training images, test images and optimiser steps."""
    if scale_of(parameters) == "small":
        return 8000, 1776, 4000
    short = parameters.dataset == "simulation" and "short" in parameters.profile
    return 7109, 1776, 4000 if short else 17820


def rise(result):
    """Points of mAP that came in the last fifth of the steps; NaN where nobody can tell."""
    done, seen = 0, []
    for epoch in result.history.epochs:
        done += epoch["steps"]
        if "test_mAP" in epoch:
            seen.append((done, 100 * epoch["test_mAP"]))
    if len(seen) < 2:
        return math.nan
    at = 0.8 * done
    before = [point for point in seen if point[0] <= at] or seen[:1]
    after = [point for point in seen if point[0] > at] or seen[-1:]
    (x, y), (end, top) = before[-1], after[0]
    start = y + (top - y) * (at - x) / (end - x) if end > x and at > x else y
    return seen[-1][1] - start


def full_pools(result):
    """Share of the retrainings before which the pool held all that it may."""
    first, sampling = result.history.epochs[0], result.config.sampling
    size = sampling.pool_batches
    if isinstance(size, float):
        size = max(1, round(size * (first["steps"] - first["retrained"])))
    size *= result.config.training.batch_size if sampling.pool_of == "images" else 1
    held = [len(entry["batches"]) for entry in result.history.pool]
    return held.count(size) / len(held) if held else 0


def is_whole(arm, doam):
    """Whether an arm has the DOAM that its name says, in all its channels."""
    if arm.split("+")[-1] in ("SSD", "YOLOv3", "FCOS", "SE", "Non-local", "DA"):
        return doam is None
    whole = IN_WORDS if arm.endswith("as the paper says") else WHOLE
    return doam is not None and (doam.edge_channels, doam.material_channels) == whole


def mean(values):
    return sum(values) / len(values) if values else math.nan


def of_plain(runs, name):
    """The three checks of a plain detector; what it did not run for does not hold."""
    own = [result for (arm, _), result in runs.items() if arm == name]
    of_level = [[r.metrics["levels"].get(n, {}).get("mAP") for r in own] for n in LEVELS]
    first, second, third = (mean([v for v in values if v is not None]) for values in of_level)
    return {
        f"mAP of plain {name}": 100 * mean([r.metrics["AP"]["mAP"] for r in own]) >= 30 - 1e-9,
        f"plain {name} finds less where items are hidden": first > second > third,
        f"rise of plain {name} in its last fifth": mean([rise(r) for r in own]) < 1,
    }


def checks(parameters, runs, arms, sampling):
    """Name of each check -> whether it holds, in order; empty where none of the arms has a run."""
    own = [(arm, result) for (arm, _), result in runs.items() if arm in arms]
    if not own:
        return {}
    train, test, steps = needed(parameters)
    found = {
        "training images": all(r.metrics["train_images"] >= train for _, r in own),
        "test images": all(r.metrics["images"] >= test for _, r in own),
        "optimiser steps": all(len(r.history.loss) >= steps for _, r in own),
        "DOAM's channels": all(is_whole(arm, r.config.detector.doam) for arm, r in own),
    }
    for name in dict.fromkeys(arm.split("+")[0] for arm in arms):
        found |= of_plain(runs, name)
    if sampling:
        pooled = [r for arm, r in own if arm[-1] in "OER" and "DOAM" in arm]
        found["pool full"] = bool(pooled) and min(map(full_pools, pooled)) >= 0.9
    return found
