"""Figures of the experiment pages. Layers never share a bar or a line: each has a panel of its own.

A layer is a title and its runs: ``{"stored reference": ..., "this run": ...}``. Empty ones are left
out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from doamlib.book import plots
from doamlib.claims.comparison import LEVELS, arms_in, class_names, gain, printed, scores
from doamlib.experiments.results import Result, Runs

Layers = Mapping[str, Runs]
PAPER = "the paper, on OPIXray"
OCCLUSION = "occlusion O (0: visible, 1: invisible)"


def _panels(
    titles: Sequence[str], height: float, stacked: bool = False, same_x: bool = True
) -> list[Axes]:
    """One axis a title, side by side or above each other, on one scale."""
    count = max(1, len(titles))
    shape, size = ((count, 1), (9, height * count)) if stacked else ((1, count), (9, height))
    shared = {"sharey": not stacked, "sharex": stacked and same_x}
    _, axes = plt.subplots(*shape, figsize=size, squeeze=False, **shared)
    for axis, title in zip(axes.flat, titles, strict=False):
        axis.set_title(title)
    return list(axes.flat)


def arm_colours(arms: Iterable[str]) -> dict[str, str]:
    """Arm -> its colour, in the order given; more arms than colours share them."""
    return {arm: plots.PALETTE[i % len(plots.PALETTE)] for i, arm in enumerate(arms)}


def _legend(axis: Axes, drawn: Iterable[Axes] = ()) -> None:
    """Right of ``axis``: every name that it or one of ``drawn`` has, once."""
    if names := plots.handles((*drawn, axis)):
        axis.legend(names.values(), names, loc="upper left", bbox_to_anchor=(1, 1), title="")


Curve = Callable[[list[Result]], pd.DataFrame]
"""An arm's results to a column each, with x as the index; without rows there is no line."""


def bands(
    axis: Axes, runs: Runs, curve: Curve, colours: Mapping[str, str], dots: float = 0
) -> None:
    """Of each arm a line through the mean over seeds, and a band over them all.

    Args:
        axis: to draw on.
        runs: results.
        curve: what makes the points of an arm's results.
        colours: of each arm.
        dots: size of a mark at each point; a line of few points needs one.
    """
    for arm in arms_in(runs):
        _line(axis, arm, curve([r for (own, _), r in runs.items() if own == arm]), colours, dots)


def _line(
    axis: Axes, arm: str, points: pd.DataFrame, colours: Mapping[str, str], dots: float = 0
) -> None:
    if points.empty:
        return
    style = {"marker": "o", "ms": dots, "lw": 1.5, "color": colours[arm], "label": arm}
    axis.plot(points.mean(axis=1), **style)
    if len(points.columns) > 1:
        band = points.min(axis=1), points.max(axis=1)
        axis.fill_between(points.index, *band, color=colours[arm], alpha=0.15, lw=0)


def _colours(layers: Layers) -> dict[str, str]:
    return arm_colours(dict.fromkeys(arm for runs in layers.values() for arm in arms_in(runs)))


def _compared(layers: Layers, curve: Curve, paired: Curve, x: str) -> list[Axes]:
    """A column a layer: above :func:`bands`, below each arm minus the first one, seed by seed.

    Args:
        layers: title -> runs.
        curve: what is drawn above.
        paired: what is subtracted below.
        x: label of the x axis that the two share.

    Returns:
        The panels above.
    """
    layers = {title: runs for title, runs in layers.items() if runs}
    shape = {"squeeze": False, "sharex": "col", "sharey": "row", "height_ratios": (3, 2)}
    _, grid = plt.subplots(2, max(1, len(layers)), figsize=(9, 5.2), **shape)
    colours = _colours(layers)
    base = next(iter(colours), "")
    for (above, below), (title, runs) in zip(grid.T, layers.items(), strict=False):
        bands(above, runs, curve, colours)
        above.set_title(title)
        below.axhline(0, color=colours[base], lw=1.5)
        for arm in arms_in(runs):
            seeds = [seed for own, seed in runs if own == arm and (base, seed) in runs]
            if arm != base and seeds:
                ours, theirs = (paired([runs[own, s] for s in seeds]) for own in (arm, base))
                _line(below, arm, (ours - theirs).dropna(), colours)
        below.set_xlabel(x)
    grid[1, 0].set_ylabel(f"minus {base}" if base else "")
    _legend(grid[0, -1], grid[0])
    return list(grid[0])


