"""YOLOv3 on Darknet-53 (Redmon and Farhadi, 2018; arXiv:1804.02767), at any width.

Layer shapes are the published ones: 61,949,149 parameters with 80 classes. The loss is that of the
authors' program, written for a whole batch at once.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import box_iou

from doamlib.models.config import DetectorConfig, scaled
from doamlib.models.postprocess import select_detections
from doamlib.models.priors import LARGEST_GROWTH

STRIDES = (8, 16, 32)
# The authors' nine anchors, width and height at 416 pixels, three for each stride.
ANCHORS = ((10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119))
ANCHORS += ((116, 90), (156, 198), (373, 326))
ANCHOR_IMAGE = 416
RESIDUAL_BLOCKS = (1, 2, 8, 8, 4)
IGNORED_FROM_IOU = 0.5


def conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, batch normalisation, leaky ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.LeakyReLU(0.1, inplace=True),
    )


class Residual(nn.Module):
    """1x1 convolution to half the channels, 3x3 back, added to the input."""

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.Sequential(
            conv(channels, channels // 2, 1), conv(channels // 2, channels, 3)
        )

    def forward(self, features: Tensor) -> Tensor:
        """N,C,H,W to N,C,H,W."""
        return features + self.layers(features)


class Darknet53(nn.Module):
    """Fifty-two convolutions in five stages, each of which halves the map.

    Attributes:
        out_channels: channels of the maps at strides 8, 16 and 32.
    """

    def __init__(self, width: float):
        super().__init__()
        channels = [scaled(32 * 2**k, width) for k in range(6)]
        self.stem = conv(3, channels[0], 3)
        self.stages = nn.ModuleList(
            nn.Sequential(conv(before, after, 3, stride=2), *(Residual(after) for _ in range(n)))
            for (before, after), n in zip(pairwise(channels), RESIDUAL_BLOCKS, strict=True)
        )
        self.out_channels = channels[3:]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Normalised images N,C,S,S to the maps at strides 8, 16 and 32."""
        maps, features = [], self.stem(images)
        for stage in self.stages:
            features = stage(features)
            maps.append(features)
        return maps[2:]


