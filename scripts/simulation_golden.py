"""Store coarse thumbnails (grids of mean colours) that a test compares the generator with."""

from __future__ import annotations

import json
from pathlib import Path

import cv2

from doamlib.core.files import write_text
from doamlib.simulation import GENERATOR_VERSION, SimulationConfig
from doamlib.simulation.scenes.image import make_image
from doamlib.simulation.scenes.quotas import plan_images

TARGET = Path(__file__).resolve().parents[1] / "tests/data/simulation/golden.json"
GRID = (8, 6)


def main() -> None:
    config = SimulationConfig(train_images=3, test_images=2, seed=11, field_of_view=0.4)
    images = {}
    for plan in plan_images(config):
        pixels, _ = make_image(config, plan)
        images[plan.stem] = cv2.resize(pixels, GRID, interpolation=cv2.INTER_AREA).tolist()
    stored = {
        "generator_version": GENERATOR_VERSION,
        "config": config.model_dump(mode="json"),
        "grid": GRID,
        "images": images,
    }
    write_text(TARGET, json.dumps(stored) + "\n")


if __name__ == "__main__":
    main()
