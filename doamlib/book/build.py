"""The book's build: papermill executes each notebook, Jupyter Book renders the executed copies."""

from __future__ import annotations

import filecmp
import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

from doamlib.book import seal
from doamlib.book.known import records
from doamlib.book.pictures import shrink
from doamlib.book.quoting import stale_quotes
from doamlib.claims.claims import outcomes
from doamlib.claims.scoreboard import statuses
from doamlib.core import paths
from doamlib.core.chapters import page_names
from doamlib.core.config import digest_of
from doamlib.core.files import write_text
from doamlib.core.report import Refusal, Report
from doamlib.experiments.archive import references
from doamlib.experiments.parameters import Parameters, cell_source
from doamlib.experiments.store import RunStore
from doamlib.experiments.values import assigned

NOT_PAGES = ("reference_results", "measurements", "ruff.toml", "START.md", "_queries.yml")
LANDING = "index.ipynb"
AT_ONCE = 2
"""Notebooks executed at the same time: half of a page's time is one thread importing libraries."""


class BuildError(Refusal, RuntimeError):
    """The book cannot be built; the message names the page and what is wrong with it."""


def build(
    parameters: Parameters,
    report: Report = print,
    store: RunStore | None = None,
    source: Path | None = None,
) -> Path:
    """Execute what has changed and render the book.

    A notebook is executed again when its code, the parameters, the library or any stored result has
    changed since; where only its text has, the outputs are kept. An interrupted build loses nothing
    that was finished.

    Args:
        parameters: passed to every notebook.
        report: gets a line for each step.
        store: results that pages quote.
        source: the folder of the pages; the book's by default.

    Returns:
        The landing page (HTML).

    Raises:
        BuildError: a committed result is not the one that was sealed, a cell failed, Jupyter Book
            warned, a quoted number is stale, or a claim of the paper has no verdict or another one
            than the stored results give.
    """
    if faults := seal.broken(source):
        raise BuildError("stored numbers:\n" + "\n".join(faults))
    store = store or RunStore()
    source, target = source or paths.book(), paths.build()
    pages = target / "pages"
    world = digest_of(
        [
            parameters.as_json(),
            _tree_digest(Path(__file__).parent.parent, "*.py"),
            _tree_digest(paths.reference_results()),
            _tree_digest(paths.measurements()),
        ]
    )
    stored = store.digests()
    notebooks = list(toc_notebooks(source))
    tasks: list[Callable[[], Any]] = []
    for number, name in enumerate(notebooks, start=1):
        made = pages / name
        stamp = digest_of([world, _code(source / name)])
        if _stamp(made) == [stamp, _file_digest(made)] and not stale_quotes(made, stored):
            _retell(source / name, made, stamp)
            continue
        label = f"[{number}/{len(notebooks)}]"
        tasks.append(partial(_make, source / name, made, parameters, stamp, report, label))
    tasks.append(partial(_judge, store) if LANDING in notebooks else dict)
    *_, judged = run_all(tasks, report)
    executed = [pages / name for name in notebooks]
    check_quotes(executed, store)
    check_claims(executed, judged)
    _stage(source, pages)
    report("rendering the pages")
    return _render(pages, target)


def _make(
    source: Path, made: Path, parameters: Parameters, stamp: str, report: Report, label: str
) -> None:
    report(f"{label} executing {source.name}")
    start = time.perf_counter()
    execute(source, made, parameters)
    _put_stamp(made, stamp)
    report(f"{label} {source.name} done in {time.perf_counter() - start:.0f} s")


def _judge(store: RunStore) -> dict[str, str]:
    """Beside the notebooks: counting what claim 8 asks for takes 2 s."""
    return statuses(outcomes(references(store.reference)))


def run_all(tasks: list[Callable[[], Any]], report: Report = print) -> list[Any]:
    """Run ``AT_ONCE`` of them at a time; after a failure or interrupt no further one is started.

    Returns:
        What each of them returned.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            running = [pool.submit(task) for task in tasks]
            for task in as_completed(running):
                task.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            report("stopping; pages at work are finished first")
            raise
    return [task.result() for task in running]


def check_quotes(executed: list[Path], store: RunStore) -> None:
    """The last look before the pages are rendered.

    Raises:
        BuildError: a quoted number differs from what was computed, a result that a page shows is
            gone or has changed since, or an executed copy, be it a table or a figure in it, is not
            what its notebook gave; one line each.
    """
    stored = store.digests()
    stale = [fault for notebook in executed for fault in stale_quotes(notebook, stored)]
    for notebook in executed:
        if (stamp := _stamp(notebook)) and stamp[1:] != [_file_digest(notebook)]:
            stale.append(f"{notebook.name}: altered after it was executed; build again")
    if stale:
        raise BuildError("pages do not match the stored results:\n" + "\n".join(stale))


def check_claims(executed: list[Path], judged: Mapping[str, str]) -> None:
    """The landing page shows a verdict on every claim, and no page another than is stored.

    Args:
        executed: the executed pages, the landing page among them.
        judged: number of each claim -> its verdict, from what is stored now.

    Raises:
        BuildError: a verdict is missing or another one; one line each.
    """
    faults = []
    for notebook in executed:
        shown: dict[str, str] = {}
        for _, record, _ in records(json.loads(notebook.read_text(encoding="utf-8"))):
            shown |= record.get("verdicts", {})
        for number, verdict in judged.items():
            if number not in shown and notebook.name == LANDING:
                faults.append(f"{notebook.name}: claim {number} has no verdict")
            elif shown.get(number, verdict) != verdict:
                said = f"{shown[number]!r} is shown, {verdict!r} follows from what is stored"
                faults.append(f"{notebook.name}: claim {number}: {said}")
    if faults:
        raise BuildError("verdicts:\n" + "\n".join(faults))


def toc_notebooks(source: Path) -> Iterator[str]:
    """The notebooks of ``_toc.yml`` in reading order, as paths relative to the book."""
    for name in page_names(source):
        if (source / f"{name}.ipynb").is_file():
            yield f"{name}.ipynb"


def execute(source: Path, target: Path, parameters: Parameters) -> None:
    """Execute a notebook with papermill; ``target`` appears only if every cell succeeded.

    Raises:
        BuildError: a cell failed; the message gives notebook, cell and error.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    from doamlib.book.kernels import ForkedKernels

    # All parameters go to every page; what it does not declare, it does not read.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # the kernel of this environment, not the user's
    # Kernels side by side must not spin while they wait for their threads.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    target.parent.mkdir(parents=True, exist_ok=True)
    attempt = target.with_suffix(".attempt.ipynb")
    try:
        papermill.execute_notebook(
            str(source),
            str(attempt),
            parameters.model_dump(mode="json"),
            kernel_name="python3",
            kernel_manager_class=ForkedKernels,
            progress_bar=False,
            request_save_on_cell_execute=False,  # nobody reads an attempt before its end
            extra_arguments=["--log-level=CRITICAL"],  # of the kernel's own messages
            shutdown_kernel="immediate",  # torch takes half a second to leave politely
            coalesce_streams=True,  # or the moment decides into how many outputs a print is cut
        )
    except PapermillExecutionError as error:
        detail = re.sub(r"\x1b\[[0-9;]*m", "", f"{error.ename}: {error.evalue}")
        raise BuildError(
            f"{source.name}, cell {error.cell_index}: {detail}\n{error.source}"
        ) from None
    _tidy(attempt, parameters)
    os.replace(attempt, target)


