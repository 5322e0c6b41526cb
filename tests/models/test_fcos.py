"""FCOS against torchvision's: same tensors, same outputs, same losses and detections."""

from functools import partial

import pytest
import torch
from tiny import random_boxes, seeded
from torch.testing import assert_close
from torchvision.models.detection import fcos_resnet50_fpn

from doamlib.models.config import DetectorConfig
from doamlib.models.detector import build_detector
from doamlib.models.fcos import FCOS, match

SMALL = DetectorConfig(name="fcos", width=0.125, image_size=96)


build = partial(seeded, FCOS)


@pytest.fixture(scope="module")
def full_pair():
    """Our full-size FCOS for 64 pixels and torchvision's with the same weights."""
    ours = build(DetectorConfig(name="fcos"))
    ours.image_size = 64  # the network is fully convolutional; a small input keeps the test short
    theirs = fcos_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=5,
        min_size=64,
        max_size=64,
        score_thresh=0.01,
        nms_thresh=0.45,
        detections_per_img=200,
    )
    # The same names: torchvision's model takes our tensors without a single change.
    theirs.load_state_dict(ours.model.state_dict())
    return ours.eval(), theirs.eval()


def images_and_targets():
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[[4.0, 4, 30, 20], [20, 30, 60, 60]], [[0, 0, 0, 0], [0, 0, 0, 0]]])
    return images, boxes, torch.tensor([[1, 5], [0, 0]])


def test_same_number_of_parameters_as_torchvision(full_pair):
    ours, theirs = (sum(p.numel() for p in network.parameters()) for network in full_pair)
    assert ours == theirs


@pytest.mark.slow
def test_losses_equal_torchvision(full_pair):
    ours, theirs = full_pair
    images, boxes, labels = images_and_targets()
    normalised, _ = theirs.transform(list(images))
    targets = [
        {"boxes": box[label > 0], "labels": label[label > 0] - 1}
        for box, label in zip(boxes, labels, strict=True)
    ]
    theirs.training = True  # losses, while every layer stays in evaluation mode
    expected = theirs(list(images), targets)
    theirs.training = False
    losses = ours.loss(ours(normalised.tensors), boxes, labels)
    assert losses.keys() == expected.keys()
    for name, value in losses.items():
        assert_close(value, expected[name], rtol=1e-4, atol=1e-5, msg=name)


# Per image the number of boxes; each image has as many rows, the rest is padding.
COUNTS = {
    "one": [1] * 4,
    "several": [3, 5, 2, 5],
    "crowded": [40, 25, 40, 30],
    "some without items": [0, 3, 0, 1],
    "none": [0] * 4,
    "no rows": [],
}
# Boxes in fractions of the image: overlapping, of equal area, tiny, and as big as the image.
SPECIAL = {
    "nested": [[0.1, 0.1, 0.9, 0.9], [0.3, 0.3, 0.7, 0.7], [0.4, 0.4, 0.6, 0.6]],
    "the same twice": [[0.2, 0.2, 0.6, 0.6], [0.2, 0.2, 0.6, 0.6]],
    "equal areas": [[0.2, 0.3, 0.7, 0.55], [0.3, 0.2, 0.55, 0.7], [0.25, 0.25, 0.75, 0.5]],
    # Their areas differ, but float32 rounds both scores to the same.
    "areas a pixel apart": [[0.2, 0.2, 0.61, 0.6], [0.2, 0.2, 0.6, 0.6]],
    "tiny": [[0.5, 0.5, 0.501, 0.501], [0.37, 0.37, 0.38, 0.38], [0.04, 0.04, 0.05, 0.05]],
    "whole image": [[0.0, 0.0, 1.0, 1.0], [0.1, 0.1, 0.3, 0.3]],
    "empty boxes": [[0.5, 0.5, 0.5, 0.5], [0.2, 0.4, 0.6, 0.4]],
}


