"""Forked kernels: the same outputs as ordinary ones, and no process that stays behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from doamlib.book.build import execute
from doamlib.book.kernels import SAFE, ForkedKernels

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SAFE, reason="processes are forked on Linux only"),
]
CELLS = (
    "import os, sys\nprint(os.getcwd(), os.environ['TOLD'], sys.argv[0].split('/')[-1])",
    "import pandas as pd\npd.DataFrame([range(30)])",
    "import matplotlib.pyplot as plt\nprint(plt.get_backend())\nplt.plot([1, 2]);",
    "import torch\ntorch.manual_seed(3)\nprint(torch.get_num_threads(), torch.rand(2))",
    "from doamlib.core.workers import worker_processes\n"
    "with worker_processes(1, print) as pool:\n    print(pool.submit(abs, -3).result())",
    "import signal\nprint(signal.getsignal(signal.SIGINT) is signal.default_int_handler)",
    "from doamlib.book import quoting\n"
    "started = int(open('/proc/self/stat').read().rsplit(')', 1)[1].split()[19])\n"
    "print(quoting.IMPORTED_AT > started / os.sysconf('SC_CLK_TCK') - 1)",
)


def executed(folder, cells, **options):
    """Outputs of each cell, without what an execution counts or draws by chance."""
    source, target = folder / "page.ipynb", folder / "made.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(cell) for cell in cells]), source)
    options |= {"kernel_name": "python3", "progress_bar": False, "coalesce_streams": True}
    papermill.execute_notebook(source, target, cwd=str(folder), **options)
    made = nbformat.read(target, as_version=4)
    return [[output.get("data", output.get("text")) for output in c.outputs] for c in made.cells]


def test_a_forked_kernel_gives_what_an_ordinary_one_gives(tmp_path, monkeypatch):
    monkeypatch.setenv("TOLD", "by the one who builds")
    ordinary = executed(tmp_path, CELLS)
    forked = executed(tmp_path, CELLS, kernel_manager_class=ForkedKernels)
    assert all(ordinary) and forked == ordinary


def test_it_begins_with_everything_imported_and_pages_do_not_meet(tmp_path):
    ask = "import sys\nprint('torch' in sys.modules, 'mark' in vars(sys))\nsys.mark = True"
    forked = executed(tmp_path, [ask], kernel_manager_class=ForkedKernels)
    assert forked == [["True False\n"]]
    assert executed(tmp_path, [ask], kernel_manager_class=ForkedKernels) == forked
    assert executed(tmp_path, [ask]) == [["False False\n"]]


def test_a_build_forks_its_pages(tmp_path, smoke):
    slow = "import sys, time\nprint('torch', flush=True)\ntime.sleep(0.5)\n"
    cell = new_code_cell(slow + "print('torch' in sys.modules)")
    python = {"kernelspec": {"name": "python3", "display_name": "x", "language": "python"}}
    nbformat.write(new_notebook(cells=[cell], metadata=python), tmp_path / "page.ipynb")
    execute(tmp_path / "page.ipynb", tmp_path / "made.ipynb", smoke)
    (made,) = nbformat.read(tmp_path / "made.ipynb", as_version=4).cells
    assert [output.text for output in made.outputs] == ["torch\nTrue\n"]


def test_an_error_is_papermills_and_a_kernel_that_dies_is_noticed(tmp_path):
    with pytest.raises(papermill.PapermillExecutionError, match="ZeroDivisionError"):
        executed(tmp_path, ["1 / 0"], kernel_manager_class=ForkedKernels)
    with pytest.raises(RuntimeError, match="Kernel died"):
        executed(tmp_path, ["import os\nos._exit(3)"], kernel_manager_class=ForkedKernels)


def gone(pid):
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return status.rsplit(")", 1)[1].split()[0] == "Z"


def wait_until(true, seconds=60):
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.1)
    assert true()


def test_what_a_page_started_ends_with_its_kernel(tmp_path):
    start = "import os, subprocess\nprint(os.getpid(), subprocess.Popen(['sleep', '600']).pid)"
    ((told,),) = executed(tmp_path, [start], kernel_manager_class=ForkedKernels)
    for pid in map(int, told.split()):
        wait_until(lambda pid=pid: gone(pid))


BUILDER = """
import papermill
from doamlib.book.kernels import ForkedKernels
if __name__ == "__main__":
    papermill.execute_notebook("page.ipynb", "made.ipynb", kernel_name="python3",
        progress_bar=False, kernel_manager_class=ForkedKernels)
"""


def test_a_kernel_ends_when_the_build_is_killed(tmp_path):
    wait = "import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))"
    wait += "\ntime.sleep(600)"
    nbformat.write(new_notebook(cells=[new_code_cell(wait)]), tmp_path / "page.ipynb")
    (tmp_path / "builder.py").write_text(BUILDER)
    builder = subprocess.Popen([sys.executable, "builder.py"], cwd=tmp_path)
    told = tmp_path / "pid"
    wait_until(lambda: told.exists() and told.read_text())
    os.kill(builder.pid, signal.SIGKILL)
    builder.wait()
    wait_until(lambda: gone(int(told.read_text())))
