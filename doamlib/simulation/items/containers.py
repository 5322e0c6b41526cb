"""Trays, backpacks and suitcases, and the cloth and film inside them.

A container is a list of parts in its own frame (millimetres) and the rectangle in which its
contents lie. Cloth and film are items like others; they only carry no name in the sidecar.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from doamlib.simulation.dice import Dice
from doamlib.simulation.drawing.outlines import (
    blob,
    ellipse,
    points,
    rectangle,
    rounded,
    smooth,
    smooth_path,
    turned,
    wander,
)
from doamlib.simulation.drawing.primitives import Primitive, Slab, Soft, Tube
from doamlib.simulation.drawing.textures import cloth_texture
from doamlib.simulation.optics.physics import physics


@dataclass(frozen=True)
class Container:
    """One container.

    Attributes:
        kind: ``tray``, ``backpack`` or ``suitcase``.
        parts: Its primitives.
        width: Outer width in mm, before it is turned.
        height: Outer height in mm.
        inside: Centre x, y and half width, half height of the contents' rectangle, mm.
        fittings: How many zipper pulls, buckles, screws and studs hang on it.
    """

    kind: str
    parts: list[Primitive]
    width: float
    height: float
    inside: tuple[float, float, float, float]
    fittings: int = 0


def _plate(outlines: np.ndarray | list[np.ndarray], load: float, material: str) -> Primitive:
    """A thin flat piece of this many g/cm2."""
    return Slab(outlines, -0.5, 0.5, material, load / (0.1 * physics().materials[material].density))


def _line(
    path: np.ndarray, width: float, load: float, material: str, closed: bool = False
) -> Primitive:
    """A rim, seam or fold of this width (mm) and load (g/cm2 at its centre)."""
    density = load / (width / 10 * physics().materials[material].density)
    return Tube(path, width / 2, material, density, closed)


def tray(dice: Dice) -> Container:
    """A plastic tray seen obliquely: the floor lies below its rim, the front wall doubles it.

    The upper rim and the floor are two round rectangles; four walls join them and differ in load
    by how steeply the beam meets them. The front fold and one side fold are black lines.
    """
    u = dice.between
    width, height = u(540, 590), u(385, 435)
    rim_h, drop = height * u(0.70, 0.76), height * u(0.22, 0.28)
    rim_y = -(height - rim_h) / 2
    floor_w, floor_h = width * u(0.84, 0.90), rim_h * u(0.90, 0.97)
    floor_at = (u(-8, 8), rim_y + drop + (rim_h - floor_h) / 2)
    lip = u(15, 20)
    rim = rounded(width, rim_h, 30, (0, rim_y))
    inner = rounded(width - 2 * lip, rim_h - 2 * lip, 22, (0, rim_y))
    floor = rounded(floor_w, floor_h, 20, floor_at)
    base = u(0.22, 0.52)

    parts = [
        _plate([rim, inner], base * u(0.5, 0.8), "pp"),
        _plate(inner, base * u(0.5, 0.7), "pp"),
        _plate(floor, base * u(0.3, 0.5), "pp"),
        _line(rim, 1.6, u(0.15, 0.35), "pp", closed=True),
        _line(inner, 1.2, u(0.05, 0.2), "pp", closed=True),
        _line(floor, 1.2, u(0.08, 0.25), "pp", closed=True),
    ]
    top = rectangle(width - 2 * lip, rim_h - 2 * lip, (0, rim_y))
    parts += _tray_walls(dice, top, rectangle(floor_w, floor_h, floor_at), base, lip)
    y = rim_y - rim_h / 2 + 4
    for x in np.array([-0.3, 0.0, 0.28]) * width:
        parts.append(_line(points([x - 7, y], [x + 7, y]), 1.0, 0.7, "pp"))
        parts.append(_line(points([x, y], [x, y + 10]), 1.0, 0.5, "pp"))
    inside = (floor_at[0], 0.0, floor_w * 0.48, height * 0.41)
    return Container("tray", parts, width, height, inside)


def _tray_walls(
    dice: Dice, top: np.ndarray, bottom: np.ndarray, base: float, lip: float
) -> list[Primitive]:
    """Four walls between the rim's and the floor's corners, and their dark folds.

    Corners are back left, back right, front right, front left; one side wall is the darkest.
    """
    u = dice.between
    loads = [u(0.2, 0.5), u(0.5, 1.2), u(0.2, 0.5), u(0.5, 1.2)]
    loads[dice.pick((1, 3))] *= u(1.0, 4.0)
    parts: list[Primitive] = []
    for side, load in enumerate(loads):
        after = (side + 1) % 4
        wall = np.stack([top[side], top[after], bottom[after], bottom[side]])
        parts.append(_plate(wall, base * load, "pp"))
    sag = (top[2] + top[3]) / 2 + [0, u(-2, 6)]
    front = smooth_path(np.stack([top[3] - [lip, 0], sag, top[2] + [lip, 0]]), 3)
    parts.append(_line(front, u(0.5, 0.9), u(2, 8), "pp"))
    for above, below in ((3, 3), (2, 2), (0, 3), (1, 2)):
        if dice.chance(0.5):
            fold = np.stack([top[above] * 0.6 + bottom[above] * 0.4, bottom[below]])
            parts.append(_line(fold, u(0.5, 1.0), u(0.5, 7), "pp"))
    return parts


def backpack(dice: Dice) -> Container:
    """Layers of creased nylon over a padded back, pockets, straps, seams and wrinkles."""
    u = dice.between
    width, height = u(300, 400), u(340, 450)
    right = points([0.5, 0.3], [0.5, -0.1], [u(0.32, 0.48), -0.36], [u(0.1, 0.25), -0.5])
    left = (right * (-1, 1))[::-1]
    shape = np.concatenate([points([0.42, 0.5]), right, left, points([-0.42, 0.5])])

    def layer(share: float) -> np.ndarray:
        wavy = smooth(shape, 1) * (width * share, height * share)
        return smooth(wavy + dice.generator.normal(0, 4, wavy.shape), 2)

    back = Soft(layer(0.92), u(0.1, 0.7), "cotton", 4.0, *cloth_texture(dice))
    parts: list[Primitive] = [back]
    for _ in range(dice.count(3, 5)):
        outline = layer(u(0.45, 1.0)) + dice.point(20, 25)
        parts.append(Soft(outline, u(0.08, 0.22), "nylon", 1.0, *cloth_texture(dice, "film")))
        parts.append(_line(outline, u(0.7, 2.0), u(0.08, 0.35), "nylon", closed=True))
    for _ in range(2):
        strap = wander(dice, 6, u(40, 65), 0.25) + dice.point(width * 0.3, height * 0.3)
        parts.append(_line(strap, u(30, 50), u(0.05, 0.12), "nylon"))
        parts += [_line(np.add(strap, (dx, 0)), 1.0, u(0.1, 0.3), "nylon") for dx in (-14, 14)]
    for _ in range(dice.count(8, 16)):
        wrinkle = wander(dice, 6, u(12, 40), 0.25) + dice.point(width * 0.45, height * 0.45)
        parts.append(_line(wrinkle, u(0.5, 1.4), u(0.04, 0.2), "nylon"))
    inside = (0.0, 0.0, width * 0.43, height * 0.43)
    return Container("backpack", parts, width, height, inside, dice.count(6, 18))


def suitcase(dice: Dice) -> Container:
    """A shell in layers, a metal frame, two rails of the handle, wheels."""
    u = dice.between
    width, height = u(460, 570), u(320, 400)
    parts: list[Primitive] = []
    for k in range(3):
        inset, at = k * u(8, 20), dice.point(4, 4)
        outline = rounded(width - inset, height - inset, 38, at)
        parts.append(_plate(outline, u(0.08, 0.3), dice.pick(("abs", "pp", "nylon", "pp"))))
        material = dice.pick(("al", "abs", "steel", "rubber"))
        load = u(0.4, 1.6) if material in ("al", "steel") else u(0.15, 0.5)
        parts.append(_line(outline, u(1.2, 3.0), load, material, closed=True))
    lining = smooth(rounded(width * 0.9, height * 0.9, 40))
    parts.append(Soft(lining, u(0.05, 0.12), "nylon", 2.0, *cloth_texture(dice, "film")))
    apart = u(60, 95)
    for side in (-1, 1):
        rail, at = u(16, 26), (u(-10, 10), side * apart)
        length = width * u(0.75, 0.93)
        outer, hollow = rectangle(length, rail, at), rectangle(length, rail - 2.4, at)
        parts += [_plate(outer, u(0.3, 0.8), "al"), _plate([outer, hollow], u(0.5, 1.0), "al")]
        wheel = np.array([width * 0.53, side * height * 0.38])
        parts.append(Slab([ellipse(24, at=wheel), ellipse(18, at=wheel)], -10, 10, "abs", 0.6))
        spokes = [turned(rectangle(10, 2, (11, 0)), a) + wheel for a in np.arange(6) * math.pi / 3]
        parts.append(Slab(spokes, -8, 8, "abs", 0.7))
        parts.append(Slab(rectangle(22, 4, wheel), -2, 2, "steel"))
    feet = [
        ellipse(2.2, at=(sx * width * 0.46, y * height), n=12)
        for sx in (-1, 1)
        for y in (-0.4, -0.15, 0.2, 0.4)
    ]
    parts.append(Slab(feet, -5, 5, "steel", 0.7))
    inside = (0.0, 0.0, width * 0.44, height * 0.43)
    return Container("suitcase", parts, width, height, inside, dice.count(4, 10))


CONTAINERS = {"tray": tray, "backpack": backpack, "suitcase": suitcase}


def cloth(dice: Dice) -> list[Primitive]:
    """A garment: one to three folded layers with soft edges, some hems and seams."""
    u = dice.between
    width, height = u(90, 345), u(70, 270)
    load = abs(dice.normal(1.35)) + 0.3
    material = dice.pick(("cotton",) * 7 + ("nylon",) * 2 + ("leather",))
    outline = blob(dice, width, height, 0.2, 12) if dice.chance(0.5) else rounded(width, height, 14)
    parts: list[Primitive] = []
    layers = dice.count(1, 3)
    for _ in range(layers):
        layer = outline * (u(0.5, 1.0), u(0.6, 1.0)) + dice.point(width * 0.12, height * 0.12)
        layer = smooth(layer + dice.generator.normal(0, 3, layer.shape), 1)
        share = load / layers * u(0.6, 1.5)
        parts.append(Soft(layer, share, material, u(1.0, 7.0), *cloth_texture(dice)))
        if dice.chance(0.2):
            parts.append(_line(layer, u(1, 3), u(0.02, 0.10), material, closed=True))
    for _ in range(dice.count(0, 4)):
        seam = wander(dice, dice.count(4, 8), width / 8, 0.4) + dice.point(width / 4, height / 4)
        parts.append(_line(seam, u(0.6, 1.5), u(0.03, 0.15), material))
    return parts


def film(dice: Dice) -> list[Primitive]:
    """A crumpled plastic bag or wrapper."""
    outline = blob(dice, dice.between(80, 240), dice.between(80, 200), 0.3, 14)
    load = dice.between(0.02, 0.08)
    return [Soft(outline, load, "pe", 0.5, *cloth_texture(dice, "film"))]
