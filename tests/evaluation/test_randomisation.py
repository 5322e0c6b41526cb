"""Weights drawn anew: what changes, what stays, and that ten calibrated draws are looked at."""

import copy
import json

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from tiny import LARGE, make, photos

from doamlib.evaluation import map_scores, randomisation
from doamlib.evaluation.randomisation import randomised

# --- the statistic ------------------------------------------------------------------------------


def test_rank_correlation():
    def correlation(first, second):
        return randomisation._correlation(*map(randomisation._ranks, (first, second)))

    values = np.random.default_rng(2).random((10, 10))
    assert correlation(values, values**3) == pytest.approx(1)
    assert correlation(values, -values) == pytest.approx(-1)
    assert np.isnan(correlation(values, np.ones((10, 10))))


# --- drawing anew -------------------------------------------------------------------------------


@pytest.mark.parametrize("part, kind", [("doam", "attention"), ("late", "gradcam"), ("all", None)])
def test_randomising_changes_its_part_and_leaves_the_rest(part, kind):
    detector = make()
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    other = randomised(detector, part, 1, photos()).state_dict()
    for name, value in detector.state_dict().items():
        assert torch.equal(value, before[name]), "the trained detector was touched"
        if not name.startswith(randomisation.PARTS[part]):
            assert torch.equal(value, other[name]), name
    changed = {name for name, value in other.items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith(randomisation.PARTS[part]) for name in changed)


@pytest.mark.slow
def test_attention_ignores_the_network_behind_it_and_gradcam_does_not():
    detector, images = make(), photos()
    late, doam = (randomised(detector, part, 1, images) for part in ("late", "doam"))
    attention = map_scores.attention_maps(detector, images)
    torch.testing.assert_close(map_scores.attention_maps(late, images), attention)
    assert not torch.allclose(map_scores.attention_maps(doam, images), attention, atol=1e-3)
    maps = [map_scores.gradcam_maps(d, images, [LARGE, LARGE]).numpy() for d in (detector, late)]
    assert not np.allclose(*maps, rtol=0.05)


def test_a_detector_without_doam_has_none_to_randomise():
    with pytest.raises(ValueError, match="no part 'doam'"):
        randomised(make(doam=False), "doam", 1, photos())


def test_normalisations_drawn_anew_get_the_statistics_of_training_images():
    """What leaves the gate's normalisation has mean 0 and variance 1 over those images."""
    images = photos(randomisation.BATCH, seed=1)
    other = randomised(make(), "doam", 1, images)
    gate, seen = other.doam.material.regions.gate, []
    gate.norm.register_forward_hook(lambda module, inputs, output: seen.append(output))
    map_scores.attention_maps(other, images)
    assert not any(module.training for module in other.modules())
    assert gate.norm.momentum == 0.1
    assert_allclose(seen[0].mean(dim=(0, 2, 3)), 0, atol=1e-3)
    assert_allclose(seen[0].var(dim=(0, 2, 3)), 1, rtol=1e-2)


def test_normalisations_that_stay_keep_their_statistics():
    detector = make()
    norm = detector.doam.material.regions.gate.norm
    norm.running_mean.fill_(7.0)
    other = randomised(detector, "late", 1, photos())
    assert torch.equal(other.doam.material.regions.gate.norm.running_mean, norm.running_mean)


def test_a_doam_calibrated_once_is_the_one_that_would_be_calibrated_again(monkeypatch):
    detector, images, doams = make(), photos(), {}
    alone = [randomised(detector, part, 1, images).state_dict() for part in ("doam", "all")]
    calibrated = []
    once = randomisation._calibrate
    monkeypatch.setattr(randomisation, "_calibrate", lambda *a: calibrated.append(once(*a)))
    for part, wanted in zip(("doam", "all"), alone, strict=True):
        found = randomised(detector, part, 1, images, doams).state_dict()
        assert all(torch.equal(value, wanted[name]) for name, value in found.items())
    assert len(calibrated) == 1
    late = randomised(detector, "late", 1, images, doams).doam.state_dict()
    assert all(torch.equal(value, late[n]) for n, value in detector.doam.state_dict().items())
    other = randomised(detector, "all", 2, images, doams).doam.state_dict()
    assert len(calibrated) == 2 and not torch.equal(
        other["attention.fusion.weight"], alone[1]["doam.attention.fusion.weight"]
    )


# --- over a test set ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(study):
    result = study.results(["SSD+DOAM-T"])["SSD+DOAM-T", 0]
    detector = result.detector()
    cached = [study.data.cached(s, detector.image_size, 1, print) for s in ("train", "test")]
    return detector, cached[1], randomisation.calibration_images(cached[0])


def test_the_check_compares_item_by_item_and_draw_by_draw(trained):
    detector, cached, images = trained
    asked = ("attention", "doam", range(1, 4), images)
    frame = randomisation.randomisation_check(detector, cached, *asked)
    assert list(frame.groupby("draw").size()) == [frame["item"].nunique()] * 3
    assert (frame.correlation < 0.999).all()
    asked = ("attention", "late", [1], images)
    unchanged = randomisation.randomisation_check(detector, cached, *asked)
    assert_allclose(unchanged.correlation, 1, atol=1e-5)
    lifts = map_scores.score_maps(detector, cached, ["attention"]).lift_box
    assert_allclose(unchanged.lift_box, lifts, rtol=1e-5)


def test_a_draw_is_the_map_of_the_randomised_network(trained):
    detector, cached, images = trained
    asked = ("attention", "doam", [1, 2], images)
    frame = randomisation.randomisation_check(detector, cached, *asked)
    alone = map_scores.score_maps(randomised(detector, "doam", 2, images), cached, ["attention"])
    second = frame[frame["draw"] == 2]
    assert_allclose(second.lift_silhouette, alone.lift_silhouette, rtol=1e-5)


def test_the_stored_check_holds_ten_draws_and_their_means(trained):
    detector, cached, images = trained
    found = json.loads(json.dumps(randomisation.sanity(detector, cached, images, seed=1)))
    assert {kind: tuple(parts) for kind, parts in found.items()} == randomisation.CHECKED
    of_doam = found["attention"]["doam"]
    asked = ("attention", "doam", [3], images)
    frame = randomisation.randomisation_check(detector, cached, *asked)
    third = frame.groupby("image")[["correlation", "lift_box"]].mean().mean()
    for name in ("correlation", "lift_box"):
        assert len(of_doam["draws"][name]) == len(set(of_doam["draws"][name])) == 10
        assert of_doam["draws"][name][2] == pytest.approx(third[name])
        assert of_doam[name] == pytest.approx(np.mean(of_doam["draws"][name]))
    assert of_doam["images"] == frame.image.nunique()


def test_blank_maps_do_not_count_and_leave_no_nan(trained):
    detector, cached, images = trained
    blank = copy.deepcopy(detector)
    with torch.no_grad():
        for weight in blank.network.parameters():
            weight.zero_()
    asked = ("gradcam", "late", [1], images)
    frame = randomisation.randomisation_check(blank, cached, *asked)
    frame["blank"] = True
    found = randomisation._summed_up(frame)
    assert found["correlation"] is None and found["draws"]["lift_box"] == [None]
    json.dumps(found, allow_nan=False)
