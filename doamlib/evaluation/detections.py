"""Boxes of a whole test set as flat, checked arrays: what was there, and what was detected.

One row is one box; ``image_index`` says whose. Flat arrays are what the evaluation computes on, and
a whole test set of them is one small file. Nothing here knows a network.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from doamlib.core.files import npz_bytes


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """The annotated items of a set of images, background images included.

    Attributes:
        image_index: int (M,), position of the item's image in the set, 0 to ``image_count - 1``.
        label: int (M,), 1 to the number of classes (0 is the background and holds no box).
        boxes: float (M, 4), x1, y1, x2, y2 in pixels, x2 >= x1 and y2 >= y1.
        image_count: number of images, those without an item counted.

    Raises:
        ValueError: lengths differ, a box is not finite or turned inside out, a label is below 1, or
            an image index lies outside the set.
    """

    image_index: NDArray[np.integer]
    label: NDArray[np.integer]
    boxes: NDArray[np.floating]
    image_count: int

    def __post_init__(self) -> None:
        _check_boxes(self.image_index, self.label, self.boxes)
        check_images(self.image_index, self.image_count)

    def __len__(self) -> int:
        return len(self.label)

    @classmethod
    def from_images(cls, images: Iterable[tuple[ArrayLike, ArrayLike]]) -> GroundTruth:
        """From one ``(labels, boxes)`` for each image of the set, in order."""
        tables = [np.column_stack([labels, _rows(boxes, 4)]) for labels, boxes in images]
        index, table = _stack(tables, 5)
        return cls(index, table[:, 0].astype(np.int64), table[:, 1:], len(tables))


@dataclass(frozen=True, eq=False)
class Detections:
    """The detections of a set of images.

    Attributes:
        image_index: int (N,), position of the image in the set.
        label: int (N,), 1 to the number of classes.
        score: float (N,), larger is more certain.
        boxes: float (N, 4), x1, y1, x2, y2 in pixels, x2 >= x1 and y2 >= y1.

    Raises:
        ValueError: as for `GroundTruth`, or a score is not finite.
    """

    image_index: NDArray[np.integer]
    label: NDArray[np.integer]
    score: NDArray[np.floating]
    boxes: NDArray[np.floating]

    def __post_init__(self) -> None:
        _check_boxes(self.image_index, self.label, self.boxes)
        if self.score.shape != self.label.shape:
            raise ValueError(f"{len(self.label)} labels but scores of shape {self.score.shape}")
        _refuse_rows(~np.isfinite(self.score), "score is not finite", self.image_index)

    def __len__(self) -> int:
        return len(self.label)

    @classmethod
    def from_images(cls, images: Iterable[tuple[ArrayLike, ArrayLike, ArrayLike]]) -> Detections:
        """From one ``(labels, scores, boxes)`` for each image of the set, in order.

        CPU tensors are fine: everything passes through `numpy.asarray`.
        """
        index, table = _stack(
            [np.column_stack([*two, _rows(boxes, 4)]) for *two, boxes in images], 6
        )
        numbers = table[:, 1:].astype(np.float32)
        return cls(index, table[:, 0].astype(np.int64), numbers[:, 0], numbers[:, 1:])

    def select(self, rows: NDArray[Any]) -> Detections:
        """Only these rows (a mask or indices)."""
        return Detections(
            self.image_index[rows], self.label[rows], self.score[rows], self.boxes[rows]
        )

    def strongest(self, count: int) -> Detections:
        """At most ``count`` detections of each image, those of largest score, in stored order."""
        order = np.lexsort((-self.score, self.image_index))
        index = self.image_index[order]
        rank = np.arange(len(index)) - np.searchsorted(index, index, side="left")
        return self.select(np.sort(order[rank < count]))

    def as_coco(self) -> list[dict[str, Any]]:
        """COCO's format of results: ids from 1 in the order of the set, boxes x, y, width, height.

        Image and category ids are those that :func:`doamlib.data.coco.write_coco` gives.
        """
        boxes = self.boxes.astype(np.float64)
        boxes[:, 2:] -= boxes[:, :2]
        columns = (self.image_index + 1, self.label, boxes, self.score.astype(np.float64))
        keys = ("image_id", "category_id", "bbox", "score")
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return [dict(zip(keys, row, strict=True)) for row in rows]

    def as_bytes(self) -> bytes:
        """A compressed ``.npz`` without pickle.

        Boxes become 16-bit integers between the smallest and the largest coordinate: on a frame of
        1225 pixels an error of 0.01 pixel at most. Scores stay float32, because rounding them would
        tie detections that differ. The same detections give the same bytes.
        """
        low = float(self.boxes.min(initial=0.0))
        step = (float(self.boxes.max(initial=0.0)) - low) / 65535 or 1.0
        return npz_bytes(
            image_index=self.image_index.astype(np.uint32),
            label=self.label.astype(np.min_scalar_type(self.label.max(initial=0))),
            score=self.score.astype(np.float32),
            boxes=np.round((self.boxes.astype(np.float64) - low) / step).astype(np.uint16),
            box_scale=np.array([low, step]),
        )

    @classmethod
    def load(cls, path: str | Path | IO[bytes]) -> Detections:
        """Read what `as_bytes` gave; boxes come back as float32 pixels.

        Raises:
            ValueError: the file is not a detections file.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                low, step = stored["box_scale"]
                return cls(
                    stored["image_index"].astype(np.int64),
                    stored["label"].astype(np.int64),
                    stored["score"],
                    (low + step * stored["boxes"]).astype(np.float32),
                )
        except (KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is not a detections file: {error}") from error


Record = Sequence[float]
"""``[class, x1, y1, x2, y2]`` of an item or ``[class, score, x1, y1, x2, y2]`` of a detection."""


def from_records(
    ground_truth: Mapping[str, Sequence[Record]],
    detections: Mapping[str, Sequence[Record]],
    class_count: int,
) -> tuple[GroundTruth, Detections]:
    """Flat arrays from lists by image name, where class 0 is the first class (label 1).

    Args:
        ground_truth: every image of the set; an empty list is a background image.
        detections: images may be left out, which means no detection.
        class_count: number of classes.

    Raises:
        ValueError: an image without ground truth entry, a class that does not exist, or a record of
            the wrong length; the message names the image.
    """
    if unknown := sorted(set(detections) - set(ground_truth)):
        raise ValueError(
            f"detections for image {unknown[0]!r}, which the ground truth does not list "
            f"({len(unknown)} such images); list background images with an empty list"
        )

    def flat(records: Mapping[str, Sequence[Record]], width: int) -> tuple[NDArray, NDArray]:
        for image, rows in records.items():
            for row in rows:
                if len(row) != width or row[0] not in range(class_count):
                    raise ValueError(
                        f"image {image!r}: {list(row)} is not {width} numbers that start with a "
                        f"class from 0 to {class_count - 1}"
                    )
        return _stack([_rows(records.get(image, ()), width) for image in ground_truth], width)

    image, item = flat(ground_truth, 5)
    truth = GroundTruth(image, item[:, 0].astype(int) + 1, item[:, 1:], len(ground_truth))
    image, found = flat(detections, 6)
    return truth, Detections(image, found[:, 0].astype(int) + 1, found[:, 1], found[:, 2:])


def check_images(image_index: NDArray[np.integer], image_count: int) -> None:
    """Refuse boxes on images that are not in the set.

    Raises:
        ValueError: an index is not in 0 to ``image_count - 1``.
    """
    if image_index.size and not 0 <= image_index.min() <= image_index.max() < image_count:
        raise ValueError(
            f"image_index runs from {image_index.min()} to {image_index.max()}, "
            f"but the set has {image_count} images"
        )


def _rows(values: ArrayLike, width: int) -> NDArray[np.float64]:
    """A table of ``width`` columns, also from an empty list."""
    return np.asarray(values, np.float64).reshape(-1, width)


def _stack(tables: list[NDArray], width: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The image of each row, and the rows of all images' tables below each other."""
    index = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    return index, np.concatenate([np.empty((0, width)), *tables])


def _check_boxes(image_index: NDArray, label: NDArray, boxes: NDArray) -> None:
    shapes = image_index.shape, label.shape, boxes.shape
    if label.ndim != 1 or shapes != ((len(label),), (len(label),), (len(label), 4)):
        raise ValueError(
            f"image_index, label and boxes have shapes {shapes}; expected (N,), (N,), (N, 4)"
        )
    if not all(np.issubdtype(array.dtype, np.integer) for array in (image_index, label)):
        raise ValueError(f"image_index and label must be int, not {image_index.dtype, label.dtype}")
    _refuse_rows(label < 1, "label is below 1", image_index)
    _refuse_rows(~np.isfinite(boxes).all(axis=1), "box is not finite", image_index)
    _refuse_rows(
        (boxes[:, 2:] < boxes[:, :2]).any(axis=1), "box has x2 < x1 or y2 < y1", image_index
    )


def _refuse_rows(faulty: NDArray[np.bool_], what: str, image_index: NDArray) -> None:
    if faulty.any():
        row = int(np.flatnonzero(faulty)[0])
        raise ValueError(
            f"row {row} (image_index {image_index[row]}): {what}; {faulty.sum()} such rows"
        )
