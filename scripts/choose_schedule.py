"""Choose the reference recipe's schedule on a validation split: python scripts/choose_schedule.py

Why a second choice: ``choose_recipe.py`` asked for the highest mAP only. The rule of admission also
asks that a plain detector rises by less than one mAP in the last fifth of its steps. One trial run
(0.86) passed; the first seed of the reference runs did not (1.59), and the rises of its other arms
on SSD (``book/measurements/stopped_seed.json``) say that five seeds would not either. Before a
second seed was begun the programme was stopped and the recipe chosen again. The scores of that
seed's arms had been seen by then; they have no part in the choice.

The rule, written before the runs: the plain SSD only, on the split of ``choose_recipe.py``; three
seeds a candidate. A candidate is flat if its mean rise is under 0.7
mAP, which leaves room for the scatter of a mean over five seeds. Of the flat ones the one with the
highest mean mAP wins.

The candidates: the recipe as it was (a cosine from 5e-4), known to rise, one seed for comparison;
the same from 2.5e-4, since the choice had fallen on the smallest rate of its grid; and the rate of
5e-4 held for some of the steps and a tenth of it from there on, as SSD is usually trained. Held for
two thirds, a first run stood at 44.4 mAP and rose by 0.80, and the step was put earlier, to three
fifths, before its other seeds. By then the smaller cosine was five mAP behind in its one seed and
was left out; when the step had missed the limit by a hair, at 0.74, its other two seeds were run.
The limit and the rule stayed.

Written to ``book/measurements/schedule_choice.json``; ``params/reference.yaml`` takes the winner.
"""

from __future__ import annotations

import json

import numpy as np
from choose_recipe import flushed, held_out, train_all

from doamlib.claims.admission import late_rise
from doamlib.core import paths
from doamlib.core.files import write_text
from doamlib.core.provenance import record
from doamlib.experiments.arms import ARMS
from doamlib.experiments.parameters import from_file
from doamlib.experiments.study import Study, run_config

CANDIDATES = {
    ("cosine", 5.0e-4): (0,),
    ("cosine", 2.5e-4): (0, 1, 2),
    ("step", 5.0e-4): (0, 1, 2),
}
"""Schedule and rate -> seeds."""

FLAT = 0.7

RISE_OF_TRIAL = 0.86
"""Of the plain SSD on test images; copied from the trial's log, which is not kept."""


def main() -> None:
    study = Study(from_file(paths.repository() / "params" / "reference.yaml"), flushed)
    stopped = json.loads((paths.measurements() / "stopped_seed.json").read_text())["arms"]["SSD"]
    data = held_out(study.data)
    configs = {}
    for (schedule, rate), seeds in CANDIDATES.items():
        changes = {"schedule": schedule, "learning_rate": rate}
        candidate = study.parameters.model_copy(update=changes)
        for seed in seeds:
            configs[schedule, rate, seed] = run_config(candidate, ARMS["SSD"], seed)
    train_all(study, data, configs)
    candidates = []
    for (schedule, rate), seeds in CANDIDATES.items():
        runs = [study.store.find(configs[schedule, rate, s], data.fingerprint) for s in seeds]
        scores, rises = [run.ap() for run in runs], [late_rise(run) for run in runs]
        candidates.append(
            {
                "schedule": schedule,
                "learning_rate": rate,
                "seeds": seeds,
                "mAP": [round(score, 3) for score in scores],
                "rise": [round(rise, 3) for rise in rises],
                "mean_mAP": round(float(np.mean(scores)), 3),
                "mean_rise": round(float(np.mean(rises)), 3),
                "by_epoch": [
                    [round(100 * epoch["test_mAP"], 2) for epoch in run.history.epochs]
                    for run in runs
                ],
            }
        )
        print(candidates[-1])
    flat = [candidate for candidate in candidates if candidate["mean_rise"] < FLAT]
    chosen = max(flat, key=lambda candidate: candidate["mean_mAP"], default=None)
    content = {
        "rule": f"of those that rise by less than {FLAT} in the last fifth the highest mAP",
        "limit": FLAT,
        "stopped": {"rise_of_trial": RISE_OF_TRIAL, "rise_of_first_seed": stopped["rise"]},
        "data": study.fingerprint,
        "training_images": len(data.train),
        "validation_images": len(data.test),
        "candidates": candidates,
        "chosen": chosen,
        "provenance": record(study.device),
    }
    target = paths.measurements() / "schedule_choice.json"
    write_text(target, json.dumps(content, indent=1) + "\n")
    print(f"chosen: {chosen}; wrote {target}")


if __name__ == "__main__":
    main()
