"""The de-occlusion attention module (DOAM), Section IV-A of the paper, Fig. 3 and Algorithm 1.

DOAM stands in front of a detector. From an X-ray image x it computes an edge image E, guides it
(A), gathers material information from the neighbourhood of every pixel (B), fuses both into an
attention map M, and hands the detector four channels: x and E, weighted by M.

The paper's text and the authors' code (github.com/OPIXray-author/OPIXray, commit a3d37ff) describe
two different modules. :class:`DOAMConfig` names each difference as one field. Start reading at
:meth:`DOAM.forward`; taught block by block in ``book/doam.ipynb``, the fields in
``book/deviations.ipynb``.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from doamlib.core.config import Config
from doamlib.core.precision import full_precision
from doamlib.models.edges import SobelEdges, normalise_edges

Channels = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]

PIXEL_RANGE = 255.0
BRANCH_MEAN, BRANCH_STD = 128.0, 64.0
"""What ``standardised`` takes off P and divides it by: middle and quarter of the pixels' range."""
EDGE_STD = 256.0
"""What it divides E by, about the standard deviation of E on generated X-ray images."""


class DOAMConfig(Config):
    """What may differ between two DOAMs; the defaults are the DOAM of every table.

    That is :meth:`official` with edges normalised image by image.

    Attributes:
        edge_guidance: compute A (Eq. 1, 2). Without it and without ``material`` there is no
            attention and the output is P, image and edges side by side: the arm "Concat" of
            Table IX.
        material: compute B (Eq. 3 to 6). Off: the arm "EG".
        gate: choose among region sizes with a gated convolution (Eq. 6). Off: the set U is passed
            on as it is; with one region size this is the arm "EG+MA/G".
        channel_order: order of the colours that the material branch reads. The code loads images
            as BGR, the paper speaks of RGB. The module's input and output are RGB in either case.
        edge_channel: what the Sobel kernels see: the red channel alone (code), or the mean of the
            three channels (the paper filters "the image").
        edge_normalisation: where E's extremes are taken from when it is stretched to 0..255 for
            P: each image by itself, or the whole batch at once (code). With ``"batch"`` an image's
            prediction depends on its neighbours in the batch.
        block: what a step of Edge Guidance or Material Awareness is: a convolution and no
            activation (code), or convolution, batch normalisation and ReLU (paper). The gate ends
            in a batch normalisation either way.
        edge_channels: output channels of the N1 steps of Edge Guidance; N1 is their number.
        material_channels: output channels of the N2 steps of Material Awareness.
        region_sizes: side lengths k of the regions in pixels (Eq. 5).
        region_convolution: reduce each concatenation B3 to the branch's width with a 3x3
            convolution before the gate (code; absent from the paper).
        fusion_kernel: kernel size of the convolution that fuses A and B (Eq. 7): 3 in the code, 1
            in the paper.
        gamma: start value of a learned scalar that blends attended and plain channels,
            ``gamma * M * P + (1 - gamma) * P`` (code), or None for ``M * P`` (paper). At 0, where
            the code starts, nothing but gamma itself receives a gradient until gamma has moved.
            Nothing keeps it within 0..1.
        branch_inputs: what the branches read: pixels of 0..255 and edges of up to 1140 (code), or
            both shifted and scaled to a variance near 1 (neither code nor paper). Edge Guidance
            has no normalisation and hands the scale of its input on; the material branch ends in
            one.
    """

    edge_guidance: bool = True
    material: bool = True
    gate: bool = True
    channel_order: Literal["bgr", "rgb"] = "bgr"
    edge_channel: Literal["red", "mean"] = "red"
    edge_normalisation: Literal["image", "batch"] = "image"
    block: Literal["conv", "conv-bn-relu"] = "conv"
    edge_channels: Channels = (8, 16, 16, 8, 1)
    material_channels: Channels = (8, 16, 32, 16, 8)
    region_sizes: Channels = (5, 10, 15)
    region_convolution: bool = True
    fusion_kernel: Literal[1, 3] = 3
    gamma: float | None = 0.0
    branch_inputs: Literal["pixels", "standardised"] = "pixels"

    @classmethod
    def official(cls, **changes: Any) -> DOAMConfig:
        """The official code's choices, all of them: E is stretched over the whole batch."""
        return cls(**{"edge_normalisation": "batch"} | changes)

    @classmethod
    def paper(cls, n1: int = 2, n2: int = 2, width: int = 8, **changes: Any) -> DOAMConfig:
        """The paper's text. It leaves N1, N2 and the width open; two steps of eight channels here.

        Of what is not set here the paper says the same as the code, or (how E is normalised)
        nothing. Eq. 9 multiplies M and P as matrices, which their shapes do not allow; like the
        code, every configuration multiplies them pixel by pixel.
        """
        choices = {
            "channel_order": "rgb",
            "edge_channel": "mean",
            "block": "conv-bn-relu",
            "edge_channels": (width,) * n1,
            "material_channels": (width,) * n2,
            "region_convolution": False,
            "fusion_kernel": 1,
            "gamma": None,
        }
        return cls(**choices | changes)

    @property
    def attends(self) -> bool:
        """Whether there is an attention map M; the arm "Concat" of Table IX has none."""
        return self.edge_guidance or self.material

    def slimmed(self, width: float) -> DOAMConfig:
        """The same module with ``width`` times the channels, but never fewer than one."""
        slim = {
            name: tuple(max(1, round(width * count)) for count in getattr(self, name))
            for name in ("edge_channels", "material_channels")
        }
        return self.model_copy(update=slim)

    @classmethod
    def concat(cls) -> DOAMConfig:
        """Table IX, "Concat": image and edges side by side, no attention."""
        return cls(edge_guidance=False, material=False)

    @classmethod
    def edge_guidance_only(cls) -> DOAMConfig:
        """Table IX, "EG": attention from Edge Guidance alone."""
        return cls(material=False)

    @classmethod
    def without_gate(cls) -> DOAMConfig:
        """Table IX, "EG+MA/G": one region size and no gate; Section V-E picks 10x10."""
        return cls(gate=False, region_sizes=(10,))


