"""Everyday things: small metal, vessels, paper, leather."""

from __future__ import annotations

import math

import numpy as np

from doamlib.simulation.dice import Dice
from doamlib.simulation.drawing.outlines import (
    blob,
    coil,
    ellipse,
    points,
    rectangle,
    resampled,
    rounded,
    smooth,
    turned,
    wander,
    zigzag,
)
from doamlib.simulation.drawing.primitives import Lathe, Primitive, Slab, Tube, moved


def coins(dice: Dice) -> list[Primitive]:
    """One to eight coins, partly stacked."""
    metals = ("brass", "cu", "stainless", "steel", "al")
    parts: list[Primitive] = []
    for k in range(dice.count(1, 8)):
        coin = ellipse(dice.between(8, 13.5), at=dice.point(25, 25))
        parts.append(Slab(coin, 2 * k, 2 * k + dice.between(1.2, 2), dice.pick(metals)))
    return parts


def keys(dice: Dice) -> list[Primitive]:
    """A ring with one to five keys."""
    parts: list[Primitive] = [Tube(ellipse(13, n=24), 0.9, "steel", closed=True)]
    for k in range(dice.count(1, 5)):
        length = dice.between(24, 36)
        x = np.linspace(10, 10 + length, 9)
        teeth = np.stack([x, -3.5 + np.abs(dice.generator.normal(0, 1.3, 9))], 1)
        shaft = np.concatenate([points([10, 4], [10 + length, 4]), teeth[::-1]])
        head = [ellipse(11, 10, n=14), ellipse(3, at=(-6, 0), n=10)]
        metal = dice.pick(("brass", "steel", "stainless"))
        key = [Slab(shaft, 2.3 * k, 2.3 * k + 2, metal), Slab(head, 2.3 * k, 2.3 * k + 2, metal)]
        parts += moved(moved(key, (20, 0)), angle=dice.between(0, 2 * math.pi))
    return parts


def lighter(dice: Dice) -> list[Primitive]:
    """Plastic tank, steel hood and wheel."""
    size = dice.between(0.9, 1.1)
    return [
        Slab(rounded(75, 22, 5) * size, -5, 5, "nylon", 0.8),
        Slab(rounded(16, 22, 2, (36, 0)) * size, -5.5, 5.5, "steel", 0.3),
        Slab(ellipse(4, at=(36, 2), n=12) * size, -3, 3, "steel"),
        Tube(points([10, 0], [30, 0]) * size, 1.5, "zamak"),
    ]


def buckle(dice: Dice) -> list[Primitive]:
    """A frame of metal or plastic, with a bar and sometimes a prong."""
    u = dice.between
    width, height, radius = u(14, 46), u(16, 42), u(1.2, 2.4)
    material = dice.pick(("zamak", "abs", "steel", "brass", "abs"))
    parts: list[Primitive] = [Tube(rounded(width, height, u(2, 8)), radius, material, closed=True)]
    if dice.chance(0.6):
        bar = points([-width * u(0, 0.2), -height / 2], [-width * 0.1, height / 2])
        parts.append(Tube(bar, radius * 0.8, material))
    if dice.chance(0.3):
        parts.append(Tube(points([-width * 0.1, 0], [width / 2, 0]), 1.4, "steel"))
    return parts


def belt(dice: Dice) -> list[Primitive]:
    """A rolled leather belt with its buckle."""
    path = coil(dice, dice.between(32, 48), dice.between(1.8, 3), 0.06)
    return [Tube(path, 1.8, "leather", 6), *moved(buckle(dice), path[-1])]


def zipper(dice: Dice) -> list[Primitive]:
    """Teeth on a tape, slider and pull."""
    path, normal = resampled(wander(dice, dice.count(4, 7), dice.between(25, 45), 0.35), 2.2)
    swing = 1.6 * np.where(np.arange(len(path)) % 2, 1.0, -1.0)[:, None]
    pull = rounded(22, 6, 2, (16, 0))
    slider = [Slab(rounded(11, 8, 2), -1.5, 1.5, "zamak"), Slab(pull, -0.8, 0.8, "zamak")]
    return [
        Tube(path + normal * swing, 0.5, dice.pick(("nylon", "nylon", "nylon", "brass"))),
        Tube(path, 6, "cotton", 0.5),
        *moved(slider, path[0], dice.between(0, 6.28)),
    ]


def zipper_pull(dice: Dice) -> list[Primitive]:
    """A slider with its tab, as on every bag."""
    size = dice.between(0.7, 1.2)
    tab = [rounded(20, 6, 2, (14, 0)), rounded(9, 3, 1, (17, 0))]
    return [
        Slab(rounded(10, 7, 2) * size, -1.5, 1.5, "zamak"),
        Slab([outline * size for outline in tab], -0.8, 0.8, dice.pick(("zamak", "zamak", "abs"))),
    ]


