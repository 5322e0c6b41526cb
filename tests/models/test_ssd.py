"""SSD against torchvision's, its priors and matching worked by hand, its losses in odd cases."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import random_boxes, seeded
from torch.testing import assert_close
from torchvision.models.detection import ssd300_vgg16
from torchvision.models.detection._utils import BoxCoder, SSDMatcher
from torchvision.ops import box_iou

from doamlib.models.config import DetectorConfig, scaled
from doamlib.models.priors import (
    decode,
    default_scales,
    encode,
    make_priors,
    map_sizes,
    match_priors,
)
from doamlib.models.ssd import SSD

SMALL = DetectorConfig(width=0.125, image_size=96)


build = partial(seeded, SSD)


def padded(targets, side=96):
    """Lists of (boxes, labels) as SSD takes them."""
    most = max(1, max(len(labels) for _, labels in targets))
    boxes, labels = torch.zeros(len(targets), most, 4), torch.zeros(len(targets), most).long()
    for i, (b, names) in enumerate(targets):
        boxes[i, : len(names)], labels[i, : len(names)] = b, torch.as_tensor(names)
    return boxes, labels


@pytest.fixture(scope="module")
def full_pair():
    """Our full-size SSD and torchvision's with the same weights and priors."""
    ours = build(DetectorConfig())
    theirs = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=6)
    theirs.load_state_dict(ours.state_dict())
    return ours.eval(), theirs.eval()


def test_full_size_has_the_published_parameters_and_priors(full_pair):
    ours, _ = full_pair
    assert sum(p.numel() for p in ours.parameters()) == 24_280_556
    assert ours.priors.shape == (8732, 4)


def test_full_size_outputs_equal_torchvision(full_pair):
    ours, theirs = full_pair
    images = torch.randn(1, 3, 300, 300, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        outputs = ours(images)
        expected = theirs.head(list(theirs.backbone(images).values()))
    assert_close(outputs["offsets"], expected["bbox_regression"], rtol=1e-4, atol=1e-5)
    assert_close(outputs["logits"], expected["cls_logits"], rtol=1e-4, atol=1e-5)


def test_priors_of_300_are_the_official_ones():
    boxes, per_location = make_priors(300)
    assert per_location == [4, 6, 6, 6, 4, 4]
    scales = [30 / 300, 60 / 300, 111 / 300, 162 / 300, 213 / 300, 264 / 300, 315 / 300]
    assert_close(default_scales(6, 300), tuple(scales))
    # First position: centre (4, 4), sides 30, sqrt(30 * 60), 30 * sqrt(2) and 30 / sqrt(2).
    sides = boxes[:4, 2:] - boxes[:4, :2]
    long, short = 30 * math.sqrt(2), 30 / math.sqrt(2)
    middle = math.sqrt(30 * 60)
    expected = torch.tensor([[30.0, 30], [middle, middle], [long, short], [short, long]])
    assert_close(sides, expected)
    assert_close((boxes[:4, 2:] + boxes[:4, :2]) / 2, torch.full((4, 2), 4.0))
    assert_close(boxes[-4], torch.tensor([18.0, 18.0, 282.0, 282.0]))


@pytest.mark.parametrize("size", [96, 139, 140, 160, 161, 200, 225, 267, 268, 300, 320])
def test_maps_priors_and_outputs_fit_at_every_size(size):
    network = build(DetectorConfig(width=0.125, image_size=size)).eval()
    with torch.no_grad():
        maps = network.backbone(torch.zeros(1, 3, size, size))
        outputs = network(torch.zeros(1, 3, size, size))
    assert [m.shape[-1] for m in maps] == [m.shape[-2] for m in maps] == map_sizes(size)
    assert len(map_sizes(size)) == 4 + (size >= 140) + (size >= 268)
    assert outputs["offsets"].shape == (1, len(network.priors), 4)
    assert outputs["logits"].shape == (1, len(network.priors), 6)
    centres = (network.priors[:, 2:] + network.priors[:, :2]) / 2
    assert centres.min() > 0 and centres.max() < size + 32  # half the coarsest stride


def test_prior_settings_must_fit_the_maps():
    with pytest.raises(ValueError, match="96 px has 4 maps: it needs 5 prior_scales"):
        build(SMALL.model_copy(update={"prior_scales": (0.1, 0.2, 0.3, 0.4)}))
    ratios = ((2.0,), (2.0, 3.0, 5.0), (2.0,), ())
    network = build(SMALL.model_copy(update={"prior_aspect_ratios": ratios}))
    assert len(network.priors) == 144 * 4 + 36 * 8 + 9 * 4 + 4 * 2


def test_scaled_channels_are_multiples_and_exact_at_full_width():
    assert [scaled(c, 1.0) for c in (64, 128, 256, 512, 1024)] == [64, 128, 256, 512, 1024]
    assert [scaled(c, 0.25) for c in (3, 64, 100)] == [8, 16, 24]
    assert scaled(256, 0.05, multiple=32) == 32


def test_matching_by_hand():
    priors = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [21, 21, 31, 31]])
    boxes = torch.tensor([[[1.0, 0, 11, 10], [26, 26, 36, 36], [0, 0, 0, 0]]])
    present = torch.tensor([[True, True, False]])
    # Box 0 overlaps prior 0 by 9/11 and prior 1 by 6/14; box 1 overlaps prior 3 most, by 25/175.
    expected = torch.tensor([[0, -1, -1, 1]])
    assert torch.equal(match_priors(priors, boxes, present, 0.5), expected)
    expected = torch.tensor([[0, 0, -1, 1]])
    assert torch.equal(match_priors(priors, boxes, present, 0.4), expected)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(0, 10_000))
