"""Live kernels, as JupyterLab, VS Code and papermill start them: one file, one study, any door."""

from __future__ import annotations

import json
import subprocess
import sys

import nbformat
import pytest
from live_page import CHECK, PARAMETERS, REPOSITORY, SHOW, environment
from nbclient import NotebookClient

from doamlib.experiments.parameters import Parameters, from_file


@pytest.fixture
def work(tmp_path):
    """A reader's own folder, with data beside a parameter file that names them relatively."""
    (tmp_path / "data/xray").mkdir(parents=True)
    (tmp_path / "my.yaml").write_text(
        "profile: mine\ndataset: coco\ndata_root: data/xray\narms: [SSD, FCOS]\nseeds: [3]\n"
    )
    return tmp_path


def page(*sources):
    cells = [PARAMETERS.copy(), CHECK.copy(), *map(nbformat.v4.new_code_cell, sources)]
    for number, cell in enumerate(cells):
        cell["id"] = f"c{number}"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def printed(cell):
    """The parameters that a cell printed."""
    text = "".join(o.text for o in cell.outputs if o.output_type == "stream")
    return Parameters.model_validate_json(text.strip().splitlines()[-1])


@pytest.mark.slow
def test_cells_run_again_and_in_another_order_in_a_live_kernel(work):
    """As in JupyterLab and VS Code: the kernel works in book/, the server was started in work."""
    notebook = page(SHOW)
    client = NotebookClient(notebook, resources={"metadata": {"path": str(REPOSITORY / "book")}})
    parameters, check, show = notebook.cells
    with client.setup_kernel(env=environment(work)):
        told = nbformat.v4.new_code_cell("__vsc_ipynb_file__ = 'index.ipynb'; started = [1]")

        def run(*cells):
            for cell in cells:
                client.execute_cell(cell, 0)

        notebook.cells.insert(0, told)
        run(told, parameters, check, show)
        assert printed(show) == Parameters()
        run(check, check, show)
        assert printed(show) == Parameters()
        parameters.source = PARAMETERS.source.replace("seeds = [0]", "seeds = [1, 2]")
        run(show)  # nothing changes before the cells have run
        assert printed(show).seeds == (0,)
        run(parameters, check, show)
        assert printed(show).seeds == (1, 2)
        parameters.source = PARAMETERS.source.replace("seeds = [0]", "seed = [1]")
        run(parameters)
        client.allow_errors = True
        run(check)
        (error,) = [o for o in check.outputs if o.output_type == "error"]
        assert error.ename == "ParameterError" and "seed = [1]: no such parameter" in error.evalue
        assert len(error.traceback) == 1  # the line, and no frame of ours
        changes = {'"simulation"': '"coco"', "'simulation'": "'coco'"}
        source = PARAMETERS.source.replace("data_root = None", "data_root = 'data/xray'")
        for old, new in changes.items():
            source = source.replace(f"dataset = {old}", f"dataset = {new}")
        parameters.source = source
        run(parameters, check, show)
        assert printed(show).data_root == str(work / "data/xray")


@pytest.mark.slow
def test_papermill_from_another_folder_means_what_the_command_line_means(work):
    nbformat.write(page(SHOW), work / "page.ipynb")
    command = [sys.executable, "-m", "papermill", "page.ipynb", "out.ipynb", "-f", "my.yaml"]
    command += ["--cwd", str(REPOSITORY / "book"), "-p", "arms", "SSD, 5 shots, SSD+DOAM-T"]
    command += ["-p", "class_names", '{"Knife": "Scissor", toy: ""}', "-p", "seeds", "4,5"]
    done = subprocess.run(
        command, cwd=work, env=environment(work), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = printed(nbformat.read(work / "out.ipynb", 4).cells[-1])
    typed = {"arms": ["SSD, 5 shots", "SSD+DOAM-T"], "seeds": [4, 5]}
    names = {"class_names": {"Knife": "Scissor", "toy": ""}}
    assert found == from_file(work / "my.yaml", **typed, **names)
    assert found.data_root == str(work / "data/xray") and json.loads(found.model_dump_json())
