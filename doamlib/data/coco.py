"""COCO JSON: PIDray, CLCXray, what annotation tools export, and what we export ourselves."""

from __future__ import annotations

import json
import posixpath
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)

from doamlib.core.files import write_text
from doamlib.data.classes import CLASSES, unfit
from doamlib.data.dataset import Dataset
from doamlib.data.faults import DataError, FaultLog, error
from doamlib.data.folder import MAX_ENTRIES, Folder, too_many, unfit_path
from doamlib.data.images import image_size
from doamlib.data.layouts import image_folder, split_files
from doamlib.data.sample import Annotation, Row, boxes_within

BACKGROUNDS = ("_background_", "__background__", "background")
"""Categories that tools list beside the classes (LabelMe's exporter does)."""

SAMPLED = 9
"""File names that decide which folder the images of an annotation file lie in."""

OUTSIDE = 0.1
"""Share of boxes that reach out of their images from which they may be corners."""


def _as_text(value: Any) -> Any:
    if type(value) is int or (type(value) is float and value.is_integer()):
        return str(int(value))
    return value


Id = Annotated[str, BeforeValidator(_as_text)]
"""VIA writes 1 in one list and "1" in the other, pandas 1.0."""


class _Image(BaseModel):
    id: Id
    file_name: str
    width: int | None = None
    height: int | None = None
    occlusion_level: int | None = Field(None, ge=1, le=3)  # ours: COCO knows no such thing

    @field_validator("file_name")
    @classmethod
    def _forward_slashes(cls, name: str) -> str:
        name = name.replace("\\", "/")  # tools on Windows write the other ones
        if why := unfit_path(name):
            raise ValueError(why)
        return name


class _Category(BaseModel):
    id: int
    name: str
    supercategory: str | None = None


class _Box(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False)

    id: Id | None = None
    image_id: Id
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0


Entry = TypeVar("Entry", bound=BaseModel)


def read_coco(
    root: Path | str, split: str, *, names: Mapping[str, str] | None = None, strict: bool = True
) -> Dataset:
    """One split of a dataset in COCO's detection format.

    The annotation file is a JSON file whose path holds the split's name in any case and spelling
    (:mod:`doamlib.data.layouts` tells which), in the layouts of COCO itself, CVAT, Roboflow, Label
    Studio, VIA and LabelMe's exporter. Where there is no test split the validation split takes its
    place, with a warning. PIDray's three test lists become one split with levels 1 (easy), 2 (hard)
    and 3 (hidden).

    Classes are the five of OPIXray where all categories are (or are mapped) among them, else the
    categories' names by their id. A root (Roboflow's, whose name is the others' supercategory) or a
    background category is no class unless it has boxes.

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
        own, files = split_files(folder, split)
        if own != split:
            message = f"there is no test split: {own!r} ({files[0][0]}) is used in its place"
            fix = "tune nothing on it, or its results are too good"
            log.add("warning", "val-as-test", message, files[0][0], fix=fix)
        for file, level in files:
            with log.catching():
                part = read_file(folder, file, names or {}, log, level)
                found = _joined(found, part)
    found = replace(found, faults=tuple(log.faults))
    if strict:
        log.raise_first_error()
    return found


def read_file(
    folder: Folder, file: str, names: Mapping[str, str], log: FaultLog, level: int | None = None
) -> Dataset:
    """The images of one annotation file; its faults go into ``log``.

    Args:
        folder: the root.
        file: below it.
        names: category name -> class name; ``""`` leaves a category out.
        log: gets what is at fault.
        level: the occlusion level of all images, where the file stands for one.

    Raises:
        DataError: nothing in the file can be used.
    """
    content = _Content(folder, file, log)
    if not content.images:
        raise error("empty-list", "names no image", file, fix="export it with its images")
    known = content.categories.values()
    if unknown := set(names) - {category.name for category in known}:
        message = f"class_names has {min(unknown)!r}, which is no category of this file"
        log.add("warning", "unknown-name", message, file, fix="spell it as the file does")
    used = {box.category_id for box in content.boxes.values()}
    classes, class_of = _classes(known, used, names, file)
    files = [image.file_name for image in content.images.values()]
    start = image_folder(folder, file, files[:: max(1, len(files) // SAMPLED)], level)
    rows = content.rows(classes, class_of)
    return Dataset(folder.path, "", classes, content.records(rows, start, level), (file,))


def _joined(found: Dataset, part: Dataset) -> Dataset:
    """Both under the first one's split; an empty one has no say in the classes."""
    if found.sources and part.classes != found.classes:
        message = f"classes {part.classes} differ from {found.classes} in {found.sources[0]}"
        raise error("classes-differ", message, part.sources[0], fix="give both files one list")
    records = (*found.records, *part.records)
    if twice := Counter(r.image_id for r in records) - Counter({r.image_id for r in records}):
        message = f"image {next(iter(twice))!r} is in {found.sources[0]} too"
        raise error("two-images", message, part.sources[0], fix="keep one of them")
    sources = (*found.sources, *part.sources)
    return replace(found, classes=part.classes, records=records, sources=sources)


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
        for (x1, y1, x2, y2), label in record.items():
            bbox = [x1, y1, x2 - x1, y2 - y1]
            box = {"id": len(boxes) + 1, "image_id": number, "category_id": label, "bbox": bbox}
            boxes.append({**box, "iscrowd": 0, "area": bbox[2] * bbox[3]})
    categories = [{"id": i, "name": name} for i, name in enumerate(dataset.classes, start=1)]
    whole = {"images": images, "annotations": boxes, "categories": categories}
    write_text(path, json.dumps(whole, indent=1) + "\n")


