"""What every experiment page says in the same words: the stored layer, a quoted difference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from html import escape

import pandas as pd
from IPython.display import display

from doamlib.claims import scoreboard
from doamlib.claims.claims import CLAIMS, Outcome, outcomes
from doamlib.claims.comparison import class_names
from doamlib.claims.rules import DOAM_T
from doamlib.core.report import counted
from doamlib.data.classes import SHORT_NAMES
from doamlib.evaluation.statistics import summarise
from doamlib.experiments.archive import Reference, Runs, references
from doamlib.experiments.arms import READINGS
from doamlib.experiments.parameters import Parameters

NOTHING = "not measured"
HEADS = {"n": "seeds", "ours": "ours, mean", "low": "from (95%)", "high": "to (95%)"}
"""Short names of columns in code -> what readers see."""


def stored_runs(arms: Iterable[str]) -> tuple[Reference | None, Runs]:
    """The stored reference results that a page shows beside its own, announced by name.

    One line names profile, seeds and data; another says so where results are stale.

    The first profile of :func:`doamlib.experiments.archive.references` is taken. Its results that
    still stand are shown; where there is none of these arms, the stale ones are, under a banner.

    Args:
        arms: rows of the page's table.

    Returns:
        The profile, None where nothing is stored; and its results of these arms, by (arm, seed).
    """
    wanted = list(arms)
    layers = references()
    if not layers:
        print("No reference results are stored yet: tables have no column of them.")
        return None, {}
    layer = layers[0]
    stale = {key: result for key, result in layer.stale.items() if key[0] in wanted}
    shown = layer.of(wanted) or stale
    print(f"Reference results: {label(layer.parameters, shown)}.")
    if stale:
        why = next(iter(stale.values())).stale
        fate = "shown all the same" if shown is stale else "left out"
        print(f"STALE: {len(stale)} of them no longer count and are {fate} ({why}).")
    return layer, shown


def other_readings(numbers: Iterable[int]) -> list[str]:
    """Readings of the module, other than the code's, that these claims may be judged by, as far as
    stored results have them.
    """
    if not any(claim.readings for claim in CLAIMS if claim.number in set(numbers)):
        return []
    stored = {arm for layer in references() for arm, _ in layer.results}
    return [arm for arm in READINGS if arm in stored and arm != DOAM_T]


def label(parameters: Parameters, runs: Runs) -> str:
    """One line that says what runs are: profile, seeds, network size and data."""
    seeds = sorted({seed for _, seed in runs})
    many = counted(len(seeds), "seed") if seeds else "no seeds"
    data = f"{parameters.train_images} + {parameters.test_images} generated images"
    if parameters.dataset != "simulation":
        data = f"the images of dataset {parameters.dataset}"
    return (
        f"profile {parameters.profile}, {many} ({', '.join(map(str, seeds)) or '–'}), "
        f"width {parameters.width:g} at {parameters.image_size} px, {data}"
    )


def explain_classes(runs: Runs) -> None:
    """Print what the abbreviations of the runs' classes stand for, unless they are the paper's.

    A class without an item among the test images, whose column tables leave out, ends the line.
    """
    first = next(iter(runs.values()), None)
    if first is None or set(names := class_names(first)) == set(SHORT_NAMES):
        return
    there = set(first.test_set().truth.label.tolist())
    missing = [name for number, name in enumerate(names.values(), 1) if number not in there]
    told = ", ".join(f"{short}: {name}" for short, name in names.items())
    print(told + (f"; no test item: {', '.join(missing)}" if missing else ""))


def spoken(differences: Mapping[int, float]) -> str:
    """A paired difference by seed as a text can quote it, with its interval if it has one."""
    return str(summarise(differences)) if differences else NOTHING


def show(frames: Mapping[str, pd.DataFrame], digits: int = 2) -> None:
    """Display tables below each other, each under its title; missing numbers as a dash.

    Columns that hold nothing are left out, so an interval stands only where there are seeds for it.

    Args:
        frames: title -> table; an empty one is announced as not measured.
        digits: decimals of every number.
    """
    for title, frame in frames.items():
        frame = frame.loc[:, ~frame.isin(["", "–"]).where(frame.notna(), True).all()]
        if frame.empty:
            print(f"{title}: {NOTHING}")
            continue
        if frame.index.nlevels == frame.columns.nlevels == 1:  # its name in the corner, not a row
            frame = frame.rename_axis(index=None, columns=frame.index.name)
        styled = frame.rename(columns=HEADS).style
        styled = styled.format(partial(_as_text, digits=digits), na_rep="–", escape="html")
        for axis in (0, 1):  # class names are strangers' text
            styled = styled.format_index(escape="html", axis=axis)
        display(styled.set_caption(escape(title)))


def _as_text(value: object, digits: int) -> object:
    """A number with so many decimals, and without a sign where all of them are zero."""
    return f"{value:z.{digits}f}" if isinstance(value, float) else value


def show_verdicts(*numbers: int) -> dict[int, Outcome]:
    """Display the scoreboard's rows of these claims (1 to 13), and return what they rest on."""
    judged = outcomes(references(), numbers)
    scoreboard.show(judged)
    return judged
