"""The end of a run: what its trained network finds on the test images, and where it looks.

The store (:mod:`doamlib.experiments.store`) says where results lie. Here is what a run computes of
its network, after each epoch and after the last one.
"""

from __future__ import annotations

import time
from typing import Any

import torch

from doamlib.core.files import npz_bytes
from doamlib.core.report import Report
from doamlib.data.cache import CachedDataset
from doamlib.evaluation.map_swaps import gamma, looking, map_effect
from doamlib.evaluation.test_set import TestSet, detect, pooled_occlusion, score
from doamlib.models.detector import Detector
from doamlib.training import History, OutOfTime


class RunEnd:
    """What is kept of a trained network; :meth:`evaluate` and then :meth:`look` fill it.

    Args:
        detector: on ``device``.
        train: training images at its input size.
        tested: the test images at its input size.
        device: where the detector is.

    Attributes:
        test: the test images' annotations.
        metrics: for ``metrics.json``.
        files: other files of the result, by name.
        seconds: how long each part took, for the provenance.
    """

    def __init__(
        self, detector: Detector, train: CachedDataset, tested: CachedDataset, device: torch.device
    ) -> None:
        self.detector, self.train, self.tested, self.device = detector, train, tested, device
        self.test = TestSet.of(tested.dataset)
        self.metrics: dict[str, Any] = {}
        self.files: dict[str, bytes] = {}
        self.seconds: dict[str, float] = {}

    def watch(self) -> dict[str, float]:
        """What is looked at after an epoch: ``test_mAP``, 0 to 1, what M looks like, and gamma."""
        with looking(self.detector.doam) as told:
            found = detect(self.detector, self.tested, self.device)
        return {"test_mAP": self.test.mean_ap(found)} | told() | gamma(self.detector)

    def evaluate(self, history: History) -> None:
        """Detections on the test images and their scores, and whose images the pool held."""
        start = time.perf_counter()
        found = detect(self.detector, self.tested, self.device)
        pool = pooled_occlusion(history.pool, self.train.dataset)
        self.metrics |= score(found, self.test) | {"pool": pool, "train_images": len(self.train)}
        self.files["detections.npz"] = found.as_bytes()
        self.seconds["evaluation_seconds"] = round(time.perf_counter() - start, 1)

    def look(self, explained: bool, seed: int, report: Report, deadline: float) -> None:
        """What other attention maps would do to the mAP; and, if ``explained``, the maps' scores.

        Raises:
            OutOfTime: there is something to do and the deadline has passed.
        """
        if time.monotonic() > deadline and (explained or self.detector.doam is not None):
            raise OutOfTime  # the checkpoint holds the trained network
        start = time.perf_counter()
        self.metrics["attention"] = map_effect(
            self.detector, self.tested, self.test, self.device, own=self.metrics["AP"]["mAP"]
        )
        if explained:
            # captum takes seconds to import, and few runs are explained
            from doamlib.evaluation.maps import maps_of_run

            report("drawing maps of what it looks at")
            scores, numbers = maps_of_run(self.detector, self.train, self.tested, seed)
            self.files["maps.npz"], self.metrics["maps"] = npz_bytes(**scores), numbers
        self.seconds["maps_seconds"] = round(time.perf_counter() - start, 1)
