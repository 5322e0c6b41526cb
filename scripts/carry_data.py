"""Carry a generated dataset to a machine where generating it would take the GPU's time.

    python scripts/carry_data.py pack FILE OUT [--mib 40]   here: OUT/data.0, data.1, ...
    python scripts/carry_data.py unpack FOLDER HOME         there: HOME/datasets

Of the images no pixels travel: a header with the true size stands for each. That suffices, because
the manifest vouches for generated images, readers take only sizes from them, and training reads the
two caches, which come back bit for bit. Whatever decodes an image itself (a page's picture, another
``image_size``) fails there. ``unpack`` imports nothing but numpy and Pillow.

All parts hold together: the plan's length (8 bytes); the plan, JSON in xz with all small files; and
strips, which are images of a cache on top of each other as lossless WebP.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import lzma
import shutil
import struct
import sys
from collections.abc import Iterator
from functools import cache, partial
from multiprocessing import Pool, get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HEAD = struct.Struct("<32sII32s")
"""Of a part: SHA-256 of its rest, its number, parts in all, SHA-256 of what all hold together."""

STRIP, TALLEST = 16, 16383  # images (2.5 % smaller than alone); pixels that a WebP has at most
WEBP = {"lossless": True, "method": 4, "quality": 75}  # 6, 100: 1 % smaller in 20 times the time


def pack(file: Path, out: Path, mib: float) -> None:
    """Write the parts; data and caches are made first where they are missing."""
    root, folders, processes = made(file)
    plan, strips = planned(root, folders), []
    with get_context("spawn").Pool(processes) as pool:  # torch is loaded and has threads
        for folder in folders:
            images = np.load(folder / "images.npy", mmap_mode="r")
            step, digest = min(STRIP, TALLEST // images.shape[2]), hashlib.sha256(images)
            starts = range(0, len(images), step)
            new = pool.starmap(encoded, [(folder / "images.npy", at, step) for at in starts])
            told = {"key": folder.name, "shape": images.shape, "sha256": digest.hexdigest()}
            plan["caches"].append(told | {"step": step, "lengths": [*map(len, new)]})
            strips += new
    head = lzma.compress(json.dumps(plan).encode())
    whole = b"".join((struct.pack("<Q", len(head)), head, *strips))
    count = write_parts(whole, out, int(mib * 2**20))
    print(f"{out}: {len(whole) / 2**20:.1f} MiB in {count} parts")


def made(file: Path) -> tuple[Path, list[Path], int]:
    """Folders of the dataset and of its two caches, and how many processes the file grants."""
    from doamlib.core.report import Refusal
    from doamlib.experiments.parameters import from_file
    from doamlib.experiments.study import Study

    try:
        parameters = from_file(file)
        if parameters.dataset != "simulation":
            sys.exit(f"{file}: only generated data travel without pixels; copy data_root instead")
        study, size = Study(parameters), parameters.image_size
        caches = [study.data.cached(s, size, study.processes, print) for s in ("train", "test")]
    except Refusal as refused:
        sys.exit(str(refused))
    return study.data.train.root, [found._folder for found in caches], study.processes


def planned(root: Path, folders: list[Path]) -> dict[str, Any]:
    """Small files as they are, byte for character, and sizes of images; of caches nothing yet."""
    files, sizes = {}, {}
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        name = f"dataset/{path.relative_to(root).as_posix()}"
        if path.suffix == ".jpg":
            with Image.open(path) as image:
                sizes[name] = image.size
        elif path.name != ".lock":
            files[name] = path.read_bytes().decode("latin-1")
    for path in (folder / name for folder in folders for name in ("done.npy", "index.json")):
        files[f"{path.parent.name}/{path.name}"] = path.read_bytes().decode("latin-1")
    return {"name": root.name, "files": files, "sizes": sizes, "caches": []}


def encoded(path: Path, first: int, count: int) -> bytes:
    """A strip of a cache; what would not come back bit for bit is never packed."""
    images = np.load(path, mmap_mode="r")[first : first + count]
    tall = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).reshape(-1, images.shape[3], 3)
    out = io.BytesIO()
    Image.fromarray(tall).save(out, "WEBP", **WEBP)
    if not np.array_equal(decoded(out.getvalue(), len(images)), images):
        raise ValueError(f"{path}: images from {first} on change in WebP; try another Pillow")
    return out.getvalue()


def decoded(strip: bytes, count: int) -> np.ndarray:
    """The images of a strip: uint8 count,3,H,W."""
    tall = np.asarray(Image.open(io.BytesIO(strip), formats=["WEBP"]).convert("RGB"))
    return np.ascontiguousarray(tall.reshape(count, -1, tall.shape[1], 3).transpose(0, 3, 1, 2))


def write_parts(whole: bytes, out: Path, most: int) -> int:
    """Write parts of ``most`` bytes (or 1 KiB) at most, in place of those of an earlier packing."""
    room = max(most, 1024) - HEAD.size
    out.mkdir(parents=True, exist_ok=True)
    for earlier in out.glob("data.[0-9]*"):
        earlier.unlink()
    count, digest = -(-len(whole) // room), hashlib.sha256(whole).digest()
    for number in range(count):
        rest = HEAD.pack(b"", number, count, digest)[32:] + whole[number * room :][:room]
        (out / f"data.{number}").write_bytes(hashlib.sha256(rest).digest() + rest)
    return count


def read_parts(folder: Path) -> bytes:
    """What all parts hold together; a part that is missing or damaged is named."""
    pieces, common = [], [1]
    while len(pieces) < common[0]:
        path = folder / f"data.{len(pieces)}"
        if not path.is_file():
            sys.exit(f"{path} is missing: carry all parts that `pack` wrote into this folder")
        part = path.read_bytes().ljust(HEAD.size)
        digest, number, *others = HEAD.unpack_from(part)
        whole = hashlib.sha256(part[32:]).digest() == digest and number == len(pieces)
        if not whole or (pieces and others != common):
            fault = "belongs to another packing than data.0" if whole else "is damaged"
            sys.exit(f"{path} {fault}: carry it here again")
        common = others
        pieces.append(part[HEAD.size :])
    return b"".join(pieces)


def unpack(folder: Path, home: Path) -> None:
    """Write what is not there yet; folders get their names only when everything is verified."""
    whole = read_parts(folder)
    at = 8 + struct.unpack_from("<Q", whole)[0]
    plan = json.loads(lzma.decompress(whole[8:at]))
    root = home / "datasets" / plan["name"]
    staging = root.with_name(f"{root.name}.unpacking")
    if root.exists() and not (root / "manifest.json").is_file():
        sys.exit(f"{root} is unfinished: remove it, or have it generated to its end")
    keys = [told["key"] for told in plan["caches"]]
    places = {key: root.parent / "cache" / key for key in keys} | {"dataset": root}  # named last
    if all(place.exists() for place in places.values()):
        print(f"{root} and its caches are already there")
        return
    shutil.rmtree(staging, ignore_errors=True)
    write_small(plan, staging)
    with Pool() as pool:  # a process a core
        pool.starmap(write_strip, begun_caches(plan, staging, whole, at))
    for told in plan["caches"]:
        path = staging / told["key"] / "images.npy"
        if hashlib.sha256(np.load(path, mmap_mode="r")).hexdigest() != told["sha256"]:
            sys.exit(f"{path} is not what was packed: Pillow reads WebP otherwise here, generate")
    (root.parent / "cache").mkdir(exist_ok=True)
    for name, place in places.items():
        if not place.exists():
            (staging / name).rename(place)
    shutil.rmtree(staging)
    print(f"{root} and its caches are there, bit for bit")


def write_small(plan: dict[str, Any], staging: Path) -> None:
    """Stubs of images and small files; the manifest, which vouches for the others, last."""
    files = {name: stub(*size) for name, size in plan["sizes"].items()}
    files |= {name: text.encode("latin-1") for name, text in plan["files"].items()}
    for name in sorted(files, key="dataset/manifest.json".__eq__):
        (staging / name).parent.mkdir(parents=True, exist_ok=True)
        (staging / name).write_bytes(files[name])


@cache
def stub(width: int, height: int) -> bytes:
    """A JPEG of this size, cut before its pixels."""
    out = io.BytesIO()
    Image.new("RGB", (width, height)).save(out, "JPEG", quality=1)
    data = out.getvalue()
    return data[: data.rindex(b"\xff\xda") + 14]  # start of scan; among pixels no such bytes occur


def begun_caches(plan: dict[str, Any], staging: Path, whole: bytes, at: int) -> Iterator[tuple]:
    """Arguments of `write_strip` for all strips, the first of which is at ``at``."""
    for told in plan["caches"]:
        path, step = staging / told["key"] / "images.npy", told["step"]
        images = np.lib.format.open_memmap(path, "w+", np.uint8, tuple(told["shape"]))
        for number, length in enumerate(told["lengths"]):
            before, strip = images[: number * step], images[number * step :][:step]
            yield path, images.offset + before.nbytes, whole[at : at + length], len(strip)
            at += length


def write_strip(path: Path, offset: int, strip: bytes, count: int) -> None:
    """Not through a map of the file: on a full disk that would kill the process."""
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(decoded(strip, count).tobytes())


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("step", choices=("pack", "unpack"))
    arguments.add_argument("paths", type=Path, nargs=2, help="FILE OUT, or FOLDER HOME")
    arguments.add_argument("--mib", type=float, default=40, help="that a part has at most")
    given = arguments.parse_args()
    try:
        {"pack": partial(pack, mib=given.mib), "unpack": unpack}[given.step](*given.paths)
    except (OSError, ValueError) as failed:
        sys.exit(f"carry_data: {failed}")


if __name__ == "__main__":
    main()
