"""Names of stored runs: those of OPIXray's five classes are as old as the results, and stay."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from doamlib.core.config import digest_of
from doamlib.data.classes import CLASSES
from doamlib.experiments.arms import ARMS
from doamlib.experiments.parameters import from_file
from doamlib.experiments.results import RunConfig, warm_name
from doamlib.experiments.study import run_config

PARAMS = Path(__file__).parents[2] / "params"

KEYS = [  # written down before the class list became a part of the configuration
    ("reference", "SSD", 0, "6c68d43f38e8b597"),
    ("reference", "SSD+DOAM-T", 0, "c77030b2f1c253ef"),
    ("reference", "SSD+DOAM-O", 3, "1104a1cd78390bca"),
    ("reference", "YOLOv3+DOAM-O", 0, "b19d26355e4fba43"),
    ("reference", "FCOS", 0, "38f767f2329dcc6c"),
    ("reference", "SSD+DOAM-T, standardised inputs", 0, "429e57f99a10d4c4"),
    ("reference", "SSD+DOAM-T, normalised steps", 0, "5f6e33f0c395c4f4"),
    ("paper", "SSD", 0, "a97f02558ee15a41"),
    ("paper", "FCOS+DOAM-T", 3, "d70778558fcf8ddd"),
    ("quick", "SSD+DOAM-F", 0, "4eeb05b7fa796d68"),
    ("extended", "SSD, 5 shots", 0, "846e66e07ba5ac68"),
    ("smoke", "SSD", 0, "f74e8ca71550056b"),
]
ALL_OF_REFERENCE = "51b1ea505b398fcf"
"""Digest of arm, seed and key of the runs of seeds 0 and 3 under reference.yaml, of all arms but
`LATER`, which joined since."""

LATER = ("SSD+DOAM-T, normalised steps", "SSD+DOAM-O, by losses")

WARM = [
    ("reference", "SSD", 0, "ssd-96px-width-0.2-f9be534c48c29578"),
    ("reference", "YOLOv3", 0, "yolov3-96px-width-0.2-7ff28894d7b77c93"),
    ("paper", "FCOS", 3, "fcos-300px-width-1-32991c8e3286e122"),
]


def parameters_of(profile):
    """The file's, at the rate that they had when the keys were written down."""
    parameters = from_file(PARAMS / f"{profile}.yaml")
    small = profile in ("reference", "extended")
    return parameters.model_copy(update={"learning_rate": 5e-4}) if small else parameters


def config(profile, arm, seed, classes=CLASSES):
    return run_config(parameters_of(profile), ARMS[arm], seed, classes)


@pytest.mark.parametrize(("profile", "arm", "seed", "key"), KEYS)
def test_keys_of_the_five_classes_are_as_they_were(profile, arm, seed, key):
    assert config(profile, arm, seed).key("x") == key


def test_so_are_those_of_all_arms():
    reference = parameters_of("reference")
    keys = {
        f"{arm} {seed}": run_config(reference, ARMS[arm], seed).key("x")
        for arm in sorted(ARMS)
        if arm not in LATER
        for seed in (0, 3)
    }
    assert digest_of(keys) == ALL_OF_REFERENCE


@pytest.mark.parametrize(("profile", "arm", "seed", "name"), WARM)
def test_so_are_the_names_of_warm_starts_whatever_the_classes(profile, arm, seed, name):
    assert warm_name(config(profile, arm, seed).warm_run()) == name
    assert warm_name(config(profile, arm, seed, ("Gun", "Knife")).warm_run()) == name


def test_the_identity_of_the_five_classes_does_not_mention_them():
    identity = config("reference", "SSD+DOAM-T", 0).identity("x")
    assert "classes" not in identity["config"]["data"]
    assert "classes" not in identity["config"]["warm_start"]["data"]
    assert RunConfig.model_validate_json(config("reference", "SSD", 0).as_json()) == config(
        "reference", "SSD", 0
    )


def test_other_classes_and_another_order_are_other_runs():
    lists = [CLASSES, CLASSES[::-1], ("Gun", "Knife"), ("Knife", "Gun"), ("Gun",)]
    runs = [config("reference", "SSD", 0, classes) for classes in lists]
    assert len({run.key("x") for run in runs}) == len(lists)
    assert [run.detector.num_classes for run in runs] == [5, 5, 2, 2, 1]
    again = RunConfig.model_validate_json(runs[2].as_json())
    assert again == runs[2] and again.data.classes == ("Gun", "Knife")


def test_maps_are_drawn_whatever_the_number_of_classes():
    for classes in (CLASSES, ("Gun",), tuple(map(str, range(80)))):
        assert config("reference", "SSD", 0, classes).explained
        assert not config("reference", "YOLOv3", 0, classes).explained


def test_few_shots_count_the_classes_of_the_data():
    one, five = (
        config("extended", "SSD, 5 shots", 0, classes).training.epochs
        for classes in (("Gun",), CLASSES)
    )
    assert one == 4000 and five == 2000  # 500 steps an epoch, eight times; 1 and 2 batches


def test_the_detector_counts_as_many_classes_as_the_data():
    run = config("reference", "SSD", 0)
    wrong = run.model_dump() | {"detector": run.detector.model_dump() | {"num_classes": 4}}
    with pytest.raises(ValidationError, match="num_classes = 4, but the data have 5 classes"):
        RunConfig(**wrong)
