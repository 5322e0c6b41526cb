"""The same value means the same through every door: file, -p, a live kernel's cells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from IPython.core.interactiveshell import InteractiveShell

from doamlib.data.faults import DataError
from doamlib.experiments.arms import ARMS
from doamlib.experiments.parameters import (
    Parameters,
    cell_source,
    from_file,
    from_notebook,
    from_values,
)
from doamlib.experiments.study import Study
from doamlib.experiments.values import (
    ParameterError,
    as_names,
    as_numbers,
    as_written,
    found_folder,
    read_mapping,
)

REPOSITORY = Path(__file__).parents[2]
QUICK = REPOSITORY / "params" / "quick.yaml"


def test_defaults_are_those_of_the_quick_file_and_so_of_every_notebook(tmp_path):
    """A file that leaves keys out is one study for doam (Parameters) and papermill (the cell)."""
    assert Parameters() == from_file(QUICK)
    file = tmp_path / "short.yaml"
    file.write_text("profile: mine\narms: [SSD]\n")
    cell = {}
    exec(cell_source(from_file(QUICK)), cell)
    injected = cell | yaml.safe_load(file.read_text())
    assert from_file(file) == from_notebook(injected)


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("SSD", ["SSD"]),
        ("SSD, SSD+DOAM-T", ["SSD", "SSD+DOAM-T"]),
        ("SSD,FCOS", ["SSD", "FCOS"]),
        ("[SSD, SSD+DOAM-T]", ["SSD", "SSD+DOAM-T"]),
        ('["SSD", "FCOS"]', ["SSD", "FCOS"]),
        ("SSD, 5 shots", ["SSD, 5 shots"]),
        ("[SSD, SSD, 5 shots]", ["SSD", "SSD, 5 shots"]),
        (
            "SSD+DOAM-O, hard images, equal steps, SSD",
            ["SSD+DOAM-O, hard images, equal steps", "SSD"],
        ),
        (["SSD, 5 shots"], ["SSD, 5 shots"]),
        ("SDD", ["SDD"]),
        (3, 3),
        ([3], [3]),
    ],
)
def test_one_name_is_a_list_and_commas_part_names_unless_a_name_has_them(typed, names):
    assert as_names(typed, ARMS) == names


@pytest.mark.parametrize(
    ("typed", "meant"),
    [(3, [3]), ("3", [3]), ("0,1, 2", [0, 1, 2]), ("[0, 1]", [0, 1]), (True, True), ("x", "x")],
)
def test_one_number_is_a_list(typed, meant):
    found = as_numbers(typed)
    assert found == meant and type(found) is type(meant)


def test_text_that_holds_a_mapping_is_read_as_one():
    assert as_written('{"Knife": "Scissor"}') == {"Knife": "Scissor"}
    assert as_written("{Knife: Scissor, toy: ''}") == {"Knife": "Scissor", "toy": ""}
    for text in ("Knife", "{Knife", "[1", 5, None):
        assert as_written(text) == text


def test_values_typed_after_p_reach_the_parameters():
    typed = {"arms": "SSD", "seeds": 4, "class_names": "{gun: Gun}", "dataset": "coco"}
    with pytest.raises(ParameterError, match="data_root: dataset coco needs the folder"):
        from_notebook(typed)
    found = from_notebook({**typed, "data_root": str(REPOSITORY)})
    assert (found.arms, found.seeds, found.class_names) == (("SSD",), (4,), {"gun": "Gun"})


def test_a_key_given_twice_is_refused_with_both_lines(tmp_path):
    file = tmp_path / "twice.yaml"
    file.write_text("epochs: 1\nseeds: [0]\nepochs: 2\n")
    with pytest.raises(
        ParameterError, match=r"twice\.yaml: epochs is given in line 1 and in line 3"
    ):
        from_file(file)


def test_a_mapping_may_lie_in_a_file(tmp_path):
    for text in ("gun: Gun\n", "dataset: coco\nclass_names: {gun: Gun}\n"):
        file = tmp_path / "names.yaml"
        file.write_text(text)
        assert read_mapping(str(file), "--classes") == {"gun": "Gun"}
    for wrong in ("gun: Gun", str(tmp_path / "nix.yaml")):
        with pytest.raises(ParameterError, match=r"--classes .*write a mapping of names"):
            read_mapping(wrong, "--classes")


def test_seeds_stay_below_what_generators_take():
    assert from_notebook({"seeds": [2**32 - 1]}).seeds == (2**32 - 1,)
    with pytest.raises(ParameterError, match=r"seeds = 20240101123456: .*less than"):
        from_notebook({"seeds": [20240101123456]})


ODD = (
    *(None, True, -1, 0, 1, 7, 0.5, 1e-9, 10**15, 10**400, float("nan"), float("inf"), 2**63),
    *("", " ", "x", "1e-4", "[", "{", "[]", "{}", "a" * 10_000, "a\nb", "../..", "<script>", "\0"),
    *("'", "\u202e", b"x", (1, 2), [], {}, [None], ["x"], {"a": 1}, {1: "x"}, object()),
)


@pytest.mark.parametrize("key", [*Parameters.model_fields, "no_such_key", "<b>" * 5000, "a\nb"])
def test_any_value_of_any_key_is_taken_or_refused_in_one_line_that_names_it(key, home, smoke):
    """Through the plan, where the values meet the generator's, the detectors' and the data's."""
    values = smoke.model_dump(mode="json") | {"arms": list(ARMS)}
    places = [{}] if key != "data_root" else [{"dataset": "coco"}, {"dataset": "opixray"}]
    for value in ODD:
        for more in places:
            try:
                found = from_values(values | more | {key: value}).check_machine()
                Study(found, lambda line: None).plan(["SSD", "YOLOv3", "FCOS"])
            except (ParameterError, DataError) as refused:
                said = str(refused)
                assert said.isprintable() and len(said) < 1000, value
                name = key if key.isprintable() else repr(key)
                if not isinstance(refused, DataError) and key not in ("dataset", "data_root"):
                    assert said.startswith((name[:80], "Object")), said