def random_targets(case, size, seed):
    """Boxes (4,G,4) and labels (4,G); padding lies between the items as well as behind them."""
    if case in SPECIAL:
        boxes = torch.tensor([SPECIAL[case]] * 4) * size
        labels = torch.tensor([[1, 3, 5][: boxes.shape[1]]] * 4)
        labels[1, 0] = labels[2, -1] = 0
        return boxes, labels
    counts = COUNTS[case]
    rows = max(counts) + 2 if counts else 0
    generator = torch.Generator().manual_seed(seed)
    boxes = random_boxes(4 * rows, size, seed).reshape(4, rows, 4)
    labels = torch.randint(1, 6, (4, rows), generator=generator)
    for label, count in zip(labels, counts, strict=False):
        label[torch.randperm(rows, generator=generator)[count:]] = 0
    return boxes, labels


@pytest.fixture(scope="module")
def small():
    return build(SMALL)


@pytest.fixture(scope="module", params=[96, 320])
def outputs(request, small):
    """The side of the input, and outputs for four images with large, varied values."""
    size = request.param
    generator = torch.Generator().manual_seed(size)
    small.image_size = size
    with torch.no_grad():
        outputs = small(torch.zeros(4, 3, size, size))
    for name in ("cls_logits", "bbox_regression", "bbox_ctrness"):
        outputs[name] = 2 * torch.randn(outputs[name].shape, generator=generator)
    outputs["bbox_regression"].relu_()  # as the head gives them
    return size, outputs


def losses_and_gradients(function, outputs):
    """The named losses and the gradient of the sum with respect to each of the head's outputs."""
    names = ("cls_logits", "bbox_regression", "bbox_ctrness")
    leaves = {name: outputs[name].clone().requires_grad_() for name in names}
    losses = function(outputs | leaves)
    sum(losses.values()).backward()
    return losses, [leaf.grad for leaf in leaves.values()]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("case", [*COUNTS, *SPECIAL])
def test_losses_and_gradients_are_torchvisions_to_the_bit(small, outputs, case, seed):
    size, outputs = outputs
    boxes, labels = random_targets(case, size, seed)
    targets = [
        {"boxes": box[label > 0], "labels": label[label > 0] - 1}
        for box, label in zip(boxes, labels, strict=True)
    ]

    def theirs(outputs):
        anchors = [outputs["anchors"]] * len(targets)
        return small.model.compute_loss(targets, outputs, anchors, outputs["places"])

    losses, gradients = losses_and_gradients(lambda own: small.loss(own, boxes, labels), outputs)
    expected, expected_gradients = losses_and_gradients(theirs, outputs)
    assert list(losses) == list(expected)
    for name, value in losses.items():
        assert torch.equal(value, expected[name]), name
    for own, other in zip(gradients, expected_gradients, strict=True):
        assert torch.equal(own, other)


def squares(side, middles):
    """Anchors of this side around places on a diagonal."""
    middle = torch.tensor(middles)[:, None]
    return torch.cat([middle - side / 2] * 2 + [middle + side / 2] * 2, dim=1)


def test_places_match_the_smallest_box_of_their_maps_size():
    """Worked by hand: places on the diagonal, at strides 8, 16 and 32."""
    places = [4, 3, 4]
    anchors = torch.cat(
        [
            squares(8, [16.0, 18.0, 20.0, 38.0]),
            squares(16, [120.0, 128.0, 144.0]),
            squares(32, [112.0, 128.0, 176.0, 320.0]),
        ]
    )
    huge, whole, large, middle, small = (0, 600), (0, 256), (40, 200), (10, 50), (16, 32)
    sides = [[middle, whole, small, small, large], [whole, small, middle, (0, 0), huge]]
    boxes = torch.tensor(sides, dtype=torch.float32)[..., [0, 0, 1, 1]]
    labels = torch.tensor([[1, 2, 3, 4, 5], [2, 0, 1, 0, 3]])
    # Stride 8: less than 12 from the centre, farthest side less than 64 away. 16 is on the edge of
    # `small` and 14 from the centre of `middle`. 18 is 12 from that centre: only `small` remains,
    # of two the first, and in the second image, where it is padding, none. 20 lies in both, 38 in
    # `middle` only.
    stride_8 = [[-1, 2, 2, 0], [-1, -1, 2, 2]]
    # Stride 16: less than 24, and 64 to 128. `large` is 80 and 88 deep there and its centre is 24
    # from 144; `whole` is 136, exactly 128 and 144 deep.
    stride_16 = [[4, 4, -1], [-1, -1, -1]]
    # Stride 32, the last: less than 48, and over 128 without an end. `whole` is 144 and exactly 128
    # deep; 176 is 48 away; `huge` is 320 deep.
    stride_32 = [[1, -1, -1, -1], [0, -1, -1, 4]]
    expected = torch.cat([torch.tensor(part) for part in (stride_8, stride_16, stride_32)], dim=1)
    assert torch.equal(match(anchors, places, boxes, labels, radius=1.5), expected)


