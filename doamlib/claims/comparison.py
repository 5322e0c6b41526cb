"""Runs set beside each other and beside the paper: the tables that every experiment page shows.

All APs are in points (0 to 100). ``Runs`` are results by (arm, seed), of a reader's own run or of
the reference layer; the paper's numbers never mix with them, they stand in columns of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from doamlib import paper
from doamlib.data.classes import short_names
from doamlib.evaluation.statistics import BySeed, summarise
from doamlib.experiments.arms import READINGS, TABLES
from doamlib.experiments.results import Result, Runs, processor

LEVELS = ("OL1", "OL2", "OL3")
OTHER_RULES = {"AP50:95": ("COCO", "AP50:95"), "11-point": ("AP_11_point", "mAP")}
"""Columns of other papers' rules: COCO's mean over IoU 0.5 to 0.95, and the mean of 11 points that
VOC took before 2010 (at IoU 0.5). Name -> where a run's metrics hold it."""

NUMBERS = {"IV": 4, "V": 5, "VI": 6, "VII": 7, "IX": 9}


def printed(table: str) -> pd.DataFrame:
    """A table of the paper by arm, as it is printed.

    Args:
        table: IV, V, VI, VII or IX.

    Returns:
        Indexed by arm; columns ``mAP`` and the classes' abbreviations, or OL1 to OL3 for V.

    Paper: Tables IV to VII and IX.
    """
    frame = paper.table(NUMBERS[table])
    rows = frame["method"] if table != "VI" else frame["detector"] + " " + frame["method"]
    frame.index = pd.Index([TABLES[table][row] for row in rows], name="arm")
    return frame.drop(columns=["method", "detector"], errors="ignore")


def arms_in(runs: Runs) -> list[str]:
    """The arms that have a result, in the order in which they come."""
    return list(dict.fromkeys(arm for arm, _ in runs))


def scores(runs: Runs, arm: str, name: str = "mAP") -> dict[int, float]:
    """AP of an arm by seed.

    Args:
        runs: results.
        arm: its name; without results the mapping is empty.
        name: mAP, a class's abbreviation, OL1 to OL3 for the mAP on that occlusion level, or one
            of ``OTHER_RULES``. A class or a level without items has no entry, nor has a class that
            the runs' data do not have.
    """
    found = {}
    for (own, seed), result in runs.items():
        if own == arm:
            metrics = result.metrics
            if name in LEVELS:
                values, stored = metrics["levels"].get(name, {}), "mAP"
            elif name in OTHER_RULES:
                table, stored = OTHER_RULES[name]
                values = metrics[table]
            else:
                values, stored = metrics["AP"], class_names(result).get(name, name)
            if stored in values:
                found[seed] = 100 * values[stored]
    return found


def exchanged(runs: Runs, arm: str, exchange: str) -> dict[int, float]:
    """By seed, an arm's mAP (0 to 1) under an exchange, or with what is the image's ``own``.

    Exchanges are those of :mod:`doamlib.evaluation.map_swaps`; seeds without one have no entry.
    """
    effects = {s: r.metrics.get("attention", {}) for (own, s), r in runs.items() if own == arm}
    return {s: effect[exchange] for s, effect in effects.items() if exchange in effect}


def map_losses(runs: Runs, arm: str, exchange: str) -> dict[int, float]:
    """Points of mAP that an arm loses by an exchange, by seed; see :func:`exchanged`."""
    lost = minus(exchanged(runs, arm, "own"), exchanged(runs, arm, exchange))
    return {seed: 100 * share for seed, share in lost.items()}


def class_names(result: Result) -> dict[str, str]:
    """Abbreviation of each class of a run's data to its name; OPIXray's are the paper's."""
    classes = result.config.data.classes
    return dict(zip(short_names(classes), classes, strict=True))


