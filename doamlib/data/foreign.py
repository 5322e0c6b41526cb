"""Pascal VOC XML, YOLO text and LabelMe JSON, read with globox, as records of our own.

The files' syntax is globox's business; here is where the images lie, which split an image is in,
and what our records do not keep.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import globox
import yaml

from doamlib.core.report import message_of, one_line
from doamlib.data.faults import DataError, FaultLog, error
from doamlib.data.folder import Folder, unfit_path
from doamlib.data.images import image_size
from doamlib.data.layouts import SPLITS, files_of, is_image, kind_of, split_of
from doamlib.data.sample import Annotation, Row, boxes_within

FLAGS = ("difficult", "truncated", "occluded", "pose")
"""What VOC's objects say besides their box."""

PARTS = ("attribute", "part", "polygon")
"""What they may hold besides it: CVAT's attributes, VOC's own parts, Roboflow's outlines."""

BROKEN = (
    *(globox.errors.ParsingError, yaml.YAMLError, ArithmeticError, AssertionError, AttributeError),
    *(LookupError, OSError, RecursionError, TypeError, ValueError),
)
"""What globox and PyYAML raise on a file that is not what it should be."""

YOLO_LISTS = ("classes.txt", "obj.names", "predefined_classes.txt")


@dataclass
class Losses:
    """What was lost or changed on the way: how many of each kind, and an example."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, example: str, count: int = 1) -> None:
        """Count a loss; the first example of a kind is kept."""
        if count:
            self.counts[kind] += count
            self.examples.setdefault(kind, example)

    def lines(self) -> list[str]:
        """One line a kind."""
        lines = (f"{n:,} {kind}, e.g. {self.examples[kind]}" for kind, n in self.counts.items())
        return [one_line(line) for line in lines]


@dataclass(frozen=True)
class Found:
    """An image with its boxes by class name, before classes have labels.

    Attributes:
        path: of the image, relative to the source.
        split: train, val or test; None where nothing tells.
        boxes: class name, x1, y1, x2, y2 in pixels.
        file: the annotation file.
    """

    path: str
    split: str | None
    boxes: tuple[tuple[str, float, float, float, float], ...]
    file: str


class Source:
    """A folder of annotation files, one an image.

    Attributes:
        losses: what reading lost so far.

    Raises:
        DataError: an image has a name that COCO JSON could not tell.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder, self.losses = folder, Losses()
        self.files = files_of(folder)
        self.images: dict[str, list[str]] = defaultdict(list)
        for path in filter(is_image, self.files):
            why = unfit_path(path) or ("\\" in path and f"{path!r:.200} has a backslash")
            if why:
                fix = "rename it; names in a zip may need another encoding: unzip -O GBK"
                raise error("bad-path", why, path, fix=fix)
            self.images[PurePosixPath(path).stem].append(path)

    def of_kind(self, suffix: str) -> list[str]:
        """The files of this suffix, in any case."""
        return [path for path in self.files if path.lower().endswith(suffix)]

    def image_of(self, file: str, said: str = "") -> str | None:
        """The image of an annotation file: named in it or alike by stem, the nearest of several."""
        stems = (PurePosixPath(said.replace("\\", "/")).stem, PurePosixPath(file).stem)
        for stem in stems:
            if own := self.images.get(stem):
                return min(own, key=lambda path: _distance(file, path))
        self.losses.add("annotation files without their image", file)
        return None

    def parse(self, read: Callable[[Path], globox.Annotation], file: str) -> tuple | None:
        """What globox makes of a file: name of its image and boxes; None where it is broken."""
        try:
            parsed = read(self.folder.file(file))
        except BROKEN as broken:
            example = f"{file} ({message_of(broken)[:80]})"
            self.losses.add("annotation files that cannot be read", example)
            return None
        return parsed.image_id, tuple((box.label, *box.ltrb) for box in parsed.boxes)


def _distance(file: str, path: str) -> tuple[bool, bool, int]:
    """Of several images of one stem: the same split first, then the folders in common."""
    one, other = PurePosixPath(file).parent.parts, PurePosixPath(path).parent.parts
    common = sum(a == b for a, b in zip(one, other, strict=False))
    return split_of(path) != split_of(file), one != other, -common


