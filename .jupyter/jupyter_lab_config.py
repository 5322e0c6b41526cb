"""JupyterLab as `make lab` starts it: the start page first, quoted numbers readable, no news."""

from doamlib.book.lab import start_page
from doamlib.core import paths

c = get_config()  # noqa: F821 (JupyterLab's)
start_page()
c.ServerApp.root_dir = str(paths.book())
c.ServerApp.contents_manager_class = "doamlib.book.lab.BookContents"
c.LabApp.default_url = "/lab/tree/START.md"
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.KernelSpecManager.allowed_kernelspecs = {"python3"}  # the one that has the library
