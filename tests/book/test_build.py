"""The build: the whole book with smoke parameters, and every way in which it must fail."""

import json
import os
import re
import shutil
import signal
import threading
import time
from concurrent.futures import as_completed
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from doamlib.book.build import (
    BuildError,
    _retell,
    build,
    check_claims,
    check_quotes,
    execute,
    run_all,
)
from doamlib.claims.claims import CLAIMS, outcomes
from doamlib.claims.scoreboard import show, statuses
from doamlib.core import paths
from doamlib.experiments.parameters import Parameters, cell_source
from doamlib.experiments.store import RunStore

pytestmark = pytest.mark.slow
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def test_a_copy_whose_new_text_cannot_be_written_stays_as_it_was(tmp_path, monkeypatch):
    source, made = tmp_path / "page.ipynb", tmp_path / "made.ipynb"
    for path, text in ((source, "new"), (made, "old")):
        nbformat.write(new_notebook(cells=[new_markdown_cell(text, id="a")]), path)
    before = made.read_bytes()

    def full(path, text):
        raise OSError("disk full")

    monkeypatch.setattr("doamlib.book.build.write_text", full)
    with pytest.raises(OSError, match="disk full"):
        _retell(source, made, "stamp")
    assert made.read_bytes() == before
    monkeypatch.undo()
    _retell(source, made, "stamp")
    assert made.read_bytes() == source.read_bytes()


@pytest.fixture(scope="module")
def built(study, smoke):
    """The landing page of the book, built once from what the repository holds."""
    study.results()
    lines = []
    return build(smoke, lines.append), lines


