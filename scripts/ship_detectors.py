"""Commit trained detectors for ``doam detect``: python scripts/ship_detectors.py -f FILE --arms ...

Takes finished runs of a parameter file and writes their weights to the reference layer: float16,
with recipe, data fingerprint, scores, provenance and hash in ``recipes.json``. Nothing is trained:
``doam train -f FILE`` does that. Then seal the files: python scripts/seal.py.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from doamlib.experiments.detectors import DetectorError, ship
from doamlib.experiments.parameters import ParameterError, from_file
from doamlib.experiments.study import Study

ARMS = ("SSD", "SSD+DOAM-O", "FCOS")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("-f", "--file", default="params/reference.yaml")
    arguments.add_argument("--arms", nargs="+", default=ARMS)
    arguments.add_argument("--seed", type=int, help="the file's first by default")
    arguments.add_argument("--to", type=Path, help="a folder; the book's by default")
    options = arguments.parse_args()
    try:
        parameters = from_file(options.file, arms=list(options.arms))
        seed = parameters.seeds[0] if options.seed is None else options.seed
        study = Study(parameters.model_copy(update={"seeds": (seed,)}), report=print)
        runs = study.plan()
        if missing := [run.arm for run in runs if run.result is None]:
            sys.exit(f"seed {seed} of {', '.join(missing)} is not trained: doam train -f FILE")
        for run in runs:
            path = ship(run.result, options.to)
            print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, mAP {run.result.ap():.1f}")
    except (ParameterError, DetectorError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
