"""Trained detectors to look at pictures with: a reader's own runs, and those the book ships.

A shipped detector is a finished run's weights as float16 in ``book/reference_results/detectors/``,
with what it was trained on, its scores, provenance and hash in ``recipes.json`` beside it.
``scripts/ship_detectors.py`` writes them. Taught in ``book/own_image.ipynb``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load, load_file, save

from doamlib.core import paths
from doamlib.core.files import write_bytes, write_text
from doamlib.core.report import Refusal, message_of
from doamlib.experiments.arms import ARMS, no_arm
from doamlib.experiments.results import Result, RunConfig
from doamlib.experiments.store import RunStore
from doamlib.experiments.study import Study
from doamlib.models.detector import Detector, build_detector
from doamlib.recipe import SamplingConfig

PREFERRED = "SSD+DOAM-O"
"""The method of the paper: the arm that is taken where none is named."""

NOTICE = (
    "This is a teaching example and no security product: it misses cutters and raises false "
    "alarms, and nobody's safety may rest on it."
)


class DetectorError(Refusal, ValueError):
    """There is no such detector, or its file is not what it should be; one line says what to do."""


@dataclass(frozen=True)
class Trained:
    """A trained detector, and what whoever uses it must know.

    Attributes:
        arm: row of the tables.
        config: the run, with its data, recipe and seed.
        ap: AP (0..1) by class and ``mAP``, on the run's own test images.
        steps: optimiser steps of its training.
        origin: ``own`` (the run store) or ``shipped`` (with the book).
        path: the weights (safetensors).
        sha256: of the file, where it was written down.
        result: the stored result of one's own run.
    """

    arm: str
    config: RunConfig
    ap: dict[str, float]
    steps: int
    origin: Literal["own", "shipped"]
    path: Path
    sha256: str | None = None
    result: Result | None = None

    @property
    def is_own(self) -> bool:
        """Whether it is one of the reader's own runs."""
        return self.origin == "own"

    @property
    def on_own_data(self) -> bool:
        """Whether it is one's own and learned from other images than generated ones."""
        return self.is_own and self.config.data.simulation is None

    @property
    def field_of_view(self) -> float:
        """Share of a scanner's frame that a training image showed; 1 for real data."""
        simulation = self.config.data.simulation
        return simulation.field_of_view if simulation else 1.0

    def load(self) -> Detector:
        """The detector on the CPU, in evaluation mode.

        Raises:
            DetectorError: the file is not the one that was shipped, or does not fit.
        """
        content = self.path.read_bytes()
        if self.sha256 and hashlib.sha256(content).hexdigest() != self.sha256:
            raise DetectorError(f"{self.path.name} was changed after it was shipped; restore it")
        detector = build_detector(self.config.detector, self.config.seed)
        try:
            detector.load_state_dict(load(content))
        except Exception as error:  # safetensors' own errors and torch's have no common base
            reason = message_of(error)[:200]
            raise DetectorError(f"{self.path}: not weights of {self.arm} ({reason})") from None
        return detector.eval()

    def data(self) -> str:
        """On what it was trained, in words."""
        if (simulation := self.config.data.simulation) is None:
            return f"the training images of dataset {self.config.data.dataset}"
        return f"{simulation.train_images:,} generated X-ray images and no real one"

    def score(self) -> str:
        """Its mAP on its own test images, in words."""
        return f"mAP {100 * self.ap['mAP']:.1f}" if "mAP" in self.ap else "no mAP"

    def about(self) -> str:
        """What it is, on what data it was trained, and how well it did there: one line."""
        detector = self.config.detector
        whose = "of your own runs" if self.origin == "own" else "shipped with the book"
        window = ""
        if self.field_of_view < 1:
            window = f" (each shows {self.field_of_view:g} of a scanner frame's width and height)"
        return (
            f"{self.arm}, seed {self.config.seed}, {whose}: trained for {self.steps:,} steps on "
            f"{self.data()}{window}; {self.score()} on test images of the same kind; reads "
            f"{detector.image_size} x {detector.image_size} pixels at width {detector.width:g}."
        )


def trained(store: RunStore | None = None, folder: Path | None = None) -> list[Trained]:
    """Every detector that is here: own runs first, then shipped ones.

    Args:
        store: of one's own runs; the usual one by default.
        folder: of shipped detectors; the book's by default.
    """
    return [*own(store or RunStore()), *shipped(folder or paths.detectors())]


def trained_by(study: Study, arm: str | None = None) -> list[Trained]:
    """The detectors of a study that are trained: those of its parameters' arms, or of one arm.

    Raises:
        DetectorError: none is.
    """
    found = map(of_result, study.found([arm] if arm in ARMS else study.parameters.arms).values())
    if not (known := [one for one in found if one is not None]):
        profile = study.parameters.profile
        raise DetectorError(f"no run of profile {profile} is trained yet: 'doam train' does it")
    return known


def own(store: RunStore) -> list[Trained]:
    """The finished runs of a store that have weights and are a row of the tables."""
    places = sorted(path.parent for path in store.root.glob("*/weights.safetensors"))
    found = (of_result(Result(place, "local")) for place in places)
    return [one for one in found if one is not None]


