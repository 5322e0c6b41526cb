"""The five prohibited cutters of OPIXray, with continuous shape parameters.

Each builder returns parts in millimetres with the item's long axis along x and its middle near the
origin. Shapes vary continuously and are never reused, so no instance crosses a split. The ranges
overlap on purpose (a single-blade folding knife against a thin multi-tool, a utility knife with its
blade drawn in), because classes must not be told apart by one cue.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from doamlib.simulation.dice import Dice
from doamlib.simulation.drawing.outlines import (
    ellipse,
    grip,
    mirrored,
    points,
    rectangle,
    rounded,
    smooth,
    turned,
)
from doamlib.simulation.drawing.primitives import Primitive, Slab, Tube, moved
from doamlib.simulation.items.blades import PLASTICS, bevelled, profile, rivets, scales


def folding_knife(dice: Dice) -> list[Primitive]:
    """A pocket knife: handle scales, liners, back spring, pivot; blade closed, open or between."""
    u = dice.between
    length, width, thickness = u(78, 118), u(16, 27), u(1.3, 2.7)
    handle = grip(dice, length, width, 0.12)
    kind = dice.pick(("plastic",) * 10 + ("wood",) * 5 + ("fr4",) * 3 + ("steel", "al"))
    material = dice.pick(PLASTICS) if kind == "plastic" else kind
    depth = u(0.8, 1.6) if kind in ("steel", "al") else u(2.2, 4.5)
    gap = thickness / 2 + 0.3
    parts = [Slab(handle, z, z + depth, material) for z in (gap, -gap - depth)]
    if dice.chance(0.35):
        liner = u(0.4, 1.0)
        parts += [Slab(handle * (0.95, 0.85), z, z + liner, "steel") for z in (gap, -gap - liner)]
    x, spine, edge, _ = profile(dice, length * u(0.74, 0.86), width * u(0.6, 0.85))
    blade = bevelled(x, spine, edge, 0, thickness, u(0.3, 0.75))
    blade.append(Slab(ellipse(width * 0.3, n=16), -thickness / 2, thickness / 2, "stainless"))
    state = dice.unit()
    swing = math.pi if state < 0.55 else u(-0.12, 0.12) if state < 0.85 else u(0.5, 2.6)
    pivot = points([-width * 0.35, 0])[0]
    parts += moved(blade, pivot, swing, mirror=dice.chance(0.5))
    if dice.chance(0.6):
        spring = points([-5, 0.42], [-length * 0.95, 0.42], [-length * 0.95, 0.22], [-5, 0.28])
        parts.append(Slab(spring * (1, width), -thickness / 2, thickness / 2, "steel"))
    high = gap + depth
    parts.append(rivets([pivot], -high, high, u(2, 3.2)))
    pins = [(-length * u(0.3, 0.95), width * u(-0.2, 0.2)) for _ in range(dice.count(1, 3))]
    parts.append(rivets(pins, -high, high, u(1, 1.9), dice.pick(("brass", "steel"))))
    if dice.chance(0.25):
        clip = rectangle(length * 0.45, 5, (-length * 0.7, 0))
        parts.append(Slab(clip, high, high + 0.8, "stainless"))
    shift = length / 2 - (0.3 * length if abs(swing) < 0.2 else 0)
    return moved(parts, (shift, 0))


def straight_knife(dice: Dice) -> list[Primitive]:
    """A fixed blade: kitchen knife, table knife or dagger with guard and pommel."""
    u = dice.between
    blade_length, thickness = u(50, 112), u(1.0, 3.0)
    width = u(13, 28) * (0.75 + 0.25 * blade_length / 112)
    x, spine, edge, style = profile(dice, blade_length, width)
    parts = bevelled(x, spine, edge, 0, thickness, u(0.4, 0.8))
    length, depth = u(56, 98), u(10, 18)
    handle_width = u(14, 25)
    kind = dice.pick(("plastic",) * 12 + ("wood",) * 5 + ("hollow", "hollow", "solid"))
    if kind == "hollow":
        shell = grip(dice, length, handle_width)
        parts += [Slab(shell, z, z + 0.8, "stainless") for z in (-depth / 2, depth / 2 - 0.8)]
    elif kind == "solid":
        parts.append(Slab(grip(dice, length, handle_width), -u(2, 4), u(2, 4), "stainless"))
    else:
        material = dice.pick(PLASTICS) if kind == "plastic" else "wood"
        parts += scales(dice, length, handle_width, depth, material)
    full = dice.chance(0.3)
    reach, height = (0.96, 0.3) if full else (u(0.2, 0.65), 0.16)
    tang = points([0, width * 0.28], [-length * reach, handle_width * height])
    parts.append(Slab(mirrored(tang), -thickness / 2, thickness / 2, "stainless"))
    if full or dice.chance(0.3):
        pins = [(-length * f, 0) for f in (0.2, 0.5, 0.8)[: dice.count(2, 3)]]
        pin = dice.pick(("brass", "steel", "al"))
        parts.append(rivets(pins, -depth * 0.45, depth * 0.45, u(1.5, 2.8), pin))
    if style == "dagger" or dice.chance(0.12):
        half, metal = u(15, 28), dice.pick(("brass", "steel", "zamak"))
        guard = points([-4, -half], [3, -half], [5, 0], [3, half], [-4, half], [-5, 0])
        parts.append(Slab(smooth(guard), -4, 4, metal, 0.7))
        parts.append(Slab(ellipse(handle_width / 2, at=(-length - 3, 0)), -5, 5, "zamak", 0.6))
    return moved(parts, ((length - blade_length) / 2, 0))


def scissor(dice: Dice) -> list[Primitive]:
    """Two bevelled halves crossing at a pivot, with plastic rings or steel rod rings."""
    u = dice.between
    length = u(80, 180)
    blade_length = length * u(0.38, 0.58)
    thickness = u(1.2, 2.8) * (0.7 + 0.3 * length / 180)
    width, taper = length * u(0.06, 0.10), u(1.0, 1.6)
    opening = u(0, 0.75) if dice.chance(0.75) else u(0, 0.12)
    handle = length - blade_length
    ring_a = handle * u(0.26, 0.36)
    ring = ring_a * np.array([1.0, u(0.55, 0.75)])
    uneven, drop = u(1, 1.35), u(0.8, 1.1)
    draw_ring = _ring_maker(dice)
    x = np.linspace(0, 1, 12)
    inner = -0.25 * width * (1 - x)
    outer = inner + width * (1 - 0.88 * x**taper)
    parts: list[Primitive] = []
    for side in (1, -1):
        z = side * (thickness / 2 + 0.05)
        a, b = ring * (uneven if side > 0 else 1.0)
        centre = points([a - handle, -b * drop - width * 0.2])[0]
        shank = points(
            [width * 0.3, width * 0.35],
            [0, -width * 0.5],
            np.add(centre, (a * 0.8, -b * 0.15)),
            np.add(centre, (a * 0.75, b * 0.35)),
        )
        plates = [ellipse(width * 0.55, n=16), shank]
        half = bevelled(x * blade_length, outer, inner, z, thickness, 0.45, 3)
        half += [Slab(plate, z - thickness / 2, z + thickness / 2, "stainless") for plate in plates]
        half += draw_ring(a, b, centre, shank, z)
        parts += moved(half, angle=side * opening / 2, mirror=side < 0)
    parts.append(rivets([(0, 0)], -thickness - 1, thickness + 1, u(2, 4)))
    return moved(parts, ((handle - blade_length) / 2, 0))


def _ring_maker(dice: Dice) -> Callable[..., list[Primitive]]:
    """One style of finger rings for both halves: moulded plastic or bent steel rod."""
    u = dice.between
    plastic = dice.pick(PLASTICS) if dice.chance(0.6) else None
    wall = u(4, 7.5) if plastic else u(2.8, 5)
    depth, tilt, wired = u(6, 11), u(-0.25, 0.1), dice.chance(0.3)

    def draw(
        a: float, b: float, centre: np.ndarray, shank: np.ndarray, z: float
    ) -> list[Primitive]:
        ring = turned(ellipse(a, b), tilt)
        if not plastic:
            return [Tube(ring * 0.9 + centre, wall / 2, "stainless", closed=True)]
        neck = np.concatenate([shank[2:], shank[:2] * 0.4])
        hole = ring * (1 - wall / a, 1 - wall / b)
        parts: list[Primitive] = [
            Slab(neck, z - depth / 2, z + depth / 2, plastic),
            Slab([ring + centre, hole + centre], z - depth / 2, z + depth / 2, plastic),
        ]
        if wired:
            parts.append(Tube((ring * 0.93 + centre)[2:9], 1.4, "stainless"))
        return parts

    return draw


def utility_knife(dice: Dice) -> list[Primitive]:
    """A snap-off cutter: scored blade in a metal channel and a plastic shell with a slider."""
    u = dice.between
    width, full, thickness = dice.pick(((9, 80, 0.38),) + ((18, 105, 0.5),) * 3 + ((25, 125, 0.7),))
    blade_length = full * u(0.8, 1.0)
    length, shell = blade_length * u(1.15, 1.5), width * u(1.15, 1.5) + u(3, 8)
    exposed = blade_length * (u(0, 0.5) if dice.chance(0.4) else u(0, 0.05))
    parts = _snap_blade(dice, blade_length, width, length / 2 + exposed, thickness)
    if dice.chance(0.7):
        parts += _channel(dice, length * 0.97, width)
    plastic = dice.pick(PLASTICS)
    body = rounded(length, shell, u(3, 9))
    if dice.chance(0.5):
        body[:, 1] += u(1, 3) * np.sin(body[:, 0] / length * 2 * math.pi)
    slot = rounded(length * 0.75, width * 0.35, 2, (length * 0.08, 0))
    button = rounded(u(9, 16), width * 0.55, 1.5)
    clip = [rounded(u(16, 24), width * 0.9, 1.5), rounded(7, width * 0.35, 1)]
    slider = [
        Slab(button, 0.5, 2.2, "steel"),
        Slab(clip, 0.4, 1.2, "steel"),
        Tube(points([-6, -width * 0.3], [6, width * 0.3]), 0.5, "steel"),
        Slab(rounded(u(18, 30), width * 0.6, 3), 2, u(6, 10), plastic),
    ]
    parts += [
        Slab([body, slot], 2, 2 + u(1.5, 5), plastic),
        Slab(body, -2 - u(1.5, 5), -2, plastic),
        *moved(slider, (u(-0.25, 0.35) * length, 0)),
    ]
    if dice.chance(0.6):
        parts.append(rivets([(-length * 0.44, u(-3, 3))], -3, 3, u(2, 3.5)))
    if dice.chance(0.4):
        cap = rounded(14, shell, 3, (7 - length / 2, 0))
        parts.append(Slab(cap, -2, 2, "zamak" if dice.chance(0.3) else plastic))
    return parts


def _snap_blade(
    dice: Dice, length: float, width: float, tip: float, thickness: float
) -> list[Primitive]:
    """A slanted blade with score lines and a ground edge, its tip at x = tip."""
    root, half, slant = tip - length, width / 2, width * dice.between(0.35, 0.6)
    pitch = dice.between(5, 10) * (width / 18) ** 0.5
    outline = points([root, half], [tip - slant, half], [tip, -half], [root, -half])
    score = points([0, half], [0.9, half], [0.9 + slant, -half], [slant, -half])
    scores = [np.add(score, (x, 0)) for x in np.arange(tip - slant - 6, root + 8, -pitch)]
    ground = rectangle(length, width * 0.12, ((tip + root) / 2, -width * 0.44))
    z = thickness / 2
    return [
        Slab(outline, -z, z, "steel"),
        Slab(scores, -z, z, "steel", -0.45),
        Slab(ground, -z, z, "steel", -0.5),
    ]


def _channel(dice: Dice, length: float, width: float) -> list[Primitive]:
    """The folded metal guide in which the blade slides, some with locking teeth."""
    wall, metal = dice.between(0.4, 0.9), dice.pick(("steel", "steel", "stainless", "al"))
    edge = width / 2 + 1.5
    sides = [rectangle(length, wall * 1.6, (0, s * edge)) for s in (-1, 1)]
    parts: list[Primitive] = [
        Slab(rectangle(length, width + 3), -2, wall - 2, metal),
        Slab(sides, -2, 2, metal),
    ]
    if dice.chance(0.5):
        teeth = [
            rectangle(1.2, 1.6, (x, edge)) for x in np.arange(-0.41 * length, 0.42 * length, 4)
        ]
        parts.append(Slab(teeth, -2, 2, metal, -0.5))
    return parts


def multi_tool(dice: Dice) -> list[Primitive]:
    """A Swiss-army knife of one to five layers, or pliers with tools in their arms."""
    return _swiss_knife(dice) if dice.chance(0.75) else _plier_tool(dice)


def _swiss_knife(dice: Dice) -> list[Primitive]:
    u = dice.between
    length = u(62, 115)
    width, layers = length * u(0.22, 0.29), dice.count(1, 5)
    tool, liner = u(1.4, 2.3), u(0.4, 0.8)
    height = layers * (tool + liner) + liner
    body = rounded(length, width, width * 0.48)
    cover, metal = dice.pick((*PLASTICS, "wood", "al")), dice.pick(("al", "al", "brass", "steel"))
    shell = u(2, 3.2)
    parts = [Slab(body, z, z + shell, cover) for z in (height / 2, -height / 2 - shell)]
    levels = [-height / 2 + k * (tool + liner) for k in range(layers + 1)]
    parts += [Slab(body * 0.97, z, z + liner, metal) for z in levels]
    spring = points(
        [-0.48, 0.42], [0.48, 0.42], [0.48, 0.2], [0.2, 0.27], [-0.2, 0.27], [-0.48, 0.22]
    )
    for z in levels[:-1]:
        middle = z + liner + tool / 2
        parts.append(Slab(spring * (length, width), z + liner, z + liner + tool, "stainless"))
        start, opened = -length * 0.47, dice.chance(0.12)
        while start < length * 0.2:
            reach = min(u(0.35, 0.92) * length, length * 0.47 - start)
            x, top, edge, _ = profile(dice, reach, width * u(0.38, 0.62))
            blade = bevelled(x, top, edge, middle, tool * 0.9, 0.4, 2)
            angle = u(1.5, 3.1) if opened else 0.0
            parts += moved(blade, (start, -width * 0.05 * (not opened)), angle)
            start, opened = start + reach + length * 0.02, False
    reach = height / 2 + 1
    pins = [(length * x, width * u(0.1, 0.3)) for x in (-0.43, 0.0, 0.43)]
    parts.append(rivets(pins, -reach, reach, 1.3, "brass"))
    if dice.chance(0.55):
        parts += _corkscrew(dice, length, width)
    if dice.chance(0.5):
        parts.append(Tube(ellipse(6, at=(length / 2 + 7, 0), n=18), 0.7, "steel", closed=True))
    return parts


def _corkscrew(dice: Dice, length: float, width: float) -> list[Primitive]:
    turns = dice.between(4, 6)
    angle = np.linspace(0, 2 * math.pi * turns, int(14 * turns))
    x = np.linspace(-length * 0.05, length * 0.38, len(angle))
    y = -width / 2 - dice.between(-2, 3) + 3.2 * np.sin(angle)
    root = points([-0.05 * length, -0.45 * width], [-0.12 * length, -0.2 * width])
    helix = np.stack([x, y, 3.2 * np.cos(angle)], 1)
    return [Tube(helix, 1.0, "stainless"), Tube(root, 1.5, "stainless")]


def _plier_tool(dice: Dice) -> list[Primitive]:
    u = dice.between
    length, width = u(92, 116), u(28, 36)
    parts: list[Primitive] = []
    for side in (-1, 1):
        y = side * width * 0.27
        walls = [rounded(length, 1.3, 0.5, (0, y + s * width * 0.2)) for s in (-1, 1)]
        parts.append(Slab(walls, -6, 6, "stainless", 0.8))
        parts.append(Slab(rounded(length, width * 0.42, 3, (0, y)), 5, 6, "stainless"))
        for k in range(dice.count(1, 2)):
            x, top, edge, _ = profile(dice, u(0.6, 0.92) * length, u(7, 12))
            blade = bevelled(x, top, edge, -4 + 3.0 * k, 1.8, 0.4, 2)
            end = length * 0.46
            parts += moved(blade, (end if k else -end, y), math.pi if k else 0.0)
        parts.append(rivets([(-length * 0.46, y), (length * 0.46, y)], -6.5, 6.5, 2.4))
    jaw = points([-0.1, 8], [-0.35, 5], [-0.42, 1]) * (length, 1)
    jaw = np.concatenate([mirrored(jaw), points([5, -9], [5, 9])])
    parts.append(Slab(np.add(jaw, (length * 0.3, 0)), -3, 3, "stainless"))
    parts.append(rivets([(length * 0.28, 0)], -5, 5, 4))
    return parts


CUTTERS: dict[str, Callable[[Dice], list[Primitive]]] = {
    "Folding_Knife": folding_knife,
    "Straight_Knife": straight_knife,
    "Scissor": scissor,
    "Utility_Knife": utility_knife,
    "Multi-tool_Knife": multi_tool,
}
"""Builder by class name, in the order of ``doamlib.data.classes.CLASSES``."""
