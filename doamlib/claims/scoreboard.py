"""The scoreboard: every claim with its verdict, and where each table and figure is made again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from html import escape
from typing import get_args

import pandas as pd
from IPython.display import display

from doamlib.claims.admission import SCALES
from doamlib.claims.claims import AtScale, Claim, Outcome
from doamlib.claims.rules import DOAM_T
from doamlib.claims.verdict import Status, Verdict
from doamlib.core import paths
from doamlib.core.chapters import page_text, title_of
from doamlib.core.report import counted
from doamlib.experiments.archive import Reference, stale_lines
from doamlib.experiments.results import processor

MADE_AGAIN: tuple[tuple[str, str, str], ...] = (
    ("Table I", "X-ray datasets", "dataset#table-i-its-neighbours"),
    ("Table II", "images and classes", "dataset#table-ii-how-many"),
    ("Table III", "test set by occlusion level", "dataset#table-iii-how-hidden"),
    ("Table IV", "attention mechanisms", "attention_comparison#beside-the-paper"),
    ("Table V", "mAP by occlusion level", "occlusion_levels#map-by-level-three-columns"),
    ("Table VI", "three detectors", "detectors#beside-the-paper"),
    ("Table VII", "sampling strategies", "sampling_strategies#beside-the-paper"),
    ("Table VIII", "complexity", "complexity#what-the-paper-prints"),
    ("Table IX", "ablation", "ablation#beside-the-paper"),
    ("Fig. 1", "the five cutters", "dataset#fig-1-the-five-cutters"),
    ("Fig. 2", "occlusion levels", "dataset#fig-2-occlusion-levels"),
    ("Fig. 3", "the module (our own drawing)", "doam"),
    ("Fig. 4", "the pool (our own drawing)", "sampling"),
    ("Fig. 5", "gain by occlusion level", "occlusion_levels#fig-5-with-our-numbers"),
    (
        "Fig. 6",
        "Grad-CAM with and without DOAM",
        "what_it_looks_at#fig-6-again-grad-cam-with-and-without-doam",
    ),
    ("Fig. 7", "attention maps", "what_it_looks_at#fig-7-again-the-attention-map"),
)
"""Table or figure of the paper, what it shows, and the place that makes it again."""

DATA = {"simulation": "OPIXray-Sim", "opixray": "OPIXray", "coco": "COCO files"}


def compute_used(references: Iterable[Reference]) -> pd.DataFrame:
    """What the stored results cost, stale ones included, by profile and hardware.

    Returns:
        ``profile``, ``hardware`` (GPU, or processor and cores), ``runs``, ``training (h)``,
        ``evaluation (h)``.
    """
    rows = []
    for reference in references:
        for result in [*reference.results.values(), *reference.stale.values()]:
            made = result.provenance
            machine = made["hardware"]
            on_cpu = f"{machine['cpu']}, {machine['cores']} cores"
            rows.append(
                {
                    "profile": reference.parameters.profile,
                    "hardware": on_cpu if machine["device"] == "cpu" else machine["device"],
                    "runs": 1,
                    "training (h)": made["training_seconds"] / 3600,
                    "evaluation (h)": made["evaluation_seconds"] / 3600,
                }
            )
    columns = ["profile", "hardware", "runs", "training (h)", "evaluation (h)"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.groupby(columns[:2], as_index=False, sort=False).sum()


# --- on the page ----------------------------------------------------------------------------------


def show(outcomes: Mapping[int, Outcome]) -> None:
    """Display the scoreboard; the output records its verdicts and results, for the build to check.

    Args:
        outcomes: of :func:`doamlib.claims.claims.outcomes`.
    """
    record = {
        "verdicts": statuses(outcomes),
        "sources": {r.name: r.digest() for o in outcomes.values() for r in o.runs.values()},
    }
    display({"text/html": as_html(outcomes)}, raw=True, metadata={"doam": record})


def statuses(outcomes: Mapping[int, Outcome]) -> dict[str, str]:
    """Number of each claim, as text, to its verdict's words, e.g. ``small: open; ...``."""
    found = {}
    for number, outcome in outcomes.items():
        words = [f"{name}: {at.verdict.headline}" for name, at in outcome.scales.items()]
        found[str(number)] = "; ".join(words) or outcome.verdict.headline
    return found


