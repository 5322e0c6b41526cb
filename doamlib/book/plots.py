"""One style for every figure of the book."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import contextmanager

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from doamlib.evaluation.statistics import summarise

INK = "#22313f"
INKED = ("axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color", "ytick.color")
ACCENT = "#c0392b"
PALETTE = ("#33658a", "#e07a2f", "#4f9d69", "#a879c9", "#c0392b", "#16202a")
"""Told apart by readers with the common colour-vision deficiencies, and in print."""


def use_style() -> None:
    """Set the book's look for every figure that follows in this process."""
    sns.set_theme(
        context="notebook",
        style="ticks",
        palette=list(PALETTE),
        rc={
            "figure.dpi": 110,
            "savefig.dpi": 160,
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": "small",
            "axes.titleweight": "bold",
            "legend.frameon": False,
            "image.interpolation": "nearest",
            **dict.fromkeys(INKED, INK),
        },
    )


def t_interval(values: Iterable[float]) -> tuple[float, float]:
    """Ends of the 95% t interval of a mean over seeds, for seaborn; NaN where there is one seed."""
    found = summarise(list(values))
    return (np.nan, np.nan) if found.low is None else (found.low, found.high)


def legend_below(figure: Figure, axes: Iterable[Axes], columns: int = 2) -> None:
    """Below the whole figure, where no sign of it can be taken for a point of the data."""
    if names := handles(axes):
        place = {"loc": "outside lower center", "ncols": columns, "fontsize": "small"}
        figure.legend(names.values(), names, **place)


def handles(axes: Iterable[Axes]) -> dict[str, Artist]:
    """Every name that one of the axes has for a legend, once, with what is drawn for it."""
    found: dict[str, Artist] = {}
    for axis in axes:
        for handle, name in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(name, handle)
    return found


@contextmanager
def panels(columns: int, rows: int = 1, aspect: float = 1.0, width: float = 9.0):
    """A grid of picture axes without ticks; shows the figure on leaving.

    Args:
        columns: pictures a row.
        rows: number of rows.
        aspect: height over width of one picture.
        width: of the whole figure in inches; 9 fills a page.

    Yields:
        The axes as a flat array, row by row.
    """
    height = (width / columns * aspect + 0.3) * rows
    _, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set(visible=True, color="#c9d1d9", linewidth=0.6)
    yield axes.ravel()
    plt.show()


def picture(axis: Axes, image, title: str = "", **options) -> Axes:
    """Draw a (3, H, W) or (H, W) array or tensor as a picture; RGB may be uint8 or 0..1."""
    array = np.asarray(image)
    axis.imshow(np.moveaxis(array, 0, -1) if array.ndim == 3 else array, **options)
    axis.set_title(title)
    return axis


def boxes(
    axis: Axes, xyxy, names: Sequence[str] = (), colour: str = ACCENT, line: str = "-"
) -> None:
    """Draw boxes (N, 4: x1, y1, x2, y2 in pixels) with optional names above them."""
    for index, (x1, y1, x2, y2) in enumerate(np.asarray(xyxy, dtype=float).reshape(-1, 4)):
        patch = Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec=colour, lw=1.6, ls=line)
        axis.add_patch(patch)
        if index < len(names):
            _name(axis, (x1, y1, x2, y2), names[index], colour)


def _name(axis: Axes, box: tuple[float, ...], text: str, colour: str) -> None:
    """A name above its box, or below it at the upper edge; flush right in the right half."""
    x1, y1, x2, y2 = box
    top = y1 < 0.1 * max(axis.get_ylim()) * (1 + text.count("\n"))
    right = (x1 + x2) / 2 > max(axis.get_xlim()) / 2
    axis.text(
        x2 if right else x1,
        y2 + 2 if top else y1 - 2,
        text,
        ha="right" if right else "left",
        va="top" if top else "bottom",
        color=colour,
        fontsize="x-small",
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
        clip_on=True,
    )
