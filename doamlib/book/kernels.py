"""Kernels of the build's pages, forked from one process that has imported what every page imports.

Half of a short page's time is Python reading torch, pandas and matplotlib. The standard library's
fork server does that once a build; each page then starts in a copy of that process, in which the
notebook's own imports find everything at hand. Nothing else differs: a page computes the same as
in a kernel that papermill starts, and where processes cannot be forked safely it gets one of those.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import uuid
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import Any

from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from doamlib.core.workers import end_with_parent

IMPORTED = [
    *("ipykernel.ipkernel", "ipykernel.kernelapp", "matplotlib.pyplot", "doamlib.book.pages"),
    *("doamlib.book.plots", "doamlib.book.figures", "doamlib.experiments.study"),
    "doamlib.cli",  # what builds: a process of multiprocessing imports the program it comes from
]
"""Before the first page starts; none of it starts a thread, which a fork would lose."""

INLINE = "module://matplotlib_inline.backend_inline"
"""Figures go into the cell; an ordinary kernel says so before matplotlib is imported."""

SAFE = sys.platform == "linux"
"""macOS's own libraries may not be forked, and Windows cannot fork."""


class ForkedKernels(AsyncKernelManager):
    """Forks its kernel; for ``papermill.execute_notebook(kernel_manager_class=...)``."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if SAFE:
            self.kernel_id = str(uuid.uuid4())
            spec = self.kernel_spec
            self.provisioner = ForkedKernel(kernel_id=self.kernel_id, kernel_spec=spec, parent=self)


class ForkedKernel(LocalProvisioner):
    """One kernel: a process of the fork server's where the local one has a ``Popen``."""

    async def launch_kernel(self, cmd: list[str], **options: Any) -> dict[str, Any]:
        """As the parent's: the connection of a kernel that has been started.

        Args:
            cmd: ends in the arguments of an ordinary kernel, from ``-f`` on.
            options: ``cwd`` and ``env`` of the kernel, as for ``Popen``.
        """
        server = get_context("forkserver")
        server.set_forkserver_preload(IMPORTED)
        arguments = cmd[cmd.index("-f") :]
        self.cwd = options.get("cwd") or os.getcwd()
        told = arguments, str(self.cwd), dict(options.get("env") or os.environ)
        process = server.Process(target=_be_a_kernel, args=told)
        process.start()
        self.process = Started(process)
        self.pid = self.pgid = process.pid  # it makes itself the head of a group
        return self.connection_info


class Started:
    """The part of ``Popen`` that the local provisioner uses, over a process of multiprocessing."""

    stdin = stdout = stderr = None

    def __init__(self, process: BaseProcess) -> None:
        self.process = process
        self.pid = process.pid
        self.terminate, self.kill = process.terminate, process.kill

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        return self.process.exitcode

    def wait(self) -> int | None:
        """Wait for its end; gives the exit status."""
        self.process.join()
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


def _be_a_kernel(arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the fork server ignores it
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)

    _as_if_imported_in_a_kernel()
    from ipykernel.kernelapp import IPKernelApp

    end_with_parent()
    parent = f"--IPKernelApp.parent_handle={os.getppid()}"  # else it takes itself for a program
    sys.argv = ["ipykernel_launcher.py", *arguments, parent]
    IPKernelApp.launch_instance()


def _as_if_imported_in_a_kernel() -> None:
    """What modules decide at their import is decided as in an ordinary kernel."""
    import matplotlib
    import pandas

    from doamlib.book import quoting

    matplotlib.rcParams["backend"] = os.environ.setdefault("MPLBACKEND", INLINE)
    pandas.set_option("display.max_columns", 20)  # in a terminal as many as fit
    quoting.IMPORTED_AT = time.monotonic()  # the page's time begins here