def _classes(
    categories: Iterable[_Category], used: set[int], names: Mapping[str, str], file: str
) -> tuple[tuple[str, ...], dict[int, str]]:
    """The classes in label order, and the class of each category id (empty: left out)."""
    by_id = sorted(categories, key=lambda category: category.id)
    roots = {category.supercategory for category in by_id if category.supercategory}
    roots -= {c.name for c in by_id if c.supercategory == c.name}  # its own: no root
    idle = {c.id for c in by_id if c.name in (roots | set(BACKGROUNDS)) and c.id not in used}
    class_of = {c.id: "" if c.id in idle else names.get(c.name, c.name) for c in by_id}
    kept = tuple(dict.fromkeys(name for name in class_of.values() if name))
    for name in kept:
        if why := unfit(name):
            raise error("bad-class", why, file, fix="give it another name with class_names")
    return (CLASSES if set(kept) <= set(CLASSES) else kept), class_of


class _Content:
    """A COCO file, list by list; whatever is at fault goes into the log and is left out."""

    def __init__(self, folder: Folder, file: str, log: FaultLog) -> None:
        self.folder, self.file, self.log = folder, file, log
        try:
            lists = json.loads(folder.text(file))
        except (ValueError, RecursionError) as bad:  # also numbers of 5,000 digits, 1,000 brackets
            if isinstance(bad, DataError):
                raise
            why, line = getattr(bad, "msg", str(bad)), getattr(bad, "lineno", None)
            raise error("bad-json", f"is not JSON ({why})", file, line) from None
        for key in ("categories", "images", "annotations"):
            if not isinstance(lists, dict) or not isinstance(lists.get(key), list):
                raise error("bad-json", f"has no list {key!r}", file, fix="export COCO detection")
            if (count := len(lists[key])) > MAX_ENTRIES:
                raise too_many(count, key, file)
        self.categories = self._entries(_Category, "categories", lists)
        self.images = self._entries(_Image, "images", lists)
        self.boxes = self._entries(_Box, "annotations", lists)

    def _entries(self, kind: type[Entry], key: str, lists: dict[str, list]) -> dict[str, Entry]:
        """Place in the file (``images[3]``) -> entry of this list; no id occurs twice."""
        found: dict[str, Entry] = {}
        ids = set()
        for position, value in enumerate(lists[key]):
            place = f"{key}[{position}]"
            with self.log.catching():
                try:
                    entry = kind.model_validate(value)
                except ValidationError as bad:
                    first = bad.errors()[0]
                    where = ".".join([place, *map(str, first["loc"])])
                    message = f"{where}: {first['msg'].removeprefix('Value error, ')}"
                    raise error("bad-entry", message, self.file) from None
                if entry.id is not None and entry.id in ids:
                    raise error("bad-entry", f"{place}: id {entry.id!r} occurs before", self.file)
                ids.add(entry.id)
                found[place] = entry
        return found

    def rows(
        self, classes: tuple[str, ...], class_of: Mapping[int, str]
    ) -> dict[str, list[Row] | None]:
        """Image id -> its boxes; None if one of them is at fault."""
        rows: dict[str, list[Row] | None] = {image.id: [] for image in self.images.values()}
        for place, box in self.boxes.items():
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
        self, rows: Mapping[str, list[Row] | None], start: str, level: int | None
    ) -> tuple[Annotation, ...]:
        """The images that have no fault, in the order of the file."""
        stems = Counter(PurePosixPath(image.file_name).stem for image in self.images.values())
        records, taken, sized = [], set(), []
        for place, image in self.images.items():
            name = PurePosixPath(image.file_name)
            image_id = name.stem if stems[name.stem] == 1 else name.with_suffix("").as_posix()
            with self.log.catching():
                if image_id in taken:
                    message = f"{place}: {name} is a second image named {image_id}"
                    raise error("two-images", message, self.file, fix="rename one of them")
                taken.add(image_id)
                path = posixpath.normpath(f"{start}/{image.file_name}")
                size = self._measure(image, path, place)
                if (own := rows[image.id]) is None:
                    continue
                if not own:
                    message = f"{place}: {name} has no box: a background image"
                    self.log.add("note", "no-box", message, self.file)
                sized += [(row, *size) for row in own]
                found = boxes_within(own, *size, self.log)
                own_level = level or image.occlusion_level
                records.append(Annotation(image_id, path, *found, own_level, *size))
        self._refuse_corners(sized)
        return tuple(records)

    def _refuse_corners(self, sized: list[tuple[Row, int, int]]) -> None:
        """Boxes that reach outside as x, y, width, height and all fit as x1, y1, x2, y2."""
        outside = fits = 0
        for row, width, height in sized:
            x1, y1, x, y = row.box
            x2, y2 = x - x1, y - y1  # as they stand in the file
            outside += x > width or y > height
            fits += x1 < x2 <= width and y1 < y2 <= height
        if outside > OUTSIDE * len(sized) and fits == len(sized):
            message = f"{outside:,} of {len(sized):,} boxes reach outside, and all fit as corners"
            fix = "bbox is x, y, width, height in pixels, not x1, y1, x2, y2"
            self.log.add("error", "corners", message, self.file, fix=fix)

    def _measure(self, image: _Image, path: str, place: str) -> tuple[int, int]:
        size = image_size(self.folder.file(path, self.file), path)
        claimed = (image.width or size[0], image.height or size[1])
        if claimed != size:
            sizes = f"{size[0]} x {size[1]} pixels, not {claimed[0]} x {claimed[1]}"
            fix = "restore the image that the boxes were drawn on"
            raise error("size-differs", f"{place}: {path} has {sizes}", self.file, fix=fix)
        return size
