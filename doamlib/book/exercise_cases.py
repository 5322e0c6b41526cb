"""What the exercises ask and what is right; :mod:`doamlib.book.exercises` compares.

Right answers come from the library wherever it has the function, so they cannot go out of date.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

Case = tuple[tuple[Any, ...], Any]
PAGES = {
    "xray": "xray_physics",
    "doam": "doam",
    "switch": "doam_switches",
    "rivals": "rivals",
    "ssd": "ssd",
    "sampling": "sampling",
    "run": "one_run",
    "ap": "average_precision",
    "measuring": "measuring",
}
"""First part of an exercise's name -> the page that asks it, in the order of the book."""


@dataclass(frozen=True)
class Exercise:
    """A question with its right answers.

    Attributes:
        name: as in ``check("doam-kernel", ...)``; its label in the book is ``ex-doam-kernel``.
        level: 1 (a minute), 2 (some lines) or 3 (a page of paper).
        cases: makes the cases anew.
        tolerance: relative, of numbers.
    """

    name: str
    level: int
    cases: Callable[[], Iterable[Case]]
    tolerance: float

    @property
    def page(self) -> str:
        """The page that asks it, without its ending."""
        return PAGES[self.name.split("-")[0]]


REGISTERED: dict[str, Exercise] = {}


def exercise(level: int) -> Callable:
    """Register a function that makes the cases of the exercise it is named after."""

    def register(cases: Callable[[], Iterable[Case]]) -> Callable:
        name = cases.__name__.replace("_", "-")
        REGISTERED[name] = Exercise(name, level, cases, 1e-3)
        return cases

    return register


def value_of(name: str, level: int, answer: Any, tolerance: float = 1e-3) -> None:
    """Register an exercise whose answer is a value and no function."""
    REGISTERED[name] = Exercise(name, level, lambda: [((), answer)], tolerance)


# --- Seeing through a suitcase --------------------------------------------------------------------


# Photons that pass two layers of which one lets half through and the other a fifth.
value_of("xray-layers", 1, 0.5 * 0.2)

# What a second steel blade does to the picture of the first.
value_of("xray-blade", 2, "both")


@exercise(2)
def xray_occlusion() -> Iterable[Case]:
    """O from the weights of an item's pixels and their visibilities here and on a bare tray."""
    generator = torch.Generator().manual_seed(0)
    weight, here, bare = torch.rand(3, 6, 5, generator=generator)
    for v1, v0 in ((bare, bare), (torch.zeros_like(bare), bare), (here * bare, bare)):
        yield (weight, v1, v0), float(1 - (weight * v1).sum() / (weight * v0).sum())


# --- DOAM -----------------------------------------------------------------------------------------


@exercise(1)
def doam_kernel() -> Iterable[Case]:
    """Side of the one kernel that Edge Guidance's five convolutions amount to."""
    from doamlib.models import DOAMConfig

    yield (), 1 + 2 * len(DOAMConfig().edge_channels)


# Names of the parameters that get a gradient while gamma is 0.
value_of("doam-gradient", 1, {"gamma"})


@exercise(2)
def doam_edges() -> Iterable[Case]:
    """Edges N,1,H,W stretched to 0..255 image by image; an image without any becomes 0."""
    from doamlib.models.doam import normalise_edges

    edges = 400 * torch.rand(3, 1, 8, 9, generator=torch.Generator().manual_seed(0))
    edges[1] = 7.0
    edges[2] /= 10
    yield (edges,), 255 * normalise_edges(edges)


@exercise(2)
def doam_regions() -> Iterable[Case]:
    """Region means of N,C,H,W without a loop, where k divides height and width."""
    from doamlib.models.doam import RegionAverage

    for k, shape in ((5, (2, 3, 20, 10)), (10, (1, 8, 30, 20))):
        features = torch.rand(shape, generator=torch.Generator().manual_seed(k))
        yield (features, k), RegionAverage(k)(features)


@exercise(2)
def doam_gate_size() -> Iterable[Case]:
    """Parameters of the gate at full size, its batch normalisation included."""
    from doamlib.models import DOAM

    yield (), sum(p.numel() for p in DOAM().material.regions.gate.parameters())


# --- DOAM: code against text ----------------------------------------------------------------------


