"""Which results may decide: each condition at its edge."""

import re
from types import SimpleNamespace

import pytest
from fabricated import FULL, fabricate, reference

from doamlib.claims import admission as rule
from doamlib.claims.admission import (
    FULL_SIZE,
    OPIXRAY,
    SHORT,
    SMALL,
    acts,
    admission,
    late_rise,
    scale_of,
)
from doamlib.core.paths import repository
from doamlib.experiments.arms import ARMS
from doamlib.experiments.parameters import from_file
from doamlib.experiments.study import run_config
from doamlib.models.doam import DOAMConfig

PAIR = ("SSD+DOAM-T", "SSD")


def failed(runs, arms=PAIR, pool=False, scale=FULL_SIZE):
    return [check.name for check in admission(scale, runs, arms, pool) if not check.holds]


@pytest.fixture
def runs(smoke):
    return reference(smoke, seeds=2).results


def test_the_files_of_each_scale_belong_to_it():
    folder = repository() / "params"
    for scale, root in ((SMALL, None), (FULL_SIZE, None), (OPIXRAY, "OPIXray")):
        assert scale_of(from_file(folder / scale.file, data_root=root)) == scale
    assert scale_of(from_file(folder / "extended.yaml")) == SMALL
    paper = from_file(folder / "paper.yaml")
    assert scale_of(paper.model_copy(update={"profile": "paper-short"})) == SHORT
    assert scale_of(paper.model_copy(update={"dataset": "coco"})) is None
    for small in ({"width": 0.5}, {"image_size": 160}, {"field_of_view": 0.3}):
        assert scale_of(paper.model_copy(update=small)) == SMALL


def test_a_scale_says_which_networks_and_which_images():
    assert [scale.name for scale in rule.SCALES] == ["small", "full size", "OPIXray"]
    assert [scale.data for scale in (*rule.SCALES, SHORT)] == [
        "small networks on generated images",
        "full-size networks on generated images",
        "full-size networks on OPIXray",
        "full-size networks on generated images, short schedule",
    ]


def test_the_plain_detectors_are_those_under_the_arms():
    arms = ("SSD+DOAM-T", "SSD, 5 shots", "SSD+DOAM-T, as the paper says", "FCOS", "FCOS+DOAM-O")
    assert rule.plain_detectors(arms) == ["SSD", "FCOS"]


@pytest.mark.parametrize("scale", [SMALL, FULL_SIZE])
def test_the_committed_files_promise_what_their_scale_asks_for(scale):
    """Steps, images and DOAM's channels as the runs will have them."""
    parameters = from_file(repository() / "params" / scale.file)
    for arm in parameters.arms:
        config = run_config(parameters, ARMS[arm], seed=0)
        assert config.detector.doam == ARMS[arm].doam
    steps = parameters.epochs * -(-parameters.train_images // parameters.batch_size)
    assert steps >= scale.steps
    assert parameters.train_images >= scale.train_images
    assert parameters.test_images >= scale.test_images


def test_results_like_the_papers_are_admitted(runs):
    assert failed(runs) == []
    assert failed(runs, ("SSD+DOAM-O", "SSD+DOAM-T"), True) == []
    names = [check.name for check in admission(FULL_SIZE, runs, PAIR)]
    assert names == [
        *("training images", "test images", "optimiser steps", "DOAM's channels"),
        *("mAP of plain SSD", "plain SSD finds less where items are hidden"),
        "rise of plain SSD in its last fifth",
    ]
    assert admission(FULL_SIZE, {}, PAIR) == [] == admission(FULL_SIZE, runs, ("SSD, 5 shots",))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda r: r.metrics.update(train_images=7108), "training images"),
        (lambda r: r.metrics.update(images=1775), "test images"),
        (lambda r: r.history.loss.pop(), "optimiser steps"),
    ],
)
def test_one_run_that_falls_short_is_enough(runs, change, name):
    change(runs["SSD+DOAM-T", 1])
    assert failed(runs) == [name]
    assert failed(runs, ("SSD",)) == []


def test_a_slim_doam_is_named(runs):
    assert "DOAM's channels: whole, needed whole" in map(str, admission(FULL_SIZE, runs, PAIR))
    runs["SSD+DOAM-T", 1].config.detector.doam = DOAMConfig().slimmed(0.5)
    checks = admission(FULL_SIZE, runs, PAIR)
    assert failed(runs) == ["DOAM's channels"]
    assert "DOAM's channels: slimmed in SSD+DOAM-T, needed whole" in map(str, checks)


def test_what_was_found_is_told_with_what_was_asked(runs):
    def plain(found):
        (check,) = [c for c in admission(FULL_SIZE, found, PAIR) if c.name.startswith("mAP of")]
        return str(check)

    assert re.fullmatch(r"mAP of plain SSD: \d+\.\d, needed 30", plain(runs))
    none = {key: run for key, run in runs.items() if key[0] != "SSD"}
    assert plain(none) == "mAP of plain SSD: no run, needed 30"
    told = [str(check) for check in admission(FULL_SIZE, none, PAIR, True)]
    assert told[-2:] == [
        "rise of plain SSD in its last fifth: no run, needed under 1 mAP",
        "pool full: no pool, needed 90% of epochs",
    ]
    for run in none.values():
        run.history.epochs[:] = run.history.epochs[:1]
    once = {("SSD", s): run for (arm, s), run in none.items() if arm == "SSD+DOAM-T"}
    told = [str(check) for check in admission(FULL_SIZE, once, ("SSD",))]
    assert told[-1] == "rise of plain SSD in its last fifth: scored once only, needed under 1 mAP"
    told = [str(check) for check in admission(FULL_SIZE, runs, ("SSD+DOAM-O",), True)]
    assert re.fullmatch(r"rise of plain SSD.*: [+-]\d\.\d\d mAP, needed under 1 mAP", told[-2])
    assert told[-1] == "pool full: 100% of epochs, needed 90% of epochs"


