"""What a run is, and what it leaves behind.

A run is a pure function of its configuration, its data and ``RESULTS_VERSION``; these three are its
key. Commit, packages and hardware are recorded beside the result and never compared.
:mod:`doamlib.experiments.store` finds results, :mod:`doamlib.experiments.train_run` makes them.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator
from safetensors.torch import load_file

from doamlib.core.config import Config, digest_of
from doamlib.evaluation.detections import Detections
from doamlib.evaluation.test_set import TestSet
from doamlib.experiments.data import HARMLESS, DataConfig
from doamlib.models.config import DetectorConfig
from doamlib.models.detector import Detector, build_detector
from doamlib.recipe import SamplingConfig, TrainingConfig
from doamlib.training import History

RESULTS_VERSION = 3
"""Raised in the commit that changes what training or evaluation computes (a test insists)."""

Place = Path | zipfile.Path


class WarmStart(Config):
    """Where starting weights come from: the plain detector, trained on harmless objects.

    The paper starts from a detector trained on everyday photographs (VOC). This is the same idea
    without a download: the objects are those of generated luggage, and never a cutter.
    """

    data: DataConfig
    training: TrainingConfig
    seed: int = Field(ge=0)


class RunConfig(Config):
    """Everything that a training run depends on, apart from the pixels themselves."""

    data: DataConfig
    detector: DetectorConfig
    sampling: SamplingConfig
    training: TrainingConfig
    seed: int = Field(ge=0)
    warm_start: WarmStart | None = None

    @model_validator(mode="after")
    def _an_output_for_each_class(self) -> RunConfig:
        found, known = self.detector.num_classes, len(self.data.classes)
        if self.data.objects == "annotated" and found != known:
            raise ValueError(f"num_classes = {found}, but the data have {known} classes")
        return self

    def warm_run(self) -> RunConfig | None:
        """The run whose weights this one starts from: no DOAM, no rival, other classes."""
        if (warm := self.warm_start) is None:
            return None
        plain = {"doam": None, "attention": "none", "num_classes": len(HARMLESS)}
        plain |= {"focal_loss": False, "fresh_first_layer": False}
        plain["batch_norm"] = self.detector.name == "ssd"
        return RunConfig(
            data=warm.data,
            detector=self.detector.model_copy(update=plain),
            sampling=SamplingConfig(),
            training=warm.training,
            seed=warm.seed,
        )

    @property
    def explained(self) -> bool:
        """Whether the run ends with drawing and scoring its maps (Fig. 6 and 7).

        The plain SSD, and SSD behind a whole DOAM in any reading, trained on all images as in
        DOAM-T or DOAM-O.
        """
        detector, sampling, doam = self.detector, self.sampling, self.detector.doam
        plain = DetectorConfig(
            width=detector.width, image_size=detector.image_size, num_classes=detector.num_classes
        )
        return (
            detector.model_copy(update={"doam": None, "fresh_first_layer": False}) == plain
            and (doam is None or (doam.edge_guidance and doam.material and doam.gate))
            and sampling.strategy in ("traditional", "hard")
            and not sampling.equal_steps
            and not self.data.shots
            and self.data.objects == "annotated"
        )

    def identity(self, fingerprint: str) -> dict[str, Any]:
        """All that the result depends on, as ``identity.json`` keeps it."""
        return {
            "config": self.model_dump(mode="json"),
            "fingerprint": fingerprint,
            "results_version": RESULTS_VERSION,
        }

    def key(self, fingerprint: str) -> str:
        """The name of this run's result on these data: sixteen hex digits."""
        return digest_of([self.digest(), fingerprint, RESULTS_VERSION])