def in_words(outcomes: Mapping[int, Outcome]) -> str:
    """How many claims got which verdict where results are best, e.g. ``1 is supported and 12 have
    no run at any scale``.
    """
    counts = Counter(
        "run nowhere" if outcome.fact is outcome.best is None else outcome.verdict.status
        for outcome in outcomes.values()
    )
    nowhere = counts.pop("run nowhere", 0)
    parts = [
        f"{counts[status]} {'is' if counts[status] == 1 else 'are'} {status}"
        for status in get_args(Status)
        if counts[status]
    ]
    if nowhere:
        parts.append(f"{nowhere} {'has' if nowhere == 1 else 'have'} no run at any scale")
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def show_stale(references: Iterable[Reference]) -> None:
    """Display a banner over results that today's code would not compute; nothing without any."""
    if lines := stale_lines(references):
        listed = "".join(f"<li>{escape(line)}</li>" for line in lines)
        title = "<p class='admonition-title'>Stale results, shown to no verdict</p>"
        html = f"<div class='admonition warning'>{title}<ul>{listed}</ul></div>"
        display({"text/html": html}, raw=True)


def show_where_made_again() -> None:
    """Display which page makes each table and figure again."""
    rows = "".join(
        f"<tr><th scope='row'>{name}</th><td>{shows}</td><td>{_link(page)}</td></tr>"
        for name, shows, page in MADE_AGAIN
    )
    head = "<th scope='col'>In the paper</th><th scope='col'>It shows</th><th scope='col'>Page</th>"
    html = f"<table class='made-again'><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    display({"text/html": html}, raw=True)


