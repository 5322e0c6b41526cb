"""Which results may decide a claim: scales, and the checks that stored runs must pass at theirs.

A verdict holds at the scale of its runs and nowhere else: *small* networks on generated images
(params/reference.yaml), *full size* on generated images (params/paper.yaml), and *OPIXray*, the
real data (params/opixray.yaml). Whether runs may decide is read off what they left behind, step
counts, scores and configurations, not off a parameter file's promises. The thresholds were fixed on
26 November 2026, before the runs that they admit and after trial runs of plain detectors had been
seen.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

import numpy as np

from doamlib.claims.comparison import LEVELS, map_losses, scores
from doamlib.evaluation.statistics import Estimate, summarise
from doamlib.experiments.arms import ARMS
from doamlib.experiments.parameters import Parameters
from doamlib.experiments.results import Result, Runs, of_arms

PLAIN_MAP = 30.0
"""What a plain detector must reach, in points: below, methods have little to differ by."""

FLAT = 1.0
"""Points by which a plain detector may still rise in the last fifth of its steps."""

POOL_FULL = 0.9
"""Share of epochs in which the pool must hold all its batches."""

ACTS = 1.0
"""Points that a detector must lose when images exchange their maps, for its attention to act."""


@dataclass(frozen=True)
class Scale:
    """Where results decide.

    Attributes:
        name: column of the scoreboard.
        data: what was learned from and tested on.
        file: the parameter file whose runs these are.
        steps: optimiser steps that a run needs.
        train_images: it needs.
        test_images: it needs.
    """

    name: str
    data: str
    file: str
    steps: int
    train_images: int
    test_images: int


SMALL = Scale(
    name="small",
    data="small networks on generated images",
    file="reference.yaml",
    steps=4000,
    train_images=8000,
    test_images=1776,
)
FULL_SIZE = replace(
    SMALL,
    name="full size",
    data="full-size networks on generated images",
    file="paper.yaml",
    steps=17820,
    train_images=7109,
)
SHORT = replace(FULL_SIZE, data=f"{FULL_SIZE.data}, short schedule", steps=SMALL.steps)
"""Full size with a schedule that its file's name calls short."""
OPIXRAY = replace(
    FULL_SIZE, name="OPIXray", data="full-size networks on OPIXray", file="opixray.yaml"
)
SCALES = (SMALL, FULL_SIZE, OPIXRAY)


def scale_of(parameters: Parameters) -> Scale | None:
    """The scale that runs with these parameters belong to; none for other data sets."""
    if parameters.dataset == "opixray":
        return OPIXRAY
    if parameters.dataset != "simulation":
        return None
    whole = (parameters.width, parameters.image_size, parameters.field_of_view) == (1.0, 300, 1.0)
    if not whole:
        return SMALL
    return SHORT if "short" in parameters.profile else FULL_SIZE


@dataclass(frozen=True)
class Check:
    """One condition of admission, with what was asked and what was found."""

    name: str
    needed: str
    found: str
    holds: bool

    def __str__(self) -> str:
        return f"{self.name}: {self.found}, needed {self.needed}"


def admission(scale: Scale, runs: Runs, arms: Collection[str], pool: bool = False) -> list[Check]:
    """What these runs must pass before a claim is judged by them.

    Args:
        scale: of the runs.
        runs: all that are stored at this scale.
        arms: whose results the claim reads; the plain detectors under them are looked at too.
        pool: whether the claim is about over-sampling, and asks for a pool that is on.

    Returns:
        Checks in the order in which a reader would ask; empty where none of the arms has a run.
    """
    own = of_arms(runs, arms)
    if not own:
        return []
    plain = plain_detectors(arms)
    checks = [
        _least("training images", own, scale.train_images, lambda r: r.metrics["train_images"]),
        _least("test images", own, scale.test_images, lambda r: r.metrics["images"]),
        _least("optimiser steps", own, scale.steps, lambda r: len(r.history.loss)),
        _whole_doam(own),
    ]
    for name in plain:
        checks += [_plain_map(runs, name), _levels_fall(runs, name), _flat(runs, name)]
    if pool:
        checks.append(_pool_on(own))
    return checks


