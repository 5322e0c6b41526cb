"""SSD on VGG16 (Liu et al., ECCV 2016; arXiv:1512.02325), at any input size and width.

The heads, default boxes and VGG16's layers are torchvision's. The feature extractor is written
here, because torchvision's has fixed widths and fails below 300 pixels; at full size its tensors
carry the same names. Matching, loss and decoding are written for whole batches, so that they do not
show beside the convolutions of a slim network; the tests hold them against torchvision's.

Read :class:`SSD` first: ``forward`` gives each of P priors (default boxes, see ``priors.py``) four
offsets and 1 + K logits, ``match`` says which priors stand for which item, ``loss`` compares,
``detect`` turns offsets and logits into boxes. N is the images of a batch, G the most items on one
of them, S the input's side.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.ssd import SSDHead
from torchvision.models.vgg import cfgs, make_layers

from doamlib.models.config import DetectorConfig, scaled
from doamlib.models.postprocess import select_detections
from doamlib.models.priors import decode, encode, make_priors, map_sizes, match_priors

NEGATIVES_PER_POSITIVE = 3
VGG16 = cfgs["D"]
# Reduction, output, stride and padding of conv8 to conv11.
EXTRA_LAYERS = ((256, 512, 2, 1), (128, 256, 2, 1), (128, 256, 1, 0), (128, 256, 1, 0))


class VGG16Extractor(nn.Module):
    """VGG16 up to conv5_3, fc6 and fc7 as convolutions, and SSD's extra layers.

    Its first convolution reads three channels; a detector with DOAM replaces it by one of four
    (``doamlib.models.detector.build_detector``). Returns the maps that SSD detects on: conv4_3
    (every position normalised to length 1, then scaled), fc7, conv8_2, conv9_2, and conv10_2 and
    conv11_2 where :func:`doamlib.models.priors.map_sizes` has them.

    Attributes:
        out_channels: channels of each map.
    """

    def __init__(self, image_size: int, width: float):
        super().__init__()
        layers = make_layers([c if c == "M" else scaled(c, width) for c in VGG16], batch_norm=False)
        pools = [i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
        layers[pools[2]].ceil_mode = True
        layers[pools[4] - 1].inplace = False  # Grad-CAM reads conv5_3's own output
        self.features = layers[: pools[3]]
        channels, fc7 = scaled(512, width), scaled(1024, width)
        fully_connected = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1),
            nn.Conv2d(channels, fc7, kernel_size=3, padding=6, dilation=6),
            nn.ReLU(inplace=True),
            nn.Conv2d(fc7, fc7, kernel_size=1),
            nn.ReLU(inplace=True),
        )
        conv5 = layers[pools[3] : pools[4]]  # with the fourth pooling before it
        self.extra = nn.ModuleList([nn.Sequential(*conv5, fully_connected)])
        self.out_channels = [channels, fc7]
        maps = len(map_sizes(image_size))
        for layer in EXTRA_LAYERS[: maps - 2]:
            reduced, out = scaled(layer[0], width), scaled(layer[1], width)
            self.extra.append(extra_block(self.out_channels[-1], reduced, out, *layer[2:]))
            self.out_channels.append(out)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)
        self.scale_weight = nn.Parameter(torch.full((channels,), 20.0))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Normalised images N,C,H,W to the maps, finest first."""
        features = self.features(images)  # conv4_3: B,512,38,38 of a full-size SSD300
        maps = [self.scale_weight.view(1, -1, 1, 1) * F.normalize(features)]
        for layer in self.extra:  # fc7: B,1024,19,19, then conv8_2 to conv11_2: 10, 5, 3 and 1
            features = layer(features)
            maps.append(features)
        return maps