def of_result(result: Result) -> Trained | None:
    """The detector of one's own run; None where it has no weights or is no row of the tables."""
    try:
        arm, path = arm_of(result.config), result.weights()
        steps, ap = len(result.history.loss), result.metrics["AP"]
    except (OSError, KeyError, TypeError, ValueError):
        return None  # unfinished, or left by another version of the code
    if arm is None or path is None:
        return None
    return Trained(arm, result.config, ap, steps, "own", path, result=result)


def shipped(folder: Path) -> list[Trained]:
    """The detectors that :func:`ship` wrote to a folder; none where it does not exist.

    Raises:
        DetectorError: ``recipes.json`` is not what `ship` writes.
    """
    file = folder / "recipes.json"
    if not file.is_file():
        return []
    try:
        return [
            Trained(
                arm=entry["arm"],
                config=RunConfig.model_validate_json(json.dumps(entry["recipe"])),
                ap=entry["AP"],
                steps=entry["steps"],
                origin="shipped",
                path=folder / f"{name}.safetensors",
                sha256=entry["sha256"],
            )
            for name, entry in json.loads(file.read_text(encoding="utf-8")).items()
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise DetectorError(f"{file}: not a list of detectors ({error})") from None


def choose(known: Iterable[Trained], arm: str | None = None, seed: int | None = None) -> Trained:
    """The detector to use: one's own on real data, else the one trained longest, of equals one's
    own.

    Args:
        known: of :func:`trained` or :func:`trained_by`.
        arm: row of the tables; by default the method of the paper, else whatever there is.
        seed: of the run; any by default.

    Raises:
        DetectorError: there is none; the message says which there are, or how to get one.
    """
    known = list(known)
    if arm is not None and arm not in ARMS:
        raise DetectorError(no_arm(arm))
    if not known:
        raise DetectorError(
            "no trained detector is here: train some with 'doam train -f params/quick.yaml' "
            "(15 minutes on two cores)"
        )
    fits = [t for t in known if arm in (None, t.arm) and seed in (None, t.config.seed)]
    if not fits:
        there = sorted({f"{t.arm} seed {t.config.seed}" for t in known})
        asked = " ".join([arm or "", "" if seed is None else f"seed {seed}"]).strip()
        raise DetectorError(f"no trained detector {asked} is here; there are {', '.join(there)}")
    return max(
        fits,
        key=lambda t: (t.on_own_data, t.arm == PREFERRED, t.steps, t.is_own, -t.config.seed),
    )


def arm_of(config: RunConfig) -> str | None:
    """The row of the tables that a run is, whatever its recipe and size; None if it is none."""
    if config.data.objects != "annotated":
        return None
    detector, doam = config.detector, config.detector.doam
    run = (
        *(detector.name, detector.attention, detector.focal_loss, detector.fresh_first_layer),
        *(doam and doam.slimmed(0), _strategy(config.sampling), config.data.shots),
    )
    for arm in ARMS.values():
        row = (
            *(arm.detector, arm.attention, arm.focal, arm.fresh_first_layer),
            *(arm.doam and arm.doam.slimmed(0), _strategy(arm.sampling), arm.shots),
        )
        if run == row:
            return arm.name
    return None


def _strategy(sampling: SamplingConfig) -> SamplingConfig:
    """Without the sizes, which are the parameters' and not the arm's."""
    plain = SamplingConfig()
    sizes = {"pool_batches": plain.pool_batches, "threshold": plain.threshold}
    return sampling.model_copy(update=sizes)


def ship(result: Result, folder: Path | None = None) -> Path:
    """Write a finished run's weights as float16, and its entry in ``recipes.json``.

    Tensors of one dimension (biases, batch normalisation) keep their float32.

    Args:
        result: a run of one's own with weights.
        folder: where to; the book's by default.

    Returns:
        The file of weights.

    Raises:
        DetectorError: the run is no row of the tables, has no weights, or one exceeds float16.
    """
    folder = folder or paths.detectors()
    arm, weights = arm_of(result.config), result.weights()
    if arm is None or weights is None:
        raise DetectorError(f"{result.name} has no weights or is no row of the tables")
    tensors = {n: t.half() if t.ndim > 1 else t for n, t in load_file(weights).items()}
    if wild := [name for name, value in tensors.items() if not torch.isfinite(value).all()]:
        raise DetectorError(f"{result.name}: {wild[0]} holds values that float16 cannot")
    name = "".join(c if c.isalnum() else "-" for c in arm.lower())
    path = folder / f"{name}-seed{result.config.seed}-{result.key}.safetensors"
    content = save(tensors, metadata={"config": result.config.detector.as_json()})
    file = folder / "recipes.json"
    recipes = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    recipes[path.stem] = {
        "arm": arm,
        "sha256": hashlib.sha256(content).hexdigest(),
        "data": result.identity["fingerprint"],
        "steps": len(result.history.loss),
        "AP": result.metrics["AP"],
        "recipe": result.config.model_dump(mode="json"),
        "provenance": result.provenance,
    }
    write_bytes(path, content)
    write_text(file, json.dumps(recipes, indent=1) + "\n")
    return path
