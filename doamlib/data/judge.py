"""The one judgement of a dataset: the doctor, ``plan``, ``train`` and every page go by it.

An error stops training, because results would be wrong or there would be none; a warning or a note
is counted in the line that is printed before training.
"""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median_low

from doamlib.core.report import counted
from doamlib.data.dataset import Dataset, read_manifest
from doamlib.data.faults import DataError, Fault, FaultLog, error
from doamlib.data.folder import Folder
from doamlib.data.sidecar import has_sidecar, read_sidecar, sidecar_of
from doamlib.data.splits import box_table

THREADS = 2
"""That decode images."""

IMAGE_FACTOR = 2
"""An image stands out whose width or height is this many times the split's median or part of it."""

BOX_FACTOR = 25
"""The same for a box's share of the image (sixteen real boxes: from half to twice the median)."""

DOUBLED = 0.5
"""Share of boxes that stand twice from which the whole file is taken for doubled."""

LOST = {"box-dropped": "without area", "crowd": "of a crowd"}
"""Faults by which a box is left out, and what such boxes are."""

SHOWN = 3
"""Classes without items that the line names."""

COUNTED_ELSEWHERE = (*LOST, "box-clipped", "no-box", "unlisted-images", "count-differs")


def judge(datasets: Sequence[Dataset]) -> list[Fault]:
    """Every fault that an index tells, within the splits and between them; no image is decoded.

    Image files are read (their bytes are compared). What was met while reading the annotations is
    in ``Dataset.faults`` and not said again.

    Args:
        datasets: all splits.
    """
    log = FaultLog()
    for root in dict.fromkeys(dataset.root for dataset in datasets):
        _check_manifest(Folder(root), log)
    for dataset in datasets:
        _check_sidecar(dataset, log)
        if len(dataset):
            _look_for_boxes(dataset, log)
            _look_for_fractions(dataset, log)
            _look_for_doubles(dataset, log)
            _find_outliers(dataset, log)
    _look_for_alike(datasets, log)
    _compare_splits(datasets, log)
    return log.faults


def undecodable(dataset: Dataset) -> list[Fault]:
    """The images of a split that cannot be decoded. Reads every pixel."""

    def fault(index: int) -> Fault | None:
        try:
            dataset[index]
        except DataError as raised:
            return raised.fault
        return None

    with ThreadPoolExecutor(THREADS) as pool:
        return list(filter(None, pool.map(fault, range(len(dataset)))))


def counts_line(datasets: Sequence[Dataset], faults: Iterable[Fault]) -> str:
    """What training gets, in a line: images, boxes, and what was dropped, clipped or suspicious.

    What the data do not have, so that parts of a page stay empty, ends the line.

    Args:
        datasets: the splits.
        faults: of reading and of :func:`judge`.
    """
    codes = Counter(fault.code for fault in faults if fault.severity != "error")
    splits = "; ".join(
        f"{dataset.split} {counted(len(dataset), 'image')}, "
        f"{counted(sum(len(record.labels) for record in dataset.records), 'box')}"
        for dataset in datasets
    )
    dropped = sum(codes[code] for code in LOST)
    odd = {code: n for code, n in sorted(codes.items()) if code not in COUNTED_ELSEWHERE}
    named = f" ({', '.join(f'{n:,} {code}' for code, n in odd.items())})" if odd else ""
    boxes = f"boxes: {dropped:,} dropped, {codes['box-clipped']:,} clipped"
    suspicious = f"{sum(odd.values()):,} suspicious{named}"
    return "; ".join([splits, boxes, suspicious, *_lacking(datasets)])


def first_error(faults: Sequence[Fault], root: object) -> DataError | None:
    """The first error, which also says how many more there are and what lists them; or none."""
    errors = [fault for fault in faults if fault.severity == "error"]
    if not errors:
        return None
    fault, more = errors[0], len(errors) - 1
    if more:
        listed = f"{more:,} more errors: doam data check {shlex.quote(str(root))}"
        fault = fault.model_copy(update={"fix": "; ".join(filter(None, (fault.fix, listed)))})
    return DataError(fault)


def _lacking(datasets: Sequence[Dataset]) -> Iterator[str]:
    """What pages would show of a split and these data do not have."""
    for dataset in datasets:
        if dataset.split == "test" and not any(record.level for record in dataset.records):
            yield "no occlusion levels"
        if dataset.split == "test" and not has_sidecar(dataset.root, dataset.split):
            yield "no masks"
        used = {label for record in dataset.records for label in record.labels.tolist()}
        idle = [name for label, name in enumerate(dataset.classes, 1) if label not in used]
        if used and idle:
            more = f" and {len(idle) - SHOWN:,} more" if len(idle) > SHOWN else ""
            yield f"no {', '.join(idle[:SHOWN])}{more} in {dataset.split}"