class Kernel:
    """A live kernel: cells run one by one, in any order, as JupyterLab runs them."""

    def __init__(self) -> None:
        self.shell = InteractiveShell()
        self.shell.user_ns["started"] = "by a startup file"
        self.cells = [
            cell.source
            for cell in nbformat.read(REPOSITORY / "book" / "attention_comparison.ipynb", 4).cells
            if "parameters" in cell.metadata.get("tags", []) or "from_notebook(" in cell.source
        ][:2]

    def run(self, source: str):
        done = self.shell.run_cell(source, store_history=True)
        if done.error_in_exec is not None:
            raise done.error_in_exec
        return self.shell.user_ns.get("parameters")


@pytest.fixture
def kernel():
    kernel = Kernel()
    yield kernel
    kernel.shell.history_manager.end_session()
    InteractiveShell.clear_instance()


def test_cells_run_twice_and_parameters_changed_in_a_live_kernel(kernel):
    parameters, check = kernel.cells
    kernel.run(parameters)
    assert kernel.run(check).seeds == (0,)
    assert kernel.run(check).seeds == (0,)
    kernel.run("epoch = 4; made_later = [1, {'a': 2}]")  # what later cells do is nobody's business
    kernel.run(parameters.replace("seeds = [0]", "seeds = [1]"))
    assert kernel.run(check).seeds == (1,)
    kernel.run("seeds = [7]")  # a cell of the reader's own, not the parameters cell
    kernel.run(parameters)
    assert kernel.run(check).seeds == (0,)


