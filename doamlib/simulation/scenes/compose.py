"""One image: a scene, its subjects (cutters, or one extra distractor), the window, the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from doamlib.simulation.dice import Dice
from doamlib.simulation.drawing.canvas import Patch, overlap
from doamlib.simulation.items.catalogue import CUTTER_KINDS, GROUPS, KINDS
from doamlib.simulation.optics.display import DisplayChain, colourise, expose
from doamlib.simulation.optics.physics import log_attenuation
from doamlib.simulation.scenes.occlusion import (
    Occlusion,
    level_of,
    measure_occlusion,
    silhouette_of,
)
from doamlib.simulation.scenes.scene import FRAME, Box, Item, Scene, draw_item, draw_scene

MIN_VISIBLE = 0.7
"""Share of its silhouette with which a subject, or a look-alike of one, must lie in the window."""
LOOK_ALIKES = frozenset(GROUPS["tools"])
"""Kinds that the window cuts by the cutters' own law, or an uncut thing would be a cutter."""
WINDOW_TRIES = 30
"""Windows tried around one subject."""
MIN_SIDE, MIN_CORE_PIXELS = 8, 40
MAX_OCCLUSION = 0.70
MAX_BLACK = 0.6
"""A subject is drawn anew where more of its core would be featureless black."""
TRIES_PER_SCENE = 8
MAX_SCENES = 200
MAIN_CONTAINER = 0.85
"""Share of subjects in the main container; the others may lie in a neighbour."""


@dataclass(frozen=True)
class Found:
    """A subject in a window.

    Attributes:
        item: The item.
        patch: The item alone, cut to the window.
        box: Tight box of its silhouette: x0, y0, x1, y1 in window pixels, ends excluded.
        occlusion: Its occlusion there.
    """

    item: Item
    patch: Patch
    box: Box
    occlusion: Occlusion


@dataclass(frozen=True)
class Composition:
    """A finished plan of one image, before the display chain.

    Attributes:
        scene: The belt without the subjects and without look-alikes that are not in the window.
        window: Frame rectangle shown: x0, y0, x1, y1, ends excluded.
        subjects: Cutters (or the extra distractor) with their occlusion.
        basis: Basis maps of everything in the window, float32 (2, H, W).
        seed: Seed of the attempt that was accepted.
    """

    scene: Scene
    window: Box
    subjects: list[Found]
    basis: np.ndarray
    seed: list[int]


def window_size(field_of_view: float) -> tuple[int, int]:
    """Width and height in pixels of a window with this share of the frame's width and height."""
    return round(FRAME[0] * field_of_view), round(FRAME[1] * field_of_view)


