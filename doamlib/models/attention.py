"""The paper's three rivals: squeeze-and-excitation, non-local and dual attention.

Each is written from its own paper and maps features N,C,H,W to features N,C,H,W. Each starts as
the identity, so that plugging one into a trained detector, as Section V does, does not
undo what the detector has learned; DOAM starts so too. The comparison in Section IV-C reads them as
relatives of DOAM; Eq. 13 and 15 are their equations there.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import ops

MAX_KEYS = 400


class SqueezeExcitation(ops.SqueezeExcitation):
    """Torchvision's SE (Hu et al., CVPR 2018; arXiv:1709.01507), Eq. 2 to 4 there; Eq. 15 here.

    z_c = mean of x_c over all positions; s = sigmoid(W2 relu(W1 z) + b2); y_c = s_c / s_0 x_c.

    Args:
        channels: C.
        reduction: r; the squeezed width is C / r, at least 4.

    W2 starts at 0 and b2 at 3, so that every s starts at s_0 = sigmoid(3) = 0.95; the constant
    1 / s_0, which the paper does not have, makes that start the identity. The paper starts near
    s = 0.5, which behind four pooling layers would shrink a trained network's features to a
    sixteenth; 0.95 without the constant would still take a fifth off them.

    Paper: Eq. 15.
    """

    START = 3.0

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__(channels, max(4, channels // reduction))
        nn.init.zeros_(self.fc2.weight)
        nn.init.constant_(self.fc2.bias, self.START)

    def forward(self, features: Tensor) -> Tensor:
        """Features N,C,H,W, each channel weighted by what all channels say on average."""
        return super().forward(features) * (1 + math.exp(-self.START))


class NonLocal(nn.Module):
    """Non-local block (Wang et al., CVPR 2018; arXiv:1711.07971), embedded Gaussian; Eq. 13 here.

    y_i = sum_j softmax_j(theta(x_i) . phi(x_j)) g(x_j); z_i = W y_i + x_i, with C / 2 channels
    inside. W ends in a batch normalisation whose scale starts at 0: z = x at first (Section 4.1
    there).

    Paper: Eq. 13.
    """

    def __init__(self, channels: int):
        super().__init__()
        inner = channels // 2
        self.theta = nn.Conv2d(channels, inner, kernel_size=1)
        self.phi = nn.Conv2d(channels, inner, kernel_size=1)
        self.g = nn.Conv2d(channels, inner, kernel_size=1)
        self.w = nn.Conv2d(inner, channels, kernel_size=1)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, features: Tensor) -> Tensor:
        """Features N,C,H,W, to each position added what it finds at all others."""
        attended = attend(self.theta(features), self.phi(features), self.g(features))
        return features + self.norm(self.w(attended))


class PositionAttention(nn.Module):
    """DANet's position attention: E_j = gamma sum_i softmax_i(B_i . C_j) D_i + A_j (Eq. 1, 2).

    B and C have an eighth of A's channels; gamma starts at 0.
    """

    def __init__(self, channels: int):
        super().__init__()
        inner = max(1, channels // 8)
        self.query = nn.Conv2d(channels, inner, kernel_size=1)
        self.key = nn.Conv2d(channels, inner, kernel_size=1)
        self.value = nn.Conv2d(channels, channels, kernel_size=1)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """N,C,H,W to N,C,H,W."""
        attended = attend(self.query(features), self.key(features), self.value(features))
        return self.gamma * attended + features


class ChannelAttention(nn.Module):
    """DANet's channel attention: E_j = beta sum_i softmax_i(A_i . A_j) A_i + A_j (Eq. 3, 4).

    Here i and j are channels; beta starts at 0.
    """

    def __init__(self):
        super().__init__()
        self.beta = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """N,C,H,W to N,C,H,W."""
        channels = features.flatten(2)
        weights = (channels @ channels.transpose(1, 2)).softmax(dim=2)
        return self.beta * (weights @ channels).view_as(features) + features


class DualAttention(nn.Module):
    """DANet's head (Fu et al., CVPR 2019; arXiv:1809.02983), Fig. 2 there.

    Two branches reduce C to C / 4 channels, one attends to positions, one to channels; their sum
    goes through a 1x1 convolution. DANet ends there. Behind a pooling layer the result is added to
    the input and the last convolution starts at 0, so that the block starts as the identity.
    """

    def __init__(self, channels: int):
        super().__init__()
        inner = channels // 4
        self.position = nn.Sequential(
            conv_bn_relu(channels, inner), PositionAttention(inner), conv_bn_relu(inner, inner)
        )
        self.channel = nn.Sequential(
            conv_bn_relu(channels, inner), ChannelAttention(), conv_bn_relu(inner, inner)
        )
        self.output = nn.Conv2d(inner, channels, kernel_size=1)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Features N,C,H,W plus what both attentions make of them."""
        return features + self.output(self.position(features) + self.channel(features))


def conv_bn_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    """3x3 convolution without bias, batch normalisation, ReLU."""
    return ops.Conv2dNormActivation(in_channels, out_channels)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """For each position i: sum over j of softmax_j(query_i . key_j) value_j.

    Keys and values are max-pooled to at most 400 positions, the subsampling of Section 3.3 of the
    non-local paper taken as far as the map needs, because the number of pairs grows with the fourth
    power of the side: 150 x 150 positions have 506 million. Nor are the products ever stored. For
    one image with 64 channels inside (float32, CPU, forward and backward, measured) storing all
    pairs takes 36 MiB at 38 x 38 and 7.6 GiB at 150 x 150, this function 6 and 42 MiB.

    Args:
        query: (N, D, H, W).
        key: (N, D, H, W).
        value: (N, E, H, W).

    Returns:
        (N, E, H, W).
    """
    height, width = query.shape[-2:]
    factor = pooling_factor(height, width)
    if factor > 1:
        key, value = (F.max_pool2d(x, factor, ceil_mode=True) for x in (key, value))
    flat = (x.flatten(2).transpose(1, 2).unsqueeze(1).contiguous() for x in (query, key, value))
    attended = F.scaled_dot_product_attention(*flat, scale=1.0)
    return attended.squeeze(1).transpose(1, 2).reshape(len(query), -1, height, width)


def pooling_factor(height: int, width: int) -> int:
    """Side of the blocks that are pooled into one key: the smallest that leaves 400 or fewer."""
    factor = 1
    while math.ceil(height / factor) * math.ceil(width / factor) > MAX_KEYS:
        factor += 1
    return factor


def make_attention(name: str, channels: int) -> nn.Module:
    """The rival ``se``, ``nonlocal`` or ``dual`` for features of ``channels`` channels."""
    blocks = {"se": SqueezeExcitation, "nonlocal": NonLocal, "dual": DualAttention}
    return blocks[name](channels)
