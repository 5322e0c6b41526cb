"""Figures of the page on the attention switch: exchanges, gamma, and M over training.

A panel never mixes layers, as in :mod:`doamlib.book.figures`. Taught in
``book/attention_switch.ipynb``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from doamlib.book import plots
from doamlib.book.figures import Layers, arm_colours, bands, by_epoch
from doamlib.claims.admission import ACTS
from doamlib.claims.comparison import arms_in
from doamlib.claims.findings_attention import EXCHANGES, losses
from doamlib.experiments.results import Runs

NAMES = {
    "mean": "map: its mean everywhere",
    "other": "map: another image's",
    "ones": "map: 1 everywhere",
    "edge_map": "map: plain edges",
    "edges_mean": "edge channel: its mean",
    "edges_other": "edge channel: another image's",
}
"""Exchange -> what stands beside its points."""

WATCHED = {
    "test_mAP": ("mAP on the test images (%)", 100.0),
    "attention_mean": ("mean of M", 1.0),
    "attention_sd": ("sd of M within an image", 1.0),
    "saturated": ("M near 0 or 1 (%)", 100.0),
    "gamma": ("gamma", 1.0),
}
"""What a history tells after an epoch -> label and scale."""


def exchanges(layers: Layers) -> Figure:
    """How the mAP changes by each exchange: a panel a layer, a row an exchange, a point an arm.

    Bars are 95% t intervals over seeds; one seed is a bare point. The grey band is where an
    exchange counts as none (see :mod:`doamlib.claims.findings_attention`).
    """
    tables = {title: losses(runs) for title, runs in layers.items()}
    tables = {title: table for title, table in tables.items() if len(table)}
    figure, axes = plt.subplots(
        1, max(1, len(tables)), figsize=(9, 3.6), sharex=True, sharey=True, squeeze=False
    )
    arms = list(dict.fromkeys(arm for table in tables.values() for arm, _ in table.index))
    colours = arm_colours(dict.fromkeys(arm for runs in layers.values() for arm in arms_in(runs)))
    for axis, (title, table) in zip(axes.flat, tables.items(), strict=False):
        axis.axvspan(-ACTS, ACTS, color="#e6eaee", lw=0, zorder=0)
        axis.axvline(0, color=plots.INK, lw=0.8, zorder=1)
        for nth, arm in enumerate(arms):
            rows = table[table.index.get_level_values("arm") == arm]
            offset = 0.7 * ((nth + 0.5) / len(arms) - 0.5)
            _points(axis, rows, offset, color=colours[arm], label=arm)
        axis.set(title=title, xlabel="change in mAP (points)", ylim=(len(EXCHANGES) - 0.5, -0.5))
    axes[0, 0].set_yticks(range(len(EXCHANGES)), [NAMES[name] for name in EXCHANGES])
    plots.legend_below(figure, axes.flat)
    return figure


def _points(axis: Axes, table: pd.DataFrame, offset: float, **style: str) -> None:
    if not len(table):
        return
    rows = [EXCHANGES.index(name) for name in table.index.get_level_values("exchange")]
    reach = np.nan_to_num([table["high"] - table["lost"], table["lost"] - table["low"]])
    style |= {"fmt": "o", "ms": 5, "capsize": 3}
    axis.errorbar(-table["lost"].to_numpy(), np.array(rows) + offset, xerr=reach, **style)


def gamma_curves(readings: Mapping[str, Mapping[str, Any]], recipes: Sequence[str]) -> Figure:
    """Gamma, and the gradient that each step gives it, over a training: a column a recipe.

    Where some readings stay near 0 the axis fits these; the legend says where the others are.

    Args:
        readings: reading -> recipe -> ``gamma``, ``gradient_mean``, ``gradient_sd`` (one number
            each of equal stretches of the training) and ``steps``; as
            ``book/measurements/attention_probe.json`` holds them. A reading without gamma has empty
            lists and no line.
        recipes: which; one that no reading was trained with has an empty panel.
    """
    figure, axes = plt.subplots(
        2, max(1, len(recipes)), figsize=(9, 4.6), sharex="col", squeeze=False
    )
    colours = arm_colours(readings)
    beyond = _beyond(readings, recipes)
    for column, recipe in zip(axes.T, recipes, strict=False):
        for axis in column:
            axis.axhline(0, color=plots.INK, lw=0.8)
        for reading in sorted(readings, key=beyond.__contains__):
            run = readings[reading].get(recipe)
            if run and run["gamma"]:
                limits = column[0].get_ylim()
                _gamma(column, run, colours[reading], beyond.get(reading, reading))
                if reading in beyond:
                    column[0].set_ylim(limits)
        column[0].set(title=f"recipe: {recipe}")
        column[1].set(xlabel="step")
    axes[0, 0].set_ylabel("gamma")
    axes[1, 0].set_ylabel("its gradient")
    plots.legend_below(figure, axes[0])
    return figure


def _beyond(readings: Mapping[str, Mapping[str, Any]], recipes: Sequence[str]) -> dict[str, str]:
    """Readings whose gamma stays nearer 1 than 0 beside others that do not -> what to call them."""
    curves = {
        (reading, recipe): found[recipe]["gamma"]
        for reading, found in readings.items()
        for recipe in recipes
        if found.get(recipe, {}).get("gamma")
    }
    near = {key for key, gamma in curves.items() if min(gamma) <= 0.5}
    fitted = {recipe for _, recipe in near}
    names = {}
    for reading in readings:
        own = {recipe: gamma for (name, recipe), gamma in curves.items() if name == reading}
        if own and own.keys() <= fitted and not any((reading, recipe) in near for recipe in own):
            values = [value for gamma in own.values() for value in gamma]
            names[reading] = f"{reading}: {min(values):.2f} to {max(values):.2f}, above the axis"
    return names


def _gamma(column: Sequence[Axes], run: Mapping[str, Any], colour: str, reading: str) -> None:
    stretch = run["steps"] / len(run["gamma"])
    steps = stretch * (np.arange(len(run["gamma"])) + 0.5)
    mean, sd = np.array(run["gradient_mean"]), np.array(run["gradient_sd"])
    column[0].plot(steps, run["gamma"], color=colour, label=reading)
    column[1].plot(steps, mean, color=colour)
    column[1].fill_between(steps, mean - sd, mean + sd, color=colour, alpha=0.15, lw=0)


def training_curves(runs: Runs) -> Figure:
    """What the histories tell of M, epoch by epoch: a panel each of `WATCHED`, a line an arm.

    Lines are means over seeds, bands from the lowest to the highest. An arm without a map has only
    the mAP; a panel that nothing fills says so.
    """
    figure, axes = plt.subplots(2, 3, figsize=(9, 4.8))
    for axis, (name, (label, scale)) in zip(axes.flat, WATCHED.items(), strict=False):
        bands(axis, runs, by_epoch(name, scale), arm_colours(arms_in(runs)), dots=3)
        axis.set_title(label)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if not axis.lines:
            axis.text(0.5, 0.5, "none", ha="center", va="center", transform=axis.transAxes)
    for axis in axes[1]:
        axis.set_xlabel("epoch")
    axes.flat[-1].axis("off")
    axes.flat[-1].legend(
        *axes.flat[0].get_legend_handles_labels(), loc="center left", fontsize="small"
    )
    return figure
