"""Primitives conserve mass; every builder keeps its promises for any seed."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from doamlib.data.classes import CLASSES
from doamlib.simulation.dice import Dice
from doamlib.simulation.drawing.canvas import Patch, View
from doamlib.simulation.drawing.outlines import ellipse, points, rectangle
from doamlib.simulation.drawing.primitives import Lathe, Sheet, Sketch, Slab, Soft, Tube
from doamlib.simulation.items.blades import PLASTICS
from doamlib.simulation.items.catalogue import CONTENTS, CUTTER_KINDS, GROUPS, KINDS, RAREST
from doamlib.simulation.items.containers import CONTAINERS
from doamlib.simulation.optics.physics import physics
from doamlib.simulation.scenes.scene import rotation

SEEDS = st.integers(0, 2**32)
IRON = physics().materials["steel"]


def seen(psi: float = 0.3, tilt: float = 0.0, axis: float = 0.0, scale: float = 1.0) -> View:
    return View(rotation(psi, tilt, axis), np.array([300.0, 200.0]), scale)


def paint(parts, view: View, clip=None) -> Patch:
    sketch = Sketch(parts, view)
    return sketch.whole if clip is None else sketch.paint(clip)


def grams(patch: Patch, scale: float = 1.0) -> float:
    """Iron in a patch: load in g/cm2 times the pixels' area in cm2."""
    return float(patch.basis[1].sum(dtype=float)) / scale**2 / 100


@pytest.mark.parametrize("tilt", [0.0, 0.4, 0.9, 1.3])
@pytest.mark.parametrize("scale", [0.92, 2.0])
def test_a_slab_keeps_its_mass_in_every_pose(tilt, scale):
    plate = Slab(rectangle(60, 24), -2, 3, "steel")
    drawn = grams(paint([plate], seen(1.1, tilt, 0.5, scale)), scale)
    assert drawn == pytest.approx(6.0 * 2.4 * 0.5 * IRON.density, rel=0.06)


def test_an_edge_on_plate_is_a_thin_dark_line():
    plate = [Slab(rectangle(80, 20), -0.8, 0.8, "steel")]
    flat, edge = paint(plate, seen(0, 0)), paint(plate, seen(0, 1.45))
    assert (edge.basis[1] > 0.1).sum() < 0.35 * (flat.basis[1] > 0.1).sum()
    assert edge.basis[1].max() > 4 * flat.basis[1].max()


def test_holes_are_empty_and_grooves_remove_mass():
    plate = Slab([rectangle(40, 40), ellipse(10)], 0, 1, "steel")
    patch = paint([plate], seen())
    assert patch.basis[1, 200 - patch.y, 300 - patch.x] == 0
    groove = Slab(rectangle(40, 4), 0, 1, "steel", -0.5)
    whole = Slab(rectangle(40, 40), 0, 1, "steel")
    lost = grams(paint([whole], seen())) - grams(paint([whole, groove], seen()))
    assert lost == pytest.approx(4.0 * 0.4 * 0.1 * 0.5 * IRON.density, rel=0.08)


@pytest.mark.parametrize("radius", [0.3, 0.8, 2.0, 6.0])
def test_a_tube_keeps_its_mass_at_any_radius(radius):
    wire = Tube(points([-50, 0], [50, 0]), radius, "steel")
    expected = math.pi * (radius / 10) ** 2 * 10.0 * IRON.density
    assert grams(paint([wire], seen(0.7))) == pytest.approx(expected, rel=0.1)


def test_a_tube_seen_along_its_axis_is_darker():
    wire = [Tube(points([-30, 0], [30, 0]), 1.5, "steel")]
    assert paint(wire, seen(0, 1.2, math.pi / 2)).basis[1].max() > 1.8 * (
        paint(wire, seen(0, 0)).basis[1].max()
    )


def test_a_lathe_has_the_exact_chord():
    x, radius = np.array([-20.0, 20.0]), np.full(2, 10.0)
    rod = Lathe(x, radius, None, "steel")
    patch = paint([rod], seen(0))
    assert patch.basis[1].max() == pytest.approx(2.0 * IRON.density, rel=0.01)
    assert grams(patch) == pytest.approx(math.pi * 1.0**2 * 4.0 * IRON.density, rel=0.03)
    pipe = Lathe(x, radius, radius - 1, "steel")
    share = grams(paint([pipe], seen(0))) / grams(patch)
    assert share == pytest.approx(1 - 0.9**2, rel=0.05)


def test_a_sheet_and_cloth_keep_their_mass():
    raster = np.zeros((40, 60, 2), np.float32)
    raster[10:30, 10:50, 1] = 0.8
    sheet = Sheet(raster, 120.0, 80.0)
    assert grams(paint([sheet], seen(0.4))) == pytest.approx(0.8 * 40.0 * 80.0 / 100, rel=0.02)
    even = np.ones((400, 400), np.float32)
    frame = np.array([[1.0, 0, 200], [0, 1, 200]])
    cloth = Soft(rectangle(100, 60), 0.5, "steel", 3.0, even, frame)
    assert grams(paint([cloth], seen(0.4))) == pytest.approx(0.5 * 60.0, rel=0.02)