# The factor of a pixel where M is 0 and gamma a quarter.
value_of("switch-faded", 1, 3 / 4)

# The switch that other weights undo for every image.
value_of("switch-undone", 2, "channel_order")


@exercise(3)
def switch_without_gate() -> Iterable[Case]:
    """M of the ablation's EG+MA/G from its module and images (N,3,H,W): one region, no gate."""
    from doamlib.models import DOAM, DOAMConfig

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        doam = DOAM(DOAMConfig.without_gate()).eval()
    image = 255 * torch.rand(1, 3, 30, 40, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for scaled in (image, image / 30):
            yield (doam, scaled), doam(scaled, return_attention=True)[1]


# --- How a detector turns maps into boxes ---------------------------------------------------------


@exercise(1)
def ssd_iou() -> Iterable[Case]:
    """IoU of two boxes x1, y1, x2, y2; boxes that do not meet have 0."""
    from torchvision.ops import box_iou

    first = [0.0, 0.0, 10.0, 4.0]
    for second in ([0.0, 0.0, 10.0, 4.0], [5.0, 2.0, 15.0, 6.0], [20.0, 20.0, 30.0, 24.0]):
        yield (first, second), float(box_iou(torch.tensor([first]), torch.tensor([second])))


# SSD's loss for a batch without any item.
value_of("ssd-empty", 1, 0.0)


@exercise(2)
def ssd_decode() -> Iterable[Case]:
    """Boxes (N,4) from offsets (N,4) and priors (N,4): the way back from the coding."""
    from doamlib.models.priors import encode

    priors = torch.tensor([[0.0, 0.0, 20.0, 20.0], [30.0, 10.0, 70.0, 30.0]])
    for boxes in (priors, torch.tensor([[4.0, 2.0, 30.0, 18.0], [10.0, 12.0, 60.0, 60.0]])):
        yield (encode(boxes, priors), priors), boxes


@exercise(2)
def ssd_mining() -> Iterable[Case]:
    """A batch's summed classification loss, its hard negatives chosen over the whole batch."""
    entropy = torch.tensor([[0.1, 2.0, 0.3, 0.9], [0.2, 0.8, 0.05, 1.1], [3.0, 0.4, 0.6, 0.7]])
    for chosen in ([], [1], [1, 4], [0, 1, 4, 7]):
        positive = torch.zeros(12, dtype=torch.bool)
        positive[chosen] = True
        positive = positive.view(3, 4)
        ranked = entropy[~positive].sort(descending=True).values
        yield (entropy, positive), float(entropy[positive].sum() + ranked[: 3 * len(chosen)].sum())


@exercise(3)
def ssd_suppression() -> Iterable[Case]:
    """Non-maximum suppression: kept rows, strongest first, from boxes (N,4), scores and a limit."""
    from torchvision.ops import nms

    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [5, 0, 15, 10], [30, 0, 40, 10]])
    scores = torch.tensor([0.6, 0.9, 0.8, 0.1])
    for limit in (0.3, 0.45, 0.9):
        yield (boxes, scores, limit), nms(boxes, scores, limit).tolist()


# --- The rivals -----------------------------------------------------------------------------------


# Pairs of positions on a map of 150 x 150.
value_of("rivals-pairs", 1, (150 * 150) ** 2)


@exercise(2)
def rivals_size() -> Iterable[Case]:
    """Parameters of a Non-local block for 64 channels."""
    from doamlib.models.attention import NonLocal

    yield (), sum(p.numel() for p in NonLocal(64).parameters())


# Which rivals give shuffled pixels the same values: only those without a 3x3 convolution.
value_of("rivals-shuffle", 2, {"SE", "Non-local"})


# --- Over-sampling --------------------------------------------------------------------------------


@exercise(1)
def sampling_steps() -> Iterable[Case]:
    """Optimiser steps of the paper's training with a pool of a quarter of each epoch."""
    from doamlib.recipe import SamplingConfig, planned_steps

    yield (), planned_steps(SamplingConfig(strategy="hard", pool_batches=0.25), 297, 60)


# The p at which focal loss with gamma 2 is a tenth of cross-entropy.
value_of("sampling-focal", 1, 1 - 0.1**0.5)

# Batches above L that a pool of two turns away: losses 1.5, 2.5, 1.2, 2.0, 0.9, 3.0, L = 1.
value_of("sampling-threshold", 2, {2})


