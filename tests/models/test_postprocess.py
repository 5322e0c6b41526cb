"""From scored boxes to detections: suppression within each class, cut off early."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import batched_nms, nms

from doamlib.models import postprocess
from doamlib.models.config import DetectorConfig
from doamlib.models.postprocess import all_at_once, class_wise_nms, select_detections


def boxes_of(number: int, spread: float, seed: int = 0):
    """Boxes of 10 to 30 pixels within ``spread`` pixels, with scores (some tied) and labels."""
    generator = torch.Generator().manual_seed(seed)
    corner = spread * torch.rand(number, 2, generator=generator)
    size = 10 + 20 * torch.rand(number, 2, generator=generator)
    scores = torch.randint(0, 500, (number,), generator=generator) / 500
    labels = torch.randint(0, 5, (number,), generator=generator)
    return torch.cat([corner, corner + size], dim=1), scores, labels


@pytest.mark.parametrize("spread", [300.0, 60.0, 5.0])
@pytest.mark.parametrize("number", [0, 1, 40, 1000])
def test_it_keeps_what_torchvision_keeps(number, spread):
    """From a few suppressed (300 pixels) to nearly all, where the first ones are not enough."""
    boxes, scores, labels = boxes_of(number, spread)
    wanted = batched_nms(boxes, scores, labels, 0.45)[:100]
    assert torch.equal(class_wise_nms(boxes, scores, labels, 0.45, 100), wanted)


def test_it_looks_at_more_only_in_need(monkeypatch):
    looked = []

    def counting(boxes, scores, iou):
        looked.append(len(boxes))
        return nms(boxes, scores, iou)

    monkeypatch.setattr(postprocess, "nms", counting)
    class_wise_nms(*boxes_of(1000, 300.0), 0.45, 100)
    assert looked == [300]
    looked.clear()
    class_wise_nms(*boxes_of(1000, 5.0), 0.45, 100)
    assert looked == [300, 1000]


def test_boxes_of_two_classes_do_not_suppress_each_other():
    same = torch.tensor([[10.0, 10, 50, 50]]).repeat(3, 1)
    scores, labels = torch.tensor([0.5, 0.9, 0.7]), torch.tensor([0, 1, 1])
    assert class_wise_nms(same, scores, labels, 0.45, 5).tolist() == [1, 0]


@pytest.mark.parametrize("pairs", [2**24, 450_000, 1])
@pytest.mark.parametrize("spread", [300.0, 60.0, 5.0])
def test_a_batch_at_once_keeps_what_each_image_by_itself_does(spread, pairs, monkeypatch):
    """The way that a GPU takes, on the CPU: equal scores, empty images and full ones too."""
    monkeypatch.setattr(postprocess, "PAIRS", pairs)  # all images, two, or one at a time
    config = DetectorConfig(num_classes=5, score_threshold=0.3, detections_per_image=40)
    generator = torch.Generator().manual_seed(int(spread))
    corner = spread * torch.rand(4, 300, 2, generator=generator)
    boxes = torch.cat([corner, corner + 10 + 20 * torch.rand(4, 300, 2, generator=generator)], 2)
    scores = torch.randint(0, 500, (4, 300, 5), generator=generator) / 500
    scores[1] = 0.1
    wanted = select_detections(boxes, scores, config, 300)
    strongest, prior = scores.transpose(1, 2).topk(200, dim=2)
    found = all_at_once(boxes.clamp(0, 300), strongest, prior, config)
    assert [len(image["scores"]) for image in found] == [len(i["scores"]) for i in wanted]
    assert [len(image["scores"]) for image in wanted][1] == 0
    for ours, theirs in zip(found, wanted, strict=True):
        for name, values in theirs.items():
            assert torch.equal(ours[name], values)
