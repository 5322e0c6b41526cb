"""COCO JSON: PIDray, CLCXray, what annotation tools export, and what we export ourselves."""

from __future__ import annotations

import json
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from doamlib.data.classes import CLASSES
from doamlib.data.dataset import Dataset, label_of
from doamlib.data.faults import FaultLog, error
from doamlib.data.files import Folder, write_text
from doamlib.data.images import image_size
from doamlib.data.sample import Annotation, Row, boxes_within


class _Image(BaseModel):
    id: int | str
    file_name: str
    width: int | None = None
    height: int | None = None
    occlusion_level: int | None = None  # ours: COCO knows no such thing

    @field_validator("file_name")
    @classmethod
    def _forward_slashes(cls, name: str) -> str:
        return name.replace("\\", "/")  # tools on Windows write the other ones


class _Category(BaseModel):
    id: int
    name: str


class _Box(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False)

    id: int | str | None = None
    image_id: int | str
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0


Entry = TypeVar("Entry", bound=BaseModel)


def read_coco(
    root: Path | str,
    split: str,
    *,
    annotations: str | None = None,
    images: str | None = None,
    classes: tuple[str, ...] | None = None,
    names: Mapping[str, str] | None = None,
    strict: bool = True,
) -> Dataset:
    """One split of a dataset in COCO's detection format.

    Image ids are the stems of the file names, or the whole names without suffix where two stems are
    alike. Crowd regions are left out. Faults of an entry name it by its place in the file, since
    JSON is commonly one long line.

    Args:
        root: the folder that holds annotations and images; nothing outside it is read.
        split: for example ``train``; finds the annotation file if that is not named: the JSON file
            in ``root``, ``root/annotations`` or ``root/<split>`` whose name holds the split's name.
        annotations: the annotation file, relative to ``root``.
        images: the folder that file names start from, relative to ``root``; by default the first of
            ``.``, ``images``, ``<split>``, ``images/<split>`` and the JSON file's own folder that
            holds the first image.
        classes: class names in label order. Default: the five of OPIXray where all categories are
            (or are mapped) among them, else the categories' names by their id.
        names: category name -> class name; ``""`` leaves a category out.
        strict: raise at the first error; otherwise leave out what is at fault and go on.

    Returns:
        The index; warnings and notes in ``faults``, and where not strict the errors.

    Raises:
        DataError: strict, and the data have an error; or ``root`` is not a folder.
    """
    folder, log = Folder(root), FaultLog()
    found = Dataset(folder.path, split, classes or (), ())
    with log.catching():
        file = annotations or _find_annotations(folder, split)
        found = _read(folder, split, file, images, classes, names or {}, log)
    if strict:
        log.raise_first_error()
    return replace(found, faults=tuple(log.faults))


