"""Batch normalisation of a warm start: folded exactly into the plain VGG16's convolutions."""

import pytest
import torch
from torch import nn

from doamlib.models.config import DetectorConfig
from doamlib.models.detector import build_detector, load_weights
from doamlib.models.doam import DOAMConfig
from doamlib.models.ssd import NormalisedConv2d
from doamlib.models.weights import fold_batch_norm

SLIM = {"image_size": 96, "width": 0.125}


@pytest.fixture
def normalised():
    """A detector with batch normalisation whose statistics are far from the identity."""
    detector = build_detector(DetectorConfig(**SLIM, batch_norm=True), seed=1).eval()
    generator = torch.Generator().manual_seed(2)
    for layer in detector.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                drawn = torch.rand(tensor.shape, generator=generator)
                tensor.data.copy_(drawn + (0.5 if tensor is not layer.bias else -0.5))
    return detector


def test_every_convolution_of_the_trunk_has_its_own(normalised):
    layers = [m for m in normalised.network.backbone.modules() if isinstance(m, nn.Conv2d)]
    assert len(layers) > 15 and all(isinstance(layer, NormalisedConv2d) for layer in layers)
    head = [m for m in normalised.network.head.modules() if isinstance(m, nn.Conv2d)]
    assert not any(isinstance(layer, NormalisedConv2d) for layer in head)


def test_a_plain_detector_with_folded_weights_computes_the_same(normalised):
    plain = build_detector(DetectorConfig(**SLIM), seed=9).eval()
    assert load_weights(plain, normalised.state_dict()) == []
    pixels = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        expected = normalised.network(normalised.network_input(pixels))
        got = plain.network(plain.network_input(pixels))
    for name in expected:
        torch.testing.assert_close(got[name], expected[name], rtol=1e-3, atol=1e-4)
    assert float(expected["logits"].abs().max()) > 0.01


def test_one_channel_by_hand():
    """w = 2, bias 1, then (y - 3) / sqrt(4) * 10 + 5 is 10 w x / 2 + 10 (1 - 3) / 2 + 5."""
    tensors = {
        "c.weight": torch.full((1, 1, 1, 1), 2.0),
        "c.bias": torch.tensor([1.0]),
        "c.norm.weight": torch.tensor([10.0]),
        "c.norm.bias": torch.tensor([5.0]),
        "c.norm.running_mean": torch.tensor([3.0]),
        "c.norm.running_var": torch.tensor([4.0]),
        "c.norm.num_batches_tracked": torch.tensor(7),
    }
    folded = fold_batch_norm(tensors, eps=0.0)
    assert set(folded) == {"c.weight", "c.bias"}
    assert folded["c.weight"].item() == pytest.approx(10.0)
    assert folded["c.bias"].item() == pytest.approx(-5.0)


def test_a_normalisation_that_the_detector_has_itself_stays():
    config = DetectorConfig(**SLIM, doam=DOAMConfig(gamma=0.5))
    source = build_detector(config, seed=1)
    with torch.no_grad():
        for layer in source.doam.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_var.fill_(9.0)
    target = build_detector(config, seed=2)
    assert load_weights(target, source.state_dict()) == []
    for name, value in source.state_dict().items():
        torch.testing.assert_close(target.state_dict()[name], value, rtol=0, atol=0)
