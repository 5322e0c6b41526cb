"""How many images a second come from plain decoding, and how many from the cache.

Beside the rate at which a detector trains (``bench_training.py``) these say whether loading holds
training back.

python benchmarks/bench_loading.py                    # generated pictures of OPIXray's size
python benchmarks/bench_loading.py --root DATASET     # the images of a dataset in its layout
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from doamlib.core.files import write_text
from doamlib.core.provenance import record
from doamlib.data.cache import open_cache
from doamlib.data.images import resize
from doamlib.data.opixray import read_opixray


def write_pictures(root: Path, count: int) -> None:
    """JPEGs of 1225 x 954 pixels: white above and below, busy between, as a conveyor belt is."""
    for kind in ("image", "annotation"):
        (root / f"train/train_{kind}").mkdir(parents=True)
    stems = [f"{index:06d}" for index in range(count)]
    for index, stem in enumerate(stems):
        rng = np.random.default_rng(index)
        picture = np.full((954, 1225, 3), 255, dtype=np.uint8)
        coarse = rng.integers(60, 256, (40, 100, 3), dtype=np.uint8)
        fine = rng.integers(-8, 9, (500, 1225, 1))
        belt = cv2.resize(coarse, (1225, 500), interpolation=cv2.INTER_CUBIC) + fine
        picture[230:730] = belt.clip(0, 255)
        cv2.imwrite(str(root / f"train/train_image/{stem}.jpg"), picture)
        row = f"{stem}.jpg Scissor 600 400 690 500\n"
        (root / f"train/train_annotation/{stem}.txt").write_text(row)
    (root / "train/train_knife.txt").write_text("\n".join(stems))


def rate(images: int, work: Callable[[], object]) -> float:
    """Images a second."""
    start = time.perf_counter()
    work()
    return images / (time.perf_counter() - start)


def measure(root: Path, folder: Path, size: int, batch: int, workers: int) -> dict[str, float]:
    read = time.perf_counter()
    dataset = read_opixray(root, "train")
    read = time.perf_counter() - read
    count = len(dataset)
    some = range(min(count, 100))
    rates = {
        "read index": count / read,
        "hash files": rate(count, lambda: dataset.images_fingerprint),
        "decode and resize": rate(
            len(some), lambda: [resize(dataset[i].image, size) for i in some]
        ),
        "build cache": rate(count, lambda: open_cache(dataset, size, folder, workers=workers)),
    }
    cached = open_cache(dataset, size, folder)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0)).split(batch)
    for pages in ("batch, first pass", "batch, second pass"):
        rates[pages] = rate(count, lambda: [cached.batch(indices) for indices in order])
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, help="a dataset; default: generated pictures")
    parser.add_argument("--images", type=int, default=400, help="how many to generate")
    parser.add_argument("--size", type=int, default=300, help="side of the network input")
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--workers", type=int, default=2, help="threads that build the cache")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = options.root or Path(temporary, "pictures")
        if options.root is None:
            write_pictures(root, options.images)
        cache = Path(temporary, "cache")
        rates = measure(root, cache, options.size, options.batch, options.workers)
    found = {
        "images_per_second": rates,
        "images": options.images,
        "size": options.size,
        "batch": options.batch,
        "workers": options.workers,
        "pictures": "a dataset" if options.root else "generated, 1225 x 954",
        "provenance": record(torch.device("cpu")),
    }
    print(json.dumps({what: round(value) for what, value in rates.items()}, indent=1))
    if options.out:
        write_text(options.out, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
