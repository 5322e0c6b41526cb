"""The connection to a Dask scheduler: every way in which it can fail is one line.

Imported only where ``--cluster`` is used, because the package is an extra.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import math
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch

from doamlib.core.report import Report, message_of
from doamlib.experiments import cluster_worker as worker
from doamlib.experiments.cluster_worker import ClusterError
from doamlib.training import TrainingError

try:
    import dask
    import distributed
    from distributed import Client, Future, LocalCluster
except ModuleNotFoundError as missing:
    raise ClusterError(
        f"--cluster needs the package {missing.name}: pip install -e '.[cluster]'"
    ) from None

TIMEOUT = 15.0
"""Seconds until a scheduler that does not answer is given up."""

LOST = (
    asyncio.CancelledError,
    concurrent.futures.CancelledError,
    distributed.comm.CommClosedError,
)
"""What Dask raises where the scheduler went away."""


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
                f"--cluster {address}: no Dask scheduler answers there ({message_of(failed)}); "
                "start one with 'dask scheduler' and give the address that it prints, or local:2"
            ) from None
        closing.callback(client.close, timeout=1)
        try:
            _check_workers(client)
            report(f"{len(workers(client))} workers at {address}")
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


def workers(client: Client) -> dict[str, dict[str, Any]]:
    """What the scheduler knows of each worker, by address."""
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
        f"{who} cannot load this version of doamlib ({message_of(error)}); install this checkout "
        "and its lock on every machine, and start scheduler and workers from it again"
    )


def as_done(
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
        if not done and not workers(client):
            if time.monotonic() > deadline:
                return
            if not told:
                report("no worker is left: waiting for one")
            told = True


def returned(future: Future, name: str) -> Any:
    """What a worker returned; its errors as this process would raise them.

    Raises:
        ClusterError: a worker is not fit, was lost, or has another version of this library.
        doamlib.training.TrainingError: the run cannot go on.
        doamlib.training.OutOfTime: the time is over.
    """
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
