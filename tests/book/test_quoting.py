"""A number in prose is the stored one, and tampering on either side is seen."""

import json
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, output_from_msg

from doamlib.book import known, quoting
from doamlib.book.quoting import GLUE_PREFIX, quote, stale_quotes


class Stored:
    """Stands in for a Result."""

    def __init__(self, key="k1", digest="d1"):
        self.name, self._digest = key, digest

    def digest(self):
        return self._digest


@pytest.fixture
def executed(tmp_path, monkeypatch):
    """Run ``quote`` as a notebook would and store what it displays as an executed copy."""

    def run(*arguments):
        shown = []
        monkeypatch.setattr(
            quoting, "display", lambda data, raw, metadata: shown.append((data, metadata))
        )
        quote(*arguments)
        cell = new_code_cell("quote(...)")
        for data, metadata in shown:
            content = {"data": data, "metadata": metadata, "transient": {}}
            cell.outputs.append(
                output_from_msg({"header": {"msg_type": "display_data"}, "content": content})
            )
        path = tmp_path / "page.ipynb"
        nbformat.write(new_notebook(cells=[cell]), path)
        return path

    return run


@pytest.mark.parametrize(
    ("value", "text"), [(70.894, "70.894"), (5, "5"), (0.0, "0"), (-1.0, "-1"), ("a lot", "a lot")]
)
def test_the_page_holds_the_full_number_under_its_name(executed, value, text):
    output = nbformat.read(executed("gain", value), 4).cells[0].outputs[0]
    assert output.data == {GLUE_PREFIX + "text/plain": text}
    assert output.metadata["scrapbook"]["name"] == "gain"


@pytest.mark.parametrize(
    "text", ["23,740", "0.5000", "1e-4", "+0.50", "0.45", "7 cores", "1.2 ± 0.3", "-", "(no seeds)"]
)
def test_a_text_is_shown_as_it_is_on_the_page_and_in_jupyterlab(executed, text):
    from myst_nb.core.variables import format_plain_text

    page = executed("gain", text)
    notebook = nbformat.read(page, 4)
    assert (
        format_plain_text(notebook.cells[0].outputs[0].data[GLUE_PREFIX + "text/plain"], "") == text
    )
    assert known.values_in(notebook) == {"gain": text}
    assert known.spelled("gain", known.QUOTED) == text
    assert stale_quotes(page, {}) == []


def test_untouched_is_not_stale(executed):
    assert stale_quotes(executed("gain", 1.5, Stored()), {"k1": "d1"}) == []


def test_a_changed_result_is_seen(executed):
    (fault,) = stale_quotes(executed("gain", 1.5, Stored()), {"k1": "other"})
    assert (
        fault == "page.ipynb, code cell 1, gain: result k1 has changed since this page was executed"
    )


def test_a_vanished_result_is_seen(executed):
    (fault,) = stale_quotes(executed("gain", 1.5, Stored()), {})
    assert "result k1 is gone" in fault


def test_a_number_edited_in_the_executed_copy_is_seen(executed):
    path = executed("gain", 1.5, Stored())
    content = json.loads(path.read_text())
    content["cells"][0]["outputs"][0]["data"][GLUE_PREFIX + "text/plain"] = ["2.5"]
    path.write_text(json.dumps(content))
    (fault,) = stale_quotes(path, {"k1": "d1"})
    assert "the quoted number is not the one that was computed" in fault


def stored_results(number):
    made = {"seed": 0, "commit": "abcdef0123456", "dirty": False, "training_seconds": 900.0}
    made["hardware"] = {"device": "cpu", "cpu": "a processor"}
    return [
        SimpleNamespace(
            **{"key": f"k{n}", "name": f"r{n}", "origin": "reference", "provenance": made},
            identity={"fingerprint": "<data>"},
            digest=lambda: "d",
        )
        for n in range(number)
    ]


def test_what_verdicts_were_read_from_is_a_source_too_and_once(monkeypatch, smoke):
    shown = []
    monkeypatch.setattr(quoting, "display", lambda data, **rest: shown.append((data, rest)))
    drawn, both, judged = stored_results(3)
    behind = {1: SimpleNamespace(runs={"a": judged, "b": both})}
    quoting.colophon(smoke, [drawn, both], behind)
    assert list(shown[0][1]["metadata"]["doam"]["sources"]) == ["r0", "r1", "r2"]
    assert shown[0][0]["text/html"].count(">k1<") == 1


@pytest.mark.parametrize(("number", "folded"), [(1, False), (7, False), (8, True), (30, True)])
def test_many_sources_are_folded_and_none_is_left_out(monkeypatch, smoke, number, folded):
    shown = []
    monkeypatch.setattr(quoting, "display", lambda data, **rest: shown.append((data, rest)))
    results = stored_results(number)
    quoting.colophon(smoke, results)
    html, sources = shown[0][0]["text/html"], shown[0][1]["metadata"]["doam"]["sources"]
    assert list(sources) == [f"r{n}" for n in range(number)]
    assert all(f">k{n}<" in html for n in range(number)) and "&lt;data&gt;" in html
    assert html.startswith("<details") is folded and "a processor" in html
    hours = f"<summary>{number} results, {number / 4:.1f} hours of training: show each</summary>"
    assert (hours in html) is folded
