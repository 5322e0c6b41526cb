"""The index of a dataset in memory: what every reader gives, whatever the format on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from doamlib.config import digest_of
from doamlib.data.faults import Fault, error
from doamlib.data.files import Folder
from doamlib.data.images import decode
from doamlib.data.sample import Annotation, Sample

MANIFEST = "manifest.json"
"""What the generator leaves in its root: among other things the ``fingerprint`` of its images."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split: records in the order of the split list; pixels are decoded on access only.

    Attributes:
        root: the folder that all paths are relative to.
        split: ``train`` or ``test`` (COCO: any name).
        classes: names; ``classes[i - 1]`` is what label i means.
        records: one a image.
        sources: the files that say what the split holds (lists, or the JSON file), below ``root``.
        faults: what was met while reading (warnings and notes; errors too where the reader was
            asked to go on behind them).
    """

    root: Path
    split: str
    classes: tuple[str, ...]
    records: tuple[Annotation, ...]
    sources: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        """The sample at ``index`` at its original size.

        Raises:
            DataError: the image cannot be decoded; the message names the file.
        """
        record = self.records[index]
        image = decode(Folder(self.root).file(record.path), record.path)
        if image.shape[1:] != (record.height, record.width):
            message = f"is no longer {record.width} x {record.height} pixels"
            raise error("image-changed", message, record.path, fix="read the dataset again")
        return Sample(image, record.boxes, record.labels, record.image_id, record.level)

    @cached_property
    def image_ids(self) -> tuple[str, ...]:
        """The ids of all images, in order."""
        return tuple(record.image_id for record in self.records)

    def subset(self, image_ids: Iterable[str], split: str | None = None) -> Dataset:
        """The records of these images, in the order given.

        Raises:
            DataError: an id is not in this dataset.
        """
        by_id = {record.image_id: record for record in self.records}
        wanted = tuple(image_ids)
        for image_id in wanted:
            if image_id not in by_id:
                raise error("unknown-image", f"no image {image_id!r} in split {self.split}", ".")
        records = tuple(by_id[image_id] for image_id in wanted)
        return Dataset(self.root, split or self.split, self.classes, records)

    @cached_property
    def image_hashes(self) -> dict[str, str]:
        """SHA-256 of every image file, by image id. Reads them all.

        Raises:
            DataError: an image is gone.
        """
        folder = Folder(self.root)
        return {record.image_id: folder.sha256(record.path) for record in self.records}

    @cached_property
    def images_fingerprint(self) -> str:
        """Sixteen hex digits that name the images, in any order.

        For generated data the manifest vouches for the images, so that none has to be read.

        Raises:
            DataError: an image is gone, or the manifest is broken.
        """
        if (manifest := manifest_fingerprint(self.root)) is not None:
            return digest_of([manifest, sorted(record.path for record in self.records)])
        return digest_of(sorted(self.image_hashes.items()))

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits that name images, annotations and classes, whatever their order.

        Raises:
            DataError: as :attr:`images_fingerprint`.
        """
        digest = hashlib.sha256(f"{self.images_fingerprint} {self.classes}".encode())
        for record in sorted(self.records, key=lambda record: record.image_id):
            items = (record.boxes.tolist(), record.labels.tolist(), record.level)
            digest.update(f"\n{record.image_id} {items}".encode())
        return digest.hexdigest()[:16]


def manifest_fingerprint(root: Path | str) -> str | None:
    """The ``fingerprint`` that a generated dataset's manifest gives; None without a manifest.

    Raises:
        DataError: there is a manifest, but it is not JSON or lacks a fingerprint.
    """
    folder = Folder(root)
    if not folder.exists(MANIFEST):
        return None
    fix = "generate the dataset again"
    try:
        return str(json.loads(folder.text(MANIFEST))["fingerprint"])
    except json.JSONDecodeError as bad:
        raise error("bad-json", f"is not JSON ({bad.msg})", MANIFEST, bad.lineno, fix) from None
    except (KeyError, TypeError):
        raise error("bad-manifest", "holds no fingerprint", MANIFEST, fix=fix) from None


def label_of(name: str, classes: Sequence[str], names: Mapping[str, str]) -> int:
    """The label of a class name as a file spells it.

    Args:
        name: the spelling in the file.
        classes: the dataset's classes; the first has label 1.
        names: their spelling -> ours, ``""`` for a class to leave out; others stay as they are.

    Returns:
        The label from 1, or 0 for a class to leave out.

    Raises:
        KeyError: the class is neither known, nor mapped, nor left out.
    """
    ours = names.get(name, name)
    if ours == "":
        return 0
    if ours not in classes:
        raise KeyError(ours)
    return classes.index(ours) + 1