def test_drawing_order_does_not_matter():
    parts = KINDS["phone"].build(Dice(3))
    view = seen(0.5, 0.2, 1.0)
    one, other = paint(parts, view), paint(parts[::-1], view)
    assert one.box == other.box
    assert_allclose(one.basis, other.basis, atol=1e-4)


def test_a_clipped_patch_shows_the_same_as_the_whole():
    parts = KINDS["spatula"].build(Dice(1))
    whole = paint(parts, seen())
    x0, y0, x1, y1 = whole.box
    clip = (x0 + 10, y0 + 5, x1 - 20, y1)
    part = paint(parts, seen(), clip)
    assert part.box == clip
    inside = whole.window(clip)
    assert_allclose(part.basis.sum(), inside.sum(), rtol=0.02)


def test_paste_adds_only_the_overlap():
    patch, other = Patch.empty(0, 0, 4, 3), Patch.empty(2, 1, 9, 9)
    other.basis += 1
    patch.paste(other)
    expected = np.zeros((3, 4), np.float32)
    expected[1:, 2:] = 1
    assert_allclose(patch.basis, np.stack([expected, expected]), atol=0)
    patch.paste(Patch.empty(50, 50, 60, 60))
    assert_allclose(patch.basis.sum(), 8.0)


ALL_KINDS = {**KINDS, **CUTTER_KINDS}


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(sorted(ALL_KINDS)), seed=SEEDS)
def test_the_rarest_item_stays_within_its_declared_reach(name, seed):
    kind = ALL_KINDS[name]
    flat = View(np.eye(3), np.zeros(2), 1.0)
    for part in kind.build(Dice(seed)):
        corner = np.abs(part.shadow(flat)[0])
        assert np.isfinite(corner).all()
        assert corner.max() <= RAREST * kind.reach
        if not isinstance(part, Sheet):
            assert part.material in physics().materials


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(sorted(ALL_KINDS)), seed=SEEDS, tilt=st.floats(0, 1.5))
def test_every_item_can_be_seen_in_any_pose(name, seed, tilt):
    patch = paint(ALL_KINDS[name].build(Dice(seed)), seen(0.4, tilt))
    assert np.isfinite(patch.basis).all()
    assert patch.basis.sum() > 0
    rim = np.abs(patch.basis[:, [0, -1]]).sum() + np.abs(patch.basis[:, :, [0, -1]]).sum()
    assert rim < 5e-3 * np.abs(patch.basis).sum()


@settings(max_examples=20, deadline=None)
@given(name=st.sampled_from(sorted(CONTAINERS)), seed=SEEDS)
def test_containers_hold_their_contents_inside(name, seed):
    container = CONTAINERS[name](Dice(seed))
    x, y, half_width, half_height = container.inside
    assert abs(x) + half_width < container.width / 2
    assert abs(y) + half_height < container.height / 2 + 5


def test_the_catalogue_is_complete():
    assert tuple(CUTTER_KINDS) == CLASSES
    assert set(CONTENTS) == set(CONTAINERS)
    used = {name for group in GROUPS.values() for name in group}
    assert used == set(KINDS)
    assert all(set(mean) <= set(GROUPS) for mean in CONTENTS.values())
    assert all(list(mean)[-1] == "tools" for mean in CONTENTS.values()), "placed last, as cutters"
    assert len([kind for kind in KINDS.values() if kind.listed]) >= 25


def _bevels(parts) -> int:
    """Stacks of at least three equally thick plates of one material, each smaller than the last."""
    stacks, run = 0, 1
    plates = [p for p in parts if isinstance(p, Slab) and len(p.outlines) == 1]
    for one, after in pairwise(plates):
        thick = [p.z1 - p.z0 for p in (one, after)]
        touching = math.isclose(one.z1, after.z0, abs_tol=1e-9)
        shrinks = np.ptp(after.outlines[0], axis=0).prod() < np.ptp(one.outlines[0], axis=0).prod()
        same = one.material == after.material and math.isclose(*thick, rel_tol=1e-6)
        run = run + 1 if touching and shrinks and same else 1
        stacks += run == 3
    return stacks


def test_bevels_rivets_and_plastic_handles_are_no_mark_of_cutters():
    seeds = range(30)
    bevelled = {
        name
        for name in set(GROUPS["tools"])
        if any(_bevels(KINDS[name].build(Dice(s))) for s in seeds)
    }
    assert bevelled >= {"spatula", "nail_file", "ruler", "metal_bar"}
    for name in ("spatula", "nail_file", "comb"):
        parts = [p for s in seeds for p in KINDS[name].build(Dice(s))]
        assert any(p.material in PLASTICS for p in parts)
        assert any(p.material in ("brass", "steel") and len(p.outlines) > 1 for p in parts)


def test_cutters_vary_continuously():
    for kind in CUTTER_KINDS.values():
        spans = {
            round(max(np.ptp(p.shadow(seen(0))[0][::2]) for p in kind.build(Dice(s))), 6)
            for s in range(20)
        }
        assert len(spans) == 20
