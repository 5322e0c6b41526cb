"""Exchanging the attention map of a detector at test time."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from doamlib.evaluation.map_swaps import (
    EDGE_SWAPS,
    SWAPS,
    edges_for_map,
    edges_swapped,
    exchanges,
    gamma,
    looking,
    map_effect,
    remembering,
    swapped,
)
from doamlib.evaluation.test_set import TestSet, detect, detect_each
from doamlib.models.config import DetectorConfig
from doamlib.models.detector import build_detector
from doamlib.models.doam import DOAM, DOAMConfig
from doamlib.models.edges import normalise_edges

CPU = torch.device("cpu")
ACTING = DOAMConfig(branch_inputs="standardised", gamma=None)


def images(count=3, side=32):
    return 255 * torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_each_swap_by_hand():
    maps = torch.tensor([[0.0, 0.5], [0.2, 0.4]]).view(2, 1, 1, 2)
    assert torch.equal(SWAPS["own"](maps), maps)
    assert SWAPS["mean"](maps).flatten().tolist() == pytest.approx([0.25, 0.25, 0.3, 0.3])
    assert SWAPS["other"](maps).flatten().tolist() == pytest.approx([0.2, 0.4, 0.0, 0.5])
    assert SWAPS["ones"](maps).flatten().tolist() == [1.0] * 4


@pytest.mark.parametrize("name", SWAPS)
def test_a_swapped_map_is_what_weighs_the_pixels_and_only_inside(name):
    torch.manual_seed(0)
    doam, pixels = DOAM(ACTING).eval(), images()
    with torch.no_grad():
        before, own = doam(pixels, return_attention=True)
        with swapped(doam, SWAPS[name]):
            inside = doam(pixels)[:, :3]
        after = doam(pixels)
    torch.testing.assert_close(inside, SWAPS[name](own) * pixels)
    assert torch.equal(before, after)


def test_a_map_that_is_one_number_everywhere_loses_nothing_by_its_mean(study):
    """And one that weighs pixels unevenly is told apart: the detections differ."""
    tested = study.data.cached("test", 96, 1, lambda line: None)
    test = TestSet.of(study.data.test)
    config = DetectorConfig(width=0.125, image_size=96, doam=ACTING.slimmed(0.25))
    detector = build_detector(config, seed=0).eval()
    nn.init.zeros_(detector.doam.attention.fusion.weight)
    nn.init.constant_(detector.doam.attention.fusion.bias, 8.0)
    effect = map_effect(detector, tested, test, CPU)
    assert effect["own"] == effect["mean"] == effect["other"] == effect["edge_map"]
    assert effect["attention_mean"] == pytest.approx(torch.tensor(8.0).sigmoid().item())
    assert effect["attention_sd"] == pytest.approx(0, abs=1e-6) and effect["saturated"] == 1
    assert "gamma" not in effect


def test_a_known_map_is_not_evaluated_again_and_gamma_is_told(study, monkeypatch):
    tested = study.data.cached("test", 96, 1, lambda line: None)
    monkeypatch.setattr(TestSet, "mean_ap", lambda test, name: 0.5)
    config = DetectorConfig(width=0.125, image_size=96, doam=DOAMConfig(gamma=0.25))
    detector = build_detector(config, seed=0).eval()

    def detect_each(detector, tested, device, changes):
        with torch.no_grad():
            detector.doam(images(2, 96))
        return dict.fromkeys(changes)

    monkeypatch.setattr("doamlib.evaluation.map_swaps.detect_each", detect_each)
    effect = map_effect(detector, tested, TestSet.of(study.data.test), CPU, own=0.75)
    mAPs = {name: value for name, value in effect.items() if value == 0.5}
    assert set(mAPs) == {*SWAPS, *EDGE_SWAPS, "edge_map"} - {"own"}
    assert (effect["own"], effect["gamma"]) == (0.75, 0.25)
    assert gamma(detector) == {"gamma": 0.25}


@pytest.mark.parametrize("config", [ACTING, DOAMConfig.concat(), DOAMConfig()])
def test_exchanges_that_share_a_batch_find_what_each_finds_alone(study, config):
    tested = study.data.cached("test", 96, 1, lambda line: None)
    options = {"width": 0.125, "image_size": 96, "score_threshold": 0.0}
    options["fresh_first_layer"] = True  # or the edge channel would reach nobody
    detector = build_detector(DetectorConfig(doam=config, **options), seed=0)
    changes = {"own": nullcontext} | exchanges(detector.doam)
    with remembering(detector.doam):
        together = detect_each(detector, tested, CPU, changes)
    for name, change in changes.items():
        with change():
            alone = detect(detector, tested, CPU)
        assert together[name].as_bytes() == alone.as_bytes(), name
    assert len({found.as_bytes() for found in together.values()}) > 1


def test_a_branch_that_reads_the_same_batch_again_answers_from_memory():
    torch.manual_seed(0)
    doam, pixels, calls = DOAM(ACTING).eval(), images(), []
    doam.material.steps.register_forward_hook(lambda *_: calls.append("read"))
    with torch.no_grad():
        before = doam(pixels)
        calls.clear()
        with remembering(doam):
            assert torch.equal(doam(pixels), before) and torch.equal(doam(pixels), before)
            assert len(calls) == 1
            other = doam(pixels.flip(3))
            assert len(calls) == 2
        calls.clear()
        assert torch.equal(doam(pixels.flip(3)), other) and len(calls) == 1


@pytest.mark.parametrize("config", [ACTING, DOAMConfig.concat()])
@pytest.mark.parametrize("name", EDGE_SWAPS)
def test_a_swapped_edge_channel_leaves_the_colours_alone(name, config):
    torch.manual_seed(0)
    doam, pixels = DOAM(config).eval(), images()
    with torch.no_grad():
        before = doam(pixels)
        with edges_swapped(doam, EDGE_SWAPS[name]):
            inside = doam(pixels)
        after = doam(pixels)
    assert torch.equal(inside[:, :3], before[:, :3]) and torch.equal(before, after)
    torch.testing.assert_close(inside[:, 3:], EDGE_SWAPS[name](before[:, 3:]))
    assert not torch.allclose(inside[:, 3:], before[:, 3:])


def test_edges_in_place_of_the_map_are_as_bright_and_as_uneven_as_the_map():
    torch.manual_seed(0)
    doam, pixels = DOAM(ACTING).eval(), images()
    with torch.no_grad():
        own = doam(pixels, return_attention=True)[1]
        with edges_for_map(doam):
            weighted, instead = doam(pixels, return_attention=True)
        edges = normalise_edges(doam.sobel(pixels))
    torch.testing.assert_close(instead * pixels, weighted[:, :3])
    for one, two, edge in zip(own, instead, edges, strict=True):
        assert two.mean().item() == pytest.approx(one.mean().item(), abs=1e-3)
        assert two.std().item() == pytest.approx(one.std().item(), rel=1e-2)
        assert torch.corrcoef(torch.stack([two.flatten(), edge.flatten()]))[0, 1] > 0.999


def test_what_the_map_looks_like_is_that_of_the_map_itself_whatever_replaces_it():
    torch.manual_seed(0)
    doam, pixels = DOAM(ACTING).eval(), images()
    with torch.no_grad(), looking(doam) as told:
        own = doam(pixels, return_attention=True)[1]
        with swapped(doam, SWAPS["ones"]):
            doam(pixels)
    assert told()["attention_mean"] == pytest.approx(own.mean().item())
    assert told()["attention_sd"] == pytest.approx(own.std((1, 2, 3)).mean().item())
    with looking(None) as told:
        pass
    assert told() == {}


def test_concat_has_an_edge_channel_to_exchange_and_no_map():
    assert set(exchanges(DOAM(DOAMConfig.concat()))) == set(EDGE_SWAPS)
    assert set(exchanges(DOAM(ACTING))) == {*SWAPS, *EDGE_SWAPS, "edge_map"} - {"own"}


def test_a_detector_without_doam_has_no_effect():
    config = DetectorConfig(width=0.125, image_size=96)
    assert map_effect(build_detector(config, seed=0), None, None, CPU) == {}
