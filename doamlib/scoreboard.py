"""The scoreboard: every claim with its verdict, and where each table and figure is made again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from html import escape
from typing import get_args

import pandas as pd
from IPython.display import display

from doamlib import paths
from doamlib.claims import Outcome
from doamlib.reference import Reference, stale_lines
from doamlib.statistics import Estimate, Status, Verdict

MADE_AGAIN: tuple[tuple[str, str, str], ...] = (
    ("Table I", "X-ray datasets", "dataset"),
    ("Table II", "images and classes", "dataset"),
    ("Table III", "test set by occlusion level", "dataset"),
    ("Table IV", "attention mechanisms", "attention_comparison"),
    ("Table V", "mAP by occlusion level", "occlusion_levels"),
    ("Table VI", "three detectors", "detectors"),
    ("Table VII", "sampling strategies", "sampling_strategies"),
    ("Table VIII", "complexity", "complexity"),
    ("Table IX", "ablation", "ablation"),
    ("Fig. 1", "the five cutters", "dataset"),
    ("Fig. 2", "occlusion levels", "dataset"),
    ("Fig. 3", "the module (our own drawing)", "doam"),
    ("Fig. 4", "the pool (our own drawing)", "sampling"),
    ("Fig. 5", "gain by occlusion level", "occlusion_levels"),
    ("Fig. 6", "Grad-CAM with and without DOAM", "what_it_looks_at"),
    ("Fig. 7", "attention maps", "what_it_looks_at"),
)
"""Table or figure of the paper, what it shows, and the page that makes it again."""

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
        outcomes: of :func:`doamlib.claims.outcomes`.
    """
    record = {
        "verdicts": statuses(outcomes),
        "sources": {r.name: r.digest() for o in outcomes.values() for r in o.runs.values()},
    }
    display({"text/html": as_html(outcomes)}, raw=True, metadata={"doam": record})


def statuses(outcomes: Mapping[int, Outcome]) -> dict[str, str]:
    """Number of each claim, as text, to its verdict's word."""
    return {str(number): outcome.verdict.status for number, outcome in outcomes.items()}


def in_words(outcomes: Mapping[int, Outcome]) -> str:
    """How many claims got which verdict, e.g. ``1 is supported and 12 are not tested here``."""
    counts = Counter(outcome.verdict.status for outcome in outcomes.values())
    parts = [
        f"{counts[status]} {'is' if counts[status] == 1 else 'are'} {status}"
        for status in get_args(Status)
        if counts[status]
    ]
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
    """A table with a row a claim; on a narrow screen each row becomes a card (scoreboard.css)."""
    numbers = "<span>compared</span><span>paper</span><span>here [interval]</span>"
    heads = ("Claim", f"<div class='numbers'>{numbers}</div>", "Verdict", "Evidence")
    head = "".join(f"<th scope='col'>{title}</th>" for title in heads)
    rows = "".join(map(_row_html, outcomes.values()))
    caption = "<caption>The paper's claims and what may be said about them</caption>"
    return (
        f"<div class='scoreboard-frame'><table class='scoreboard'>{caption}"
        f"<thead><tr>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _row_html(outcome: Outcome) -> str:
    claim, verdict = outcome.claim, outcome.verdict
    printed = claim.printed()
    # A verdict without parts stands under the one name that the paper's number has.
    parts = verdict.parts or {next(iter(printed), ""): verdict}
    numbers = "".join(
        _part_html(name, printed.get(name), part, claim.unit) for name, part in parts.items()
    )
    word = verdict.status.replace(" ", "-")
    where = f"{claim.where}, in {claim.unit}" if claim.unit else claim.where
    return (
        f"<tr id='claim-{claim.number}'><th scope='row'><b>{claim.number}.</b> "
        f"{escape(claim.statement)} <small>{escape(where)}</small></th>"
        f"<td>{numbers}</td>"
        f"<td><span class='verdict {word}'>{verdict.status}</span>"
        f"<details><summary>why</summary>{escape(verdict.reason)}.</details></td>"
        f"<td class='evidence'>{_evidence_html(outcome)}</td></tr>"
    )


def _part_html(name: str, paper: float | None, part: Verdict, unit: str) -> str:
    theirs = "–" if paper is None else f"{paper:+.2f}"
    if part.estimate is None and part.status != "not tested here":
        return f"<div class='fact'>{escape(part.reason)}</div>"
    ours = "–" if part.estimate is None else _interval(part.estimate)
    return (
        f"<div class='numbers'><span>{escape(name or unit)}</span>"
        f"<span><span class='sr-only'>paper </span>{theirs}</span>"
        f"<span><span class='sr-only'>here </span>{ours}</span></div>"
    )


def _interval(estimate: Estimate) -> str:
    if estimate.low is None:
        return f"{estimate.mean:+.2f}"
    return f"{estimate.mean:+.2f} [{estimate.low:+.2f}, {estimate.high:+.2f}]"


def _evidence_html(outcome: Outcome) -> str:
    lines = [_link(outcome.claim.page)]
    if not outcome.claim.arms:
        lines.append("no training needed")
    elif outcome.reference:
        lines.append(DATA[outcome.reference.parameters.dataset])
    if outcome.runs:
        seeds = len({seed for _, seed in outcome.runs})
        made = [result.provenance for result in outcome.runs.values()]
        # Shortened; +: with uncommitted changes.
        commits = sorted({p["commit"][:7] + ("+" if p["dirty"] else "") for p in made})
        lines.append(f"{seeds} seed{'s' if seeds > 1 else ''}")
        lines.append(f"profile {outcome.reference.parameters.profile}")
        lines.append("commit " + ", ".join(commits))
    return "".join(f"<span>{line}</span>" for line in lines)


def _link(page: str) -> str:
    """To a page of the book by its title; without a link while the page is not written."""
    words = page.replace("_", " ")
    title = words[0].upper() + words[1:]
    if not (paths.book() / f"{page}.ipynb").is_file():
        return title
    return f"<a href='{page}.html'>{title}</a>"
