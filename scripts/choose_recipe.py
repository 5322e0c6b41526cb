"""Choose the reference recipe on a validation split: python scripts/choose_recipe.py

The rule, written before the first run: the plain SSD only; four fifths of the training images to
train on and one fifth to look at, drawn class by class; the test images are not opened. All
candidates make the same passes over the images from the same starting weights, so that they cost
the same. The one with the highest validation mAP wins, and every arm is trained with it. Each
candidate is scored twice, with the weights of its last step and with the mean of the weights of its
last tenth of steps; averaging is used if it is higher in most candidates.

The first grid had rates of 1e-3 and 2e-3 and batches of 16 and 32. At 1e-3 the larger batch was 9
mAP ahead, so both runs at 2e-3 were stopped in their third epoch, and the grid was moved to where
the noise of a step is smaller: a rate of 5e-4 and batches of 64. The rule stayed.

Written to ``book/measurements/recipe_choice.json``. The batch size and the averaging of
``params/reference.yaml`` are the winner's; the rate was chosen again by ``choose_schedule.py``.
What is stored was measured when the warm start saw 12,000 images; commit d928b1d gave it 32,000.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import product

from doamlib.core import paths
from doamlib.core.config import digest_of
from doamlib.core.files import write_text
from doamlib.core.provenance import record
from doamlib.data.splits import validation_split
from doamlib.experiments.arms import ARMS
from doamlib.experiments.data import Data
from doamlib.experiments.parallel import Task, Trainer
from doamlib.experiments.parameters import from_file
from doamlib.experiments.results import Result, RunConfig
from doamlib.experiments.study import Study, run_config
from doamlib.experiments.train_run import Limits

LEARNING_RATES = (5.0e-4, 1.0e-3)
BATCH_SIZES = (16, 32, 64)
SEED = 0
HELD_OUT = 0.2
AVERAGED = 0.1


def held_out(data: Data) -> Data:
    """The training split in two; its second part takes the place of the test images."""
    train, validation = validation_split(data.train, HELD_OUT, seed=0)
    return Data(
        train=data.train.subset(train),
        test=data.train.subset(validation),
        fingerprint=digest_of([data.fingerprint, "stratified validation", HELD_OUT]),
    )


def main() -> None:
    study = Study(from_file(paths.repository() / "params" / "reference.yaml"), flushed)
    data = held_out(study.data)
    configs = {}
    for rate, size in product(LEARNING_RATES, BATCH_SIZES):
        changes = {"learning_rate": rate, "batch_size": size, "average_last": AVERAGED}
        candidate = study.parameters.model_copy(update=changes)
        configs[rate, size] = run_config(candidate, ARMS["SSD"], SEED)
    train_all(study, data, configs)
    candidates = []
    for (rate, size), config in configs.items():
        scored = scores(study.store.find(config, data.fingerprint))
        candidates.append({"learning_rate": rate, "batch_size": size} | scored)
        print(candidates[-1])
    better = sum(c["mAP_averaged"] > c["mAP_last_step"] for c in candidates)
    score = "mAP_averaged" if better > len(candidates) / 2 else "mAP_last_step"
    chosen = max(candidates, key=lambda candidate: candidate[score])
    content = {
        "rule": "highest mAP of the plain SSD on held-out training images",
        "profile": study.parameters.profile,
        "data": study.fingerprint,
        "seed": SEED,
        "training_images": len(data.train),
        "validation_images": len(data.test),
        "epochs": study.parameters.epochs,
        "candidates": candidates,
        "averaging": {"share": AVERAGED, "better_in": better, "used": score == "mAP_averaged"},
        "chosen": chosen,
        "provenance": record(study.device),
    }
    target = paths.measurements() / "recipe_choice.json"
    write_text(target, json.dumps(content, indent=1) + "\n")
    print(f"chosen: {chosen}; wrote {target}")


def train_all(study: Study, data: Data, configs: Mapping[tuple, RunConfig]) -> None:
    """Train what the store lacks of these candidates, side by side."""
    tasks = [Task(f"{name}", config) for name, config in configs.items()]
    at_once = study.runs_at_once(len(tasks))
    trainer = Trainer(study.store, study.device, data, Limits(runs_at_once=at_once))
    trainer.train_all(tasks, flushed)


def scores(result: Result) -> dict:
    """What a candidate is judged by, and how it got there."""
    return {
        "mAP_averaged": round(result.ap(), 3),
        "mAP_last_step": round(100 * result.history.epochs[-1]["test_mAP"], 3),
        "by_epoch": [round(100 * epoch["test_mAP"], 2) for epoch in result.history.epochs],
        "seconds": result.provenance["training_seconds"],
        "commit": result.provenance["commit"],
    }


def flushed(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
