"""The form of what an archive holds: names, types and ranges of every file, whoever wrote it.

:func:`read_archive_file` gives a contributed archive as this form promises it: every file known,
every number finite and within its range. Whether they agree with each other is asked by
:mod:`doamlib.claims.verify.history` and :mod:`doamlib.claims.verify.scores`. A default stands for a
value that may be left out; nobody reads it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, ValidationError

from doamlib.claims.verify.safe_zip import (
    ArchiveError,
    ArrayForm,
    Limits,
    parse_arrays,
    parse_json,
    printable,
    read_file,
    unpack,
)
from doamlib.core.config import Record
from doamlib.training import EXPLODED

MEMBER = re.compile(
    r"runs\.json|[0-9a-f]{16}/(identity|metrics|provenance|history|kept)\.json"
    r"|[0-9a-f]{16}/(detections|maps)\.npz|test_sets/[0-9a-f]{16}\.npz"
)

UNPACKED = Limits(members=1000, member=16 * 2**20, total=128 * 2**20)

LARGEST_TEST_SET = 16_000
"""Items, and images times classes: what is computed from them stays below a GiB."""

ITEMS_ON_AN_IMAGE = 100

Share = Annotated[float, Field(ge=0, le=1)]
Loss = Annotated[float, Field(ge=0, le=EXPLODED)]
Key = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Line = Annotated[str, Field(pattern=r"^[ -~]*$", max_length=200)]
"""Printable ASCII: it is shown in a terminal."""


class Run(Record):
    """A run of ``runs.json``."""

    key: Key
    arm: Line
    seed: NonNegativeInt


class Index(Record):
    """``runs.json``: parameters and the runs that they were made for."""

    parameters: dict[str, Any]
    runs: list[Run] = Field(min_length=1)


class Identity(Record):
    """``identity.json``; the configuration itself is validated by ``Result.config``."""

    config: dict[str, Any]
    fingerprint: Key
    results_version: NonNegativeInt


class Curve(Record):
    """mAP by occlusion."""

    median: list[Share]
    mAP: list[Share]


class Table(Record):
    """AP by class, by level and by occlusion: also all of ``kept.json``."""

    AP: dict[str, Share]
    AP_11_point: dict[str, Share]
    levels: dict[str, dict[str, Share]]
    by_occlusion: Curve
    COCO: dict[str, Share]
    images: PositiveInt
    items: PositiveInt
    detections: NonNegativeInt


class Mean(Record):
    """Of a map's score, with its interval; None stands for NaN."""

    mean: float | None
    low: float | None
    high: float | None
    images: NonNegativeInt


class Draws(Record):
    """What maps of randomised networks score, an entry a draw."""

    correlation: list[float | None]
    lift_box: list[float | None]
    lift_silhouette: list[float | None]


class Randomised(Record):
    """Means over the draws."""

    correlation: float | None
    lift_box: float | None
    lift_silhouette: float | None
    draws: Draws
    images: NonNegativeInt


class Maps(Record):
    """A kind of map, summed up."""

    blank: Share
    lift_box: Mean
    lift_silhouette: Mean
    pointing: Mean
    cover: Mean
    evenness: Mean
    random: dict[Literal["doam", "late", "all"], Randomised] = Field({})


class Metrics(Table):
    """``metrics.json``."""

    train_images: PositiveInt
    pool: dict[Literal["pooled_occlusion", "epoch_occlusion", "most_occluded"], Share]
    attention: dict[str, float]
    maps: dict[Literal["attention", "gradcam", "edges", "darkness"], Maps] = Field({})


class Hardware(Record):
    """Of the machine."""

    cpu: Line
    cores: PositiveInt
    threads: PositiveInt
    memory_gib: float = Field(gt=0)
    device: Line


class StartingWeights(Record):
    """Random, or a warm start's."""

    origin: Line = Field(alias="from")
    sha256: str = Field("0" * 64, pattern=r"^[0-9a-f]{64}$")
    left_as_initialised: list[Line] = Field([])


class Provenance(Record):
    """``provenance.json``."""

    commit: str = Field(pattern=r"^([0-9a-f]{7,64}|unknown)$")
    dirty: bool | None
    packages: dict[Line, Line] = Field(min_length=1)
    python: Line
    hardware: Hardware
    started: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$")
    seed: NonNegativeInt
    runs_at_once: PositiveInt
    starting_weights: StartingWeights
    precision: Literal["float32", "bfloat16"]
    training_seconds: NonNegativeFloat
    evaluation_seconds: NonNegativeFloat
    maps_seconds: NonNegativeFloat


class Epoch(Record):
    """Of the history."""

    loss: Loss
    steps: PositiveInt
    retrained: NonNegativeInt
    seconds: NonNegativeFloat
    waited: NonNegativeFloat
    images_per_second: NonNegativeFloat
    test_mAP: Share = 0.0
    attention_mean: Share = 0.0
    attention_sd: Share = 0.0
    saturated: Share = 0.0
    gamma: float = 0.0


class Pooled(Record):
    """A batch or an image in the pool."""

    indices: list[NonNegativeInt] = Field(min_length=1)
    loss: Loss
    epoch: NonNegativeInt
    priority: float


class Retraining(Record):
    """A pool as it was trained on."""

    epoch: NonNegativeInt
    threshold: float | None
    retrained: NonNegativeInt
    batches: list[Pooled]


