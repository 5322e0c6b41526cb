"""A table's page: what is trained, what is only shown, and that layers stay apart."""

from types import SimpleNamespace

import pytest
from fabricated import FULL, fabricate, reference

from doamlib.book import pages, table_page
from doamlib.book.table_page import TablePage
from doamlib.experiments.arms import READINGS, TABLES

PAIRS = [("SSD+DOAM-T", "SSD")]
BEYOND = ("SSD+DOAM-O, equal steps", "SSD+DOAM-O, hard images")


class Study:
    """Trains what it is asked for; of the arms beyond the table one exists."""

    def __init__(self, parameters):
        self.seeds, self.asked = parameters.seeds, []
        self.data = SimpleNamespace(test="the test images")

    def announce(self, arms):
        self.asked = list(arms)
        return [(arm, seed) for seed in self.seeds for arm in self.asked]

    def train(self, plan):
        return {(arm, seed): fabricate(arm, seed) for arm, seed in plan}

    def found(self, arms):
        return {(BEYOND[0], 1): fabricate("SSD+DOAM-O", 1)} if BEYOND[0] in arms else {}


@pytest.fixture
def page(smoke, monkeypatch):
    monkeypatch.setattr(table_page, "Study", Study)
    stored = {("SSD", 7): fabricate("SSD", 7), ("SSD+DOAM-T", 7): fabricate("SSD+DOAM-T", 7)}
    monkeypatch.setattr(pages, "stored_runs", lambda arms: (None, stored))
    parameters = smoke.model_copy(update={"seeds": (1, 2)})
    return TablePage(parameters, "VII", PAIRS, claims=[7], more=["SSD+SE"], if_trained=BEYOND)


def test_the_rows_are_trained_and_what_is_beyond_them_is_shown_if_it_exists(page, capsys):
    page.run()
    assert page.study.asked == [*TABLES["VII"].values(), "SSD+SE"]
    assert set(page.results) - set(page.study.announce(page.study.asked)) == {(BEYOND[0], 1)}
    assert capsys.readouterr().out.splitlines() == [
        f"{BEYOND[0]}: is shown in this run",
        f"{BEYOND[1]}: has not been trained in this run",
    ]


def test_layers_hold_their_own_runs_and_every_one_is_a_source(page):
    page.run()
    assert {title: {seed for _, seed in runs} for title, runs in page.layers.items()} == {
        "stored reference": {7},
        "this run": {1, 2},
    }
    assert len(page.sources) == len(page.results) + len(page.reference)
    plain = page.of(["SSD"])
    assert [*plain["stored reference"]] == [("SSD", 7)]
    assert [*plain["this run"]] == [("SSD", 1), ("SSD", 2)]


def test_differences_are_the_pages_own_unless_others_are_asked_for(page):
    page.run()
    own, other = page.differences(), page.differences([("SSD+DOAM-O", "SSD+DOAM-T")], "ST")
    assert all(list(frame.index) == ["SSD+DOAM-T − SSD"] for frame in own.values())
    assert own["stored reference"].n.item() == 1 and own["this run"].n.item() == 2
    assert other["stored reference"].empty and len(other["this run"]) == 1
    theirs = page.printed.ST["SSD+DOAM-O"] - page.printed.ST["SSD+DOAM-T"]
    assert other["this run"].paper.item() == pytest.approx(theirs)


def test_samples_are_of_the_first_seed(page, monkeypatch):
    page.run()
    drawn = []
    monkeypatch.setattr(
        table_page.samples, "sample_detections", lambda data, runs: drawn.append((data, [*runs]))
    )
    page.samples(["SSD+DOAM-T", "SSD"])
    page.samples()
    assert drawn[0] == ("the test images", [("SSD+DOAM-T", 1), ("SSD", 1)])
    assert {seed for _, seed in drawn[1][1]} == {1} and len(drawn[1][1]) == len(page.arms) - 1


def test_other_readings_stand_in_tables_and_not_in_figures(smoke, monkeypatch):
    """Claims 1 and 2 are about attention and may be judged by any reading that is stored."""
    stored = reference(smoke, seeds=1, changes=FULL)
    for run in [run for run in stored.results if run[0] == READINGS[2]]:
        del stored.results[run]
    monkeypatch.setattr(table_page, "Study", Study)
    monkeypatch.setattr(pages, "references", lambda: [stored])
    page = TablePage(smoke, "IV", [("SSD+DOAM-T", "SSD"), ("SSD+DOAM-O", "SSD+DOAM-T")], (1, 2))
    page.run()
    page.run()  # a cell may be run again
    rows = ["SSD+DOAM-T − SSD", "SSD+DOAM-O − SSD+DOAM-T", f"{READINGS[1]} − SSD"]
    assert list(page.differences()["stored reference"].index) == rows
    assert list(page.differences()["this run"].index) == rows[:2]
    assert READINGS[1] not in {arm for arm, _ in page.layers["stored reference"]}
    assert READINGS[1] in {arm for arm, _ in page.reference}
    others = TablePage(smoke, "VII", PAIRS, claims=[7])  # about over-sampling: the code's alone
    others.run()
    assert not {arm for arm, _ in others.reference} & set(READINGS[1:])