def read_voc(source: Source) -> Iterator[Found]:
    """Pascal VOC: an XML file an image; ``ImageSets/Main`` tells the splits where it is there.

    Corners are kept as they stand: the format counts pixels from 1, tools differ, and no file says
    which it is.
    """
    listed = _voc_lists(source)
    for file in source.of_kind(".xml"):
        parsed = source.parse(globox.Annotation.from_pascal_voc, file)
        if parsed is None:
            continue
        image = source.image_of(file, parsed[0])
        if image is not None:
            _count_flags(source, file)
            stem = PurePosixPath(file).stem
            split = listed.get(stem) or split_of(file) or split_of(image)
            yield Found(image, split, parsed[1], file)


def _voc_lists(source: Source) -> dict[str, str]:
    """Stem -> split, from ``train.txt``, ``val.txt`` and ``test.txt`` of VOC's image sets.

    Where there is no list for training, ``trainval.txt`` is one. A line is a stem, perhaps with
    folders before it and spaces in it, and may end in a number: whether a class is there.
    """
    lists, stems = {}, {PurePosixPath(file).stem for file in source.of_kind(".xml")}
    for file in source.of_kind(".txt"):
        path = PurePosixPath(file)
        if path.stem in (*SPLITS, "trainval") and "ImageSets" in path.parts:
            names = [_stem_of(text, stems) for _, text in source.folder.lines(file)]
            lists.setdefault(path.stem, []).extend(names)
    both = lists.pop("trainval", [])
    lists.setdefault("train", both)
    return {name: split for split in sorted(lists, key="train".__ne__) for name in lists[split]}


def _stem_of(line: str, stems: set[str]) -> str:
    for part in (line, re.sub(r"\s+\S+$", "", line)):
        if (name := PurePosixPath(part).name) in stems:
            return name
    return line


def _count_flags(source: Source, file: str) -> None:
    text = source.folder.text(file)
    for flag in FLAGS:
        set_ = re.findall(rf"<{flag}>\s*(?!0\s*<|Unspecified\s*<|<)[^<]+<", text, re.IGNORECASE)
        source.losses.add(f"flags {flag!r} are not kept", file, len(set_))
    for part in PARTS:
        source.losses.add(f"entries {part!r} are not kept", file, text.count(f"<{part}>"))


def read_yolo(source: Source) -> Iterator[Found]:
    """YOLO: a text file an image; an image beside them without one is a background."""
    files = [f for f in source.of_kind(".txt") if kind_of(source.folder, f)]
    files = [f for f in files if PurePosixPath(f).name not in YOLO_LISTS]
    settings = _yolo_settings(source) if files else {}
    names, taken = _yolo_names(source, settings) if files else {}, set()
    for file in files:
        image = source.image_of(file)
        if image is None:
            continue
        taken.add(image)
        boxes = tuple(_yolo_boxes(source, file, image, names, "kpt_shape" in settings))
        yield Found(image, split_of(file) or split_of(image), boxes, file)
    if taken:  # else it was a README in a folder named labels
        for image in filter(is_image, source.files):
            if image not in taken:
                source.losses.add("images without a text file became backgrounds", image)
                yield Found(image, split_of(image), (), image)


def _yolo_boxes(
    source: Source, file: str, image: str, names: dict[str, str], pose: bool
) -> Iterator[tuple[str, float, float, float, float]]:
    """A line a box: number, centre and sides as shares of the image; or a polygon's corners.

    Of a ``pose`` key points follow the box: only the settings tell them from corners.
    """
    try:
        size = image_size(source.folder.file(image), image)
    except DataError:
        return  # said when the image itself is read
    for line, text in source.folder.lines(file):
        words = text.split()
        if pose and len(words) > 5:
            source.losses.add("key points are not kept", f"{file}:{line}")
            words = words[:5]
        text, polygon = " ".join(words), len(words) > 6
        read = globox.BoundingBox.from_yolo_seg if polygon else globox.BoundingBox.from_yolo_v5
        try:
            box = read(text, image_size=size)
        except BROKEN as broken:
            source.losses.add("lines that cannot be read", f"{file}:{line} ({broken})")
            continue
        if polygon:
            source.losses.add("polygons became boxes around them", f"{file}:{line}")
        if box.confidence is not None:
            source.losses.add("confidences are not kept", f"{file}:{line}")
        yield names.get(box.label, box.label), *box.ltrb


