"""From a trained detector to detections, and from detections to the numbers of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from doamlib.core.files import npz_bytes
from doamlib.data.cache import CachedDataset
from doamlib.data.dataset import Dataset
from doamlib.data.sidecar import read_sidecar
from doamlib.evaluation.ap import (
    ap_by_level,
    ap_by_occlusion,
    as_mapping,
    average_precisions,
    mean_ap,
)
from doamlib.evaluation.coco import coco_ap
from doamlib.evaluation.detections import Detections, GroundTruth
from doamlib.evaluation.matching import Matches, match

BATCH = 32
"""Images at a time; changes no result beyond rounding."""

GPU_BATCH, GPU_BATCH_SIZE = 128, 150
"""On a GPU: so many images, up to this size in pixels."""

FEWEST_MAPS, MOST_MAPS = 30, 60
"""Images whose maps are drawn: enough for a mean, and the cost of ten draws each stays bounded."""


def explained_images(test_images: int) -> int:
    """On how many of the test images a run's maps are drawn: a tenth within the limits, or all."""
    return min(test_images, max(FEWEST_MAPS, min(MOST_MAPS, test_images // 10)))


@torch.inference_mode()
def detect(detector: nn.Module, dataset: CachedDataset, device: torch.device) -> Detections:
    """Every image's detections, in pixels of its original size.

    Args:
        detector: on ``device``; it is put in evaluation mode.
        dataset: images at the network's input size.
        device: where the detector is.
    """
    return detect_each(detector, dataset, device, {"": nullcontext})[""]


@torch.inference_mode()
def detect_each(
    detector: nn.Module,
    dataset: CachedDataset,
    device: torch.device,
    changes: Mapping[str, Callable[[], AbstractContextManager]],
) -> dict[str, Detections]:
    """What :func:`detect` gives inside of each change, batch by batch, so that they share memory.

    Args:
        detector: on ``device``; it is put in evaluation mode.
        dataset: images at the network's input size.
        device: where the detector is.
        changes: name -> makes something to enter.

    Returns:
        Name -> detections.
    """
    detector.eval()
    small = device.type == "cuda" and dataset.size <= GPU_BATCH_SIZE
    batch = GPU_BATCH if small else BATCH
    found: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {name: [] for name in changes}
    for start in range(0, len(dataset), batch):
        indices = range(start, min(start + batch, len(dataset)))
        images = dataset.batch(indices)[0].to(device)
        for name, change in changes.items():
            with change():
                outputs = detector(images)
            for index, output in zip(indices, outputs, strict=True):
                boxes = dataset.to_original(index, output["boxes"].float().cpu())
                found[name].append((output["labels"].cpu(), output["scores"].float().cpu(), boxes))
    return {name: Detections.from_images(parts) for name, parts in found.items()}


@dataclass(frozen=True, eq=False)
class TestSet:
    """What is known about the test images without their pixels: all that an evaluation needs.

    Attributes:
        classes: names; label ``i`` is ``classes[i - 1]``.
        image_ids: name of each image, in the order that ``truth.image_index`` counts.
        sizes: int (N, 2), width and height of each image in pixels.
        levels: int (N,), occlusion level 1 to 3 of each image, 0 where it has none.
        truth: the annotated items.
        occlusion: float (M,), O of each item where the data are generated, else NaN.
    """

    __test__ = False  # not a test class, whatever pytest makes of the name

    classes: tuple[str, ...]
    image_ids: tuple[str, ...]
    sizes: NDArray[np.int64]
    levels: NDArray[np.int64]
    truth: GroundTruth
    occlusion: NDArray[np.float64]

    @classmethod
    def of(cls, dataset: Dataset) -> TestSet:
        """Read off a dataset's index and, for generated data, its sidecar."""
        records = dataset.records
        truth = GroundTruth.from_images((record.labels, record.boxes) for record in records)
        sidecar = read_sidecar(dataset.root, dataset.split)
        occlusion = [
            item.occlusion for r in records if sidecar for item in sidecar[r.image_id].items
        ]
        return cls(
            dataset.classes,
            dataset.image_ids,
            np.array([(record.width, record.height) for record in records]).reshape(-1, 2),
            np.array([record.level or 0 for record in records], dtype=np.int64),
            truth,
            # Other objects than the sidecar's items (a warm start's) have no O.
            np.array(occlusion) if len(occlusion) == len(truth) else np.full(len(truth), np.nan),
        )

    def as_bytes(self) -> bytes:
        """A compressed ``.npz`` without pickle."""
        return npz_bytes(
            classes=np.array(self.classes),
            image_ids=np.array(self.image_ids),
            sizes=self.sizes,
            levels=self.levels,
            image_index=self.truth.image_index,
            label=self.truth.label,
            boxes=self.truth.boxes,
            occlusion=self.occlusion,
        )

    @classmethod
    def load(cls, file: IO[bytes]) -> TestSet:
        """Read what :meth:`as_bytes` gave."""
        with np.load(file, allow_pickle=False) as stored:
            ids = tuple(stored["image_ids"].tolist())
            truth = GroundTruth(stored["image_index"], stored["label"], stored["boxes"], len(ids))
            classes = tuple(stored["classes"].tolist())
            return cls(classes, ids, stored["sizes"], stored["levels"], truth, stored["occlusion"])

    def match(self, detections: Detections) -> Matches:
        """Which detection hits which item, at IoU 0.5 by the official rule."""
        return match(self.truth, detections, self.classes)

    def mean_ap(self, detections: Detections) -> float:
        """The mAP (0 to 1) that :func:`score` reports; NaN without any item."""
        return float(mean_ap(average_precisions(self.match(detections))))


def score(detections: Detections, test: TestSet) -> dict[str, Any]:
    """The numbers that are stored with a run: AP per class and mAP, by level, and COCO's.

    Returns:
        ``AP`` and ``levels`` -> class name or ``mAP`` -> AP (0..1) at IoU 0.5 by the official rule;
        ``AP_11_point`` by the 11-point rule; ``by_occlusion`` -> ``median`` O and ``mAP`` of a
        sliding window (empty lists where O is not known); ``COCO`` -> AP50 and AP50:95; counts. A
        class without items has no entry.
    """
    return {
        **score_matches(test.match(detections), test),
        "COCO": _known(coco_ap(test.truth, detections, test.classes)),
        "images": len(test.image_ids),
        "items": len(test.truth),
        "detections": len(detections),
    }


def score_matches(matches: Matches, test: TestSet) -> dict[str, Any]:
    """The part of :func:`score` that rests on matches: APs, by class, level and occlusion."""
    eleven = average_precisions(matches, rule="11-point")
    levels = ap_by_level(matches, test.levels)
    curve: dict[str, list[float]] = {"median": [], "mAP": []}
    if len(test.truth) and np.isfinite(test.occlusion).all():
        curve = ap_by_occlusion(matches, test.occlusion)[["median", "mAP"]].to_dict("list")
    return {
        "AP": _known(as_mapping(test.classes, average_precisions(matches))),
        "AP_11_point": _known(as_mapping(test.classes, eleven)),
        "levels": {f"OL{level}": _known(ap) for level, ap in levels.items()},
        "by_occlusion": curve,
    }


def pooled_occlusion(pool: Sequence[Mapping[str, Any]], train: Dataset) -> dict[str, float]:
    """How occluded the images of retrained batches were, against all training images (claim 12).

    Args:
        pool: ``History.pool``, see :class:`doamlib.sampling.Strategy`.
        train: the training images, in the order that the pool's indices count.

    Returns:
        ``pooled_occlusion`` and ``epoch_occlusion``, means over images of the largest O of an
        image's items, 0 to 1; ``most_occluded``, what the first would be if whole batches were
        chosen by O itself (:func:`within_reach`). Empty where there was no pool or O is not known.
    """
    sidecar = read_sidecar(train.root, train.split)
    indices = [i for entry in pool for batch in entry["batches"] for i in batch["indices"]]
    if not sidecar or not indices:
        return {}
    items = ([item.occlusion for item in sidecar[name].items] for name in train.image_ids)
    hardest = np.array([max(occlusions, default=np.nan) for occlusions in items])
    sizes = [len(batch["indices"]) for entry in pool for batch in entry["batches"]]
    share = len(indices) / (len(pool) * len(hardest))
    return {
        "pooled_occlusion": float(np.nanmean(hardest[indices])),
        "epoch_occlusion": float(np.nanmean(hardest)),
        "most_occluded": within_reach(hardest, max(sizes), share),
    }


def within_reach(
    occlusion: NDArray[np.float64], batch_size: int, share: float, shuffles: int = 100
) -> float:
    """Mean occlusion of the most occluded batches: what a pool of batches can reach at all.

    A batch mixes hidden and open images, so that even the best choice of whole batches is not far
    from the average.

    Args:
        occlusion: (N,), O of each image, 0 to 1; images with NaN are left out.
        batch_size: images of a batch.
        share: of the batches that are chosen, 0 to 1; at least one is.
        shuffles: how often the images are dealt into batches anew, by fixed seeds.

    Returns:
        Mean over the shuffles, 0 to 1.
    """
    known = occlusion[~np.isnan(occlusion)]
    count = max(1, len(known) // batch_size)
    chosen = max(1, round(share * count))
    found = []
    for seed in range(shuffles):
        dealt = np.random.default_rng(seed).permutation(known)[: count * batch_size]
        means = dealt.reshape(count, -1).mean(axis=1)
        found.append(np.sort(means)[-chosen:].mean())
    return float(np.mean(found))


def _known(values: dict[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if not np.isnan(value)}
