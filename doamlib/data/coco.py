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
from doamlib.data.dataset import Dataset
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
    names: Mapping[str, str] | None = None,
    strict: bool = True,
) -> Dataset:
    """One split of a dataset in COCO's detection format.

    The annotation file is the one JSON file in ``root``, ``root/annotations`` or ``root/<split>``
    whose path holds the split's name. File names in it start from the first of ``.``, ``images``,
    ``<split>``, ``images/<split>`` and its own folder that holds the first image. Classes are the
    five of OPIXray where all categories are (or are mapped) among them, else the categories' names
    by their id.

    Image ids are the stems of the file names, or the whole names without suffix where two stems are
    alike. Crowd regions are left out. Faults of an entry name it by its place in the file, since
    JSON is commonly one long line.

    Args:
        root: the folder that holds annotations and images; nothing outside it is read.
        split: for example ``train``.
        names: category name -> class name; ``""`` leaves a category out.
        strict: raise at the first error; otherwise leave out what is at fault and go on.

    Returns:
        The index; warnings and notes in ``faults``, and where not strict the errors.

    Raises:
        DataError: strict, and the data have an error; or ``root`` is not a folder.
    """
    folder, log = Folder(root), FaultLog()
    found = Dataset(folder.path, split, (), ())
    with log.catching():
        file = _find_annotations(folder, split)
        content = _Content(folder, file, log)
        categories = content.entries(_Category, "categories")
        images = content.entries(_Image, "images")
        if not images:
            raise error("empty-list", "names no image", file, fix="export it with its images")
        classes, class_of = _classes(categories.values(), names or {})
        start = _find_images(folder, split, file, next(iter(images.values())).file_name)
        records = content.records(images, content.rows(images, classes, class_of), start)
        found = Dataset(folder.path, split, classes, records, (file,))
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
        size = {"width": record.width, "height": record.height}
        level = {} if record.level is None else {"occlusion_level": record.level}
        images.append({"id": number, "file_name": record.path, **size, **level})
        for corners, label in zip(record.boxes.tolist(), record.labels.tolist(), strict=True):
            x1, y1, x2, y2 = corners
            bbox = [x1, y1, x2 - x1, y2 - y1]
            box = {"id": len(boxes) + 1, "image_id": number, "category_id": label, "bbox": bbox}
            boxes.append({**box, "iscrowd": 0, "area": bbox[2] * bbox[3]})
    categories = [{"id": i, "name": name} for i, name in enumerate(dataset.classes, start=1)]
    whole = {"images": images, "annotations": boxes, "categories": categories}
    write_text(path, json.dumps(whole, indent=1) + "\n")


def find_splits(root: Path | str) -> tuple[str, ...]:
    """The splits among ``train``, ``val`` and ``test`` that have an annotation file."""
    folder = Folder(root)
    return tuple(split for split in ("train", "val", "test") if _candidates(folder, split))


def _candidates(folder: Folder, split: str) -> list[str]:
    """JSON files that could be the split's annotations."""
    word = re.compile(rf"(^|[^a-zA-Z]){re.escape(split)}([^a-zA-Z]|$)")
    found = [
        path
        for place in (".", "annotations", split)
        if (folder.path / place).is_dir()
        for name in folder.names(place)
        if word.search(path := _join(place, name)) and name.endswith(".json")
    ]
    return [path for path in found if PurePosixPath(path).stem == split] or found


def _join(place: str, name: str) -> str:
    return posixpath.normpath(f"{place}/{name}")


def _find_annotations(folder: Folder, split: str) -> str:
    found = _candidates(folder, split)
    if len(found) == 1:
        return found[0]
    what = f"several JSON files fit: {', '.join(found)}" if found else "no JSON file fits"
    fix = f"rename it: {split}.json"
    raise error("no-annotations", f"split {split!r}: {what}", ".", fix=fix)


def _find_images(folder: Folder, split: str, file: str, first: str) -> str:
    own = PurePosixPath(file).parent.as_posix()
    places = (".", "images", split, f"images/{split}", own)
    for place in places:
        if folder.exists(_join(place, first)):
            return place
    message = f"images[0]: {first!r} is in none of {', '.join(places)}"
    raise error("missing-image", message, file, fix="move the images to one of them")


def _classes(
    categories: Iterable[_Category], names: Mapping[str, str]
) -> tuple[tuple[str, ...], dict[int, str]]:
    """The classes in label order, and the class of each category id (empty: left out)."""
    by_id = sorted(categories, key=lambda category: category.id)
    class_of = {category.id: names.get(category.name, category.name) for category in by_id}
    kept = tuple(dict.fromkeys(name for name in class_of.values() if name))
    return (CLASSES if set(kept) <= set(CLASSES) else kept), class_of


