"""Runs beside each other and beside the paper: hand-worked pairs, missing seeds, one seed."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from doamlib.claims import comparison
from doamlib.data.classes import CLASSES, SHORT_NAMES
from doamlib.experiments.arms import READINGS, TABLES
from doamlib.experiments.results import of_arms


def spread(mean: float, sd: float) -> str:
    """A table's cell, with spaces at which no line is broken."""
    return f"{mean} ± {sd}".replace(" ", "\N{NO-BREAK SPACE}")


def result(
    mean_ap,
    levels=(),
    classes=(),
    seconds=10.0,
    steps=4,
    rates=(20.0, 30.0),
    processor="a",
    classes_of_data=CLASSES,
):
    """Stands in for a Result; APs in points, stored as shares like the real one's."""
    ap = dict(zip(CLASSES, (v / 100 for v in classes), strict=False)) | {"mAP": mean_ap / 100}
    by_level = {f"OL{n}": {"mAP": v / 100} for n, v in enumerate(levels, start=1) if v is not None}
    history = SimpleNamespace(
        loss=[1.0] * steps, epochs=[{"images_per_second": rate} for rate in rates]
    )
    return SimpleNamespace(
        metrics={"AP": ap, "levels": by_level},
        history=history,
        config=SimpleNamespace(data=SimpleNamespace(classes=classes_of_data)),
        provenance={
            "training_seconds": seconds,
            "evaluation_seconds": 1.0,
            "hardware": {"device": "cpu", "cpu": processor},
        },
    )


@pytest.fixture
def runs():
    """SSD and DOAM-T share seeds 0 and 1; seed 2 has SSD only, seed 3 DOAM-T only."""
    return {
        ("SSD", 0): result(50, levels=(60, 50, 40), classes=(50, 30, 70, 45, 55)),
        ("SSD", 1): result(54, levels=(61, 55, 44), classes=(54, 34, 74, 49, 59)),
        ("SSD", 2): result(99),
        ("SSD+DOAM-T", 0): result(53, levels=(61, 53, 45), classes=(52, 38, 70, 47, 58)),
        ("SSD+DOAM-T", 1): result(55, levels=(62, 55, 46), classes=(54, 38, 75, 49, 59)),
        ("SSD+DOAM-T", 3): result(1),
        ("SSD+SE", 5): result(70),
    }


def test_other_rules_of_ap_are_read_where_a_run_keeps_them(runs):
    metrics = runs["SSD", 0].metrics
    metrics["COCO"] = {"AP50": 0.5, "AP50:95": 0.31}
    metrics["AP_11_point"] = {"mAP": 0.52}
    one = {("SSD", 0): runs["SSD", 0]}
    assert comparison.scores(one, "SSD", "AP50:95") == {0: pytest.approx(31)}
    table = comparison.measured(one, ["mAP", *comparison.OTHER_RULES])
    assert table.loc["SSD"].tolist() == ["50.0", "31.0", "52.0", 1]


# --- the paper's side -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "arm", "column", "value"),
    [
        ("IV", "SSD", "mAP", 70.89),
        ("IV", "SSD+DOAM-O", "mAP", 74.57),
        ("IV", "SSD+Non-local", "SC", 95.26),
        ("V", "SSD+DOAM-T", "OL3", 70.78),
        ("V", "SSD+Non-local", "OL3", 65.87),
        ("VI", "SSD", "MU", 83.27),
        ("VI", "YOLOv3+DOAM-T", "FO", 90.23),
        ("VI", "FCOS+DOAM-O", "mAP", 83.80),
        ("VII", "SSD+DOAM-F", "UT", 73.34),
        ("IX", "SSD+EG+MA/G", "mAP", 73.12),
        ("IX", "SSD+DOAM-T", "mAP", 74.01),
        ("IX", "SSD+DOAM-O", "mAP", 74.27),
    ],
)
def test_a_printed_value_stands_under_its_arm(table, arm, column, value):
    """Paper: Tables IV to VII and IX."""
    assert comparison.printed(table).loc[arm, column] == value


@pytest.mark.parametrize("table", ["IV", "V", "VI", "VII", "IX"])
def test_every_row_of_a_table_has_its_arm_once(table):
    frame = comparison.printed(table)
    assert list(frame.index) == list(TABLES[table].values())
    expected = comparison.LEVELS if table == "V" else ("mAP", *SHORT_NAMES)
    assert list(frame.columns) == list(expected)


def test_rows_that_two_tables_share_are_printed_alike():
    four, six = comparison.printed("IV"), comparison.printed("VI")
    shared = ["SSD", "SSD+DOAM-T", "SSD+DOAM-O"]
    assert (four.loc[shared] == six.loc[shared]).all(axis=None)


# --- our side -------------------------------------------------------------------------------------