class Page(HTMLParser):
    """Links, anchors and loaded resources of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors, self.loads = [], set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors |= {values[key] for key in ("id", "name") if values.get(key)}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if tag in ("script", "img", "source", "iframe") and values.get("src"):
            self.loads.append(values["src"])
        if tag == "link" and values.get("rel") not in ("canonical", "search"):
            self.loads.append(values["href"])


def test_every_page_of_the_contents_is_rendered_with_its_outputs(built):
    page, lines = built
    assert page.is_file()
    for notebook in paths.book().glob("*.ipynb"):
        text = page.with_name(f"{notebook.stem}.html").read_text(encoding="utf-8")
        assert "cell_output" in text
    assert lines[-1] == "rendering the pages"


def test_links_lead_somewhere_and_nothing_is_loaded_from_a_network(built):
    root = built[0].parent
    pages = {path: Page(path) for path in root.glob("*.html")}
    faults = []
    for path, page in pages.items():
        for load in page.loads:
            if re.match(r"(https?:)?//", load):
                faults.append(f"{path.name} loads {load}")
            elif not load.startswith("data:"):
                target = path.parent / unquote(load.split("?")[0].split("#")[0])
                if not target.exists():
                    faults.append(f"{path.name} loads {load}, which is not there")
        for link in page.links:
            if re.match(r"[a-z]+:", link):
                continue
            name, anchor = urldefrag(link)
            target = (path.parent / unquote(name)).resolve() if name else path
            if not target.exists():
                faults.append(f"{path.name} links to {link}")
            elif anchor and target in pages and unquote(anchor) not in pages[target].anchors:
                faults.append(f"{path.name} links to {link}: no such anchor")
    assert faults == []


def test_a_second_build_executes_nothing(built, smoke, monkeypatch):
    lines, rendered = [], []
    monkeypatch.setattr("doamlib.book.build._render", lambda *folders: rendered.append(folders))
    build(smoke, lines.append)
    assert lines == ["rendering the pages"] and len(rendered) == 1


def test_parameters_are_shown_once_with_the_values_that_were_used(built, smoke):
    page = paths.build() / "pages" / "attention_comparison.ipynb"
    notebook = nbformat.read(page, as_version=4)
    shown = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    makes_runs = set(Parameters.model_fields) - {"image"}  # what a page with results reads
    assert [cell.source for cell in shown] == [cell_source(smoke, makes_runs)]
    assert all("injected-parameters" not in c.metadata.get("tags", []) for c in notebook.cells)


def test_a_tampered_result_is_noticed_before_rendering(built, study, tmp_path):
    shutil.copytree(paths.runs(), tmp_path, dirs_exist_ok=True)
    pages = [paths.build() / "pages" / "attention_comparison.ipynb"]
    check_quotes(pages, RunStore(tmp_path))
    path = tmp_path / study.results(["SSD"])["SSD", 0].key / "metrics.json"
    metrics = json.loads(path.read_text())
    metrics["AP"]["mAP"] += 0.001
    path.write_text(json.dumps(metrics))
    with pytest.raises(BuildError, match=f"result {path.parent.name} has changed"):
        check_quotes(pages, RunStore(tmp_path))
    shutil.rmtree(path.parent)
    with pytest.raises(BuildError, match=f"result {path.parent.name} is gone"):
        check_quotes(pages, RunStore(tmp_path))


def test_a_tampered_table_or_figure_is_noticed_before_rendering(built, tmp_path):
    """Any output, not only quoted numbers: the executed copy is no longer what was executed."""
    page = tmp_path / "attention_comparison.ipynb"
    made = paths.build() / "pages" / page.name
    shutil.copyfile(made, page)
    shutil.copyfile(made.with_suffix(".stamp"), page.with_suffix(".stamp"))
    check_quotes([page], RunStore())
    notebook = nbformat.read(page, as_version=4)
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    table = next(o for o in outputs if "<table" in o.get("data", {}).get("text/html", ""))
    html = table.data["text/html"]
    table.data["text/html"] = re.sub(r"\d", lambda d: str(9 - int(d[0])), html, count=1)
    nbformat.write(notebook, page)
    with pytest.raises(BuildError, match=r"attention_comparison\.ipynb: altered after it was"):
        check_quotes([page], RunStore())


@pytest.fixture
def scoreboard_page(tmp_path, monkeypatch):
    """An executed landing page that shows the verdicts of no results; a function changes them."""

    def make(change=lambda verdicts: None, name="index.ipynb"):
        shown = {}
        monkeypatch.setattr(
            "doamlib.claims.scoreboard.display", lambda data, raw, metadata: shown.update(metadata)
        )
        show(outcomes([]))
        change(shown["doam"]["verdicts"])
        cell = new_code_cell("show(...)")
        cell.outputs = [new_output("display_data", {"text/html": "x"}, metadata=shown)]
        nbformat.write(new_notebook(cells=[cell], metadata=KERNEL), tmp_path / name)
        return tmp_path / name

    return make


def test_every_claim_has_the_verdict_that_stored_results_give(scoreboard_page):
    judged = statuses(outcomes([]))
    assert len(judged) == len(CLAIMS)
    check_claims([scoreboard_page()], judged)
    with pytest.raises(BuildError, match="claim 7 has no verdict"):
        check_claims([scoreboard_page(lambda verdicts: verdicts.pop("7"))], judged)
    brighter = scoreboard_page(lambda verdicts: verdicts.update({"1": "supported"}))
    with pytest.raises(BuildError, match="claim 1: 'supported' is shown, 'small: not run yet"):
        check_claims([brighter], judged)


def test_another_page_may_show_some_claims_but_none_with_another_verdict(scoreboard_page):
    judged = statuses(outcomes([]))
    some = scoreboard_page(lambda verdicts: verdicts.pop("7"), "detectors.ipynb")
    check_claims([some], judged)
    with pytest.raises(BuildError, match=r"detectors\.ipynb: claim 5: 'small: not run yet; "):
        check_claims([some], judged | {"5": "supported"})


def test_a_landing_page_without_a_scoreboard_fails_the_build(small_book):
    with pytest.raises(BuildError, match=r"index\.ipynb: claim 1 has no verdict"):
        small_book(landing="x = 1")


@pytest.fixture
def small_book(tmp_path, monkeypatch, smoke):
    """A book of one notebook and one page; returns a function that builds it."""
    monkeypatch.setenv("DOAM_HOME", str(tmp_path / "home"))
    source = tmp_path / "book"
    source.mkdir()
    (source / "_toc.yml").write_text("format: jb-book\nroot: index\nchapters:\n- file: page\n")
    (source / "references.bib").write_text("")
    for folder in ("_vendor", "_static"):
        shutil.copytree(paths.book() / folder, source / folder)

    def make(code="x = 1", text="Fine.", index="# Book\n\nFine.\n", landing=None):
        parameters = new_code_cell(cell_source(smoke), metadata={"tags": ["parameters"]})
        cells = [new_markdown_cell(f"# Page\n\n{text}"), parameters, new_code_cell(code)]
        nbformat.write(new_notebook(cells=cells, metadata=KERNEL), source / "page.ipynb")
        if landing is None:
            (source / "index.md").write_text(index)
        else:
            cells = [new_markdown_cell(index), parameters, new_code_cell(landing)]
            nbformat.write(new_notebook(cells=cells, metadata=KERNEL), source / "index.ipynb")
        return build(smoke, lambda line: None, source=source)

    return make


def test_a_failing_cell_fails_the_build_with_notebook_cell_and_error(small_book):
    with pytest.raises(
        BuildError, match=r"page\.ipynb, cell 3: ZeroDivisionError: division by zero"
    ):
        small_book(code="ratio = 1 / 0")
    assert not (paths.build() / "pages" / "page.ipynb").exists()


def test_an_undefined_reference_fails_the_build(small_book):
    for _ in range(2):  # the second time, Sphinx must not take the faulty page from its cache
        with pytest.raises(BuildError, match="no-such-page"):
            small_book(index="# Book\n\nSee {doc}`no-such-page`.\n")


def test_a_number_that_was_never_quoted_fails_the_build(small_book):
    with pytest.raises(BuildError, match="never-stored"):
        small_book(text="mAP {glue:text}`never-stored:.1f`.")


def test_only_what_changed_is_executed_again(small_book):
    code = "from pathlib import Path\nwith Path('{}').open('a') as f: f.write('x')"
    count = paths.home() / "count"
    count.parent.mkdir(parents=True)
    small_book(code=code.format(count))
    small_book(code=code.format(count), index="# Another title\n\nFine.\n")
    assert count.read_text() == "x"
    small_book(code=code.format(count) + "\n# changed")
    assert count.read_text() == "xx"


def test_a_page_whose_text_alone_changed_keeps_its_outputs(small_book):
    code = "from pathlib import Path\nprint('run', Path('{}').open('a').write('x'))"
    count = paths.home() / "count"
    count.parent.mkdir(parents=True)
    small_book(code=code.format(count), text="The first words.")
    page = small_book(code=code.format(count), text="Other words.").with_name("page.html")
    assert count.read_text() == "x"
    shown = page.read_text()
    assert "Other words." in shown and "The first words." not in shown and "run 1" in shown
    small_book(code=code.format(count), text="Other words.")
    check_quotes([paths.build() / "pages" / "page.ipynb"], RunStore())


def test_an_older_copy_that_is_put_back_is_noticed(small_book, smoke, tmp_path):
    page = small_book(index="# Book\n\nThe new words.\n")
    assert "The new words." in page.read_text()
    source = tmp_path / "book" / "index.md"
    source.write_text("# Book\n\nThe old words.\n")
    os.utime(source, (1e9, 1e9))
    build(smoke, lambda line: None, source=source.parent)
    assert "The old words." in page.read_text()


def test_terms_of_a_page_that_is_not_written_anew_stay_in_the_search(small_book, tmp_path):
    (tmp_path / "book" / "_index.yml").write_text("index: [zebra]\npage: [okapi]\n")
    search = small_book(text="Some words.").with_name("searchindex.js")
    assert '"zebra"' in search.read_text() and '"okapi"' in search.read_text()
    small_book(text="Some words.", index="# Book\n\nOther words.\n")
    assert '"zebra"' in search.read_text() and '"okapi"' in search.read_text()


def test_a_rendering_that_was_killed_is_done_again_as_a_whole(small_book, monkeypatch):
    landing = small_book(text="Some words.")
    search = landing.with_name("searchindex.js")
    with monkeypatch.context() as patch:  # killed as Sphinx writes: half a page, half an index
        patch.setattr("doamlib.book.build.subprocess.run", killed)
        with pytest.raises(KeyboardInterrupt):
            small_book(text="Some words.")
    landing.write_text(landing.read_text()[:1000])
    search.write_text(search.read_text()[:50])
    small_book(text="Some words.")
    assert landing.read_text().rstrip().endswith("</html>")
    assert search.read_text().endswith(")") and '"page"' in search.read_text()


def killed(*_, **__):
    raise KeyboardInterrupt


def test_a_failed_build_leaves_the_pages_that_were_rendered_before(small_book):
    page = small_book(code="print('before')").with_name("page.html")
    with pytest.raises(BuildError, match="claim 1 has no verdict"):
        small_book(code="print('after')", landing="x = 1")
    assert "after" in (paths.build() / "pages" / "page.ipynb").read_text()
    assert "'before'" in page.read_text() and "'after'" not in page.read_text()


def test_a_page_may_declare_few_parameters_and_is_given_all(smoke, tmp_path):
    """Injected is everything; shown are the page's own, with the values that were used."""
    declared = new_code_cell(cell_source(smoke, ["profile"]), metadata={"tags": ["parameters"]})
    code = (
        "from doamlib.experiments import from_notebook\nprint(from_notebook(globals()).as_json())"
    )
    page = new_notebook(cells=[declared, new_code_cell(code)], metadata=KERNEL)
    nbformat.write(page, tmp_path / "few.ipynb")
    execute(tmp_path / "few.ipynb", tmp_path / "out.ipynb", smoke)
    shown, checked = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells
    assert shown.source == declared.source and "profile = 'smoke'" in shown.source
    assert checked.outputs[0].text.strip() == smoke.as_json()