def test_matching_equals_torchvision(counts, seed):
    priors, _ = make_priors(96)
    targets = [(random_boxes(n, 96, seed + i), [1] * n) for i, n in enumerate(counts)]
    boxes, labels = padded(targets)
    matched = match_priors(priors, boxes, labels > 0, 0.5)
    for row, (own, names) in zip(matched, targets, strict=True):
        if names:
            assert torch.equal(row, SSDMatcher(0.5)(box_iou(own, priors)))
        else:
            assert torch.equal(row, torch.full_like(row, -1))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_coding_equals_torchvision_and_inverts(seed):
    boxes, priors = random_boxes(20, 96, seed), random_boxes(20, 96, seed + 1)
    coder = BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))
    offsets = encode(boxes, priors)
    assert_close(offsets, coder.encode_single(boxes, priors), rtol=1e-4, atol=1e-4)
    assert_close(decode(offsets[None], priors)[0], boxes, rtol=1e-4, atol=1e-3)
    wild = 100 * torch.randn(20, 4, generator=torch.Generator().manual_seed(seed))
    decoded = decode(wild[None], priors)[0]
    assert_close(decoded, coder.decode_single(wild, priors), rtol=1e-3, atol=1e-2)


def some_outputs(network, batch, seed=0, spread=3.0):
    generator = torch.Generator().manual_seed(seed)
    count = len(network.priors)
    return {
        "offsets": torch.randn(batch, count, 4, generator=generator),
        "logits": spread * torch.randn(batch, count, 6, generator=generator),
    }


def theirs_named(outputs):
    return {"bbox_regression": outputs["offsets"], "cls_logits": outputs["logits"]}


def test_losses_equal_torchvision(full_pair):
    ours, theirs = full_pair
    outputs = some_outputs(ours, 3)
    targets = [(random_boxes(3, 300, 1), [1, 5, 2]), (torch.zeros(0, 4), []), (
        random_boxes(1, 300, 2), [4])]  # fmt: skip
    as_dicts = [{"boxes": b, "labels": torch.as_tensor(n).long()} for b, n in targets]
    matched = [
        SSDMatcher(0.5)(box_iou(b, ours.priors)) if n else torch.full((8732,), -1)
        for b, n in targets
    ]
    expected = theirs.compute_loss(as_dicts, theirs_named(outputs), [ours.priors] * 3, matched)
    losses = ours.loss(outputs, *padded(targets))
    assert set(losses) == set(expected)
    for name, value in losses.items():
        assert_close(value, expected[name], rtol=1e-4, atol=1e-4, msg=name)


def test_detections_equal_torchvision(full_pair):
    ours, theirs = full_pair
    outputs = some_outputs(ours, 2, spread=1.5)
    theirs.topk_candidates = 200  # the official code's number before suppression
    expected = theirs.postprocess_detections(
        theirs_named(outputs), [ours.priors] * 2, [(300, 300)] * 2
    )
    for own, other in zip(ours.detect(outputs), expected, strict=True):
        assert len(own["scores"]) == 200
        assert_close(own["scores"], other["scores"])
        assert torch.equal(own["labels"], other["labels"])
        assert_close(own["boxes"], other["boxes"], rtol=1e-4, atol=1e-2)


def test_focal_loss_by_hand():
    """Paper: Eq. 20."""
    config = SMALL.model_copy(update={"focal_loss": True})
    network = build(config)
    outputs = some_outputs(network, 2)
    boxes, labels = padded([(random_boxes(2, 96, 3), [1, 2]), (torch.zeros(0, 4), [])])
    _, label = network.match(boxes, labels)
    p = F.softmax(outputs["logits"], dim=2)
    total = 0.0
    for image, prior in [(i, j) for i in range(2) for j in range(len(network.priors))]:
        own = float(p[image, prior, label[image, prior]])
        alpha = 0.25 if label[image, prior] > 0 else 0.75
        total -= alpha * (1 - own) ** 2 * math.log(own)
    value = network.loss(outputs, boxes, labels)["classification"]
    assert_close(float(value), total / int((label > 0).sum()), rtol=1e-4, atol=0)


