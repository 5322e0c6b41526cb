"""Where bfloat16 is used, and the places that stay in float32 whatever the network runs in."""

from pathlib import Path

import pytest
import torch

from doamlib.core import precision
from doamlib.core.precision import chosen, forward_in, full_precision, has_bfloat16
from doamlib.models.config import DetectorConfig
from doamlib.models.detector import build_detector
from doamlib.models.doam import DOAM, DOAMConfig

CPU = torch.device("cpu")
SMALL = DOAMConfig().slimmed(0.25)


def bfloat16():
    return torch.autocast("cpu", torch.bfloat16)


@pytest.mark.parametrize("has, expected", [(True, "bfloat16"), (False, "float32")])
def test_auto_follows_the_processor_and_a_named_format_does_not(monkeypatch, has, expected):
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: has)
    assert chosen("auto", CPU) == expected
    assert chosen("float32", CPU) == "float32"
    assert chosen("bfloat16", CPU) == "bfloat16"


@pytest.mark.parametrize("flags, expected", [("avx2 avx512_bf16", True), ("avx2 avx512f", False)])
def test_the_instructions_are_read_from_the_processors_flags(monkeypatch, flags, expected):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr(Path, "read_text", lambda *a, **k: f"model name: x\nflags\t\t: {flags}\n")
    assert has_bfloat16(CPU) is expected
    for mask in ("SSE41", "avx", "AVX2", "AVX2_VNNI", "AVX512_CORE"):
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", mask)
        assert has_bfloat16(CPU) is False
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
    assert has_bfloat16(CPU) is expected


def test_without_a_list_of_flags_and_on_other_devices_it_is_float32(monkeypatch):
    def missing(*arguments, **named):
        raise OSError

    monkeypatch.setattr(Path, "read_text", missing)
    assert has_bfloat16(CPU) is False
    assert has_bfloat16(torch.device("meta")) is False


def test_forward_in_and_full_precision_do_what_they_say():
    a = torch.ones(2, 2)
    with forward_in("bfloat16", CPU):
        assert (a @ a).dtype == torch.bfloat16
        with full_precision("cpu"):
            assert (a @ a).dtype == torch.float32
    with forward_in("float32", CPU):
        assert (a @ a).dtype == torch.float32


@pytest.mark.parametrize("gamma", [1.0e-4, 1.0e-3, 4.0e-3])
def test_a_small_gamma_still_blends_in_bfloat16(gamma):
    """1 + gamma (M - 1) has no digit left in bfloat16: every pixel stayed as it was."""
    torch.manual_seed(0)
    doam = DOAM(SMALL.model_copy(update={"gamma": gamma})).eval()
    images = 255 * torch.rand(2, 3, 32, 32)
    with torch.no_grad(), bfloat16():
        blended, attention = doam(images, return_attention=True)
    expected = images * (gamma * attention + 1 - gamma)
    torch.testing.assert_close(blended[:, :3], expected, rtol=1e-6, atol=1e-4)
    assert not torch.equal(blended[:, :3], images)


def test_attention_near_one_keeps_its_digits_in_bfloat16():
    """Nothing in bfloat16 lies between 0.996 and 1, where a trained map lives."""
    torch.manual_seed(0)
    doam = DOAM(SMALL).eval()
    with torch.no_grad():
        doam.attention.fusion.weight.mul_(0.01)
        doam.attention.fusion.bias.fill_(8.0)
        with bfloat16():
            attention = doam(255 * torch.rand(1, 3, 32, 32), return_attention=True)[1]
    assert attention.dtype == torch.float32
    assert 0.99 < attention.min() < attention.max() < 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ssd", "yolov3", "fcos"])
def test_losses_are_computed_in_float32(name):
    detector = build_detector(DetectorConfig(name=name, width=0.125, image_size=96), seed=0).train()
    target = {"boxes": torch.tensor([[10.0, 10.0, 40.0, 60.0]]), "labels": torch.tensor([1])}
    seen = []
    loss = detector.network.loss

    def watched(outputs, boxes, labels):
        seen.append(torch.is_autocast_enabled("cpu"))
        return loss(outputs, boxes, labels)

    detector.network.loss = watched
    with bfloat16():
        losses = detector(torch.rand(2, 3, 96, 96), [target, target])
    assert seen == [False]
    assert all(value.dtype == torch.float32 for value in losses.values())
