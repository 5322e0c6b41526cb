"""Electronics found in luggage. Builders as in :mod:`doamlib.simulation.items.cutters`."""

from __future__ import annotations

import math

import numpy as np

from doamlib.simulation.dice import Dice
from doamlib.simulation.drawing.outlines import (
    Point,
    coil,
    ellipse,
    points,
    rectangle,
    rounded,
    turned,
    wander,
)
from doamlib.simulation.drawing.primitives import Primitive, Slab, Tube, moved
from doamlib.simulation.drawing.textures import board


def _frame(length: float, width: float, wall: float, corner: float) -> list[np.ndarray]:
    return [rounded(length, width, corner), rounded(length - wall, width - wall, corner - wall / 3)]


def _cans(dice: Dice, length: float, width: float, number: int) -> list[Primitive]:
    """Metal cans, tall capacitors and coils standing on a board."""
    u = dice.between
    parts: list[Primitive] = []
    for _ in range(number):
        at = dice.point(length * 0.45, width * 0.42)
        if dice.chance(0.5):
            a, b = u(4, 14), u(3, 9)
            ring = [rectangle(a, b, at), rectangle(a - 1.4, b - 1.4, at)]
            parts.append(Slab(ring, 0, u(1.5, 3), "steel", 0.5))
        else:
            drum = ellipse(u(1.2, 4), at=at, n=14)
            parts.append(Slab(drum, 0, u(1, 5), dice.pick(("al", "chip"))))
    return parts


def phone(dice: Dice) -> list[Primitive]:
    """Glass, frame, battery, board at one end, camera, loudspeaker."""
    u = dice.between
    length, width = u(125, 165), u(60, 80)
    frame = dice.pick(("al",) * 5 + ("abs",) * 4 + ("stainless",))
    inner = rounded(length - 5, width - 5, 7)
    parts: list[Primitive] = [
        Slab(_frame(length, width, 5, 9), -3.5, 3.5, frame),
        Slab(rounded(length, width, 9), 3.0, 3.7, "glass"),
        Slab(inner, -3.6, -3.0, dice.pick(("glass", "abs", "al" if frame == "al" else "abs"))),
        Slab(rectangle(length * 0.82, width * 0.9), 2.0, 2.5, "al", u(0.4, 1.4)),
    ]
    end = dice.sign()
    cell = rounded(
        length * u(0.42, 0.58), width * u(0.55, 0.85), 2, (-end * u(0, 0.08) * length, 0)
    )
    parts.append(Slab(cell, -2.5, u(-0.2, 1.6), "liion"))
    depth = length * u(0.2, 0.3)
    main = [board(dice, depth, width * 0.88, density=1.2), *_cans(dice, depth, width, 9)]
    parts += moved(main, (end * (length / 2 - 4 - depth / 2), 0))
    foot = [board(dice, 16, width * 0.85, density=1.2), *_cans(dice, 14, width * 0.8, 5)]
    parts += moved(foot, (-end * (length / 2 - 11), 0))
    parts += moved([board(dice, length * 0.8, width * 0.12)], (0, dice.sign() * width * 0.4))
    camera = (end * length * 0.4, width * 0.28)
    loudspeaker = rectangle(14, 8, (-end * length * 0.42, -width * 0.15))
    parts.append(Slab([ellipse(5.5, at=camera), ellipse(3.6, at=camera)], -3, 2, "stainless", 0.7))
    parts.append(Slab(loudspeaker, -2, 1, "magnet", 0.5))
    if dice.chance(0.3):
        rings = [ellipse(r, n=30) for r in np.arange(10, 20, 2.0)]
        parts += [Tube(ring, 0.5, "cu", 0.7, closed=True) for ring in rings]
    return parts


