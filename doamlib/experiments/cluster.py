"""Runs and images made on other machines, which a Dask scheduler hands out: ``--cluster``.

Here stands only what Dask does not do: what travels, who may take a run, and where its result goes.
:mod:`doamlib.experiments.cluster_worker` is what a worker does.

The store's lock is held for each run that is out, so two callers with one store never ask for the
same run. Two callers with two stores and one scheduler ask by the same Dask key, and share it.
"""

from __future__ import annotations

import hashlib
import json
import math
import pickle
import shutil
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from filelock import Timeout

from doamlib.core.config import digest_of
from doamlib.core.files import write_bytes
from doamlib.core.report import Report
from doamlib.experiments import cluster_worker as worker
from doamlib.experiments.cluster_client import (
    Client,
    Future,
    as_done,
    connected,
    returned,
    workers,
)
from doamlib.experiments.cluster_worker import ClusterError
from doamlib.experiments.results import RunConfig
from doamlib.experiments.store import RunStore
from doamlib.experiments.study import Study
from doamlib.simulation import SimulationConfig
from doamlib.simulation.dataset import Draw, Drawn
from doamlib.simulation.scenes.quotas import ImagePlan
from doamlib.training import OutOfTime

SLOTS = {"cpu": "core", "cuda": "gpu"}
"""The Dask resource of which a run takes one, by the kind of device."""

PIECE, AHEAD = 32, 4
"""Images that a worker draws at a time, and pieces that are out for each worker."""


@dataclass(frozen=True, eq=False)
class Wanted:
    """A run that is missing, and what its progress lines call it."""

    name: str
    config: RunConfig
    fingerprint: str

    @property
    def key(self) -> str:
        """Of the run in the store."""
        return self.config.key(self.fingerprint)

    def is_in(self, store: RunStore) -> bool:
        """Whether it is finished by now."""
        return store.find(self.config, self.fingerprint) is not None


def train_on(address: str, study: Study, deadline: float = math.inf) -> None:
    """Train the study's missing runs on a cluster, and their missing warm starts before them.

    Args:
        address: of a Dask scheduler (``tcp://host:8786``), or ``local:4`` for four processes here.
        study: what is wanted; results are put into its store, one by one as they are finished.
        deadline: a :func:`time.monotonic` after which no epoch is started.

    Raises:
        ClusterError: the scheduler cannot be reached or went away, or a worker cannot be used.
        doamlib.training.TrainingError: a loss diverged; names the run.
        doamlib.training.OutOfTime: the deadline passed; the next call goes on.
        doamlib.data.faults.DataError: the data have an error.
    """
    wanted, waited = _wanted(study), False
    if not wanted:
        return
    with connected(address, study.report) as client:
        while wanted:
            with ExitStack() as held:
                if taken := _taken(study.store, wanted, held):
                    _train(client, study, taken, deadline)
            left = [run for run in wanted if not run.is_in(study.store)]
            if left and time.monotonic() > deadline:
                raise OutOfTime
            if len(left) == len(wanted):
                if not waited:
                    study.report(f"{left[0].name}: another process has it made; waiting")
                waited = True
                time.sleep(1.0)
            wanted = left


def drawing(address: str, report: Report = print) -> Draw:
    """What :func:`doamlib.simulation.generate` draws images with on a cluster.

    Args:
        address: as in :func:`train_on`; connected to when the first image is asked for.
        report: gets progress lines.

    Raises:
        ClusterError: while it draws: the scheduler cannot be reached or went away, or a worker
            cannot be used.
    """
    return partial(_drawn_on, address, report)


# --- runs -----------------------------------------------------------------------------------------


def _wanted(study: Study) -> list[Wanted]:
    """The missing runs in their order, the warm starts that none has yet before them."""
    warm, runs = study.missing(study.plan())
    return [
        *(Wanted(t.name, t.config, t.config.data.simulation.fingerprint) for t in warm),
        *(Wanted(task.name, task.config, study.fingerprint) for task in runs),
    ]


