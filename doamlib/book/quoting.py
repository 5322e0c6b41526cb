"""Numbers in prose: quoted from stored results in a notebook, checked again when the book is built.

A notebook says ``quote("ssd-map", value, result)``; the text says ``{glue:text}`ssd-map:.1f` ``.
The executed notebook then holds the number and the digest of each result that it came from, so a
build can tell when either has changed since.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import display

from doamlib import IMPORTED_AT
from doamlib.book.known import GLUE_PREFIX, QUOTED, as_glue, records
from doamlib.claims import findings
from doamlib.claims.claims import Outcome
from doamlib.core.config import digest_of
from doamlib.experiments.parameters import Parameters
from doamlib.experiments.results import Result, processor


def quote(name: str, value: float | int | str, *sources: Result) -> None:
    """Store a number for the text of this page, with what it came from.

    Args:
        name: how the text asks for it in its role ``glue:text``: ``name``, or ``name:.1f`` where
            it wants a format.
        value: the number, at full precision; the text rounds it.
        sources: the results it was computed from; none for a number of the paper or of the code.
    """
    text = value if isinstance(value, str) else repr(float(value) if value % 1 else int(value))
    QUOTED[name] = text
    metadata = {
        "scrapbook": {"name": name, "mime_prefix": GLUE_PREFIX},
        "doam": {
            "quote": name,
            "digest": digest_of(as_glue(text)),
            "sources": source_digests(sources),
        },
    }
    display({GLUE_PREFIX + "text/plain": as_glue(text)}, raw=True, metadata=metadata)


def quote_findings(outcomes: Mapping[int, Outcome]) -> None:
    """Store what was found about each claim, and how sure that is, for the top of this page.

    As ``found-1`` and ``sure-1`` for claim 1; see :mod:`doamlib.claims.findings`.
    """
    for number, outcome in outcomes.items():
        sources = outcome.runs.values()
        quote(f"found-{number}", findings.found(outcome), *sources)
        quote(f"sure-{number}", findings.how_sure(outcome), *sources)


def colophon(
    parameters: Parameters,
    results: Iterable[Result] = (),
    judged: Mapping[int, Outcome] | None = None,
) -> None:
    """Close a page: where its numbers come from, and what it cost (quoted at the page's top).

    Args:
        parameters: this page's.
        results: every stored result that its tables and figures show.
        judged: the claims whose verdicts it shows; what these were read from is listed too.
    """
    behind = [result for outcome in (judged or {}).values() for result in outcome.runs.values()]
    results = list({result.name: result for result in [*results, *behind]}.values())
    rows = [
        {
            "result": result.key,
            "origin": result.origin,
            "seed": result.provenance["seed"],
            "commit": result.provenance["commit"][:10]
            + ("+" if result.provenance["dirty"] else ""),
            "data": result.identity["fingerprint"],
            "processor": processor(result),
            "trained for": f"{result.provenance['training_seconds']:.0f} s",
        }
        for result in results
    ]
    record = {"sources": source_digests(results)}
    if rows:
        display({"text/html": _folded(rows, results)}, raw=True, metadata={"doam": record})
    quote("page-profile", parameters.profile)
    quote("page-seconds", time.monotonic() - IMPORTED_AT)
    unit = 2**30 if sys.platform == "darwin" else 2**20  # macOS counts bytes, Linux KiB
    quote("page-gib", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)


FOLDED = 8
"""Rows from which on a table of sources is folded: with five seeds an arm it is a screen long."""


def _folded(rows: list[dict[str, Any]], results: list[Result]) -> str:
    table = pd.DataFrame(rows).style.hide(axis="index").format(escape="html").to_html()
    if len(rows) < FOLDED:
        return table
    hours = sum(result.provenance["training_seconds"] for result in results) / 3600
    told = f"{len(rows)} results, {hours:.1f} hours of training: show each"
    return f"<details class='sources'><summary>{told}</summary>{table}</details>"


def source_digests(sources: Iterable[Result]) -> dict[str, str]:
    """Name and digest of each result, as an executed notebook records them."""
    return {source.name: source.digest() for source in sources}


def stale_quotes(notebook: Path, stored: Mapping[str, str]) -> list[str]:
    """What in an executed notebook no longer matches the stored results.

    Args:
        notebook: an executed copy.
        stored: name -> digest of every result that exists now.

    Returns:
        One line a fault: a quoted number that was altered, or a result that changed or vanished
        since the notebook ran. Empty when all is well.
    """
    faults = []
    for cell, record, text in records(json.loads(notebook.read_text(encoding="utf-8"))):
        name = record.get("quote", "the provenance table")
        where = f"{notebook.name}, code cell {cell}, {name}"
        if "quote" in record and digest_of(text) != record["digest"]:
            faults.append(f"{where}: the quoted number is not the one that was computed")
        for key, digest in record["sources"].items():
            if key not in stored:
                faults.append(f"{where}: result {key} is gone; build again to make it")
            elif stored[key] != digest:
                faults.append(f"{where}: result {key} has changed since this page was executed")
    return faults