def tablet(dice: Dice) -> list[Primitive]:
    """Two large cells between glass and shell, boards along the short edges."""
    u = dice.between
    length, width = u(190, 250), u(130, 172)
    parts: list[Primitive] = [
        Slab(rounded(length, width, 9), 3, 3.8, "glass"),
        Slab(_frame(length, width, 5, 9), -3, 3, "al", 0.7),
        Slab(rounded(length, width, 9), -4, -3.3, dice.pick(("al", "abs"))),
        Slab(rectangle(length * 0.92, width * 0.92), 2.0, 2.5, "al", u(0.6, 2.0)),
    ]
    cells = [
        rounded(length * 0.36, width * u(0.6, 0.8), 2, (s * length * 0.19, -width * 0.05))
        for s in (-1, 1)
    ]
    parts.append(Slab(cells, -2.5, u(-0.9, 0.8), "liion", 0.85))
    parts += moved([board(dice, length * 0.12, width * 0.85)], (length * 0.42, 0))
    parts += moved([board(dice, length * 0.06, width * 0.8)], (-length * 0.46, 0))
    return parts + _cans(dice, length, width, 12)


def laptop(dice: Dice) -> list[Primitive]:
    """Chassis, screen, keyboard, cells, boards, fans with heat pipe, disk, hinges."""
    u = dice.between
    length, width = u(285, 345), u(195, 240)
    shell = dice.pick(("abs", "abs", "al"))
    outline = rounded(length, width, 8)
    parts: list[Primitive] = [
        Slab(outline, -9, -7.6, shell),
        Slab(outline, 8, 9.3, shell),
        Slab([outline * 0.985, outline * 0.975], -7, 5, shell),
        Slab(outline, 6, 7.2, "glass", 0.7),
        Slab(outline * 0.97, 4, 4.7, "al", u(0.2, 1.0)),
        Slab(rectangle(length * 0.85, width * 0.36, (0, width * 0.12)), 0, 0.4, "al", u(0.3, 1)),
    ]
    keys = [
        rounded(length * 0.055, width * 0.055, 2, (length * x, width * y))
        for x in np.linspace(-0.39, 0.39, 13)
        for y in np.linspace(-0.02, 0.26, 5)
    ]
    parts.append(Slab(keys, 0.5, 2.5, "abs", 0.8))
    for y in (u(-0.2, 0.0), u(0.25, 0.35), u(0.4, 0.46)):
        rib = points([-0.47 * length, y * width], [0.47 * length, y * width])
        parts.append(Tube(rib, u(0.4, 1.0), dice.pick(("abs", "steel"))))
    parts += _laptop_cells(dice, length, width)
    end = dice.sign()
    main = board(dice, min(length * u(0.5, 0.6), 180), min(width * u(0.4, 0.55), 130))
    at = (end * length * u(0.08, 0.2), width * u(0.12, 0.24))
    parts += moved([main, *_cans(dice, 150, 80, 18)], at)
    for _ in range(dice.count(0, 2)):
        side = board(dice, length * u(0.12, 0.34), width * u(0.15, 0.5))
        at = (-end * length * u(0.15, 0.35), width * u(-0.3, 0.25))
        parts += moved([side, *_cans(dice, 80, 60, 6)], at)
    for _ in range(dice.count(1, 2)):
        parts += moved(_fan(dice), (length * u(-0.4, 0.4), width * 0.28))
    if dice.chance(0.4):
        parts += moved(hard_disk(dice, 0.72), (length * 0.28, -width * 0.2))
    hinges = [rectangle(22, 9, (s * length * 0.32, width * 0.46)) for s in (-1, 1)]
    screws = [ellipse(1.4, at=dice.point(length * 0.47, width * 0.47), n=10) for _ in range(14)]
    return [*parts, Slab(hinges, -4, 4, "steel", 0.6), Slab(screws, -6, 0, "steel")]


def _laptop_cells(dice: Dice, length: float, width: float) -> list[Primitive]:
    u = dice.between
    number, depth = dice.count(3, 6), width * u(0.22, 0.34)
    pitch = length * u(0.4, 0.75) / number
    places = [((k - (number - 1) / 2) * pitch, -width * 0.3) for k in range(number)]
    cells = [rounded(pitch - 1.5, depth, 2, place) for place in places]
    return [Slab(cells, -6, u(-1.5, 0.5), "liion", 0.85)]


