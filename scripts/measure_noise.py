"""What do a weight's last digits decide: python scripts/measure_noise.py

Trains the quick profile's SSD with seed 0 several times; each time every starting weight is off by
about a millionth of itself. Same images, same order: what differs at the end is rounding, magnified
step by step. Written to ``book/measurements/noise.json``: each run's mAP with the weights averaged
over the last steps, as all runs of this book are scored, and with those of the last step alone,
which says what the averaging takes away.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from doamlib.core import paths
from doamlib.core.determinism import reproducible
from doamlib.core.files import write_text
from doamlib.core.provenance import record
from doamlib.experiments.parameters import from_file
from doamlib.experiments.study import Study
from doamlib.experiments.train_run import train_run

DRAWS = 8
RELATIVE = 1e-6


def main() -> None:
    study = Study(from_file(paths.repository() / "params" / "quick.yaml"))
    config = study.config("SSD", seed=0)
    start = load_file(study.store.starting_weights(config.warm_run()))
    scores: dict[str, list[float]] = {"averaged": [], "last_step": []}
    with tempfile.TemporaryDirectory() as name, reproducible(study.device):
        for draw in range(DRAWS):
            folder = Path(name) / str(draw)
            folder.mkdir()
            save_file(nudged(start, draw), folder / "start.safetensors")
            made, _ = train_run(
                config, study.data, study.device, folder, folder / "start.safetensors"
            )
            metrics, history = (
                json.loads((made / f"{part}.json").read_text()) for part in ("metrics", "history")
            )
            scores["averaged"].append(round(100 * metrics["AP"]["mAP"], 3))
            scores["last_step"].append(round(100 * history["epochs"][-1]["test_mAP"], 3))
    found = {
        "relative": RELATIVE,
        "mAP": scores,
        "sd": {name: statistics.stdev(values) for name, values in scores.items()},
        "data": study.fingerprint,
        "provenance": record(study.device),
    }
    write_text(paths.measurements() / "noise.json", json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def nudged(weights: dict[str, torch.Tensor], seed: int) -> dict[str, torch.Tensor]:
    """The weights, each off by a relative error drawn from a normal distribution."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: value * (1 + RELATIVE * torch.randn(value.shape, generator=generator))
        if value.is_floating_point()
        else value
        for name, value in weights.items()
    }


if __name__ == "__main__":
    main()