def test_what_papermill_injects_counts_and_an_unknown_key_of_it_is_refused(kernel):
    parameters, check = kernel.cells
    kernel.run(parameters)
    kernel.run('# Parameters\nepochs = 5\narms = "SSD"\n')
    assert kernel.run(check).epochs == 5 and kernel.run(check).arms == ("SSD",)
    kernel.run("# Parameters\nepoch = 5\n")
    with pytest.raises(ParameterError, match="epoch = 5: no such parameter"):
        kernel.run(check)


def test_a_misspelt_key_in_the_parameters_cell_is_refused_until_it_is_mended(kernel):
    parameters, check = kernel.cells
    kernel.run(parameters.replace("epochs = 3", "epohcs = 3"))
    with pytest.raises(ParameterError, match="epohcs = 3: no such parameter"):
        kernel.run(check)
    kernel.run(parameters)
    assert kernel.run(check).epochs == 3


def test_a_namespace_without_cells_may_hold_other_things():
    namespace = {"seeds": [0], "started": "by a startup file", "numbers": [1, 2]}
    namespace["parameters"] = from_notebook(namespace)
    namespace["seeds"] = [1]
    assert from_notebook(namespace).seeds == (1,)


def test_a_relative_data_root_means_one_folder_from_every_door(tmp_path, monkeypatch):
    """The parameter file's folder, where the command was typed, the repository: and only one."""
    work = tmp_path / "work"
    (work / "data/xray").mkdir(parents=True)
    file = work / "my.yaml"
    file.write_text("dataset: coco\ndata_root: data/xray\n")
    whole = str(work / "data/xray")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", str(tmp_path))
    assert from_file(file).data_root == whole  # typed elsewhere: the file's own folder
    monkeypatch.setenv("PWD", str(work))
    monkeypatch.chdir(REPOSITORY / "book")  # a notebook's kernel works there
    assert from_notebook({"dataset": "coco", "data_root": "data/xray"}).data_root == whole
    monkeypatch.setenv("PWD", str(tmp_path))
    with pytest.raises(ParameterError, match=r"no such folder in .*, .*; give the path"):
        from_notebook({"dataset": "coco", "data_root": "data/xray"})
    (tmp_path / "data/xray").mkdir(parents=True)
    with pytest.raises(ParameterError, match=r"may be .* and .*; write the whole path"):
        from_file(file)


def test_whole_paths_and_tilde_stay_as_they_are(tmp_path):
    assert found_folder(str(tmp_path), []) == str(tmp_path)
    assert found_folder("~/nowhere", [tmp_path]) == "~/nowhere"


@pytest.mark.slow
def test_a_zip_of_the_book_inside_another_repository_records_no_commit(tmp_path):
    """The other repository's commit would be a false origin."""
    git = ["git", "-c", "user.email=a@b", "-c", "user.name=n"]
    thesis = tmp_path / "thesis"
    subprocess.run([*git, "init", "-q", thesis], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "mine"], cwd=thesis, check=True)
    for name in ("__init__", "core/__init__", "core/provenance", "core/paths", "core/report"):
        copy = thesis / f"book/doamlib/{name}.py"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text((REPOSITORY / f"doamlib/{name}.py").read_text())
    code = "import torch, json; from doamlib.core.provenance import record;"
    code += "r = record(torch.device('cpu')); print(json.dumps([r['commit'], r['dirty']]))"
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "DOAM_"))}

    def recorded(folder, **more):
        environment = {**plain, "PYTHONPATH": str(folder), **more}
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)

    book = thesis / "book"
    assert recorded(book) == ["unknown", None]
    assert recorded(book, DOAM_COMMIT="abc-dirty") == ["abc", True]
    subprocess.run([*git, "init", "-q", book], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "ours"], cwd=book, check=True)
    ours, _ = recorded(book)
    theirs = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=thesis, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert len(ours) == 40 and ours != theirs
    # A hook of the other repository sets this; the book's own is asked all the same.
    assert recorded(book, GIT_DIR=str(thesis / ".git"))[0] == ours