def convolution_steps(in_channels: int, channels: Channels, block: str) -> nn.Sequential:
    """3x3 convolutions with bias, one a step; ``conv-bn-relu`` norms and rectifies each."""
    layers: list[nn.Module] = []
    for out_channels in channels:
        layers.append(nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1))
        if block == "conv-bn-relu":
            layers += [nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)]
        in_channels = out_channels
    return nn.Sequential(*layers)


def edge_guidance(config: DOAMConfig) -> nn.Sequential:
    """A = {Fe(E)} repeated N1 times: N,1,H,W to N,Ce,H,W; E un-normalised. Paper: Eq. 1, 2."""
    steps = convolution_steps(1, config.edge_channels, config.block)
    return nn.Sequential(OrderedDict(steps=steps))


class RegionAverage(nn.Module):
    """B2: every pixel takes the mean of its k x k block (Eq. 5, with k terms a side as corrected).

    Blocks start at the top left. Where k does not divide the height or width, the blocks at the
    bottom or right border are smaller: their mean is over the pixels that exist. Paper: Eq. 5.
    """

    def __init__(self, size: int):
        super().__init__()
        self.size = size
        self.pool = nn.AvgPool2d(size, ceil_mode=True, count_include_pad=False)

    def forward(self, features: Tensor) -> Tensor:
        """N,C,H,W to N,C,H,W."""
        height, width = features.shape[-2:]
        blocks = F.interpolate(self.pool(features), scale_factor=float(self.size), mode="nearest")
        return blocks[..., :height, :width]