class _Content:
    """A COCO file, list by list; whatever is at fault goes into the log and is left out."""

    def __init__(self, folder: Folder, file: str, log: FaultLog) -> None:
        self.folder, self.file, self.log = folder, file, log
        try:
            self.lists: dict[str, list[Any]] = json.loads(folder.text(file))
        except json.JSONDecodeError as bad:
            raise error("bad-json", f"is not JSON ({bad.msg})", file, bad.lineno) from None
        for key in ("categories", "images", "annotations"):
            if not isinstance(self.lists, dict) or not isinstance(self.lists.get(key), list):
                raise error("bad-json", f"has no list {key!r}", file, fix="export COCO detection")

    def entries(self, kind: type[Entry], key: str) -> dict[str, Entry]:
        """Place in the file (``images[3]``) -> entry of this list; no id occurs twice."""
        found: dict[str, Entry] = {}
        ids = set()
        for position, value in enumerate(self.lists[key]):
            place = f"{key}[{position}]"
            with self.log.catching():
                try:
                    entry = kind.model_validate(value)
                except ValidationError as bad:
                    first = bad.errors()[0]
                    where = ".".join([place, *map(str, first["loc"])])
                    raise error("bad-entry", f"{where}: {first['msg']}", self.file) from None
                if entry.id is not None and entry.id in ids:
                    raise error("bad-entry", f"{place}: id {entry.id!r} occurs before", self.file)
                ids.add(entry.id)
                found[place] = entry
        return found

    def rows(
        self, images: Mapping[str, _Image], classes: tuple[str, ...], class_of: Mapping[int, str]
    ) -> dict[int | str, list[Row] | None]:
        """Image id -> its boxes; None if one of them is at fault."""
        rows: dict[int | str, list[Row] | None] = {image.id: [] for image in images.values()}
        for place, box in self.entries(_Box, "annotations").items():
            with self.log.catching():
                if box.image_id not in rows:
                    message = f"{place}: there is no image with id {box.image_id!r}"
                    raise error("unknown-image", message, self.file, fix="remove the entry")
                if box.category_id not in class_of:
                    rows[box.image_id] = None
                    message = f"{place}: there is no category with id {box.category_id}"
                    raise error("unknown-class", message, self.file, fix="correct the entry")
                own, name = rows[box.image_id], class_of[box.category_id]
                if box.iscrowd:
                    self.log.add("note", "crowd", f"{place} is a crowd: left out", self.file)
                elif name and own is not None:
                    x, y, width, height = box.bbox
                    corners, label = (x, y, x + width, y + height), classes.index(name) + 1
                    own.append(Row(corners, label, self.file, None, f"{place} ({name})"))
        return rows

    def records(
        self, images: Mapping[str, _Image], rows: Mapping[int | str, list[Row] | None], start: str
    ) -> tuple[Annotation, ...]:
        """The images that have no fault, in the order of the file."""
        stems = Counter(PurePosixPath(image.file_name).stem for image in images.values())
        records, taken = [], set()
        for place, image in images.items():
            name = PurePosixPath(image.file_name)
            image_id = name.stem if stems[name.stem] == 1 else name.with_suffix("").as_posix()
            with self.log.catching():
                if image_id in taken:
                    message = f"{place}: {name} is a second image named {image_id}"
                    raise error("two-images", message, self.file, fix="rename one of them")
                taken.add(image_id)
                path = _join(start, image.file_name)
                size = self._measure(image, path, place)
                if (own := rows[image.id]) is None:
                    continue
                if not own:
                    message = f"{place}: {name} has no box: a background image"
                    self.log.add("note", "no-box", message, self.file)
                found = boxes_within(own, *size, self.log)
                records.append(Annotation(image_id, path, *found, image.occlusion_level, *size))
        return tuple(records)

    def _measure(self, image: _Image, path: str, place: str) -> tuple[int, int]:
        size = image_size(self.folder.file(path, self.file), path)
        claimed = (image.width or size[0], image.height or size[1])
        if claimed != size:
            sizes = f"{size[0]} x {size[1]} pixels, not {claimed[0]} x {claimed[1]}"
            fix = "restore the image that the boxes were drawn on"
            raise error("size-differs", f"{place}: {path} has {sizes}", self.file, fix=fix)
        return size
