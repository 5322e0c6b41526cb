"""What the figures of the attention page draw, and that they stand what is not measured."""

from types import SimpleNamespace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from doamlib.book import figures_attention
from doamlib.claims.findings_attention import EXCHANGES, losses
from doamlib.experiments.arms import READINGS

CODE, PAPER = READINGS[:2]


@pytest.fixture(autouse=True)
def no_windows():
    matplotlib.use("Agg")
    yield
    plt.close("all")


def run(attention=None, epochs=()):
    history = SimpleNamespace(epochs=list(epochs))
    return SimpleNamespace(metrics={"attention": attention or {}}, history=history)


def named(axis, label):
    return next(line for line in axis.lines if line.get_label() == label)


@pytest.fixture
def exchanged():
    return {
        (CODE, 0): run({"own": 0.3, "other": 0.29, "edges_mean": 0.2}),
        (CODE, 1): run({"own": 0.3, "other": 0.31, "edges_mean": 0.22}),
        (PAPER, 0): run({"own": 0.4, "other": 0.35}),
        ("SSD", 0): run(),
    }


def test_a_point_is_the_mean_change_with_its_interval_in_the_row_of_its_exchange(exchanged):
    layers = {"stored reference": {}, "this run": exchanged}
    (axis,) = figures_attention.exchanges(layers).axes
    assert axis.get_title() == "this run"
    drawn = {c.get_label(): c for c in axis.containers}
    assert set(drawn) == {CODE, PAPER}
    x, y = drawn[CODE].lines[0].get_data(orig=False)
    np.testing.assert_allclose(x, [0.0, -9.0], atol=1e-9)
    assert np.round(y).tolist() == [EXCHANGES.index("other"), EXCHANGES.index("edges_mean")]
    table = losses(exchanged).loc[CODE]
    spans = [np.ptp(segment[:, 0]) for segment in drawn[CODE].lines[2][0].get_segments()]
    np.testing.assert_allclose(spans, table["high"] - table["low"])
    alone = drawn[PAPER].lines[2][0].get_segments()
    assert np.ptp(alone[0][:, 0]) == 0


def test_every_exchange_has_a_name(exchanged):
    (axis,) = figures_attention.exchanges({"this run": exchanged}).axes
    assert len(axis.get_yticklabels()) == len(EXCHANGES) == len(figures_attention.NAMES)
    assert set(figures_attention.NAMES) == set(EXCHANGES)


def test_without_any_exchange_there_is_an_empty_figure():
    for layers in ({}, {"this run": {("SSD", 0): run()}}):
        (axis,) = figures_attention.exchanges(layers).axes
        assert len(axis.lines) == 0


PROBE = {
    "code": {
        "ours": {
            "gamma": [0.0, 0.1, 0.3],
            "gradient_mean": [1.0, 2.0, -1.0],
            "gradient_sd": [0.5, 0.5, 1.0],
            "steps": 30,
        }
    },
    "no gamma": {
        "ours": {"gamma": [], "gradient_mean": [], "gradient_sd": [], "steps": 30},
        "official": {"gamma": [], "gradient_mean": [], "gradient_sd": [], "steps": 30},
    },
}


def test_gamma_is_drawn_in_the_middle_of_its_stretches_and_a_missing_recipe_is_empty():
    axes = figures_attention.gamma_curves(PROBE, ["ours", "official"]).axes
    by_recipe = np.array(axes).reshape(2, 2)
    line = named(by_recipe[0, 0], "code")
    assert line.get_xdata().tolist() == [5, 15, 25] and line.get_ydata().tolist() == [0, 0.1, 0.3]
    gradient = next(a for a in by_recipe[1, 0].lines if len(a.get_ydata()) == 3)
    assert gradient.get_ydata().tolist() == [1, 2, -1]
    (band,) = by_recipe[1, 0].collections
    assert band.get_paths()[0].get_extents().ymax == 2.5
    assert [len(axis.collections) for axis in by_recipe[:, 1]] == [0, 0]
    labels = [line.get_label() for axis in by_recipe[0] for line in axis.lines]
    assert "no gamma" not in labels


def test_the_axis_fits_what_stays_near_0_and_the_legend_says_where_the_rest_is():
    high = {"gradient_mean": [0.0] * 3, "gradient_sd": [0.0] * 3, "steps": 30}
    high = {"ours": high | {"gamma": [1.0, 0.98, 0.97]}}
    figure = figures_attention.gamma_curves(PROBE | {"starts at 1": high}, ["ours", "official"])
    assert 0.3 < figure.axes[0].get_ylim()[1] < 0.4
    named(figure.axes[0], "starts at 1: 0.97 to 1.00, above the axis")
    alone = figures_attention.gamma_curves({"starts at 1": high}, ["ours"]).axes[0]
    assert alone.get_ylim()[1] > 1
    assert named(alone, "starts at 1").get_ydata().tolist() == [1.0, 0.98, 0.97]


def test_an_empty_probe_draws_empty_panels():
    assert len(figures_attention.gamma_curves({}, ["ours"]).axes) == 2


def test_histories_are_drawn_over_the_epochs_that_tell_of_them():
    told = {"test_mAP": 0.25, "attention_mean": 0.9, "saturated": 0.5}
    runs = {
        (CODE, 0): run(epochs=[{"loss": 3.0}, told, told | {"gamma": 0.02}]),
        (CODE, 1): run(epochs=[{"loss": 3.0}, told | {"test_mAP": 0.35}, told]),
        ("SSD", 0): run(epochs=[{"test_mAP": 0.1}]),
    }
    panels = {axis.get_title(): axis for axis in figures_attention.training_curves(runs).axes}
    maps = panels["mAP on the test images (%)"]
    line = named(maps, CODE)
    assert line.get_xdata().tolist() == [2, 3]
    np.testing.assert_allclose(line.get_ydata(), [30, 25])
    assert named(maps, "SSD").get_ydata().tolist() == [10]
    assert [line.get_label() for line in panels["mean of M"].lines] == [CODE]
    np.testing.assert_allclose(named(panels["M near 0 or 1 (%)"], CODE).get_ydata(), [50, 50])
    assert named(panels["gamma"], CODE).get_xdata().tolist() == [3]
    assert [text.get_text() for text in panels["sd of M within an image"].texts] == ["none"]
    assert panels["mean of M"].texts[:] == []
