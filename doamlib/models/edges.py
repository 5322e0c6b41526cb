"""The edge image E of Section IV-A: Sobel operators, and its two ways of normalisation."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from doamlib.core.precision import full_precision


class SobelEdges(nn.Module):
    """Edge image E = sqrt(Eh^2 + Ev^2) from the horizontal and vertical Sobel operators.

    The kernels are fixed. Zero padding, as in the code, draws an edge around a bright image, most
    often the strongest of all: then both ways to normalise edges agree.

    Paper: Algorithm 1.
    """

    def __init__(self, channel: Literal["red", "mean"] = "red"):
        super().__init__()
        self.channel = channel
        horizontal = torch.tensor([[-1.0, -2.0, -1.0], [0.0, 0.0, 0.0], [1.0, 2.0, 1.0]])
        self.register_buffer("kernels", torch.stack([horizontal, horizontal.T])[:, None])

    def forward(self, images: Tensor) -> Tensor:
        """Images N,3,H,W (RGB, 0..255) to edge magnitude N,1,H,W (not normalised, up to 1140)."""
        # bfloat16 keeps 8 bits of a pixel difference, too few: no autocast here.
        with full_precision(images.device.type):
            images = images.float()
            grey = images[:, :1] if self.channel == "red" else images.mean(dim=1, keepdim=True)
            edges = F.conv2d(grey, self.kernels, padding=1)
            # The tiny constant keeps the square root's slope finite where there is no edge.
            return (edges.square().sum(dim=1, keepdim=True) + 1e-12).sqrt()


def normalise_edges(edges: Tensor, over: Literal["image", "batch"] = "image") -> Tensor:
    """Stretch an edge image N,1,H,W to 0..1, by the extremes of each image or of the whole batch.

    An image without any edge becomes 0 everywhere.
    """
    axes = (1, 2, 3) if over == "image" else (0, 1, 2, 3)
    low, high = edges.amin(axes, keepdim=True), edges.amax(axes, keepdim=True)
    return (edges - low) / (high - low).clamp_min(1e-5)
