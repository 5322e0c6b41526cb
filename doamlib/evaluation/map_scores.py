"""What a trained network looks at: attention maps (Fig. 7), Grad-CAM (Fig. 6), and their scores.

The paper shows pictures. Here every map is scored on every item of a test set against the box and,
where the data are generated, the exact silhouette. :mod:`doamlib.evaluation.randomisation` compares
it with maps of the same network after part of it has been drawn anew.

The scores of one map are in :mod:`doamlib.evaluation.region_scores`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from doamlib.data.cache import CachedDataset
from doamlib.data.sidecar import read_sidecar
from doamlib.evaluation.region_scores import SCORES, box_region, mask_region, score_map
from doamlib.evaluation.region_scores import lift as lift  # of this module for whoever reads it
from doamlib.evaluation.statistics import bootstrap_mean
from doamlib.evaluation.test_set import TestSet
from doamlib.models.detector import Detector, Target
from doamlib.models.edges import SobelEdges

with warnings.catch_warnings():  # its progress bars, never shown here, miss a notebook extension
    warnings.filterwarnings("ignore", message="IProgress not found")
    from captum.attr import LayerAttribution, LayerGradCam

Kind = Literal["attention", "gradcam", "edges", "darkness"]
STORED = (*SCORES, "blank")

PLAIN: tuple[Kind, ...] = ("edges", "darkness")
"""Maps that nobody trained, which a learned map should beat."""

EXAMPLE_SIZE = 80
MIN_IMAGES = 5
"""A mean over fewer images gets no interval."""


# --- maps ---------------------------------------------------------------------------------------


def kinds_of(detector: Detector) -> tuple[Kind, ...]:
    """The learned maps that a detector has: attention behind DOAM, Grad-CAM on SSD."""
    has_attention = hasattr(detector.doam, "attention")  # neither None nor arm "Concat" has
    found = {"attention": has_attention, "gradcam": detector.config.name == "ssd"}
    return tuple(kind for kind, has in found.items() if has)


@torch.no_grad()
def attention_maps(detector: Detector, images: Tensor) -> Tensor:
    """DOAM's attention map M (Eq. 8) of images N,3,S,S (uint8, or float 0..1): N,S,S in 0..1.

    Raises:
        ValueError: the detector has no DOAM, or one without attention (arm "Concat").

    Paper: Eq. 8; Fig. 7.
    """
    if "attention" not in kinds_of(detector):
        raise ValueError("this detector has no attention map; take an arm with DOAM")
    return detector.doam(detector.pixels(images)[0], return_attention=True)[1][:, 0]


def gradcam_maps(detector: Detector, images: Tensor, targets: Sequence[Target]) -> Tensor:
    """Grad-CAM of VGG16's last convolution for the annotated class at its matched priors (Fig. 6).

    The paper does not say what its VGG16 was trained on; here it is the backbone of a trained SSD.
    Priors on conv4_3, SSD's finest map, do not depend on this layer: an item that only they match
    gets a map of zeros.

    Args:
        detector: an SSD, in evaluation mode.
        images: N,3,S,S, uint8, or float 0..1.
        targets: one an image; its items are explained together.

    Returns:
        N,S,S, not negative (after ReLU), upsampled bilinearly; no fixed scale.

    Paper: Fig. 6.
    """
    pixels, _ = detector.pixels(images)
    cam = LayerGradCam(detector.matched_class_scores, detector.network.last_vgg_layer)
    inputs = (pixels / 255).requires_grad_()
    small = cam.attribute(inputs, additional_forward_args=(targets,), relu_attributions=True)
    return LayerAttribution.interpolate(small.detach(), pixels.shape[-2:], "bilinear")[:, 0]


def seen_by_last_layer(detector: Detector, cached: CachedDataset) -> NDArray[np.bool_]:
    """Which items have a matched prior behind VGG16's last convolution, the layer of Grad-CAM.

    Of the others `gradcam_maps` draws blank maps, whatever was learned: SSD finds them on its
    finest map, conv4_3, whose priors come first in its list.

    Args:
        detector: an SSD.
        cached: images at its input size.

    Returns:
        bool (items,), in the order of the annotations.
    """
    from doamlib.models.priors import map_sizes  # imports torchvision, which takes a second

    network, device = detector.network, detector.mean.device
    finest = network.head.classification_head.module_list[0].out_channels
    per_place = finest // (detector.config.num_classes + 1)
    first = map_sizes(network.image_size)[0] ** 2 * per_place
    targets = [cached.batch([index])[1][0] for index in range(len(cached))]
    boxes, labels = (torch.cat([t[name] for t in targets])[:, None] for name in ("boxes", "labels"))
    _, matched = network.match(boxes.to(device), labels.to(device))
    return (matched[:, first:] > 0).any(dim=1).cpu().numpy()


@torch.no_grad()
def plain_maps(images: Tensor, kind: Literal["edges", "darkness"]) -> Tensor:
    """What needs no learning, N,S,S in 0..255 or more: Sobel edges, or 255 minus brightness."""
    pixels = images.float()
    return (
        SobelEdges().to(pixels.device)(pixels)[:, 0]
        if kind == "edges"
        else 255 - pixels.mean(dim=1)
    )


def item_maps(
    detector: Detector, cached: CachedDataset, kind: Kind, batch_size: int = 32
) -> Iterator[NDArray[np.float32]]:
    """One map S,S an item, in the order of the annotations; Grad-CAM explains each item alone."""
    device = detector.mean.device
    for start in range(0, len(cached), batch_size):
        images, targets = cached.batch(range(start, min(start + batch_size, len(cached))))
        images = images.to(device)
        image = torch.tensor([i for i, t in enumerate(targets) for _ in t["labels"]], device=device)
        if not len(image):
            continue
        if kind == "attention":
            maps = attention_maps(detector, images)[image]
        elif kind == "gradcam":
            alone = [
                {"boxes": box[None], "labels": label[None]}
                for target in targets
                for box, label in zip(target["boxes"], target["labels"], strict=True)
            ]
            maps = gradcam_maps(detector, images[image], alone)
        else:
            maps = plain_maps(images, kind)[image]
        yield from maps.float().cpu().numpy()


# --- a whole test set ---------------------------------------------------------------------------


def regions(cached: CachedDataset) -> list[tuple[NDArray[np.float32], NDArray[np.float32] | None]]:
    """Box and silhouette region of every item, in the order of the annotations."""
    sidecar = read_sidecar(cached.dataset.root, cached.dataset.split)
    found = []
    for index, record in enumerate(cached.dataset.records):
        boxes = cached.batch([index])[1][0]["boxes"].numpy()
        items = sidecar[record.image_id].items if sidecar else [None] * len(boxes)
        for box, item in zip(boxes, items, strict=True):
            mask = item and mask_region(item.silhouette.mask(), cached.size).astype(np.float32)
            found.append((box_region(box, cached.size).astype(np.float32), mask))
    return found


def examples(test: TestSet) -> list[int]:
    """The first two images of each class that hold one item and no more, by class (Fig. 7).

    Of data without any such image the first two that hold something.
    """
    image = test.truth.image_index
    single = np.bincount(image)[image] == 1
    of_class = [single & (test.truth.label == label + 1) for label in range(len(test.classes))]
    alone = [int(i) for chosen in of_class for i in image[chosen][:2]]
    return alone or [int(i) for i in np.unique(image)[:2]]


def chosen_images(images: int, count: int) -> NDArray[np.int64]:
    """``count`` of so many images drawn at random, or all where there are fewer; ascending.

    The draw follows from the number of images alone: all runs on the same data get the same ones.
    """
    if count >= images:
        return np.arange(images)
    return np.sort(np.random.default_rng(0).choice(images, count, replace=False))


def map_scores(
    detector: Detector,
    cached: CachedDataset,
    kinds: Sequence[Kind] | None = None,
    images: NDArray[np.int64] | None = None,
) -> dict[str, NDArray]:
    """The maps of a trained detector, scored: small arrays that can be stored with its run.

    Args:
        detector: in evaluation mode.
        cached: the test images at its input size.
        kinds: which maps; by default those that the detector has.
        images: indices of the images to score, ascending; all by default.

    Returns:
        ``images`` int64 (N,), the images scored; ``<kind>_<score>`` float32 (items on them,) for
        each kind and each of ``SCORES``; ``<kind>_blank`` bool (items,), maps of zeros;
        ``examples`` int64 (E,), image indices; and ``<kind>_examples`` uint8 (E, 80, 80), each map
        divided by its largest value (attention: as it is) times 255.
    """
    if images is None:
        images = np.arange(len(cached))
    cached = cached.subset([cached.dataset.image_ids[index] for index in images])
    test = TestSet.of(cached.dataset)
    places = regions(cached)
    chosen = examples(test)
    shown = np.searchsorted(test.truth.image_index, chosen).tolist()  # items lie image after image
    arrays: dict[str, NDArray] = {"images": images, "examples": images[chosen]}
    for kind in kinds_of(detector) if kinds is None else kinds:
        rows, small = [], {}
        for item, values in enumerate(item_maps(detector, cached, kind)):
            rows.append(score_map(values, *places[item]) | {"blank": not values.any()})
            if item in shown:
                small[item] = _thumbnail(values, 1.0 if kind == "attention" else values.max())
        for name in STORED:
            dtype = bool if name == "blank" else np.float32
            arrays[f"{kind}_{name}"] = np.array([row[name] for row in rows], dtype)
        pictures = [small[item] for item in shown]
        arrays[f"{kind}_examples"] = np.array(pictures, np.uint8).reshape(-1, *[EXAMPLE_SIZE] * 2)
    return arrays


def _thumbnail(values: NDArray, highest: float) -> NDArray[np.uint8]:
    shares = torch.from_numpy(values)[None, None] / max(float(highest), 1e-12)
    return (255 * F.interpolate(shares, EXAMPLE_SIZE, mode="area")[0, 0]).round().byte().numpy()


def tidy(scores: dict[str, NDArray], test: TestSet) -> pd.DataFrame:
    """What `map_scores` returned as a long table, a row for each item and kind of map.

    Args:
        scores: what it returned.
        test: the whole test set.

    Returns:
        ``image`` (id), ``item`` (number within the data), ``class`` (name), ``level`` (1 to 3, 0:
        none), ``map``, ``blank``, and the ``SCORES``.
    """
    truth = test.truth
    # Archives of older results name no images: they scored all.
    images = scores.get("images", np.arange(len(test.image_ids)))
    scored = np.flatnonzero(np.isin(truth.image_index, images))
    image = truth.image_index[scored]
    items = {
        "image": np.array(test.image_ids)[image],
        "item": scored,
        "class": np.array(test.classes)[truth.label[scored] - 1],
        "level": test.levels[image],
    }
    columns = ("blank", *SCORES)
    kinds = [name.removesuffix("_blank") for name in scores if name.endswith("_blank")]
    frames = [
        pd.DataFrame(items | {"map": kind} | {name: scores[f"{kind}_{name}"] for name in columns})
        for kind in kinds
    ]
    return pd.concat(frames, ignore_index=True)


def score_maps(
    detector: Detector, cached: CachedDataset, kinds: Sequence[Kind] | None = None
) -> pd.DataFrame:
    """`map_scores` and `tidy` in one: the scores of a detector's maps over a whole test set."""
    return tidy(map_scores(detector, cached, kinds), TestSet.of(cached.dataset))