def _yolo_settings(source: Source) -> dict[str, Any]:
    """What the first YAML file with class names or key points says; empty where there is none."""
    for file in (*source.of_kind(".yaml"), *source.of_kind(".yml")):
        try:
            content = yaml.safe_load(source.folder.text(file))
        except BROKEN:
            source.losses.add("YAML files that cannot be read", file)
            continue
        if isinstance(content, dict) and ({"names", "kpt_shape"} & content.keys()):
            return content
    return {}


def _yolo_names(source: Source, settings: dict[str, Any]) -> dict[str, str]:
    """Number as text -> name, from ``data.yaml`` or a list of names; empty where there is none."""
    names = settings.get("names")
    numbered = dict(enumerate(names)) if isinstance(names, list) else names
    if isinstance(numbered, dict):
        return {str(number): str(name) for number, name in numbered.items()}
    for file in source.of_kind(".txt") + source.of_kind(".names"):
        if PurePosixPath(file).name in YOLO_LISTS or file.endswith(".names"):
            return {str(line - 1): name for line, name in source.folder.lines(file)}
    source.losses.add("lists of class names are missing: classes are called by their number", ".")
    return {}


def read_labelme(source: Source) -> Iterator[Found]:
    """LabelMe's own files: a JSON file an image; polygons become the boxes around them."""
    for file in source.of_kind(".json"):
        if '"shapes"' not in source.folder.text(file):
            continue
        parsed = source.parse(lambda p: globox.Annotation.from_labelme(p, include_poly=True), file)
        if parsed is None:
            continue
        _count_shapes(source, file)
        if (image := source.image_of(file, parsed[0])) is not None:
            yield Found(image, split_of(file) or split_of(image), parsed[1], file)


def _count_shapes(source: Source, file: str) -> None:
    """What a LabelMe file that was parsed draws otherwise than as a rectangle."""
    for shape in json.loads(source.folder.text(file))["shapes"]:
        if (kind := shape["shape_type"]) == "polygon":
            source.losses.add("polygons became boxes around them", file)
        elif kind != "rectangle":
            example = f"{file} ({shape.get('label')!r:.40} is a {kind!s:.40})"
            source.losses.add("shapes other than rectangles and polygons are left out", example)


def as_records(
    found: list[Found], classes: tuple[str, ...], names: dict[str, str], source: Source
) -> list[tuple[str | None, Annotation]]:
    """Split and record of each image, boxes clipped to it; what is lost is counted.

    Args:
        found: images with boxes by name.
        classes: in label order.
        names: name in the files -> class; ``""`` leaves a class out.
        source: where the images lie, and the losses.
    """
    records, log = [], FaultLog()
    for item in found:
        try:
            size = image_size(source.folder.file(item.path), item.path)
        except DataError as refused:
            source.losses.add(f"images that cannot be used ({refused.fault.code})", str(refused))
            continue
        rows = []
        for name, *corners in item.boxes:
            if ours := names.get(name, name):
                rows.append(Row(tuple(corners), classes.index(ours) + 1, item.file, None, name))
            else:
                source.losses.add(f"boxes of {name!r}, left out by the mapping", item.file)
        boxes, labels = boxes_within(rows, *size, log)
        name = PurePosixPath(item.path).with_suffix("").as_posix()
        records.append((item.split, Annotation(name, item.path, boxes, labels, None, *size)))
    for code, what in (("box-dropped", "boxes without area"), ("box-clipped", "boxes clipped")):
        faults = [fault for fault in log.faults if fault.code == code]
        source.losses.add(what, faults[0].file if faults else "", len(faults))
    return records
