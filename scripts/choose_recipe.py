"""Choose the quick profile's learning rate and batch size on a validation split.

    python scripts/choose_recipe.py

The rule, written before the first run: the plain SSD only; four fifths of the training images to
train on and one fifth to look at, drawn class by class; the test images are not opened. All
candidates make the same passes over the images, so that they cost a reader the same. The one with
the highest mean mAP over the seeds wins, and every arm is trained with it. Written to
``book/measurements/recipe_choice.json``; the parameter files take the winner's values.

It ran twice: from an earlier, shorter warm start with a fifth drawn without regard to class, and
from the present one as written above. Both came to the same recipe.
"""

from __future__ import annotations

import json
import math
import statistics
from itertools import product

from doamlib import paths
from doamlib.arms import ARMS
from doamlib.config import digest_of
from doamlib.data.files import write_text
from doamlib.data.splits import validation_split
from doamlib.datasets import Data
from doamlib.experiments import Study, run_config
from doamlib.parameters import from_file
from doamlib.provenance import record
from doamlib.side_by_side import Task, Trainer

LEARNING_RATES = (5.0e-4, 1.0e-3, 2.0e-3, 4.0e-3)
BATCH_SIZES = (8, 24)
SEEDS = (0, 1, 2)
HELD_OUT = 0.2


def held_out(data: Data) -> Data:
    """The training split in two; its second part takes the place of the test images."""
    train, validation = validation_split(data.train, HELD_OUT, seed=0)
    return Data(
        train=data.train.subset(train),
        test=data.train.subset(validation),
        fingerprint=digest_of([data.fingerprint, "stratified validation", HELD_OUT]),
    )


def main() -> None:
    study = Study(from_file(paths.repository() / "params" / "quick.yaml"))
    data = held_out(study.data)
    configs = {}
    for rate, size, seed in product(LEARNING_RATES, BATCH_SIZES, SEEDS):
        changes = {"learning_rate": rate, "batch_size": size}
        candidate = study.parameters.model_copy(update=changes)
        configs[rate, size, seed] = run_config(candidate, ARMS["SSD"], seed)
    tasks = [Task(f"{name}", config) for name, config in configs.items()]
    at_once = study.runs_at_once(len(tasks))
    trainer = Trainer(study.store, study.device, data, math.inf, at_once, processes=1)
    trainer.train_all(tasks, print)
    candidates, commits = [], set()
    for rate, size in product(LEARNING_RATES, BATCH_SIZES):
        found = [study.store.find(configs[rate, size, seed], data.fingerprint) for seed in SEEDS]
        commits |= {result.provenance["commit"] for result in found}
        maps = [round(result.ap(), 3) for result in found]
        mean = statistics.mean(maps)
        candidates.append({"learning_rate": rate, "batch_size": size, "maps": maps, "mean": mean})
        print(candidates[-1])
    chosen = max(candidates, key=lambda candidate: candidate["mean"])
    content = {
        "rule": "highest mean mAP of the plain SSD on held-out training images",
        "profile": "quick",
        "data": study.fingerprint,
        "commits": sorted(commits),
        "seeds": SEEDS,
        "training_images": len(data.train),
        "validation_images": len(data.test),
        "candidates": candidates,
        "chosen": chosen,
        "provenance": record(study.device),
    }
    target = paths.measurements() / "recipe_choice.json"
    write_text(target, json.dumps(content, indent=1) + "\n")
    print(f"chosen: {chosen}; wrote {target}")


if __name__ == "__main__":
    main()
