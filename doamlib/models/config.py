"""The choices that make a detector, and the one rule by which networks are slimmed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, model_validator

from doamlib.core.config import Config
from doamlib.models.doam import DOAMConfig


class DetectorConfig(Config):
    """Which detector, at which size, with which attention.

    Full size is ``width=1.0`` and ``image_size=300``. Everything else is a small profile of the
    same architecture; each detector's docstring says which stages fall away at small sizes.

    Attributes:
        name: SSD (VGG16), YOLOv3 (Darknet-53) or FCOS (ResNet-50 with FPN).
        width: factor on every channel count of the backbone, neck and head (not on DOAM's).
        image_size: side in pixels to which images are resized, their aspect ratio not kept, as in
            the official code. YOLOv3 and FCOS use the next multiple of 32: 320 for 300.
        attention: the rival placed behind each of SSD's four halving max-pooling layers.
        doam: the DOAM in front of the network, or None.
        num_classes: object classes, the background not counted.
        fresh_first_layer: with DOAM, start the first convolution anew, as the official code does.
            Off, it takes the three-channel kernels and zeros for the edge channel.
        batch_norm: SSD: batch normalisation behind each convolution of the trunk. For warm starts:
            VGG16 has none and is slow to train from random weights. Loading such weights into a
            detector without it folds them into the convolutions, exactly.
        focal_loss: SSD's classification loss is Eq. 20 over all priors (Table VII, DOAM-F) instead
            of cross-entropy over three hard negatives a positive.
        focal_gamma: gamma of Eq. 20; the paper gives no value, 2 is the focal loss paper's.
        focal_alpha: weight of objects, 1 - alpha that of background; not in Eq. 20, 0.25 is the
            focal loss paper's.
        prior_scales: SSD: scale of the default boxes on each map, as a share of the image side, and
            one more (the SSD paper's s_1 to s_m, s_m+1). None: see :mod:`doamlib.models.priors`.
        prior_aspect_ratios: SSD: on each map, the ratios beside 1; each stands for itself and its
            inverse. None: see :mod:`doamlib.models.priors`.
        match_iou: SSD: overlap from which a prior is trained towards a box.
        score_threshold: detections below it are dropped.
        nms_iou: of two detections of one class that overlap more, the weaker one is dropped.
        detections_per_image: the strongest are kept.
    """

    name: Literal["ssd", "yolov3", "fcos"] = "ssd"
    width: float = Field(1.0, gt=0, le=1)
    image_size: int = Field(300, ge=96, le=1024)
    attention: Literal["none", "se", "nonlocal", "dual"] = "none"
    doam: DOAMConfig | None = None
    num_classes: int = Field(5, ge=1)
    fresh_first_layer: bool = False
    batch_norm: bool = False
    focal_loss: bool = False
    focal_gamma: float = Field(2.0, ge=0)
    focal_alpha: float = Field(0.25, gt=0, lt=1)
    prior_scales: tuple[PositiveFloat, ...] | None = None
    prior_aspect_ratios: tuple[tuple[PositiveFloat, ...], ...] | None = None
    match_iou: float = Field(0.5, gt=0, lt=1)
    score_threshold: float = Field(0.01, ge=0, lt=1)
    nms_iou: float = Field(0.45, gt=0, lt=1)
    detections_per_image: int = Field(200, ge=1)

    @model_validator(mode="after")
    def _only_what_the_detector_has(self) -> DetectorConfig:
        ssd_only = ("attention", "batch_norm", "focal_loss", "prior_scales", "prior_aspect_ratios")
        for field in ssd_only if self.name != "ssd" else ():
            if getattr(self, field) != type(self).model_fields[field].default:
                raise ValueError(f"{field} is a choice of SSD's; {self.name} has none")
        if self.fresh_first_layer and self.doam is None:
            raise ValueError("fresh_first_layer needs doam: without it the layer does not change")
        return self


def scaled(channels: int, width: float, multiple: int = 8) -> int:
    """A channel count times ``width``, rounded to a multiple of ``multiple`` and at least that."""
    return max(multiple, multiple * round(channels * width / multiple))
