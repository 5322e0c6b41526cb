"""YOLOv3: published shapes, and its coding, assignment and loss against loops written out."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import random_boxes, seeded
from torch import nn
from torch.testing import assert_close
from torchvision.ops import box_iou

from doamlib.models.config import DetectorConfig
from doamlib.models.yolov3 import ANCHORS, Darknet53, YOLOv3

SMALL = DetectorConfig(name="yolov3", width=0.125, image_size=96)


build = partial(seeded, YOLOv3)


def test_the_anchors_are_the_authors_nine_from_small_to_large():
    """Redmon and Farhadi, Section 2.3, on COCO."""
    printed = (
        "(10x13), (16x30), (33x23), (30x61), (62x45), (59x119), (116x90), (156x198), (373x326)"
    )
    assert ", ".join(f"({width}x{height})" for width, height in ANCHORS) == printed
    areas = [width * height for width, height in ANCHORS]
    assert areas == sorted(areas)


def test_published_number_of_parameters_and_layers():
    with torch.device("meta"):
        backbone = Darknet53(width=1.0)
    convolutions = [m for m in backbone.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 52  # Darknet-53 counts its classifier as the fifty-third
    assert backbone.out_channels == [256, 512, 1024]
    network = build(DetectorConfig(name="yolov3", num_classes=80))
    assert sum(p.numel() for p in network.parameters()) == 61_949_149


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "used"), [(96, 96), (160, 160), (300, 320), (320, 320)])
def test_input_is_a_multiple_of_32_and_every_grid_answers(asked, used):
    network = build(SMALL.model_copy(update={"image_size": asked})).eval()
    assert network.image_size == used
    with torch.no_grad():
        maps = network.backbone(torch.zeros(1, 3, used, used))
        raw = network(torch.zeros(1, 3, used, used))["raw"]
    assert [m.shape[-1] for m in maps] == [used // 8, used // 16, used // 32]
    assert raw.shape == (1, 3 * sum((used // s) ** 2 for s in (8, 16, 32)), 10)


def test_outputs_of_a_prediction_come_from_its_cell_and_anchor():
    """Bias of one anchor at one scale moves that anchor's predictions and no others."""
    network = build(SMALL).eval()
    images = torch.zeros(1, 3, 96, 96)
    with torch.no_grad():
        before = network(images)["raw"]
        network.branches[1].output.bias.view(3, 10)[2, 7] += 1.0
        difference = network(images)["raw"] - before
    moved = difference.abs() > 0.5
    assert moved.sum() == 36 and moved[..., 7].sum() == 36
    where = moved[0, :, 7].nonzero().squeeze(1)
    assert torch.equal(where, 3 * 144 + 3 * torch.arange(36) + 2)
    scale = 96 / 416
    assert_close(network.cells[where, 2:4], torch.tensor([[59.0, 119.0]]).expand(36, 2) * scale)
    assert torch.equal(network.cells[where, 4], torch.full((36,), 16.0))


def test_a_blank_prediction_is_its_anchor_in_the_middle_of_its_cell():
    network = build(SMALL)
    boxes = network.decode(torch.zeros(1, len(network.cells), 10))[0]
    index = 3 * (5 * 12 + 7) + 1  # row 5, column 7 of the finest grid, second anchor
    width, height = 16 * 96 / 416, 30 * 96 / 416
    expected = [60 - width / 2, 44 - height / 2, 60 + width / 2, 44 + height / 2]
    assert_close(boxes[index], torch.tensor(expected))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_assignment_is_the_best_shape_in_the_cell_of_the_centre(seed):
    network = build(SMALL)
    boxes = random_boxes(8, 96, seed)
    anchors = torch.tensor(ANCHORS) * 96 / 416
    centred = torch.cat([-anchors / 2, anchors / 2], dim=1)
    for box, index in zip(boxes, network.assign(boxes), strict=True):
        size, centre = box[2:] - box[:2], (box[:2] + box[2:]) / 2
        shape = torch.cat([-size / 2, size / 2])[None]
        best = anchors[box_iou(shape, centred)[0].argmax()]
        column, row, width, height, stride = network.cells[index]
        assert_close(torch.stack([width, height]), best)
        cell = torch.stack([column, row]) * stride
        assert ((cell <= centre) & (centre < cell + stride)).all()


def test_a_box_at_the_far_corner_is_assigned_inside():
    network = build(SMALL)
    corner = torch.tensor([[95.0, 95.0, 97.0, 97.0]])
    column, row, *_ = network.cells[network.assign(corner)[0]]
    assert (column, row) == (11, 11)


