"""FCOS on ResNet-50 with a feature pyramid (Tian et al., ICCV 2019; arXiv:1904.01355).

Head, anchors and decoding are torchvision's, as are the residual block and the pyramid. The stack
of blocks is written here, because torchvision's ResNet has fixed widths; at full size its tensors
carry the same names. Matching and loss are, because torchvision goes through the images one by one;
for the whole batch at once they give the same numbers to the last bit. Batch normalisation is
trained, as torchvision does from scratch.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection import FCOS as TorchvisionFCOS
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.resnet import Bottleneck
from torchvision.ops import sigmoid_focal_loss
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from doamlib.models.config import DetectorConfig, scaled
from doamlib.models.postprocess import CANDIDATES_PER_CLASS, select_detections

BLOCKS = (3, 4, 6, 3)


def resnet50(width: float) -> nn.Sequential:
    """ResNet-50 without its classifier, for normalised images N,C,S,S."""
    planes = [scaled(64 * 2**k, width) for k in range(4)]
    stem = {
        "conv1": nn.Conv2d(3, planes[0], kernel_size=7, stride=2, padding=3, bias=False),
        "bn1": nn.BatchNorm2d(planes[0]),
        "relu": nn.ReLU(inplace=True),
        "maxpool": nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
    }
    backbone = nn.Sequential(OrderedDict(stem))
    channels = planes[0]
    for number, (own, count) in enumerate(zip(planes, BLOCKS, strict=True), start=1):
        stage = residual_stage(channels, own, count, stride=1 if number == 1 else 2)
        backbone.add_module(f"layer{number}", stage)
        channels = own * Bottleneck.expansion
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return backbone


def residual_stage(in_channels: int, planes: int, count: int, stride: int) -> nn.Sequential:
    """Bottleneck blocks of one resolution; the first one changes size and channels."""
    out_channels = planes * Bottleneck.expansion
    shortcut = nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False),
        nn.BatchNorm2d(out_channels),
    )
    first = Bottleneck(in_channels, planes, stride, shortcut)
    return nn.Sequential(first, *(Bottleneck(out_channels, planes) for _ in range(count - 1)))


def regroup(tower: nn.Sequential) -> None:
    """Group-normalise 8 channels at a time at every width, as 32 groups do at full width.

    torchvision's fixed 32 groups would leave a slim head one channel each, whose mean over a 1x1
    map is the channel itself: nothing would remain.
    """
    for index, layer in enumerate(tower):
        if isinstance(layer, nn.GroupNorm):
            tower[index] = nn.GroupNorm(layer.num_channels // 8, layer.num_channels)


def pyramid(width: float) -> BackboneWithFPN:
    """ResNet-50 and the feature pyramid P3 to P7 on it: five maps at strides 8 to 128."""
    backbone = resnet50(width)
    stages = {"layer2": "c3", "layer3": "c4", "layer4": "c5"}
    in_channels = [getattr(backbone, name)[-1].conv3.out_channels for name in stages]
    # torchvision's head can only be built for multiples of 32 channels.
    channels = scaled(256, width, multiple=32)
    coarsest = LastLevelP6P7(channels, channels)
    return BackboneWithFPN(backbone, stages, in_channels, channels, coarsest)


@torch.no_grad()
def match(
    anchors: Tensor, places: list[int], boxes: Tensor, labels: Tensor, radius: float
) -> Tensor:
    """The box that each place stands for: int64 (N,P), -1 where it is background.

    A place stands for a box if it lies in it, within ``radius`` strides of its centre, and if its
    map's range holds the distance to the farthest side; among several boxes for the smallest.

    Args:
        anchors: (P, 4), squares around the places whose side is the map's stride.
        places: how many of the P places are on each map, finest first.
        boxes: (N, G, 4), padded.
        labels: (N, G), 0 for padding.
        radius: of centre sampling, in strides.
    """
    if not boxes.shape[1]:
        return labels.new_full((len(labels), len(anchors)), -1)
    stride = anchors[:, 2] - anchors[:, 0]
    nearest, farthest = stride * 4, stride * 8
    nearest[: places[0]] = 0
    farthest[-places[-1] :] = float("inf")
    # x and y come first and the places last, (2,N,G,P): long rows are what a processor is fast at.
    centre = ((anchors[:, :2] + anchors[:, 2:]) / 2).T[:, None, None]
    low, high = boxes.movedim(-1, 0).unsqueeze(-1).chunk(2)
    off_centre = (centre - (low + high) / 2).abs_().amax(dim=0)
    to_low, to_high = centre - low, high - centre
    reach = torch.maximum(to_low, to_high).amax(dim=0)
    matches = (labels > 0).unsqueeze(-1) & (off_centre < radius * stride)
    matches &= torch.minimum(to_low, to_high).amin(dim=0) > 0
    matches &= (reach > nearest) & (reach < farthest)
    # torchvision's score: float32 rounds it to 8 square pixels, and the first of equals is taken.
    width, height = high - low
    best, box = torch.where(matches, 1e8 - width * height, 0.0).max(dim=1)
    return box.masked_fill_(best < 1e-5, -1)


def giou_loss(low: Tensor, high: Tensor, box: Tensor) -> Tensor:
    """Sum of 1 - GIoU of predicted boxes, corners (n,2) and (n,2), and their targets (n,4).

    torchvision's, without its boolean index for the intersections, which would wait for a GPU.
    """
    eps = 1e-7
    box_low, box_high = box.chunk(2, dim=1)
    enclosing = area(torch.maximum(high, box_high) - torch.minimum(low, box_low))
    overlap = torch.minimum(high, box_high) - torch.maximum(low, box_low)
    intersection = torch.where((overlap > 0).all(dim=1), area(overlap), 0.0)
    union = area(high - low) + area(box_high - box_low) - intersection
    giou = intersection / (union + eps) - (enclosing - union) / (enclosing + eps)
    return (1 - giou).sum()


def area(sides: Tensor) -> Tensor:
    """Areas (n,) of boxes with these widths and heights (n,2)."""
    width, height = sides.unbind(dim=1)
    return width * height


def centreness(centre: Tensor, box: Tensor) -> Tensor:
    """How central places (n,2) are in boxes (n,4) that hold them: (n,), 1 in the middle (Eq. 3)."""
    low, high = box.chunk(2, dim=1)
    to_low, to_high = centre - low, high - centre
    return area(torch.minimum(to_low, to_high) / torch.maximum(to_low, to_high)).sqrt()


def box_losses(
    outputs: dict[str, Tensor | list], positive: Tensor, anchor: Tensor, box: Tensor
) -> dict[str, Tensor]:
    """Sums of the GIoU and centre-ness losses over the positives.

    Args:
        outputs: of :meth:`FCOS.forward`.
        positive: row numbers (n,) of the positives among N*P.
        anchor: their anchors (n, 4).
        box: the boxes they stand for (n, 4).
    """
    anchor_low, anchor_high = anchor.chunk(2, dim=1)
    centre, stride = (anchor_low + anchor_high) / 2, anchor_high - anchor_low
    offsets = outputs["bbox_regression"].flatten(0, 1).index_select(0, positive)
    to_low, to_high = offsets.chunk(2, dim=1)
    logits = outputs["bbox_ctrness"].flatten().index_select(0, positive)
    return {
        "bbox_regression": giou_loss(centre - to_low * stride, centre + to_high * stride, box),
        "bbox_ctrness": F.binary_cross_entropy_with_logits(
            logits, centreness(centre, box), reduction="sum"
        ),
    }


class FCOS(nn.Module):
    """Network, loss and decoding; :class:`doamlib.models.detector.Detector` prepares its input.

    The input is the next multiple of 32 of ``config.image_size``. No stage falls away at small
    sizes: the five maps are 40, 20, 10, 5 and 3 at 320 and 12, 6, 3, 2 and 1 at 96.
    """

    first_layer = "model.backbone.body.conv1"
    output_layers = ("model.head.classification_head.cls_logits",)

    def __init__(self, config: DetectorConfig):
        super().__init__()
        self.config = config
        self.image_size = 32 * -(-config.image_size // 32)
        self.model = TorchvisionFCOS(
            pyramid(config.width),
            config.num_classes,
            score_thresh=config.score_threshold,
            nms_thresh=config.nms_iou,
            detections_per_img=config.detections_per_image,
        )
        for head in (self.model.head.classification_head, self.model.head.regression_head):
            regroup(head.conv)

    def forward(self, images: Tensor) -> dict[str, Tensor | list]:
        """Normalised images N,C,S,S to the head's outputs (torchvision's names), float32.

        ``anchors`` (P, 4) are the places that the outputs speak for, ``places`` their number on
        each map.
        """
        maps = list(self.model.backbone(images).values())
        outputs = {name: value.float() for name, value in self.model.head(maps).items()}
        sizes = [(self.image_size, self.image_size)]
        outputs["anchors"] = self.model.anchor_generator(ImageList(images[:1], sizes), maps)[0]
        outputs["places"] = [m.shape[-2] * m.shape[-1] for m in maps]
        return outputs

    def loss(
        self, outputs: dict[str, Tensor | list], boxes: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        """Torchvision's focal, GIoU and centre-ness losses, divided by the batch's positives.

        Takes what :meth:`forward` gave, and boxes and labels as :meth:`doamlib.models.ssd.SSD.loss`
        takes them. ``self.model.compute_loss`` is the reference, bit by bit.

        Returns:
            Scalars ``classification``, ``bbox_regression``, ``bbox_ctrness``.
        """
        anchors, logits = outputs["anchors"], outputs["cls_logits"]
        radius = self.model.center_sampling_radius
        matched = match(anchors, outputs["places"], boxes, labels, radius).flatten()
        # Row numbers (n,) of the positives among N*P: nothing else here waits for a GPU.
        positive = (matched >= 0).nonzero().squeeze(1)
        image, place, item = positive // len(anchors), positive % len(anchors), matched[positive]
        classes = torch.zeros_like(logits)
        classes[image, place, labels[image, item] - 1] = 1.0
        losses = {"classification": sigmoid_focal_loss(logits, classes, reduction="sum")}
        losses |= box_losses(outputs, positive, anchors[place], boxes[image, item])
        return {name: value / max(1, len(positive)) for name, value in losses.items()}

    def detect(self, outputs: dict[str, Tensor | list]) -> list[dict[str, Tensor]]:
        """Detections of each image in pixels of the input.

        torchvision goes through images and maps one by one, since it takes the strongest thousand
        of each map's places and classes. Few places give no more than that, and the same comes out
        for all at once.
        """
        most = max(outputs["places"]) * self.config.num_classes
        few = len(outputs["anchors"]) <= CANDIDATES_PER_CLASS
        if not few or most > self.model.topk_candidates:
            return self._detect_map_by_map(outputs)
        scores = outputs["cls_logits"].sigmoid() * outputs["bbox_ctrness"].sigmoid()
        low, high = outputs["anchors"].chunk(2, dim=1)
        centre, stride = (low + high) / 2, high - low
        to_low, to_high = outputs["bbox_regression"].chunk(2, dim=2)
        boxes = torch.cat([centre - to_low * stride, centre + to_high * stride], dim=2)
        return select_detections(boxes, scores.sqrt(), self.config, self.image_size)

    def _detect_map_by_map(self, outputs: dict[str, Tensor | list]) -> list[dict[str, Tensor]]:
        places = outputs["places"]
        names = ("cls_logits", "bbox_regression", "bbox_ctrness")
        by_map = {name: list(outputs[name].split(places, dim=1)) for name in names}
        images = len(outputs["cls_logits"])
        anchors = [list(outputs["anchors"].split(places))] * images
        sizes = [(self.image_size, self.image_size)] * images
        found = self.model.postprocess_detections(by_map, anchors, sizes)
        return [detection | {"labels": detection["labels"] + 1} for detection in found]