class NormalisedConv2d(nn.Conv2d):
    """A convolution with batch normalisation behind it, its tensors named as the convolution's."""

    def __init__(self, plain: nn.Conv2d):
        super().__init__(
            plain.in_channels,
            plain.out_channels,
            plain.kernel_size,
            plain.stride,
            plain.padding,
            plain.dilation,
        )
        self.load_state_dict(plain.state_dict())
        self.norm = nn.BatchNorm2d(plain.out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """N,C,H,W to N,C',H',W'."""
        return self.norm(super().forward(features))


def normalise(module: nn.Module) -> None:
    """Give every convolution in a module its batch normalisation, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d):
            setattr(module, name, NormalisedConv2d(child))
        else:
            normalise(child)


def extra_block(
    in_channels: int, reduced: int, out_channels: int, stride: int, padding: int
) -> nn.Sequential:
    """A 1x1 reduction and a 3x3 convolution that shrinks the map."""
    return nn.Sequential(
        nn.Conv2d(in_channels, reduced, kernel_size=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(reduced, out_channels, kernel_size=3, stride=stride, padding=padding),
        nn.ReLU(inplace=True),
    )


class SSD(nn.Module):
    """Network, loss and decoding; :class:`doamlib.models.detector.Detector` prepares its input.

    At 300 pixels it has six maps and 8,732 priors; below 268 conv11_2 falls away, below 140
    conv10_2 too. The constants: a prior stands for an item that it overlaps by ``match_iou`` (0.5)
    or more, and each item has the prior that overlaps it most; offsets are divided by 0.1 (centre)
    and 0.2 (logarithm of the size); three negatives a positive; detections from ``score_threshold``
    (0.01) on, the strongest 200 of a class, each class by itself through ``nms_iou`` (0.45), the
    strongest 200 of an image. Sizes and ratios of the priors: ``priors.py``.
    """

    first_layer = "backbone.features.0"
    output_layers = ("head",)
    loss_of_fixed_shapes = True
    """Whether shapes in :meth:`loss` depend on the padded targets alone, not on what they hold."""

    keeps_image_losses = False
    """Whether :meth:`loss` also leaves ``image_losses`` (N,): each image as a batch of its own."""

    def __init__(self, config: DetectorConfig):
        super().__init__()
        self.config = config
        self.image_size = config.image_size
        priors, per_location = make_priors(
            config.image_size, config.prior_scales, config.prior_aspect_ratios
        )
        self.register_buffer("priors", priors, persistent=False)
        self.backbone = VGG16Extractor(config.image_size, config.width)
        if config.batch_norm:
            normalise(self.backbone)
        self.head = SSDHead(self.backbone.out_channels, per_location, config.num_classes + 1)
        for layer in self.head.modules():
            if isinstance(layer, nn.Conv2d):  # wider ones start at a loss ten times a blind guess's
                nn.init.normal_(layer.weight, std=0.01)
        if config.focal_loss:
            self._start_with_rare_objects(per_location)

    def _start_with_rare_objects(self, per_location: list[int]) -> None:
        """Start at a 1% chance of an object, or thousands of background priors drown the rest."""
        for layer, priors in zip(
            self.head.classification_head.module_list, per_location, strict=True
        ):
            background = layer.bias.detach().view(priors, -1)[:, 0]
            background.fill_(torch.tensor(99.0 * self.config.num_classes).log())

    @property
    def last_vgg_layer(self) -> nn.Module:
        """conv5_3, the last convolution of VGG16: where Fig. 6 looks."""
        return self.backbone.extra[0][5]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Normalised images N,C,S,S to ``offsets`` (N,P,4) and ``logits`` (N,P,1+K), float32."""
        outputs = self.head(self.backbone(images))
        return {
            "offsets": outputs["bbox_regression"].float(),
            "logits": outputs["cls_logits"].float(),
        }

    def match(self, boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Padded targets (N,G,4), (N,G) to each prior's box (N,P,4) and class (N,P), else 0."""
        matched = match_priors(self.priors, boxes, labels > 0, self.config.match_iou)
        # (N,P): the item's number, from 0; -1 for a prior that stands for none
        index = matched.clamp(min=0)
        box = boxes.gather(1, index[..., None].expand(-1, -1, 4))
        return box, labels.gather(1, index).masked_fill(matched < 0, 0)

    def loss(self, outputs: dict[str, Tensor], boxes: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Smooth L1 and classification, summed and divided by the batch's matched priors.

        Args:
            outputs: of :meth:`forward`.
            boxes: (N, G, 4) in pixels of the input, padded.
            labels: int64 (N, G), 1 to K, 0 for padding.

        Returns:
            Scalars ``bbox_regression`` and ``classification`` (SSD paper, Eq. 1 with alpha 1).
            An image without items has no positives, hence no negatives either, and adds nothing;
            with focal loss, which counts every prior, its background counts as well.

        Paper: Eq. 10, 20.
        """
        box, label = self.match(boxes, labels)
        if self.keeps_image_losses:
            self.image_losses = self._one_by_one(outputs, box, label)
        return self._matched_loss(outputs, box, label)

    @torch.no_grad()
    def _one_by_one(self, outputs: dict[str, Tensor], box: Tensor, label: Tensor) -> Tensor:
        """The loss of each image alone (N,), from the outputs that the whole batch has."""
        losses = []
        for image in range(len(label)):
            own = slice(image, image + 1)
            alone = {name: value[own] for name, value in outputs.items()}
            losses.append(sum(self._matched_loss(alone, box[own], label[own]).values()))
        return torch.stack(losses)

    def _matched_loss(
        self, outputs: dict[str, Tensor], box: Tensor, label: Tensor
    ) -> dict[str, Tensor]:
        """The loss, given each prior's box (N,P,4) and class (N,P)."""
        positive = label > 0  # (N,P): the prior stands for an item
        matched = positive.sum().clamp(min=1)  # N of the SSD paper
        # All shapes are the batch's, whatever it holds: nothing here waits for a GPU. Where a prior
        # stands for no item, its offsets are compared with themselves, which adds nothing.
        wanted = encode(box.flatten(0, 1), self.priors.repeat(len(box), 1)).view_as(box)
        offsets = outputs["offsets"]
        wanted = torch.where(positive[..., None], wanted, offsets.detach())
        localisation = F.smooth_l1_loss(offsets, wanted, reduction="sum")
        classification = self._focal if self.config.focal_loss else self._hard_negatives
        return {
            "bbox_regression": localisation / matched,
            "classification": classification(outputs["logits"], label) / matched,
        }

    def _hard_negatives(self, logits: Tensor, label: Tensor) -> Tensor:
        """Cross-entropy of the positives and of each image's three hardest negatives a positive."""
        entropy = F.cross_entropy(logits.transpose(1, 2), label, reduction="none")  # (N,P)
        positive = label > 0
        wanted = NEGATIVES_PER_POSITIVE * positive.sum(dim=1, keepdim=True)  # (N,1)
        # Positives come last as zeros; where an image has too few negatives, they add nothing.
        hardest = entropy.masked_fill(positive, 0.0).sort(dim=1, descending=True).values
        rank = torch.arange(hardest.shape[1], device=hardest.device)
        hardest = hardest.masked_fill(rank >= wanted, 0.0)
        return entropy.masked_fill(~positive, 0.0).sum() + hardest.sum()

    def _focal(self, logits: Tensor, label: Tensor) -> Tensor:
        """-alpha_t (1 - p_t)^gamma log(p_t) over all priors (Eq. 20)."""
        log_p = F.log_softmax(logits, dim=2).gather(2, label[..., None]).squeeze(2)
        alpha = torch.where(label > 0, self.config.focal_alpha, 1 - self.config.focal_alpha)
        return -(alpha * (1 - log_p.exp()) ** self.config.focal_gamma * log_p).sum()

    def detect(self, outputs: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        """Detections of each image in pixels of the input."""
        boxes = decode(outputs["offsets"], self.priors)
        scores = outputs["logits"].softmax(dim=2)[..., 1:]
        return select_detections(boxes, scores, self.config, self.image_size)
