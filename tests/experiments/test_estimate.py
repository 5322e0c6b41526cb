"""The estimate counts every image that a run will see."""

import pytest
import torch

from doamlib.evaluation import randomisation
from doamlib.experiments import estimate, train_run
from doamlib.experiments.arms import ARMS
from doamlib.experiments.estimate import Rates, Work, measured_rates, work_of
from doamlib.experiments.store import RunStore
from doamlib.experiments.study import run_config
from doamlib.models.detector import Detector
from doamlib.training import TrainingError


def work(smoke, arm, **changes):
    parameters = smoke.model_copy(update={"epochs": 3, "batch_size": 8, **changes})
    return work_of(run_config(parameters, ARMS[arm], 0), 20, 12)


def test_every_epoch_trains_on_all_images_and_tests_on_all(smoke):
    """And the test images are looked at once more at the end."""
    assert work(smoke, "SSD+SE") == Work(trained=60, forward=12 * (3 + 1), explained=0)


def test_repeated_batches_count(smoke):
    """20 images are 3 batches; a pool of a third holds one, repeated after each of 3 epochs. The
    map is exchanged in four ways at the end, the edge channel in two.
    """
    repeated = work(smoke, "SSD+DOAM-E", pool_share=1 / 3)
    assert repeated.trained == 80 and repeated.forward == 12 * (3 + 1 + 6)


def test_maps_count_where_a_run_is_explained(smoke):
    """SSD: edges, darkness, Grad-CAM; Grad-CAM again and 10 draws for each of two parts. DOAM:
    attention, and again with its 10 draws; 10 calibrations on 20 images.
    """
    assert work(smoke, "SSD").explained == 12 * (3 + 2 * 11)
    doam = work(smoke, "SSD+DOAM-T")
    assert doam.explained == 12 * (3 + 2 * 11)
    assert doam.forward == 12 * (3 + 1 + 6) + 12 * (1 + 11) + 10 * 20
    assert work(smoke, "SSD+Concat").forward == 12 * (3 + 1 + 2)
    assert not any(work(smoke, arm).explained for arm in ("FCOS+DOAM-T", "SSD, 5 shots"))


def test_the_numbers_of_maps_are_those_of_the_maps():
    assert estimate.DRAWS == randomisation.DRAWS
    assert estimate.CALIBRATION_IMAGES == randomisation.CALIBRATION_IMAGES


def test_a_run_has_the_images_that_were_counted(study):
    arm = "SSD+DOAM-T"
    config = run_config(study.parameters, ARMS[arm], 0)
    counted = work_of(config, *study._images(config))
    history = study.results([arm])[arm, 0].history
    assert counted.trained == len(study.data.train) * len(history.epochs)
    assert counted.forward >= len(study.data.test) * len(history.epochs)


def test_seconds_are_rates_times_images():
    assert Rates(1.0, 0.1, 0.01).seconds(Work(2, 30, 400)) == pytest.approx(9.0)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_rates_are_measured_in_the_precision_of_training(smoke, monkeypatch, precision):
    seen, forward = [], Detector.forward

    def spy(self, images, targets=None):
        seen.append((self.training, torch.is_autocast_enabled("cpu"), len(images)))
        return forward(self, images, targets)

    monkeypatch.setattr(Detector, "forward", spy)
    config = run_config(smoke, ARMS["SSD"], 0).detector
    rates = measured_rates(config, precision, 4, torch.device("cpu"))
    assert min(rates.trained, rates.forward, rates.explained) > 0
    assert seen == [(True, precision == "bfloat16", 4)] * 2 + [(False, False, 4)] * 2


def test_a_batch_that_fills_the_memory_says_what_to_lower(monkeypatch, study, tmp_path):
    """Where time is estimated, and where a run is trained."""

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    config, cpu = study.config("SSD", 0), torch.device("cpu")
    monkeypatch.setattr(estimate, "build_detector", full)
    monkeypatch.setattr(train_run, "build_detector", full)
    with pytest.raises(TrainingError, match=r"lower batch_size \(8\), image_size \(96\) or width"):
        estimate.seconds_of_each([(config, 24, 12)], cpu)
    store = RunStore(tmp_path / "store", reference=tmp_path / "none")
    with pytest.raises(TrainingError, match=r"lower batch_size \(8\), image_size \(96\) or width"):
        train_run.result_of(store, config, study.data, cpu)