def glasses(dice: Dice) -> list[Primitive]:
    """Frame, lenses and folded temples."""
    lens = rounded(dice.between(45, 54), dice.between(28, 38), 14)
    metal = dice.pick(("ti", "stainless", "abs"))
    parts: list[Primitive] = [Tube(points([-8, 4], [0, 8], [8, 4]), 1.1, metal)]
    for side in (-1, 1):
        rim = np.add(lens, (side * 33, 0))
        parts += [Tube(rim, 1.0, metal, closed=True), Slab(rim, -1, 1, "pet", 0.9)]
        temple = points([side * 58, 8], [side * 45, -14], [side * -20, -18])
        parts.append(Tube(temple, 1.1, metal))
    return parts


def carabiner(dice: Dice) -> list[Primitive]:
    """A closed loop of aluminium or steel."""
    loop = smooth(points([-30, -10], [25, -16], [30, 12], [-28, 12]), 2) * dice.between(0.6, 1.1)
    return [Tube(loop, dice.between(1.8, 3.6), dice.pick(("al", "steel")), closed=True)]


def watch(dice: Dice) -> list[Primitive]:
    """Case, glass, movement and a metal or plastic strap laid flat."""
    size = dice.between(0.8, 1.1)
    strap = dice.pick(("stainless", "leather", "rubber"))
    links = [rectangle(6, 16, (s * (22 + 7 * k), 0)) * size for s in (-1, 1) for k in range(8)]
    return [
        Slab([ellipse(19) * size, ellipse(15) * size], -4, 4, "stainless", 0.8),
        Slab(ellipse(16) * size, -3, -2, "stainless"),
        Slab(ellipse(16) * size, 3, 4.2, "glass"),
        Slab(ellipse(10, n=10) * size, -2, 1, "brass", 0.6),
        Slab(links, -1.2, 1.2, strap, 0.8),
    ]


def screws(dice: Dice) -> list[Primitive]:
    """A few loose screws."""
    parts: list[Primitive] = []
    for _ in range(dice.count(1, 6)):
        shaft = rectangle(dice.between(6, 18), 2.4, (6, 0))
        screw = [Slab(shaft, -1.2, 1.2, "steel"), Slab(rectangle(2, 5.5), -2.7, 2.7, "steel")]
        parts += moved(screw, dice.point(32, 32), dice.between(0, 6.28))
    return parts


def studs(dice: Dice) -> list[Primitive]:
    """A row of buttons or press studs on a garment."""
    material, pitch = dice.pick(("brass", "abs", "zamak", "steel")), dice.between(20, 36)
    radius = dice.between(3.5, 7)
    discs = [
        ellipse(radius, at=(k * pitch, dice.between(-3, 3)), n=16) for k in range(dice.count(1, 5))
    ]
    return [Slab(discs, -0.8, 0.8, material)]


def umbrella(dice: Dice) -> list[Primitive]:
    """A folded umbrella: shaft, ribs, cloth and handle."""
    u = dice.between
    length = u(210, 280)
    parts: list[Primitive] = [
        Tube(points([-length / 2, 0], [length / 2, 0]), u(3, 4.5), "steel", 0.4),
        Slab(rounded(55, 24, 8, (-length / 2 - 20, 0)), -10, 10, "abs", 0.6),
        Slab(rounded(length * 0.95, 32, 10), -12, 12, "nylon", 0.22),
    ]
    for _ in range(8):
        y = u(-9, 9)
        rib = points([-length * 0.42, y + u(-3, 3)], [length * 0.48, y * 0.7 + u(-2, 2)])
        stretcher = points([-length * 0.35, y + u(-4, 4)], [length * 0.3, y + u(-3, 3)])
        parts += [Tube(rib, u(0.7, 1.2), "steel"), Tube(stretcher, 0.7, "steel")]
    return parts


def bottle(dice: Dice) -> list[Primitive]:
    """A bottle of plastic, glass or metal, empty or partly filled, with a cap."""
    u = dice.between
    length, radius = u(110, 230), u(22, 37)
    walls = {"pet": 0.5, "glass": 2.2, "al": 0.6, "stainless": 0.5, "pp": 1.2}
    material = dice.pick(("pet",) * 5 + ("pp", "pp", "glass", "al", "stainless"))
    x = np.linspace(0, 1, 16)
    profile = np.interp(x, [0, 0.03, 0.62, 0.8, 0.86, 1], [0.9, 1, 1, 0.42, 0.38, 0.38]) * radius
    inside = np.maximum(profile - walls[material], 0)
    axis = (x - 0.5) * length
    parts: list[Primitive] = [Lathe(axis, profile, inside, material)]
    filled = u(0, 0.85)
    if filled > 0.2:
        wet = axis <= (filled - 0.5) * length
        content = dice.pick(("water", "water", "food", "pe"))
        parts.append(Lathe(axis[wet], inside[wet], None, content, u(0.6, 0.95)))
    neck = np.full(2, radius)
    ends = np.array([0.46, 0.53]) * length
    return [*parts, Lathe(ends, neck * 0.46, neck * 0.4, "pp")]


