"""Reads everything in a dataset, finds every fault, and says whether training can go on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Literal

from doamlib.data.classes import CLASSES
from doamlib.data.dataset import MANIFEST, Dataset
from doamlib.data.doctor.published import compare, known
from doamlib.data.doctor.report import TABLE_NAMES, Comparison, Report, SplitReport
from doamlib.data.faults import FaultLog
from doamlib.data.folder import Folder
from doamlib.data.judge import counts_line, judge, undecodable
from doamlib.data.readers import detect_format, has_json, read_splits
from doamlib.data.splits import count_table, level_table


def check(
    root: Path | str,
    *,
    format: Literal["auto", "opixray", "coco"] = "auto",
    names: Mapping[str, str] | None = None,
) -> Report:
    """Read every file of a dataset and report every fault. Raises nothing on account of the data.

    Args:
        root: the dataset's folder; nothing outside it is read.
        format: ``auto`` takes what :func:`doamlib.data.readers.detect_format` tells: OPIXray's
            layout where its annotations or lists are there, or its image folders and no COCO JSON
            of a split; else COCO, also beside such folders.
        names: spelling in the files -> class name; ``""`` leaves a class out.
    """
    log, splits, datasets = FaultLog(), {}, []
    generated = False
    with log.catching():
        folder = Folder(root)
        if format == "auto":
            format = detect_format(root)
        generated = folder.exists(MANIFEST)
        for dataset in read_splits(root, format, names):
            datasets.append(dataset)
            log.faults += dataset.faults
            log.faults += undecodable(dataset)
            splits[dataset.split] = _summary(dataset, log)
        log.faults += judge(datasets)
        if not any(dataset.sources for dataset in datasets) and not has_json(folder):
            format = "unknown"
    papers = format == "opixray" and all(dataset.classes == CLASSES for dataset in datasets)
    comparisons = compare(splits) if papers else ()
    if not generated:
        _warn_of_counts(comparisons, log)
    return Report(
        root=str(root),
        format=format,
        generated=generated,
        ok=all(fault.severity != "error" for fault in log.faults),
        splits=splits,
        comparisons=comparisons,
        known=known() if comparisons else (),
        line=counts_line(datasets, log.faults),
        faults=tuple(dict.fromkeys(log.faults)),
    )


def _summary(dataset: Dataset, log: FaultLog) -> SplitReport:
    codes = [fault.code for fault in dataset.faults]
    folder, sources, fingerprint = Folder(dataset.root), {}, None
    for name in dataset.sources:
        with log.catching():
            sources[name] = folder.sha256(name)
    with log.catching():
        fingerprint = dataset.fingerprint
    return SplitReport(
        counts=count_table(dataset).to_dict("index")[dataset.split],
        levels=level_table(dataset).to_dict("index"),
        clipped=codes.count("box-clipped"),
        dropped=codes.count("box-dropped"),
        sources=sources,
        fingerprint=fingerprint,
    )


def _warn_of_counts(comparisons: Iterable[Comparison], log: FaultLog) -> None:
    """One warning for each row of the paper's tables that the data do not explain."""
    unexplained = (number for number in comparisons if number.explanation is None)
    for (table, row), numbers in groupby(unexplained, key=attrgetter("table", "row")):
        found = ", ".join(f"{n.column} {n.found:,} (paper {n.paper:,})" for n in numbers)
        message = f"Table {TABLE_NAMES[table]}, row {row}: {found}"
        fix = "expected for a part of OPIXray; otherwise files are missing"
        log.add("warning", "count-differs", message, ".", fix=fix)