def measured(runs: Runs, columns: Iterable[str] | None = None) -> pd.DataFrame:
    """Mean and standard deviation over seeds, as text.

    Args:
        runs: results.
        columns: as :func:`scores` names them; mAP and the classes of the runs' own data by
            default.

    Returns:
        Indexed by arm; ``12.3 ± 0.4`` in a cell with spaces that keep it on one line, without the
        second part for one seed, and the number of seeds in the column ``n``.
    """
    if columns is None:
        own = dict.fromkeys(name for result in runs.values() for name in class_names(result))
        columns = ("mAP", *own)
    rows = {}
    for arm in arms_in(runs):
        seeds = {seed for own, seed in runs if own == arm}
        rows[arm] = {name: _cell(scores(runs, arm, name)) for name in columns} | {"n": len(seeds)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("arm")


def _cell(by_seed: BySeed) -> str:
    if not by_seed:
        return "–"
    estimate = summarise(by_seed)
    spread = f" ± {estimate.sd:.1f}" if estimate.sd is not None else ""
    return f"{estimate.mean:.1f}{spread}".replace(" ", "\N{NO-BREAK SPACE}")


def paired(runs: Runs, arm: str, base: str, of: Callable[[str], BySeed]) -> dict[int, float]:
    """``of(arm) - of(base)`` by seed, where both were trained on one kind of processor."""
    return {
        seed: difference
        for seed, difference in minus(of(arm), of(base)).items()
        if processor(runs[arm, seed]) == processor(runs[base, seed])
    }


def minus(first: BySeed, second: BySeed) -> dict[int, float]:
    """``first - second`` by seed, for the seeds that both have; empty where there is none."""
    return {seed: first[seed] - second[seed] for seed in sorted(set(first) & set(second))}


def gain(runs: Runs, arm: str, base: str, name: str = "mAP") -> dict[int, float]:
    """``arm - base`` by seed in a column of :func:`scores`; see :func:`paired`."""
    return paired(runs, arm, base, lambda own: scores(runs, own, name))


def differences(
    runs: Runs, pairs: Iterable[tuple[str, str]], table: str, name: str = "mAP"
) -> pd.DataFrame:
    """Paired differences with their intervals, beside the paper's.

    Args:
        runs: results; arms of one seed share initial weights and the order of batches.
        pairs: (arm, base).
        table: which of the paper's tables prints them; a row that it lacks gives NaN.
        name: a column of :func:`measured`.

    Returns:
        Indexed by ``arm - base``: ``paper``, ``ours`` (mean), ``low``, ``high`` (95% t interval
        over seeds, NaN for one seed), ``n``. Pairs without a common seed are left out.
    """
    theirs = printed(table)
    stand_for = dict.fromkeys(READINGS, READINGS[0])  # the paper prints one row for all readings
    rows = {}
    for arm, base in pairs:
        by_seed = gain(runs, arm, base, name)
        if not by_seed:
            continue
        estimate = summarise(by_seed)
        above, below = (stand_for.get(own, own) for own in (arm, base))
        known = above in theirs.index and below in theirs.index and name in theirs
        rows[f"{arm} − {base}"] = {
            "paper": theirs.loc[above, name] - theirs.loc[below, name] if known else np.nan,
            "ours": estimate.mean,
            "low": estimate.low,
            "high": estimate.high,
            "n": estimate.n,
        }
    columns = ["paper", "ours", "low", "high", "n"]
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    return frame.astype({"low": float, "high": float})  # None of a single seed is NaN


def beside_paper(runs: Runs, reference: Runs, table: str, name: str = "mAP") -> pd.DataFrame:
    """One column each, never mixed: the paper, this run, and stored reference results if any.

    Args:
        runs: this run's.
        reference: the reference layer's.
        table: of the paper.
        name: a column of :func:`measured`.
    """
    theirs = printed(table)
    columns = {"paper (OPIXray)": theirs[name].map("{:.2f}".format) if name in theirs else None}
    for title, own in (("reference", reference), ("this run", runs)):
        if title == "reference" and not own:
            continue
        columns[title] = pd.Series({arm: _cell(scores(own, arm, name)) for arm in theirs.index})
    return pd.DataFrame(columns, index=theirs.index)


def cost(runs: Runs) -> pd.DataFrame:
    """Time and compute of each arm: mean over seeds of training seconds, steps, images a second."""
    rows = [
        {
            "arm": arm,
            "training (s)": result.provenance["training_seconds"],
            "steps": len(result.history.loss),
            "images/s": np.mean([e["images_per_second"] for e in result.history.epochs]),
            "evaluation (s)": result.provenance["evaluation_seconds"],
        }
        for (arm, _), result in runs.items()
    ]
    frame = pd.DataFrame(rows)
    return frame.groupby("arm", sort=False).mean() if rows else frame
