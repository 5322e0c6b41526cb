"""A network's forward and backward pass on a GPU as one launch each.

A slim network's step is some thousand kernels of a few microseconds, and starting them one by one
from Python takes longer than they do. A CUDA graph records them once and repeats them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from doamlib.core.precision import Precision, forward_in
from doamlib.core.report import Report
from doamlib.models.detector import Detector

Outputs = dict[str, Tensor | list]


class _Forward(nn.Module):
    """Pixels to those outputs of the network that have a gradient."""

    def __init__(self, detector: Detector, precision: Precision) -> None:
        super().__init__()
        self.detector, self.precision = detector, precision

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        # A graph must cast the weights anew each time, so nothing may be kept from before.
        with forward_in(self.precision, pixels.device, keep_casts=False):
            outputs = self.detector.plain_outputs(pixels)
        return tuple(outputs[name] for name in learned(outputs))


def learned(outputs: Outputs) -> list[str]:
    """Names of the outputs that depend on weights; others (anchors) follow from the shapes."""
    return [n for n, v in outputs.items() if isinstance(v, Tensor) and v.requires_grad]


@contextmanager
def graphed(
    detector: Detector,
    batch_size: int,
    precision: Precision,
    device: torch.device,
    report: Report = print,
) -> Iterator[None]:
    """Inside, ``detector`` computes batches of this size by a CUDA graph while it is trained.

    Other sizes, evaluation, and all that runs on a CPU are computed as ever. So is everything where
    the graph cannot be recorded, which is reported.

    Args:
        detector: on ``device``; put in training mode, its weights and running statistics left as
            they are.
        batch_size: images a step.
        precision: of the forward pass.
        device: where the detector is.
        report: gets a line where there is no graph.
    """
    if device.type != "cuda":
        yield
        return
    shape = (batch_size, 3, detector.image_size, detector.image_size)
    pixels = torch.randint(0, 256, shape, device=detector.mean.device).float()
    detector.train()
    try:
        recorded = _record(detector, pixels, precision)
    except RuntimeError as failed:
        report(f"no CUDA graph ({str(failed).splitlines()[0]}): slower, the same otherwise")
        yield
        return

    def outputs(given: Tensor) -> Outputs:
        fits = detector.training and torch.is_grad_enabled() and given.shape == pixels.shape
        return recorded(given) if fits else detector.plain_outputs(given)

    detector.outputs = outputs
    try:
        yield
    finally:
        del detector.outputs


def _record(
    detector: Detector, pixels: Tensor, precision: Precision
) -> Callable[[Tensor], Outputs]:
    """Pixels to outputs, by a graph."""
    buffers = [(buffer, buffer.clone()) for buffer in detector.buffers()]
    try:
        names, constant = _kinds_of_outputs(detector, pixels, precision)
        forward = torch.cuda.make_graphed_callables(
            _Forward(detector, precision), (pixels,), allow_unused_input=True
        )
    finally:
        for buffer, before in buffers:  # recording runs the network, which moves its statistics
            buffer.copy_(before)

    def recorded(given: Tensor) -> Outputs:
        return dict(zip(names, forward(given), strict=True)) | constant

    return recorded


def _kinds_of_outputs(
    detector: Detector, pixels: Tensor, precision: Precision
) -> tuple[list[str], Outputs]:
    """The names of :func:`learned` outputs, and the others.

    Nothing of the pass may outlive this function: what it leaves behind of the backward pass would
    tie the recording to another stream, and it would fail.
    """
    with forward_in(precision, pixels.device):
        found = detector.plain_outputs(pixels)
    names = learned(found)
    return names, {name: value for name, value in found.items() if name not in names}
