"""The run store: a configuration goes in, its result comes out; what exists is never trained again.

A run is a pure function of its configuration, its data and ``RESULTS_VERSION``; these three are its
key. Commit, packages and hardware are recorded beside the result and never compared.

Two layers hold results of the same form. ``runs/<key>/`` is local and ignored by git. The reference
layer is read-only: archives (zip) of committed results, so that the book can show large runs
without a GPU.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from filelock import FileLock
from pydantic import Field, model_validator
from safetensors.torch import load_file
from torch import Tensor

from doamlib.core import paths, provenance
from doamlib.core.config import Config, digest_of
from doamlib.core.files import write_bytes
from doamlib.core.memory import reuse_freed_memory
from doamlib.core.precision import chosen
from doamlib.evaluation.detections import Detections
from doamlib.evaluation.test_set import TestSet
from doamlib.experiments.data import HARMLESS, Data, DataConfig, open_data
from doamlib.experiments.run_end import RunEnd
from doamlib.models.detector import (
    Detector,
    DetectorConfig,
    build_detector,
    load_weights,
    save_weights,
)
from doamlib.sampling import SamplingConfig
from doamlib.training import History, Training, TrainingConfig, reproducible

RESULTS_VERSION = 3
"""Raised in the commit that changes what training or evaluation computes (a test insists)."""

Report = Callable[[str], None]
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
            width=detector.width,
            image_size=detector.image_size,
            num_classes=detector.num_classes,
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

    def __init__(
        self, place: Place, origin: Literal["local", "reference"], stale: str = ""
    ) -> None:
        self._place, self.origin, self.stale = place, origin, stale
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
        """What :func:`doamlib.evaluation.test_set.score` returned; ``pool``; ``attention`` (what
        :func:`doamlib.evaluation.map_swaps.map_effect` returned); ``maps`` of an explained run.
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
    return {
        (arm, seed): result
        for wanted in arms
        for (arm, seed), result in runs.items()
        if arm == wanted
    }


def processor(result: Result) -> str:
    """What a run was trained on: the GPU's name, or the processor's.

    The same code and seed give other bits on another kind: the difference of two arms would hold
    the difference of two machines.
    """
    hardware = result.provenance["hardware"]
    return hardware["cpu"] if hardware["device"] == "cpu" else hardware["device"]


