"""Which data a run is about, and how to get them: generated on demand, or read from disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from filelock import FileLock
from pydantic import Field, model_validator

from doamlib import paths
from doamlib.config import Config, digest_of
from doamlib.data.cache import CachedDataset, open_cache
from doamlib.data.coco import read_coco
from doamlib.data.dataset import Dataset
from doamlib.data.opixray import read_opixray
from doamlib.data.sidecar import read_sidecar
from doamlib.data.splits import few_shot_ids
from doamlib.simulation import SimulationConfig, generate

Report = Callable[[str], None]

HARMLESS = (
    *("phone", "tablet", "laptop", "hard_disk", "circuit_board", "power_bank", "charger", "camera"),
    *("bottle", "can", "book", "shoe", "wallet", "keys", "glasses", "umbrella", "belt", "watch"),
    *("ruler", "nail_file", "spatula", "comb", "spoon", "fork", "screwdriver", "spanner", "pen"),
    *("metal_bar", "tweezers", "rod_bundle"),
)
"""What a warm start is trained to find: fixed before any training, and never a cutter."""


class DataConfig(Config):
    """The identity of the data of a run: what they are, not where they lie."""

    dataset: Literal["simulation", "opixray", "coco"] = "simulation"
    simulation: SimulationConfig | None = Field(None, description="for generated data only")
    class_names: dict[str, str] = Field({}, description="spelling in the files -> class")
    objects: Literal["annotated", "harmless"] = Field(
        "annotated", description="harmless: the generator's HARMLESS objects in place of cutters"
    )

    shots: int = Field(0, ge=0, description="train on this many images a class only; 0: on all")

    @model_validator(mode="after")
    def _simulation_fits(self) -> DataConfig:
        if (self.simulation is None) == (self.dataset == "simulation"):
            raise ValueError("give simulation for dataset 'simulation', and for no other")
        if self.objects == "harmless" and self.simulation is None:
            raise ValueError("only generated data know their harmless objects")
        return self


@dataclass(frozen=True)
class Data:
    """An open dataset: its two splits at their original size, and its fingerprint."""

    train: Dataset
    test: Dataset
    fingerprint: str

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


def fingerprint(config: DataConfig, data_root: str | None) -> str:
    """Sixteen hex digits that name the data.

    For generated data they follow from the configuration and the generator's version, so that no
    image is needed to look up a result; for others all files are read.

    Raises:
        doamlib.data.faults.DataError: the data have an error.
    """
    if config.simulation is not None:
        return config.simulation.fingerprint
    return open_data(config, data_root).fingerprint


def open_data(
    config: DataConfig, data_root: str | None = None, processes: int = 1, report: Report = print
) -> Data:
    """The data of a configuration; generated data are made first where they are missing.

    Args:
        config: what data.
        data_root: folder of a real dataset.
        processes: processes that generate images.
        report: gets progress lines.

    Raises:
        doamlib.data.faults.DataError: the data have an error; the message names file, line and fix.
    """
    if config.simulation is None:
        root = Path(data_root).expanduser()
    else:
        root = simulated(config.simulation, processes, report)
    read = read_coco if config.dataset == "coco" else read_opixray
    train, test = (read(root, split, names=config.class_names) for split in ("train", "test"))
    if config.simulation is None:
        return Data(train, test, digest_of([train.fingerprint, test.fingerprint]))
    if config.objects == "harmless":
        train, test = harmless(train), harmless(test)
    return Data(train, test, config.simulation.fingerprint)


def simulated(config: SimulationConfig, processes: int = 1, report: Report = print) -> Path:
    """The folder of a generated dataset; two processes that want the same one make it once."""
    root = paths.datasets() / f"simulation-{config.fingerprint}"
    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(root.with_suffix(".lock")):
        return generate(config, root, processes=processes, report=report)


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