def can(dice: Dice) -> list[Primitive]:
    """A drink or food can."""
    radius, length = dice.between(25, 33), dice.between(90, 160)
    metal = dice.pick(("al", "al", "steel"))
    x = np.array([-0.5, -0.47, 0.44, 0.5]) * length
    outer = np.array([0.8, 1, 1, 0.82]) * radius
    wall = 0.13 if metal == "al" else 0.2
    ends = [np.array([a, a + 0.01]) * length for a in (-0.48, 0.47)]
    lids = [Lathe(end, np.full(2, radius * 0.9), None, metal, 0.3) for end in ends]
    inner, content = outer - wall, dice.pick(("water", "food"))
    filling = Lathe(x * 0.95, inner, None, content, dice.between(0.1, 0.95))
    return [Lathe(x, outer, inner, metal), *lids, filling]


def toy(dice: Dice) -> list[Primitive]:
    """A lump of plastic, rubber, wood or food."""
    body = blob(dice, dice.between(40, 110), dice.between(30, 80))
    material = dice.pick(("abs", "rubber", "food", "wood", "pp"))
    depth = dice.between(4, 9)
    return [Slab(body * f, -depth, depth, material, dice.between(0.4, 0.8)) for f in (1, 0.85, 0.6)]


def book(dice: Dice) -> list[Primitive]:
    """Pages between covers; some spiral-bound."""
    width, height, depth = dice.between(110, 235), dice.between(90, 175), dice.between(4, 28)
    cover = rectangle(width * 1.02, height * 1.03)
    parts: list[Primitive] = [
        Slab(rectangle(width, height), -depth / 2, depth / 2, "paper", 0.9),
        Slab(rectangle(width * 0.97, height, (width * 0.02, 0)), 0, depth * 0.2, "paper", 0.5),
        Slab(cover, depth / 2, depth / 2 + dice.between(0.5, 3), "paper"),
        Slab(rectangle(3, height, (-width / 2 + 2, 0)), -depth / 2, depth / 2, "paper", 0.8),
    ]
    if dice.chance(0.3):
        spiral = zigzag((-width / 2, height / 2), (width / 2, height / 2), int(width / 5), 3)
        parts.append(Tube(spiral, 0.5, "steel"))
    return parts


def wallet(dice: Dice) -> list[Primitive]:
    """Leather with cards and coins."""
    cards = [
        Slab(rounded(86, 54, 3, dice.point(5, 8)), 0.8 * k, 0.8 * k + 0.76, "pvc")
        for k in range(dice.count(2, 7))
    ]
    return [Slab(rounded(110, 85, 5), -5, 5, "leather"), *cards, *moved(coins(dice), (15, -10))]


def shoe(dice: Dice) -> list[Primitive]:
    """Sole, upper, eyelets and sometimes a steel shank."""
    u = dice.between
    length, width = u(215, 280), u(78, 102)
    x = np.linspace(0, 1, 12)
    top = np.stack([(x - 0.5) * length, width * (0.36 + 0.14 * np.sin(6 * x))], 1)
    bottom = np.stack([(x - 0.5) * length, -width * (0.36 + 0.12 * np.sin(5 * x + 1))], 1)
    sole = smooth(np.concatenate([top, bottom[::-1]]), 2)
    parts: list[Primitive] = [
        Slab(sole, -13, -2, dice.pick(("rubber", "abs")), u(0.3, 0.5)),
        Slab(sole * 0.93, -2, 2, dice.pick(("leather", "cotton"))),
        Slab([sole * 0.97, sole * 0.9], 0, 36, "leather", 0.4),
    ]
    if dice.chance(0.5):
        parts.append(Slab(rectangle(length * 0.4, 12, (-length * 0.05, 0)), -3, -2, "steel"))
    holes = [(length * (0.06 * k), s * width * 0.14) for k in range(5) for s in (-1, 1)]
    eyelets = [ellipse(r, at=p, n=12) for p in holes for r in (3, 1.7)]
    return [*parts, Slab(eyelets, 0, 1.2, "brass")]


def wire_frame(dice: Dice) -> list[Primitive]:
    """Hanger, bra wires, hair bands, key rings: thin dark outlines."""
    wires = [
        ellipse(dice.between(20, 55), dice.between(12, 45), dice.point(12, 12), 40)
        for _ in range(dice.count(1, 3))
    ]
    material, radius = dice.pick(("steel", "steel", "cu", "ti")), dice.between(0.35, 0.8)
    start = dice.count(0, 12)
    arcs = [
        turned(wire, dice.between(0, 3.1))[start : start + dice.count(18, 40)] for wire in wires
    ]
    return [Tube(arc, radius, material) for arc in arcs]