def _place(dataset: Dataset) -> str:
    return next(iter(dataset.sources), ".")


def _check_manifest(folder: Folder, log: FaultLog) -> None:
    """Whether generated files are still what they were when they were made."""
    with log.catching():
        for name, digest in read_manifest(folder).files.items():
            with log.catching():
                if folder.sha256(name) != digest:
                    fix = "generate the dataset again"
                    log.add("error", "file-changed", "is not as it was generated", name, fix=fix)


def _check_sidecar(dataset: Dataset, log: FaultLog) -> None:
    with log.catching():
        known = read_sidecar(dataset.root, dataset.split)
        if known and (absent := [i for i in dataset.image_ids if i not in known]):
            message = f"has no line for {len(absent):,} images, e.g. {absent[0]!r}"
            raise error("bad-sidecar", message, sidecar_of(dataset.split), fix="remove it")


def _look_for_boxes(dataset: Dataset, log: FaultLog) -> None:
    if any(len(record.labels) for record in dataset.records):
        return
    codes = Counter(fault.code for fault in dataset.faults)
    lost = [f"{codes[code]:,} {kind}" for code, kind in LOST.items() if codes[code]]
    why = f": {', '.join(lost)} were left out" if lost else ""
    message = f"none of the {len(dataset):,} images of split {dataset.split!r} has a box{why}"
    fix = "nothing can be learned or measured without boxes"
    log.add("error", "no-boxes", message, _place(dataset), fix=fix)


def _look_for_fractions(dataset: Dataset, log: FaultLog) -> None:
    boxes = [record.boxes for record in dataset.records if len(record.boxes)]
    if boxes and max(float(own.max()) for own in boxes) <= 1:
        example = " ".join(f"{value:.3g}" for value in boxes[0][0].tolist())
        message = f"every box lies within one pixel, e.g. corners {example}: fractions, not pixels"
        fix = "multiply x by the image's width and y by its height"
        log.add("error", "fractions", message, _place(dataset), fix=fix)


def _look_for_doubles(dataset: Dataset, log: FaultLog) -> None:
    """Boxes that stand twice in one image, with the same class: a detection can hit only one."""
    doubled, boxes = defaultdict(int), 0
    for record in dataset.records:
        items = [(*box, label) for box, label in record.items()]
        boxes += len(items)
        if more := len(items) - len(set(items)):
            doubled[record.path] = more
    twice = sum(doubled.values())
    if twice and twice >= DOUBLED * (boxes - twice):
        message = f"{twice:,} of {boxes:,} boxes stand twice, e.g. in {next(iter(doubled))}"
        fix = "the annotations were joined with themselves: keep each box once"
        log.add("error", "boxes-twice", message, _place(dataset), fix=fix)
    else:
        for path, more in doubled.items():
            message = f"{counted(more, 'box')} with the same class and corners as another one"
            log.add("warning", "box-twice", message, path, fix="keep each box once")


def _look_for_alike(datasets: Sequence[Dataset], log: FaultLog) -> None:
    """Classes that a slip of the keyboard made two: *Gun* and *gun*."""
    first: dict[str, str] = {}
    for dataset in datasets[:1]:
        for name in dataset.classes:
            other = first.setdefault(" ".join(name.casefold().replace("_", " ").split()), name)
            if other != name:
                message = f"classes {other!r} and {name!r} differ in case or blanks only"
                fix = "are they one, give both one name with class_names"
                log.add("warning", "alike-classes", message, _place(dataset), fix=fix)


def _find_outliers(dataset: Dataset, log: FaultLog) -> None:
    """Images and boxes of a size that hardly belongs to the others."""
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


def _compare_splits(datasets: Sequence[Dataset], log: FaultLog) -> None:
    _find_copies(datasets, log)
    known = [dataset for dataset in datasets if dataset.classes]
    for dataset in known[1:]:
        ours, theirs = dataset.classes, known[0].classes
        if ours == theirs:
            continue
        if sorted(ours) == sorted(theirs):
            wrong = next(i for i, name in enumerate(ours) if name != theirs[i])
            message = (
                f"numbers the same classes otherwise than {known[0].split}: "
                f"label {wrong + 1} is {ours[wrong]!r} here and {theirs[wrong]!r} there"
            )
        else:
            message = f"classes {ours} differ from {theirs} of {known[0].split}"
        fix = "give both splits one list with the same ids"
        log.add("error", "classes-differ", message, _place(dataset), fix=fix)


def _find_copies(datasets: Sequence[Dataset], log: FaultLog) -> None:
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
