"""How much a quick detector differs from seed to seed: python scripts/measure_spread.py [YOLOv3]

Trains the plain SSD with seeds 0 to 14, another plain detector with 0 to 4, and writes mAP, in all
and by occlusion level, to ``book/measurements/ssd_spread.json`` and its like. Two questions of the
SSD: does the mean stand five standard deviations above zero, and does it fall from OL1 to OL3, the
gate of the generator's levels (95% interval of the paired difference)? Seeds 0 to 4 had been seen
when the second was written down in this form: their means fell from OL1 to OL2 and not from there
to OL3, which five seeds and few OL3 images cannot settle. Seeds 5 to 14 had not. That was with an
earlier warm start, of fewer images and steps (``ssd_spread_before.json``); the questions are the
same since.
"""

from __future__ import annotations

import argparse
import json

import numpy as np

from doamlib.core import paths
from doamlib.core.files import write_text
from doamlib.core.provenance import record
from doamlib.evaluation import statistics
from doamlib.experiments.parameters import from_file
from doamlib.experiments.study import Study

SEEDS = {"SSD": 15, "YOLOv3": 5, "FCOS": 5}
LEVELS = ("OL1", "OL2", "OL3")


def main(arguments: list[str] | None = None) -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("arm", nargs="?", default="SSD", choices=list(SEEDS))
    arm = asked.parse_args(arguments).arm
    seeds = tuple(range(SEEDS[arm]))
    parameters = from_file(paths.repository() / "params" / "quick.yaml")
    parameters = parameters.model_copy(update={"arms": (arm,), "seeds": seeds})
    study = Study(parameters)
    results = list(study.results().values())
    maps = np.array([result.ap() for result in results])
    levels = {
        level: [100 * result.metrics["levels"][level]["mAP"] for result in results]
        for level in LEVELS
    }
    fall = statistics.summarise(np.subtract(levels["OL1"], levels["OL3"]).tolist())
    found = {
        "arm": arm,
        "seeds": seeds,
        "data": study.fingerprint,
        "commits": sorted({result.provenance["commit"] for result in results}),
        "mAP": maps.round(3).tolist(),
        "mean": maps.mean(),
        "sd": maps.std(ddof=1),
        "levels": {level: np.round(values, 3).tolist() for level, values in levels.items()},
        "fall_from_OL1_to_OL3": fall.model_dump(),
        "provenance": record(study.device),
    }
    text = json.dumps(found, indent=1) + "\n"
    write_text(paths.measurements() / f"{arm.lower()}_spread.json", text)
    print(text)


if __name__ == "__main__":
    main()
