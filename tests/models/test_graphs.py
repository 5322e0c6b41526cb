"""The way to a GPU's graph: what is recorded, when it is used, and what it leaves alone.

No GPU is needed: PyTorch's recorder is replaced by one that runs the module as it is.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from doamlib.experiments.arms import ARMS
from doamlib.experiments.parameters import Parameters
from doamlib.experiments.study import run_config
from doamlib.models import graphs
from doamlib.models.config import DetectorConfig
from doamlib.models.detector import build_detector
from doamlib.models.doam import DOAMConfig

CPU = torch.device("cpu")
ON_GPU = SimpleNamespace(type="cuda")
TARGETS = [{"boxes": torch.tensor([[5.0, 5, 40, 60]]), "labels": torch.tensor([2])}] * 2


def detector_of(name):
    doam = DOAMConfig().slimmed(0.25)
    config = DetectorConfig(name=name, image_size=96, width=0.1, num_classes=5, doam=doam)
    return build_detector(config, 0)


def images(number=2, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (number, 3, 96, 96), generator=generator, dtype=torch.uint8)


@pytest.fixture
def recorder(monkeypatch):
    """Stands in for a GPU: counts how often the recorded way is taken."""
    used = []

    def record(module, sample, allow_unused_input):
        for _ in range(3):
            module(*sample)

        def replay(*given):
            used.append(tuple(given[0].shape))
            return module(*given)

        return replay

    monkeypatch.setattr(graphs.torch.cuda, "make_graphed_callables", record)
    return used


@pytest.mark.parametrize("name", ["ssd", "yolov3", "fcos"])
def test_the_recorded_way_gives_the_same_losses_gradients_and_statistics(recorder, name):
    plain, ours = detector_of(name).train(), detector_of(name)
    expected = plain(images(), TARGETS)
    sum(expected.values()).backward()
    with graphs.graphed(ours, 2, "float32", ON_GPU):
        found = ours(images(), TARGETS)
        sum(found.values()).backward()
    assert recorder == [(2, 3, 96, 96)]
    assert found.keys() == expected.keys()
    for part in expected:
        assert torch.equal(found[part], expected[part]), part
    for (key, a), b in zip(plain.named_parameters(), ours.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad), key
    for key, value in plain.state_dict().items():  # running statistics moved once, not four times
        assert torch.equal(value, ours.state_dict()[key]), key


def test_other_batches_and_evaluation_are_computed_as_ever(recorder):
    detector = detector_of("ssd")
    with graphs.graphed(detector, 2, "float32", ON_GPU):
        detector(images(1), TARGETS[:1])
        detector.eval()(images())
        detector.train()
        with torch.no_grad():
            detector(images(), TARGETS)
    assert recorder == []
    detector(images(), TARGETS)
    assert recorder == [] and "losses" not in vars(detector)


def test_where_nothing_can_be_recorded_training_goes_on_and_says_so(recorder, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(graphs.torch.cuda, "make_graphed_callables", refuse)
    detector, lines = detector_of("yolov3"), []
    before = {key: value.clone() for key, value in detector.state_dict().items()}
    with graphs.graphed(detector, 2, "float32", ON_GPU, lines.append):
        assert all(torch.equal(v, before[k]) for k, v in detector.state_dict().items())
        detector(images(), TARGETS)
    assert len(lines) == 1 and "stream is capturing" in lines[0] and "more" not in lines[0]


def test_on_a_cpu_nothing_is_recorded_and_of_a_full_network_neither(recorder):
    detector = detector_of("ssd")
    with graphs.graphed(detector, 2, "float32", CPU):
        assert "losses" not in vars(detector)
    detector.config = detector.config.model_copy(update={"width": 1.0})
    with graphs.graphed(detector, 2, "float32", ON_GPU):
        assert "losses" not in vars(detector)


@pytest.mark.parametrize(("items", "recorded"), [(1, True), (4, True), (5, False)])
def test_more_items_than_a_recorded_loss_has_room_for(recorder, items, recorded):
    detector = detector_of("ssd").train()
    boxes = torch.tensor([[5.0, 5, 40, 60]]) + 7 * torch.arange(items)[:, None]
    targets = [{"boxes": boxes, "labels": torch.full((items,), 3)}, TARGETS[0]]
    expected = detector(images(), targets)
    with graphs.graphed(detector, 2, "float32", ON_GPU):
        found = detector(images(), targets)
    assert bool(recorder) == recorded
    for part in expected:
        assert torch.equal(found[part], expected[part]), part


def test_where_single_images_losses_are_asked_for_the_loss_is_not_recorded(recorder, monkeypatch):
    monkeypatch.setattr(graphs, "_record_all", lambda *_: pytest.fail("the loss is recorded"))
    detector = detector_of("ssd").train()
    detector.network.keeps_image_losses = True
    with graphs.graphed(detector, 2, "float32", ON_GPU):
        detector(images(), TARGETS)
    assert len(detector.network.image_losses) == 2 and recorder == [(2, 3, 96, 96)]


class _Cpu(TorchDispatchMode):
    """Notes every operation on a tensor of the CPU, and every look at a value."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves((args, kwargs, result)) if isinstance(t, torch.Tensor)]
        waits = any(word in str(function) for word in ("_local_scalar", "nonzero", "is_nonzero"))
        if waits or any(tensor.device.type == "cpu" for tensor in tensors):
            self.seen.add(str(function))
        return result


PARTS = (
    *("SSD+SE", "SSD+Non-local", "SSD+DA", "SSD+DOAM-F", "SSD+DOAM-T, as the paper says"),
    *("SSD+DOAM-T, normalised steps", "YOLOv3+DOAM-T", "FCOS+DOAM-T"),
)
"""Arms that together have every block and every loss."""


@pytest.mark.slow
@pytest.mark.parametrize("arm", PARTS)
def test_what_is_recorded_neither_waits_for_the_gpu_nor_meets_the_cpu(arm):
    """With tensors that only pretend to be on a GPU: either would end a recording."""
    config = run_config(Parameters(), ARMS[arm], 0).detector
    detector = build_detector(config, 0).train()
    with FakeTensorMode(allow_non_fake_inputs=True):
        detector.to("cuda")
        pixels = torch.empty(16, 3, 96, 96, device="cuda")
        boxes = torch.empty(16, graphs.SLOTS, 4, device="cuda")
        labels = torch.ones(16, graphs.SLOTS, dtype=torch.int64, device="cuda")
        detector.outputs(pixels)  # anchors are made on the CPU once
        with _Cpu() as cpu:
            if config.name == "ssd":
                detector.plain_losses(pixels, boxes, labels)
            else:
                detector.outputs(pixels)
    assert not cpu.seen
