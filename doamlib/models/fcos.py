"""FCOS on ResNet-50 with a feature pyramid (Tian et al., ICCV 2019; arXiv:1904.01355).

Head, loss, anchors and decoding are torchvision's, as are the residual block and the pyramid. Only
the stack of blocks is written here, because torchvision's ResNet has fixed widths; at full size its
tensors carry the same names. Batch normalisation is trained, as torchvision does from scratch.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torchvision.models.detection import FCOS as TorchvisionFCOS
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.resnet import Bottleneck
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from doamlib.models.config import DetectorConfig, scaled

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


class FCOS(nn.Module):
    """Network, loss and decoding; :class:`doamlib.models.detector.Detector` prepares its input.

    The input is the next multiple of 32 of ``config.image_size``. No stage falls away at small
    sizes: the five maps are 40, 20, 10, 5 and 3 at 320 and 12, 6, 3, 2 and 1 at 96.
    """

    first_layer = "model.backbone.body.conv1"
    output_layers = ("model.head.classification_head.cls_logits",)

    def __init__(self, config: DetectorConfig):
        super().__init__()
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
        takes them.

        Returns:
            Scalars ``classification``, ``bbox_regression``, ``bbox_ctrness``.
        """
        targets = [
            {"boxes": box[label > 0], "labels": label[label > 0] - 1}
            for box, label in zip(boxes, labels, strict=True)
        ]
        anchors = [outputs["anchors"]] * len(targets)
        return self.model.compute_loss(targets, outputs, anchors, outputs["places"])

    def detect(self, outputs: dict[str, Tensor | list]) -> list[dict[str, Tensor]]:
        """Detections of each image in pixels of the input."""
        places = outputs["places"]
        names = ("cls_logits", "bbox_regression", "bbox_ctrness")
        by_map = {name: list(outputs[name].split(places, dim=1)) for name in names}
        images = len(outputs["cls_logits"])
        anchors = [list(outputs["anchors"].split(places))] * images
        sizes = [(self.image_size, self.image_size)] * images
        found = self.model.postprocess_detections(by_map, anchors, sizes)
        return [detection | {"labels": detection["labels"] + 1} for detection in found]
