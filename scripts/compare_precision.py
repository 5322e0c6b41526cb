"""Does bfloat16 change what a run says: python scripts/compare_precision.py

Trains the quick profile's SSD and SSD+DOAM-T with five seeds in bfloat16 and in float32 and writes
both mAPs of each seed, and the paired differences, to ``book/measurements/precision_pairs.json``.
The question, written before the runs: does the 95% interval of the mean difference between formats
hold 0 for both arms, and is the gain of DOAM-T over SSD on the same side of 0, or open, in both?
"""

from __future__ import annotations

import json

import numpy as np

from doamlib.core import paths
from doamlib.core.files import write_text
from doamlib.core.provenance import record
from doamlib.evaluation import statistics
from doamlib.experiments.parameters import from_file
from doamlib.experiments.study import Study

SEEDS = tuple(range(5))
ARMS = ("SSD", "SSD+DOAM-T")
FORMATS = ("bfloat16", "float32")


def main() -> None:
    quick = from_file(paths.repository() / "params" / "quick.yaml")
    maps: dict[str, dict[str, list[float]]] = {}
    commits: set[str] = set()
    for precision in FORMATS:
        changes = {"arms": ARMS, "seeds": SEEDS, "precision": precision}
        study = Study(quick.model_copy(update=changes))
        results = study.results()
        commits |= {result.provenance["commit"] for result in results.values()}
        maps[precision] = {
            arm: [round(results[arm, seed].ap(), 3) for seed in SEEDS] for arm in ARMS
        }
    found = {
        "seeds": SEEDS,
        "mAP": maps,
        "bfloat16_minus_float32": {
            arm: paired(maps["bfloat16"][arm], maps["float32"][arm]) for arm in ARMS
        },
        "doam_t_minus_ssd": {
            precision: paired(maps[precision]["SSD+DOAM-T"], maps[precision]["SSD"])
            for precision in FORMATS
        },
        "data": study.fingerprint,
        "commits": sorted(commits),
        "provenance": record(study.device),
    }
    text = json.dumps(found, indent=1) + "\n"
    write_text(paths.measurements() / "precision_pairs.json", text)
    print(text)


def paired(one: list[float], other: list[float]) -> dict:
    """Mean and 95% interval of the difference, seed by seed."""
    return statistics.summarise(np.subtract(one, other).tolist()).model_dump()


if __name__ == "__main__":
    main()