def intervals(
    frame: pd.DataFrame, by: Sequence[str], scores: Sequence[str] = SCORES
) -> pd.DataFrame:
    """Means over images with 95% bootstrap intervals over images; items of an image are averaged.

    Args:
        frame: as `tidy` returns it, or any with the columns ``image``, ``by`` and ``scores``.
        by: columns to group by, e.g. ``["map", "class"]``.
        scores: columns to average; NaN is left out.

    Returns:
        A row for each group and score: ``by``, ``score``, ``mean``, ``low``, ``high``, ``images``;
        the ends are NaN below ``MIN_IMAGES`` images.
    """
    rows = []
    for group, part in frame.groupby(list(by), sort=False):
        means = part.groupby("image")[list(scores)].mean()
        for score in scores:
            values = means[score].dropna().to_numpy(np.float64)
            mean, low, high = values.mean() if len(values) else np.nan, np.nan, np.nan
            if len(values) >= MIN_IMAGES:
                mean, low, high = bootstrap_mean(values, seed=0)
            row = {"score": score, "mean": mean, "low": low, "high": high, "images": len(values)}
            rows.append(dict(zip(by, group, strict=True)) | row)
    return pd.DataFrame(rows, columns=[*by, "score", "mean", "low", "high", "images"])


def summary(frame: pd.DataFrame) -> dict[str, Any]:
    """Map -> share of ``blank`` maps, and score -> mean, low, high, images; for JSON.

    Means leave out blank maps, which show nothing to score; None stands for NaN.
    """
    found: dict[str, Any] = {
        kind: {"blank": float(part["blank"].mean())} for kind, part in frame.groupby("map")
    }
    drawn = frame.assign(**{score: frame[score].where(~frame["blank"]) for score in SCORES})
    for row in intervals(drawn, ["map"]).to_dict("records"):
        numbers = {key: row[key] for key in ("mean", "low", "high", "images")}
        found[row["map"]][row["score"]] = without_nan(numbers)
    return found


def without_nan(numbers: dict[str, float]) -> dict[str, float | None]:
    """None in place of NaN, which JSON does not know."""
    return {name: None if np.isnan(value) else value for name, value in numbers.items()}
