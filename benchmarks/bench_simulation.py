"""Images a second and core, by field of view: all steps, in processor time (not wall time).

python benchmarks/bench_simulation.py --out book/measurements/generation_cpu.json
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import cv2
import torch

from doamlib.core.files import write_text
from doamlib.core.memory import reuse_freed_memory
from doamlib.core.provenance import record
from doamlib.simulation import SimulationConfig
from doamlib.simulation.config import GENERATOR_VERSION
from doamlib.simulation.scenes.image import make_image
from doamlib.simulation.scenes.quotas import plan_images

BEFORE = {"1225 x 954": 3.1, "300 x 300": 18.5}
"""Images a second and core of the throw-away prototype, by size of the image, as its notes say."""


def rate(config: SimulationConfig) -> float:
    """Images a second of one core's processor time, encoding included."""
    plans = plan_images(config)
    make_image(config, plans[0])
    start = time.process_time()
    for plan in plans:
        pixels, made = make_image(config, plan)
        quality = made["display"]["jpeg_quality"]
        cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return len(plans) / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    reuse_freed_memory()
    rates = {}
    for view in (1.0, 0.5, 0.3, 0.25):
        config = SimulationConfig(
            train_images=options.images, test_images=0, seed=5, field_of_view=view
        )
        rates[str(view)] = rate(config)
        print(f"field of view {view}: {rates[str(view)]:.1f} images a second and core", flush=True)
    found = {
        "images_per_second_and_core": rates,
        "prototype": BEFORE,
        "generator_version": GENERATOR_VERSION,
        "images": options.images,
        "provenance": record(torch.device("cpu")),
    }
    if options.out:
        write_text(options.out, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
