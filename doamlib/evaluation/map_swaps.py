"""Does the attention map act? A trained detector's mAP with its own map, and with others instead.

The network's weights stay as they are; only M (Eq. 8), or the edge channel that DOAM adds, is
exchanged while the test images are run through it. If the mAP does not fall when each image gets
another image's map, or one number everywhere, then where the map is bright or dark does not matter
to the detector. The same asked of the edge channel tells which of the module's two gifts is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from doamlib.data.cache import CachedDataset
from doamlib.evaluation.test_set import TestSet, detect_each
from doamlib.models.edges import normalise_edges

Change = Callable[[Tensor], Tensor]
Exchange = Callable[[], AbstractContextManager[None]]
"""Makes something to enter; inside, something of DOAM is exchanged."""


def mean(maps: Tensor) -> Tensor:
    """Each image's mean everywhere: N,1,H,W to N,1,H,W."""
    return maps.mean(dim=(1, 2, 3), keepdim=True).expand_as(maps)


def other(maps: Tensor) -> Tensor:
    """Each image gets what belongs to the image before it in the batch: N,1,H,W to N,1,H,W."""
    return maps.roll(1, dims=0)


SWAPS: dict[str, Change] = {
    "own": lambda maps: maps,
    "mean": mean,
    "other": other,
    "ones": torch.ones_like,
}
"""What a batch's maps M become; with ``ones`` DOAM only adds the edge channel."""

EDGE_SWAPS: dict[str, Change] = {"edges_mean": mean, "edges_other": other}
"""What the fourth channel of a batch becomes; the colours and their weights stay."""


@contextmanager
def swapped(doam: nn.Module, change: Change) -> Iterator[None]:
    """Inside, ``doam`` (with attention) uses ``change(M)`` in place of M."""
    handle = doam.attention.sigmoid.register_forward_hook(lambda _, __, maps: change(maps))
    with handle:
        yield


@contextmanager
def edges_swapped(doam: nn.Module, change: Change) -> Iterator[None]:
    """Inside, ``change`` is applied to the fourth of the channels that ``doam`` gives."""

    def exchange(_: nn.Module, __: tuple, weighted: Tensor) -> Tensor:  # D: N,4,H,W
        return torch.cat([weighted[:, :3], change(weighted[:, 3:])], dim=1)

    with doam.register_forward_hook(exchange):
        yield


@contextmanager
def edges_for_map(doam: nn.Module) -> Iterator[None]:
    """Inside, M is the plain edge image, with the mean and the contrast that M has in each image.

    So a map that is no more than edges loses nothing.
    """
    edges: list[Tensor] = []

    def as_bright(maps: Tensor) -> Tensor:
        plain = normalise_edges(edges.pop())
        centred = (plain - mean(plain)) / plain.std((1, 2, 3), keepdim=True).clamp_min(1e-6)
        return (mean(maps) + maps.std((1, 2, 3), keepdim=True) * centred).clamp(0, 1)

    noted = doam.sobel.register_forward_hook(lambda _, __, found: edges.append(found))
    with noted, swapped(doam, as_bright):
        yield


@contextmanager
def looking(doam: nn.Module | None) -> Iterator[Callable[[], dict[str, float]]]:
    """Inside, note what M looks like; gives a function that tells it, empty where there is no M.

    It tells ``attention_mean``, ``attention_sd`` (within an image, averaged over images) and
    ``saturated``, the share of M below 0.05 or above 0.95.
    """
    seen: list[Tensor] = []

    def note(maps: Tensor) -> Tensor:
        extreme = ((maps < 0.05) | (maps > 0.95)).float()
        columns = (maps.mean((1, 2, 3)), maps.std((1, 2, 3)), extreme.mean((1, 2, 3)))
        seen.append(torch.stack(columns, dim=1).cpu())
        return maps

    def told() -> dict[str, float]:
        names = ("attention_mean", "attention_sd", "saturated")
        return dict(zip(names, torch.cat(seen).mean(dim=0).tolist(), strict=True)) if seen else {}

    with ExitStack() as stack:
        if has_map(doam):
            stack.enter_context(swapped(doam, note))
        yield told


@contextmanager
def remembering(doam: nn.Module) -> Iterator[None]:
    """Inside, a branch of ``doam`` that reads the same batch once more answers from memory.

    The exchanges begin behind the branches, which are half of a small network's time.
    """

    def remembered(compute: Change) -> Change:
        last: list[Tensor] = []  # the batch that was read, and the answer

        def answer(batch: Tensor) -> Tensor:
            if not last or not torch.equal(batch, last[0]):
                last[:] = batch, compute(batch)
            return last[1]

        return answer

    branches = [getattr(doam, name, None) for name in ("material", "edge_guidance")]
    branches = [branch for branch in branches if branch is not None]
    for branch in branches:
        branch.forward = remembered(branch.forward)
    try:
        yield
    finally:
        for branch in branches:
            del branch.forward


def has_map(doam: nn.Module | None) -> bool:
    """Whether this is a DOAM that computes M; "Concat" and no DOAM at all do not."""
    return hasattr(doam, "attention")


def map_effect(
    detector: nn.Module,
    tested: CachedDataset,
    test: TestSet,
    device: torch.device,
    own: float | None = None,
) -> dict[str, float]:
    """The mAP (0 to 1) under every exchange, and what M looks like.

    Args:
        detector: trained, on ``device``; put in evaluation mode.
        tested: the test images at the network's size.
        test: their annotations.
        device: where the detector is.
        own: the mAP as it is, where it is known already.

    Returns:
        A mAP for ``own`` and each name in ``EDGE_SWAPS``; with a map for each in ``SWAPS`` and for
        ``edge_map`` (:func:`edges_for_map`) too, what :func:`looking` tells, and ``gamma`` where
        the module learns one. Empty without DOAM.
    """
    doam = detector.doam
    if doam is None:
        return {}
    changes = exchanges(doam)
    if own is None:
        changes = {"own": nullcontext} | changes
    with looking(doam) as told, remembering(doam):
        found = detect_each(detector, tested, device, changes)
    effect = {} if own is None else {"own": own}
    effect |= {name: test.mean_ap(detections) for name, detections in found.items()}
    return effect | told() | gamma(detector)


def exchanges(doam: nn.Module | None) -> dict[str, Exchange]:
    """Name -> what makes that exchange; none without DOAM, those of M where it has one."""
    if doam is None:
        return {}
    found = {name: partial(edges_swapped, doam, change) for name, change in EDGE_SWAPS.items()}
    if has_map(doam):
        maps = {name: change for name, change in SWAPS.items() if name != "own"}
        found |= {name: partial(swapped, doam, change) for name, change in maps.items()}
        found["edge_map"] = partial(edges_for_map, doam)
    return found


def gamma(detector: nn.Module) -> dict[str, float]:
    """``gamma``, how much of the map is blended in, where the detector learns one; else empty."""
    learned = getattr(detector.doam, "gamma", None)
    return {} if learned is None else {"gamma": float(learned.detach())}
