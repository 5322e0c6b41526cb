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
        values = {n: v for n, v in detector.state_dict().items() if v.is_floating_point()}
        if not self.tensors:
            self.tensors.update({name: torch.zeros_like(value) for name, value in values.items()})
        means = [self.tensors[name] for name in values]
        torch._foreach_lerp_(means, list(values.values()), 1 / self.steps)  # each mean.lerp_(value)

    def load_into(self, detector: nn.Module) -> None:
        """Give the detector the mean; what is no float, or an empty mean, leaves it as it is."""
        detector.load_state_dict(self.tensors, strict=False)
