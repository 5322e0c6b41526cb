"""Which kinds of item exist, how far they reach, and how often each lies in which container.

The numbers are in ``catalogue.json``, by module and name of the function that builds the kind.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from doamlib.simulation.dice import Dice
from doamlib.simulation.drawing.primitives import Primitive
from doamlib.simulation.items import containers, electronics, everyday, tools
from doamlib.simulation.items.cutters import CUTTERS

RAREST = 1.4
"""How much farther than its kind's reach the rarest item goes."""

_MODULES = {
    "electronics": electronics,
    "tools": tools,
    "everyday": everyday,
    "containers": containers,
}
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
        getattr(_MODULES[module], name),
        reach,
        flat=name in _TABLE["flat"],
        listed=name not in _TABLE["unlisted"],
    )
    for module, reaches in _TABLE["reach_mm"].items()
    for name, reach in reaches.items()
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
