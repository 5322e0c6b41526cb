"""One detector, one contract: resizing, DOAM, normalisation, a network, and boxes in pixels again.

The contract is torchvision's. In training mode a detector takes images and targets and returns a
dict of scalar losses; in evaluation mode it takes images and returns a list of detections.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from doamlib.core.precision import full_precision
from doamlib.data.images import resize
from doamlib.models.config import DetectorConfig
from doamlib.models.doam import DOAM
from doamlib.models.weights import load_weights, save_weights

__all__ = ["Detector", "DetectorConfig", "build_detector", "load_weights", "save_weights"]

# ImageNet's, in units of 0..255; the edge channel starts at 0 and varies about as much.
MEAN = (123.675, 116.28, 103.53, 0.0)
STD = (58.395, 57.12, 57.375, 57.6)
Target = dict[str, Tensor]


class Detector(nn.Module):
    """A detection network with what stands before and after it.

    Attributes:
        config: what it was built from.
        doam: the DOAM in front, or None.
        network: SSD, YOLOv3 or FCOS. Its ``first_layer`` and ``output_layers`` name the convolution
            that reads the image and the layers whose shape depends on the number of classes.
        image_size: side of the network's square input in pixels.
    """

    def __init__(self, config: DetectorConfig, network: nn.Module, doam: DOAM | None):
        super().__init__()
        self.config, self.network, self.doam = config, network, doam
        self.image_size: int = network.image_size
        channels = 3 if doam is None else 4
        self.register_buffer("mean", torch.tensor(MEAN[:channels]).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD[:channels]).view(-1, 1, 1), persistent=False)

    def forward(
        self, images: Tensor | Sequence[Tensor], targets: Sequence[Target] | None = None
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Losses in training mode, detections in evaluation mode.

        Args:
            images: a list of float tensors 3,H,W, RGB, 0..1, of any sizes; or one batch N,3,H,W,
                float 0..1 or uint8 0..255. Images that already have the network's size are not
                resampled; others are rounded to 8 bits and resampled as the cached ones are, on
                the CPU and without a gradient.
            targets: in training mode, a dict an image: ``boxes`` float32 (G, 4), x1, y1, x2, y2 in
                pixels of the image; ``labels`` int64 (G,), 1 to ``num_classes``. G may be 0.

        Returns:
            Training: scalar losses by name, to be added up. Evaluation: a dict an image with
            ``boxes`` (R, 4) in pixels of the image, ``labels`` (R,), ``scores`` (R,), strongest
            first; of a GPU they lie on the CPU.

        Raises:
            ValueError: there is no image, or one has not three channels, no pixel or another type
                of numbers; targets are missing in training mode, or their number is not that of the
                images; or a box has no area or no label of its own, is not finite, or has a label
                that is out of range.
        """
        if not len(images):
            raise ValueError("no image: give one at least")
        pixels, scale = self.pixels(images)
        if self.training:
            if targets is None:
                raise ValueError("a detector in training mode needs targets")
            return self.losses(pixels, *self._padded(targets, scale))
        detections = self.network.detect(self.outputs(pixels))
        scale = scale.to(detections[0]["boxes"].device) if detections else scale
        for detection, factors in zip(detections, scale, strict=True):
            detection["boxes"] = detection["boxes"] / factors
        return detections

    def outputs(self, pixels: Tensor) -> dict[str, Tensor]:
        """What the network makes of :meth:`pixels`, by name."""
        return self.network(self.network_input(pixels))

    def plain_losses(self, pixels: Tensor, boxes: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Losses by name, from :meth:`pixels` and padded boxes (N,G,4) and labels (N,G)."""
        outputs = self.outputs(pixels)
        with full_precision(pixels.device.type):
            return self.network.loss(outputs, boxes, labels)

    losses = plain_losses
    """What training calls; :func:`doamlib.models.graphs.graphed` puts a faster way in its place."""

    def pixels(self, images: Tensor | Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Images at the network's size, N,3,S,S in 0..255; and by how much x and y were scaled.

        Returns:
            Pixels, and factors (N, 4) that take boxes from image to network pixels. Resizing is
            :func:`doamlib.data.images.resize`, so that a network reads the same pixels here as
            from the cache it was trained on.

        Raises:
            ValueError: an image has not three channels, no pixel or another type of numbers.
        """
        groups = [images] if isinstance(images, Tensor) else [image[None] for image in images]
        for group in groups:
            if group.ndim != 4 or group.shape[1] != 3 or 0 in group.shape[2:]:
                raise ValueError(
                    f"images must be N,3,H,W or a list of 3,H,W; one is {tuple(group.shape)}"
                )
            if group.dtype != torch.uint8 and not group.is_floating_point():
                raise ValueError(f"images are float, 0 to 1, or uint8; one is {group.dtype}")
        side, device = self.image_size, self.mean.device
        sizes = [group.shape[-2:] for group in groups for _ in group]
        factors = torch.tensor([[side / w, side / h] * 2 for h, w in sizes], device=device)
        return torch.cat([self._resized(group).to(device) for group in groups]), factors

    def _resized(self, images: Tensor) -> Tensor:
        values = images.float() if images.dtype == torch.uint8 else images.float() * 255
        if images.shape[-2:] == (self.image_size, self.image_size):
            return values
        rounded = values.detach().round().clamp(0, 255).byte().cpu()
        return torch.stack([resize(image, self.image_size) for image in rounded]).float()

    def network_input(self, pixels: Tensor) -> Tensor:
        """DOAM if there is one, then normalisation: N,3,S,S in 0..255 to what the network reads."""
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        channels = pixels if self.doam is None else self.doam(pixels)
        return (channels - self.mean) / self.std

    def _padded(self, targets: Sequence[Target], scale: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (N, G, 4) in network pixels and labels (N, G), padded with label 0."""
        if len(targets) != len(scale):
            raise ValueError(f"{len(scale)} images but {len(targets)} targets")
        for number, (boxes, labels) in enumerate((t["boxes"], t["labels"]) for t in targets):
            if labels.ndim != 1 or boxes.numel() != 4 * len(labels):
                shapes = f"{tuple(boxes.shape)} and labels {tuple(labels.shape)}"
                raise ValueError(f"target {number}: boxes {shapes}; they are (G, 4) and (G,)")
        boxes = pad_sequence([t["boxes"].reshape(-1, 4) for t in targets], batch_first=True)
        labels = pad_sequence([t["labels"] for t in targets], batch_first=True)
        if boxes.shape[1] == 0:  # no item in the whole batch; one padded box keeps the shapes
            boxes, labels = boxes.new_zeros(len(targets), 1, 4), labels.new_zeros(len(targets), 1)
        boxes = boxes.to(scale.dtype)
        self._check(boxes, labels, targets)  # before they travel: a GPU would have to be waited for
        return boxes.to(scale) * scale[:, None], labels.to(scale.device)

    def _check(self, boxes: Tensor, labels: Tensor, targets: Sequence[Target]) -> None:
        real = torch.arange(labels.shape[1], device=labels.device) < torch.tensor(
            [[len(t["labels"])] for t in targets], device=labels.device
        )
        whole = boxes.isfinite().all(dim=2) & (boxes[..., 2:] > boxes[..., :2]).all(dim=2)
        wrong = real & (~whole | (labels < 1) | (labels > self.config.num_classes))
        if wrong.any():
            image, box = wrong.nonzero()[0].tolist()
            raise ValueError(
                f"target {image}, box {box}: {boxes[image, box].tolist()} with label "
                f"{int(labels[image, box])}; boxes are finite with x1 < x2 and y1 < y2, labels 1 "
                f"to {self.config.num_classes}"
            )

    def matched_class_scores(
        self, images: Tensor | Sequence[Tensor], targets: Sequence[Target]
    ) -> Tensor:
        """What Grad-CAM explains (SSD only): the ground-truth class at its matched priors.

        Returns:
            (N,), for each image the sum over the priors that are matched with an item of that
            item's class logit, before softmax; differentiable.
        """
        pixels, scale = self.pixels(images)
        logits = self.network(self.network_input(pixels))["logits"]
        _, label = self.network.match(*self._padded(targets, scale))
        scores = logits.gather(2, label[..., None]).squeeze(2)
        return scores.masked_fill(label == 0, 0.0).sum(dim=1)


def build_detector(config: DetectorConfig, seed: int) -> Detector:
    """A detector with random weights that follow from the seed alone.

    The plain network is drawn first, rivals and DOAM are plugged in afterwards: all arms with one
    seed share their common weights. Convolutions start as He et al. advise, output layers near
    zero, DOAM as PyTorch starts it.

    Args:
        config: which detector.
        seed: any int; torch's global generator is left as it was.
    """
    network_class, doam = _network_class(config.name), None
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = network_class(config)
        torch.default_generator.manual_seed(seed)
        if config.attention != "none":
            plug_in(config.attention, network)
        torch.default_generator.manual_seed(seed)
        if config.doam is not None:
            doam = DOAM(config.doam)
            first = network.get_submodule(network.first_layer)
            add_edge_channel(first, config.fresh_first_layer)
    return Detector(config, network, doam).to(memory_format=torch.channels_last)


def _network_class(name: str) -> type[nn.Module]:
    # Imported when a network is built: torchvision takes 1.5 s, and most pages build none.
    from doamlib.models.fcos import FCOS
    from doamlib.models.ssd import SSD
    from doamlib.models.yolov3 import YOLOv3

    return {"ssd": SSD, "yolov3": YOLOv3, "fcos": FCOS}[name]


def plug_in(attention: str, network: nn.Module) -> None:
    """Put an attention block behind each of SSD's max-pooling layers that halve the map."""
    from doamlib.models.attention import make_attention

    extractor = network.backbone
    for layers in (extractor.features, extractor.extra[0]):
        for index, layer in enumerate(layers):
            if isinstance(layer, nn.MaxPool2d):
                block = make_attention(attention, layers[index + 1].in_channels)
                layers[index] = nn.Sequential(OrderedDict(pool=layer, attention=block))


def add_edge_channel(convolution: nn.Conv2d, fresh: bool) -> None:
    """Let a three-channel convolution read DOAM's fourth channel.

    Its kernels are kept and the new ones are zero, so that the edge channel changes nothing at
    first; or, as in the official code, all of them start ``fresh``.
    """
    weight = convolution.weight.detach()
    widened = torch.cat([weight, torch.zeros_like(weight[:, :1])], dim=1)
    if fresh:
        nn.init.kaiming_normal_(widened, nonlinearity="relu")
    convolution.weight = nn.Parameter(widened)
    convolution.in_channels = 4