class GatedConvolution(nn.Module):
    """G(U) = conv(U) * sigmoid(mask(U)), then batch normalisation (Eq. 6, after [43]).

    Both 3x3 convolutions read the same input, so one convolution gives both halves. Paper: Eq. 6.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.features_and_mask = nn.Conv2d(in_channels, 2 * out_channels, kernel_size=3, padding=1)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, regions: Tensor) -> Tensor:
        """N,Cin,H,W to N,Cout,H,W."""
        features, mask = self.features_and_mask(regions).chunk(2, dim=1)
        return self.norm(features * mask.sigmoid())


class RegionInformationAggregation(nn.Module):
    """RIA: B1 beside its region averages, once per region size, and the gate (Eq. 5, 6).

    With ``region_convolution`` each B3 = B1 || B2 goes through its own 3x3 convolution. Convolving
    two concatenated maps is adding a convolution of each, so the parts that read B1, which all
    region sizes share, are one convolution (``local``) and no concatenation is ever stored.

    Attributes:
        out_channels: channels of B.

    Paper: Eq. 5, 6 and 14.
    """

    def __init__(self, channels: int, config: DOAMConfig):
        super().__init__()
        sizes = config.region_sizes
        self.averages = nn.ModuleList(RegionAverage(size) for size in sizes)
        union = 2 * channels * len(sizes)
        self.reduces = config.region_convolution
        if self.reduces:  # for each k a Conv2d(2 Cr, Cr, 3) of B1 || B2, taken apart
            union = channels * len(sizes)
            self.local = nn.Conv2d(channels, union, kernel_size=3, padding=1)
            self.regional = nn.ModuleList(
                nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False) for _ in sizes
            )
        self.out_channels = channels if config.gate else union
        self.gate = GatedConvolution(union, channels) if config.gate else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """B1 (N,Cr,H,W) to B (N,out_channels,H,W)."""
        averages = [average(features) for average in self.averages]  # B2 of each k: N,Cr,H,W
        if self.reduces:  # conv(B1 || B2) = conv(B1) + conv(B2), so no B3 is built
            regional = [conv(a) for conv, a in zip(self.regional, averages, strict=True)]
            union = self.local(features) + torch.cat(regional, dim=1)
        else:  # B3 = B1 || B2 of each k, side by side
            union = torch.cat([part for a in averages for part in (features, a)], dim=1)
        return self.gate(union)  # of U, the union of the region sizes (Eq. 6)


def material_awareness(config: DOAMConfig) -> nn.Sequential:
    """B1 = {Fm(x || E)} repeated N2 times (Eq. 3, 4), then RIA: colour and texture nearby.

    P (N,4,H,W, 0..255) to B (N,regions.out_channels,H,W). Paper: Eq. 3, 4.
    """
    steps = convolution_steps(4, config.material_channels, config.block)
    regions = RegionInformationAggregation(config.material_channels[-1], config)
    return nn.Sequential(OrderedDict(steps=steps, regions=regions))


def attention_generation(in_channels: int, kernel: int) -> nn.Sequential:
    """M = sigmoid(Wa (A || B) + ba) (Eq. 7, 8): A || B (N,C,H,W) to N,1,H,W in 0..1.

    One channel as in the code. The paper gives C as many channels as A and B together and M none;
    both cannot hold. Paper: Eq. 7, 8.
    """
    fusion = nn.Conv2d(in_channels, 1, kernel_size=kernel, padding=kernel // 2)
    return nn.Sequential(OrderedDict(fusion=fusion, sigmoid=nn.Sigmoid()))


class DOAM(nn.Module):
    """The whole module (Algorithm 1). Works on any height and width.

    Args:
        config: which DOAM; the default is the one of every table.

    Layers start as PyTorch starts them. So do the official code's but for the two convolutions of
    its gate, which it draws wider (He); the batch normalisation behind them takes that out again,
    up to what it does to the mask. A region convolution is two layers here (see
    :class:`RegionInformationAggregation`), whose start is wider by sqrt(2) than that of one.
    Paper: Algorithm 1; Eq. 9, 16; Fig. 3.
    """

    def __init__(self, config: DOAMConfig | None = None):
        super().__init__()
        self.config = config = config or DOAMConfig()
        self.sobel = SobelEdges(config.edge_channel)
        fused = 0
        if config.material:
            self.material = material_awareness(config)
            fused += self.material.regions.out_channels
        if config.edge_guidance:
            self.edge_guidance = edge_guidance(config)
            fused += config.edge_channels[-1]
        if fused:
            self.attention = attention_generation(fused, config.fusion_kernel)
            if config.gamma is not None:
                self.gamma = nn.Parameter(torch.tensor(config.gamma))

    def forward(
        self, images: Tensor, return_attention: bool = False
    ) -> Tensor | tuple[Tensor, Tensor | None]:
        """Weight image and edges by attention.

        Args:
            images: N,3,H,W, RGB, 0..255, float.
            return_attention: also return M.

        Returns:
            D: N,4,H,W, red, green, blue and edges, each 0..255 times its weight. With
            ``return_attention`` the pair (D, M), M: N,1,H,W in 0..1, None where the configuration
            has no attention.

        Raises:
            ValueError: the images do not have three channels.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"DOAM needs images N,3,H,W; got shape {tuple(images.shape)}")
        edges = self.sobel(images)  # E: N,1,H,W, 0 to 1140
        scaled_edges = PIXEL_RANGE * normalise_edges(edges, self.config.edge_normalisation)
        plain = torch.cat([images, scaled_edges], dim=1)  # P = x || E: B,4,H,W, 0..255
        # Material Awareness reads P with the stretched edges, Edge Guidance E as it is.
        attention = self._attention(plain, edges)  # M: N,1,H,W, 0..1
        weighted = plain if attention is None else self._blend(plain, attention)  # D: N,4,H,W
        return (weighted, attention) if return_attention else weighted

    def _attention(self, plain: Tensor, edges: Tensor) -> Tensor | None:
        """M from P and E: B from Material Awareness, A from Edge Guidance, then their fusion."""
        branches = []
        if self.config.branch_inputs == "standardised":
            plain, edges = (plain - BRANCH_MEAN) / BRANCH_STD, edges / EDGE_STD
        if self.config.material:
            if self.config.channel_order == "bgr":
                read = torch.cat([plain[:, :3].flip(1), plain[:, 3:]], dim=1)
            else:
                read = plain
            branches.append(self.material(read))  # B (Eq. 3 to 6)
        if self.config.edge_guidance:
            branches.append(self.edge_guidance(edges))  # A (Eq. 1, 2)
        if not branches:
            return None
        # C = Wa (A || B) + ba (Eq. 7); here B comes first, as in the code.
        logits = self.attention.fusion(torch.cat(branches, dim=1))
        return self.attention.sigmoid(logits.float())  # in bfloat16 nothing lies within 0.004 of 1

    def _blend(self, plain: Tensor, attention: Tensor) -> Tensor:
        """D from P and M (Eq. 9), pixel by pixel."""
        # In bfloat16 the factor is 1 for every pixel while gamma is below 0.002: DOAM would be off.
        with full_precision(plain.device.type):
            attention = attention.float()
            if self.config.gamma is None:
                return attention * plain
            # gamma * M * P + (1 - gamma) * P, with one product as large as P instead of three
            return plain * (1 + self.gamma * (attention - 1))
