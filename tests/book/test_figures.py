"""What a page draws: gains by level and against occlusion, curves, forests."""

from types import SimpleNamespace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from doamlib.book import figures, plots
from doamlib.claims import comparison
from doamlib.data import CLASSES


@pytest.fixture(autouse=True)
def no_windows():
    matplotlib.use("Agg")
    yield
    plt.close("all")


def run(levels=(), curve=(), epochs=()):
    by_level = {f"OL{n}": {"mAP": v / 100} for n, v in enumerate(levels, start=1)}
    by_occlusion = {"median": [0.1, 0.4][: len(curve)], "mAP": [v / 100 for v in curve]}
    history = SimpleNamespace(
        loss=[4.0, 2.0, 3.0], retrained=[False] * 3, epochs=[{"test_mAP": v} for v in epochs]
    )
    metrics = {"AP": {"mAP": 0.5}, "levels": by_level, "by_occlusion": by_occlusion}
    return SimpleNamespace(
        metrics=metrics,
        history=history,
        config=SimpleNamespace(data=SimpleNamespace(classes=CLASSES)),
        provenance={"hardware": {"device": "cpu", "cpu": "one kind"}},
    )


@pytest.fixture
def runs():
    return {
        ("SSD", 0): run((60, 50, 40), (50, 30)),
        ("SSD", 1): run((62, 52, 42), (52, 32)),
        ("SSD+DOAM-T", 0): run((61, 53, 45), (51, 34)),
        ("SSD+DOAM-T", 1): run((62, 54, 48), (52, 38)),
        ("SSD+DOAM-T", 2): run((0, 0, 0), (0, 0)),
    }


def test_gains_by_level_are_paired_by_seed(runs):
    """Paper: Fig. 5."""
    frame = figures.gains_by_level(runs, "SSD+DOAM-T", ["SSD", "SSD+SE"])
    assert set(frame["over"]) == {"SSD"}
    table = frame.pivot_table(index="seed", columns="level", values="gain")
    np.testing.assert_allclose(table, [[1, 3, 5], [0, 2, 6]])


def test_gains_against_occlusion_are_paired_by_seed(runs):
    frame = figures.gains_by_occlusion(runs, "SSD+DOAM-T", "SSD")
    assert frame["seed"].tolist() == [0, 0, 1, 1]
    assert frame["O"].tolist() == [0.1, 0.4, 0.1, 0.4]
    np.testing.assert_allclose(frame["gain"], [1, 4, 0, 6])


def test_bars_stand_at_the_mean_gain_with_an_interval_over_seeds(runs):
    frame = figures.gains_by_level(runs, "SSD+DOAM-T", ["SSD"])
    (axis,) = figures.gain_bars({"this run": frame, "nothing": frame[:0]}).axes
    heights = [bar.get_height() for bar in axis.patches if bar.get_height()]
    np.testing.assert_allclose(heights[:3], [0.5, 2.5, 5.5])
    ends = [line.get_ydata() for line in axis.lines if len(line.get_ydata()) == 2][:1]
    np.testing.assert_allclose(np.mean(ends[0]), 0.5)
    assert np.ptp(ends[0]) == pytest.approx(2 * 12.7062 * 0.5, rel=1e-4)  # t at 1 df, sd/sqrt(2)


def titles(figure):
    return [axis.get_title() for axis in figure.axes if axis.get_title()]


def test_each_layer_has_a_panel_of_its_own_and_an_empty_one_none(runs):
    layers = {"stored reference": {}, "this run": runs}
    for draw in (figures.learning_curves, figures.epoch_curves, figures.occlusion_curves):
        assert titles(draw(layers)) == ["this run"]
        both = draw({"stored reference": runs, "this run": runs})
        assert titles(both) == ["stored reference", "this run"]


def test_a_curve_is_the_mean_over_seeds(runs):
    axis, _ = figures.occlusion_curves({"this run": runs}).axes
    ssd = next(line for line in axis.lines if line.get_label() == "SSD")
    np.testing.assert_allclose(ssd.get_ydata(), [51, 31])
    axis, _ = figures.learning_curves({"this run": runs}, window=2).axes
    np.testing.assert_allclose(axis.lines[0].get_ydata(), [4, 3, 2.5])
    assert axis.lines[0].get_xdata().tolist() == [1, 2, 3]


def test_below_a_curve_each_arm_stands_minus_the_first_seed_by_seed(runs):
    _, below = figures.occlusion_curves({"this run": runs}).axes
    (line,) = [line for line in below.lines if line.get_label() == "SSD+DOAM-T"]
    np.testing.assert_allclose(line.get_ydata(), [0.5, 5])  # +1 and +4, 0 and +6
    (band,) = below.collections
    ends = band.get_paths()[0].get_extents()
    np.testing.assert_allclose([ends.ymin, ends.ymax], [0, 6])
    assert below.get_ylabel() == "minus SSD"


def test_losses_are_compared_on_the_same_batches(runs):
    """A pool's batches come on top: without them all arms of a seed see the same images."""
    pooled = run()
    pooled.history.loss, pooled.history.retrained = (
        [4.1, 9.0, 2.1, 3.1],
        [False, True, False, False],
    )
    own = {("SSD", 0): run(), ("SSD+DOAM-O", 0): pooled}
    above, below = figures.learning_curves({"this run": own}, window=1).axes
    assert len(above.lines[1].get_ydata()) == 4
    np.testing.assert_allclose(below.lines[1].get_ydata(), [0.1] * 3)