class Result:
    """A finished run: a read-only view of its folder, on disk or in an archive.

    Attributes:
        key: the run's name.
        origin: ``local`` or ``reference``.
        stale: why a reference result no longer stands for what today's code computes; empty when
            it does.
    """

    def __init__(self, place: Place, origin: Literal["local", "reference"]) -> None:
        self._place, self.origin, self.stale = place, origin, ""
        self.key = place.name

    @cached_property
    def identity(self) -> dict[str, Any]:
        """``config`` (every field), ``fingerprint`` of the data, ``results_version``."""
        return self._json("identity.json")

    @cached_property
    def config(self) -> RunConfig:
        """The configuration that was trained."""
        return RunConfig.model_validate_json(json.dumps(self.identity["config"]))

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """What :func:`doamlib.evaluation.test_set.score` returned; ``train_images``; ``pool``;
        ``attention`` (what :func:`doamlib.evaluation.map_swaps.map_effect` returned); ``maps`` of
        an explained run.
        """
        return self._json("metrics.json")

    @cached_property
    def history(self) -> History:
        """Losses by step, summaries by epoch, contents of the pool."""
        return History(**self._json("history.json"))

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Commit, packages, hardware, seed, starting weights, start and duration."""
        return self._json("provenance.json")

    @property
    def name(self) -> str:
        """The key; where both layers hold the same run, this tells the committed one apart."""
        return self.key if self.origin == "local" else f"reference/{self.key}"

    def ap(self, name: str = "mAP") -> float:
        """AP in percent of a class, or ``mAP``, at IoU 0.5 over the whole test set."""
        return 100 * self.metrics["AP"][name]

    def detections(self) -> Detections:
        """Detections on the test images, in their original pixels; the reference layer keeps the
        strongest of each image, and those of the first seed only.

        Raises:
            ValueError: this result keeps none; ``keeps_detections`` tells before.
        """
        if not self.keeps_detections:
            raise ValueError(
                f"{self.name} keeps no detections: an archive holds those of its first seed only; "
                f"take that seed's result, or train this one with 'doam train'"
            )
        return Detections.load(io.BytesIO(self._bytes("detections.npz")))

    @property
    def keeps_detections(self) -> bool:
        """Whether :meth:`detections` has any to give."""
        return (self._place / "detections.npz").is_file()

    def test_set(self) -> TestSet:
        """The test images' annotations, kept once for all runs on the same data."""
        name = f"{self.identity['fingerprint']}.npz"
        return TestSet.load(io.BytesIO((self._place.parent / "test_sets" / name).read_bytes()))

    def weights(self) -> Path | None:
        """The trained weights (safetensors); none in the reference layer."""
        path = self._place / "weights.safetensors"
        return path if isinstance(path, Path) and path.is_file() else None

    def detector(self) -> Detector:
        """The trained network, on the CPU and set to evaluate.

        Raises:
            ValueError: the reference layer keeps no weights.
        """
        if (weights := self.weights()) is None:
            raise ValueError(f"{self.name} keeps no weights; train this run with 'doam train'")
        detector = build_detector(self.config.detector, self.config.seed)
        detector.load_state_dict(load_file(weights))  # all of them: this is no warm start
        return detector.eval()

    def digest(self) -> str:
        """Changes when the stored numbers change."""
        content = b"".join(self._bytes(name) for name in ("metrics.json", "history.json"))
        return hashlib.sha256(content).hexdigest()[:16]

    def read(self, name: str) -> bytes | None:
        """One of the result's files, or None where it has no such file."""
        place = self._place / name
        return place.read_bytes() if place.is_file() else None

    def _json(self, name: str) -> Any:
        return json.loads(self._bytes(name))

    def _bytes(self, name: str) -> bytes:
        return (self._place / name).read_bytes()


Runs = Mapping[tuple[str, int], Result]
"""Results by (arm, seed)."""


def of_arms(runs: Runs, arms: Iterable[str]) -> dict[tuple[str, int], Result]:
    """The results of these arms, arm by arm in the order given."""
    return {run: runs[run] for arm in arms for run in runs if run[0] == arm}


def processor(result: Result) -> str:
    """What a run was trained on: the GPU's name, or the processor's, and in what precision.

    The same code and seed give other bits on another kind or in another precision: the difference
    of two arms would hold the difference of two machines.
    """
    return processor_of(result.provenance)


def processor_of(made_by: Mapping[str, Any]) -> str:
    """The same, of a provenance."""
    hardware, precision = made_by["hardware"], made_by.get("precision")
    name = hardware["cpu"] if hardware["device"] == "cpu" else hardware["device"]
    return f"{name}, {precision}" if precision else name


def warm_name(config: RunConfig) -> str:
    """File name of a warm run's weights: detector, size, recipe and data."""
    detector = config.detector
    made = digest_of([config.digest(), config.data.simulation.fingerprint])
    return f"{detector.name}-{detector.image_size}px-width-{detector.width:g}-{made}"