def _fan(dice: Dice) -> list[Primitive]:
    """A laptop's fan with its copper heat pipe."""
    radius = dice.between(17, 24)
    vane = rectangle(radius * 0.5, 0.8, (radius * 0.62, 0))
    vanes = [turned(vane, a) for a in np.linspace(0, 2 * math.pi, 16, endpoint=False)]
    pipe = points((0, 0), (dice.between(20, 40), -15), (dice.between(50, 90), -12))
    return [
        Slab([ellipse(radius), ellipse(radius * 0.9)], -6, 2, "al", 0.6),
        Slab(ellipse(radius * 0.35, n=20), -3, 2, "steel", 0.4),
        Slab(vanes, -4, 2, "abs"),
        *moved([Tube(pipe, 3, "cu", 0.2)], mirror=dice.chance(0.5)),
    ]


def hard_disk(dice: Dice, size: float = 1.0) -> list[Primitive]:
    """Case, platter, spindle, voice-coil magnet, circuit board."""
    length, width, depth = 147 * size, 102 * size, 9 * size
    case = rectangle(length, width)
    return [
        Slab(case, -depth - 1, -depth, "steel", 0.8),
        Slab([case, rectangle(length * 0.94, width * 0.92)], -depth, depth, "al"),
        Slab(ellipse(47 * size, at=(12 * size, 0), n=36), -1.5, 1.0, "al", 0.9),
        Slab(ellipse(14 * size, at=(12 * size, 0), n=20), -depth, depth, "al"),
        Slab(rectangle(40 * size, 30 * size, (-48 * size, -28 * size)), -6, 5, "magnet", 0.1),
        *moved([board(dice, length * 0.9, width * 0.45)], (0, -width * 0.22)),
    ]


def circuit_board(dice: Dice) -> list[Primitive]:
    """A bare populated board with heat sinks: the densest clutter there is."""
    u = dice.between
    width, height = u(50, 175), u(40, 125)
    parts: list[Primitive] = [board(dice, width, height, density=u(1.0, 1.6))]
    parts += _cans(dice, width, height, int(width * height / 500))
    for _ in range(dice.count(0, 3)):
        a, b, at = u(18, 40), u(14, 30), dice.point(width * 0.35, height * 0.3)
        parts.append(Slab(rectangle(a, b, at), 2, 4, "al"))
        fins = [rectangle(a, 0.9, np.add(at, (0, y))) for y in np.arange(-b / 2, b / 2, 3.0)]
        parts.append(Slab(fins, 4, u(10, 20), "al", 0.8))
    return parts


