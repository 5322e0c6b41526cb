"""What an arm makes of the parameters, and how long that takes."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from doamlib.data.classes import CLASSES
from doamlib.experiments.arms import ARMS, SHOTS
from doamlib.experiments.estimate import work_of
from doamlib.experiments.parameters import ParameterError, from_file
from doamlib.experiments.store import RunStore
from doamlib.experiments.study import Study, run_config

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def extended():
    """Of two passes over 800 images in batches of 8, whatever the file says today."""
    sizes = {"train_images": 800, "test_images": 300, "epochs": 2, "batch_size": 8}
    return from_file(REPOSITORY / "params" / "extended.yaml", warmup_steps=30, **sizes)


def steps(run, images):
    return run.training.epochs * math.ceil(images / run.training.batch_size)


@pytest.mark.parametrize("shots", SHOTS)
@pytest.mark.parametrize("detector", ["SSD", "SSD+DOAM-T"])
def test_few_shots_are_trained_for_the_steps_of_all_images(extended, detector, shots):
    """Whole epochs, so up to one short epoch more; the warm-up is a small part of it."""
    full = steps(run_config(extended, ARMS[detector], 0), extended.train_images)
    few = run_config(extended, ARMS[f"{detector}, {shots} shots"], 0)
    one_epoch = math.ceil(5 * shots / few.training.batch_size)
    assert full <= steps(few, 5 * shots) < full + one_epoch
    assert few.training.warmup_steps < steps(few, 5 * shots) / 4


def test_few_shots_by_hand(extended):
    """800 images in batches of 8 are 100 steps, twice 200; 25 images are 4 batches, 50 times."""
    epochs = {
        shots: run_config(extended, ARMS[f"SSD, {shots} shots"], 0).training.epochs
        for shots in SHOTS
    }
    assert epochs == {5: 50, 10: 29, 30: 11}
    assert run_config(extended, ARMS["SSD"], 0).training.epochs == extended.epochs == 2


def test_only_the_passes_differ_between_few_shots_and_all(extended):
    few, full = (run_config(extended, ARMS[arm], 1) for arm in ("SSD, 5 shots", "SSD"))
    changed = {"epochs": full.training.epochs}
    assert few.training.model_copy(update=changed) == full.training
    assert few.warm_start == full.warm_start and few.detector == full.detector


def test_the_estimate_knows_the_passes_of_few_shots(home, extended):
    study = Study(extended, lambda line: None)
    few, full = (run_config(extended, ARMS[arm], 0) for arm in ("SSD, 5 shots", "SSD"))
    few, full = (work_of(run, *study._images(run)) for run in (few, full))
    assert (full.trained, few.trained) == (2 * 800, 50 * 25)
    assert few.forward - full.forward == 48 * 300


def test_few_shots_of_real_data_need_their_number_of_images(extended, tmp_path):
    real = {"dataset": "coco", "data_root": str(tmp_path), "train_images": 800}
    study = Study(extended.model_copy(update={**real, "seeds": (0,)}), lambda line: None)
    study.__dict__["data"] = SimpleNamespace(
        train=range(1234), test=range(5), classes=CLASSES, few_shot=lambda shots: None
    )
    study.__dict__["fingerprint"] = "f" * 16
    with pytest.raises(ParameterError, match=r"train_images = 800: .* holds 1234 .*write 1234"):
        study.plan(["SSD, 5 shots"])
    assert [run.arm for run in study.plan(["SSD"])] == ["SSD"]
    study.parameters = study.parameters.model_copy(update={"train_images": 1234})
    (run,) = study.plan(["SSD, 5 shots"])
    assert steps(run.config, 25) >= 2 * math.ceil(1234 / 8)


def test_hard_images_differ_from_hard_batches_in_nothing_else(extended):
    for suffix in ("", ", equal steps"):
        images = run_config(extended, ARMS[f"SSD+DOAM-O, hard images{suffix}"], 0)
        batches = run_config(extended, ARMS[f"SSD+DOAM-O{suffix}"], 0)
        same = images.sampling.model_copy(update={"pool_of": "batches"})
        assert images.model_copy(update={"sampling": same}) == batches
        assert images.sampling.pool_of == "images"


@pytest.mark.parametrize(
    ("images", "size", "refused"), [(25, 160, 1), (1, 300, 1), (25, 96, 0), (26, 160, 0)]
)
def test_a_warm_start_whose_last_batch_cannot_be_normalised_is_refused(
    extended, images, size, refused
):
    """Four maps at 96 pixels, the last 2 x 2; at 160 and 300 the last has one position."""
    wanted = extended.model_copy(update={"warm_images": images, "image_size": size})
    if not refused:
        assert run_config(wanted, ARMS["SSD"], 0).warm_start
        return
    with pytest.raises(ParameterError, match=f"warm_images = {images}: .* take {images + 1}"):
        run_config(wanted, ARMS["SSD"], 0)


def test_few_shots_of_too_few_images_are_refused_before_anything_is_made(extended, home):
    few = extended.model_copy(update={"train_images": 24, "seeds": (0,)})
    study = Study(few, lambda line: None)
    with pytest.raises(ParameterError, match="train_images = 24: 5 shots of 5 classes need 25"):
        study.plan(["SSD, 5 shots"])
    assert [run.arm for run in study.plan(["SSD"])] == ["SSD"]
    assert "data" not in vars(study)


@pytest.mark.parametrize(("epochs", "told"), [(9, True), (10, False)])
def test_fewer_steps_than_the_warm_up_are_told_before_training(home, smoke, epochs, told):
    few = {"epochs": epochs, "warmup_steps": 30, "data_seed": 99}  # 24 images in batches of 8
    lines = []
    Study(smoke.model_copy(update=few), lines.append).announce(timed=False)
    assert any("raise epochs (9 now)" in line for line in lines) == told
    assert len(lines) == (3 if told else 2)


def test_one_warm_start_is_one(smoke, tmp_path):
    lines, changes = [], {"warm_start": "harmless", "arms": ("SSD",)}
    store = RunStore(tmp_path, reference=tmp_path)
    Study(smoke.model_copy(update=changes), lines.append, store).announce(timed=False)
    assert "1 to train and 1 warm start before them" in lines


def test_a_plan_is_made_once_and_names_what_is_trained(study, monkeypatch):
    """Results follow from the plan that was announced; what is found needs no plan at all."""
    plan = study.announce(["SSD"])
    monkeypatch.setattr(study, "plan", lambda arms=None: pytest.fail("planned again"))
    results = study.train(plan)
    assert [*results] == [("SSD", 0)] and results["SSD", 0].ap() >= 0
    assert {run: r.key for run, r in study.found(["SSD"]).items()} == {
        ("SSD", 0): results["SSD", 0].key
    }
    assert study.found(["SSD, 5 shots"]) == {}


def test_of_each_seed_the_longest_runs_are_trained_first(home, smoke, monkeypatch):
    arms = ("SSD", "SSD+DOAM-T", "FCOS", "SSD+SE")
    asked = {"arms": arms, "seeds": (3, 0), "data_seed": 98}  # of which nothing is stored
    seconds = {"SSD": 1.0, "SSD+DOAM-T": 3.0, "FCOS": 2.0, "SSD+SE": 1.0}
    study = Study(smoke.model_copy(update=asked), lambda line: None)
    plan = study.plan()
    names = ["SSD", "SSD+DOAM-T", "FCOS", "SSD+SE"]
    assert [task.name.split()[1].strip(",") for task in study.missing(plan)[1]] == names * 2
    known = {run.config.digest(): seconds[run.arm] for run in plan}
    monkeypatch.setattr(
        "doamlib.experiments.study.seconds_of_each",
        lambda works, device: [known.get(config.digest(), 0.0) for config, *_ in works],
    )
    _, runs = study.missing(study.announce())
    assert [task.name for task in runs] == [
        "[2/8] SSD+DOAM-T, seed 3",
        "[3/8] FCOS, seed 3",
        "[1/8] SSD, seed 3",
        "[4/8] SSD+SE, seed 3",
        "[6/8] SSD+DOAM-T, seed 0",
        "[7/8] FCOS, seed 0",
        "[5/8] SSD, seed 0",
        "[8/8] SSD+SE, seed 0",
    ]


def test_an_arm_that_does_not_exist_is_not_passed_over(study):
    assert [run.arm for run in study.plan("SSD")] == ["SSD"]
    for ask in (study.plan, study.found, study.results):
        with pytest.raises(ParameterError, match="'SDD' is not an arm"):
            ask(["SDD"])
