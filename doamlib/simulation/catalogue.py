"""Which kinds of item exist, how far they reach, and how often each lies in which container.

The numbers are in ``catalogue.json``, by the name of the function that builds the kind.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from doamlib.simulation import containers, electronics, everyday, tools
from doamlib.simulation.cutters import CUTTERS
from doamlib.simulation.dice import Dice
from doamlib.simulation.primitives import Primitive

RAREST = 1.4
"""How much farther than its kind's reach the rarest item goes."""

_BUILDERS: tuple[Callable[[Dice], list[Primitive]], ...] = (
    electronics.phone,
    electronics.tablet,
    electronics.laptop,
    electronics.hard_disk,
    electronics.circuit_board,
    electronics.power_bank,
    electronics.charger,
    electronics.cable,
    electronics.earphones,
    electronics.camera,
    electronics.usb_stick,
    tools.ruler,
    tools.nail_file,
    tools.spatula,
    tools.tweezers,
    tools.comb,
    tools.spoon,
    tools.fork,
    tools.screwdriver,
    tools.spanner,
    tools.metal_bar,
    tools.pen,
    tools.nail_clippers,
    tools.rod_bundle,
    everyday.coins,
    everyday.keys,
    everyday.lighter,
    everyday.buckle,
    everyday.belt,
    everyday.zipper,
    everyday.zipper_pull,
    everyday.glasses,
    everyday.carabiner,
    everyday.watch,
    everyday.screws,
    everyday.studs,
    everyday.umbrella,
    everyday.bottle,
    everyday.can,
    everyday.toy,
    everyday.book,
    everyday.wallet,
    everyday.shoe,
    everyday.wire_frame,
    containers.cloth,
    containers.film,
)
_TABLE = json.loads(Path(__file__).with_name("catalogue.json").read_text())


@dataclass(frozen=True)
class Kind:
    """A kind of item.

    Attributes:
        name: As in the sidecar.
        build: Makes one item's parts from a stream of draws.
        reach: How far the parts of all but rare shapes lie from the item's origin, mm; rare ones
            (an open tool, a long lead) stay below `RAREST` times this.
        flat: Lies flat (laptops, books): the general pose law does not apply.
        listed: Appears among the sidecar's harmless items.
    """

    name: str
    build: Callable[[Dice], list[Primitive]]
    reach: float
    flat: bool = False
    listed: bool = True


KINDS: dict[str, Kind] = {
    name: Kind(
        name,
        build,
        _TABLE["reach_mm"][name],
        name in _TABLE["flat"],
        name not in _TABLE["unlisted"],
    )
    for build in _BUILDERS
    for name in (build.__name__,)
}
"""Harmless kinds, cloth and film included, by name."""

CUTTER_KINDS: dict[str, Kind] = {
    name: Kind(name, build, _TABLE["cutter_reach_mm"][name]) for name, build in CUTTERS.items()
}
"""The five cutters by class name."""

GROUPS: dict[str, tuple[str, ...]] = {
    group: tuple(name for name, weight in kinds.items() for _ in range(weight))
    for group, kinds in _TABLE["groups"].items()
}
"""Kinds by group, repeated by weight. ``tools`` are the cutters' distractors, ``fittings`` hang on
bags."""

CONTENTS: dict[str, dict[str, float]] = _TABLE["contents"]
"""Mean number of items by container and group, at density 1."""