def per_class(table: str, layers: Layers, arms: Sequence[str] = ()) -> Figure:
    """AP of each class and mAP as bars, the paper's in a panel of their own; error bars: sd.

    Args:
        table: of the paper: IV, VI, VII or IX.
        layers: title -> runs; each panel has the classes of its own data.
        arms: only these rows; all of the table by default.

    Paper: Tables IV, VI, VII and IX.
    """
    theirs = printed(table)
    arms = list(arms or theirs.index)
    frames = {PAPER: theirs.loc[arms].reset_index().melt("arm", var_name="class", value_name="AP")}
    frames |= {title: _by_class(runs, arms) for title, runs in layers.items()}
    frames = {title: frame for title, frame in frames.items() if len(frame)}
    found = [list(dict.fromkeys(frame["class"])) for frame in frames.values()]
    orders = [list(theirs) if set(own) <= set(theirs) else own for own in found]
    stacked, same = len(arms) > 3, all(order == orders[0] for order in orders)
    axes = _panels(list(frames), 2.5 if stacked else 2.8, stacked, same)
    options = {"x": "class", "y": "AP", "hue": "arm", "hue_order": arms, "errorbar": "sd"}
    for axis, frame, order in zip(axes, frames.values(), orders, strict=True):
        last = axis is axes[0 if stacked else -1]
        sns.barplot(
            frame, **options, order=order, palette=arm_colours(arms), legend=last, ax=axis,
            err_kws={"linewidth": 1.2},
        )  # fmt: skip
        axis.set(xlabel="", ylabel="AP (%)")
        if last:
            _legend(axis)
    return axes[0].figure


def _by_class(runs: Runs, arms: Sequence[str]) -> pd.DataFrame:
    own = dict.fromkeys(name for result in runs.values() for name in class_names(result))
    rows = [
        (arm, name, ap)
        for arm in arms
        for name in ("mAP", *own)
        for ap in scores(runs, arm, name).values()
    ]
    return pd.DataFrame(rows, columns=["arm", "class", "AP"])


def learning_curves(layers: Layers, window: int = 10) -> Figure:
    """Training loss against optimiser steps: mean over seeds, band from the lowest to the highest.

    Below it the same minus the first arm's. Retrained batches are left out there, so that of one
    seed all arms are compared on the same images.

    Args:
        layers: title -> runs.
        window: steps of the running mean.
    """

    def smoothed(results: list[Result], kept: Sequence[bool]) -> pd.DataFrame:
        histories = [result.history for result in results]
        losses = [pd.Series(h.loss)[np.isin(h.retrained, kept)] for h in histories]
        frame = pd.concat([x.reset_index(drop=True) for x in losses], axis=1)
        frame = frame.rolling(window, min_periods=1).mean().dropna()
        return frame.set_axis(frame.index + 1)

    whole, ordinary = (partial(smoothed, kept=kept) for kept in ([False, True], [False]))
    above = _compared(layers, whole, ordinary, "step")
    above[0].set(yscale="log", ylabel=f"loss (mean of {window} steps)")
    for axis in above:
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("{x:g}")
    return above[0].figure


def by_epoch(name: str, scale: float = 1.0) -> Curve:
    """The curve of a number that histories tell after an epoch, times ``scale``, from epoch 1.

    Epochs after which a run was not looked at, and runs that do not tell it, have no point.
    """

    def curve(results: list[Result]) -> pd.DataFrame:
        told = [
            {n: scale * e[name] for n, e in enumerate(result.history.epochs, 1) if name in e}
            for result in results
        ]
        return pd.DataFrame([points for points in told if points]).T.sort_index().dropna()

    return curve


def epoch_curves(layers: Layers) -> Figure:
    """The mAP on the test images after each epoch: a line an arm, a band over seeds.

    It is that of the epoch's last weights, also where a run ends with a mean of weights. No
    decision looks at it.
    """
    layers = {title: runs for title, runs in layers.items() if runs}
    axes, colours = _panels(list(layers), 3.2), _colours(layers)
    for axis, runs in zip(axes, layers.values(), strict=False):
        bands(axis, runs, by_epoch("test_mAP", 100), colours, dots=3)
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes[0].set_ylabel("test mAP at IoU 0.5 (%)")
    _legend(axes[-1], axes)
    return axes[0].figure


