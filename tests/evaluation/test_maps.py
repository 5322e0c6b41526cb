"""Maps and their scores: examples worked by hand, an independent Grad-CAM, and alignment."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose
from tiny import LARGE, SIZE, SMALL, make, photos

from doamlib.evaluation import map_scores
from doamlib.evaluation.region_scores import cover, evenness, lift, pointing
from doamlib.evaluation.test_set import TestSet

UPPER_LEFT = map_scores.box_region((0, 0, 2, 5), 10)  # 2 wide, 5 high: a tenth of a 10 x 10 map


def spot(y, x, size=10, value=1.0):
    values = np.zeros((size, size))
    values[y, x] = value
    return values


# --- regions ------------------------------------------------------------------------------------


def test_a_box_covers_its_area_and_fractions_of_its_border():
    region = map_scores.box_region((1.5, 2, 4, 3.25), 6)
    assert_allclose(region.sum(), 2.5 * 1.25)
    assert_allclose(region[2], [0, 0.5, 1, 1, 0, 0])
    assert_allclose(region[3], [0, 0.125, 0.25, 0.25, 0, 0])


@pytest.mark.parametrize(
    "box, area", [((-5, -5, 2, 3), 6), ((8, 8, 30, 30), 4), ((3, 3, 3, 9), 0), ((20, 0, 30, 5), 0)]
)
def test_boxes_are_cut_at_the_frame(box, area):
    assert_allclose(map_scores.box_region(box, 10).sum(), area)


@pytest.mark.parametrize("height, width", [(10, 20), (33, 7), (5, 5), (100, 64)])
def test_a_mask_of_a_box_is_the_region_of_that_box(height, width):
    """Silhouettes and boxes are stretched alike, whatever the size of the original image."""
    mask = np.zeros((height, width), bool)
    mask[1 : height // 2, 2 : width - 1] = True
    across, down = 10 / width, 10 / height
    box = (2 * across, down, (width - 1) * across, height // 2 * down)
    assert_allclose(map_scores.mask_region(mask, 10), map_scores.box_region(box, 10), atol=1e-12)


def test_a_blade_thinner_than_a_pixel_does_not_vanish():
    mask = np.zeros((640, 640), bool)
    mask[:, 301] = True
    region = map_scores.mask_region(mask, 64)
    assert_allclose(region.sum(), 6.4)
    assert_allclose(region[:, 30], 0.1)


# --- scores -------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_a_constant_map_prefers_nothing(level):
    values = np.full((10, 10), level, np.float32)
    assert lift(values, UPPER_LEFT) == pytest.approx(1, abs=1e-6)
    assert pointing(values, UPPER_LEFT) == pytest.approx(0.1)
    whole = float(level > 0)  # nothing of an empty map lies on the item
    assert cover(values, UPPER_LEFT) == pytest.approx(whole)
    assert evenness(values, UPPER_LEFT) == pytest.approx(whole)


def test_all_energy_inside_lifts_by_the_inverse_of_the_area():
    assert lift(UPPER_LEFT, UPPER_LEFT) == pytest.approx(10)
    assert lift(1 - UPPER_LEFT, UPPER_LEFT) == 0


def test_lift_is_share_of_energy_over_share_of_area():
    values = np.random.default_rng(0).random((10, 10))
    share = (values * UPPER_LEFT).sum() / values.sum()
    assert lift(values, UPPER_LEFT) == pytest.approx(share / 0.1)


def test_no_score_depends_on_the_scale_of_a_map():
    values = np.random.default_rng(1).random((10, 10))
    first, second = (
        map_scores.score_map(scale * values, UPPER_LEFT, UPPER_LEFT / 2) for scale in (1, 250)
    )
    assert first == pytest.approx(second)


def test_pointing_asks_where_the_maximum_is():
    assert pointing(spot(4, 1), UPPER_LEFT) == 1
    assert pointing(spot(4, 2), UPPER_LEFT) == 0
    tied = spot(0, 0) + spot(9, 9) + spot(9, 8) + spot(9, 7)
    assert pointing(tied, UPPER_LEFT) == 0.25


def test_cover_counts_from_half_of_the_largest_value_in_the_whole_image():
    values = np.linspace(0, 9, 10)[:, None].repeat(10, axis=1) / 9
    assert cover(values, np.ones((10, 10))) == 0.5
    assert cover(values, map_scores.box_region((0, 4, 10, 6), 10)) == 0.5
    assert cover(values, UPPER_LEFT) == 0


def test_evenness_is_one_minus_gini():
    region = map_scores.box_region((0, 0, 4, 1), 4)
    row = np.zeros((4, 4))
    row[0] = [1, 2, 3, 4]
    gini = np.abs(row[0][:, None] - row[0]).sum() / (2 * 4 * row[0].sum())  # mean difference
    assert evenness(row, region) == pytest.approx(1 - gini)
    assert evenness(spot(0, 0, 4), region) == pytest.approx(1 / 4)
    assert evenness(spot(0, 0, 4) + 7, region) > evenness(row, region)


def test_evenness_weighs_a_half_covered_pixel_half():
    values = np.array([[1.0, 1.0, 3.0]])
    assert evenness(values, np.array([[1, 1, 1]])) == pytest.approx(
        evenness(np.array([[1.0, 3.0]]), np.array([[1.0, 0.5]]))
    )


def test_an_empty_region_has_no_score():
    empty = map_scores.box_region((3, 3, 3, 9), 10)
    assert all(np.isnan(s) for s in map_scores.score_map(spot(0, 0), empty, None).values())


# --- maps ---------------------------------------------------------------------------------------


def test_gradcam_is_the_gradients_mean_times_the_activations():
    """Paper: Fig. 6."""
    detector, images = make(), photos()
    kept = {}
    hook = detector.network.last_vgg_layer.register_forward_hook(
        lambda module, inputs, output: kept.update(features=output)
    )
    score = detector.matched_class_scores(images, [LARGE, LARGE]).sum()
    hook.remove()
    (slope,) = torch.autograd.grad(score, kept["features"])
    weights = slope.mean(dim=(2, 3), keepdim=True)
    cam = (weights * kept["features"]).sum(dim=1, keepdim=True).clamp(min=0)
    expected = F.interpolate(cam, (SIZE, SIZE), mode="bilinear", align_corners=False)[:, 0]
    found = map_scores.gradcam_maps(detector, images, [LARGE, LARGE])
    assert expected.max() > 0
    torch.testing.assert_close(found, expected.detach())


def test_gradcam_is_empty_where_only_the_finest_map_matches():
    """conv4_3 lies before conv5_3: nothing that only its priors see depends on conv5_3."""
    assert not map_scores.gradcam_maps(make(), photos(1), [SMALL]).any()


def test_what_the_last_layer_cannot_see_is_what_gradcam_draws_blank():
    class Cached(list):
        def batch(self, indices):
            return None, [self[index] for index in indices]

    nothing = {name: values[:0] for name, values in LARGE.items()}
    cached = Cached([LARGE, nothing, SMALL])
    assert map_scores.seen_by_last_layer(make(), cached).tolist() == [True, False]


def test_gradcam_does_not_depend_on_the_other_images():
    detector, images = make(), photos(2)
    together = map_scores.gradcam_maps(detector, images, [LARGE, SMALL])
    torch.testing.assert_close(together[:1], map_scores.gradcam_maps(detector, images[:1], [LARGE]))


def test_attention_is_what_the_module_multiplies_with():
    """Paper: Eq. 8; Fig. 7."""
    detector, images = make(), photos()
    detector.doam.gamma.data.fill_(1)  # D = M * P
    attention = map_scores.attention_maps(detector, images)
    assert attention.shape == (2, SIZE, SIZE) and 0 <= attention.min() <= attention.max() <= 1
    with torch.no_grad():
        weighted = detector.doam(images.float())[:, :3]
    torch.testing.assert_close(weighted, attention[:, None] * images, atol=1e-3, rtol=1e-4)


def test_which_maps_a_detector_has():
    assert map_scores.kinds_of(make()) == ("attention", "gradcam")
    assert map_scores.kinds_of(make(doam=False)) == ("gradcam",)
    assert map_scores.kinds_of(make(name="fcos")) == ("attention",)
    with pytest.raises(ValueError, match="no attention map"):
        map_scores.attention_maps(make(doam=False), photos())


def test_plain_maps_find_a_dark_square():
    images = torch.full((1, 3, SIZE, SIZE), 255, dtype=torch.uint8)
    images[..., 20:40, 50:80] = 0
    region = map_scores.box_region((50, 20, 80, 40), SIZE)
    darkness, edges = (
        map_scores.plain_maps(images, kind)[0].numpy() for kind in ("darkness", "edges")
    )
    assert lift(darkness, region) == pytest.approx(1 / region.mean())
    assert lift(edges[5:-5, 5:-5], region[5:-5, 5:-5]) > 1  # without the padding's frame
    assert edges[22:38, 52:78].max() < 1e-3  # a plain surface has no edge


# --- a whole test set ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(study):
    result = study.results(["SSD+DOAM-T"])["SSD+DOAM-T", 0]
    detector = result.detector()
    return detector, study.data.cached("test", detector.image_size, 1, lambda line: None)


def test_silhouettes_lie_in_their_boxes_and_on_dark_pixels(trained):
    _, cached = trained
    places = map_scores.regions(cached)
    assert len(places) == len(TestSet.of(cached.dataset).truth)
    for box, silhouette in places:
        assert 0 < silhouette.sum() < box.sum()
        assert_allclose((silhouette * (box > 0)).sum(), silhouette.sum(), rtol=0.02)
    darkness = map_scores.score_maps(trained[0], cached, ["darkness"])
    assert darkness.lift_silhouette.mean() > darkness.lift_box.mean() > 1  # steel is dark


def test_scores_of_a_whole_test_set(trained):
    detector, cached = trained
    test = TestSet.of(cached.dataset)
    frame = map_scores.score_maps(detector, cached)
    assert list(frame.groupby("map").size()) == [len(test.truth)] * 2
    assert frame["class"].tolist()[:3] == [test.classes[i - 1] for i in test.truth.label[:3]]
    index = cached.dataset.image_ids.index(frame.image[0])
    values = map_scores.attention_maps(detector, cached.batch([index])[0])[0].numpy()
    box = cached.batch([index])[1][0]["boxes"][0]
    expected = lift(values, map_scores.box_region(box, SIZE))
    assert frame.lift_box[0] == pytest.approx(expected, rel=1e-4)


def test_stored_arrays_are_small_and_their_examples_follow_the_rule(trained):
    detector, cached = trained
    arrays, test = map_scores.map_scores(detector, cached), TestSet.of(cached.dataset)
    chosen = arrays["examples"]
    counts = np.bincount(test.truth.image_index, minlength=len(cached))
    assert len(chosen) <= 10 and (counts[chosen] == 1).all()
    for kind in ("attention", "gradcam"):
        assert arrays[f"{kind}_examples"].shape == (len(chosen), 80, 80)
        assert arrays[f"{kind}_examples"].dtype == np.uint8
    values = map_scores.attention_maps(detector, cached.batch(chosen[:1])[0])[0].numpy()
    assert arrays["attention_examples"][0].mean() / 255 == pytest.approx(values.mean(), abs=0.01)


def test_batches_change_no_map(trained):
    detector, cached = trained
    for kind in ("attention", "gradcam"):
        maps = [list(map_scores.item_maps(detector, cached, kind, size)) for size in (5, 32)]
        assert_allclose(*maps, atol=1e-4)


def test_the_summary_is_json_and_its_means_are_over_images(trained):
    frame = map_scores.score_maps(*trained)
    summary = json.loads(json.dumps(map_scores.summary(frame), allow_nan=False))
    attention = frame[frame["map"] == "attention"]
    expected = attention.groupby("image").lift_box.mean().mean()
    found = summary["attention"]["lift_box"]
    assert found["mean"] == pytest.approx(expected)
    assert found["low"] <= found["mean"] <= found["high"]
    assert found["images"] == attention.image.nunique()


def test_the_summary_leaves_out_blank_maps_and_says_how_many(trained):
    frame = map_scores.score_maps(*trained)
    frame["blank"] = frame["item"] != 0
    found = map_scores.summary(frame)["gradcam"]
    first = frame[(frame["map"] == "gradcam") & ~frame["blank"]].iloc[0]
    assert found["blank"] == pytest.approx(1 - 1 / frame["item"].nunique())
    assert found["lift_box"]["mean"] == pytest.approx(first.lift_box)
    assert found["lift_box"]["low"] is None and found["lift_box"]["images"] == 1
    frame["blank"] = True
    assert map_scores.summary(frame)["gradcam"]["lift_box"]["mean"] is None


def test_few_images_get_no_interval(trained):
    frame = map_scores.score_maps(*trained, ["darkness"])
    few = frame[frame.image.isin(frame.image.unique()[: map_scores.MIN_IMAGES - 1])]
    row = map_scores.intervals(few, ["map"], ["lift_box"]).iloc[0]
    assert np.isfinite(row["mean"]) and np.isnan(row.low) and np.isnan(row.high)


def test_a_part_of_the_images_is_scored_as_the_whole_scores_them(trained):
    detector, cached = trained
    test = TestSet.of(cached.dataset)
    images = map_scores.chosen_images(len(cached), 5)
    assert len(set(images)) == 5 and list(images) == sorted(images)
    arrays = map_scores.map_scores(detector, cached, ["attention"], images)
    part = map_scores.tidy(arrays, test).set_index("item")
    whole = map_scores.score_maps(detector, cached, ["attention"]).set_index("item")
    assert set(part.image) == {test.image_ids[index] for index in images}
    pd.testing.assert_frame_equal(part, whole.loc[part.index], rtol=1e-4)
    assert set(arrays["examples"]) <= set(images)


def test_few_images_are_all_chosen(trained):
    count = len(trained[1])
    assert list(map_scores.chosen_images(count, 10_000)) == list(range(count))