class RunStore:
    """Finds results in both layers and trains what is missing.

    Args:
        root: the local layer; ``runs`` by default.
        reference: the folder of archives; the committed one by default.
    """

    def __init__(self, root: Path | None = None, reference: Path | None = None) -> None:
        self.root = root or paths.runs()
        self.reference = reference or paths.reference_results()

    def find(self, config: RunConfig, fingerprint: str) -> Result | None:
        """The local result of this configuration on these data, if it is finished."""
        result = Result(self.root / config.key(fingerprint), "local")
        try:
            # The key leaves defaults out, and a default may have changed since.
            return result if result.config == config else None
        except (OSError, KeyError, ValueError):
            return None

    def get(
        self, config: RunConfig, data: Data, device: torch.device, report: Report = print, **limits
    ) -> Result:
        """The local result; trained now if it is missing, by one process at a time.

        Args:
            config: the run.
            data: its data, open.
            device: where to train.
            report: gets progress lines.
            limits: ``deadline``, ``processes`` and ``runs_at_once``, see :meth:`_train`.

        Raises:
            doamlib.training.TrainingError: the loss diverged.
            doamlib.training.OutOfTime: the deadline passed before an epoch or before the maps; the
                next call goes on from there.
        """
        key = config.key(data.fingerprint)
        if finished := self.find(config, data.fingerprint):
            return finished  # without a lock: the store may be one that can only be read
        paths.writable(self.root / "locks")
        with FileLock(self.root / "locks" / key):
            if self.find(config, data.fingerprint) is None:
                with reproducible(device):
                    self._train(config, data, key, device, report, **limits)
        return self.find(config, data.fingerprint)

    def starting_weights(self, config: RunConfig) -> Path | None:
        """Where a warm run's weights lie, committed or local; none if it is not trained yet."""
        shipped = paths.warm_starts() / f"{warm_name(config)}.safetensors"
        if shipped.is_file():
            return shipped
        found = self.find(config, config.data.simulation.fingerprint)
        return found.weights() if found else None

    def digests(self) -> dict[str, str]:
        """Name -> digest of every result in both layers."""
        reference = [
            Result(place, "reference")
            for archive in sorted(self.reference.glob("*.zip"))
            for place in zipfile.Path(archive).iterdir()
            if (place / "identity.json").exists()
        ]
        local = [Result(path.parent, "local") for path in self.root.glob("*/identity.json")]
        return {result.name: result.digest() for result in [*reference, *local]}

    def _train(
        self,
        config: RunConfig,
        data: Data,
        key: str,
        device: torch.device,
        report: Report,
        deadline: float = float("inf"),
        processes: int = 1,
        runs_at_once: int = 1,
    ) -> None:
        """Train in ``partial/<key>`` and move the finished result into place in one step.

        ``deadline`` is a :func:`time.monotonic`; ``processes`` decode images; ``runs_at_once`` says
        how many runs share this machine, for the provenance: times depend on it, results do not.
        """
        reuse_freed_memory()
        partial = self.root / "partial" / key
        made_by = provenance.record(device) | {"seed": config.seed, "runs_at_once": runs_at_once}
        detector = build_detector(config.detector, config.seed)
        limits = {"deadline": deadline, "processes": processes, "runs_at_once": runs_at_once}
        made_by["starting_weights"] = self._warm_start(config, detector, device, report, **limits)
        detector.to(device)
        train, tested = (
            data.cached(split, detector.image_size, processes, report).resident(device)
            for split in ("train", "test")
        )
        end = RunEnd(detector, train, tested, device)
        training = Training(
            *(detector, train, config.training, config.sampling, config.seed, partial, device),
            watch=end.watch,
        )
        history = training.run(report, deadline)
        end.evaluate(history)
        end.look(config.explained, config.seed, report, deadline)
        made_by |= {
            "precision": chosen(config.training.precision, device),
            "training_seconds": round(sum(entry["seconds"] for entry in history.epochs), 1),
            **end.seconds,
        }
        self._finish(config, data.fingerprint, end, made_by, history)

    def _finish(
        self,
        config: RunConfig,
        fingerprint: str,
        end: RunEnd,
        made_by: dict[str, Any],
        history: History,
    ) -> None:
        """The result appears whole, in one step; what led to it is removed."""
        key = config.key(fingerprint)
        partial = self.root / "partial" / key
        identity = config.identity(fingerprint)
        contents = {"identity": identity, "metrics": end.metrics, "provenance": made_by}
        files = dict(end.files)
        for name, content in (contents | {"history": vars(history)}).items():
            files[f"{name}.json"] = json.dumps(content, indent=1).encode()
        write_bytes(self.root / "test_sets" / f"{fingerprint}.npz", end.test.as_bytes())
        made = partial / "result"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        for name, content in files.items():
            write_bytes(made / name, content)
        save_weights(end.detector, made / "weights.safetensors")
        os.replace(made, self.root / key)
        shutil.rmtree(partial)

    def _warm_start(
        self,
        config: RunConfig,
        detector: Detector,
        device: torch.device,
        report: Report,
        **limits,
    ) -> dict[str, Any]:
        """Load the starting weights, trained first where they are missing; says which they are."""
        if (warm := config.warm_run()) is None:
            return {"from": f"random, seed {config.seed}"}
        if (path := self.starting_weights(warm)) is None:
            report("training the warm start on harmless objects")
            data = open_data(warm.data, None, limits["processes"], report)
            path = self.get(warm, data, device, report, **limits).weights()
        left = load_weights(detector, _without_classes(path, warm.detector, detector.config))
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        return {"from": warm_name(warm), "sha256": content, "left_as_initialised": left}


def _without_classes(
    path: Path, warm: DetectorConfig, wanted: DetectorConfig
) -> Path | dict[str, Tensor]:
    """Weights to start from, less the outputs for the source's classes, which mean other things.

    Their shape tells them apart, and `load_weights` leaves them out, unless both happen to have
    the same number of classes.
    """
    if warm.num_classes != wanted.num_classes:
        return path
    more = wanted.model_copy(update={"num_classes": wanted.num_classes + 1})
    shapes = {n: t.shape for n, t in build_detector(more, 0).state_dict().items()}
    tensors = load_file(path)
    return {n: t for n, t in tensors.items() if n not in shapes or shapes[n] == t.shape}


def warm_name(config: RunConfig) -> str:
    """File name of a warm run's weights: detector, size, recipe and data."""
    detector = config.detector
    made = digest_of([config.digest(), config.data.simulation.fingerprint])
    return f"{detector.name}-{detector.image_size}px-width-{detector.width:g}-{made}"