@exercise(3)
def sampling_pool() -> Iterable[Case]:
    """Algorithm 2 as printed: from losses, room and L to the batches in the pool, sorted."""
    from doamlib.recipe import SamplingConfig
    from doamlib.sampling import make_strategy

    for losses, room, limit in (
        ([1.2, 0.8, 1.5, 1.1, 0.9, 1.4, 1.15, 2.0], 3, 1.0),
        ([0.5, 0.4, 0.3], 2, 1.0),
        ([2.0, 2.0, 2.0, 1.0], 2, 0.0),
        ([3.0, 1.5, 2.5, 1.0, 4.0], 1, 2.0),
    ):
        printed = {"threshold_is": "loss", "priority_is": "loss"}
        config = SamplingConfig(strategy="hard", pool_batches=room, threshold=limit, **printed)
        strategy = make_strategy(config, len(losses), epochs=1, seed=0)
        strategy.begin_epoch(0)
        for batch, loss in enumerate(losses):
            strategy.observe([batch], loss)
        yield (losses, room, limit), sorted(batch.indices[0] for batch in strategy.pool)


# --- One run --------------------------------------------------------------------------------------


@exercise(1)
def run_rate() -> Iterable[Case]:
    """Rate of step 75 of 100: peak 0.001, 9 warm-up steps, then a cosine to 0."""
    from doamlib.recipe import TrainingConfig

    config = TrainingConfig(learning_rate=1e-3, warmup_steps=9, schedule="cosine")
    yield (), 1000 * config.rate_at(75, 100)


# Which parameters are part of a run's identity.
value_of("run-key", 2, {"epochs", "precision", "seeds"})


@exercise(3)
def run_fold() -> Iterable[Case]:
    """Kernel and bias of one convolution that does what a convolution and its norm do."""
    generator = torch.Generator().manual_seed(0)
    for outputs, inputs in ((2, 1), (5, 3)):
        kernel = torch.randn(outputs, inputs, 3, 3, generator=generator)
        bias, scale, shift, mean = torch.randn(4, outputs, generator=generator)
        variance = 0.5 + torch.rand(outputs, generator=generator)
        factor = scale / (variance + 1e-5).sqrt()
        folded = torch.cat(
            [(kernel * factor.view(-1, 1, 1, 1)).flatten(), (bias - mean) * factor + shift]
        )
        yield (kernel, bias, scale, shift, mean, variance), folded


# --- Average precision ----------------------------------------------------------------------------


# AP of the example after five hundred more wrong detections of very low score.
value_of("ap-flood", 1, 5 / 8)


# Expected best of three equal epochs above the truth, in standard deviations of the noise.
value_of("ap-best", 2, 3 / (2 * math.sqrt(math.pi)), tolerance=0.03)


@exercise(3)
def ap_area() -> Iterable[Case]:
    """AP by the area rule, from hits (by falling score) and the number of items."""
    from doamlib.evaluation import average_precision

    for hits, items in (
        ([True, False, True, True, False], 4),
        ([True, True, False, True, False], 4),
        ([False, True], 1),
        ([False, False], 3),
        ([True, False, False, True, True], 3),
    ):
        there = {f"image {i}": [[0, 0, 0, 9, 9]] for i in range(items)} | {"rest": []}
        places = iter(list(there)[:items])
        found: dict[str, list] = {name: [] for name in there}
        for rank, hit in enumerate(hits):
            found[next(places) if hit else "rest"].append([0, 1 - rank / 10, 0, 0, 9, 9])
        yield (hits, items), float(average_precision(there, found, ["one"])["one"])


# --- Measuring ------------------------------------------------------------------------------------


# Share of single runs that point the wrong way where the truth is one deviation.
value_of("measuring-single", 1, (1 - math.erf(1 / math.sqrt(2))) / 2)

# How often six independent true parts are all seen, each four times in five.
value_of("measuring-parts", 1, 0.8**6)


@exercise(2)
def measuring_seeds() -> Iterable[Case]:
    """Seeds to show half a point at a standard deviation of half a point, four times in five."""
    from doamlib.evaluation.statistics import smallest_difference

    yield (), next(n for n in range(2, 100) if smallest_difference(0.5, n) <= 0.5)
