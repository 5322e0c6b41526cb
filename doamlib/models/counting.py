"""Parameters, size and operations of a network, layer by layer.

Two conventions of counting, both in multiply-accumulates (MAC) of one forward pass:

``thop``
    what the paper's "GFLOPs" are, the tool thop up to version 0.0.5: a convolution counts each
    output times (inputs of one output, and 1 for a bias), batch normalisation two an element,
    average pooling one an input and one an output; activations, max pooling, means, fixed filters
    and the matrix products of attention count nothing.
``products``
    what today's counters print (``torch.utils.flop_counter`` prints twice as much): every product
    of a convolution or a matrix multiplication, and nothing else.

Counting runs on torch's meta device: shapes without numbers, so no memory and no time.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor, nn

from doamlib.models.attention import ChannelAttention, NonLocal, PositionAttention, pooling_factor
from doamlib.models.detector import Detector
from doamlib.models.doam import RegionAverage
from doamlib.models.edges import SobelEdges

Count = tuple[int, int]


def count_convolution(layer: nn.Conv2d, _: Tensor, output: Tensor) -> Count:
    """Outputs times inputs of one output; thop adds the bias."""
    inputs = layer.weight[0].numel()
    return output.numel() * (inputs + (layer.bias is not None)), output.numel() * inputs


def count_batch_norm(_: nn.Module, features: Tensor, __: Tensor) -> Count:
    """thop: a subtraction and a multiplication an element."""
    return 2 * features.numel(), 0


def count_region_average(layer: RegionAverage, features: Tensor, _: Tensor) -> Count:
    """thop: inputs of one output and a division, an output; expanding it back is free."""
    height, width = features.shape[-2:]
    blocks = math.ceil(height / layer.size) * math.ceil(width / layer.size)
    return (layer.size**2 + 1) * blocks * features.shape[:2].numel(), 0


def count_sobel(layer: SobelEdges, _: Tensor, output: Tensor) -> Count:
    """Two fixed 3x3 filters, which thop does not see."""
    return 0, layer.kernels.numel() * output.numel()


def count_position_pairs(layer: NonLocal | PositionAttention, features: Tensor, _: Tensor) -> Count:
    """Query times key and weight times value for every pair of positions, which thop misses."""
    key, value = (layer.phi, layer.g) if isinstance(layer, NonLocal) else (layer.key, layer.value)
    batch, _, height, width = features.shape
    factor = pooling_factor(height, width)
    pairs = height * width * math.ceil(height / factor) * math.ceil(width / factor)
    return 0, batch * pairs * (key.out_channels + value.out_channels)


def count_channel_pairs(_: ChannelAttention, features: Tensor, __: Tensor) -> Count:
    """Channel times channel, twice, which thop misses."""
    batch, channels, height, width = features.shape
    return 0, 2 * batch * channels**2 * height * width


RULES: dict[type[nn.Module], Callable[..., Count]] = {
    nn.Conv2d: count_convolution,
    nn.BatchNorm2d: count_batch_norm,
    RegionAverage: count_region_average,
    SobelEdges: count_sobel,
    NonLocal: count_position_pairs,
    PositionAttention: count_position_pairs,
    ChannelAttention: count_channel_pairs,
}


def count_layers(module: nn.Module, shape: tuple[int, ...]) -> pd.DataFrame:
    """Every layer that holds parameters or computes, in evaluation mode.

    Args:
        module: a detector (counted without decoding and suppression), or any network or block of
            this library. It is not changed.
        shape: of its input, e.g. ``(1, 3, 300, 300)``.

    Returns:
        Indexed by the layer's name: ``kind``, ``params`` (the fixed Sobel kernels included, as a
        file of weights includes them), ``thop`` and ``products``. Sums are the network's.
    """
    module = copy.deepcopy(module).to("meta").eval()
    counted: dict[nn.Module, Count] = {}

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        before, now = counted.get(layer, (0, 0)), RULES[type(layer)](layer, inputs[0], output)
        counted[layer] = (before[0] + now[0], before[1] + now[1])

    for layer in module.modules():
        if type(layer) in RULES:
            layer.register_forward_hook(count)
    with torch.no_grad():
        run(module, torch.empty(shape, device="meta"))
    rows = {
        name: (type(layer).__name__, own_parameters(layer), *counted.get(layer, (0, 0)))
        for name, layer in module.named_modules()
        if own_parameters(layer) or layer in counted
    }
    return pd.DataFrame.from_dict(rows, "index", columns=["kind", "params", "thop", "products"])


def run(module: nn.Module, inputs: Tensor) -> object:
    """What is counted of a module: of a detector, all up to the network's raw outputs."""
    if isinstance(module, Detector):
        return module.network(module.network_input(inputs))
    return module(inputs)


def own_parameters(layer: nn.Module) -> int:
    """Numbers that a file of weights holds for this layer itself, statistics apart."""
    own = sum(parameter.numel() for parameter in layer.parameters(recurse=False))
    return own + (layer.kernels.numel() if isinstance(layer, SobelEdges) else 0)


def totals(layers: pd.DataFrame) -> pd.Series:
    """Sums of :func:`count_layers`, and ``size_mib`` at 4 bytes a parameter."""
    sums = layers[["params", "thop", "products"]].sum().astype(float)
    sums["size_mib"] = 4 * sums["params"] / 2**20
    return sums