def test_scores_are_points_by_seed(runs):
    assert comparison.scores(runs, "SSD") == pytest.approx({0: 50, 1: 54, 2: 99})
    assert comparison.scores(runs, "SSD", "ST") == pytest.approx({0: 30, 1: 34})
    assert comparison.scores(runs, "SSD", "OL3") == pytest.approx({0: 40, 1: 44})
    assert comparison.scores(runs, "FCOS") == {}


def test_other_papers_rules_are_columns_of_their_own():
    one = result(50)
    one.metrics |= {"COCO": {"AP50": 0.6, "AP50:95": 0.25}, "AP_11_point": {"mAP": 0.45}}
    runs = {("SSD", 3): one}
    assert comparison.scores(runs, "SSD", "AP50:95") == pytest.approx({3: 25})
    assert comparison.scores(runs, "SSD", "11-point") == pytest.approx({3: 45})
    assert list(comparison.measured(runs, comparison.OTHER_RULES).loc["SSD"]) == ["25.0", "45.0", 1]


def test_a_level_without_items_has_no_score():
    empty_level = {("SSD", 0): result(50, levels=(60, None, 40))}
    assert comparison.scores(empty_level, "SSD", "OL2") == {}
    assert comparison.scores(empty_level, "SSD", "OL3") == pytest.approx({0: 40})
    assert comparison.measured(empty_level, comparison.LEVELS).loc["SSD", "OL2"] == "–"


def test_mean_and_sample_deviation_over_seeds(runs):
    two = {key: value for key, value in runs.items() if key in (("SSD", 0), ("SSD", 1))}
    table = comparison.measured(two)
    row = table.loc["SSD"]
    assert table.index.name == "arm"
    assert row["mAP"] == spread(52.0, 2.8)  # sqrt(((50-52)^2 + (54-52)^2) / 1)
    assert row["ST"] == spread(32.0, 2.8)
    assert row["n"] == 2


def test_one_seed_has_no_deviation(runs):
    row = comparison.measured(runs).loc["SSD+SE"]
    assert (row["mAP"], row["FO"], row["n"]) == ("70.0", "–", 1)


def test_arms_come_in_the_order_of_the_runs(runs):
    assert comparison.arms_in(runs) == ["SSD", "SSD+DOAM-T", "SSD+SE"]
    assert list(comparison.measured(runs).index) == ["SSD", "SSD+DOAM-T", "SSD+SE"]


def test_only_shared_seeds_are_paired(runs):
    gain = comparison.gain(runs, "SSD+DOAM-T", "SSD")
    assert gain == pytest.approx({0: 3, 1: 1})  # unpaired means would differ by -31.3
    assert comparison.gain(runs, "SSD", "SSD+DOAM-T") == pytest.approx({0: -3, 1: -1})
    assert comparison.gain(runs, "SSD+DOAM-T", "SSD", "OL3") == pytest.approx({0: 5, 1: 2})
    assert comparison.gain(runs, "SSD+SE", "SSD") == {}
    assert comparison.gain(runs, "FCOS", "SSD") == {}


def test_a_difference_with_its_interval_worked_by_hand(runs):
    row = comparison.differences(runs, [("SSD+DOAM-T", "SSD")], "IV").loc["SSD+DOAM-T − SSD"]
    half = stats.t.ppf(0.975, df=1) * np.sqrt(2) / np.sqrt(2)  # sd of 3 and 1 is sqrt(2), n is 2
    assert row["paper"] == pytest.approx(3.12)
    assert row["ours"] == pytest.approx(2)
    assert (row["low"], row["high"]) == pytest.approx((2 - half, 2 + half))
    assert row["n"] == 2


def test_one_seed_gives_a_difference_without_interval():
    one = {("SSD", 0): result(50), ("SSD+DOAM-T", 0): result(53)}
    row = comparison.differences(one, [("SSD+DOAM-T", "SSD")], "IV").iloc[0]
    assert row["ours"] == pytest.approx(3)
    assert np.isnan([row["low"], row["high"]]).all()


def test_pairs_without_results_are_left_out_and_unprinted_ones_have_no_paper_value(runs):
    pairs = [("SSD+DOAM-T", "SSD"), ("SSD+SE", "SSD")]
    by_level = comparison.differences(runs, pairs, "V", "OL2")
    assert list(by_level.index) == ["SSD+DOAM-T − SSD"]
    assert by_level["paper"].item() == pytest.approx(72.45 - 69.54)
    unprinted = comparison.differences(runs, pairs[:1], "V", "mAP")  # Table V prints levels only
    assert np.isnan(unprinted["paper"].item()) and unprinted["ours"].item() == pytest.approx(2)
    reading = {(READINGS[1], seed): r for (arm, seed), r in runs.items() if arm == "SSD+DOAM-T"}
    of_reading = comparison.differences(runs | reading, [(READINGS[1], "SSD")], "V", "OL2")
    assert of_reading["paper"].item() == by_level["paper"].item()  # its one row is each reading's
    nothing = comparison.differences({}, pairs, "IV")
    assert nothing.empty and list(nothing) == ["paper", "ours", "low", "high", "n"]


