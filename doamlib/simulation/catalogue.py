"""Which harmless kinds exist, how far they reach, and how often each lies in which container."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from doamlib.simulation import containers, electronics, everyday
from doamlib.simulation.cutters import CUTTERS
from doamlib.simulation.dice import Dice
from doamlib.simulation.primitives import Primitive


@dataclass(frozen=True)
class Kind:
    """A kind of item.

    Attributes:
        name: As in the sidecar.
        build: Makes one item's parts from a stream of draws.
        reach: No part lies farther from the item's origin than this, mm.
        flat: Lies flat (laptops, books): the general pose law does not apply.
        listed: Appears among the sidecar's harmless items.
    """

    name: str
    build: Callable[[Dice], list[Primitive]]
    reach: float
    flat: bool = False
    listed: bool = True


def _kinds(module: object, reach: dict[str, float], flat: tuple[str, ...] = ()) -> dict[str, Kind]:
    return {n: Kind(n, getattr(module, n), r, n in flat) for n, r in reach.items()}


KINDS: dict[str, Kind] = {
    **_kinds(
        electronics,
        {
            "phone": 95,
            "tablet": 155,
            "laptop": 218,
            "hard_disk": 95,
            "circuit_board": 115,
            "power_bank": 88,
            "charger": 170,
            "cable": 150,
            "earphones": 95,
            "headphones": 115,
            "camera": 85,
            "usb_stick": 36,
            "batteries": 60,
            "hair_dryer": 145,
        },
        flat=("tablet", "laptop", "circuit_board"),
    ),
    **_kinds(
        everyday,
        {
            "ruler": 158,
            "nail_file": 105,
            "spatula": 135,
            "tweezers": 66,
            "comb": 67,
            "spoon": 110,
            "fork": 108,
            "screwdriver": 118,
            "spanner": 108,
            "metal_bar": 84,
            "pen": 82,
            "nail_clippers": 40,
            "rod_bundle": 145,
            "coins": 52,
            "keys": 72,
            "lighter": 50,
            "buckle": 35,
            "belt": 110,
            "zipper": 170,
            "zipper_pull": 32,
            "glasses": 70,
            "carabiner": 42,
            "watch": 88,
            "screws": 65,
            "studs": 160,
            "umbrella": 192,
            "bottle": 130,
            "can": 88,
            "jar": 40,
            "squeeze_tube": 105,
            "soap": 62,
            "toy": 78,
            "book": 155,
            "wallet": 85,
            "shoe": 160,
            "wire_frame": 85,
        },
        flat=("book", "shoe"),
    ),
    "cloth": Kind("cloth", containers.cloth, 260, flat=True, listed=False),
    "film": Kind("film", containers.film, 170, flat=True, listed=False),
}
_CUTTER_REACH = (145, 135, 118, 135, 125)
CUTTER_KINDS = {
    name: Kind(name, build, reach)
    for (name, build), reach in zip(CUTTERS.items(), _CUTTER_REACH, strict=True)
}

GROUPS: dict[str, tuple[str, ...]] = {
    "cloth": ("cloth",),
    "film": ("film",),
    "laptop": ("laptop",),
    "electronics": (
        *("phone",) * 9,
        *("tablet",) * 4,
        *("power_bank", "charger") * 2,
        *("cable",) * 5,
        *("circuit_board", "earphones") * 2,
        *("hard_disk", "headphones", "camera", "usb_stick", "batteries", "hair_dryer"),
    ),
    "vessels": (
        *("bottle", "toy") * 2,
        *("book", "can", "jar", "squeeze_tube", "soap", "wallet", "shoe"),
    ),
    "small": (
        *("coins", "keys", "buckle", "zipper", "screws", "studs", "wire_frame") * 2,
        *("lighter", "belt", "glasses", "carabiner", "watch", "umbrella", "usb_stick"),
    ),
    "tools": (
        *("spatula", "nail_file", "comb", "metal_bar") * 3,
        *("ruler", "screwdriver", "rod_bundle") * 2,
        *("tweezers", "spoon", "fork", "spanner", "pen", "nail_clippers"),
    ),
}
"""Kinds by group; a kind named twice is twice as likely. ``tools`` are the cutters' distractors."""

FITTINGS = ("zipper_pull",) * 5 + ("buckle", "screws", "studs", "zipper")

CONTENTS: dict[str, dict[str, float]] = {
    "tray": {
        "cloth": 1.8,
        "film": 0.8,
        "laptop": 0.35,
        "electronics": 3.7,
        "vessels": 1.1,
        "small": 1.1,
        "tools": 0.9,
    },
    "backpack": {
        "cloth": 2.6,
        "film": 2.0,
        "laptop": 0.35,
        "electronics": 2.4,
        "vessels": 1.2,
        "small": 3.0,
        "tools": 0.9,
    },
    "suitcase": {
        "cloth": 3.6,
        "film": 1.2,
        "laptop": 0.15,
        "electronics": 1.8,
        "vessels": 2.0,
        "small": 3.0,
        "tools": 0.9,
    },
}
"""Mean number of items by container and group, at density 1."""
