"""Training several runs at once, one process and one core each; on a GPU they share it."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing import Queue
from queue import Empty

import torch

from doamlib.core.report import Report
from doamlib.core.workers import SPAWN, worker_processes
from doamlib.experiments.data import Data
from doamlib.experiments.results import RunConfig
from doamlib.experiments.store import RunStore
from doamlib.experiments.train_run import Limits, result_of
from doamlib.training import OutOfTime, TrainingError


@dataclass(frozen=True)
class Task:
    """A run to train, and what its progress lines call it."""

    name: str
    config: RunConfig


@dataclass(frozen=True)
class Trainer:
    """Where and how long runs are trained, and how many at once.

    Attributes:
        store: gets the results.
        device: computes them.
        data: what all tasks train on, open; a task may ask for fewer shots of them.
        limits: of the machine; as many runs as share it are trained side by side.
    """

    store: RunStore
    device: torch.device
    data: Data
    limits: Limits

    def train(self, task: Task, report: Report) -> None:
        """Train one run, here and now.

        Raises:
            doamlib.training.TrainingError: the loss diverged; names the task.
            doamlib.training.OutOfTime: the deadline passed.
        """

        def told(line: str) -> None:
            report(f"{task.name}: {line}")

        if time.monotonic() > self.limits.deadline:
            raise OutOfTime
        told(f"training on {self.device.type}")
        data = self.data.few_shot(task.config.data.shots)
        try:
            result_of(self.store, task.config, data, self.device, told, self.limits)
        except TrainingError as failed:
            raise TrainingError(f"{task.name}: {failed}") from None

    def train_all(self, tasks: Iterable[Task], report: Report) -> None:
        """Train all tasks in their order: ``runs_at_once`` in worker processes, or one by one here.

        Raises:
            doamlib.training.TrainingError: a loss diverged; the other runs are stopped, and go on
                from their last epoch when they are wanted again.
            doamlib.core.workers.WorkerEnded: one was ended from outside; likewise.
            doamlib.training.OutOfTime: the deadline passed; every run finished its epoch.
        """
        if self.limits.runs_at_once == 1:
            for task in tasks:
                self.train(task, report)
            return
        lines = SPAWN.Queue()
        # Pickled here, because the pool's own pickler keeps a file open for every tensor.
        pickled = pickle.dumps(self)
        with worker_processes(self.limits.runs_at_once, _send_to, lines) as pool:
            running = [pool.submit(_train_in_worker, pickled, task) for task in tasks]
            while not all(future.done() for future in running):
                _raise_errors(running)
                _report_lines(lines, report, wait=0.2)
            _report_lines(lines, report)
            for future in running:
                future.result()


_send: Report = print
"""In a worker: hands a line to the process that started it, whose cell may show it."""


def _send_to(lines: Queue) -> None:
    global _send
    _send = lines.put


def _train_in_worker(pickled: bytes, task: Task) -> None:
    torch.set_num_threads(1)
    pickle.loads(pickled).train(task, _send)


def _raise_errors(running: Iterable[Future]) -> None:
    """At once, unless the error is that time is over: then the others finish their epoch."""
    for future in running:
        if future.done() and not isinstance(future.exception(), OutOfTime):
            future.result()


def _report_lines(lines: Queue, report: Report, wait: float = 0.0) -> None:
    """Pass on what has arrived; wait so many seconds for the first line."""
    try:
        while True:
            report(lines.get(timeout=wait))
            wait = 0.0
    except Empty:
        return
