"""How long a run will take: counted work times measured rates."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from doamlib.core.determinism import reproducible
from doamlib.core.memory import enough_memory
from doamlib.core.precision import Precision, forward_in
from doamlib.evaluation.map_swaps import EDGE_SWAPS, SWAPS
from doamlib.evaluation.test_set import explained_images
from doamlib.experiments.results import RunConfig
from doamlib.models.config import DetectorConfig
from doamlib.models.detector import build_detector
from doamlib.recipe import TrainingConfig, planned_steps
from doamlib.training import STOPS, TrainingError, make_optimizer

DRAWS, CALIBRATION_IMAGES = 10, 128
"""As in doamlib.evaluation.randomisation, which takes seconds to import (a test compares)."""


@dataclass(frozen=True)
class Work:
    """Images that pass through a run's network.

    Attributes:
        trained: forward, backward and optimiser step, one image at a time.
        forward: a forward pass alone: test images, attention maps, calibration.
        explained: a Grad-CAM, or a map that needs no network, with what scores it.
    """

    trained: int
    forward: int
    explained: int


@dataclass(frozen=True)
class Rates:
    """Seconds an image for each kind of work."""

    trained: float
    forward: float
    explained: float

    def seconds(self, work: Work) -> float:
        """The time that the work takes."""
        network = self.trained * work.trained + self.forward * work.forward
        return network + self.explained * work.explained


def work_of(config: RunConfig, train_images: int, test_images: int) -> Work:
    """The images of a run.

    Every epoch's images are trained on, and the batches that over-sampling repeats; the test images
    are evaluated after each epoch (of many, at ``STOPS`` of them), at the end, with DOAM once for
    each exchange of its edges, and where it attends once for each map put in the place of its own.
    Where the run is explained, there are edges, darkness and each learned map; then
    for each part that is drawn anew the learned map again and ``DRAWS`` draws, and calibrations of
    DOAM; one item an image.

    Args:
        config: the run.
        train_images: images of an epoch.
        test_images: in the test set.
    """
    training, doam = config.training, config.detector.doam
    batches = math.ceil(train_images / training.batch_size)
    steps = planned_steps(config.sampling, batches, training.epochs)
    trained = round(steps / batches * train_images)
    # As it is, it is evaluated anyway; with M, plain edges take its place once.
    swaps = (len(EDGE_SWAPS) if doam else 0) + (len(SWAPS) if doam and doam.attends else 0)
    evaluations = min(STOPS, training.epochs) + 1 + swaps
    forward, explained = evaluations * test_images, 0
    if config.explained:
        images = explained_images(test_images)
        explained = images * (3 + 2 * (1 + DRAWS))  # edges, darkness, Grad-CAM; late and all anew
        if doam:  # attention; doam drawn anew, and calibrated
            calibrated = DRAWS * min(CALIBRATION_IMAGES, train_images)
            forward += images * (1 + 1 + DRAWS) + calibrated
    return Work(trained, forward, explained)


def seconds_of_each(
    runs: Iterable[tuple[RunConfig, int, int]], device: torch.device
) -> list[float]:
    """How long each run takes alone, from a few measured batches of each kind of detector.

    Args:
        runs: each with its numbers of training and test images.
        device: where they are trained.

    Raises:
        doamlib.training.TrainingError: a batch does not fit into memory.
    """
    rates: dict[tuple[DetectorConfig, Precision], Rates] = {}
    seconds = []
    for run, train_images, test_images in runs:
        kind = (run.detector, run.training.precision)
        if kind not in rates:
            with reproducible(device), enough_memory(too_large(run)):
                rates[kind] = measured_rates(*kind, run.training.batch_size, device)
        seconds.append(rates[kind].seconds(work_of(run, train_images, test_images)))
    return seconds


def too_large(run: RunConfig) -> TrainingError:
    """That a run does not fit into memory, and what to lower."""
    batch, detector = run.training.batch_size, run.detector
    return TrainingError(
        f"memory is too small for batches of {batch:,} images of {detector.image_size} px: lower "
        f"batch_size ({batch}), image_size ({detector.image_size}) or width ({detector.width:g})"
    )


def measured_rates(
    config: DetectorConfig, precision: Precision, batch_size: int, device: torch.device
) -> Rates:
    """Rates of an untrained detector on this machine, from two batches of each kind.

    Args:
        config: which detector.
        precision: of the forward pass in training, as in the parameters.
        batch_size: of training.
        device: where runs are trained.
    """
    detector = build_detector(config, seed=0).to(device)
    size = detector.image_size
    images = torch.randint(0, 256, (batch_size, 3, size, size), dtype=torch.uint8, device=device)
    target = {
        "boxes": torch.tensor([[size / 4, size / 4, size / 2, size / 2]], device=device),
        "labels": torch.ones(1, dtype=torch.int64, device=device),
    }
    optimizer = make_optimizer(detector, TrainingConfig(optimizer="adamw"))

    def train() -> None:
        with forward_in(precision, device):
            loss = sum(detector(images, [target] * batch_size).values())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    trained = _seconds_a_call(train, device) / batch_size
    detector.eval()
    with torch.inference_mode():
        forward = _seconds_a_call(lambda: detector(images), device) / batch_size
    # Grad-CAM is a forward and half a backward pass, and a millisecond of ranking and averaging
    # over 96 x 96 pixels on the CPU.
    explained = (forward + trained) / 2 + 1e-3 * (size / 96) ** 2
    return Rates(trained, forward, explained)


def _seconds_a_call(work: Callable[[], object], device: torch.device) -> float:
    """The second of two calls; the first warms up."""
    work()
    start = _now(device)
    work()
    return _now(device) - start


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
