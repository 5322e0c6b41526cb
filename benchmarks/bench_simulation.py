"""Images a second and core, by field of view: all steps, in processor time (not wall time).

python benchmarks/bench_simulation.py [images]
"""

from __future__ import annotations

import sys
import time

import cv2

from doamlib.simulation import SimulationConfig
from doamlib.simulation.image import make_image
from doamlib.simulation.quotas import plan_images


def main(images: int = 60) -> None:
    cv2.setNumThreads(1)
    for field_of_view in (1.0, 0.5, 0.25):
        config = SimulationConfig(
            train_images=images, test_images=0, seed=5, field_of_view=field_of_view
        )
        plans = plan_images(config)
        make_image(config, plans[0])
        start = time.process_time()
        for plan in plans:
            pixels, record = make_image(config, plan)
            quality = record["display"]["jpeg_quality"]
            cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        rate = images / (time.process_time() - start)
        print(f"field of view {field_of_view}: {rate:.1f} images a second and core")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
