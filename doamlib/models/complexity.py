"""Table VIII worked back: which blocks at which places give the paper's digits.

Counting itself, and the two conventions of it, are in :mod:`doamlib.models.counting`.

The paper says that the rivals stand "behind the max pooling layer where the feature map is refined
to half". Every such map has at least 361 positions, so that a weight there costs at least 361 MAC;
the printed SE adds 7.7 million weights for 0.96 GMAC, 125 a weight. The text cannot be what was
counted. What fits every printed digit, found by counting alone and not confirmed by the authors, is
in :func:`complexity_table`; what the text's own placement costs is in :func:`text_table`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement

import pandas as pd
import torch
from torch import Tensor, nn

from doamlib.models.attention import DualAttention, NonLocal, SqueezeExcitation, conv_bn_relu
from doamlib.models.config import DetectorConfig
from doamlib.models.counting import count_layers, totals
from doamlib.models.detector import Detector, build_detector
from doamlib.models.doam import DOAMConfig

INPUT = (1, 3, 300, 300)
RIVALS = {"SE": "se", "Non-local": "nonlocal", "DA": "dual"}


class SEBasicBlock(nn.Module):
    """SE-ResNet's basic block: two 3x3 convolutions, SE, and the input added."""

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.Sequential(
            conv_bn_relu(channels, channels),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            SqueezeExcitation(channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """N,C,H,W to N,C,H,W."""
        return (features + self.layers(features)).relu()


class DANetHead(DualAttention):
    """DANet's head as its authors train it: each branch has an output of its own beside the sum."""

    def __init__(self, channels: int):
        super().__init__(channels)
        self.position_output = nn.Conv2d(channels // 4, channels, kernel_size=1)
        self.channel_output = nn.Conv2d(channels // 4, channels, kernel_size=1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """N,C,H,W to three maps of the same shape."""
        position, channel = self.position(features), self.channel(features)
        outputs = self.position_output(position), self.channel_output(channel)
        return self.output(position + channel), *outputs


@dataclass(frozen=True)
class Place:
    """A feature map of SSD300: after which layer, its channels and its side."""

    layer: str
    channels: int
    side: int


@dataclass(frozen=True)
class Explanation:
    """What a row of Table VIII adds to SSD: a block a place; those at ``idle`` are never run."""

    block: Callable[[int], nn.Module]
    places: tuple[Place, ...]
    idle: tuple[Place, ...] = ()


def _places(**maps: tuple[int, int]) -> tuple[Place, ...]:
    return tuple(Place(layer, *size) for layer, size in maps.items())


EXTRA_PLACES = _places(
    conv8_1=(256, 19), conv8_2=(512, 10), conv9_1=(128, 10), conv9_2=(256, 5), conv10_1=(128, 5)
)
# Three of the maps of 512 channels from pool4 on; which three, the count cannot tell.
MIDDLE_PLACES = _places(
    conv5_1=(512, 19), conv5_2=(512, 19), conv5_3=(512, 19), conv6=(1024, 19), conv7=(1024, 19)
)
EXPLANATIONS = {
    "SE": Explanation(SEBasicBlock, EXTRA_PLACES),
    "Non-local": Explanation(NonLocal, MIDDLE_PLACES[1:] + EXTRA_PLACES, MIDDLE_PLACES[:1]),
    "DA": Explanation(DANetHead, MIDDLE_PLACES + EXTRA_PLACES),
}


def complexity_table() -> pd.DataFrame:
    """The configuration that fits Table VIII.

    Returns:
        Indexed SSD, SE, Non-local, DA, DOAM: ``params``, ``size_mib``, and ``gmacs`` by the paper's
        tool. Truncated as the paper truncates, all digits agree but DOAM's 32.8435, missed by
        0.002%: thop counts either a LeakyReLU in the official gate or one of its Sobel filters.

    Paper: Table VIII.
    """
    ssd = _detector_totals(DetectorConfig())
    rows = {"SSD": ssd}
    rows |= {name: ssd + added_by(explanation) for name, explanation in EXPLANATIONS.items()}
    rows["DOAM"] = _detector_totals(DetectorConfig(doam=DOAMConfig()))
    return _as_printed(rows)[["params", "size_mib", "gmacs"]]


def text_table() -> pd.DataFrame:
    """What the text's own placement costs, with the blocks that this project trains.

    Returns:
        Indexed as :func:`complexity_table`, with one more column, ``gproducts``: the same by
        today's convention, which sees the matrix products of attention.
    """
    configs = {"SSD": DetectorConfig()}
    configs |= {row: DetectorConfig(attention=name) for row, name in RIVALS.items()}
    configs["DOAM"] = DetectorConfig(doam=DOAMConfig())
    return _as_printed({row: _detector_totals(config) for row, config in configs.items()})


def added_by(explanation: Explanation) -> pd.Series:
    """What an explanation adds to SSD, as :func:`doamlib.models.complexity.totals`."""
    blocks = [block_totals(explanation.block, place) for place in explanation.places]
    for place in explanation.idle:
        blocks.append(block_totals(explanation.block, place))
        blocks[-1][["thop", "products"]] = 0.0
    return sum(blocks)


def block_totals(block: Callable[[int], nn.Module], place: Place) -> pd.Series:
    """One block's parameters and operations at one place."""
    with torch.device("meta"):
        module = block(place.channels)
    return totals(count_layers(module, (1, place.channels, place.side, place.side)))


@cache
def convolution_outputs() -> tuple[Place, ...]:
    """Every convolution of SSD300's trunk, in order: where a block could have been put."""
    names = [f"conv{n}_{i + 1}" for n, count in enumerate((2, 2, 3, 3, 3), 1) for i in range(count)]
    names += ["conv6", "conv7", *(f"conv{n}_{i}" for n in (8, 9, 10, 11) for i in (1, 2))]
    trunk = _without_numbers(DetectorConfig()).network.backbone
    shapes = []
    for layer in trunk.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda *call: shapes.append(call[2].shape))
    trunk(torch.empty(INPUT, device="meta"))
    return tuple(Place(name, *shape[1:3]) for name, shape in zip(names, shapes, strict=True))


def search(block: Callable[[int], nn.Module], printed: tuple[float, float, float]) -> pd.DataFrame:
    """Put a block behind every run of neighbouring convolutions and compare with a printed row.

    Args:
        block: makes the block for a number of channels.
        printed: the row's parameters in millions, MiB and GMAC, truncated as in Table VIII to one,
            one and four digits.

    Returns:
        One row a run of places from ``first`` to ``last``: ``params``, ``size_mib``, ``gmacs``;
        ``size_fits`` if parameters and MiB are the printed ones; ``gmacs_fit`` if GMAC are, with
        all blocks run; ``idle``, the places of which any one left out would make GMAC fit.
    """
    ssd, places = _detector_totals(DetectorConfig()), convolution_outputs()
    blocks = pd.DataFrame([block_totals(block, place) for place in places])
    rows = []
    for first, last in combinations_with_replacement(range(len(places)), 2):
        members = range(first, last + 1)
        total = ssd + blocks.iloc[members].sum()
        size = truncated(total["params"] / 1e6, 1), truncated(total["size_mib"], 1)
        without = {places[i].layer: (total["thop"] - blocks["thop"].iat[i]) / 1e9 for i in members}
        rows.append(
            {
                "first": places[first].layer,
                "last": places[last].layer,
                "params": total["params"],
                "size_mib": total["size_mib"],
                "gmacs": total["thop"] / 1e9,
                "size_fits": size == printed[:2],
                "gmacs_fit": truncated(total["thop"] / 1e9, 4) == printed[2],
                "idle": [name for name, g in without.items() if truncated(g, 4) == printed[2]],
            }
        )
    return pd.DataFrame(rows)


def truncated(value: float, digits: int) -> float:
    """A number cut, not rounded, to some digits, as Table VIII cuts its own."""
    return math.floor(value * 10**digits) / 10**digits


@cache
def _detector_totals(config: DetectorConfig) -> pd.Series:
    return totals(count_layers(_without_numbers(config), INPUT))


def _without_numbers(config: DetectorConfig) -> Detector:
    with torch.device("meta"):
        return build_detector(config, seed=0)


def _as_printed(rows: dict[str, pd.Series]) -> pd.DataFrame:
    table = pd.DataFrame(rows).T.astype({"params": int})
    table = table.assign(gmacs=table["thop"] / 1e9, gproducts=table["products"] / 1e9)
    return table[["params", "size_mib", "gmacs", "gproducts"]]