def write_coco(dataset: Dataset, path: Path | str) -> None:
    """Write a dataset's annotations as COCO JSON; :func:`read_coco` gives the same samples again.

    Image paths are relative to ``dataset.root``, boxes are x, y, width, height in pixels of the
    original image, and the occlusion level goes into a field ``occlusion_level`` of the image.
    """
    images, boxes = [], []
    for number, record in enumerate(dataset.records, start=1):
        level = {} if record.level is None else {"occlusion_level": record.level}
        size = {"width": record.width, "height": record.height}
        images.append({"id": number, "file_name": record.path, **size, **level})
        for (x1, y1, x2, y2), label in zip(
            record.boxes.tolist(), record.labels.tolist(), strict=True
        ):
            width, height = x2 - x1, y2 - y1
            boxes.append(
                {
                    "id": len(boxes) + 1,
                    "image_id": number,
                    "category_id": label,
                    "bbox": [x1, y1, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                }
            )
    categories = [{"id": i, "name": name} for i, name in enumerate(dataset.classes, start=1)]
    whole = {"images": images, "annotations": boxes, "categories": categories}
    write_text(path, json.dumps(whole, indent=1) + "\n")


def find_splits(root: Path | str) -> tuple[str, ...]:
    """The splits among ``train``, ``val`` and ``test`` that have an annotation file."""
    folder = Folder(root)
    return tuple(split for split in ("train", "val", "test") if _candidates(folder, split))


def _candidates(folder: Folder, split: str) -> list[str]:
    """JSON files that could be the split's annotations."""
    token = re.compile(rf"(^|[^a-zA-Z]){re.escape(split)}([^a-zA-Z]|$)")
    found = []
    for place in ("", "annotations/", f"{split}/"):
        if not (folder.path / place).is_dir():
            continue
        for name in folder.names(place or "."):
            if name.endswith(".json") and (token.search(name[:-5]) or place == f"{split}/"):
                found.append(place + name)
    exact = [name for name in found if PurePosixPath(name).stem == split]
    return exact or found


def _find_annotations(folder: Folder, split: str) -> str:
    found = _candidates(folder, split)
    if len(found) == 1:
        return found[0]
    what = f"several JSON files fit: {', '.join(found)}" if found else "no JSON file fits"
    fix = "rename it (train.json), name it (annotations=...), or take the split that it names"
    raise error("no-annotations", f"split {split!r}: {what}", ".", fix=fix)


def _read(
    folder: Folder,
    split: str,
    file: str,
    start: str | None,
    classes: tuple[str, ...] | None,
    names: Mapping[str, str],
    log: FaultLog,
) -> Dataset:
    content = _load(folder, file)
    categories = _entries(content, "categories", _Category, file, log)
    images = _entries(content, "images", _Image, file, log)
    boxes = _entries(content, "annotations", _Box, file, log)
    if not images:
        raise error("empty-list", "names no image", file, fix="export it with its images")
    classes = classes or _default_classes(categories.values(), names)
    rows = _rows(boxes, images, categories, classes, names, file, log)
    if start is None:
        start = _find_images(folder, split, file, next(iter(images.values())).file_name)
    records = _records(folder, start, images, rows, file, log)
    return Dataset(folder.path, split, classes, records, (file,))


def _load(folder: Folder, file: str) -> dict[str, Any]:
    try:
        content = json.loads(folder.text(file))
    except json.JSONDecodeError as bad:
        raise error("bad-json", f"is not JSON ({bad.msg})", file, bad.lineno) from None
    for key in ("categories", "images", "annotations"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise error("bad-json", f"has no list {key!r}", file, fix="export as COCO detection")
    return content


def _entries(
    content: dict[str, Any], key: str, model: type[Entry], file: str, log: FaultLog
) -> dict[int, Entry]:
    """Position -> entry, for every entry of a list that is what it should be, and no repetition."""
    found: dict[int, Entry] = {}
    ids = set()
    for position, value in enumerate(content[key]):
        try:
            entry = model.model_validate(value)
        except ValidationError as bad:
            first = bad.errors()[0]
            where = ".".join([f"{key}[{position}]", *map(str, first["loc"])])
            log.add("error", "bad-entry", f"{where}: {first['msg']}", file, fix="correct the entry")
            continue
        if entry.id is not None and entry.id in ids:
            message = f"{key}[{position}]: id {entry.id!r} occurs before"
            log.add("error", "bad-entry", message, file, fix="give every entry an id of its own")
            continue
        ids.add(entry.id)
        found[position] = entry
    return found


def _default_classes(categories: Iterable[_Category], names: Mapping[str, str]) -> tuple[str, ...]:
    by_id = sorted(categories, key=lambda category: category.id)
    ours = [names.get(category.name, category.name) for category in by_id]
    kept = tuple(dict.fromkeys(name for name in ours if name != ""))
    return CLASSES if set(kept) <= set(CLASSES) else kept


def _rows(
    boxes: Mapping[int, _Box],
    images: Mapping[int, _Image],
    categories: Mapping[int, _Category],
    classes: tuple[str, ...],
    names: Mapping[str, str],
    file: str,
    log: FaultLog,
) -> dict[int | str, list[Row] | None]:
    """Image id -> its rows; None if one of them is at fault."""
    rows: dict[int | str, list[Row] | None] = {image.id: [] for image in images.values()}
    category_names = {category.id: category.name for category in categories.values()}
    crowds = 0
    for position, box in boxes.items():
        place = f"annotations[{position}]"
        if box.image_id not in rows:
            message = f"{place}: there is no image with id {box.image_id!r}"
            log.add("error", "unknown-image", message, file, fix="remove the entry")
            continue
        name = category_names.get(box.category_id, f"of category_id {box.category_id}")
        try:
            label = label_of(name, classes, names)
        except KeyError:
            message = f"{place}: class {name!r} is not one of {', '.join(classes)}"
            fix = f"correct it, or map it: names={{{name!r}: ''}} leaves it out"
            log.add("error", "unknown-class", message, file, fix=fix)
            rows[box.image_id] = None
            continue
        crowds += box.iscrowd != 0
        if label and not box.iscrowd and (sound := rows[box.image_id]) is not None:
            x, y, width, height = box.bbox
            corners = (x, y, x + width, y + height)
            sound.append(Row(corners, label, file, None, f"{place} ({name})"))
    if crowds:
        log.add("note", "crowds", f"{crowds:,} crowd regions are left out", file)
    return rows


def _find_images(folder: Folder, split: str, file: str, first: str) -> str:
    own = PurePosixPath(file).parent.as_posix()
    places = (".", "images", split, f"images/{split}", own)
    for place in places:
        if folder.exists(_join(place, first)):
            return place
    message = f"images[0]: {first!r} is in none of {', '.join(places)}"
    raise error("missing-image", message, file, fix="name the folder with images=...")


def _join(start: str, name: str) -> str:
    return posixpath.normpath(f"{start}/{name}")


def _records(
    folder: Folder,
    start: str,
    images: Mapping[int, _Image],
    rows: Mapping[int | str, list[Row] | None],
    file: str,
    log: FaultLog,
) -> tuple[Annotation, ...]:
    stems = Counter(PurePosixPath(image.file_name).stem for image in images.values())
    records: dict[str, Annotation] = {}
    seen: set[str] = set()
    for position, image in images.items():
        name = PurePosixPath(image.file_name)
        image_id = name.stem if stems[name.stem] == 1 else name.with_suffix("").as_posix()
        with log.catching():
            size = _measure(folder, _join(start, image.file_name), image, file, position)
            if image_id in seen:
                message = f"images[{position}]: {name} is a second image named {image_id}"
                raise error("two-images", message, file, fix="rename one of them")
            seen.add(image_id)
            if (own := rows[image.id]) is None:
                continue
            if not own:
                message = f"images[{position}]: {name} has no box: a background image"
                log.add("note", "no-box", message, file)
            boxes, labels = boxes_within(own, *size, log)
            path = _join(start, image.file_name)
            level = image.occlusion_level
            records[image_id] = Annotation(image_id, path, boxes, labels, level, *size)
    return tuple(records.values())


def _measure(folder: Folder, path: str, image: _Image, file: str, position: int) -> tuple[int, int]:
    size = image_size(folder.file(path, file), path)
    claimed = (image.width or size[0], image.height or size[1])
    if claimed != size:
        sizes = f"{size[0]} x {size[1]}, not {claimed[0]} x {claimed[1]}"
        message = f"images[{position}]: {path} is {sizes}"
        fix = "restore the image that the boxes were drawn on"
        raise error("size-differs", message, file, fix=fix)
    return size