class Past(Record):
    """``history.json``."""

    loss: list[Loss]
    learning_rate: list[NonNegativeFloat]
    retrained: list[bool]
    epochs: list[Epoch] = Field(min_length=1)
    pool: list[Retraining]


FORMS: dict[str, type[Record]] = {
    "runs.json": Index,
    "identity.json": Identity,
    "metrics.json": Metrics,
    "kept.json": Table,
    "provenance.json": Provenance,
    "history.json": Past,
}

DETECTIONS: ArrayForm = {
    **dict.fromkeys(("image_index", "label"), ("u", 1)),
    **dict.fromkeys(("score", "box_scale"), ("f", 1)),
    "boxes": ("u", 2),
}
TEST_SET: ArrayForm = {
    **dict.fromkeys(("classes", "image_ids"), ("U", 1)),
    **dict.fromkeys(("levels", "image_index", "label"), ("i", 1)),
    **{"sizes": ("i", 2), "boxes": ("f", 2), "occlusion": ("f", 1)},
}


def read_archive_file(path: Path, largest: int) -> dict[str, bytes]:
    """An archive's files, name -> content, all of the right form.

    Args:
        path: a contributed archive; nothing of it is trusted.
        largest: bytes that it may have.

    Raises:
        doamlib.claims.verify.safe_zip.ArchiveError: see there; or a value has the wrong type or
            range.
    """
    files = unpack(read_file(path, largest), path.name, MEMBER, UNPACKED)
    for name, content in files.items():
        place, kind = f"{path.name}: {name}", name.rsplit("/", 1)[-1]
        if form := FORMS.get(kind):
            _validated(parse_json(content, place), form, place)
        elif kind == "maps.npz":
            parse_arrays(content, place, {"images": ("i", 1)}, MAPS)
        else:
            in_test_set = name.startswith("test_sets/")
            arrays = parse_arrays(content, place, TEST_SET if in_test_set else DETECTIONS)
            (_check_test_set if in_test_set else _check_detections)(arrays, place)
    if "runs.json" not in files:
        raise ArchiveError(f"{path.name}: runs.json", "is missing", "pack the runs again")
    return files


def _maps() -> ArrayForm:
    kinds = ("attention", "gradcam", "edges", "darkness")
    scores = ("lift_box", "lift_silhouette", "pointing", "cover", "evenness")
    form: dict[str, tuple[str, int]] = {"examples": ("i", 1)}
    for kind in kinds:
        form |= {f"{kind}_{score}": ("f", 1) for score in scores}
        form |= {f"{kind}_blank": ("b", 1), f"{kind}_examples": ("u", 3)}
    return form


MAPS = _maps()
"""Arrays that :func:`doamlib.evaluation.map_scores.map_scores` returns, beside ``images``."""


def _validated(value: Any, form: type[Record], place: str) -> None:
    try:
        form.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        found = f"{where} = {printable(repr(first['input']), 80)}"
        raise ArchiveError(place, found, first["msg"]) from None


def _check_test_set(arrays: dict[str, NDArray], place: str) -> None:
    images, items = len(arrays["image_ids"]), len(arrays["label"])
    shapes = {"sizes": (images, 2), "levels": (images,), "occlusion": (items,)}
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise ArchiveError(f"{place}: {name}", f"shape {arrays[name].shape}", f"it is {shape}")
    cells = images * len(arrays["classes"])
    found = f"{images:,} images of {len(arrays['classes'])} classes, {items:,} items"
    if not items or len(np.unique(arrays["image_ids"])) < images:
        raise ArchiveError(place, found, "at least one item, and every image once")
    if max(cells, items) > LARGEST_TEST_SET:
        right = f"items, and images times classes, are at most {LARGEST_TEST_SET:,}"
        raise ArchiveError(place, found, right)
    _check_range(arrays["image_index"], 0, images - 1, f"{place}: image_index")
    if (most := int(np.bincount(arrays["image_index"]).max())) > ITEMS_ON_AN_IMAGE:
        raise ArchiveError(place, f"{most} items on one image", f"at most {ITEMS_ON_AN_IMAGE}")
    _check_range(arrays["levels"], 0, 3, f"{place}: levels")
    _check_range(arrays["sizes"], 1, 100_000, f"{place}: sizes")
    _check_range(arrays["label"], 1, len(arrays["classes"]), f"{place}: label")
    known = arrays["occlusion"][~np.isnan(arrays["occlusion"])]
    _check_range(known, 0, 1, f"{place}: occlusion")


def _check_detections(arrays: dict[str, NDArray], place: str) -> None:
    if arrays["box_scale"].shape != (2,):
        shape = arrays["box_scale"].shape
        raise ArchiveError(f"{place}: box_scale", f"shape {shape}", "it is (2,): offset and step")
    _check_range(arrays["score"], 0, 1, f"{place}: score")
    _check_range(arrays["box_scale"], -1e6, 1e6, f"{place}: box_scale")


def _check_range(values: NDArray, low: float, high: float, place: str) -> None:
    wrong = values[~((values >= low) & (values <= high))]
    if wrong.size:
        raise ArchiveError(place, f"{wrong[0]}", f"numbers run from {low:g} to {high:g}")
