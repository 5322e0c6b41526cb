"""The official module's state dict (OPIXray, commit a3d37ff), translated into ours.

Three things differ beside the names. The official gate holds two convolutions where ours holds one
with twice the outputs; the official region convolutions read concatenated maps where ours add one
convolution of each part; the official module stores its Sobel kernels twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from doamlib.models.doam import DOAM

REGION_SIZES = (5, 10, 15)
STEPS = 5


def load_official_state_dict(module: DOAM, mapping: Mapping[str, Any]) -> None:
    """Load the tensors of the official module (commit a3d37ff) into ours.

    Args:
        module: a DOAM with the official shapes (`DOAMConfig.official`).
        mapping: the official names to arrays or tensors. Its copies of the Sobel kernels are
            compared with ours; its colours are in BGR order.

    Raises:
        ValueError: a name is missing or unknown, a shape differs, or a Sobel kernel is another.
    """
    state = convert_official_state_dict(mapping)
    if not torch.equal(state["sobel.kernels"], module.sobel.kernels.cpu()):
        raise ValueError("the official state dict holds other kernels than Sobel's")
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"the module is not shaped like the official one: {error}") from None


def convert_official_state_dict(mapping: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors of the official module, renamed and rearranged for :class:`doamlib.models.doam.DOAM`.

    Args:
        mapping: the official names to arrays or tensors.

    Raises:
        ValueError: a name is missing or unknown, or a tensor has too few dimensions or other sizes
            than those it is joined with.
    """
    source = {name: torch.as_tensor(value) for name, value in mapping.items()}
    try:
        state = {
            "gamma": source.pop("gamma")[0],
            "sobel.kernels": _both_copies(source, "hori", "vertical"),
            **{ours: source.pop(official) for official, ours in _renamed().items()},
            **_gate(source),
            **_regions(source),
        }
    except KeyError as missing:
        raise ValueError(f"the official state dict lacks {missing}") from None
    except (IndexError, RuntimeError) as unfit:
        raise ValueError(
            f"a tensor of the official state dict has another shape: {unfit}"
        ) from None
    if source:
        raise ValueError(f"unknown tensors in the official state dict: {sorted(source)}")
    return state


def _both_copies(source: dict[str, Tensor], *directions: str) -> Tensor:
    used = torch.cat([source.pop(f"weight_{direction}") for direction in directions])
    constant = torch.cat([source.pop(f"weight_const_{direction}") for direction in directions])
    if not torch.equal(used, constant):
        raise ValueError("the official state dict's two copies of its edge kernels differ")
    return used


def _renamed() -> dict[str, str]:
    modules = {"conv2d_1_1": "attention.fusion"}
    for step in range(STEPS):
        modules[f"conv2d_{step + 1}_attention"] = f"edge_guidance.steps.{step}"
        modules[f"conv2d_{step + 1}_rgb_attention"] = f"material.steps.{step}"
    return {
        f"{official}.{official}.{kind}": f"{ours}.{kind}"
        for official, ours in modules.items()
        for kind in ("weight", "bias")
    }


def _gate(source: dict[str, Tensor]) -> dict[str, Tensor]:
    official, ours = "GatedConv2dWithActivation", "material.regions.gate"
    state = {}
    for kind in ("weight", "bias"):
        halves = [source.pop(f"{official}.{name}.{kind}") for name in ("conv2d", "mask_conv2d")]
        state[f"{ours}.features_and_mask.{kind}"] = torch.cat(halves)
    for kind in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        state[f"{ours}.norm.{kind}"] = source.pop(f"{official}.batch_norm2d.{kind}")
    return state


def _regions(source: dict[str, Tensor]) -> dict[str, Tensor]:
    names = [f"conv2d_1_rgb_red_concat_{size}" for size in REGION_SIZES]
    weights = [source.pop(f"{name}.{name}.weight").chunk(2, dim=1) for name in names]
    ours = "material.regions"
    state = {f"{ours}.regional.{i}.weight": regional for i, (_, regional) in enumerate(weights)}
    state[f"{ours}.local.weight"] = torch.cat([local for local, _ in weights])
    state[f"{ours}.local.bias"] = torch.cat([source.pop(f"{n}.{n}.bias") for n in names])
    return state
