"""SSD's default boxes (priors): where they are, how they are matched, how boxes are coded.

Boxes are x1, y1, x2, y2 in pixels of the network's input. All functions work on whole batches:
targets are padded to the largest number of boxes in the batch, label 0 marks the padding.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_convert, box_iou

VARIANCES = (0.1, 0.2)  # of centre and size offsets, as in the SSD authors' code
MATCHED_NOTHING = -1
SMALL_PROFILE_SCALES = (0.14, 0.7)
LARGEST_GROWTH = 62.5  # of a prior or anchor, as in torchvision: untrained networks stay finite


def map_sizes(image_size: int) -> list[int]:
    """Side of each feature map that SSD detects on: 38, 19, 10, 5, 3, 1 for 300.

    conv4_3, fc7, conv8_2 and conv9_2 halve. conv10_2 and conv11_2 are 3x3 without padding and exist
    only where the map before them has at least 3 positions a side: five maps at 160 (20, 10, 5, 3,
    1), four at 96 (12, 6, 3, 2).
    """
    conv4 = -(-(image_size // 4) // 2)  # the third pooling layer rounds up, the others down
    sizes = [conv4, conv4 // 2]
    sizes += [-(-sizes[-1] // 2)]
    sizes += [-(-sizes[-1] // 2)]
    while len(sizes) < 6 and sizes[-1] >= 3:
        sizes.append(sizes[-1] - 2)
    return sizes


def default_scales(maps: int, image_size: int) -> tuple[float, ...]:
    """Scales s_1 to s_m+1 of the priors on ``maps`` maps, as shares of the image side.

    From 300 pixels on they are SSD300's in the official code: 0.1, then 0.2 to 0.88 in equal steps.
    Below, where the book looks at half-frame windows, they grow by a constant factor from 0.14 to
    0.7: dense where items of a window lie (0.09 to 0.35 of its side). Of 161 generated items at 160
    pixels, 96% then overlap a prior by 0.5 or more and 6 priors an item do; with SSD300's scales
    and ratios 86% and 3.
    """
    if image_size >= 300:
        step = 0.68 / (maps - 2)
        return (0.1, *(0.2 + step * k for k in range(maps)))
    smallest, largest = SMALL_PROFILE_SCALES
    return tuple(smallest * (largest / smallest) ** (k / maps) for k in range(maps + 1))


def default_aspect_ratios(maps: int, image_size: int) -> tuple[tuple[float, ...], ...]:
    """Aspect ratios beside 1 on each map: SSD300's from 300 pixels on, else 2 and 3 everywhere.

    SSD300's first map, which holds most of the items, lacks ratio 3: poor for a knife that lies
    along an axis.
    """
    if image_size >= 300:
        return ((2.0,), *((2.0, 3.0),) * 3, *((2.0,),) * (maps - 4))
    return ((2.0, 3.0),) * maps


def make_priors(
    image_size: int,
    scales: tuple[float, ...] | None = None,
    aspect_ratios: tuple[tuple[float, ...], ...] | None = None,
) -> tuple[Tensor, list[int]]:
    """All default boxes of an image, map after map.

    Returns:
        Boxes, float32 (P, 4); and how many of them lie at each position of each map.

    Raises:
        ValueError: the number of scales or ratios does not fit the number of maps.
    """
    sizes = map_sizes(image_size)
    scales = scales or default_scales(len(sizes), image_size)
    aspect_ratios = aspect_ratios or default_aspect_ratios(len(sizes), image_size)
    if len(scales) != len(sizes) + 1 or len(aspect_ratios) != len(sizes):
        raise ValueError(
            f"SSD at {image_size} px has {len(sizes)} maps: it needs {len(sizes) + 1} prior_scales "
            f"and {len(sizes)} prior_aspect_ratios, not {len(scales)} and {len(aspect_ratios)}"
        )
    # Strided maps are anchored to the input's grid, unpadded ones divide the image evenly.
    steps = [8 * 2**k if k < 4 else image_size / size for k, size in enumerate(sizes)]
    generator = DefaultBoxGenerator(list(aspect_ratios), scales=list(scales), steps=steps)
    with torch.device("cpu"):  # numbers even where a network without numbers (meta) is built
        image = ImageList(torch.empty(1, 3, image_size, image_size), [(image_size, image_size)])
        boxes = generator(image, [torch.empty(1, 1, size, size) for size in sizes])[0]
    return boxes, generator.num_anchors_per_location()


def match_priors(priors: Tensor, boxes: Tensor, present: Tensor, iou_threshold: float) -> Tensor:
    """Which ground-truth box each prior is trained towards (SSD paper, Section 2.2).

    A prior belongs to the box that it overlaps most, if by ``iou_threshold`` or more; and every box
    owns the prior that overlaps it most, however little.

    Args:
        priors: (P, 4).
        boxes: (N, G, 4), padded.
        present: bool (N, G), False for padding.
        iou_threshold: in 0..1.

    Returns:
        int64 (N, P): index into the image's boxes, or -1 for background.
    """
    overlap = box_iou(boxes.flatten(0, 1), priors).view(*present.shape, len(priors))
    overlap = overlap.masked_fill(~present[..., None], -1.0)
    best_overlap, best_box = overlap.max(dim=1)
    matched = best_box.masked_fill_(best_overlap < iou_threshold, MATCHED_NOTHING)
    best_prior = overlap.argmax(dim=2)
    for box in range(present.shape[1]):  # in order, so that the last of two rivals always wins
        own = best_prior[:, box : box + 1]
        kept = matched.gather(1, own)  # no indexing by a mask: a GPU would have to be waited for
        matched.scatter_(1, own, torch.where(present[:, box : box + 1], box, kept))
    return matched


def encode(boxes: Tensor, priors: Tensor) -> Tensor:
    """Offsets of boxes (N, 4) from priors (N, 4): centre in prior sizes, size in logarithms.

    SSD paper, Eq. 2, each divided by its variance.
    """
    box, prior = box_convert(boxes, "xyxy", "cxcywh"), box_convert(priors, "xyxy", "cxcywh")
    centre = (box[:, :2] - prior[:, :2]) / prior[:, 2:] / VARIANCES[0]
    size = (box[:, 2:] / prior[:, 2:]).log() / VARIANCES[1]
    return torch.cat([centre, size], dim=1)


def decode(offsets: Tensor, priors: Tensor) -> Tensor:
    """The boxes (N, P, 4) that :func:`encode` would map to ``offsets`` (N, P, 4)."""
    prior = box_convert(priors, "xyxy", "cxcywh")
    centre = prior[:, :2] + offsets[..., :2] * VARIANCES[0] * prior[:, 2:]
    growth = (offsets[..., 2:] * VARIANCES[1]).clamp(max=math.log(LARGEST_GROWTH)).exp()
    half = prior[:, 2:] * growth / 2
    return torch.cat([centre - half, centre + half], dim=-1)
