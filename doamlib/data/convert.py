"""Any annotated folder into COCO JSON that training reads, and a report of what was lost."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from doamlib.data.classes import CLASSES, unfit
from doamlib.data.coco import read_file
from doamlib.data.dataset import Dataset
from doamlib.data.export import export, new_folder
from doamlib.data.faults import DataError, FaultLog, error
from doamlib.data.folder import Folder
from doamlib.data.foreign import Losses, Source, as_records, read_labelme, read_voc, read_yolo
from doamlib.data.layouts import describe, split_of
from doamlib.data.readers import detect_format
from doamlib.data.sample import Annotation

FORMATS = {"Pascal VOC": read_voc, "YOLO": read_yolo, "LabelMe": read_labelme}

GROUP = r"^(.*?)(?:\.rf\.[0-9a-f]+)?$"
"""Roboflow names the versions of one image ``NAME.rf.HASH``; they must not be parted."""

EXTRA = r'"(segmentation|keypoints|attributes|score)"\s*:\s*(?!\[\s*\]|\{\s*\})'
"""What a COCO annotation may say beside its box, unless it is empty."""


@dataclass(frozen=True)
class Conversion:
    """What was made.

    Attributes:
        format: of the source.
        splits: as they were written.
        losses: one line for each kind of thing that was lost or changed.
    """

    format: str
    splits: tuple[Dataset, ...]
    losses: tuple[str, ...]


def convert(
    source: Path | str,
    target: Path | str,
    *,
    share: float | None = None,
    names: Mapping[str, str] | None = None,
    group: re.Pattern[str] | str = GROUP,
) -> Conversion:
    """Write ``train.json``, ``test.json`` (and ``val.json``) and the images into a new folder.

    The source's own splits are kept unless ``share`` divides all images anew: of every class (an
    image counts for that of its first box) this share of the groups goes to training, by a hash of
    the group's name, so that more images later leave the others where they are.

    Images are hard links where the file system allows it, else copies.

    Args:
        source: Pascal VOC XML, YOLO text, LabelMe JSON or COCO JSON with its images.
        target: a folder that is empty or not there yet.
        share: of the images for training, above 0 and below 1; None keeps the source's splits.
        names: name in the source -> class name; ``""`` leaves it out.
        group: a regular expression on an image's name without suffix, whose first group names what
            must stay in one split (a bag, a patient, a video).

    Raises:
        DataError: nothing to convert, no split and no ``share``, too little to divide, an image's
            name is no printable text, or the target is in use.
    """
    folder, names = Folder(source), dict(names or {})
    target = new_folder(target)
    kind, classes, records, losses = _read(folder, names)
    if share is not None:
        records = _divided(records, share, group, classes)
    parts = _by_split(records, folder)
    splits = tuple(Dataset(folder.path, name, classes, tuple(own)) for name, own in parts.items())
    export(splits, target)
    return Conversion(kind, splits, tuple(losses.lines()))


Divided = list[tuple[str | None, Annotation]]


def _read(folder: Folder, names: dict[str, str]) -> tuple[str, tuple[str, ...], Divided, Losses]:
    """The source's format, classes, records with their splits, and what was lost so far."""
    source, tried = Source(folder), []
    for kind, read in FORMATS.items():
        source.losses = Losses()
        found = list(read(source))
        if any(item.boxes for item in found):
            there = {name for item in found for name, *_ in item.boxes}
            for name in sorted(set(names) - there):
                source.losses.add("names of --classes that no box has", repr(name))
            used = {names.get(name, name) for name in there} - {""}
            classes = _fitting(CLASSES if used <= set(CLASSES) else sorted(used))
            records = as_records(found, classes, names, source)
            if records:
                return kind, classes, records, source.losses
        elif found:
            source.losses.add(f"images without a box as {kind}", found[0].path, len(found))
        tried += source.losses.lines()
    source.losses = Losses()
    return _read_coco(folder, source, names, tried)