class Branch(nn.Module):
    """Five convolutions that the next finer scale continues from, and one more for the output."""

    def __init__(self, in_channels: int, channels: int, outputs: int):
        super().__init__()
        self.shared = nn.Sequential(
            conv(in_channels, channels, 1),
            conv(channels, 2 * channels, 3),
            conv(2 * channels, channels, 1),
            conv(channels, 2 * channels, 3),
            conv(2 * channels, channels, 1),
        )
        self.last = conv(channels, 2 * channels, 3)
        self.output = nn.Conv2d(2 * channels, outputs, kernel_size=1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """N,C,H,W to the shared features and the raw outputs."""
        shared = self.shared(features)
        return shared, self.output(self.last(shared))


class YOLOv3(nn.Module):
    """Network, loss and decoding; :class:`doamlib.models.detector.Detector` prepares its input.

    The input is the next multiple of 32 of ``config.image_size``. No stage falls away at small
    sizes: the three grids are 40, 20 and 10 at 320 and 12, 6 and 3 at 96. The anchors scale with
    the input.
    """

    first_layer = "backbone.stem.0"
    output_layers = ("branches.0.output", "branches.1.output", "branches.2.output")

    def __init__(self, config: DetectorConfig):
        super().__init__()
        self.config = config
        self.image_size = 32 * -(-config.image_size // 32)
        self.backbone = Darknet53(config.width)
        channels = self.backbone.out_channels
        outputs = 3 * (5 + config.num_classes)
        # A finer scale sees the upsampled coarser one, reduced to a quarter of its channels.
        inputs = [own + coarser // 4 for own, coarser in pairwise(channels)]
        self.branches = nn.ModuleList(
            Branch(in_channels, own // 2, outputs)
            for in_channels, own in zip([*inputs, channels[2]], channels, strict=True)
        )
        self.reductions = nn.ModuleList(
            conv(coarser // 2, coarser // 4, 1) for coarser in channels[1:]
        )
        self._initialise()
        self.register_buffer("cells", self._cells(), persistent=False)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is None:
                nn.init.kaiming_normal_(module.weight, a=0.1, nonlinearity="leaky_relu")
        for branch in self.branches:
            nn.init.normal_(branch.output.weight, std=0.01)
            nn.init.zeros_(branch.output.bias)
            # Start at a 1% chance of an object, or thousands of empty cells drown the rest.
            branch.output.bias.detach().view(3, -1)[:, 4] = -math.log(99)

    def _cells(self) -> Tensor:
        """Of every prediction: its cell's column and row, its anchor's width and height, stride."""
        anchors = torch.tensor(ANCHORS).view(3, 3, 2) * (self.image_size / ANCHOR_IMAGE)
        rows = []
        for stride, own in zip(STRIDES, anchors, strict=True):
            side = torch.arange(self.image_size // stride)
            y, x, k = torch.meshgrid(side, side, torch.arange(3), indexing="ij")
            place = torch.stack([x, y], dim=-1).flatten(0, 2).float()
            strides = torch.full_like(place[:, :1], stride)
            rows.append(torch.cat([place, own[k.flatten()], strides], dim=1))
        return torch.cat(rows)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Normalised images N,C,S,S to ``raw`` (N, P, 5 + K), float32.

        P runs over the strides 8, 16, 32, over rows, columns and three anchors; the columns are
        t_x, t_y, t_w, t_h, t_o and a logit for each class.
        """
        maps, raw, coarser = self.backbone(images), [], None
        for scale in (2, 1, 0):
            features = maps[scale]
            if coarser is not None:
                upsampled = F.interpolate(self.reductions[scale](coarser), scale_factor=2.0)
                features = torch.cat([upsampled, features], dim=1)
            coarser, output = self.branches[scale](features)
            by_anchor = output.unflatten(1, (3, -1)).permute(0, 3, 4, 1, 2)
            raw.append(by_anchor.flatten(1, 3))
        return {"raw": torch.cat(raw[::-1], dim=1).float()}

    def decode(self, raw: Tensor) -> Tensor:
        """Boxes (N, P, 4) in pixels: sigmoid(t_xy) + cell, anchor * exp(t_wh)."""
        cell, anchor, stride = self.cells.split([2, 2, 1], dim=1)
        centre = (raw[..., :2].sigmoid() + cell) * stride
        half = anchor * raw[..., 2:4].clamp(max=math.log(LARGEST_GROWTH)).exp() / 2
        return torch.cat([centre - half, centre + half], dim=-1)

    def assign(self, boxes: Tensor) -> Tensor:
        """The one prediction that answers for each box (G, 4): its index in P, int64 (G,).

        Of the nine anchors the one whose shape overlaps the box most, in the cell of its centre.
        """
        size, centre = boxes[:, 2:] - boxes[:, :2], (boxes[:, 2:] + boxes[:, :2]) / 2
        anchors = size.new_tensor(ANCHORS) * (self.image_size / ANCHOR_IMAGE)
        common = torch.minimum(size[:, None], anchors).prod(dim=2)
        union = size.prod(dim=1)[:, None] + anchors.prod(dim=1) - common
        best = (common / union).argmax(dim=1)
        stride = centre.new_tensor(STRIDES)[best // 3]
        grid = self.image_size / stride
        column, row = torch.minimum(centre / stride[:, None], grid[:, None] - 1).floor().unbind(1)
        start = (self.cells[:, 4] < stride[:, None]).sum(dim=1)  # P begins with the finer grids
        return start + ((row * grid + column) * 3).long() + best % 3

    def loss(self, outputs: dict[str, Tensor], boxes: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Squared error and cross-entropies, summed, divided by the number of images.

        Takes what :meth:`forward` gave, and boxes and labels as :meth:`doamlib.models.ssd.SSD.loss`
        takes them.

        Returns:
            Scalars. ``bbox_regression``: binary cross-entropy of the centre's place in its cell and
            half the squared error of t_w and t_h, both times 2 - (box area / image area), which
            favours small boxes. ``objectness``: binary cross-entropy over all predictions but those
            that answer for no box and yet overlap one by more than 0.5. ``classification``: binary
            cross-entropy of each class at the predictions that answer for a box.
        """
        raw, images = outputs["raw"], len(labels)
        image, slot = labels.nonzero(as_tuple=True)
        box = boxes[image, slot]
        answering = self.assign(box)
        own = raw[image, answering]
        place, growth, small = self._regression_targets(box, answering)
        centre = F.binary_cross_entropy_with_logits(own[:, :2], place, reduction="none")
        shape = (own[:, 2:4] - growth).square() / 2
        wanted = F.one_hot(labels[image, slot] - 1, self.config.num_classes).float()
        classes = F.binary_cross_entropy_with_logits(own[:, 5:], wanted, reduction="sum")
        return {
            "bbox_regression": (small * (centre + shape)).sum() / images,
            "objectness": self._objectness(raw, boxes, labels > 0, image, answering) / images,
            "classification": classes / images,
        }

    def _regression_targets(self, box: Tensor, answering: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Place in the cell 0..1 (N,2), logarithm of size over anchor (N,2), weight (N,1)."""
        cell, anchor, stride = self.cells[answering].split([2, 2, 1], dim=1)
        size = box[:, 2:] - box[:, :2]
        place = ((box[:, 2:] + box[:, :2]) / 2 / stride - cell).clamp(0, 1)
        small = 2 - size.prod(dim=1, keepdim=True) / self.image_size**2
        return place, (size / anchor).log(), small

    def _objectness(
        self, raw: Tensor, boxes: Tensor, present: Tensor, image: Tensor, answering: Tensor
    ) -> Tensor:
        wanted = torch.zeros_like(raw[..., 4])
        wanted[image, answering] = 1.0
        overlap = box_iou(self.decode(raw.detach()), boxes).masked_fill(~present[:, None], 0.0)
        counted = (wanted == 1) | (overlap.amax(dim=2) <= IGNORED_FROM_IOU)
        return F.binary_cross_entropy_with_logits(
            raw[..., 4][counted], wanted[counted], reduction="sum"
        )

    def detect(self, outputs: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        """Detections of each image in pixels of the input; score = objectness x class."""
        raw = outputs["raw"]
        scores = raw[..., 4:5].sigmoid() * raw[..., 5:].sigmoid()
        return select_detections(self.decode(raw), scores, self.config, self.image_size)
