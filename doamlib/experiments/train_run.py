"""One run, from a configuration to a finished result: start, train, evaluate, look, write.

:func:`result_of` asks the store first, so that nothing is trained twice.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from doamlib.core import provenance
from doamlib.core.determinism import reproducible
from doamlib.core.files import write_bytes
from doamlib.core.memory import enough_memory, reuse_freed_memory
from doamlib.core.precision import chosen
from doamlib.core.report import Report
from doamlib.experiments.data import Data, open_data
from doamlib.experiments.estimate import too_large
from doamlib.experiments.results import Result, RunConfig, processor_of, warm_name
from doamlib.experiments.run_end import RunEnd
from doamlib.experiments.store import RunStore
from doamlib.models.config import DetectorConfig
from doamlib.models.detector import Detector, build_detector, load_weights, save_weights
from doamlib.training import History, Training


@dataclass(frozen=True)
class Limits:
    """What a machine gives to a run; no number of the result depends on it.

    Attributes:
        deadline: a :func:`time.monotonic` after which no epoch and no map is begun.
        processes: that decode images.
        runs_at_once: how many runs share the machine, for the provenance: times depend on it.
    """

    deadline: float = math.inf
    processes: int = 1
    runs_at_once: int = 1


def result_of(
    store: RunStore,
    config: RunConfig,
    data: Data,
    device: torch.device,
    report: Report = print,
    limits: Limits | None = None,
    start: Path | None = None,
) -> Result:
    """The local result of a run; trained now if it is missing, by one process at a time.

    Args:
        store: where it is looked for and put.
        config: the run.
        data: its data, open.
        device: where to train.
        report: gets progress lines.
        limits: of the machine.
        start: weights to start from; by default the store's, trained first where they are missing.

    Raises:
        doamlib.training.TrainingError: the loss diverged, or memory is full.
        doamlib.training.OutOfTime: the deadline passed before an epoch or before the maps; the next
            call goes on from there.
    """
    limits = limits or Limits()
    if finished := store.find(config, data.fingerprint):
        return finished  # without a lock: the store may be one that can only be read
    key = config.key(data.fingerprint)
    with store.making(key) as folder:
        if store.find(config, data.fingerprint) is None:
            with reproducible(device), enough_memory(too_large(config)):
                start = start or _starting_weights(store, config, device, report, limits)
                made, test_set = train_run(config, data, device, folder, start, report, limits)
            store.put(key, made, test_set)
    return store.find(config, data.fingerprint)


def train_run(
    config: RunConfig,
    data: Data,
    device: torch.device,
    folder: Path,
    start: Path | None = None,
    report: Report = print,
    limits: Limits | None = None,
) -> tuple[Path, bytes]:
    """Train one network, evaluate it and look at its maps.

    Args:
        config: the run.
        data: its data, open.
        device: where to train.
        folder: holds the checkpoint, from which an interrupted run goes on, unless other code or
            another kind of processor made it.
        start: weights to start from, of ``config.warm_run()``; random ones by default.
        report: gets progress lines.
        limits: of the machine.

    Returns:
        The folder with the result's files, inside ``folder``; and the test set's annotations.
    """
    limits = limits or Limits()
    reuse_freed_memory()
    made_by = provenance.record(device)
    made_by |= {"seed": config.seed, "runs_at_once": limits.runs_at_once}
    made_by["precision"] = chosen(config.training.precision, device)
    detector = build_detector(config.detector, config.seed)
    made_by["starting_weights"] = _begin(detector, config, start)
    detector.to(device)
    train, tested = (
        data.cached(split, detector.image_size, limits.processes, report).resident(device)
        for split in ("train", "test")
    )
    end = RunEnd(detector, train, tested, device)
    recipe = (config.training, config.sampling, config.seed)
    where = (folder, device, end.watch, processor_of(made_by))
    training = Training(detector, train, *recipe, *where)
    history = training.run(report, limits.deadline)
    end.evaluate(history)
    end.look(config.explained, config.seed, report, limits.deadline)
    made_by |= {
        "training_seconds": round(sum(entry["seconds"] for entry in history.epochs), 1),
        **end.seconds,
    }
    made = _written(folder / "result", config.identity(data.fingerprint), end, made_by, history)
    return made, end.test.as_bytes()


def _written(
    made: Path, identity: dict[str, Any], end: RunEnd, made_by: dict[str, Any], history: History
) -> Path:
    """All files of a result, in a folder of their own."""
    contents = {"identity": identity, "metrics": end.metrics, "provenance": made_by}
    files = dict(end.files)
    for name, content in (contents | {"history": vars(history)}).items():
        files[f"{name}.json"] = json.dumps(content, indent=1).encode()
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    for name, content in files.items():
        write_bytes(made / name, content)
    save_weights(end.detector, made / "weights.safetensors")
    return made


# --- starting weights -----------------------------------------------------------------------------


def _starting_weights(
    store: RunStore, config: RunConfig, device: torch.device, report: Report, limits: Limits
) -> Path | None:
    """Where the run's starting weights lie, trained first where they are missing."""
    if (warm := config.warm_run()) is None:
        return None
    if (path := store.starting_weights(warm)) is None:
        report("training the warm start on harmless objects")
        data = open_data(warm.data, None, limits.processes, report)
        path = result_of(store, warm, data, device, report, limits).weights()
    return path


def _begin(detector: Detector, config: RunConfig, start: Path | None) -> dict[str, Any]:
    """Load the starting weights into the detector; says which they are, for the provenance."""
    if start is None:
        return {"from": f"random, seed {config.seed}"}
    warm = config.warm_run()
    left = load_weights(detector, _without_classes(start, warm.detector, detector.config))
    content = hashlib.sha256(start.read_bytes()).hexdigest()
    return {"from": warm_name(warm), "sha256": content, "left_as_initialised": left}


def _without_classes(
    path: Path, warm: DetectorConfig, wanted: DetectorConfig
) -> Path | dict[str, Tensor]:
    """Weights to start from, less the outputs for the source's classes, which mean other things.

    Their shape tells them apart, and `load_weights` leaves them out, unless both happen to have
    the same number of classes.
    """
    if warm.num_classes != wanted.num_classes:
        return path
    more = wanted.model_copy(update={"num_classes": wanted.num_classes + 1})
    shapes = {n: t.shape for n, t in build_detector(more, 0).state_dict().items()}
    tensors = load_file(path)
    return {n: t for n, t in tensors.items() if n not in shapes or shapes[n] == t.shape}