def plain_detectors(arms: Iterable[str]) -> list[str]:
    """The plain detectors that these arms are built on, each once."""
    return list(dict.fromkeys(arm.split("+")[0].split(",")[0] for arm in arms))


def acts(runs: Runs, arm: str) -> bool:
    """Whether an arm's attention acts: by :func:`matters`, exchanging maps between images does.

    Without results, or without a map, it does not.
    """
    lost = map_losses(runs, arm, "other")
    return bool(lost) and matters(summarise(lost))


def matters(lost: Estimate) -> bool:
    """Whether an exchange costs `ACTS` points or more on average over seeds.

    With several seeds the 95% interval must lie above zero as well.
    """
    return lost.mean >= ACTS and (lost.low is None or lost.low > 0)


def late_rise(result: Result) -> float:
    """Points of test mAP that a run gained in the last fifth of its steps.

    Between two evaluations the mAP is read off the straight line; NaN where a run has fewer than
    two.
    """
    epochs = result.history.epochs
    steps = np.cumsum([epoch["steps"] for epoch in epochs])
    looked = [i for i, epoch in enumerate(epochs) if "test_mAP" in epoch]
    if len(looked) < 2:
        return float("nan")
    values = [100 * epochs[i]["test_mAP"] for i in looked]
    return float(values[-1] - np.interp(0.8 * steps[-1], steps[looked], values))


# --- the checks -----------------------------------------------------------------------------------


def _least(name: str, runs: Runs, needed: int, of: Callable[[Result], int]) -> Check:
    found = min(map(of, runs.values()))
    return Check(name, f"{needed:,}", f"{found:,}", found >= needed)


def _whole_doam(runs: Runs) -> Check:
    slim = [arm for (arm, _), r in runs.items() if r.config.detector.doam != ARMS[arm].doam]
    found = f"slimmed in {slim[0]}" if slim else "whole"
    return Check("DOAM's channels", "whole", found, not slim)


def _plain_map(runs: Runs, detector: str) -> Check:
    by_seed = scores(runs, detector)
    mean = np.mean(list(by_seed.values())) if by_seed else 0.0
    found = f"{mean:.1f}" if by_seed else "no run"
    return Check(f"mAP of plain {detector}", f"{PLAIN_MAP:g}", found, bool(mean >= PLAIN_MAP))


def _levels_fall(runs: Runs, detector: str) -> Check:
    by_level = [list(scores(runs, detector, level).values()) for level in LEVELS]
    known = all(by_level)
    means = [float(np.mean(values)) for values in by_level] if known else []
    found = " > ".join(f"{mean:.1f}" for mean in means) or "no levels"
    falls = known and means[0] > means[1] > means[2]
    found = found if falls or not known else found.replace(" > ", ", ")
    name = f"plain {detector} finds less where items are hidden"
    return Check(name, "OL1 > OL2 > OL3", found, falls)


def _flat(runs: Runs, detector: str) -> Check:
    rises = [late_rise(result) for result in of_arms(runs, [detector]).values()]
    mean = float(np.mean(rises)) if rises else float("nan")
    scored = "scored once only" if np.isnan(mean) else f"{mean:+.2f} mAP"
    found = scored if rises else "no run"
    name = f"rise of plain {detector} in its last fifth"
    return Check(name, f"under {FLAT:g} mAP", found, mean < FLAT)


def _pool_on(runs: Runs) -> Check:
    pooled = [r for r in runs.values() if r.config.sampling.strategy != "traditional"]
    least = min(map(pool_filled, pooled), default=0.0)
    found = f"{100 * least:.0f}% of epochs" if pooled else "no pool"
    return Check("pool full", f"{100 * POOL_FULL:.0f}% of epochs", found, least >= POOL_FULL)


def pool_filled(result: Result) -> float:
    """Share of a run's retrainings, 0 to 1, whose pool held all the batches that it may hold."""
    first, sampling = result.history.epochs[0], result.config.sampling
    size = sampling.pool_size(first["steps"] - first["retrained"])
    if sampling.pool_of == "images":
        size *= result.config.training.batch_size
    full = [len(entry["batches"]) == size for entry in result.history.pool]
    return float(np.mean(full)) if full else 0.0
