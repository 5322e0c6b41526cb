"""Counting against torch's own counter and closed formulas; the whole of Table VIII."""

import math

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from doamlib.models.attention import NonLocal, make_attention
from doamlib.models.complexity import (
    EXPLANATIONS,
    DANetHead,
    SEBasicBlock,
    complexity_table,
    convolution_outputs,
    count_layers,
    search,
    text_table,
    totals,
    truncated,
)
from doamlib.models.config import DetectorConfig
from doamlib.models.counting import run
from doamlib.models.detector import build_detector
from doamlib.models.doam import DOAM, DOAMConfig

PRINTED = {  # Table VIII: parameters in millions, MiB, "GFLOPs"
    "SSD": (24.2, 92.6, 30.6522),
    "SE": (32.0, 122.1, 31.6169),
    "Non-local": (30.9, 117.9, 32.6577),
    "DA": (45.6, 174.1, 37.7231),
    "DOAM": (24.3, 92.7, 32.8435),
}


@pytest.fixture(scope="module")
def table():
    return complexity_table()


def by_torch(module, shape):
    """Products by PyTorch's own counter, which counts a product and an addition."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run(module.to("meta").eval(), torch.empty(shape, device="meta"))
    return counter.get_total_flops() // 2


def test_the_table_is_exact(table):
    """Paper: Table VIII."""
    assert list(table.index) == list(PRINTED)
    assert list(table.columns) == ["params", "size_mib", "gmacs"]
    assert table["params"].tolist() == [24280556, 32007996, 30921580, 45663472, 24304890]
    assert [round(value, 4) for value in table["size_mib"]] == [
        92.6230, 122.1008, 117.9565, 174.1923, 92.7158
    ]  # fmt: skip
    assert [round(value, 6) for value in table["gmacs"]] == [
        30.652203, 31.616989, 32.657739, 37.723118, 32.842752
    ]  # fmt: skip
    assert round(table.loc["SSD", "gmacs"] * 1e9) == 30_652_203_288


def test_every_printed_digit_fits_but_one(table):
    for row, (params, size, gmacs) in PRINTED.items():
        assert truncated(table.loc[row, "params"] / 1e6, 1) == params
        assert truncated(table.loc[row, "size_mib"], 1) == size
        if row != "DOAM":
            assert truncated(table.loc[row, "gmacs"], 4) == gmacs
    missed = 32.8435 / table.loc["DOAM", "gmacs"] - 1
    assert 0.00001 < missed < 0.00003


def test_doam_adds_what_the_official_code_stores(table):
    assert table.loc["DOAM", "params"] - table.loc["SSD", "params"] == 23_740 + 18 + 576
    layers = count_layers(DOAM(DOAMConfig()), (1, 3, 300, 300))
    by_part = layers.groupby(layers.index.str.split(".").str[0])["thop"].sum()
    pixels = 300 * 300
    assert by_part["edge_guidance"] == 4_801 * pixels
    assert by_part["attention"] == 82 * pixels
    steps = layers[layers.index.str.startswith("material.steps")]["thop"].sum()
    assert steps == 11_888 * pixels
    regions = layers[layers.index.str.startswith("material.regions")]["thop"].sum()
    assert regions == (3_480 + 3_472) * pixels + 2_199_200 + 1_440_000


def se_formula(c, p):
    weights, inner = 18 * c * c + 4 * c, 2 * c * c // 16 + c + c // 16
    return weights + inner, weights * p + inner


def nonlocal_formula(c, p):
    i = c // 2
    weights = 3 * (c * i + i) + i * c + c + 2 * c
    return weights, weights * p


def dual_formula(c, p):
    i, q = c // 4, c // 32
    weights = 2 * (9 * c * i + 2 * i) + 2 * (9 * i * i + 2 * i) + 2 * q * (i + 1)
    weights += i * (i + 1) + 3 * (i + 1) * c
    return weights + 2, weights * p


@pytest.mark.parametrize(
    ("block", "formula"),
    [(SEBasicBlock, se_formula), (NonLocal, nonlocal_formula), (DANetHead, dual_formula)],
)
@pytest.mark.parametrize(("channels", "side"), [(128, 5), (256, 19), (512, 10)])
def test_blocks_equal_the_closed_formulas(block, formula, channels, side):
    sums = totals(count_layers(block(channels), (1, channels, side, side)))
    params, macs = formula(channels, side * side)
    assert sums["params"] == params
    assert sums["thop"] == macs


COUNTED = {
    "ssd": DetectorConfig(),
    "ssd+doam": DetectorConfig(doam=DOAMConfig()),
    "ssd+doam paper": DetectorConfig(doam=DOAMConfig.paper(), image_size=160, width=0.25),
    "ssd+nonlocal": DetectorConfig(attention="nonlocal", width=0.25),
    "ssd+dual": DetectorConfig(attention="dual", width=0.25),
    "ssd+se": DetectorConfig(attention="se", width=0.25),
    "yolov3+doam": DetectorConfig(name="yolov3", doam=DOAMConfig(), width=0.25),
    "fcos+doam": DetectorConfig(name="fcos", doam=DOAMConfig(), width=0.25),
}


@pytest.mark.parametrize("config", COUNTED.values(), ids=COUNTED)
def test_products_equal_torchs_counter(config):
    detector = build_detector(config, seed=0)
    shape = (2, 3, detector.image_size, detector.image_size)
    ours = totals(count_layers(detector, shape))["products"]
    assert ours == by_torch(detector, shape) > 0


@pytest.mark.parametrize("name", ["se", "nonlocal", "dual"])
@pytest.mark.parametrize("side", [7, 38, 45])
def test_attention_products_equal_torchs_counter(name, side):
    shape = (1, 64, side, side)
    ours = totals(count_layers(make_attention(name, 64), shape))["products"]
    assert ours == by_torch(make_attention(name, 64), shape)


def test_biases_are_the_difference_between_both_conventions():
    ssd = totals(count_layers(build_detector(DetectorConfig(), 0), (1, 3, 300, 300)))
    assert ssd["products"] == 30_626_834_432
    assert ssd["thop"] - ssd["products"] == 25_368_856


def test_layers_name_what_they_count():
    block = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    layers = count_layers(block, (2, 3, 5, 5))
    assert layers.loc["0"].tolist() == ["Conv2d", 112, 2 * 4 * 25 * 28, 2 * 4 * 25 * 27]
    assert layers.loc["1"].tolist() == ["BatchNorm2d", 8, 2 * 2 * 4 * 25, 0]
    assert list(layers.index) == ["0", "1"]


def test_counting_leaves_the_module_alone():
    block = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    count_layers(block, (1, 3, 5, 5))
    assert block.training and block[0].weight.device.type == "cpu"
    assert not block[0]._forward_hooks


def test_the_text_cannot_be_what_was_counted(table):
    """A weight behind a halving pool is used at 361 positions or more; the printed ones are not."""
    smallest = min(place.side for place in convolution_outputs()[:13]) ** 2
    assert smallest == 361
    for row in ("Non-local", "DA"):
        weights = table.loc[row, "params"] - table.loc["SSD", "params"]
        assert weights * smallest / 1e9 > PRINTED[row][2] - PRINTED["SSD"][2]
    text = text_table()
    for row in EXPLANATIONS:
        assert truncated(text.loc[row, "params"] / 1e6, 1) < PRINTED[row][0]
    assert text.loc["DOAM", "gmacs"] == table.loc["DOAM", "gmacs"]
    assert (text["gproducts"] > 0).all()
    assert text.loc["Non-local", "gproducts"] > text.loc["Non-local", "gmacs"]


def test_places_are_those_of_ssd300():
    places = {place.layer: (place.channels, place.side) for place in convolution_outputs()}
    assert len(places) == 23
    assert places["conv1_1"] == (64, 300) and places["conv4_3"] == (512, 38)
    for explanation in EXPLANATIONS.values():
        for place in explanation.places + explanation.idle:
            assert places[place.layer] == (place.channels, place.side)


@pytest.mark.parametrize("row", EXPLANATIONS)
def test_search_finds_the_explanation_and_no_other(row):
    found = search(EXPLANATIONS[row].block, PRINTED[row])
    assert len(found) == math.comb(24, 2)
    fits = found[found["size_fits"] & (found["gmacs_fit"] | (found["idle"].str.len() > 0))]
    assert len(fits) == 1
    only = fits.iloc[0]
    places = [p.layer for p in EXPLANATIONS[row].idle + EXPLANATIONS[row].places]
    assert (only["first"], only["last"]) == (places[0], places[-1])
    assert only["gmacs_fit"] == (not EXPLANATIONS[row].idle)
    assert {p.layer for p in EXPLANATIONS[row].idle} <= set(only["idle"])


def test_truncation_cuts():
    assert truncated(24.28, 1) == 24.2 and truncated(30.652299, 4) == 30.6522
