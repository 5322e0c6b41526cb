"""Everyday things: tools and tableware (the cutters' closest look-alikes), small metal, vessels."""

from __future__ import annotations

import math

import numpy as np

from doamlib.simulation.blades import METALS, PLASTICS, bevelled, rivets, scales
from doamlib.simulation.dice import Dice
from doamlib.simulation.outlines import (
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
from doamlib.simulation.primitives import Lathe, Primitive, Tube, moved, slab

# ------------------------------------------------------------ tools and tableware: distractors


def ruler(dice: Dice) -> list[Primitive]:
    """Steel, aluminium or plastic; some with a bevelled edge and a rivet-sized hole."""
    u = dice.between
    length, width, depth = u(100, 305), u(14, 32), u(0.6, 2.5)
    material = dice.pick(("stainless", "stainless", "al", "abs"))
    if dice.chance(0.5):
        x = np.array([-length / 2, length / 2])
        half = np.full(2, width / 2)
        return bevelled(x, half, -half, 0, depth, u(0.3, 0.8), 4, material)
    return [
        slab(
            [rectangle(length, width), ellipse(2.5, at=(length / 2 - 6, 0), n=12)],
            0,
            depth,
            material,
        )
    ]


def nail_file(dice: Dice) -> list[Primitive]:
    """A pointed file with ground edges and a plastic or riveted handle."""
    u = dice.between
    length, width = u(90, 175), u(6, 15)
    x = np.linspace(0, length * 0.7, 12)
    half = width / 2 * (1 - 0.9 * (x / x[-1]) ** u(2, 6))
    parts = bevelled(x, half, -half, 0, u(0.7, 1.4), u(0.2, 0.6), 3)
    depth = u(3, 9)
    parts += scales(dice, length * 0.35, width * 1.3, depth, dice.pick(PLASTICS))
    if dice.chance(0.5):
        pins = [(-length * 0.1, 0), (-length * 0.25, 0)]
        parts.append(rivets(pins, -depth / 2, depth / 2, u(1.2, 2.0)))
    return moved(parts, (-length * 0.17, 0))


def spatula(dice: Dice) -> list[Primitive]:
    """Spreader, palette knife or letter opener: a blunt bevelled blade on a handle with rivets."""
    u = dice.between
    length, width, depth = u(60, 130), u(10, 30), u(0.8, 2.4)
    x = np.linspace(0, length, 14)
    end = np.clip((x / length - 0.8) / 0.2, 0, 1)
    half = width / 2 * np.sqrt(1 - 0.95 * end**2) * (0.6 + 0.4 * np.clip(x / length * 3, 0, 1))
    parts = bevelled(x, half, -half, 0, depth, u(0.3, 0.8), 4)
    handle, thick = u(60, 105), u(8, 16)
    material = dice.pick((*PLASTICS, "wood", "wood"))
    parts += scales(dice, handle, u(14, 24), thick, material)
    tang = rectangle(handle * u(0.3, 0.95), width * 0.3, (-handle * 0.2, 0))
    parts.append(slab(tang, -depth / 2, depth / 2, "stainless"))
    if dice.chance(0.6):
        pins = [(-handle * f, 0) for f in (0.2, 0.5, 0.8)[: dice.count(2, 3)]]
        parts.append(
            rivets(pins, -thick * 0.45, thick * 0.45, u(1.5, 2.8), dice.pick(("brass", "steel")))
        )
    return moved(parts, ((handle - length) / 2, 0))


def tweezers(dice: Dice) -> list[Primitive]:
    """Two sprung strips."""
    length, depth = dice.between(80, 125), dice.between(1.5, 4)
    arm = points([-0.5, 1], [-0.5, 5], [0, 7], [0.5, 1.5], [0.5, 0.5], [0, 5]) * (length, 1)
    return [slab(arm * (1, side), -depth, depth, "stainless") for side in (-1, 1)]


def comb(dice: Dice) -> list[Primitive]:
    """A closed pocket comb: a toothed plate folded into riveted scales, steel or plastic."""
    u = dice.between
    length, width = u(85, 125), u(16, 28)
    cover = dice.pick(PLASTICS)
    body = rounded(length, width, width * 0.4)
    parts: list[Primitive] = [slab(body, z, z + 2.5, cover) for z in (1.2, -3.7)]
    inside = dice.pick(("stainless", "stainless", "al", "abs"))
    parts.append(slab(rectangle(length * 0.88, width * 0.35, (0, width * 0.3)), -1, 1, inside))
    teeth = [
        rectangle(1.2, width * 0.6, (x, -width * 0.1))
        for x in np.arange(-0.42, 0.42, 2.4 / length) * length
    ]
    parts.append(slab(teeth, -1, 1, inside))
    pins = [(-length * 0.44, 0), (length * 0.44, 0)]
    parts.append(rivets(pins, -4, 4, u(1.5, 2.8), dice.pick(("brass", "steel"))))
    return parts


def spoon(dice: Dice) -> list[Primitive]:
    """Bowl and handle, steel."""
    length, depth = dice.between(125, 200), dice.between(1.2, 2.2)
    half = points([0.28, 3], [0.1, 3], [-0.3, 6], [-0.48, 9]) * (length, 1)
    handle = smooth(np.concatenate([half, (half * (1, -1))[::-1]]), 2)
    bowl = ellipse(length * 0.14, length * 0.09, (length * 0.38, 0))
    rim = [bowl, (bowl - [length * 0.38, 0]) * 0.8 + [length * 0.38, 0]]
    parts: list[Primitive] = [slab(handle, -depth / 2, depth / 2, "stainless")]
    return [*parts, slab(bowl, 0, depth * 0.8, "stainless"), slab(rim, 0, depth * 0.4, "stainless")]


def fork(dice: Dice) -> list[Primitive]:
    """Four tines and a handle, steel."""
    length, depth = dice.between(135, 200), dice.between(1.2, 2.2)
    half = points([0.24, 4], [0.1, 3], [-0.3, 6], [-0.48, 9]) * (length, 1)
    handle = smooth(np.concatenate([half, (half * (1, -1))[::-1]]), 2)
    tines = [rounded(length * 0.22, 3, 1.4, (length * 0.41, y)) for y in (-8.2, -2.7, 2.7, 8.2)]
    plates = [handle, rounded(length * 0.12, 20, 6, (length * 0.28, 0))]
    parts = [slab(plate, -depth / 2, depth / 2, "stainless") for plate in plates]
    return [*parts, slab(tines, -depth / 2, depth / 2, "stainless")]


def screwdriver(dice: Dice) -> list[Primitive]:
    """A round shaft with a flat tip in a plastic handle."""
    u = dice.between
    length, radius = u(90, 215), u(1.6, 3.6)
    shaft = points([-length * 0.25, 0], [length * 0.5, 0])
    parts: list[Primitive] = [
        Tube(shaft, radius, "steel"),
        slab(rectangle(9, radius * 2.6, (length * 0.5, 0)), -0.8, 0.8, "steel"),
    ]
    return parts + scales(dice, length * 0.48, u(16, 30), u(14, 24), dice.pick(PLASTICS))


def spanner(dice: Dice) -> list[Primitive]:
    """An open-ended spanner with a ring."""
    length = dice.between(90, 180)
    w, end = length * 0.08, length * 0.42
    jaw = [ellipse(w * 1.2, at=(-end, 0), n=20), rectangle(w * 1.5, w * 0.9, (-end - w * 0.8, 0))]
    ring = [ellipse(w * 1.1, at=(end, 0), n=20), ellipse(w * 0.6, at=(end, 0), n=6)]
    return [
        slab(rectangle(length * 0.78, w), -1.5, 1.5, "steel"),
        slab(ring, -2, 2, "steel"),
        slab(jaw, -2, 2, "steel"),
    ]


def metal_bar(dice: Dice) -> list[Primitive]:
    """A strip, a fitting, a slide: some bevelled, some with holes."""
    u = dice.between
    length, width, depth = u(60, 160), u(8, 32), u(0.8, 4)
    metal = dice.pick(METALS)
    if dice.chance(0.4):
        x, half = np.array([-length / 2, length / 2]), np.full(2, width / 2)
        return bevelled(x, half, -half * u(0.5, 1), 0, depth, u(0.2, 0.8), 3, metal)
    at = [(length * f, 0) for f in (-0.4, 0.4, 0.0)[: dice.count(0, 3)]]
    holes = [ellipse(width * 0.15, at=p, n=12) for p in at]
    return [slab([rounded(length, width, u(0, 4)), *holes], -depth / 2, depth / 2, metal)]


def pen(dice: Dice) -> list[Primitive]:
    """Barrel, refill, clip and spring."""
    u = dice.between
    length, radius = u(120, 145), u(3.8, 6)
    parts: list[Primitive] = [
        Tube(
            points([-length / 2, 0], [length * 0.42, 0]),
            radius,
            dice.pick(("abs", "abs", *METALS)),
            0.3,
        ),
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
        slab(rounded(58, 12, 3) * size, -1, 0.6, "stainless"),
        slab(rounded(56, 12, 3) * size, 2, 3.2, "stainless"),
        slab(lever * size, 5, 7, "stainless"),
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


# ------------------------------------------------------------------------------- small metal


def coins(dice: Dice) -> list[Primitive]:
    """One to eight coins, partly stacked."""
    metals = ("brass", "cu", "stainless", "steel", "al")
    return [
        slab(
            ellipse(dice.between(8, 13.5), at=dice.point(25, 25)),
            2 * k,
            2 * k + dice.between(1.2, 2),
            dice.pick(metals),
        )
        for k in range(dice.count(1, 8))
    ]


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
        key = [slab(shaft, 2.3 * k, 2.3 * k + 2, metal), slab(head, 2.3 * k, 2.3 * k + 2, metal)]
        parts += moved(moved(key, (20, 0)), angle=dice.between(0, 2 * math.pi))
    return parts


def lighter(dice: Dice) -> list[Primitive]:
    """Plastic tank, steel hood and wheel."""
    size = dice.between(0.9, 1.1)
    return [
        slab(rounded(75, 22, 5) * size, -5, 5, "nylon", 0.8),
        slab(rounded(16, 22, 2, (36, 0)) * size, -5.5, 5.5, "steel", 0.3),
        slab(ellipse(4, at=(36, 2), n=12) * size, -3, 3, "steel"),
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
    return [
        Tube(path + normal * swing, 0.5, dice.pick(("nylon", "nylon", "nylon", "brass"))),
        Tube(path, 6, "cotton", 0.5),
        *moved(
            [slab(rounded(11, 8, 2), -1.5, 1.5, "zamak"), slab(pull, -0.8, 0.8, "zamak")],
            path[0],
            dice.between(0, 6.28),
        ),
    ]


def zipper_pull(dice: Dice) -> list[Primitive]:
    """A slider with its tab, as on every bag."""
    size = dice.between(0.7, 1.2)
    tab = [rounded(20, 6, 2, (14, 0)), rounded(9, 3, 1, (17, 0))]
    return [
        slab(rounded(10, 7, 2) * size, -1.5, 1.5, "zamak"),
        slab([outline * size for outline in tab], -0.8, 0.8, dice.pick(("zamak", "zamak", "abs"))),
    ]


def glasses(dice: Dice) -> list[Primitive]:
    """Frame, lenses and folded temples."""
    lens = rounded(dice.between(45, 54), dice.between(28, 38), 14)
    metal = dice.pick(("ti", "stainless", "abs"))
    parts: list[Primitive] = [Tube(points([-8, 4], [0, 8], [8, 4]), 1.1, metal)]
    for side in (-1, 1):
        rim = np.add(lens, (side * 33, 0))
        parts += [Tube(rim, 1.0, metal, closed=True), slab(rim, -1, 1, "pet", 0.9)]
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
        slab([ellipse(19) * size, ellipse(15) * size], -4, 4, "stainless", 0.8),
        slab(ellipse(16) * size, -3, -2, "stainless"),
        slab(ellipse(16) * size, 3, 4.2, "glass"),
        slab(ellipse(10, n=10) * size, -2, 1, "brass", 0.6),
        slab(links, -1.2, 1.2, strap, 0.8),
    ]


def screws(dice: Dice) -> list[Primitive]:
    """A few loose screws."""
    parts: list[Primitive] = []
    for _ in range(dice.count(1, 6)):
        shaft = rectangle(dice.between(6, 18), 2.4, (6, 0))
        screw = [slab(shaft, -1.2, 1.2, "steel"), slab(rectangle(2, 5.5), -2.7, 2.7, "steel")]
        parts += moved(screw, dice.point(32, 32), dice.between(0, 6.28))
    return parts


def studs(dice: Dice) -> list[Primitive]:
    """A row of buttons or press studs on a garment."""
    material, pitch = dice.pick(("brass", "abs", "zamak", "steel")), dice.between(20, 36)
    radius = dice.between(3.5, 7)
    discs = [
        ellipse(radius, at=(k * pitch, dice.between(-3, 3)), n=16) for k in range(dice.count(1, 5))
    ]
    return [slab(discs, -0.8, 0.8, material)]


def umbrella(dice: Dice) -> list[Primitive]:
    """A folded umbrella: shaft, ribs, cloth and handle."""
    u = dice.between
    length = u(210, 280)
    parts: list[Primitive] = [
        Tube(points([-length / 2, 0], [length / 2, 0]), u(3, 4.5), "steel", 0.4),
        slab(rounded(55, 24, 8, (-length / 2 - 20, 0)), -10, 10, "abs", 0.6),
        slab(rounded(length * 0.95, 32, 10), -12, 12, "nylon", 0.22),
    ]
    for _ in range(8):
        y = u(-9, 9)
        rib = points([-length * 0.42, y + u(-3, 3)], [length * 0.48, y * 0.7 + u(-2, 2)])
        stretcher = points([-length * 0.35, y + u(-4, 4)], [length * 0.3, y + u(-3, 3)])
        parts += [Tube(rib, u(0.7, 1.2), "steel"), Tube(stretcher, 0.7, "steel")]
    return parts


# ------------------------------------------------------------- vessels, paper, leather, rest


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
    content = Lathe(
        x * 0.95, outer - wall, None, dice.pick(("water", "food")), dice.between(0.1, 0.95)
    )
    return [Lathe(x, outer, outer - wall, metal), *lids, content]


def toy(dice: Dice) -> list[Primitive]:
    """A lump of plastic, rubber, wood or food."""
    body = blob(dice, dice.between(40, 110), dice.between(30, 80))
    material = dice.pick(("abs", "rubber", "food", "wood", "pp"))
    depth = dice.between(4, 9)
    layers = [
        slab(body * f, -depth, depth, material, dice.between(0.4, 0.8)) for f in (1, 0.85, 0.6)
    ]
    return layers


def book(dice: Dice) -> list[Primitive]:
    """Pages between covers; some spiral-bound."""
    width, height, depth = dice.between(110, 235), dice.between(90, 175), dice.between(4, 28)
    cover = rectangle(width * 1.02, height * 1.03)
    parts: list[Primitive] = [
        slab(rectangle(width, height), -depth / 2, depth / 2, "paper", 0.9),
        slab(rectangle(width * 0.97, height, (width * 0.02, 0)), 0, depth * 0.2, "paper", 0.5),
        slab(cover, depth / 2, depth / 2 + dice.between(0.5, 3), "paper"),
        slab(rectangle(3, height, (-width / 2 + 2, 0)), -depth / 2, depth / 2, "paper", 0.8),
    ]
    if dice.chance(0.3):
        spiral = zigzag((-width / 2, height / 2), (width / 2, height / 2), int(width / 5), 3)
        parts.append(Tube(spiral, 0.5, "steel"))
    return parts


def wallet(dice: Dice) -> list[Primitive]:
    """Leather with cards and coins."""
    cards = [
        slab(rounded(86, 54, 3, dice.point(5, 8)), 0.8 * k, 0.8 * k + 0.76, "pvc")
        for k in range(dice.count(2, 7))
    ]
    return [slab(rounded(110, 85, 5), -5, 5, "leather"), *cards, *moved(coins(dice), (15, -10))]


def shoe(dice: Dice) -> list[Primitive]:
    """Sole, upper, eyelets and sometimes a steel shank."""
    u = dice.between
    length, width = u(215, 280), u(78, 102)
    x = np.linspace(0, 1, 12)
    top = np.stack([(x - 0.5) * length, width * (0.36 + 0.14 * np.sin(6 * x))], 1)
    bottom = np.stack([(x - 0.5) * length, -width * (0.36 + 0.12 * np.sin(5 * x + 1))], 1)
    sole = smooth(np.concatenate([top, bottom[::-1]]), 2)
    parts: list[Primitive] = [
        slab(sole, -13, -2, dice.pick(("rubber", "abs")), u(0.3, 0.5)),
        slab(sole * 0.93, -2, 2, dice.pick(("leather", "cotton"))),
        slab([sole * 0.97, sole * 0.9], 0, 36, "leather", 0.4),
    ]
    if dice.chance(0.5):
        parts.append(slab(rectangle(length * 0.4, 12, (-length * 0.05, 0)), -3, -2, "steel"))
    holes = [(length * (0.06 * k), s * width * 0.14) for k in range(5) for s in (-1, 1)]
    eyelets = [ellipse(r, at=p, n=12) for p in holes for r in (3, 1.7)]
    return [*parts, slab(eyelets, 0, 1.2, "brass")]


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