def test_the_plain_detector_must_reach_30_on_average(runs):
    for seed, ap in ((0, 0.25), (1, 0.35)):
        runs["SSD", seed].metrics["AP"]["mAP"] = ap
    assert failed(runs) == []
    runs["SSD", 0].metrics["AP"]["mAP"] = 0.2499
    assert failed(runs) == ["mAP of plain SSD"]
    # Every detector that the claim's arms are built on, also one without an arm of its own.
    assert failed(runs, ("YOLOv3+DOAM-T",)) == []
    for seed in (0, 1):
        del runs["YOLOv3", seed]
    assert len(failed(runs, ("YOLOv3+DOAM-T",))) == 3


@pytest.mark.parametrize(
    ("levels", "falls"),
    [((60, 50, 40), True), ((60, 60, 40), False), ((50, 60, 40), False), ((60, 40, 40), False),
     ((60, 40, 50), False), ((), False)],
)  # fmt: skip
def test_the_levels_must_fall_in_order(runs, levels, falls):
    for seed in (0, 1):
        runs["SSD", seed].metrics["levels"] = {
            f"OL{n}": {"mAP": v / 100} for n, v in enumerate(levels, start=1)
        }
    name = "plain SSD finds less where items are hidden"
    assert failed(runs) == ([] if falls else [name])
    found = next(c.found for c in admission(FULL_SIZE, runs, PAIR) if c.name == name)
    assert found == (" > ".join(f"{v}.0" for v in levels) if falls else
                     ", ".join(f"{v}.0" for v in levels) or "no levels")  # fmt: skip


def history(values, steps=100):
    epochs = [{"steps": steps} | ({} if v is None else {"test_mAP": v / 100}) for v in values]
    return SimpleNamespace(history=SimpleNamespace(epochs=epochs))


def test_the_rise_of_the_last_fifth_by_hand():
    assert late_rise(history([10, 20, 30, 40, 45])) == pytest.approx(5)  # from 4 of 5 epochs
    assert late_rise(history([10, 20, 30, 32])) == pytest.approx(1.6)  # 3.2 of 4: 30.4
    assert late_rise(history([10, 20, None, 40, 50])) == pytest.approx(10)
    assert late_rise(history([10, 20, None, None, 50])) == pytest.approx(10)  # 20 to 50 in a line
    assert late_rise(history([30, 29, 28, 27, 26])) == pytest.approx(-1)
    assert late_rise(history([40, 50])) == pytest.approx(4)  # 1.6 of 2: 46
    assert late_rise(history([50])) != late_rise(history([50]))


@pytest.mark.parametrize(("rise", "flat"), [(0.99, True), (1.01, False), (-5, True)])
def test_a_plain_detector_that_still_rises_decides_nothing(runs, rise, flat):
    for seed in (0, 1):
        for epoch, value in zip(
            runs["SSD", seed].history.epochs[-3:], (40, 40, 40 + rise), strict=True
        ):
            epoch["test_mAP"] = value / 100
    assert failed(runs) == ([] if flat else ["rise of plain SSD in its last fifth"])


def test_a_pool_that_is_off_tests_no_sampling(runs):
    arms = ("SSD+DOAM-O", "SSD+DOAM-T")
    pool = runs["SSD+DOAM-O", 1].history.pool
    assert len(pool) == 10
    pool[0]["batches"].pop()
    assert failed(runs, arms, True) == []  # nine of ten
    pool[1]["batches"] = pool[1]["batches"][1:]
    assert failed(runs, arms, True) == ["pool full"]
    assert failed(runs, arms) == []
    assert failed(runs, PAIR, True) == ["pool full"]  # no pool at all


def test_a_pool_of_images_holds_a_batch_s_worth_for_each_batch():
    result = fabricate("SSD+DOAM-O", 0)
    images = result.config.sampling.model_copy(update={"pool_of": "images"})
    result.config.sampling = images
    assert rule.pool_filled(result) == 0.0
    for entry in result.history.pool:
        entry["batches"] = entry["batches"] * 24
    assert rule.pool_filled(result) == 1.0


@pytest.mark.parametrize(
    ("lost", "acting"),
    [
        ([1.0], True),
        ([0.99], False),
        ([1.02, 1.0], True),
        ([1.0, 0.98], False),
        ([2.0, 2.1, 1.9, 2.0, 2.05], True),
        ([9.0, -1.0, 9.0, -1.0, -1.0], False),  # on average 3, but its interval holds zero
        ([2.0, 9.0], False),
        ([], False),
    ],
)
def test_attention_acts_when_exchanging_maps_costs_a_point(lost, acting):
    runs = {
        ("SSD+DOAM-T", seed): SimpleNamespace(
            metrics={"attention": {"own": 0.5, "other": 0.5 - v / 100}}
        )
        for seed, v in enumerate(lost)
    }
    runs["SSD+DOAM-O", 0] = SimpleNamespace(metrics={"attention": {"own": 0.9, "other": 0.0}})
    assert acts(runs, "SSD+DOAM-T") is acting


def test_without_a_map_nothing_acts(runs):
    assert not acts(runs, "SSD") and not acts({}, "SSD")
    assert FULL["width"] == 1.0