def test_every_notebook_runs_alone_with_plain_papermill(study, smoke, tmp_path):
    """The readme's example: a file, one parameter on top, and a key that papermill lets through."""
    import subprocess
    import sys

    papermill = Path(sys.executable).with_name("papermill")
    params = Path(__file__).parents[2] / "params" / "smoke.yaml"
    command = [papermill, paths.book() / "doam.ipynb", tmp_path / "out.ipynb", "-f", params]
    done = subprocess.run([*command, "-p", "seeds", "[1]"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    refused = subprocess.run([*command, "-p", "epoch", "3"], capture_output=True, text=True)
    assert refused.returncode != 0
    assert "ParameterError: epoch = 3: no such parameter" in refused.stderr


@pytest.fixture
def interruptible():
    """Where the tests run in the background, a shell has set interrupts to be ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_after_an_interrupt_pages_at_work_are_finished_and_no_other_begins(
    interruptible, monkeypatch
):
    said, told, done, waiting = [], threading.Event(), [], threading.Event()

    def wait_for(running):
        waiting.set()
        return as_completed(running)

    def report(line):
        said.append(line)
        told.set()

    def page(name):
        if name == "second":
            assert waiting.wait(60)
            time.sleep(0.5)  # from there the main thread goes on to sleep; only then interrupt it
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        assert told.wait(60)
        done.append(name)

    monkeypatch.setattr("doamlib.book.build.as_completed", wait_for)
    with pytest.raises(KeyboardInterrupt):
        run_all([partial(page, name) for name in ("first", "second", "third", "fourth")], report)
    assert sorted(done) == ["first", "second"]
    assert said == ["stopping; pages at work are finished first"]