def _read_coco(
    folder: Folder, source: Source, names: dict[str, str], tried: list[str]
) -> tuple[str, tuple[str, ...], Divided, Losses]:
    """As :func:`_read`, of the last format; ``tried`` says why it is none of the others."""
    records, classes = [], None
    for file in source.of_kind(".json"):
        log = FaultLog()
        try:
            part = read_file(folder, file, names, log)
        except DataError as refused:
            source.losses.add("JSON files that are not COCO's", str(refused))
            continue
        if classes is not None and part.classes != classes:
            raise error("classes-differ", f"classes {part.classes} differ from {classes}", file)
        classes = part.classes
        records += [(split_of(file) or split_of(r.path), r) for r in part.records]
        _count_coco(file, folder, log, source.losses)
    if not records:
        if detect_format(folder.path) == "opixray":
            fix = (
                "train on it as it is (dataset: opixray), or make COCO files with doam data export"
            )
            raise error("nothing-to-do", "this is OPIXray's own layout", ".", fix=fix)
        fix = "known are Pascal VOC XML, YOLO text, LabelMe and COCO JSON, each with its images"
        lost = "".join(f"; {line}" for line in (*tried, *source.losses.lines()))
        message = f"nothing to convert: found {describe(folder)}{lost}"
        raise error("nothing-known", message, ".", fix=fix)
    return "COCO", classes, records, source.losses


def _count_coco(file: str, folder: Folder, log: FaultLog, losses: Losses) -> None:
    for fault in log.faults:
        if fault.code != "no-box":
            losses.add(f"entries at fault ({fault.code})", f"{fault.file}: {fault.message}")
    keys = re.findall(EXTRA, folder.text(file))
    for key in sorted(set(keys)):
        losses.add(f"entries {key!r} are not kept", file, keys.count(key))


def _fitting(classes: Sequence[str]) -> tuple[str, ...]:
    for name in classes:
        if why := unfit(name):
            raise error("bad-class", why, ".", fix="give it another name with --classes")
    return tuple(classes)


def _divided(
    records: Divided, share: float, group: re.Pattern[str] | str, classes: Sequence[str]
) -> Divided:
    """Train and test anew; a group's images stay together."""
    groups: dict[str, list[Annotation]] = defaultdict(list)
    for _, record in records:
        stem = PurePosixPath(record.path).stem
        match = re.search(group, stem)
        name = match[1] if match and match.groups() else None
        groups[stem if name is None else name].append(record)
    strata: dict[int, list[str]] = defaultdict(list)
    for name, own in groups.items():
        labels = [int(label) for record in own for label in record.labels[:1]]
        strata[labels[0] if labels else 0].append(name)
    if all(len(own) == 1 for own in strata.values()):
        few = ", ".join(("background", *classes)[label] for label in sorted(strata))[:200]
        message = f"nothing is left to test on: there is one image or group each of {few}"
        raise error("no-split", message, ".", fix="add images, or make smaller groups with --group")
    train: set[str] = set()
    for own in strata.values():
        ordered = sorted(own, key=lambda name: hashlib.sha256(name.encode()).digest())
        train.update(ordered[: max(1, min(len(own) - 1, round(share * len(own))))])
    return [("train" if name in train else "test", r) for name, own in groups.items() for r in own]


def _by_split(records: Divided, folder: Folder) -> dict[str, list[Annotation]]:
    parts: dict[str, list[Annotation]] = defaultdict(list)
    for split, record in records:
        parts[split or ""].append(record)
    if loose := parts.get("", []):
        message = f"{len(loose):,} images are in no split, e.g. {loose[0].path}"
        raise error("no-split", message, ".", fix="divide them: --split 0.8")
    if "train" not in parts or not {"val", "test"} & set(parts):
        message = f"only the split {', '.join(parts)} is there, and train and test are needed"
        raise error("no-split", message, ".", fix="divide all images anew: --split 0.8")
    return {name: parts[name] for name in ("train", "val", "test") if name in parts}
