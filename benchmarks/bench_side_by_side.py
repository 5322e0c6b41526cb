"""One run on all cores, or a run a core: python benchmarks/bench_side_by_side.py --out FILE.

Seconds that a training image takes (forward, backward, optimiser step; batches in memory) when one
process uses every core, and when each core has a process of its own; then divided by the number of
processes. The median of the rounds, both ways taken in turn in every round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from doamlib.core.files import write_text
from doamlib.core.memory import reuse_freed_memory
from doamlib.core.provenance import record
from doamlib.core.workers import worker_processes
from doamlib.experiments.arms import ARMS
from doamlib.experiments.parameters import from_file
from doamlib.experiments.results import RunConfig
from doamlib.experiments.study import run_config
from doamlib.models.detector import build_detector
from doamlib.training import make_optimizer

STEPS, WARM_STEPS = 60, 10


def seconds_per_image(config: RunConfig) -> float:
    """Training steps on random pixels with one box each, in this process."""
    torch.use_deterministic_algorithms(True)
    reuse_freed_memory()
    detector = build_detector(config.detector, seed=0).train()
    optimizer = make_optimizer(detector, config.training)
    size, batch = detector.image_size, config.training.batch_size
    images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8)
    corners = torch.tensor([[size / 4, size / 4, size / 2, size / 2]])
    targets = [{"boxes": corners, "labels": torch.ones(1, dtype=torch.int64)}] * batch
    for step in range(WARM_STEPS + STEPS):
        if step == WARM_STEPS:
            start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        sum(detector(images, targets).values()).backward()
        optimizer.step()
    return (time.perf_counter() - start) / (STEPS * batch)


def one_round(config: RunConfig, cores: int) -> dict[str, float]:
    """Both ways, each in fresh processes."""
    with worker_processes(1, torch.set_num_threads, cores) as pool:
        alone = pool.submit(seconds_per_image, config).result()
    with worker_processes(cores, torch.set_num_threads, 1) as pool:
        beside = [pool.submit(seconds_per_image, config) for _ in range(cores)]
        beside = statistics.mean(one.result() for one in beside) / cores
    return {"all_cores": alone, "a_core_each": beside}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("-f", "--file", default="params/quick.yaml")
    arguments.add_argument("--arms", nargs="*", default=["SSD", "SSD+DOAM-T", "FCOS+DOAM-T"])
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--out", type=Path)
    options = arguments.parse_args()
    provenance = record(torch.device("cpu"))
    parameters, cores = from_file(options.file), provenance["hardware"]["cores"]
    found = {"parameters": options.file, "cores": cores, "arms": {}}
    for arm in options.arms:
        config = run_config(parameters, ARMS[arm], seed=0)
        rounds = [one_round(config, cores) for _ in range(options.rounds)]
        ways = {way: statistics.median(r[way] for r in rounds) for way in rounds[0]}
        ratio = statistics.median(r["a_core_each"] / r["all_cores"] for r in rounds)
        found["arms"][arm] = ways | {"ratio": ratio, "rounds": rounds}
        print(arm, json.dumps(found["arms"][arm], indent=1), flush=True)
    found["provenance"] = provenance
    if options.out:
        write_text(options.out, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
