"""The index of a dataset in memory: what every reader gives, whatever the format on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pydantic import ConfigDict, Field, ValidationError

from doamlib.core.config import Config, digest_of
from doamlib.data.faults import Fault, error
from doamlib.data.folder import Folder
from doamlib.data.images import decode
from doamlib.data.sample import Annotation, Sample

MANIFEST = "manifest.json"
"""What the generator leaves in its root, last of all."""


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
        try:
            records = tuple(by_id[image_id] for image_id in image_ids)
        except KeyError as absent:
            message = f"no image {absent.args[0]!r} in split {self.split}"
            raise error("unknown-image", message, ".") from None
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

        For generated data the manifest vouches for the images, so that none has to be read; the
        doctor tells whether they are still what it says.

        Raises:
            DataError: an image is gone, or the manifest is broken.
        """
        if (made := read_manifest(Folder(self.root)).fingerprint) is not None:
            return digest_of([made, sorted(record.path for record in self.records)])
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


class Manifest(Config):
    """What the generator says of a dataset in its root; other keys are not read.

    Attributes:
        fingerprint: names the generator's version and configuration, and so the images; None for
            data that were not generated.
        files: SHA-256 of every file, by path below the root.
    """

    model_config = ConfigDict(extra="ignore")

    fingerprint: str | None
    files: dict[str, str] = Field({})


def read_manifest(folder: Folder) -> Manifest:
    """The manifest of generated data; an empty one for others.

    Raises:
        DataError: there is a manifest, but it does not say what it should.
    """
    if not folder.exists(MANIFEST):
        return Manifest(fingerprint=None)
    try:
        return Manifest.model_validate_json(folder.text(MANIFEST))
    except ValidationError as bad:
        message, fix = bad.errors()[0]["msg"], "generate the dataset again"
        raise error("bad-manifest", message, MANIFEST, fix=fix) from None