def as_html(outcomes: Mapping[int, Outcome]) -> str:
    """A table with a row a claim and a column a scale, numbers folded below (scoreboard.css)."""
    heads = ("Claim", *(f"{scale.name} <small>{scale.data}</small>" for scale in SCALES))
    head = "".join(f"<th scope='col'>{title}</th>" for title in heads)
    rows = "".join(map(_row_html, outcomes.values()))
    caption = "<caption>The paper's claims and what may be said about them</caption>"
    return (
        f"<div class='scoreboard-frame'><table class='scoreboard'>{caption}"
        f"<thead><tr>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _row_html(outcome: Outcome) -> str:
    claim = outcome.claim
    if outcome.fact is not None:
        cells = f"<td colspan='{len(SCALES)}'>{_pill(outcome.fact, more='no training needed')}</td>"
        folded = _numbers_html(outcome.fact, claim.unit)
    else:
        pills = [f"<td>{_pill(at.verdict, name)}</td>" for name, at in outcome.scales.items()]
        nowhere = f"<td colspan='{len(SCALES)}'>{_pill(outcome.verdict)} at any scale</td>"
        cells = nowhere if outcome.best is None else "".join(pills)
        folded = "".join(_scale_html(at, claim) for at in outcome.scales.values())
    return (
        f"<tr id='claim-{claim.number}'><th scope='row'><b>{claim.number}.</b> "
        f"{escape(claim.statement)} <small>{escape(claim.where)}, {_link(claim.page)}</small></th>"
        f"{cells}</tr><tr class='why'><td colspan='{1 + len(SCALES)}'><details>"
        f"<summary>Numbers<span class='sr-only'> of claim {claim.number}</span></summary>"
        f"{folded}</details></td></tr>"
    )


def _pill(verdict: Verdict, scale: str = "", more: str = "") -> str:
    word = verdict.status.replace(" ", "-")
    where = f"<span class='scale'>{scale}: </span>" if scale else ""
    told = [verdict.headline if verdict.headline != verdict.status else "", more]
    small = f" <small>{', '.join(filter(None, told))}</small>" if any(told) else ""
    return f"{where}<span class='verdict {word}'>{verdict.status}</span>{small}"


def _scale_html(at: AtScale, claim: Claim) -> str:
    """Numbers of one scale; where nothing ran, the paper's alone, and only once (small)."""
    title = f"<b>{at.scale.name}</b>, {at.scale.data}"
    if at.reference is None:
        paper = _numbers_html(at.verdict, claim.unit) if at.scale is SCALES[0] else ""
        return f"<section><p>{title}: not run yet.</p>{paper}</section>"
    reading = f" Judged: {escape(at.reading)}." if at.reading != DOAM_T else ""
    made = _made(at.reference, claim)
    said = f"<p>{title}. {made}.{reading}</p>" + _numbers_html(at.verdict, claim.unit)
    if at.code is not None:
        said += f"<p>Beside it, the code's reading: {_pill(at.code)}</p>"
        said += _numbers_html(at.code, claim.unit)
    return f"<section>{said}</section>"


def _numbers_html(verdict: Verdict, unit: str) -> str:
    shown = dict(verdict.parts) | {f"beside: {n}": part for n, part in verdict.beside.items()}
    ends = _ends(shown.values())
    rows = [_part_html(name, part, ends) for name, part in shown.items()]
    head = ("compared", "", "paper", "here [interval]" + (f", {unit}" if unit else ""), "")
    cells = "".join(f"<span>{title}</span>" for title in head)
    head_row = f"<div class='numbers head' aria-hidden='true'>{cells}</div>"
    has_numbers = any(part.estimate or part.paper is not None for part in verdict.parts.values())
    if verdict.parts and all(map(_is_fact, shown.values())):
        return "".join(rows)
    lines = [escape(verdict.reason)] if not has_numbers or verdict.status == "not admitted" else []
    if verdict.power is not None:
        lines.append(
            "With these seeds and this spread, true differences as large as the paper's would be "
            f"supported as a whole in {100 * verdict.power:.0f} of 100 such studies"
        )
    said = "".join(f"<p>{line[0].upper()}{line[1:]}.</p>" for line in lines)
    return said + (head_row + "".join(rows) if has_numbers else "")


def _part_html(name: str, part: Verdict, ends: tuple[float, float]) -> str:
    theirs = "–" if part.paper is None else f"{part.paper:+z.2f}"
    if _is_fact(part):
        return f"<div class='fact'>{escape(name)}: {part.status}, {escape(part.reason)}</div>"
    ours = "–" if part.estimate is None else part.estimate.in_brackets
    size = {"below": ", below the paper's", "above": ", above the paper's"}.get(part.size, "")
    return (
        f"<div class='numbers'><span>{escape(name)}</span>{drawn_interval(part, ends)}"
        f"<span><span class='sr-only'>paper </span>{theirs}</span>"
        f"<span><span class='sr-only'>here </span>{ours}</span>"
        f"<span>{part.status}{size}</span></div>"
    )


def _is_fact(part: Verdict) -> bool:
    unmeasured = part.estimate is None and part.paper is None
    return unmeasured and part.status in ("supported", "contradicted")


WIDTH, HEIGHT = 120, 14


def drawn_interval(part: Verdict, ends: tuple[float, float] | None = None) -> str:
    """An interval as a small drawing: a line with a dot, zero as a stroke, the paper as a diamond.

    Its numbers stand beside it, so that it is hidden from screen readers.

    Args:
        part: what is drawn.
        ends: of the axis, so that drawings below each other share it; the part's own by default.
    """
    estimate = part.estimate
    low, high = ends or _ends([part])
    room = 0.06 * (high - low) or 1.0

    def x(value: float) -> str:
        return f"{WIDTH * (value - low + room) / (high - low + 2 * room):.1f}"

    middle = HEIGHT / 2
    shapes = [f"<line class='zero' x1='{x(0)}' x2='{x(0)}' y1='0' y2='{HEIGHT}'/>"]
    if part.paper is not None:
        shapes.append(f"<path class='paper' d='M{x(part.paper)} {middle - 5}l4 5l-4 5l-4 -5z'/>")
    if estimate is not None:
        if estimate.low is not None:
            ends_x = f"x1='{x(estimate.low)}' x2='{x(estimate.high)}'"
            shapes.append(f"<line class='ours' {ends_x} y1='{middle}' y2='{middle}'/>")
        shapes.append(f"<circle class='ours' cx='{x(estimate.mean)}' cy='{middle}' r='3'/>")
    box = f"viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}' aria-hidden='true'"
    return f"<svg class='interval' {box}>{''.join(shapes)}</svg>"


def _ends(parts: Iterable[Verdict]) -> tuple[float, float]:
    """The smallest and the largest of all that is drawn, zero among it."""
    values = [0.0]
    for part in parts:
        known = part.estimate
        values += [part.paper, *((known.mean, known.low, known.high) if known else ())]
    found = [value for value in values if value is not None]
    return min(found), max(found)


def _made(reference: Reference, claim: Claim) -> str:
    """Profile, seeds, processors and commits of the results that a claim reads."""
    runs = reference.of(claim.reads)
    seeds = {seed for _, seed in runs}
    made = [result.provenance for result in runs.values()]
    # Shortened; +: with uncommitted changes.
    commits = sorted({p["commit"][:7] + ("+" if p["dirty"] else "") for p in made})
    machines = sorted({processor(result) for result in runs.values()})
    data = DATA[reference.parameters.dataset]
    parts = (
        f"profile {reference.parameters.profile} on {data}",
        counted(len(seeds), "seed"),
        ", ".join(machines),
        f"commit {', '.join(commits)}",
    )
    return escape("; ".join(parts))


def _link(place: str) -> str:
    """To a page of the book, or a heading on it (``page#anchor``), by the page's title."""
    page, _, anchor = place.partition("#")
    title = escape(page_title(page))
    if not (paths.book() / f"{page}.ipynb").is_file():
        return title
    return f"<a href='{page}.html{'#' + anchor if anchor else ''}'>{title}</a>"


@cache
def page_title(page: str) -> str:
    """The first heading of a page; its name in words while it is not written."""
    return title_of(page_text(paths.book(), page)) or page.replace("_", " ").capitalize()
