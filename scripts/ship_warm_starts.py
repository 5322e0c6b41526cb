"""Commit the starting weights of a parameter file: python scripts/ship_warm_starts.py -f FILE.

Trains what is missing of the warm starts (harmless objects, never a cutter) and writes them to the
reference layer: float16, batch normalisation folded in, without the output layers that know the
harmless classes, with recipe, data fingerprint, scores and hash in ``recipes.json``.
"""

from __future__ import annotations

import argparse
import hashlib
import json

import torch
from safetensors.torch import load_file, save_file

from doamlib.core import paths
from doamlib.core.files import write_text
from doamlib.data.classes import CLASSES
from doamlib.experiments.arms import ARMS
from doamlib.experiments.data import open_data
from doamlib.experiments.parallel import Task, Trainer
from doamlib.experiments.parameters import from_file
from doamlib.experiments.results import Result, RunConfig, warm_name
from doamlib.experiments.study import Study, run_config
from doamlib.experiments.train_run import Limits
from doamlib.models.detector import build_detector
from doamlib.models.weights import fold_batch_norm

DETECTORS = ("SSD", "YOLOv3", "FCOS")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("-f", "--file", default="params/quick.yaml")
    arguments.add_argument("--only", nargs="*", default=DETECTORS)
    options = arguments.parse_args()
    parameters = from_file(options.file)
    study = Study(parameters, lambda line: print(line, flush=True))
    recipes_file = paths.warm_starts() / "recipes.json"
    recipes_file.parent.mkdir(parents=True, exist_ok=True)
    recipes = json.loads(recipes_file.read_text()) if recipes_file.is_file() else {}
    runs = {
        name: run_config(parameters, ARMS[name], parameters.seeds[0]).warm_run()
        for name in options.only
    }
    for name, result in trained(runs, study).items():
        recipes[warm_name(runs[name])] = ship(runs[name], result)
        write_text(recipes_file, json.dumps(recipes, indent=1) + "\n")


def trained(runs: dict[str, RunConfig], study: Study) -> dict[str, Result]:
    """Their results, side by side where the machine has the cores; all see the same images."""
    config = next(iter(runs.values())).data
    data = open_data(config, None, study.parameters.processes, study.report)
    missing = {n: run for n, run in runs.items() if not study.store.find(run, data.fingerprint)}
    at_once = study.runs_at_once(len(missing))
    trainer = Trainer(study.store, study.device, data, Limits(runs_at_once=at_once))
    tasks = [Task(f"{name}, harmless objects", run) for name, run in missing.items()]
    trainer.train_all(tasks, study.report)
    return {name: study.store.find(run, data.fingerprint) for name, run in runs.items()}


def ship(run: RunConfig, result: Result) -> dict:
    """Write the slimmed file; returns its entry in ``recipes.json``."""
    tensors = load_file(result.weights())
    shapes = plain_shapes(run)
    kept = {
        name: value.half() if value.ndim > 1 else value
        for name, value in fold_batch_norm(tensors, keep=shapes).items()
        if value.shape == shapes[name]
    }
    path = paths.warm_starts() / f"{warm_name(run)}.safetensors"
    save_file(kept, path, metadata={"config": run.detector.as_json()})
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, mAP {result.ap():.1f} on harmless")
    return {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "data": result.identity["fingerprint"],
        "recipe": run.model_dump(mode="json"),
        "AP": result.metrics["AP"],
        "provenance": result.provenance,
    }


def plain_shapes(run: RunConfig) -> dict[str, torch.Size]:
    """Shapes in the detector that will start from these weights: five classes, no folded norms."""
    config = run.detector.model_copy(update={"batch_norm": False, "num_classes": len(CLASSES)})
    state = build_detector(config, seed=0).state_dict()
    return {name: value.shape for name, value in state.items()}


if __name__ == "__main__":
    main()