def _taken(store: RunStore, wanted: Sequence[Wanted], held: ExitStack) -> dict[Wanted, Path]:
    """The runs that nobody else makes and whose warm start is there or taken too; now locked.

    Returns:
        Each with its folder in the store.
    """
    taken: dict[Wanted, Path] = {}
    for run in wanted:
        warm = run.config.warm_run()
        waits = warm and store.starting_weights(warm) is None
        if waits and warm not in [other.config for other in taken]:
            continue
        with suppress(Timeout):
            folder = held.enter_context(store.making(run.key, wait=0))
            if not run.is_in(store):
                taken[run] = folder
    return taken


def _train(client: Client, study: Study, taken: dict[Wanted, Path], deadline: float) -> None:
    """Have these runs trained, and put each result as soon as it is there."""
    out = dict(zip(_submitted(client, study, taken, deadline), taken, strict=True))
    try:
        for future in as_done(client, set(out), study.report, deadline):
            run = out.pop(future)
            with suppress(OutOfTime):  # the others finish their epoch
                _put(study.store, run, taken[run], returned(future, run.name))
                study.report(f"{run.name}: finished")
    finally:
        client.cancel(list(out))


def _submitted(
    client: Client, study: Study, taken: Iterable[Wanted], deadline: float
) -> Iterator[Future]:
    """A future of the files of each run's result; one that needs a warm start waits for its."""
    there = workers(client).values()
    device = study.parameters.device
    if device == "auto":
        device = "cuda" if any("gpu" in one["resources"] for one in there) else "cpu"
    slot = {SLOTS[device]: 1}
    if not any(SLOTS[device] in one["resources"] for one in there):
        study.report(
            f"no worker offers a {SLOTS[device]}: waiting for one that was started with "
            f"--nthreads 1 --resources {SLOTS[device]}=1"
        )
    shared = {
        "versions": worker.versions(),
        "device": device,
        "data_root": study.parameters.data_root,
        "until": None if deadline == math.inf else time.time() + deadline - time.monotonic(),
        "runs_at_once": max(Counter(one["host"] for one in there).values(), default=1),
    }
    starts: dict[str, Future] = {}
    for run in taken:
        start = None
        if (warm := run.config.warm_run()) and (start := starts.get(warm.digest())) is None:
            content = study.store.starting_weights(warm).read_bytes()
            name = f"doam-start-{hashlib.sha256(content).hexdigest()[:16]}"
            # By a slot, so that it does not queue behind a run of hours.
            start = client.submit(bytes, content, key=name, resources=slot)
            starts[warm.digest()] = start
        order = {"config": run.config.model_dump(mode="json"), "fingerprint": run.fingerprint}
        same = [worker.versions(), device, start and start.key]
        key = f"doam-{run.key}-{digest_of(same)}"
        client.subscribe_topic(key, partial(_tell, study.report, run.name))
        text = json.dumps(shared | order)
        starts[run.config.digest()] = client.submit(
            worker.trained, text, start, key=key, resources=slot
        )
        yield starts[run.config.digest()]


def _tell(report: Report, name: str, event: tuple[float, str]) -> None:
    report(f"{name}: {event[1]}")


def _put(store: RunStore, run: Wanted, folder: Path, files: dict[str, bytes]) -> None:
    """Put a result into the store, which it fits by configuration, data and version."""
    if json.loads(files["identity.json"]) != run.config.identity(run.fingerprint):
        raise ClusterError(f"{run.name}: a worker sent the result of another run")
    made = folder / "result"
    shutil.rmtree(made, ignore_errors=True)
    for name in files.keys() - {worker.TEST_SET}:
        write_bytes(made / Path(name).name, files[name])
    store.put(run.key, made, files[worker.TEST_SET])


# --- images ---------------------------------------------------------------------------------------


def _drawn_on(
    address: str, report: Report, config: SimulationConfig, plans: Sequence[ImagePlan]
) -> Iterator[tuple[ImagePlan, Drawn]]:
    """Have images drawn; no more pieces are out than keep the workers busy."""
    pieces = [pickle.dumps(plans[first : first + PIECE]) for first in range(0, len(plans), PIECE)]
    order = (worker.pieces_drawn, worker.versions(), config.as_json())
    out: deque[Future] = deque()
    with connected(address, report) as client:
        while pieces or out:
            while pieces and len(out) < AHEAD * max(1, len(workers(client))):
                out.append(client.submit(*order, pieces.pop(0)))
            for done in as_done(client, {out.popleft()}, report):
                yield from pickle.loads(returned(done, "images"))