def test_the_three_columns_never_mix(runs):
    local = {("SSD", 0): result(12.34)}
    frame = comparison.beside_paper(local, runs, "IV")
    assert list(frame) == ["paper (OPIXray)", "reference", "this run"]
    assert list(frame.index) == list(TABLES["IV"].values())
    assert list(frame.loc["SSD"]) == ["70.89", spread(67.7, 27.2), "12.3"]
    assert list(frame.loc["SSD+DA"]) == ["71.96", "–", "–"]
    swapped = comparison.beside_paper(runs, local, "IV")
    assert list(swapped.loc["SSD"]) == ["70.89", "12.3", spread(67.7, 27.2)]


def test_levels_stand_beside_the_papers_levels(runs):
    frame = comparison.beside_paper(runs, {}, "V", "OL1")
    assert list(frame) == ["paper (OPIXray)", "this run"]  # no column of what nobody stored
    assert list(frame.loc["SSD+DOAM-T"]) == ["77.87", spread(61.5, 0.7)]


def test_a_cost_is_the_mean_over_seeds():
    two = {
        ("SSD", 0): result(50, seconds=10, steps=4, rates=(20, 40)),
        ("SSD", 1): result(50, seconds=14, steps=4, rates=(40, 40)),
        ("SSD+DOAM-O", 0): result(50, seconds=20, steps=5),
    }
    frame = comparison.cost(two)
    row = frame.loc["SSD"]
    assert list(frame) == ["training (s)", "steps", "images/s", "evaluation (s)"]
    assert (row["training (s)"], row["steps"], row["images/s"]) == (12, 4, 35)
    assert frame.loc["SSD+DOAM-O", "steps"] == 5
    assert comparison.cost({}).empty


# --- pairs ----------------------------------------------------------------------------------------


def test_arms_of_one_seed_are_paired_where_one_kind_of_processor_trained_both(runs):
    assert comparison.gain(runs, "SSD+DOAM-T", "SSD") == pytest.approx({0: 3.0, 1: 1.0})
    runs["SSD", 1] = result(54, processor="b")
    assert comparison.gain(runs, "SSD+DOAM-T", "SSD") == pytest.approx({0: 3.0})
    assert comparison.gain(runs, "SSD", "SSD+DOAM-T") == pytest.approx({0: -3.0})
    for arm in ("SSD", "SSD+DOAM-T"):
        runs[arm, 1].provenance["hardware"]["device"] = "a card"
    assert comparison.gain(runs, "SSD+DOAM-T", "SSD") == pytest.approx({0: 3.0, 1: 1.0})
    assert comparison.processor(runs["SSD", 1]) == "a card"
    assert comparison.processor(runs["SSD", 0]) == "a"
    runs["SSD", 0].provenance["precision"] = "bfloat16"
    assert comparison.processor(runs["SSD", 0]) == "a, bfloat16"
    assert comparison.gain(runs, "SSD+DOAM-T", "SSD") == pytest.approx({1: 1.0})


def test_what_exchanging_a_map_costs_by_seed(runs):
    runs["SSD+DOAM-T", 0].metrics["attention"] = {"own": 0.50, "other": 0.42, "mean": 0.51}
    runs["SSD+DOAM-T", 3].metrics["attention"] = {"own": 0.50}
    assert comparison.map_losses(runs, "SSD+DOAM-T", "other") == pytest.approx({0: 8.0})
    assert comparison.map_losses(runs, "SSD+DOAM-T", "mean") == pytest.approx({0: -1.0})
    assert comparison.map_losses(runs, "SSD", "other") == {}


def test_runs_of_some_arms_come_arm_by_arm(runs):
    found = of_arms(runs, ["SSD+SE", "SSD"])
    assert list(found) == [("SSD+SE", 5), ("SSD", 0), ("SSD", 1), ("SSD", 2)]
    assert found["SSD+SE", 5] is runs["SSD+SE", 5]


def test_other_data_have_columns_of_their_own():
    baggage = ("Baton", "Mobile_Phone")
    own = result(40, classes_of_data=baggage)
    own.metrics["AP"] = {"Baton": 0.3, "Mobile_Phone": 0.5, "mAP": 0.4}
    runs = {("SSD", 0): own}
    assert comparison.scores(runs, "SSD", "BA") == {0: pytest.approx(30)}
    assert comparison.scores(runs, "SSD", "MP") == {0: pytest.approx(50)}
    assert comparison.scores(runs, "SSD", "SC") == {}  # a class of other data, not the mAP
    table = comparison.measured(runs)
    assert list(table) == ["mAP", "BA", "MP", "n"] and table.loc["SSD", "MP"] == "50.0"