def tight_box(mask: np.ndarray) -> Box | None:
    """Smallest rectangle around the true pixels (ends excluded), or None."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def draw_window(dice: Dice, around: Box, field_of_view: float) -> Box:
    """Any window of the frame that touches a box, all equally likely.

    Args:
        dice: Draws.
        around: Frame box of the subject.
        field_of_view: Share of the frame's width and height.
    """
    corner = []
    for size, frame, low, high in zip(
        window_size(field_of_view), FRAME, around[:2], around[2:], strict=True
    ):
        first, last = (min(max(at, 0), frame - size) for at in (low - size + 1, high - 1))
        corner.append((dice.count(first, last), size))
    (x, width), (y, height) = corner
    return x, y, x + width, y + height


def _draw_subject(dice: Dice, scene: Scene, name: str | None) -> Item:
    """A cutter of a class, or a random distractor where no cutter is wanted."""
    kind = CUTTER_KINDS[name] if name else KINDS[dice.pick(GROUPS["tools"])]
    main = len(scene.containers) == 1 or dice.chance(MAIN_CONTAINER)
    placed = scene.containers[0] if main else dice.pick(scene.containers[1:])
    return draw_item(dice, placed, kind, scene.items)


def visible_part(item: Item, scene: Scene, window: Box, share: float) -> tuple[Patch, Box] | None:
    """The item alone, cut to a window, and the tight box of its silhouette in window pixels.

    None where less than this share of its silhouette is inside.
    """
    if not item.may_touch(window, scene.scale):
        return None
    inside = overlap(item.sketch(scene.scale).box, window)
    if inside is None:
        return None
    whole = item.patch(scene.scale)
    patch = Patch(inside[0], inside[1], whole.window(inside))
    silhouette = silhouette_of(whole.basis)
    x, y = patch.x - whole.x, patch.y - whole.y
    seen = silhouette[y:, x:][: patch.basis.shape[1], : patch.basis.shape[2]]
    box = tight_box(seen)
    if box is None or seen.sum() < share * silhouette.sum():
        return None
    dx, dy = patch.x - window[0], patch.y - window[1]
    return patch, (box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy)


def _acceptable(occlusion: Occlusion) -> bool:
    """Whether a subject that is seen like this can be told from its surroundings at all."""
    return (
        min(occlusion.core.shape) >= MIN_SIDE
        and occlusion.core_pixels >= MIN_CORE_PIXELS
        and occlusion.black <= MAX_BLACK
        and occlusion.value <= MAX_OCCLUSION
    )


def _window_showing(dice: Dice, item: Item, scene: Scene, field_of_view: float) -> Box | None:
    """Any window in the middle of luggage that shows enough of an item, all equally likely."""
    around = item.patch(scene.scale).box
    windows = (draw_window(dice, around, field_of_view) for _ in range(WINDOW_TRIES))
    fitting = (w for w in windows if _on_luggage(scene, w))
    return next((w for w in fitting if visible_part(item, scene, w, MIN_VISIBLE)), None)


def _on_luggage(scene: Scene, window: Box) -> bool:
    """Whether a window's middle lies in a container.

    Windows that show but a rim of the luggage cut most of what they show, and hold few look-alikes:
    with them cutters would be cut more often than look-alikes are.
    """
    middle = np.array([window[0] + window[2], window[1] + window[3]]) / (2 * scene.scale)
    return any(placed.holds(middle) for placed in scene.containers)


def _without_fragments(scene: Scene, window: Box) -> Scene:
    """The scene without look-alikes of which too little is in the window to be a subject."""
    kept = [
        item
        for item in scene.items
        if item.kind.name not in LOOK_ALIKES or visible_part(item, scene, window, MIN_VISIBLE)
    ]
    return Scene(scene.scale, scene.containers, kept)


def _attempt(
    dice: Dice, scene: Scene, names: Sequence[str | None], field_of_view: float
) -> tuple[Scene, Box, list[Found]] | None:
    """One try at placing all subjects: what else is shown, the window, and how they are seen."""
    items: list[Item] = []
    parts: list[tuple[Patch, Box]] = []
    window: Box | None = None
    for name in names:
        item = _draw_subject(dice, scene, name)
        window = window or _window_showing(dice, item, scene, field_of_view)
        part = window and visible_part(item, scene, window, MIN_VISIBLE)
        if not part:
            return None
        items.append(item)
        parts.append(part)
    shown = _without_fragments(scene, window)
    full = Scene(scene.scale, scene.containers, [*shown.items, *items])
    found = []
    for item, (patch, box) in zip(items, parts, strict=True):
        occlusion = measure_occlusion(patch.basis, full.region(patch.box, without=item).basis)
        if not _acceptable(occlusion):
            return None
        found.append(Found(item, patch, box, occlusion))
    return shown, window, found


def compose(
    seed: Sequence[int],
    names: Sequence[str | None],
    field_of_view: float = 1.0,
    level: int | None = None,
) -> Composition:
    """Draw scenes until one shows all wanted subjects at the wanted occlusion level.

    Subjects are redrawn a few times in a scene, then the scene is; nothing steers the draw, so an
    image at a level follows the same law as all images, given that level.

    Args:
        seed: Identity of the image; equal seeds give equal images.
        names: Class names of the cutters; ``[None]`` for one extra distractor instead.
        field_of_view: Share of the frame's width and height that is shown.
        level: Wanted level of the hardest subject, or None for any.

    Raises:
        RuntimeError: no scene in MAX_SCENES fitted, which no valid argument should cause.
    """
    for number in range(MAX_SCENES):
        dice = Dice([*seed, number])
        scene = draw_scene(dice)
        for _ in range(TRIES_PER_SCENE):
            result = _attempt(dice, scene, names, field_of_view)
            if result is None:
                continue
            shown, window, found = result
            if level in (None, level_of(max(f.occlusion.value for f in found))):
                total = shown.region(window)
                for one in found:
                    total.paste(one.patch)
                return Composition(shown, window, found, total.basis, [*seed, number])
    raise RuntimeError(f"image {list(seed)}: no scene shows {list(names)} at level {level}")


def belt_load(dice: Dice, shape: tuple[int, int], span: tuple[int, int]) -> np.ndarray:
    """Faint belt noise: polyethylene g/cm2 by column, float32 (H, W), with ragged ends.

    The load is just below the air gate, so that detector noise lifts single pixels through it.

    Args:
        dice: Draws.
        shape: Rows and columns.
        span: Rows between which the containers lie.
    """
    height, width = shape
    steps = dice.generator.normal(0, 1, (2, width // 3 + 2)).repeat(3, axis=1)[:, :width]
    ragged = np.cumsum(steps, axis=1) * 2 + 14 * np.abs(steps)
    reach = dice.between(15, 60)
    top, bottom = span[0] - reach - ragged[0], span[1] + reach + ragged[1]
    rows = np.arange(height)[:, None]
    return ((rows > top) & (rows < bottom)) * np.float32(dice.between(0.045, 0.075))


def render_pixels(basis: np.ndarray, chain: DisplayChain, dice: Dice, belt: bool) -> np.ndarray:
    """The scanner's picture of basis maps: uint8 (H, W, 3) RGB, rows without load pure white."""
    height, width = basis.shape[1:]
    image = np.full((height, width, 3), 255, np.uint8)
    rows = np.flatnonzero(basis.any(axis=(0, 2)))
    if belt and len(rows):
        basis = basis.copy()
        basis[0] += belt_load(dice, (height, width), (int(rows[0]), int(rows[-1]) + 1))
        rows = np.flatnonzero(basis.any(axis=(0, 2)))
    if len(rows):
        shown = slice(max(int(rows[0]) - 8, 0), int(rows[-1]) + 9)
        measured = expose(*log_attenuation(basis[:, shown]), chain, dice.generator)
        image[shown] = colourise(*measured, chain)
    return image
