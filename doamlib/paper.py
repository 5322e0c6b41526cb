"""What the paper prints, and what others report on its data. Nothing here was measured by us."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd


@cache
def _printed() -> dict[str, Any]:
    return json.loads(files("doamlib").joinpath("paper_tables.json").read_text(encoding="utf-8"))


def table(number: int) -> pd.DataFrame:
    """One of the paper's Tables I to IX (1 to 9) as it is printed, mistakes included.

    Returns:
        One row a printed row; APs in percent, columns ``mAP`` and the five classes' abbreviations.

    Raises:
        ValueError: the paper has no such table.

    Paper: Tables I to IX.
    """
    try:
        return pd.DataFrame(_printed()[f"table_{number}"]["rows"])
    except KeyError:
        raise ValueError(f"table {number}: the paper's tables are numbered 1 to 9") from None


BENCHMARK = {"YOLOv8": 86.8, "YOLOv8 with DOAM": 79.0, "best detectors there": 92.8}
"""What others report on the real OPIXray: mAP at IoU 0.5 in percent (arXiv:2507.17508)."""
