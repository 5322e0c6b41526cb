"""The trend of a training loss: what the next batch's loss would be if it were like the last ones.

A loss falls while a network learns, steeply in the first epoch and within every epoch. Which batch
has a large loss is then mostly a question of when it came. Its distance from the trend is not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

WINDOW = 20
"""Losses that the trend is drawn through: few enough for a straight line."""

FEWEST = 10
"""With fewer losses a line and a spread say nothing."""


def next_loss(losses: Sequence[float]) -> tuple[float, float] | None:
    """Where the least-squares line through the last `WINDOW` losses arrives one batch later.

    Args:
        losses: of consecutive batches, the newest last; earlier ones than the window are not read.

    Returns:
        The expected loss, and the standard deviation of a new loss around it (that of a new
        observation in linear regression: scatter about the line and the line's own uncertainty;
        never 0). None where there are fewer than `FEWEST` losses.
    """
    recent = np.asarray(losses[-WINDOW:], dtype=float)
    count = len(recent)
    if count < FEWEST:
        return None
    place = np.arange(count) - (count - 1) / 2
    ahead = (count + 1) / 2
    squares = float(place @ place)
    slope = float(place @ recent) / squares
    rest = recent - recent.mean() - slope * place
    scatter = math.sqrt(float(rest @ rest) / (count - 2))
    scatter = max(scatter, 1e-9 * float(np.abs(recent).max()), 1e-12)  # losses that never differ
    spread = scatter * math.sqrt(1 + 1 / count + ahead**2 / squares)
    return float(recent.mean() + slope * ahead), spread
