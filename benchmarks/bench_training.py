"""How much of training is not the network: python benchmarks/bench_training.py --out FILE.

Trains the plain SSD of a parameter file for a while through :class:`doamlib.training.Training`, and
then takes the same batches from memory in a bare loop of forward, backward and optimiser step, in
the same precision.
``loader_share`` is the share of the time in which training waited for images; ``rate_against_bare``
is the median over rounds of the ratio of both rates, each pair run in a row.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch

from doamlib.core.determinism import reproducible
from doamlib.core.files import write_text
from doamlib.core.memory import reuse_freed_memory
from doamlib.core.precision import chosen, forward_in
from doamlib.core.provenance import record
from doamlib.experiments.arms import ARMS
from doamlib.experiments.parameters import from_file
from doamlib.experiments.study import Study, run_config
from doamlib.models.detector import build_detector
from doamlib.training import Training, make_optimizer


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("-f", "--file", default="params/quick.yaml")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--out", type=Path)
    options = arguments.parse_args()
    reuse_freed_memory()
    study = Study(from_file(options.file))
    config = run_config(study.parameters, ARMS["SSD"], seed=0)
    config = config.model_copy(
        update={"training": config.training.model_copy(update={"epochs": 1})}
    )
    rounds = [one_round(study, config) for _ in range(options.rounds)]
    found = {
        "loader_share": statistics.median(r["loader_share"] for r in rounds),
        "rate_against_bare": statistics.median(r["trained"] / r["bare"] for r in rounds),
        "images_per_second": statistics.median(r["trained"] for r in rounds),
        "precision": chosen(config.training.precision, study.device),
        "rounds": rounds,
        "parameters": options.file,
        "provenance": record(study.device),
    }
    text = json.dumps(found, indent=1)
    print(text)
    if options.out:
        write_text(options.out, text + "\n")


def one_round(study: Study, config) -> dict[str, float]:
    """Images a second of an epoch through the training loop, and of a bare loop after it."""
    detector = build_detector(config.detector, seed=0)
    train = study.data.cached("train", detector.image_size, 1, study.report)
    with tempfile.TemporaryDirectory() as folder:
        where = (Path(folder), study.device)
        training = Training(detector, train, config.training, config.sampling, 0, *where)
        (epoch,) = training.run(lambda line: None).epochs
    return {
        "trained": epoch["images_per_second"],
        "loader_share": epoch["waited"] / epoch["seconds"],
        "bare": bare_rate(config, train),
    }


def bare_rate(config, train) -> float:
    """Images a second of forward, backward and step over batches that lie in memory."""
    detector = build_detector(config.detector, seed=0).train()
    optimizer = make_optimizer(detector, config.training)
    size = config.training.batch_size
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0)).tolist()
    batches = [train.batch(order[start : start + size]) for start in range(0, len(order), size)]
    start, device = time.perf_counter(), torch.device("cpu")
    with reproducible(device):
        for images, targets in batches:
            optimizer.zero_grad(set_to_none=True)
            with forward_in(config.training.precision, device):
                loss = sum(detector(images, targets).values())
            loss.backward()
            optimizer.step()
    return len(order) / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
