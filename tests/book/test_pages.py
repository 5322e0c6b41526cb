"""What every notebook in the repository must be before anybody executes it."""

import re
from pathlib import Path

import nbformat
import pytest
import sync_notebooks

from doamlib.book import first_cell
from doamlib.book.build import toc_notebooks
from doamlib.claims.claims import CLAIMS
from doamlib.experiments.arms import ARMS
from doamlib.experiments.parameters import ParameterError, Parameters, from_file, from_notebook
from doamlib.experiments.study import run_config
from doamlib.experiments.values import read_yaml

REPOSITORY = Path(__file__).parents[2]
BOOK = REPOSITORY / "book"
NOTEBOOKS = sorted(path for path in BOOK.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(text):
    """Markdown without what may hold figures: roles, code, mathematics, links, citations."""
    for pattern in (
        r"```.*?```",
        r"\{[a-z:]+\}`[^`]*`",
        r"`[^`]*`",
        r"\$\$.*?\$\$",
        r"\$[^$]*\$",
        r"\]\([^)]*\)",
        r"https?://\S+",
    ):
        text = re.sub(pattern, " ", text, flags=re.DOTALL)
    return text


def test_every_notebook_is_in_the_table_of_contents():
    assert sorted(toc_notebooks(BOOK)) == [path.relative_to(BOOK).as_posix() for path in NOTEBOOKS]


def test_no_outputs_and_a_kernel_to_run_on(notebook):
    assert all(not cell.outputs and cell.execution_count is None for cell in code_cells(notebook))
    assert notebook.metadata.kernelspec.name == "python3"


def test_the_first_code_cell_holds_what_the_page_reads_and_the_next_checks_it(notebook):
    first, *cells = code_cells(notebook)
    assert (first.source, first.metadata.tags) == (first_cell.SOURCE, first_cell.TAGS)
    assert "parameters" in cells[0].metadata.tags
    assert cells[0].source == sync_notebooks.parameters_cell(notebook)
    assert "from_notebook(globals())" in cells[1].source
    tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1


def test_the_first_cell_is_silent_where_the_library_is(capsys):
    exec(first_cell.SOURCE, {})
    assert capsys.readouterr() == ("", "")


def test_the_first_cell_says_what_to_install_where_it_is_not(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"needs doamlib.*pip install -e FOLDER"):
        exec(first_cell.SOURCE, {})


def test_what_a_page_reads_is_found_in_its_code():
    keys_read = sync_notebooks.keys_read
    assert keys_read("colophon(parameters)") == ["profile"]
    assert keys_read("rng(parameters.data_seed)") == ["profile", "data_seed"]
    opened = keys_read("study = Study(parameters)\nstudy.data.train")
    assert {"profile", "data_root", "class_names", "device", "processes"} < set(opened)
    assert not {"arms", "seeds", "epochs", "width"} & set(opened)
    of_runs = [key for key in Parameters.model_fields if key != "image"]
    assert keys_read("Study(parameters).results(['SSD'])") == of_runs
    assert keys_read("Study(parameters).found(['SSD'])") == of_runs
    assert keys_read("page = TablePage(parameters, 'IV')") == of_runs
    assert keys_read("photo(parameters.image)") == ["profile", "image"]


def injected(notebook, values):
    """The globals of a page's kernel after papermill's cell, as papermill writes it."""
    cells = [code_cells(notebook)[1].source]
    if values:
        given = "\n".join(f"{key} = {value!r}" for key, value in values.items())
        cells.append(f"# Parameters\n{given}\n")
    namespace = {"In": ["", *cells]}
    for cell in cells:
        exec(cell, namespace)
    return namespace


@pytest.mark.parametrize(
    "file", sorted((REPOSITORY / "params").glob("*.yaml")), ids=lambda f: f.stem
)
def test_a_file_means_the_same_runs_on_every_page(file, tmp_path, monkeypatch):
    """Also where a page declares fewer keys than the file gives: nothing of it is lost."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    root = {"data_root": str(tmp_path)} if file.stem == "opixray" else {}
    wanted = from_file(file, **root)
    keys = [run_config(wanted, ARMS[arm], wanted.seeds[0]).digest() for arm in wanted.arms]
    for path in NOTEBOOKS:
        found = from_notebook(injected(nbformat.read(path, 4), {**read_yaml(file), **root}))
        assert found == wanted, path.stem
        assert keys == [run_config(found, ARMS[arm], found.seeds[0]).digest() for arm in found.arms]


def test_an_unknown_key_is_refused_on_every_page_and_its_cell_alone_is_the_quick_study(notebook):
    assert from_notebook(injected(notebook, {})) == Parameters()
    with pytest.raises(ParameterError, match="epoch = 3: no such parameter"):
        from_notebook(injected(notebook, {"epoch": 3}))


def test_cells_are_small_and_plain(notebook):
    for cell in code_cells(notebook)[2:]:
        assert len(cell.source.splitlines()) <= 40
        assert not re.search(r"^\s*[%!]", cell.source, re.MULTILINE), cell.source


def test_the_page_says_what_it_teaches_needs_and_costs(notebook):
    head = notebook.cells[0].source
    landing = "landing.opening_picture(" in "".join(c.source for c in code_cells(notebook))
    # The landing page tells in two sentences what the book is, and its doors say the rest.
    for promise in () if landing else ("**You will learn**", "**You need**", "**Cost**"):
        assert promise in head
    assert not landing or head.count(". ") + head.endswith(".") == 2
    assert "colophon(" in code_cells(notebook)[-1].source


def typed_numbers(text):
    """Decimal numbers in prose; thresholds, versions and identifiers are names."""
    names = r"IoU (above )?0\.5\b|Python 3\.\d+( to 3\.\d+)?|CC BY 4\.0|arXiv:\d+\.\d+"
    names = re.sub(names, " ", prose(text))
    return re.findall(r"\d+\.\d+|\d+ ?%", names)


def test_no_result_is_typed_by_hand(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            assert typed_numbers(cell.source) == [], cell.source[:200]


def test_markdown_pages_hold_no_typed_result_either():
    for path in set(BOOK.glob("*.md")) - {BOOK / "START.md"}:  # JupyterLab's, made anew each time
        assert typed_numbers(path.read_text()) == [], path.name


def in_short(cells):
    """The bullets under a page's "In short"."""
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    section = text.split("\n## In short\n", 1)[1].split("\n## ", 1)[0]
    return [line for line in section.splitlines() if line.startswith("- ")]


def test_the_page_of_a_claim_opens_and_ends_with_what_was_found():
    pages = {}
    for claim in CLAIMS:
        if claim.number != 13:  # a fact, told in the text
            pages.setdefault(claim.page, []).append(claim.number)
    for page, numbers in pages.items():
        cells = nbformat.read(BOOK / f"{page}.ipynb", as_version=4).cells
        head = cells[0].source.split(":::{admonition}")[0]
        for number in numbers:
            for kind in ("found", "sure"):
                assert f"{{glue:text}}`{kind}-{number}`" in head
        last = in_short(cells)[-len(numbers) :]
        assert last == [f"- {{glue:text}}`found-{number}`" for number in numbers], page


def test_the_page_beyond_the_claims_opens_and_ends_with_what_was_found():
    cells = nbformat.read(BOOK / "beyond.ipynb", as_version=4).cells
    head = cells[0].source.split(":::{admonition}")[0]
    assert "{glue:text}`bey-found`" in head and "{glue:text}`bey-sure`" in head
    assert in_short(cells)[-1] == "- {glue:text}`bey-found`"


def test_the_check_for_typed_numbers_sees_one():
    assert typed_numbers("DOAM gains 3.12 mAP, that is 4 %") == ["3.12", "4 %"]
    assert typed_numbers("gains {glue:text}`gain:.1f` at IoU 0.5, $k = 1.5$, `lr=0.1`") == []


def test_every_quoted_name_is_stored_on_the_same_page(notebook):
    wanted = {
        name.split(":")[0]
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for name in re.findall(r"\{glue:text\}`([^`]+)`", cell.source)
    }
    code = "\n".join(cell.source for cell in code_cells(notebook))
    stored = set(re.findall(r"quote\(\s*f?\"([^\"]+)\"", code))
    stored |= {"page-profile", "page-seconds", "page-gib"}
    shown = r"pages\.show_verdicts\(([\d, ]+)\)|TablePage\(.*claims=\(([\d, ]+)\)"
    quoted = "quote_findings(" in code or "page.verdicts()" in code
    for numbers in map("".join, re.findall(shown, code) if quoted else ()):
        stored |= {f"{kind}-{n}" for n in re.findall(r"\d+", numbers) for kind in ("found", "sure")}
    patterns = [re.sub(r"\\\{.*?\\\}", ".+", re.escape(name)) for name in stored]
    assert all(any(re.fullmatch(p, name) for p in patterns) for name in wanted), wanted - stored