def power_bank(dice: Dice) -> list[Primitive]:
    """A shell with one flat cell or a row of round ones."""
    u = dice.between
    length, width = u(90, 150), u(55, 75)
    shell = dice.pick(("al", "abs"))
    parts: list[Primitive] = [
        Slab(_frame(length, width, 4, 8), -8, 8, shell, 0.7),
        Slab(rounded(length, width, 8), 8, 9, "abs"),
        Slab(rounded(length, width, 8), -9, -8, "abs"),
    ]
    if dice.chance(0.4):
        rows = int(width // 19)
        ys = [(k - (rows - 1) / 2) * 18.6 for k in range(rows)]
        cells = [rounded(65, 17.5, 1, (length * 0.1, y)) for y in ys]
        parts.append(Slab(cells, -6, 6, "liion", 0.8))
        parts.append(Slab([rectangle(65, 9, (length * 0.1, y)) for y in ys], -3, 3, "liion", 0.3))
    else:
        cell = rounded(length * 0.75, width * 0.88, 2, (length * 0.08, 0))
        parts.append(Slab(cell, -4, u(-1, 4), "liion"))
    control = [board(dice, 16, width * 0.85), *_cans(dice, 14, width * 0.8, 5)]
    return parts + moved(control, (-length * 0.42, 0))


def charger(dice: Dice) -> list[Primitive]:
    """A plug-in supply: transformer, capacitors, prongs and its cable."""
    u = dice.between
    length, width = u(40, 105), u(30, 58)
    parts: list[Primitive] = [
        Slab(_frame(length, width, 4, 5), -12, 12, "abs"),
        Slab([rounded(length, width, 5)], -14, -12, "abs"),
        board(dice, length * 0.9, width * 0.85),
        Slab(rectangle(22, 18, (length * u(-0.15, 0.15), 0)), -5, 6, "ferrite", 0.4),
        Slab(rectangle(14, 22), -4, 5, "cu", 0.25),
    ]
    for _ in range(3):
        drum = ellipse(u(4, 7), at=dice.point(length * 0.35, width * 0.28), n=18)
        parts.append(Slab(drum, -5, 7, "al", 0.4))
    prongs = [rectangle(17, 4, (length / 2 + 8, s * 6)) for s in (-1, 1)]
    parts.append(Slab(prongs, -0.8, 0.8, "brass"))
    return parts + (moved(cable(dice), (-length / 2, 0)) if dice.chance(0.6) else [])


def _plug(dice: Dice, at: Point, towards: Point) -> list[Primitive]:
    u = dice.between
    heading = np.subtract(at, towards)
    parts = [
        Slab(rectangle(u(11, 22), u(6, 11)), -2.5, 2.5, "abs"),
        Slab(rectangle(11, 5, (13, 0)), -1.3, 1.3, "steel", 0.5),
    ]
    return moved(parts, at, math.atan2(heading[1], heading[0]))


def cable(dice: Dice) -> list[Primitive]:
    """Insulated copper, wound up or loose, with two plugs."""
    u = dice.between
    if dice.chance(0.5):
        path = coil(dice, u(22, 50), u(1.5, 4.5))
    else:
        path = wander(dice, dice.count(5, 9), u(15, 32), 0.8)
    radius = u(0.7, 2.2)
    parts: list[Primitive] = [
        Tube(path, radius, "pvc"),
        Tube(path, radius * u(0.28, 0.45), "cu", u(0.5, 0.9)),
    ]
    return parts + _plug(dice, path[0], path[1]) + _plug(dice, path[-1], path[-2])


def earphones(dice: Dice) -> list[Primitive]:
    """A thin tangled cable with two buds."""
    path = coil(dice, dice.between(22, 42), dice.between(2, 4), 0.3)
    parts: list[Primitive] = [Tube(path, 0.8, "pvc"), Tube(path, 0.3, "cu")]
    ends = [path[0], path[-1]]
    parts.append(Slab([ellipse(7, at=p, n=16) for p in ends], -5, 5, "abs", 0.5))
    parts.append(Slab([ellipse(4, at=p, n=14) for p in ends], -2, 2, "magnet", 0.6))
    return parts


def camera(dice: Dice) -> list[Primitive]:
    """Body, board, battery, lens barrels and glass."""
    u = dice.between
    size = u(0.75, 1.0)
    parts: list[Primitive] = [
        Slab(_frame(125 * size, 88 * size, 6, 10), -26, 26, "abs", 0.6),
        Slab(rounded(125 * size, 88 * size, 10), -2, 0, "al"),
        board(dice, 100 * size, 68 * size, density=1.4),
        Slab(rounded(36, 40, 2, (-38 * size, 5)), -8, 8, "liion"),
        *_cans(dice, 110 * size, 75 * size, 20),
    ]
    for radius, depth in ((36, 26), (31, 19), (26, 14)):
        ring = [ellipse(r * size, at=(10, 0), n=32) for r in (radius, radius - 3)]
        parts.append(Slab(ring, -depth, depth, "al"))
    lenses = [ellipse(r * size, at=(10, 0)) for r in (24, 18)]
    return parts + [Slab(lens, 5, 5 + u(4, 8), "glass") for lens in lenses]


def usb_stick(dice: Dice) -> list[Primitive]:
    """Plastic body, small board, steel plug."""
    return [
        Slab([rectangle(14, 12, (24, 0)), rectangle(12, 10, (24, 0))], -2.2, 2.2, "steel"),
        Slab(rounded(34, 17, 3), -3.5, 3.5, "abs", 0.6),
        board(dice, 30, 14),
    ]