def test_focal_loss_starts_where_objects_are_rare():
    network = build(SMALL.model_copy(update={"focal_loss": True})).eval()
    with torch.no_grad():
        chance = network(torch.zeros(1, 3, 96, 96))["logits"].softmax(dim=2)
    assert_close(chance[..., 1:].sum(2), torch.full((1, len(network.priors)), 0.01))


DEGENERATE = {
    "no items at all": [(torch.zeros(0, 4), []), (torch.zeros(0, 4), [])],
    "one pixel": [(torch.tensor([[10.0, 10, 11, 11]]), [1]), (torch.zeros(0, 4), [])],
    "whole image": [(torch.tensor([[0.0, 0, 96, 96]]), [3]), (torch.zeros(0, 4), [])],
    "same box twice": [(torch.tensor([[8.0, 8, 40, 40]] * 2), [1, 2]), (torch.zeros(0, 4), [])],
    "sliver": [(torch.tensor([[0.0, 50, 96, 50.01]]), [2]), (torch.zeros(0, 4), [])],
}


@pytest.mark.parametrize("targets", DEGENERATE.values(), ids=DEGENERATE)
@pytest.mark.parametrize("focal", [False, True])
def test_degenerate_targets_train_with_finite_losses(targets, focal):
    network = build(SMALL.model_copy(update={"focal_loss": focal}))
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    losses = network.loss(network(images), *padded(targets))
    sum(losses.values()).backward()
    for name, value in losses.items():
        assert torch.isfinite(value), name
    for name, parameter in network.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name


def test_gradients_reach_every_parameter():
    network = build(SMALL)
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    # One item per map size, so that positives lie on every map.
    sizes = [8.0, 15, 30, 45, 90]
    boxes = torch.tensor([[1.0, 1, 1 + s, 1 + s] for s in sizes])
    losses = network.loss(network(images), *padded([(boxes, [1, 2, 3, 4, 5])] * 2))
    sum(losses.values()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("focal", [False, True])
def test_image_losses_are_those_of_batches_of_one(focal):
    """And the batch's loss, the same bits as without them, is their mean by matched priors.

    Paper: Eq. 10.
    """
    network = build(DetectorConfig(image_size=96, width=0.125, focal_loss=focal))
    targets = [
        random_boxes(2, 96, seed=1),
        random_boxes(1, 96, seed=2),
        random_boxes(0, 96, seed=3),
    ]
    boxes, labels = padded([(own, torch.arange(len(own)) + 1) for own in targets])
    outputs = some_outputs(network, batch=3)
    plain = network.loss(outputs, boxes, labels)
    assert not hasattr(network, "image_losses")
    network.keeps_image_losses = True
    kept = network.loss(outputs, boxes, labels)
    assert all(torch.equal(kept[name], plain[name]) for name in plain)
    own = network.image_losses
    network.keeps_image_losses = False
    for i in range(3):
        alone = {name: value[i : i + 1] for name, value in outputs.items()}
        assert_close(sum(network.loss(alone, boxes[i : i + 1], labels[i : i + 1]).values()), own[i])
    matched = (network.match(boxes, labels)[1] > 0).sum(dim=1)
    if focal:
        assert own[2] > 0  # every prior counts, also those of an image without items
    else:
        assert own[2] == 0
        assert_close((own * matched).sum() / matched.sum(), sum(plain.values()))


def test_negatives_are_three_a_positive_and_the_hardest():
    network = build(SMALL)
    boxes, labels = padded([(torch.tensor([[10.0, 10, 11, 11]]), [1])])
    count = len(network.priors)
    logits = torch.zeros(1, count, 6)
    logits[..., 0] = 5.0
    _, label = network.match(boxes, labels)
    assert int((label > 0).sum()) == 1
    hard = (label[0] == 0).nonzero().squeeze(1)[[3, 50, 99, 200]]
    logits[0, hard, 0] = torch.tensor([-1.0, -2.0, -3.0, -4.0])
    outputs = {"offsets": torch.zeros(1, count, 4), "logits": logits}
    entropy = -F.log_softmax(logits, dim=2)[0]
    expected = entropy[label[0] == 1, 1].sum() + entropy[hard[1:], 0].sum()
    assert_close(network.loss(outputs, boxes, labels)["classification"], expected)


def test_last_vgg_layer_is_conv5_3():
    network = build(SMALL)
    layer = network.last_vgg_layer
    assert isinstance(layer, torch.nn.Conv2d) and layer.dilation == (1, 1)
    convolutions = [m for m in network.backbone.modules() if isinstance(m, torch.nn.Conv2d)]
    assert convolutions.index(layer) == 12  # the thirteenth of VGG16
