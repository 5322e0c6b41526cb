"""Processes that work side by side and never outlive the one that started them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, connection, get_context, parent_process
from threading import Thread
from typing import Any

from doamlib.core.report import Refusal

SPAWN = get_context("spawn")
"""How workers are started: a copy of a process with threads (fork) may start with locks held."""


class WorkerEnded(Refusal, RuntimeError):
    """A worker was ended from outside; as a rule by the system, where memory is full."""


@contextmanager
def worker_processes(
    number: int, begin: Callable[..., None], *arguments: Any
) -> Iterator[ProcessPoolExecutor]:
    """A pool of ``number`` processes; each calls ``begin(*arguments)`` first.

    After an error or interrupt inside the block the workers are stopped in the middle of what they
    do, so what they write has to be atomic. Scripts that reach this need the usual
    ``if __name__ == "__main__":``.

    Raises:
        WorkerEnded: the system or somebody ended one.
    """
    others = set(active_children())
    pool = ProcessPoolExecutor(number, SPAWN, _begin, (begin, *arguments))
    try:
        yield pool
    except BaseException as failed:
        children = set(active_children()) - others
        pool.shutdown(wait=False, cancel_futures=True)
        for child in children:
            child.terminate()
        for child in children:
            child.join()
        if isinstance(failed, BrokenExecutor):
            raise WorkerEnded(
                "a process was ended from outside (memory?): lower processes or, where it trained, "
                "batch_size or image_size; the same command goes on"
            ) from None
        raise
    pool.shutdown()


def _begin(begin: Callable[..., None], *arguments: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which stops us
    end_with_parent()
    begin(*arguments)


def end_with_parent() -> None:
    """From now on this process ends at once when the one that started it does, even by a kill.

    A worker would wait for ever for work, on a pipe that stays open.
    """

    def watch() -> None:
        connection.wait([parent_process().sentinel])
        os._exit(1)

    Thread(target=watch, daemon=True).start()