def test_test_map_is_drawn_after_every_epoch_that_was_looked_at():
    runs = {("SSD", 0): run(epochs=(0.1, 0.3)), ("SSD", 1): run(epochs=(0.2, 0.4))}
    runs["SSD+SE", 0] = run(epochs=(0.5, 0.6, 0.7))
    runs["SSD+SE", 0].history.epochs[0] = {"loss": 3.0}  # many short epochs: not after each
    runs["SSD+DA", 0] = runs["SSD", 2] = run()
    (axis,) = figures.epoch_curves({"this run": runs, "stored reference": {}}).axes
    lines = {line.get_label(): line for line in axis.lines}
    assert set(lines) == {"SSD", "SSD+SE"}
    np.testing.assert_allclose(lines["SSD"].get_ydata(), [15, 35])
    assert lines["SSD+SE"].get_xdata().tolist() == [2, 3]
    (band,) = axis.collections  # one seed has none
    ends = band.get_paths()[0].get_extents()
    np.testing.assert_allclose([ends.xmin, ends.xmax, ends.ymin, ends.ymax], [1, 2, 10, 40])


def test_runs_on_data_of_unknown_occlusion_have_no_curve_and_no_panel(runs):
    unknown = {("SSD", 0): run()}
    axis, _ = figures.occlusion_curves({"this run": unknown}).axes
    assert len(axis.lines) == 0
    beside = figures.occlusion_curves({"stored reference": runs, "this run": unknown})
    assert titles(beside) == ["stored reference"]


def names_below(axis):
    return [text.get_text() for text in axis.get_xticklabels()]


@pytest.mark.parametrize("arms", [("SSD", "SSD+DOAM-T"), ()])  # beside and above each other
def test_each_panel_of_bars_has_the_classes_of_its_own_data(arms):
    """Paper: Table IV."""
    own, five = run(), run()
    own.config.data.classes, own.metrics["AP"] = ("Baton", "Gun"), {"mAP": 0.5, "Gun": 0.5}
    five.metrics["AP"] = {"mAP": 0.4} | dict.fromkeys(CLASSES[:4], 0.4)
    theirs = list(comparison.printed("IV"))
    layers = {"stored reference": {("SSD", 0): five}, "this run": {("SSD", 0): own}, "none": {}}
    figure = figures.per_class("IV", layers, arms)
    assert titles(figure) == [figures.PAPER, "stored reference", "this run"]
    shown = [names_below(axis) for axis in figure.axes]
    assert shown == [theirs, theirs, ["mAP", "GU"]]
    heights = [bar.get_height() for bar in figure.axes[2].patches if bar.get_height()]
    np.testing.assert_allclose(heights[:2], [50, 50])


def test_a_forest_shows_ours_the_papers_and_no_interval_for_one_seed(runs):
    pairs = [("SSD+DOAM-T", "SSD")]
    several = comparison.differences(runs, pairs, "V", "OL3")
    alone = {key: value for key, value in runs.items() if key[1] == 0}
    one = comparison.differences(alone, pairs, "V", "OL3")
    axis = figures.forest({"stored reference": several, "this run": one}).axes[0]
    paper = next(c for c in axis.collections if c.get_label() == figures.PAPER)
    np.testing.assert_allclose(paper.get_offsets()[:, 0], [70.78 - 66.30])
    bars = {c.get_label(): c for c in axis.containers}
    spans = {name: np.ptp(bar.lines[2][0].get_segments()[0][:, 0]) for name, bar in bars.items()}
    assert spans["stored reference"] == pytest.approx(
        several["high"].item() - several["low"].item()
    )
    assert spans["this run"] == 0
    assert axis.get_legend() is None  # below the axes, where its signs are no points
    (legend,) = axis.figure.legends
    names = {text.get_text() for text in legend.get_texts()}
    assert names == {figures.PAPER, "stored reference", "this run"}


def test_a_forest_of_nothing_is_empty():
    empty = pd.DataFrame(columns=["paper", "ours", "low", "high", "n"])
    assert figures.forest({"this run": empty}).axes[0].get_yticks().size == 0


def test_the_name_of_a_box_stays_inside_the_picture():
    _, axis = plt.subplots()
    axis.imshow(np.zeros((100, 100)))
    plots.boxes(axis, [[10, 0, 30, 20], [70, 50, 90, 70]], ["top left", "middle right"])
    top, middle = axis.texts
    assert top.get_position() == (10, 22) and (top.get_ha(), top.get_va()) == ("left", "top")
    assert middle.get_position() == (90, 48)
    assert (middle.get_ha(), middle.get_va()) == ("right", "bottom")


def test_the_legend_names_arms_of_every_panel_and_no_panel_is_cut(runs):
    ssd = {key: value for key, value in runs.items() if key[0] == "SSD"}
    low = {("SSD", 0): run((1, 1, 1), (1, 1))}
    for layers in ({"a": runs, "b": ssd}, {"a": low, "b": runs}):
        figure = figures.occlusion_curves(layers)
        above = figure.axes[:2]
        names = [text.get_text() for text in above[-1].get_legend().get_texts()]
        assert names == ["SSD", "SSD+DOAM-T"]
        assert all(axis.get_ylim()[0] == 0 and axis.get_ylim()[1] >= 52 for axis in above)
