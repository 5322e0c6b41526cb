"""The number format of the forward pass: bfloat16 where it is fast, float32 where it must be.

bfloat16 keeps 8 bits of a number's digits and all of its range. Convolutions bear that and run two
to five times as fast on hardware that has the instructions. Differences of pixels, the blend of
DOAM, matching and losses do not: they are computed in float32 whatever the network runs in.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from doamlib.core.provenance import cpu_says

Precision = Literal["auto", "float32", "bfloat16"]
CPU_FLAGS = {"avx512_bf16", "amx_bf16"}
"""Of /proc/cpuinfo: either makes bfloat16 the faster format."""

WITHOUT_BFLOAT16 = ("SSE41", "AVX", "AVX512_CORE", "AVX512_CORE_VNNI")
"""Values of ONEDNN_MAX_CPU_ISA that mask those instructions, beside all that begin with AVX2."""


def chosen(precision: Precision, device: torch.device) -> Literal["float32", "bfloat16"]:
    """What runs: ``auto`` is bfloat16 where ``device`` has instructions for it, else float32."""
    if precision != "auto":
        return precision
    return "bfloat16" if has_bfloat16(device) else "float32"


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 faster than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    mask = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    if mask.startswith("AVX2") or mask in WITHOUT_BFLOAT16:
        return False
    return bool(CPU_FLAGS & set(cpu_says("flags").split()))


def forward_in(
    precision: Precision, device: torch.device, keep_casts: bool = True
) -> AbstractContextManager:
    """Inside, convolutions and matrix products of a forward pass run in this format.

    Args:
        precision: of the parameters.
        device: that computes.
        keep_casts: cast a weight once for all its uses; the numbers are the same.
    """
    if chosen(precision, device) == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=keep_casts)


def full_precision(device: str) -> AbstractContextManager:
    """No autocast inside; does nothing on a device without it (meta, where layers are counted)."""
    if torch.amp.is_autocast_available(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()
