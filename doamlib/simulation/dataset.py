"""Write a dataset in OPIXray's layout, with a sidecar of what reality cannot give.

::

    <root>/train/train_image/000000.jpg   train/train_annotation/000000.txt   train/train_knife.txt
    <root>/test/test_image/...            test/test_annotation/...            test/test_knife.txt
    <root>/test/test_knife-1.txt ...-2.txt ...-3.txt                   stems by occlusion level
    <root>/sidecar/train.jsonl, test.jsonl                             one JSON object an image
    <root>/manifest.json                                               written last

An image is finished when its part in ``.unfinished/`` exists; the manifest replaces the parts. So
a killed run continues where it stopped and leaves nothing that looks finished.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
from filelock import FileLock

from doamlib.core.config import canonical_json
from doamlib.core.files import write_bytes
from doamlib.core.memory import reuse_freed_memory
from doamlib.core.report import Report
from doamlib.core.workers import worker_processes
from doamlib.data.dataset import MANIFEST, read_manifest
from doamlib.data.faults import DataError, error
from doamlib.data.folder import Folder
from doamlib.simulation.config import GENERATOR_VERSION, SimulationConfig
from doamlib.simulation.scenes.image import make_image
from doamlib.simulation.scenes.quotas import ImagePlan, plan_images

FORMAT = 1
UNFINISHED = ".unfinished"
REPORT_SECONDS = 5.0

Drawn = tuple[dict[str, bytes], dict[str, Any]]
"""What :func:`drawn` returns."""

Draw = Callable[[SimulationConfig, Sequence[ImagePlan]], Iterable[tuple[ImagePlan, Drawn]]]
"""Draws images elsewhere, in any order."""


def _write(root: Path, files: dict[str, bytes]) -> dict[str, str]:
    """Write files below the root; returns their SHA-256, in hexadecimal, by name."""
    for name, content in files.items():
        write_bytes(root / name, content)
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def _part_path(root: Path, plan: ImagePlan) -> Path:
    return root / UNFINISHED / f"{plan.stem}.json"


def drawn(config: SimulationConfig, plan: ImagePlan) -> Drawn:
    """One image: its files below the dataset's root, name -> content, and its sidecar's record."""
    pixels, record = make_image(config, plan)
    quality = [cv2.IMWRITE_JPEG_QUALITY, record["display"]["jpeg_quality"]]
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), quality)
    lines = [
        " ".join([f"{plan.stem}.jpg", item["class"], *map(str, item["box"])]) + "\n"
        for item in record["items"]
    ]
    folder = f"{plan.split}/{plan.split}"
    files = {
        f"{folder}_image/{plan.stem}.jpg": encoded.tobytes(),
        f"{folder}_annotation/{plan.stem}.txt": "".join(lines).encode(),
    }
    return files, record


def _store(root: Path, plan: ImagePlan, image: Drawn) -> None:
    """Write an image's files and, last, its part."""
    files, record = image
    part = canonical_json({"record": record, "files": _write(root, files)})
    write_bytes(_part_path(root, plan), part.encode())


def _produce(root: Path, config: SimulationConfig, plan: ImagePlan) -> None:
    _store(root, plan, drawn(config, plan))


def _begin_work() -> None:
    """OpenCV's threads only get in each other's way when every core has its own process."""
    cv2.setNumThreads(1)
    reuse_freed_memory()


def _run(
    root: Path, config: SimulationConfig, plans: Sequence[ImagePlan], processes: int
) -> Iterator[None]:
    """Produce images, yielding after each."""
    work = partial(_produce, root, config)
    if processes == 1:
        threads = cv2.getNumThreads()
        _begin_work()
        try:
            for plan in plans:
                yield work(plan)
        finally:
            cv2.setNumThreads(threads)
        return
    with worker_processes(processes, _begin_work) as pool:
        yield from pool.map(work, plans, chunksize=4)


def _is_finished(root: Path, plan: ImagePlan) -> bool:
    """Whether an earlier, interrupted run completed this image and its files are still intact."""
    try:
        files = json.loads(_part_path(root, plan).read_text())["files"]
        return files == {
            name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in files
        }
    except (OSError, ValueError, KeyError):
        return False


def _begin(root: Path, config: SimulationConfig) -> None:
    """Claim a folder for this dataset, or check that an interrupted run was of the same one.

    Raises:
        DataError: the folder holds something else.
    """
    claim = root / UNFINISHED / "fingerprint"
    if not claim.exists():
        others = sorted(p.name for p in root.iterdir() if p.name not in (UNFINISHED, ".lock"))
        if others:
            message = f"{root} holds other files ({others[0]} ...)"
            raise error("in-use", message, ".", fix="generate into an empty folder")
        write_bytes(claim, config.fingerprint.encode())
    elif claim.read_text() != config.fingerprint:
        message = (
            f"{root} holds an interrupted dataset of another configuration "
            f"({claim.read_text()}, wanted {config.fingerprint})"
        )
        raise error("in-use", message, ".", fix="choose another folder")


