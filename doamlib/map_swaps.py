"""Does the attention map act? A trained detector's mAP with its own map, and with others instead.

The network's weights stay as they are; only M (Eq. 8) is exchanged while the test images are run
through it. If the mAP does not fall when each image gets another image's map, or one number
everywhere, then where the map is bright or dark does not matter to the detector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from doamlib.data.cache import CachedDataset
from doamlib.inference import TestSet, detect

Change = Callable[[Tensor], Tensor]

SWAPS: dict[str, Change] = {
    "own": lambda maps: maps,
    "mean": lambda maps: maps.mean(dim=(1, 2, 3), keepdim=True).expand_as(maps),
    "other": lambda maps: maps.roll(1, dims=0),
    "ones": torch.ones_like,
}
"""What a batch's maps B,1,H,W become: themselves; each image's mean everywhere; the map of the
image before in the batch; 1 everywhere, so that DOAM only adds the edge channel."""


@contextmanager
def swapped(doam: nn.Module, change: Change) -> Iterator[None]:
    """Inside, ``doam`` (with attention) uses ``change(M)`` in place of M."""
    handle = doam.attention.sigmoid.register_forward_hook(lambda _, __, maps: change(maps))
    try:
        yield
    finally:
        handle.remove()


def map_effect(
    detector: nn.Module,
    tested: CachedDataset,
    test: TestSet,
    device: torch.device,
    own: float | None = None,
) -> dict[str, float]:
    """The mAP (0 to 1) under each of ``SWAPS``, and what M looks like.

    Args:
        detector: trained, on ``device``; put in evaluation mode.
        tested: the test images at the network's size.
        test: their annotations.
        device: where the detector is.
        own: the mAP with its own map, where it is known already.

    Returns:
        A mAP for each name in ``SWAPS``; ``attention_mean``, ``attention_sd`` (within an image,
        averaged over images) and ``saturated``, the share of M below 0.05 or above 0.95; ``gamma``
        where the module learns one. Empty for a detector without an attention map.
    """
    doam = detector.doam
    if doam is None or not hasattr(doam, "attention"):
        return {}
    seen: list[Tensor] = []

    def look(maps: Tensor) -> Tensor:
        extreme = ((maps < 0.05) | (maps > 0.95)).float()
        columns = (maps.mean((1, 2, 3)), maps.std((1, 2, 3)), extreme.mean((1, 2, 3)))
        seen.append(torch.stack(columns, dim=1).cpu())
        return SWAPS["mean"](maps)

    effect = {} if own is None else {"own": own}
    for name, change in (SWAPS | {"mean": look}).items():
        if name not in effect:
            with swapped(doam, change):
                effect[name] = test.mean_ap(detect(detector, tested, device))
    names = ("attention_mean", "attention_sd", "saturated")
    effect |= dict(zip(names, torch.cat(seen).mean(dim=0).tolist(), strict=True))
    return effect | gamma(detector)


def gamma(detector: nn.Module) -> dict[str, float]:
    """``gamma``, how much of the map is blended in, where the detector learns one; else empty."""
    learned = getattr(detector.doam, "gamma", None)
    return {} if learned is None else {"gamma": float(learned.detach())}
