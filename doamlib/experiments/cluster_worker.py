"""What a worker does for :mod:`doamlib.experiments.cluster`: train a run, draw some images.

A worker needs this library and no folder of the caller's. It keeps checkpoints and results in
``cluster`` below its own home; where workers share that home, the next one goes on where a lost one
stopped. What it is given are plain values, so that even another version can say that it is one.
"""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import os
import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import torch

from doamlib.core import paths, provenance
from doamlib.core.files import write_bytes
from doamlib.core.report import Refusal, Report, message_of
from doamlib.data.faults import DataError
from doamlib.experiments.data import open_data
from doamlib.experiments.results import Result, RunConfig
from doamlib.experiments.store import RunStore
from doamlib.experiments.train_run import Limits, result_of
from doamlib.simulation import SimulationConfig
from doamlib.simulation.dataset import drawn
from doamlib.training import OutOfTime

if TYPE_CHECKING:
    from distributed import Worker

WEIGHTS, TEST_SET = "weights.safetensors", "test_set.npz"


class ClusterError(Refusal, ConnectionError):
    """The cluster, or a worker, cannot be used; the message is one line."""


@cache
def versions() -> dict[str, str]:
    """What must be the same here and there for the same bits: our sources and the packages."""
    root = Path(__file__).parents[1]
    sources = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        sources.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    packages = {name: text.split("+")[0] for name, text in provenance.packages().items()}
    return {"doamlib": sources.hexdigest()[:16], **packages}


def unfit(expected: dict[str, str], dask_worker: Worker) -> str:
    """Why a worker (Dask gives it by the argument's name) may take nothing: empty if it may."""
    for name, there in expected.items():
        if (here := versions().get(name)) != there:
            return (
                f"has another version of {name} ({here}, not {there}); install this checkout and "
                "its lock there, and start the worker again"
            )
    if (threads := dask_worker.state.nthreads) > 1:
        return (
            f"would mix the settings of {threads} runs in one process; start it with "
            f"--nthreads 1 --nworkers {threads}"
        )
    return ""


@contextmanager
def _worker(expected: dict[str, str]) -> Iterator[Worker]:
    """The worker that this task runs in; what goes wrong inside is said with its address."""
    from distributed import get_worker

    worker = get_worker()
    try:
        if reason := unfit(expected, worker):
            raise ClusterError(reason)
        yield worker
    except (DataError, OSError) as failed:
        raise ClusterError(f"worker {worker.address}: {message_of(failed)}") from None


def trained(order: str, start: bytes | dict[str, bytes] | None) -> dict[str, bytes]:
    """Train a run in this worker.

    Args:
        order: JSON: ``versions``, ``config`` and ``fingerprint`` of the run, ``device`` (cpu or
            cuda), ``data_root``, ``until`` (seconds since 1970, or null), ``runs_at_once``.
        start: the warm start's weights, or all files of its result.

    Returns:
        The files of the result by name, and the test set's annotations as ``TEST_SET``.

    Raises:
        ClusterError: this worker is not fit, or its data or its disk.
        doamlib.training.TrainingError: the loss diverged.
        doamlib.training.OutOfTime: the time is over, or nobody waits for the result any more.
    """
    wanted = json.loads(order)
    with _worker(wanted["versions"]) as worker:
        config = RunConfig.model_validate_json(json.dumps(wanted["config"]))
        weights = start[WEIGHTS] if isinstance(start, dict) else start
        # Other weights to start from make another run, and its key does not tell.
        kind = hashlib.sha256(weights or b"").hexdigest()[:16]
        store = RunStore(paths.home() / "cluster" / kind)
        path = None
        if weights:
            path = store.root / "start.safetensors"
            write_bytes(path, weights)
        return _files(store, _result(wanted, config, store, path, _reporter(worker)))


def _result(
    wanted: dict[str, Any], config: RunConfig, store: RunStore, start: Path | None, told: Report
) -> Result:
    device, root = torch.device(wanted["device"]), wanted["data_root"]
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ClusterError("offers a gpu and has no usable one")
    left = math.inf if wanted["until"] is None else wanted["until"] - time.time()
    if left < 0:
        raise OutOfTime
    # Beside a GPU all cores make images; Dask's nanny forbids it where its workers are daemons.
    alone = device.type == "cuda" and not multiprocessing.current_process().daemon
    processes = os.cpu_count() if alone else 1
    data = open_data(config.data, root, processes, told)
    if data.fingerprint != wanted["fingerprint"]:
        raise ClusterError(f"{root} holds other data there than here; copy the same folder to it")
    data = data.few_shot(config.data.shots)
    limits = Limits(time.monotonic() + left, processes, wanted["runs_at_once"])
    return result_of(store, config, data, device, told, limits, start)


def _files(store: RunStore, result: Result) -> dict[str, bytes]:
    files = {path.name: path.read_bytes() for path in (store.root / result.key).iterdir()}
    test_set = store.root / "test_sets" / f"{result.identity['fingerprint']}.npz"
    return files | {TEST_SET: test_set.read_bytes()}


def _reporter(worker: Worker) -> Report:
    """Sends lines to whoever asked for this task, and ends it where nobody does any more."""
    task = worker.get_current_task()

    def told(line: str) -> None:
        worker.log_event(task, line)
        if worker.state.tasks[task].state != "executing":
            raise OutOfTime

    told(f"begins at {worker.address}")
    return told


def pieces_drawn(expected: dict[str, str], config: str, plans: bytes) -> bytes:
    """Draw some images in this worker; pickled like what is returned, a list of (plan, image)."""
    with _worker(expected):
        cv2.setNumThreads(1)
        dataset = SimulationConfig.model_validate_json(config)
        return pickle.dumps([(plan, drawn(dataset, plan)) for plan in pickle.loads(plans)])
