"""FCOS against torchvision's: same tensors, same outputs, same losses and detections."""

from functools import partial

import pytest
import torch
from tiny import seeded
from torch.testing import assert_close
from torchvision.models.detection import fcos_resnet50_fpn

from doamlib.models.config import DetectorConfig
from doamlib.models.detector import build_detector
from doamlib.models.fcos import FCOS

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
