"""What the detections of a run look like, chosen by a rule and not by eye."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from matplotlib.axes import Axes

from doamlib.book import plots
from doamlib.data.dataset import Dataset
from doamlib.evaluation.detections import Detections, GroundTruth
from doamlib.evaluation.matching import iou
from doamlib.evaluation.test_set import TestSet
from doamlib.experiments.results import Runs

IOU = 0.5
"""Above it a box hits its item (:func:`doamlib.evaluation.matching.match`)."""


LOOKED_AT = 50
"""Images of which :func:`example` looks for one in colour."""


def example(dataset: Dataset) -> int:
    """The position of the image that a page takes apart, as its text says.

    The first whose item lies under others (OL2 or OL3), of data without levels the first that
    holds an item; one in colour if there is one among the first :data:`LOOKED_AT` of these.
    """
    holds = [i for i, record in enumerate(dataset.records) if len(record.labels)]
    covered = [i for i in holds if (dataset.records[i].level or 0) >= 2]
    wanted = covered or holds or [0]
    coloured = (
        i for i in islice(wanted, LOOKED_AT) if np.ptp(np.asarray(dataset[i].image), axis=0).any()
    )
    return next(coloured, wanted[0])


@dataclass(frozen=True)
class Sample:
    """One detection or item that was chosen to be shown.

    Attributes:
        image: position in the test set.
        label: class of the detection or of the missed item, from 1.
        box: x1, y1, x2, y2 in pixels.
        score: of the detection; None for a missed item.
        truth: of a wrong detection, what is there; a box may look right and have the wrong class.
    """

    image: int
    label: int
    box: tuple[float, float, float, float]
    score: float | None = None
    truth: str = ""


def choose_samples(test: TestSet, detections: Detections) -> dict[str, Sample]:
    """What to show of a run, by a rule and not by eye.

    Kept are as many detections as the test set has items, those of highest score. *Right* is the
    kept hit of highest score; *wrong* the kept detection of highest score that is no hit (a second
    box on an item included); *missed* the item without a kept hit whose occlusion O is lowest, or,
    where O is not known, the first one of the lowest level. Ties go to the first in stored order.

    Returns:
        right, wrong and missed -> sample; a kind that does not occur has no entry.
    """
    ranked = detections.select(np.argsort(-detections.score, kind="stable"))
    matches = test.match(ranked)
    kept = np.arange(len(ranked)) < len(test.truth)
    chosen = {}
    for kind, rows in (("right", kept & matches.hit), ("wrong", kept & ~matches.hit)):
        if rows.any():
            row = np.flatnonzero(rows)[0]
            chosen[kind] = _sample(ranked, row, float(ranked.score[row]))
    if "wrong" in chosen:
        chosen["wrong"] = replace(chosen["wrong"], truth=_truth(test, chosen["wrong"]))
    missed = np.setdiff1d(np.arange(len(test.truth)), matches.item[kept & matches.hit])
    if len(missed):
        known = np.isfinite(test.occlusion).all()
        hardness = test.occlusion if known else test.levels[test.truth.image_index]
        chosen["missed"] = _sample(test.truth, missed[np.argmin(hardness[missed])])
    return chosen


def _sample(rows: Detections | GroundTruth, row: int, score: float | None = None) -> Sample:
    image, label = int(rows.image_index[row]), int(rows.label[row])
    return Sample(image, label, tuple(rows.boxes[row].tolist()), score)


def _truth(test: TestSet, wrong: Sample) -> str:
    """What a wrong detection was drawn on: the item of its image that it overlaps most."""
    items = np.flatnonzero(test.truth.image_index == wrong.image)
    overlaps = iou(np.tile(wrong.box, (len(items), 1)), test.truth.boxes[items])
    if not overlaps.any():
        return "no item there"
    label, overlap = test.truth.label[items[overlaps.argmax()]], overlaps.max()
    if overlap <= IOU:
        return f"{_name(test, label)} by IoU {overlap:.2f}"
    return "item found before" if label == wrong.label else f"truth: {_name(test, label)}"


def _name(test: TestSet, label: int) -> str:
    return test.classes[label - 1].replace("_", " ")


def sample_detections(dataset: Dataset, runs: Runs) -> None:
    """Draw what :func:`choose_samples` chooses: a row a run, right, wrong and missed.

    Args:
        dataset: the test images that the runs were evaluated on.
        runs: to show; annotated items are dashed, what was chosen is red. Without any, one line
            says so.
    """
    if not runs:
        print("This profile trains none of these arms.")
        return
    with plots.panels(3, len(runs), aspect=0.78) as axes:
        for row, ((arm, _), result) in enumerate(runs.items()):
            test = result.test_set()
            chosen = choose_samples(test, result.detections())
            for axis, kind in zip(axes[3 * row :], ("right", "wrong", "missed"), strict=False):
                axis.set_title(f"{arm}: {kind}" if kind in chosen else f"{arm}: none {kind}")
                if kind in chosen:
                    _draw(axis, dataset, test, chosen[kind])


def _draw(axis: Axes, dataset: Dataset, test: TestSet, sample: Sample) -> None:
    axis.imshow(np.moveaxis(np.asarray(dataset[sample.image].image), 0, -1))
    others = test.truth.image_index == sample.image
    plots.boxes(axis, test.truth.boxes[others], colour=plots.INK, line="--")
    score = "" if sample.score is None else f" {sample.score:.2f}"
    name = "\n".join(filter(None, (_name(test, sample.label) + score, sample.truth)))
    plots.boxes(axis, [sample.box], [name])