def _tidy(path: Path, used: Parameters) -> None:
    """Show the parameters that were used, once; drop what two equal executions differ in."""
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = cell_source(used, assigned(cell.source))
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
    notebook.cells = [
        cell
        for cell in notebook.cells
        if "injected-parameters" not in cell.metadata.get("tags", [])
    ]
    notebook.metadata.pop("papermill", None)
    shrink(notebook)
    nbformat.write(notebook, path)


def _code(path: Path) -> list:
    """What a notebook computes: neither its text nor outputs left by somebody's session."""
    import nbformat

    cells = nbformat.read(path, as_version=4).cells
    return _sources([cell for cell in cells if cell.cell_type == "code"])


def _sources(cells: list) -> list:
    return [[cell.cell_type, cell.source, cell.metadata.get("tags", [])] for cell in cells]


def _retell(source: Path, made: Path, stamp: str) -> None:
    """Give an executed copy the text that its notebook has now; the code is the same."""
    import nbformat

    told, done = (nbformat.read(path, as_version=4) for path in (source, made))
    code = iter([cell for cell in done.cells if cell.cell_type == "code"])
    cells = [next(code) if cell.cell_type == "code" else cell for cell in told.cells]
    if _sources(cells) != _sources(done.cells):
        done.cells = cells
        write_text(made, nbformat.writes(done) + "\n")
        _put_stamp(made, stamp)


def _stage(source: Path, pages: Path) -> None:
    """Copy what is not executed, and remove the copies of what is gone."""
    left = shutil.ignore_patterns("*.ipynb", *NOT_PAGES)
    shutil.copytree(source, pages, ignore=left, copy_function=_update, dirs_exist_ok=True)
    for path in [path for path in pages.rglob("*") if path.is_file()]:
        origin = source / path.relative_to(pages)
        if not origin.with_suffix(".ipynb" if path.suffix == ".stamp" else path.suffix).is_file():
            path.unlink()


def _update(source: str, copy: str) -> None:
    """Equal files keep their time and differing ones get a new one: Sphinx reads what is newer."""
    if not (os.path.isfile(copy) and filecmp.cmp(source, copy, shallow=False)):
        shutil.copyfile(source, copy)


def _render(pages: Path, target: Path) -> Path:
    command = [Path(sys.executable).with_name("jupyter-book"), "build", pages]
    command += ["--config", paths.repository() / "_config.yml", "--path-output", target]
    command += ["-n", "-W", "--keep-going", "-q"]
    begun = target / "rendering"  # still there: a rendering was killed, its files may be halves
    if begun.exists():
        _forget(target)
    write_text(begun, "")
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    log = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    write_text(target / "render.log", log)
    if done.returncode:
        # Sphinx would not read the faulty pages again, and pass over their warnings next time.
        _forget(target)
        faults = [line for line in log.splitlines() if re.search(r"WARNING|ERROR", line)]
        raise BuildError("Jupyter Book: " + "\n".join(faults or log.splitlines()[-15:]))
    begun.unlink()
    return target / "_build" / "html" / "index.html"


def _forget(target: Path) -> None:
    """Let Sphinx read and write every page anew."""
    shutil.rmtree(target / "_build" / ".doctrees", ignore_errors=True)


def _put_stamp(made: Path, stamp: str) -> None:
    write_text(made.with_suffix(".stamp"), f"{stamp}\n{_file_digest(made)}\n")


def _stamp(made: Path) -> list[str]:
    """What an executed copy was made from, and its own digest then; empty without a copy."""
    path = made.with_suffix(".stamp")
    known = made.is_file() and path.is_file()
    return path.read_text(encoding="utf-8").split() if known else []


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _tree_digest(folder: Path, pattern: str = "*") -> str:
    files = sorted(path for path in folder.rglob(pattern) if path.is_file())
    return digest_of([[path.relative_to(folder).as_posix(), _file_digest(path)] for path in files])
