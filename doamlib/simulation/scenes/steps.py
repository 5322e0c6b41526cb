"""Scenes arranged by hand and rendered step by step: for figures, lessons and fits.

:func:`render` takes items by name and place; :func:`render_cutter` shows one cutter alone (Fig. 1
of the paper), :func:`render_level` a random scene at an occlusion level (Fig. 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from doamlib.simulation.dice import Dice
from doamlib.simulation.drawing.canvas import Patch
from doamlib.simulation.items.catalogue import CUTTER_KINDS, KINDS
from doamlib.simulation.items.containers import CONTAINERS
from doamlib.simulation.optics.display import DisplayChain, clean_colour, colourise, expose
from doamlib.simulation.optics.physics import effective_z, log_attenuation
from doamlib.simulation.scenes.compose import compose, tight_box, window_size
from doamlib.simulation.scenes.occlusion import Occlusion, measure_occlusion, silhouette_of
from doamlib.simulation.scenes.scene import FRAME, Box, Item, Placed, Scene, rotation


@dataclass(frozen=True)
class Placement:
    """One item of a scene arranged by hand.

    Attributes:
        name: A cutter class or a harmless kind (``catalogue.KINDS``).
        x: Millimetres right of the container's middle.
        y: Millimetres below it.
        psi: In-plane turn in radians.
        tilt: Angle to the beam's normal plane in radians, 0 flat, pi/2 edge-on.
        axis: Direction in the item about which it is tilted; 0 is its long axis.
        seed: Seed of its shape.
    """

    name: str
    x: float = 0.0
    y: float = 0.0
    psi: float = 0.0
    tilt: float = 0.0
    axis: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Rendering:
    """Every step from materials to the picture; maps are float32 (H, W) unless said otherwise.

    Attributes:
        basis: Polyethylene and iron load in g/cm2, float32 (2, H, W).
        low: Noise-free low-energy log-attenuation.
        high: Noise-free high-energy log-attenuation.
        effective_z: Effective atomic number of the noise-free pair.
        clean: Displayed colour without noise and sharpening, float32 (H, W, 3) RGB in 0..1.
        measured_low: Low-energy log-attenuation with blur and noise.
        measured_high: The same at high energy.
        unsharpened: Picture with noise, without sharpening, uint8 (H, W, 3) RGB.
        colour: The scanner's picture, uint8 (H, W, 3) RGB.
        subject: Box of the subject in window pixels (ends excluded), or None.
        occlusion: The subject's occlusion (its maps lie on ``occlusion_box``), or None.
        occlusion_box: Window rectangle of the occlusion's maps, or None.
        own: The subject's basis maps on the window, or None.
    """

    basis: np.ndarray
    low: np.ndarray
    high: np.ndarray
    effective_z: np.ndarray
    clean: np.ndarray
    measured_low: np.ndarray
    measured_high: np.ndarray
    unsharpened: np.ndarray
    colour: np.ndarray
    subject: Box | None = None
    occlusion: Occlusion | None = None
    occlusion_box: Box | None = None
    own: np.ndarray | None = None


def arrange(placements: Sequence[Placement], container: str | None, seed: int = 0) -> Scene:
    """A scene with one container in the middle of the frame and items where they are put.

    Raises:
        ValueError: an unknown container or item name.
    """
    if container is not None and container not in CONTAINERS:
        raise ValueError(f"no container {container!r}; there are {', '.join(CONTAINERS)}")
    kinds = {**KINDS, **CUTTER_KINDS}
    middle = np.array(FRAME) / 2.0
    items = []
    for placement in placements:
        if placement.name not in kinds:
            raise ValueError(f"no item {placement.name!r}; there are {', '.join(kinds)}")
        turn = rotation(placement.psi, placement.tilt, placement.axis)
        at = np.add(middle, (placement.x, placement.y))
        items.append(Item(kinds[placement.name], placement.seed, at, posed=turn))
    drawn = [] if container is None else [CONTAINERS[container](Dice([seed, 0]))]
    return Scene(1.0, [Placed(one, middle, 0.0) for one in drawn], items)


def measure_subject(scene: Scene, subject: int) -> tuple[Patch, Occlusion]:
    """One item of a scene alone, and its occlusion by everything else."""
    item = scene.items[subject]
    patch = item.patch(scene.scale)
    return patch, measure_occlusion(patch.basis, scene.region(patch.box, without=item).basis)


def render(
    placements: Sequence[Placement],
    container: str | None = "tray",
    subject: int | None = None,
    field_of_view: float = 0.5,
    seed: int = 0,
    chain: DisplayChain | None = None,
) -> Rendering:
    """Render a scene arranged by hand, keeping every step.

    Args:
        placements: The items.
        container: ``tray``, ``backpack``, ``suitcase`` or None for bare belt.
        subject: Which placement's occlusion is measured.
        field_of_view: Share of the frame's width and height shown, around its middle.
        seed: Seed of the container and the noise.
        chain: Display chain; the default scanner if None.

    Raises:
        ValueError: no such item, container or subject, or no such share.
    """
    _check_share(field_of_view)
    if subject is not None and not 0 <= subject < len(placements):
        raise ValueError(f"subject {subject}: there are {len(placements)} placements, from 0 on")
    scene = arrange(placements, container, seed)
    width, height = window_size(field_of_view)
    x, y = (FRAME[0] - width) // 2, (FRAME[1] - height) // 2
    window = (x, y, x + width, y + height)
    measured = None if subject is None else measure_subject(scene, subject)
    return _rendering(scene.region(window).basis, window, measured, chain, Dice([seed, 1]))


def render_cutter(name: str, seed: int = 0, field_of_view: float = 0.2) -> Rendering:
    """One cutter alone, flat on a tray, as in Fig. 1.

    Paper: Fig. 1.
    """
    item = Placement(name, psi=Dice([seed, *name.encode()]).between(0, 2 * np.pi), seed=seed)
    return render([item], subject=0, field_of_view=field_of_view, seed=seed)


def render_level(name: str, level: int, seed: int = 0, field_of_view: float = 0.5) -> Rendering:
    """A random scene with a cutter at an occlusion level (1, 2 or 3), as in Fig. 2.

    Paper: Fig. 2.

    Raises:
        ValueError: no such item, level or share.
    """
    _check_share(field_of_view)
    if level not in (1, 2, 3):
        raise ValueError(f"level {level}: choose 1, 2 or 3")
    composition = compose([seed, level], [name], field_of_view, level)
    found = composition.subjects[0]
    dice = Dice([*composition.seed, 1])
    measured = (found.patch, found.occlusion)
    return _rendering(composition.basis, composition.window, measured, None, dice)


def _check_share(field_of_view: float) -> None:
    if not 0 < field_of_view <= 1:
        raise ValueError(f"field_of_view {field_of_view}: choose a share above 0 and up to 1")


def _rendering(
    basis: np.ndarray,
    window: Box,
    measured: tuple[Patch, Occlusion] | None,
    chain: DisplayChain | None,
    dice: Dice,
) -> Rendering:
    chain = chain or DisplayChain()
    low, high = log_attenuation(basis)
    noisy = expose(low, high, chain, dice.generator)
    soft = chain.model_copy(update={"sharpen_fine": 0.0, "sharpen_wide": 0.0})
    about_subject = {}
    if measured is not None:
        patch, occlusion = measured
        own = Patch(window[0], window[1], np.zeros_like(basis))
        own.paste(patch)
        x0, y0, x1, y1 = patch.box
        about_subject = {
            "own": own.basis,
            "occlusion": occlusion,
            "occlusion_box": (x0 - window[0], y0 - window[1], x1 - window[0], y1 - window[1]),
            "subject": tight_box(silhouette_of(own.basis)),
        }
    return Rendering(
        basis=basis,
        low=low,
        high=high,
        effective_z=effective_z(low, high),
        clean=clean_colour(low, high),
        measured_low=noisy[0],
        measured_high=noisy[1],
        unsharpened=colourise(*noisy, soft),
        colour=colourise(*noisy, chain),
        **about_subject,
    )
