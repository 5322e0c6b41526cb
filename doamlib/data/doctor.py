"""Reads everything in a dataset, finds every fault, and says whether training can go on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from statistics import median_low
from typing import Literal

from doamlib.data.coco import find_splits, read_coco
from doamlib.data.dataset import MANIFEST, Dataset, read_manifest
from doamlib.data.faults import DataError, Fault, FaultLog
from doamlib.data.files import Folder
from doamlib.data.opixray import read_opixray
from doamlib.data.published import compare, known
from doamlib.data.report import TABLE_NAMES, Comparison, Report, SplitReport
from doamlib.data.sidecar import read_sidecar
from doamlib.data.splits import box_table, count_table, level_table

THREADS = 2
"""That decode images."""

IMAGE_FACTOR = 2
"""An image stands out whose width or height is this many times the split's median or part of it."""

BOX_FACTOR = 25
"""The same for a box's share of the image (sixteen real boxes: from half to twice the median)."""


def check(
    root: Path | str,
    *,
    format: Literal["auto", "opixray", "coco"] = "auto",
    names: Mapping[str, str] | None = None,
) -> Report:
    """Read every file of a dataset and report every fault. Raises nothing on account of the data.

    Args:
        root: the dataset's folder; nothing outside it is read.
        format: ``auto`` takes OPIXray's layout where its image folders or no JSON file is there.
        names: spelling in the files -> class name; ``""`` leaves a class out.
    """
    log, splits, datasets = FaultLog(), {}, []
    generated = False
    with log.catching():
        folder = Folder(root)
        if format == "auto":
            format = _detect(folder)
        generated = folder.exists(MANIFEST)
        _check_manifest(folder, log)
        read = read_coco if format == "coco" else read_opixray
        splits_here = ("train", "test") if format == "opixray" else find_splits(folder.path)
        for split in splits_here or ("train",):  # reading train then says what is missing
            dataset = read(root, split, names=names, strict=False)
            datasets.append(dataset)
            log.faults += dataset.faults
            _decode_all(dataset, log)
            _find_outliers(dataset, log)
            splits[split] = _summary(dataset, log)
            with log.catching():
                read_sidecar(root, split)
        _compare_splits(datasets, log)
    comparisons = compare(splits) if format == "opixray" else ()
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
        faults=tuple(dict.fromkeys(log.faults)),
    )


def _detect(folder: Folder) -> Literal["opixray", "coco"]:
    if any(folder.exists(f"{split}/{split}_image") for split in ("train", "test")):
        return "opixray"
    json = bool(find_splits(folder.path)) or any(n.endswith(".json") for n in folder.names("."))
    return "coco" if json else "opixray"


def _check_manifest(folder: Folder, log: FaultLog) -> None:
    """Whether generated files are still what they were when they were made."""
    with log.catching():
        for name, digest in read_manifest(folder).files.items():
            with log.catching():
                if folder.sha256(name) != digest:
                    fix = "generate the dataset again"
                    log.add("error", "file-changed", "is not as it was generated", name, fix=fix)


def _decode_all(dataset: Dataset, log: FaultLog) -> None:
    def fault(index: int) -> Fault | None:
        try:
            dataset[index]
        except DataError as raised:
            return raised.fault
        return None

    with ThreadPoolExecutor(THREADS) as pool:
        log.faults += filter(None, pool.map(fault, range(len(dataset))))


def _find_outliers(dataset: Dataset, log: FaultLog) -> None:
    """Images and boxes of a size that hardly belongs to the others."""
    if not len(dataset):
        return
    width = median_low(record.width for record in dataset.records)
    height = median_low(record.height for record in dataset.records)
    for record in dataset.records:
        ratios = record.width / width, record.height / height
        if max(ratios) > IMAGE_FACTOR or min(ratios) < 1 / IMAGE_FACTOR:
            message = f"{record.width} x {record.height} pixels; usual is {width} x {height}"
            log.add("warning", "image-size", message, record.path)
    boxes = box_table(dataset)
    ratio = boxes["area_share"] / boxes["area_share"].median()
    paths = {record.image_id: record.path for record in dataset.records}
    for box in boxes[(ratio > BOX_FACTOR) | (ratio < 1 / BOX_FACTOR)].itertuples():
        size = f"{box.width:g} x {box.height:g} pixels, {box.area_share:.3%} of the image"
        message = f"a box of {size}; the median is {boxes['area_share'].median():.3%}"
        log.add("note", "box-size", message, paths[box.image_id])


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


def _compare_splits(datasets: list[Dataset], log: FaultLog) -> None:
    """Images that occur more than once, by name across the splits and by content everywhere."""
    names: dict[str, str] = {}
    contents: dict[str, str] = {}
    for dataset in datasets:
        paths = {record.image_id: record.path for record in dataset.records}
        for image_id in sorted(names.keys() & paths.keys()):
            message = f"{names[image_id]} has the same name"
            fix = "one image must not be in two splits"
            log.add("warning", "name-in-two-splits", message, paths[image_id], fix=fix)
        names |= paths
        with log.catching():
            for image_id, digest in dataset.image_hashes.items():
                if (same := contents.get(digest)) is not None:
                    here = same == paths[image_id]
                    message = "is in both" if here else f"has the same bytes as {same}"
                    fix = "leave one out: a copy in the test split makes results too good"
                    log.add("warning", "same-image", message, paths[image_id], fix=fix)
                contents.setdefault(digest, paths[image_id])
    for dataset in datasets[1:]:
        if dataset.classes != datasets[0].classes:
            message = f"classes {dataset.classes} differ from {datasets[0].classes}"
            place = next(iter(dataset.sources), ".")
            log.add("error", "classes-differ", message, place, fix="give both splits one list")


def _warn_of_counts(comparisons: Iterable[Comparison], log: FaultLog) -> None:
    """One warning for each row of the paper's tables that the data do not explain."""
    unexplained = (number for number in comparisons if number.explanation is None)
    for (table, row), numbers in groupby(unexplained, key=attrgetter("table", "row")):
        found = ", ".join(f"{n.column} {n.found:,} (paper {n.paper:,})" for n in numbers)
        message = f"Table {TABLE_NAMES[table]}, row {row}: {found}"
        fix = "expected for a part of OPIXray; otherwise files are missing"
        log.add("warning", "count-differs", message, ".", fix=fix)