def forest(frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Paired differences with their 95% intervals, a row each; the paper's as hollow diamonds.

    Args:
        frames: title -> table of :func:`doamlib.claims.comparison.differences`. A difference
            without an interval (one seed) is a bare point.
    """
    frames = {title: frame for title, frame in frames.items() if len(frame)}
    rows = list(dict.fromkeys(name for frame in frames.values() for name in frame.index))
    figure, axis = plt.subplots(figsize=(9, 1.2 + 0.5 * len(rows)))
    axis.axvline(0, color="#c9d1d9", lw=1, zorder=0)
    for nth, (title, frame) in enumerate(frames.items()):
        y = np.array([rows.index(name) for name in frame.index]) + 0.26 * nth
        half = (frame["ours"] - frame["low"]).to_numpy(), (frame["high"] - frame["ours"]).to_numpy()
        style = {"fmt": "o", "color": plots.PALETTE[nth], "capsize": 3, "ms": 5, "label": title}
        axis.errorbar(frame["ours"], y, xerr=np.nan_to_num(half), **style)
    theirs = pd.concat([frame["paper"] for frame in frames.values()]) if frames else pd.Series()
    theirs = theirs[~theirs.index.duplicated()].dropna()
    y = np.array([rows.index(name) for name in theirs.index]) - 0.22
    axis.scatter(theirs, y, marker="D", fc="white", ec=plots.ACCENT, lw=1.5, s=34, label=PAPER)
    axis.set_yticks(range(len(rows)), rows)
    axis.set(ylim=(len(rows) - 0.4, -0.6), xlabel="difference in AP at IoU 0.5 (points)")
    plots.legend_below(figure, [axis], columns=3)
    return figure


def gains_by_level(runs: Runs, arm: str, rivals: Sequence[str]) -> pd.DataFrame:
    """``arm - rival`` on each level, a row a seed: ``over``, ``level``, ``seed``, ``gain``.

    Rivals without a common seed, and levels without items, have no row.
    """
    rows = [
        {"over": rival, "level": level, "seed": seed, "gain": points}
        for rival in rivals
        for level in LEVELS
        for seed, points in gain(runs, arm, rival, level).items()
    ]
    return pd.DataFrame(rows, columns=["over", "level", "seed", "gain"])


def gain_bars(frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Fig. 5 as bars: gain over each rival by level; error bars: 95% t interval over seeds.

    Args:
        frames: title -> table of :func:`gains_by_level`; empty ones are left out.

    Paper: Fig. 5.
    """
    frames = {title: frame for title, frame in frames.items() if len(frame)}
    axes = _panels(list(frames), 2.6, stacked=True)
    rivals = list(dict.fromkeys(name for frame in frames.values() for name in frame["over"]))
    for axis, frame in zip(axes, frames.values(), strict=False):
        options = {
            "palette": list(plots.PALETTE[:3]),
            "errorbar": plots.t_interval,
            "order": rivals,
        }
        sns.barplot(
            frame, x="over", y="gain", hue="level", hue_order=LEVELS, ax=axis, **options,
            legend=axis is axes[0], err_kws={"linewidth": 1.2},
        )  # fmt: skip
        axis.axhline(0, color=plots.INK, lw=0.8)
        axis.set(xlabel="", ylabel="gain (points)")
    axes[-1].set_xlabel("gain over")
    _legend(axes[0])
    return axes[0].figure


def occlusion_curves(layers: Layers) -> Figure:
    """Mean AP against continuous occlusion O: mean over seeds, band from lowest to highest.

    Each point is the mAP on a window that holds a quarter of the items (see
    :func:`doamlib.evaluation.ap.ap_by_occlusion`), drawn at the window's median O. Below it the
    same minus the first arm's. Runs on data whose O is not known have no panel.
    """

    def by_window(results: list[Result]) -> pd.DataFrame:
        curves = [result.metrics["by_occlusion"] for result in results]
        points = [100 * np.array(curve["mAP"]) for curve in curves]
        return pd.DataFrame(points, columns=curves[0]["median"]).T

    layers = {
        title: runs
        for title, runs in layers.items()
        if any(result.metrics["by_occlusion"]["mAP"] for result in runs.values())
    }
    above = _compared(layers, by_window, by_window, OCCLUSION)
    above[0].set_ylabel("mAP at IoU 0.5 (%)")
    above[0].set_ylim(0)  # last, and for all: a limit ends autoscaling
    return above[0].figure


def gains_by_occlusion(runs: Runs, arm: str, base: str) -> pd.DataFrame:
    """``arm - base`` in mAP points on each window of occlusion: ``O``, ``seed``, ``gain``.

    Seeds that only one of them has, and runs on data whose O is not known, have no row.
    """
    rows = []
    for own, seed in runs:
        if own == arm and (base, seed) in runs:
            ours, theirs = (runs[name, seed].metrics["by_occlusion"] for name in (arm, base))
            points = zip(ours["median"], ours["mAP"], theirs["mAP"], strict=True)
            rows += [{"O": o, "seed": seed, "gain": 100 * (a - b)} for o, a, b in points]
    return pd.DataFrame(rows, columns=["O", "seed", "gain"])


def gain_curves(frames: Mapping[str, pd.DataFrame]) -> Figure:
    """The gain against occlusion O: a thin line a seed, a thick one through their mean.

    Args:
        frames: title -> table of :func:`gains_by_occlusion`; empty ones are left out.
    """
    frames = {title: frame for title, frame in frames.items() if len(frame)}
    axes = _panels(list(frames), 3.0)
    for axis, frame in zip(axes, frames.values(), strict=False):
        by_seed = frame.pivot_table(index="O", columns="seed", values="gain")
        axis.axhline(0, color=plots.INK, lw=0.8)
        axis.plot(by_seed, color=plots.PALETTE[0], lw=0.8, alpha=0.5)
        axis.plot(by_seed.mean(axis=1), color=plots.PALETTE[0], lw=2)
        axis.set(xlabel=OCCLUSION)
    axes[0].set_ylabel("gain in mAP (points)")
    return axes[0].figure
