"""Which data a run is about, and how to get them: generated on demand, or read from disk."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from filelock import FileLock
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from doamlib.core import paths
from doamlib.core.config import Config, digest_of
from doamlib.core.files import write_text
from doamlib.core.report import Report, counted
from doamlib.data.cache import CachedDataset, open_cache
from doamlib.data.classes import CLASSES
from doamlib.data.dataset import Dataset
from doamlib.data.judge import counts_line, first_error, judge, undecodable
from doamlib.data.opixray import read_opixray
from doamlib.data.readers import TRAINED_ON, read_splits
from doamlib.data.sidecar import read_sidecar
from doamlib.data.splits import few_shot_ids
from doamlib.experiments.parameters import Parameters
from doamlib.simulation import SimulationConfig, generate, is_complete
from doamlib.simulation.dataset import Draw

HARMLESS = (
    *("phone", "tablet", "laptop", "hard_disk", "circuit_board", "power_bank", "charger", "camera"),
    *("bottle", "can", "book", "shoe", "wallet", "keys", "glasses", "umbrella", "belt", "watch"),
    *("ruler", "nail_file", "spatula", "comb", "spoon", "fork", "screwdriver", "spanner", "pen"),
    *("metal_bar", "tweezers", "rod_bundle"),
)
"""What a warm start is trained to find: fixed before any training, and never a cutter."""


class DataConfig(Config, use_attribute_docstrings=True):
    """The identity of the data of a run: what they are, not where they lie."""

    dataset: Literal["simulation", "opixray", "coco"] = "simulation"
    simulation: SimulationConfig | None = None
    """for generated data only"""
    class_names: dict[str, str] = Field({})
    """spelling in the files -> class"""
    classes: tuple[str, ...] = CLASSES
    """of the annotated items, in label order; harmless objects have theirs"""
    objects: Literal["annotated", "harmless"] = "annotated"
    """harmless: the generator's HARMLESS objects in place of cutters"""

    shots: int = Field(0, ge=0)
    """train on this many images a class only; 0: on all"""

    @model_validator(mode="after")
    def _simulation_fits(self) -> DataConfig:
        if (self.simulation is None) == (self.dataset == "simulation"):
            raise ValueError("give simulation for dataset 'simulation', and for no other")
        if self.objects == "harmless" and self.simulation is None:
            raise ValueError("only generated data know their harmless objects")
        return self

    @model_serializer(mode="wrap")
    def _five_unsaid(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """OPIXray's classes go without saying: stored identities are older than the field."""
        values = dump(self)
        if self.classes == CLASSES:
            values.pop("classes", None)
        return values


def data_config(
    parameters: Parameters, shots: int = 0, classes: Sequence[str] = CLASSES
) -> DataConfig:
    """The data that the parameters name, or ``shots`` training images a class of them.

    Args:
        parameters: which data.
        shots: training images a class; 0: all images.
        classes: of the data, in label order; only they themselves tell (see `Study.classes`).
    """
    simulation = None
    if parameters.dataset == "simulation":
        simulation = SimulationConfig(
            train_images=parameters.train_images,
            test_images=parameters.test_images,
            seed=parameters.data_seed,
            field_of_view=parameters.field_of_view,
        )
    return DataConfig(
        dataset=parameters.dataset,
        simulation=simulation,
        class_names=parameters.class_names,
        classes=tuple(classes),
        shots=shots,
    )


@dataclass(frozen=True)
class Data:
    """An open dataset: its two splits at their original size, and its fingerprint."""

    train: Dataset
    test: Dataset
    fingerprint: str

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in label order, the same in both splits."""
        return self.train.classes

    def few_shot(self, shots: int) -> Data:
        """The same data with ``shots`` training images a class; 0 leaves them as they are.

        Which images is no matter of the run's seed: all arms and seeds learn from the same ones.
        """
        if not shots:
            return self
        ids = few_shot_ids(self.train, shots, seed=0)
        return replace(self, train=self.train.subset(ids))

    def cached(self, split: str, size: int, processes: int, report: Report) -> CachedDataset:
        """A split at the network's input size, decoded once and kept (see doamlib.data.cache)."""
        dataset = self.train if split == "train" else self.test

        def progress(done: int, total: int) -> None:
            if done == total or done % 1024 == 0:
                report(f"decoding {split} images at {size} px: {done} of {total}")

        folder = paths.datasets() / "cache"
        return open_cache(dataset, size, folder, workers=processes, progress=progress)


def open_data(
    config: DataConfig, data_root: str | None = None, processes: int = 1, report: Report = print
) -> Data:
    """The data of a configuration; generated data are made first where they are missing.

    Real data are judged as the doctor judges them. Decoding every image, the slow part of that, is
    done once for the same image files.

    Args:
        config: what data.
        data_root: folder of a real dataset.
        processes: processes that generate images.
        report: gets progress lines, and one line of counts: images, boxes, what was dropped,
            clipped or is suspicious.

    Raises:
        doamlib.data.faults.DataError: the data have an error; the message names file, line and fix.
    """
    if config.simulation is None:
        return _judged(config, paths.at_home(data_root), report)
    root = simulated(config.simulation, processes, report)
    train, test = (read_opixray(root, split) for split in TRAINED_ON)
    report(counts_line((train, test), (*train.faults, *test.faults)))
    if config.objects == "harmless":
        train, test = harmless(train), harmless(test)
    return Data(train, test, config.simulation.fingerprint)


def _judged(config: DataConfig, root: Path, report: Report) -> Data:
    datasets = list(read_splits(root, config.dataset, config.class_names))
    faults = [fault for dataset in datasets for fault in dataset.faults] + judge(datasets)
    if refused := first_error(faults, root):
        raise refused
    for dataset in datasets:
        _decode_once(dataset, root, report)
    report(counts_line(datasets, faults))
    train, test, *_ = datasets
    return Data(train, test, digest_of([train.fingerprint, test.fingerprint]))


def _decode_once(dataset: Dataset, root: Path, report: Report) -> None:
    """Decode all images of a split; where that went well it is noted, and not done again."""
    note = paths.datasets() / "decoded" / dataset.images_fingerprint
    if note.exists():
        return
    report(f"decoding {len(dataset):,} {dataset.split} images once, to see whether all are whole")
    if refused := first_error(undecodable(dataset), root):
        raise refused
    with suppress(OSError):  # a home that may only be read: the next call decodes again
        write_text(note, f"{len(dataset)} images of {root}\n")


def simulated_at(config: SimulationConfig) -> Path:
    """The folder that a generated dataset has or will have."""
    return paths.datasets() / f"simulation-{config.fingerprint}"


def drawn_first(config: DataConfig) -> str:
    """What is said of generated images that are not there yet, behind the time that runs take."""
    simulation = config.simulation
    if simulation is None or is_complete(simulated_at(simulation), simulation):
        return ""
    number = simulation.train_images + simulation.test_images
    return f", once {counted(number, 'image')} are drawn"


def simulated(
    config: SimulationConfig, processes: int = 1, report: Report = print, draw: Draw | None = None
) -> Path:
    """The folder of a generated dataset; two processes that want the same one make it once.

    See :func:`doamlib.simulation.generate` for ``draw``.
    """
    root = simulated_at(config)
    if is_complete(root, config):
        return root  # without a lock: the folder may be one that can only be read
    paths.writable(root.parent)
    with FileLock(root.with_suffix(".lock")):
        return generate(config, root, processes=processes, report=report, draw=draw)


def harmless(dataset: Dataset) -> Dataset:
    """The same images, with the boxes of HARMLESS objects in place of the annotated items."""
    sidecar = read_sidecar(dataset.root, dataset.split)
    records = []
    for record in dataset.records:
        found = [o for o in sidecar[record.image_id].harmless if o.name in HARMLESS]
        boxes = torch.tensor([o.box for o in found], dtype=torch.float32).reshape(-1, 4)
        labels = torch.tensor([HARMLESS.index(o.name) + 1 for o in found], dtype=torch.int64)
        records.append(replace(record, boxes=boxes, labels=labels, level=None))
    return replace(dataset, classes=HARMLESS, records=tuple(records))
