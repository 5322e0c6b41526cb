"""Runs and images made on other machines, which a Dask scheduler hands out: ``--cluster``.

Here stands only what Dask does not do: what travels, who may take a run, and where its result goes.
:mod:`doamlib.experiments.cluster_worker` is what a worker does.

The store's lock is held for each run that is out, so two callers with one store never ask for the
same run. Two callers with two stores and one scheduler ask by the same Dask key, and share it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import hashlib
import json
import logging
import math
import pickle
import shutil
import time
import warnings
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from filelock import Timeout

from doamlib.core.config import digest_of
from doamlib.core.files import write_bytes
from doamlib.core.report import Report
from doamlib.experiments import cluster_worker as worker
from doamlib.experiments.cluster_worker import ClusterError, one_line
from doamlib.experiments.data import simulated
from doamlib.experiments.results import RunConfig
from doamlib.experiments.store import RunStore
from doamlib.experiments.study import Study
from doamlib.simulation import SimulationConfig
from doamlib.simulation.dataset import Drawn
from doamlib.simulation.scenes.quotas import ImagePlan
from doamlib.training import OutOfTime, TrainingError

try:
    import dask
    import distributed
    from distributed import Client, Future, LocalCluster
except ModuleNotFoundError as missing:
    raise ClusterError(
        f"--cluster needs the package {missing.name}: pip install -e '.[cluster]'"
    ) from None

SLOTS = {"cpu": "core", "cuda": "gpu"}
"""The Dask resource of which a run takes one, by the kind of device."""

PIECE, AHEAD = 32, 4
"""Images that a worker draws at a time, and pieces that are out for each worker."""

TIMEOUT = 15.0
"""Seconds until a scheduler that does not answer is given up."""

LOST = (
    asyncio.CancelledError,
    concurrent.futures.CancelledError,
    distributed.comm.CommClosedError,
)
"""What Dask raises where the scheduler went away."""


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


def make_data(address: str, config: SimulationConfig, report: Report = print) -> Path:
    """The folder of a generated dataset here, its missing images drawn on a cluster.

    Args:
        address: as in :func:`train_on`.
        config: the dataset.
        report: gets progress lines.

    Raises:
        ClusterError: the scheduler cannot be reached or went away, or a worker cannot be used.
    """
    with connected(address, report) as client:
        return simulated(config, report=report, draw=partial(_drawn_on, client, report))


@contextmanager
def connected(address: str, report: Report = print) -> Iterator[Client]:
    """A client of the scheduler, whose present workers have been looked at.

    Raises:
        ClusterError: it cannot be reached, went away inside, or a worker cannot be used.
    """
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("distributed"):  # they log tracebacks; we raise one line
            logging.getLogger(name).setLevel(logging.CRITICAL)
    settings = {"distributed.admin.large-graph-warning-threshold": "1TB"}
    with ExitStack() as closing, warnings.catch_warnings():
        warnings.simplefilter("ignore", distributed.versions.VersionMismatchWarning)
        closing.enter_context(dask.config.set(settings))
        if address.startswith("local:"):
            address = closing.enter_context(_local(address)).scheduler_address
        try:
            client = Client(address, timeout=TIMEOUT)
        except (OSError, ValueError, TypeError) as failed:
            raise ClusterError(
                f"--cluster {address}: no Dask scheduler answers there ({one_line(failed)}); "
                "start one with 'dask scheduler' and give the address that it prints, or local:2"
            ) from None
        closing.callback(client.close, timeout=1)
        try:
            _check_workers(client)
            report(f"{len(_workers(client))} workers at {address}")
            yield client
        except LOST:
            raise ClusterError(
                f"--cluster {address}: the scheduler went away; what is finished is kept, and "
                "the same command goes on"
            ) from None


def _local(address: str) -> LocalCluster:
    number = address.removeprefix("local:")
    if not number.isdecimal() or not int(number):
        raise ClusterError(f"--cluster {address}: say how many processes, e.g. local:2")
    slots = ["core", "gpu"] if torch.cuda.is_available() else ["core"]
    return LocalCluster(
        n_workers=int(number),
        threads_per_worker=1,
        memory_limit=None,
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
        resources=dict.fromkeys(slots, 1),
    )


def _workers(client: Client) -> dict[str, dict[str, Any]]:
    return client.scheduler_info(n_workers=-1)["workers"]


def _check_workers(client: Client) -> None:
    looked = client.run(worker.unfit, worker.versions(), on_error="return")
    for address, found in looked.items():
        if isinstance(found, Exception):
            raise _foreign(f"worker {address}", found)
        if found:
            raise ClusterError(f"worker {address}: {found}")


def _foreign(who: str, error: Exception) -> ClusterError:
    return ClusterError(
        f"{who} cannot load this version of doamlib ({one_line(error)}); install this checkout "
        "and its lock on every machine, and start scheduler and workers from it again"
    )


# --- runs -----------------------------------------------------------------------------------------


def _wanted(study: Study) -> list[Wanted]:
    """The missing runs in their order, the warm starts that none has yet before them."""
    runs = study.plan()
    missing = [
        Wanted(f"[{n}/{len(runs)}] {run.arm}, seed {run.seed}", run.config, study.fingerprint)
        for n, run in enumerate(runs, start=1)
        if run.result is None
    ]
    warm = {
        run.digest(): Wanted(
            f"[warm start] {run.detector.name}, seed {run.seed}",
            run,
            run.data.simulation.fingerprint,
        )
        for run in (wanted.config.warm_run() for wanted in missing)
        if run and study.store.starting_weights(run) is None
    }
    return [*warm.values(), *missing]


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
        for future in _as_done(client, set(out), study.report, deadline):
            run = out.pop(future)
            with suppress(OutOfTime):  # the others finish their epoch
                _put(study.store, run, taken[run], _returned(future, run.name))
                study.report(f"{run.name}: finished")
    finally:
        client.cancel(list(out))


def _submitted(
    client: Client, study: Study, taken: Iterable[Wanted], deadline: float
) -> Iterator[Future]:
    """A future of the files of each run's result; one that needs a warm start waits for its."""
    workers = _workers(client).values()
    device = study.parameters.device
    if device == "auto":
        device = "cuda" if any("gpu" in one["resources"] for one in workers) else "cpu"
    slot = {SLOTS[device]: 1}
    if not any(SLOTS[device] in one["resources"] for one in workers):
        study.report(
            f"no worker offers a {SLOTS[device]}: waiting for one that was started with "
            f"--nthreads 1 --resources {SLOTS[device]}=1"
        )
    shared = {
        "versions": worker.versions(),
        "device": device,
        "data_root": study.parameters.data_root,
        "until": None if deadline == math.inf else time.time() + deadline - time.monotonic(),
        "runs_at_once": max(Counter(one["host"] for one in workers).values(), default=1),
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


def _as_done(
    client: Client, out: set[Future], report: Report, deadline: float = math.inf
) -> Iterator[Future]:
    """Each as it is done, finished ones first; ends early where time is over and nobody works."""
    told = False
    while out:
        done = set()
        with suppress(TimeoutError):
            done = distributed.wait(out, timeout=5, return_when="FIRST_COMPLETED").done
        out -= done
        yield from sorted(done, key=lambda future: future.status != "finished")
        if not done and not _workers(client):
            if time.monotonic() > deadline:
                return
            if not told:
                report("no worker is left: waiting for one")
            told = True


def _returned(future: Future, name: str) -> Any:
    """What a worker returned; its errors as this process would raise them."""
    try:
        return future.result()
    except TrainingError as failed:
        raise TrainingError(f"{name}: {failed}") from None
    except distributed.KilledWorker as killed:
        raise ClusterError(
            f"{name}: {killed.allowed_failures + 1} workers were lost in the middle of it, the "
            f"last {killed.last_worker.address}; see there what ended them (memory?)"
        ) from None
    except (ImportError, AttributeError) as failed:
        raise _foreign(f"{name}: a worker", failed) from None


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
    client: Client, report: Report, config: SimulationConfig, plans: Sequence[ImagePlan]
) -> Iterator[tuple[ImagePlan, Drawn]]:
    """Have images drawn; no more pieces are out than keep the workers busy."""
    pieces = [pickle.dumps(plans[first : first + PIECE]) for first in range(0, len(plans), PIECE)]
    order = (worker.pieces_drawn, worker.versions(), config.as_json())
    out: deque[Future] = deque()
    while pieces or out:
        while pieces and len(out) < AHEAD * max(1, len(_workers(client))):
            out.append(client.submit(*order, pieces.pop(0)))
        for done in _as_done(client, {out.popleft()}, report):
            yield from pickle.loads(_returned(done, "images"))
