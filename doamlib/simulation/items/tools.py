"""Harmless tools and tableware: the cutters' closest look-alikes, with the same bevels, rivets,
handles and poses.
"""

from __future__ import annotations

import numpy as np

from doamlib.simulation.dice import Dice
from doamlib.simulation.drawing.outlines import (
    ellipse,
    mirrored,
    points,
    rectangle,
    rounded,
    smooth,
    zigzag,
)
from doamlib.simulation.drawing.primitives import Primitive, Slab, Tube, moved
from doamlib.simulation.items.blades import METALS, PLASTICS, bevelled, rivets, scales


def ruler(dice: Dice) -> list[Primitive]:
    """Steel, aluminium or plastic; some with a bevelled edge and a rivet-sized hole."""
    u = dice.between
    length, width, depth = u(100, 305), u(14, 32), u(0.6, 2.5)
    material = dice.pick(("stainless", "stainless", "al", "abs"))
    if dice.chance(0.5):
        x = np.array([-length / 2, length / 2])
        half = np.full(2, width / 2)
        return bevelled(x, half, -half, 0, depth, u(0.3, 0.8), 4, material)
    hole = ellipse(2.5, at=(length / 2 - 6, 0), n=12)
    return [Slab([rectangle(length, width), hole], 0, depth, material)]


def nail_file(dice: Dice) -> list[Primitive]:
    """A pointed file with ground edges and a plastic or riveted handle."""
    u = dice.between
    length, width = u(90, 175), u(6, 15)
    x = np.linspace(0, length * 0.7, 12)
    half = width / 2 * (1 - 0.9 * (x / x[-1]) ** u(2, 6))
    parts = bevelled(x, half, -half, 0, u(1.0, 2.4), u(0.2, 0.6), 3)
    depth = u(3, 9)
    parts += scales(dice, length * 0.35, width * 1.3, depth, dice.pick(PLASTICS))
    if dice.chance(0.5):
        pins = [(-length * 0.1, 0), (-length * 0.25, 0)]
        parts.append(rivets(pins, -depth / 2, depth / 2, u(1.2, 2.0)))
    return moved(parts, (-length * 0.17, 0))


def spatula(dice: Dice) -> list[Primitive]:
    """Spreader, palette knife or letter opener: a blunt bevelled blade on a handle with rivets."""
    u = dice.between
    length, width, depth = u(60, 130), u(12, 30), u(1.2, 3.4)
    x = np.linspace(0, length, 14)
    end = np.clip((x / length - 0.8) / 0.2, 0, 1)
    half = width / 2 * np.sqrt(1 - 0.95 * end**2) * (0.6 + 0.4 * np.clip(x / length * 3, 0, 1))
    parts = bevelled(x, half, -half, 0, depth, u(0.3, 0.8), 4)
    handle, thick = u(60, 105), u(8, 16)
    material = dice.pick((*PLASTICS, "wood", "wood"))
    parts += scales(dice, handle, u(14, 24), thick, material)
    tang = rectangle(handle * u(0.3, 0.95), width * 0.4, (-handle * 0.2, 0))
    parts.append(Slab(tang, -depth / 2, depth / 2, "stainless"))
    if dice.chance(0.6):
        pins = [(-handle * f, 0) for f in (0.2, 0.5, 0.8)[: dice.count(2, 3)]]
        radius, metal = u(1.5, 2.8), dice.pick(("brass", "steel"))
        parts.append(rivets(pins, -thick * 0.45, thick * 0.45, radius, metal))
    return moved(parts, ((handle - length) / 2, 0))


def tweezers(dice: Dice) -> list[Primitive]:
    """Two sprung strips."""
    length, depth = dice.between(80, 125), dice.between(1.5, 4)
    arm = points([-0.5, 1], [-0.5, 5], [0, 7], [0.5, 1.5], [0.5, 0.5], [0, 5]) * (length, 1)
    return [Slab(arm * (1, side), -depth, depth, "stainless") for side in (-1, 1)]


def comb(dice: Dice) -> list[Primitive]:
    """A closed pocket comb: a toothed plate folded into riveted scales, steel or plastic."""
    u = dice.between
    length, width, half = u(85, 125), u(16, 28), u(0.8, 2.0)
    cover = dice.pick(PLASTICS)
    body = rounded(length, width, width * 0.4)
    parts: list[Primitive] = [Slab(body, z, z + 2.5, cover) for z in (half, -half - 2.5)]
    inside = dice.pick(("stainless", "stainless", "stainless", "al", "abs"))
    back = rectangle(length * 0.88, width * 0.35, (0, width * 0.3))
    teeth = [
        rectangle(1.2, width * 0.6, (x, -width * 0.1))
        for x in np.arange(-0.42, 0.42, 2.4 / length) * length
    ]
    parts += [Slab(back, -half, half, inside), Slab(teeth, -half, half, inside)]
    pins = [(-length * 0.44, 0), (length * 0.44, 0)]
    return [*parts, rivets(pins, -4, 4, u(1.5, 2.8), dice.pick(("brass", "steel")))]


