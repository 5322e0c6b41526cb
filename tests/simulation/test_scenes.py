"""Scenes, windows, occlusion: laws shared by cutters and distractors, and what O means."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import kstest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from doamlib.data.classes import CLASSES
from doamlib.simulation import Placement, SimulationConfig, render, render_cutter, render_level
from doamlib.simulation.dice import Dice
from doamlib.simulation.items.catalogue import CUTTER_KINDS, GROUPS, KINDS, Kind
from doamlib.simulation.optics.display import DisplayChain
from doamlib.simulation.optics.physics import log_attenuation
from doamlib.simulation.scenes.compose import (
    LOOK_ALIKES,
    MIN_VISIBLE,
    belt_load,
    compose,
    draw_window,
    render_pixels,
    tight_box,
    visible_part,
    window_size,
)
from doamlib.simulation.scenes.image import make_image
from doamlib.simulation.scenes.occlusion import (
    LEVEL_LIMITS,
    level_of,
    measure_occlusion,
    silhouette_of,
)
from doamlib.simulation.scenes.quotas import ImagePlan
from doamlib.simulation.scenes.scene import FRAME, Item, draw_item, draw_scene
from doamlib.simulation.scenes.steps import arrange


def plate(size: int, load: float, plane: int = 1) -> np.ndarray:
    """A square plate in the middle of a patch: polyethylene (0) or iron (1)."""
    basis = np.zeros((2, 60, 60), np.float32)
    low, high = 30 - size // 2, 30 + size // 2
    basis[plane, low:high, low:high] = load
    return basis


# ---------------------------------------------------------------------------------------- laws


def test_cutters_and_distractors_share_one_pose_law():
    tools = [KINDS[name] for name in set(GROUPS["tools"])]
    assert not any(kind.flat for kind in (*tools, *CUTTER_KINDS.values()))
    for seed in range(20):
        views = [Item(k, seed, np.zeros(2)).view(1.0)[0] for k in (*tools, *CUTTER_KINDS.values())]
        for view in views[1:]:
            assert_array_equal(view.rotation, views[0].rotation)


def test_pose_law_has_the_stated_share_of_edge_on_views():
    kind = CUTTER_KINDS["Scissor"]
    tilts = np.array([Item(kind, seed, np.zeros(2)).tilt_degrees for seed in range(3000)])
    assert (tilts > 65).mean() == pytest.approx(0.12, abs=0.02)
    assert (tilts < 25).mean() == pytest.approx(0.66, abs=0.04)


def test_cutters_and_distractors_share_one_placement_law():
    scene = draw_scene(Dice(5))
    for seed in range(20):
        spots = [
            draw_item(
                Dice(seed),
                scene.containers[0],
                Kind(kind.name, kind.build, 100.0),
                scene.items,
            ).at
            for kind in (CUTTER_KINDS["Folding_Knife"], KINDS["spatula"], KINDS["phone"])
        ]
        assert_array_equal(spots[0], spots[1])
        assert_array_equal(spots[0], spots[2])


def test_items_avoid_crowded_places_more_often_than_not():
    scene = draw_scene(Dice(5))
    placed = scene.containers[0]
    crowd = [Item(KINDS["tablet"], 1, placed.to_frame(np.array([-150.0, 60.0])))] * 3
    kind = Kind("small", KINDS["coins"].build, 40.0)
    side = [draw_item(Dice(seed), placed, kind, crowd).at[0] > placed.at[0] for seed in range(400)]
    assert np.mean(side) > 0.57


@pytest.mark.parametrize("field_of_view", [0.25, 0.5])
def test_a_window_touches_its_box_anywhere(field_of_view):
    box = (600, 480, 680, 520)
    size = window_size(field_of_view)
    places = []
    for seed in range(300):
        window = draw_window(Dice(seed), box, field_of_view)
        for axis in (0, 1):
            start, end = window[axis], window[axis + 2]
            assert end - start == size[axis] and start >= 0 and end <= FRAME[axis]
            assert start < box[axis + 2] and box[axis] < end
        places.append(window[:2])
    for axis, starts in enumerate(zip(*places, strict=True)):
        first = max(box[axis] - size[axis] + 1, 0)
        last = min(box[axis + 2] - 1, FRAME[axis] - size[axis])
        spread = (np.array(starts) - first) / (last - first)
        assert kstest(spread, "uniform").pvalue > 0.01


def test_whole_frames_are_never_shifted():
    assert draw_window(Dice(0), (10, 10, 60, 60), 1.0) == (0, 0, *FRAME)
    assert draw_window(Dice(0), (1300, -90, 1400, -20), 1.0) == (0, 0, *FRAME)


@pytest.mark.slow
def test_the_window_cuts_cutters_and_look_alikes_alike():
    """Were cutters always whole, a detector could learn "whole" in place of "cutter"."""
    width, height = window_size(0.3)
    cut: dict[str, list[bool]] = {"cutter": [], "look-alike": []}
    for index in range(240):
        composition = compose([41, index], [CLASSES[index % 5]], 0.3)
        boxes = [("cutter", found.box) for found in composition.subjects]
        for item in composition.scene.items:
            if item.kind.name in LOOK_ALIKES:
                seen = visible_part(item, composition.scene, composition.window, MIN_VISIBLE)
                assert seen is not None, "too little of it is left"
                boxes.append(("look-alike", seen[1]))
        for name, (x0, y0, x1, y1) in boxes:
            cut[name].append(min(x0, y0, width - x1, height - y1) == 0)
    shares = {name: np.mean(touched) for name, touched in cut.items()}
    error = sum(share * (1 - share) / len(cut[name]) for name, share in shares.items()) ** 0.5
    assert len(cut["look-alike"]) > 60 and shares["cutter"] > 0.2
    assert abs(shares["cutter"] - shares["look-alike"]) < 2.5 * error


# ------------------------------------------------------------------------------------- compose


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    name=st.sampled_from([*CLASSES, None]),
    field_of_view=st.sampled_from([0.25, 0.35, 0.5]),
)
def test_any_seed_gives_a_valid_subject(seed, name, field_of_view):
    composition = compose([seed], [name], field_of_view)
    width, height = window_size(field_of_view)
    (found,) = composition.subjects
    x0, y0, x1, y1 = found.box
    assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
    assert composition.basis.shape == (2, height, width)
    assert found.occlusion.core_pixels >= 40
    assert 0 <= found.occlusion.value <= 0.7
    if name:
        assert found.item.kind.name == name
    else:
        assert found.item.kind.name in GROUPS["tools"]


def test_a_subject_adds_itself_and_leaves_no_seam():
    composition = compose([4], ["Scissor"], 0.5)
    (found,) = composition.subjects
    bare = composition.scene.region(composition.window).basis
    added = composition.basis - bare
    own = np.zeros_like(added)
    x0, y0, x1, y1 = found.patch.box
    x, y = composition.window[:2]
    own[:, y0 - y : y1 - y, x0 - x : x1 - x] = found.patch.basis
    assert_allclose(added, own, atol=1e-4)


def test_compose_reaches_the_wanted_level_and_repeats_itself():
    for level in (1, 2, 3):
        one = compose([8], ["Folding_Knife"], 0.3, level)
        assert level_of(one.subjects[0].occlusion.value) == level
        assert_array_equal(one.basis, compose([8], ["Folding_Knife"], 0.3, level).basis)


def test_two_subjects_lie_in_one_window_and_occlude_each_other():
    composition = compose([3], ["Scissor", "Folding_Knife"], 0.25)
    assert [f.item.kind.name for f in composition.subjects] == ["Scissor", "Folding_Knife"]
    scene = arrange([Placement("Scissor"), Placement("Folding_Knife")], None)
    alone, under = (
        measure_occlusion(scene.items[0].patch(1.0).basis, others)
        for others in (
            np.zeros_like(scene.items[0].patch(1.0).basis),
            scene.region(scene.items[0].patch(1.0).box).basis - scene.items[0].patch(1.0).basis,
        )
    )
    assert under.value > alone.value + 0.05


def test_the_frame_outside_the_belt_is_pure_white():
    composition = compose([6], ["Scissor"], 1.0)
    pixels = render_pixels(composition.basis, DisplayChain(), Dice(0), belt=False)
    assert pixels.shape == (*FRAME[::-1], 3) and pixels.dtype == np.uint8
    assert (pixels[:60] == 255).all() and (pixels[-60:] == 255).all()
    air = composition.basis.sum(0) == 0
    assert (pixels[air] == 255).all(axis=1).mean() > 0.97
    assert 0.1 < air.mean() < 0.9


def test_belt_noise_has_ragged_ends_around_the_containers():
    load = belt_load(Dice(1), (900, 1200), (300, 600))
    assert load.shape == (900, 1200)
    assert (load[300:600] > 0).all()
    assert len(np.unique((load > 0).argmax(0))) > 30
    assert (load[[0, -1]] == 0).mean() > 0.5


def test_tight_box():
    mask = np.zeros((9, 12), bool)
    assert tight_box(mask) is None
    mask[2, 3] = mask[5, 7] = True
    assert tight_box(mask) == (3, 2, 8, 6)


# ----------------------------------------------------------------------------------- occlusion


def test_an_item_on_a_bare_tray_is_not_occluded():
    tray = np.zeros((2, 60, 60), np.float32)
    tray[0] = 0.25
    result = measure_occlusion(plate(20, 1.2), tray)
    assert result.value == pytest.approx(0.0, abs=1e-3)
    assert result.core_pixels == 400 and result.share == 0.0
    assert result.clutter == pytest.approx(0.0, abs=1e-3)


def test_more_steel_around_occludes_more_and_lead_hides():
    values = [measure_occlusion(plate(20, 1.2), plate(40, t)).value for t in (0.0, 1.0, 4.0, 30.0)]
    assert values == sorted(values)
    assert values[0] < 0.05 and values[2] > 0.4 and values[3] > 0.9


def test_clutter_occludes_beyond_mere_contrast():
    rng = np.random.default_rng(0)
    even, busy = np.zeros((2, 2, 60, 60), np.float32)
    even[1] = 0.4
    busy[1] = np.where(rng.random((60, 60)) < 0.5, 0.0, 0.8)
    calm, restless = (measure_occlusion(plate(30, 1.5), around) for around in (even, busy))
    assert restless.clutter > calm.clutter + 0.05
    assert restless.value > calm.value + 0.05


def test_the_core_is_the_blade_not_the_handle():
    own = plate(40, 1.0, plane=0) + plate(16, 2.0)
    result = measure_occlusion(own, np.zeros_like(own))
    assert result.silhouette.sum() == 1600
    assert result.core_pixels == 256


def test_an_invisible_item_is_refused():
    with pytest.raises(ValueError, match="no visible pixel"):
        measure_occlusion(np.zeros((2, 20, 20), np.float32), plate(20, 1.0)[:, :20, :20])


def test_silhouette_is_the_thin_layer_limit_of_the_tables():
    for load in (0.02, 0.03, 0.05, 0.10, 0.13):
        for plane in (0, 1):
            basis = plate(20, load, plane)
            exact = log_attenuation(basis)[1][30, 30]
            if abs(exact - 0.02) > 4e-4:
                assert silhouette_of(basis)[30, 30] == (exact > 0.02)


def test_levels_are_cut_at_the_frozen_limits():
    first, second = LEVEL_LIMITS
    values = (0.0, first - 1e-9, first, second - 1e-9, second, 1.0)
    assert [level_of(v) for v in values] == [1, 1, 2, 2, 3, 3]


# -------------------------------------------------------------------------------------- render


def test_render_keeps_every_step():
    blade = Placement("Straight_Knife", seed=2)
    steps = render([blade, Placement("laptop", 0, 40, seed=1)], subject=0, field_of_view=0.4)
    width, height = window_size(0.4)
    assert steps.colour.shape == (height, width, 3) and steps.colour.dtype == np.uint8
    assert steps.basis.shape == steps.own.shape == (2, height, width)
    for name in ("low", "high", "effective_z", "measured_low", "measured_high"):
        assert getattr(steps, name).shape == (height, width)
    assert steps.clean.min() >= 0 and steps.clean.max() <= 1
    x0, y0, x1, y1 = steps.subject
    assert silhouette_of(steps.own).sum() == silhouette_of(steps.own)[y0:y1, x0:x1].sum() > 0
    x0, y0, x1, y1 = steps.occlusion_box
    assert steps.occlusion.contrast.shape == (y1 - y0, x1 - x0)
    assert steps.occlusion.value > 0.1
    assert np.abs(np.diff(steps.colour.astype(int), axis=1)).mean() > (
        np.abs(np.diff(steps.unsharpened.astype(int), axis=1)).mean()
    )
    assert render([blade], container=None).subject is None


def test_render_names_what_it_does_not_know():
    with pytest.raises(ValueError, match="no item 'sword'"):
        render([Placement("sword")])
    with pytest.raises(ValueError, match="no container 'box'"):
        render([], container="box")


def test_figures_of_cutters_and_levels():
    """Paper: Fig. 1, 2."""
    for name in CLASSES:
        steps = render_cutter(name, seed=1)
        assert steps.occlusion.value < 0.05
        x0, y0, x1, y1 = steps.subject
        assert 0 < x0 < x1 < steps.colour.shape[1] and 0 < y0 < y1 < steps.colour.shape[0]
    for level in (1, 3):
        assert level_of(render_level("Scissor", level, field_of_view=0.3).occlusion.value) == level


# --------------------------------------------------------------------------------------- leaks


@pytest.mark.slow
def test_global_colour_hardly_tells_whether_a_cutter_is_there():
    """The full probe (2,000 images) is in scripts/simulation_measure.py; this is a smoke alarm."""
    rows, labels = [], []
    for cutters in (True, False):
        config = SimulationConfig(
            train_images=90, test_images=0, field_of_view=0.4, cutters=cutters
        )
        for index in range(90):
            classes = (CLASSES[index % 5],) if cutters else ()
            pixels, _ = make_image(config, ImagePlan(index + 1000 * cutters, "train", classes))
            bins = (pixels[::2, ::2] // 64).reshape(-1, 3) @ (16, 4, 1)
            rows.append(np.bincount(bins, minlength=64) / len(bins))
            labels.append(cutters)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=1000))
    scores = cross_val_predict(model, np.array(rows), labels, cv=5, method="decision_function")
    assert roc_auc_score(labels, scores) < 0.70


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (lambda: render([], field_of_view=2), "field_of_view 2: choose a share"),
        (lambda: render([], field_of_view=0), "field_of_view 0: choose a share"),
        (lambda: render([Placement("Scissor")], subject=1), "subject 1: there are 1 placements"),
        (lambda: render_level("Scissor", 4), "level 4: choose 1, 2 or 3"),
        (lambda: render_level("Scissor", 1, field_of_view=1.5), "field_of_view 1.5"),
    ],
)
def test_scenes_by_hand_name_the_argument_that_cannot_be(wrong, named):
    with pytest.raises(ValueError, match=named):
        wrong()