@pytest.mark.slow
def test_detections_equal_torchvision(full_pair):
    ours, theirs = full_pair
    images, _, _ = images_and_targets()
    normalised, _ = theirs.transform(list(images))
    with torch.no_grad():
        found, expected = ours.detect(ours(normalised.tensors)), theirs(list(images))
    for own, other in zip(found, expected, strict=True):
        assert len(own["scores"]) > 0
        assert_close(own["scores"], other["scores"], rtol=1e-4, atol=1e-5)
        assert torch.equal(own["labels"], other["labels"] + 1)
        assert_close(own["boxes"], other["boxes"], rtol=1e-4, atol=1e-3)


def test_detections_of_few_places_are_torchvisions(small, outputs):
    """All images at once, where no map has more than torchvision's thousand candidates."""
    size, outputs = outputs
    found, expected = small.detect(outputs), small._detect_map_by_map(outputs)
    assert (len(outputs["anchors"]) <= 200) == (size == 96)
    for own, other in zip(found, expected, strict=True):
        assert len(own["scores"]) > 0
        assert torch.equal(own["labels"], other["labels"])
        assert_close(own["scores"], other["scores"], rtol=1e-6, atol=0)
        assert_close(own["boxes"], other["boxes"], rtol=1e-6, atol=1e-5)


def test_many_classes_leave_the_strongest_thousand_of_a_map():
    """144 places of 60 classes are 8,640 candidates, of which torchvision takes a thousand."""
    many = build(SMALL.model_copy(update={"num_classes": 60, "detections_per_image": 5000}))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        outputs = many.eval()(torch.zeros(1, 3, 96, 96))
    for name in ("cls_logits", "bbox_regression", "bbox_ctrness"):
        outputs[name] = 2 * torch.randn(outputs[name].shape, generator=generator)
    outputs["bbox_regression"].relu_()
    (found,), (expected,) = many.detect(outputs), many._detect_map_by_map(outputs)
    assert len(found["scores"]) == len(expected["scores"])
    for name, value in expected.items():
        assert_close(found[name], value, rtol=1e-6, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "used"), [(96, 96), (160, 160), (300, 320)])
def test_input_is_a_multiple_of_32_with_five_maps(asked, used):
    network = build(SMALL.model_copy(update={"image_size": asked})).eval()
    assert network.image_size == used
    with torch.no_grad():
        outputs = network(torch.zeros(1, 3, used, used))
    sides = [used // 8, used // 16, used // 32, -(-used // 64), -(-used // 128)]
    assert outputs["places"] == [side**2 for side in sides]
    assert outputs["cls_logits"].shape == (1, sum(outputs["places"]), 5)
    assert outputs["anchors"].shape == (sum(outputs["places"]), 4)


@pytest.mark.slow
def test_gradients_reach_every_parameter():
    network = build(SMALL)
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[[10.0, 10, 30, 30], [2, 2, 95, 94]]]).expand(2, 2, 4)
    losses = network.loss(network(images), boxes, torch.tensor([[1, 2]] * 2))
    sum(losses.values()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.slow
def test_the_backbone_is_torchvisions_resnet50():
    """With its tensors it computes what torchvision's classifier does before its last layers."""
    import torchvision

    with torch.random.fork_rng():
        torch.manual_seed(7)
        classifier = torchvision.models.resnet50(weights=None).eval()
    body = build_detector(DetectorConfig(name="fcos"), seed=0).eval().network.model.backbone.body
    left, unknown = body.load_state_dict(classifier.state_dict(), strict=False)
    assert not left and all(name.startswith("fc.") for name in unknown)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        stem = classifier.maxpool(classifier.relu(classifier.bn1(classifier.conv1(image))))
        expected = classifier.layer4(classifier.layer3(classifier.layer2(classifier.layer1(stem))))
        c5 = body(image)["c5"]
    assert_close(c5, expected, rtol=1e-4, atol=1e-4)