def spoon(dice: Dice) -> list[Primitive]:
    """Bowl and handle, steel."""
    length, depth = dice.between(125, 200), dice.between(1.2, 2.2)
    half = points([0.28, 3], [0.1, 3], [-0.3, 6], [-0.48, 9]) * (length, 1)
    handle = smooth(mirrored(half), 2)
    bowl = ellipse(length * 0.14, length * 0.09, (length * 0.38, 0))
    rim = [bowl, (bowl - [length * 0.38, 0]) * 0.8 + [length * 0.38, 0]]
    parts: list[Primitive] = [Slab(handle, -depth / 2, depth / 2, "stainless")]
    return [*parts, Slab(bowl, 0, depth * 0.8, "stainless"), Slab(rim, 0, depth * 0.4, "stainless")]


def fork(dice: Dice) -> list[Primitive]:
    """Four tines and a handle, steel."""
    length, depth = dice.between(135, 200), dice.between(1.2, 2.2)
    half = points([0.24, 4], [0.1, 3], [-0.3, 6], [-0.48, 9]) * (length, 1)
    handle = smooth(mirrored(half), 2)
    tines = [rounded(length * 0.22, 3, 1.4, (length * 0.41, y)) for y in (-8.2, -2.7, 2.7, 8.2)]
    plates = [handle, rounded(length * 0.12, 20, 6, (length * 0.28, 0))]
    parts = [Slab(plate, -depth / 2, depth / 2, "stainless") for plate in plates]
    return [*parts, Slab(tines, -depth / 2, depth / 2, "stainless")]


def screwdriver(dice: Dice) -> list[Primitive]:
    """A round shaft with a flat tip in a plastic handle."""
    u = dice.between
    length, radius = u(90, 215), u(1.6, 3.6)
    shaft = points([-length * 0.25, 0], [length * 0.5, 0])
    parts: list[Primitive] = [
        Tube(shaft, radius, "steel"),
        Slab(rectangle(9, radius * 2.6, (length * 0.5, 0)), -0.8, 0.8, "steel"),
    ]
    return parts + scales(dice, length * 0.48, u(16, 30), u(14, 24), dice.pick(PLASTICS))


def spanner(dice: Dice) -> list[Primitive]:
    """An open-ended spanner with a ring."""
    length = dice.between(90, 180)
    w, end = length * 0.08, length * 0.42
    jaw = [ellipse(w * 1.2, at=(-end, 0), n=20), rectangle(w * 1.5, w * 0.9, (-end - w * 0.8, 0))]
    ring = [ellipse(w * 1.1, at=(end, 0), n=20), ellipse(w * 0.6, at=(end, 0), n=6)]
    return [
        Slab(rectangle(length * 0.78, w), -1.5, 1.5, "steel"),
        Slab(ring, -2, 2, "steel"),
        Slab(jaw, -2, 2, "steel"),
    ]


def metal_bar(dice: Dice) -> list[Primitive]:
    """A strip, a fitting, a slide: some bevelled, some with holes."""
    u = dice.between
    length, width, depth = u(60, 160), u(8, 32), u(1, 5)
    metal = dice.pick(METALS)
    if dice.chance(0.4):
        x, half = np.array([-length / 2, length / 2]), np.full(2, width / 2)
        return bevelled(x, half, -half * u(0.5, 1), 0, depth, u(0.2, 0.8), 3, metal)
    at = [(length * f, 0) for f in (-0.4, 0.4, 0.0)[: dice.count(0, 3)]]
    holes = [ellipse(width * 0.15, at=p, n=12) for p in at]
    return [Slab([rounded(length, width, u(0, 4)), *holes], -depth / 2, depth / 2, metal)]


def pen(dice: Dice) -> list[Primitive]:
    """Barrel, refill, clip and spring."""
    u = dice.between
    length, radius = u(120, 145), u(3.8, 6)
    barrel = points([-length / 2, 0], [length * 0.42, 0])
    parts: list[Primitive] = [
        Tube(barrel, radius, dice.pick(("abs", "abs", *METALS)), 0.3),
        Tube(points([-length * 0.3, 0], [length / 2, 0]), 1.1, dice.pick(("brass", "pp"))),
        Tube(points([-length * 0.48, radius + 1], [-length * 0.2, radius + 1]), 0.9, "steel"),
    ]
    if dice.chance(0.6):
        parts.append(Tube(zigzag((length * 0.3, 0), (length * 0.43, 0), 12, 2), 0.3, "steel"))
    return parts


def nail_clippers(dice: Dice) -> list[Primitive]:
    """Three short steel levers on a pin."""
    lever = smooth(points([-26, 2], [24, 5], [28, 0], [24, -5], [-26, -2]))
    size = dice.between(0.8, 1.3)
    return [
        Slab(rounded(58, 12, 3) * size, -1, 0.6, "stainless"),
        Slab(rounded(56, 12, 3) * size, 2, 3.2, "stainless"),
        Slab(lever * size, 5, 7, "stainless"),
        rivets([(22 * size, 0)], -4, 8, 2.4),
    ]


def rod_bundle(dice: Dice) -> list[Primitive]:
    """Five to fourteen parallel rods, such as a folded stand; real images hide knives there."""
    u = dice.between
    length, number = u(120, 260), dice.count(5, 13)
    metal, radius = dice.pick(("steel", "steel", "al")), u(0.8, 1.8)
    rods = []
    for k in range(number):
        y = (k - number / 2) * 2.8
        ends = points([-length / 2 + u(-8, 8), y + u(-2, 2)], [length / 2 + u(-8, 8), y + u(-2, 2)])
        rods.append(Tube(ends, radius, metal))
    return rods
