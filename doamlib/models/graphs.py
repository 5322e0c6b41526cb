"""A network's forward and backward pass on a GPU as one launch each.

A slim network's step is some thousand kernels of a few microseconds, and starting them one by one
from Python takes longer than they do. A CUDA graph records them once and repeats them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from doamlib.core.precision import Precision, forward_in, full_precision
from doamlib.core.report import Report
from doamlib.models.detector import Detector

Losses = dict[str, Tensor]
Step = Callable[[Tensor, Tensor, Tensor], Losses]
"""Pixels (N,3,S,S), boxes (N,G,4) and labels (N,G) to losses by name."""

SLOTS = 4
"""Items of an image that a recorded loss has room for; more are computed as ever."""


@contextmanager
def graphed(
    detector: Detector,
    batch_size: int,
    precision: Precision,
    device: torch.device,
    report: Report = print,
) -> Iterator[None]:
    """Inside, ``detector`` computes batches of this size by a CUDA graph while it is trained.

    Other sizes, evaluation, and all that runs on a CPU are computed as ever. So is a network of
    full width, whose kernels take longer than their launches, and for which the memory that a graph
    holds may be wanting. So is everything where the graph cannot be recorded, which is reported.
    The loss is part of the graph where its shapes do not depend on the items.

    Args:
        detector: on ``device``; put in training mode, its weights and running statistics left as
            they are.
        batch_size: images a step.
        precision: of the forward pass.
        device: where the detector is.
        report: gets a line where there is no graph.
    """
    if device.type != "cuda" or detector.config.width == 1:
        yield
        return
    shape = (batch_size, 3, detector.image_size, detector.image_size)
    pixels = torch.randint(0, 256, shape, device=detector.mean.device).float()
    network = detector.train().network
    fixed = getattr(network, "loss_of_fixed_shapes", False) and not network.keeps_image_losses
    try:
        recorded = (_record_all if fixed else _record_outputs)(detector, pixels, precision)
    except RuntimeError as failed:
        report(f"no CUDA graph ({str(failed).splitlines()[0]}): slower, the same otherwise")
        yield
        return

    def losses(given: Tensor, boxes: Tensor, labels: Tensor) -> Losses:
        fits = torch.is_grad_enabled() and given.shape == pixels.shape
        if fixed and boxes.shape[1] > SLOTS:
            fits = False
        return (recorded if fits else detector.plain_losses)(given, boxes, labels)

    detector.losses = losses
    try:
        yield
    finally:
        del detector.losses


class _Recorded(nn.Module):
    """A function of some tensors that uses a detector's weights, in a form to be recorded."""

    def __init__(self, detector: Detector, compute: Callable[..., tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.detector, self.compute = detector, compute

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        return self.compute(*given)


def _recorded(
    detector: Detector, compute: Callable[..., tuple[Tensor, ...]], *sample: Tensor
) -> Callable[..., tuple[Tensor, ...]]:
    """``compute`` by a graph."""
    module = _Recorded(detector, compute)
    return torch.cuda.make_graphed_callables(module, sample, allow_unused_input=True)


@contextmanager
def _unmoved(detector: Detector) -> Iterator[None]:
    """Puts running statistics back, which recording moves."""
    buffers = [(buffer, buffer.clone()) for buffer in detector.buffers()]
    try:
        yield
    finally:
        for buffer, before in buffers:
            buffer.copy_(before)


def _record_all(detector: Detector, pixels: Tensor, precision: Precision) -> Step:
    """Forward pass and loss by one graph."""
    boxes = pixels.new_zeros(len(pixels), SLOTS, 4)
    boxes[:, 0, 2:] = detector.image_size / 2
    labels = torch.zeros(boxes.shape[:2], dtype=torch.int64, device=pixels.device)
    labels[:, 0] = 1
    names: list[str] = []

    def compute(*given: Tensor) -> tuple[Tensor, ...]:
        # A graph must cast the weights anew each time, so nothing may be kept from before.
        with forward_in(precision, pixels.device, keep_casts=False):
            losses = detector.plain_losses(*given)
        names[:] = losses
        return tuple(losses.values())

    with _unmoved(detector):
        graph = _recorded(detector, compute, pixels, boxes, labels)

    def losses(given: Tensor, boxes: Tensor, labels: Tensor) -> Losses:
        room = SLOTS - boxes.shape[1]
        found = graph(given, F.pad(boxes, (0, 0, 0, room)), F.pad(labels, (0, room)))
        return dict(zip(names, found, strict=True))

    return losses


def _record_outputs(detector: Detector, pixels: Tensor, precision: Precision) -> Step:
    """The forward pass by a graph, the loss as ever."""
    names: list[str] = []

    def compute(given: Tensor) -> tuple[Tensor, ...]:
        with forward_in(precision, pixels.device, keep_casts=False):
            outputs = detector.outputs(given)
        names[:] = [n for n, v in outputs.items() if isinstance(v, Tensor) and v.requires_grad]
        return tuple(outputs[name] for name in names)

    with _unmoved(detector):
        with torch.no_grad():  # a gradient's remains would tie the recording to another stream
            once = detector.outputs(pixels)
        graph = _recorded(detector, compute, pixels)
    # What no weight changes, such as anchors, follows from the shapes.
    constant = {name: value for name, value in once.items() if name not in names}

    def losses(given: Tensor, boxes: Tensor, labels: Tensor) -> Losses:
        outputs = constant | dict(zip(names, graph(given), strict=True))
        with full_precision(given.device.type):
            return detector.network.loss(outputs, boxes, labels)

    return losses
