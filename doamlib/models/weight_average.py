"""The mean of a network's weights over the last steps of a run."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass
class WeightAverage:
    """The mean of a detector's weights over the steps that were added; empty at first.

    Two networks whose weights differ in the sixth digit end a run 0.4 mAP apart, by chance. The
    mean of the last steps lies between such ends. Running statistics of batch normalisation are
    averaged like weights.
    """

    steps: int = 0
    tensors: dict[str, Tensor] = field(default_factory=dict)

    @torch.no_grad()
    def add(self, detector: nn.Module) -> None:
        """Take the present weights into the mean."""
        self.steps += 1
        for name, value in detector.state_dict().items():
            if value.is_floating_point():
                mean = self.tensors.setdefault(name, torch.zeros_like(value))
                mean.lerp_(value, 1 / self.steps)

    def load_into(self, detector: nn.Module) -> None:
        """Give the detector the mean; what is no float, or an empty mean, leaves it as it is."""
        detector.load_state_dict(self.tensors, strict=False)