def is_complete(root: Path | str, config: SimulationConfig) -> bool:
    """Whether a finished dataset lies here. Writes nothing.

    Raises:
        DataError: it is another one, its manifest is broken, or files are missing.
    """
    root, again = Path(root), "delete the folder and generate it again"
    if not (root / MANIFEST).exists():
        return False
    try:
        stored = read_manifest(Folder(root))
    except DataError as broken:
        message = f"{root}: {broken.fault.message}"
        raise error(broken.fault.code, message, MANIFEST, fix=again) from None
    if stored.fingerprint != config.fingerprint:
        message = f"{root} holds dataset {stored.fingerprint}, wanted {config.fingerprint}"
        raise error("other-dataset", message, MANIFEST, fix="choose another folder")
    missing = [name for name in stored.files if not (root / name).exists()]
    if missing:
        message = f"{root}: {len(missing)} files are missing, first {missing[0]}"
        raise error("missing", message, MANIFEST, fix=again)
    return True


def _finish(root: Path, config: SimulationConfig, plans: Sequence[ImagePlan]) -> None:
    """Write lists, sidecar and, last, the manifest; then drop the parts."""
    digests: dict[str, str] = {}
    records: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    for plan in plans:
        part = json.loads(_part_path(root, plan).read_text())
        records[plan.split].append(part["record"])
        digests |= part["files"]
    files: dict[str, list[str]] = {}
    for split, ours in records.items():
        files[f"{split}/{split}_knife.txt"] = [r["image"] for r in ours]
        files[f"sidecar/{split}.jsonl"] = [canonical_json(r) for r in ours]
    for level in (1, 2, 3):
        stems = [r["image"] for r in records["test"] if r["level"] == level]
        files[f"test/test_knife-{level}.txt"] = stems
    texts = {name: "".join(f"{line}\n" for line in lines) for name, lines in files.items()}
    digests |= _write(root, {name: text.encode() for name, text in texts.items()})
    manifest = {
        "format": FORMAT,
        "generator_version": GENERATOR_VERSION,
        "config": config.model_dump(mode="json"),
        "fingerprint": config.fingerprint,
        "files": digests,
    }
    write_bytes(root / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True).encode())
    shutil.rmtree(root / UNFINISHED)


def _remaining(done: int, total: int, seconds: float) -> str:
    left = round(seconds / done * (total - done))
    return (
        f"simulation: {done} of {total} images, {done / seconds:.1f} a second, "
        f"{left // 60} min {left % 60} s left"
    )


def generate(
    config: SimulationConfig,
    root: Path,
    processes: int = 1,
    report: Report = print,
    draw: Draw | None = None,
) -> Path:
    """Generate a dataset, or finish one that was interrupted, or find it complete.

    Pixels depend on the configuration, the image's number and GENERATOR_VERSION only, not on the
    number of processes.

    Args:
        config: The dataset.
        root: Its folder; made if it is not there, otherwise empty or holding this very dataset.
        processes: Worker processes; 1 works in this process.
        report: Receives one line every few seconds.
        draw: Draws the images in place of ``processes``; they are only written here.

    Returns:
        ``root``.

    Raises:
        DataError: ``root`` holds something else.
        ValueError: ``processes`` is below 1.
    """
    if processes < 1:
        raise ValueError(f"processes is {processes}: at least 1 is needed")
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".lock"):
        if is_complete(root, config):
            shutil.rmtree(root / UNFINISHED, ignore_errors=True)
            return root
        _begin(root, config)
        plans = plan_images(config)
        left = [plan for plan in plans if not _is_finished(root, plan)]
        if len(left) < len(plans):
            report(f"simulation: continuing, {len(plans) - len(left)} of {len(plans)} images kept")
        start = last = time.monotonic()
        if draw is None:
            stored = _run(root, config, left, processes)
        else:
            stored = (_store(root, *one) for one in draw(config, left))
        for done, _ in enumerate(stored, start=1):
            if (now := time.monotonic()) - last > REPORT_SECONDS:
                last = now
                report(_remaining(done, len(left), now - start))
        _finish(root, config, plans)
        report(f"simulation: {len(plans)} images in {time.monotonic() - start:.0f} s, {root.name}")
    return root