def loss_by_loops(network, raw, boxes, labels):
    """The authors' loss, one prediction at a time."""
    decoded = network.decode(raw)
    totals = dict.fromkeys(("bbox_regression", "objectness", "classification"), 0.0)

    def entropy(logit, wanted):
        p = 1 / (1 + math.exp(-logit))
        return -(wanted * math.log(p) + (1 - wanted) * math.log(1 - p))

    for image in range(len(raw)):
        own = boxes[image][labels[image] > 0]
        names = labels[image][labels[image] > 0]
        answering = network.assign(own).tolist()
        for index, box, name in zip(answering, own, names, strict=True):
            t = raw[image, index].tolist()
            column, row, width, height, stride = network.cells[index].tolist()
            x1, y1, x2, y2 = box.tolist()
            small = 2 - (x2 - x1) * (y2 - y1) / 96**2
            shift = entropy(t[0], (x1 + x2) / 2 / stride - column)
            shift += entropy(t[1], (y1 + y2) / 2 / stride - row)
            growth = (t[2] - math.log((x2 - x1) / width)) ** 2
            growth += (t[3] - math.log((y2 - y1) / height)) ** 2
            totals["bbox_regression"] += small * (shift + growth / 2)
            for k in range(5):
                totals["classification"] += entropy(t[5 + k], float(k + 1 == name))
        for index in range(raw.shape[1]):
            overlap = box_iou(decoded[image, index][None], own).max() if len(own) else 0.0
            if index in answering or overlap <= 0.5:
                totals["objectness"] += entropy(float(raw[image, index, 4]), index in answering)
    return {name: total / len(raw) for name, total in totals.items()}


def test_loss_equals_the_loops():
    network = build(SMALL)
    raw = torch.randn(3, len(network.cells), 10, generator=torch.Generator().manual_seed(0))
    boxes, labels = torch.zeros(3, 2, 4), torch.zeros(3, 2, dtype=torch.int64)
    boxes[0], labels[0] = random_boxes(2, 96, 1), torch.tensor([1, 5])
    boxes[2, 0], labels[2, 0] = random_boxes(1, 96, 2)[0], 3
    # A prediction that answers for nothing yet overlaps an item is left out of the objectness.
    answering = network.assign(boxes[2, :1])[0]
    bystander = answering // 3 * 3 + (answering + 1) % 3  # the same cell's next anchor
    column_row, anchor, stride = network.cells[bystander].split([2, 2, 1])
    place = (boxes[2, 0, 2:] + boxes[2, 0, :2]) / 2 / stride - column_row
    raw[2, bystander, :2] = place.logit()
    raw[2, bystander, 2:4] = ((boxes[2, 0, 2:] - boxes[2, 0, :2]) / anchor).log()
    assert box_iou(network.decode(raw)[2, [bystander]], boxes[2])[0, 0] > 0.99
    expected = loss_by_loops(network, raw, boxes, labels)
    losses = network.loss({"raw": raw}, boxes, labels)
    assert losses.keys() == expected.keys()
    for name, value in losses.items():
        assert_close(float(value), expected[name], rtol=1e-4, atol=1e-4, msg=name)


def test_an_object_starts_at_a_chance_of_one_percent():
    """Whatever the image: all else starts at zero, up to the last layer's small weights."""
    network = build(SMALL).eval()
    with torch.no_grad():
        raw = network(torch.zeros(1, 3, 96, 96))["raw"]
    assert_close(raw[..., 4].sigmoid(), torch.full(raw.shape[:2], 0.01))
    assert not raw[..., :4].any() and not raw[..., 5:].any()


def test_two_items_on_one_prediction_both_count():
    network = build(SMALL)
    raw = torch.zeros(1, len(network.cells), 10)
    box = torch.tensor([40.0, 40, 50, 50])
    once = network.loss({"raw": raw}, box.view(1, 1, 4), torch.tensor([[1]]))
    twice = network.loss({"raw": raw}, box.expand(1, 2, 4), torch.tensor([[1, 2]]))
    assert_close(twice["bbox_regression"], 2 * once["bbox_regression"])
    assert_close(twice["objectness"], once["objectness"])


def test_gradients_reach_every_parameter():
    network = build(SMALL)
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[[10.0, 10, 13, 14], [30, 30, 45, 42], [0, 0, 90, 80]]]).expand(2, 3, 4)
    losses = network.loss(network(images), boxes, torch.tensor([[1, 2, 3]] * 2))
    sum(losses.values()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_score_is_objectness_times_class():
    network = build(SMALL)
    raw = torch.full((1, len(network.cells), 10), -20.0)
    raw[..., :4] = 0.0
    raw[0, 100, 4:6] = torch.tensor([1.0, 2.0])
    found = network.detect({"raw": raw})[0]
    expected = torch.tensor([1.0]).sigmoid() * torch.tensor([2.0]).sigmoid()
    assert_close(found["scores"], expected)
    assert torch.equal(found["labels"], torch.tensor([1]))
    assert_close(found["boxes"], network.decode(raw)[0, 100:101].clamp(0, 96))
