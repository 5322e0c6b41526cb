"""Images decoded and resized once: a memory-mapped array that all runs share."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from doamlib.core.config import digest_of
from doamlib.core.files import write_text
from doamlib.core.paths import writable
from doamlib.data.dataset import Dataset
from doamlib.data.faults import DataError, error
from doamlib.data.images import resize
from doamlib.data.sample import scale_boxes

VERSION = 1
"""Part of the key: raise it whenever the cached bytes would differ."""

SHARE_OF_DEVICE = 0.1
"""Of a GPU's free memory that images may take, so that there is room for runs beside this one."""

CHUNK = 128
"""Images between two points that a killed build can be taken up from."""

Progress = Callable[[int, int], None]
"""Called now and then with the images done and the images in all."""

Target = dict[str, Tensor]
"""``boxes`` float32 N,4 in pixels of the resized image, ``labels`` int64 N from 1."""


class CachedDataset:
    """A dataset at the network's input size. Made by :func:`open_cache`.

    Attributes:
        dataset: the records behind it, at their original size.
        size: side of the square images in pixels.
    """

    def __init__(self, dataset: Dataset, size: int, folder: Path) -> None:
        self.dataset = dataset
        self.size = size
        self._folder = folder
        self._images = np.load(folder / "images.npy", mmap_mode="r")
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        rows = {image_id: row for row, image_id in enumerate(index["image_ids"])}
        self._rows = np.array([rows[image_id] for image_id in dataset.image_ids], dtype=np.int64)
        self._boxes = [
            scale_boxes(record.boxes, (record.width, record.height), (size, size))
            for record in dataset.records
        ]
        self._resident: Tensor | None = None

    def resident(self, device: torch.device) -> CachedDataset:
        """Keep all images in the GPU's memory where they fit; `batch` then takes them from there.

        A disk's reader and a bus cannot limit training then. Without a GPU nothing changes.

        Returns:
            itself.
        """
        if device.type == "cuda" and self.fits(torch.cuda.mem_get_info(device)[0]):
            self._keep_on(device)
        return self

    def fits(self, free: int) -> bool:
        """Whether the images may be kept on a device with so many bytes free."""
        return len(self) * 3 * self.size**2 <= SHARE_OF_DEVICE * free

    def _keep_on(self, device: torch.device) -> None:
        self._resident = torch.from_numpy(self._images[self._rows]).to(device)

    def __len__(self) -> int:
        return len(self.dataset)

    def batch(self, indices: Sequence[int] | Tensor) -> tuple[Tensor, list[Target]]:
        """Images and targets, without decoding anything.

        Args:
            indices: positions in the dataset.

        Returns:
            uint8 tensor N,3,size,size (RGB, a copy), on the device of `resident` or else the CPU;
            and one target an image (copies too, on the CPU).
        """
        positions = np.asarray(indices, dtype=np.int64)
        if self._resident is None:
            images = torch.from_numpy(self._images[self._rows[positions]])
        else:
            images = self._resident[torch.from_numpy(positions).to(self._resident.device)]
        records = self.dataset.records
        targets = [
            {"boxes": self._boxes[i].clone(), "labels": records[i].labels.clone()}
            for i in positions.tolist()
        ]
        return images, targets

    def to_original(self, index: int, boxes: Tensor) -> Tensor:
        """Boxes (float tensor N,4) found in the cached image, in pixels of the original one."""
        record = self.dataset.records[index]
        return scale_boxes(boxes, (self.size, self.size), (record.width, record.height))

    def subset(self, image_ids: Iterable[str]) -> CachedDataset:
        """These images in the order given, from the same file.

        Raises:
            DataError: an id is not in this dataset.
        """
        return CachedDataset(self.dataset.subset(image_ids), self.size, self._folder)


def open_cache(
    dataset: Dataset,
    size: int,
    folder: Path | str,
    *,
    workers: int = 2,
    progress: Progress | None = None,
) -> CachedDataset:
    """The dataset at ``size``: from its cache, which is built first where there is none.

    The cache is named by what is in it (the images' fingerprint, size, resize method, version), so
    changed images can never meet an old cache, and changed annotations need no new one. Whoever
    comes while another process builds waits for it. A build that was killed is taken up again.

    For a subset, open the cache of the whole split and take :meth:`CachedDataset.subset` of it.

    Args:
        dataset: what a reader returned.
        size: side of the square images in pixels; the aspect ratio is not kept.
        folder: where caches lie; 8,885 images at 300 take 2.4 GB.
        workers: threads that decode (Pillow and torch release the interpreter lock).
        progress: see :data:`Progress`.

    Raises:
        DataError: there is no image, one cannot be decoded, or the disk is too full.
    """
    if not len(dataset):
        raise error("no-image", f"split {dataset.split} has no image", ".")
    content = dataset.images_fingerprint
    key = digest_of({"images": content, "size": size, "resize": "antialias", "version": VERSION})
    final = Path(folder, key)
    partial = final.with_suffix(".partial")
    if not final.is_dir():  # a finished cache needs no lock: its folder may be read-only
        writable(final.parent)
        with FileLock(final.with_suffix(".lock")):
            if not final.is_dir():  # another process may have built it while we waited
                _build(dataset, size, partial, workers, progress)
                partial.rename(final)
    return CachedDataset(dataset, size, final)


def _build(
    dataset: Dataset, size: int, partial: Path, workers: int, progress: Progress | None
) -> None:
    """Fill ``partial`` with ``images.npy`` and ``index.json``; rows in the order of the ids."""
    order = sorted(range(len(dataset)), key=lambda index: dataset.image_ids[index])
    if not (partial / "index.json").is_file():  # written last: without it nothing there is of use
        _start(dataset, size, partial, [dataset.image_ids[index] for index in order])
    images = np.lib.format.open_memmap(partial / "images.npy", mode="r+")
    done = np.lib.format.open_memmap(partial / "done.npy", mode="r+")

    def fill(row: int) -> None:
        images[row] = resize(dataset[order[row]].image, size).numpy()

    todo = np.flatnonzero(~done).tolist()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for start in range(0, len(todo), CHUNK):
                chunk = todo[start : start + CHUNK]
                list(pool.map(fill, chunk))
                images.flush()
                done[chunk] = True
                if progress is not None:
                    progress(int(done.sum()), len(order))
        except DataError:  # mending the image changes the key, so nobody would take this up
            shutil.rmtree(partial)
            raise


def _start(dataset: Dataset, size: int, partial: Path, image_ids: list[str]) -> None:
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    shape = (len(dataset), 3, size, size)
    needed, free = int(np.prod(shape)), shutil.disk_usage(partial).free
    if needed > free:  # writing to a mapped file on a full disk would kill the process
        message = f"the cache needs {needed:,} bytes in {partial.parent}, {free:,} are free"
        raise error("disk-full", message, ".", fix="make room or choose a smaller image size")
    np.lib.format.open_memmap(partial / "images.npy", "w+", np.uint8, shape).flush()
    np.lib.format.open_memmap(partial / "done.npy", "w+", np.bool_, shape[:1]).flush()
    write_text(partial / "index.json", json.dumps({"image_ids": image_ids}))
