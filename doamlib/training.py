"""The training loop: one readable function a step, deterministic, resumable after any kill.

Read :meth:`Training.run` (epochs), then ``_run_epoch`` (the batches of one, and those that the pool
repeats: Algorithm 2), then ``_step`` (one batch: forward, loss, backward, update). The recipe is
:mod:`doamlib.recipe`; which batches are repeated is decided in :mod:`doamlib.sampling`.
"""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from pickle import PickleError
from typing import Any

import torch
from torch import Tensor, nn

from doamlib.core.determinism import reproducible
from doamlib.core.precision import forward_in
from doamlib.core.report import Refusal, Report, clock, one_line
from doamlib.data.batches import Batch, flip_some
from doamlib.data.cache import CachedDataset
from doamlib.models.graphs import graphed
from doamlib.models.weight_average import WeightAverage
from doamlib.recipe import SamplingConfig, TrainingConfig
from doamlib.sampling import make_strategy

EXPLODED = 1.0e4
"""A loss above this is taken for a run that has diverged."""

STOPS = 60
"""A run is evaluated and saved after every epoch, but no oftener than this (the epochs of
params/paper.yaml): few images make many short epochs. What came after the last stop is repeated
after a kill, with the same bits."""


class TrainingError(Refusal, RuntimeError):
    """Training cannot go on; the message names the step, the images and what to try."""


class OutOfTime(Exception):
    """The time budget is spent; the checkpoint holds everything up to the last finished epoch."""


@dataclass
class History:
    """What happened: one entry a step and one an epoch, in order."""

    loss: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    retrained: list[bool] = field(default_factory=list)
    epochs: list[dict[str, float]] = field(default_factory=list)
    pool: list[dict[str, Any]] = field(default_factory=list)


class Training:
    """A run in progress: detector, optimiser, sampling strategy and history, at one epoch's end.

    Args:
        detector: any detector of :mod:`doamlib.models.detector`.
        dataset: training images at the network's input size.
        config: the recipe.
        sampling: the strategy of Section IV-B or IV-D.
        seed: decides the order of images, the flips and the strategy's draws; runs that share a
            seed see the same images in the same order (Algorithm 2's extra batches apart).
        folder: holds the checkpoint; created where missing.
        device: of the detector.
        watch: called after every epoch (see `STOPS`); the numbers that it returns (such as the test
            set's mAP, 0 to 1) go into the history, where no decision ever looks at them. They are
            those of the last step's weights, also where weights are averaged.
        processor: what computes; the bits of one run come from one kind.

    Raises:
        ValueError: the strategy wants the loss of single images, which this detector does not tell.
    """

    def __init__(
        self,
        detector: nn.Module,
        dataset: CachedDataset,
        config: TrainingConfig,
        sampling: SamplingConfig,
        seed: int,
        folder: Path,
        device: torch.device,
        watch: Callable[[], dict[str, float]] = dict,
        processor: str = "",
    ) -> None:
        self.watch, self.processor = watch, processor
        self.detector, self.dataset, self.config = detector, dataset, config
        self.seed, self.folder, self.device = seed, folder, device
        self.batches = math.ceil(len(dataset) / config.batch_size)
        size = config.batch_size
        self.strategy = make_strategy(sampling, self.batches, config.epochs, seed, size)
        if sampling.pool_of == "images":
            keep_image_losses(detector)
        self.optimizer = make_optimizer(detector, config)
        self.history, self.average = History(), WeightAverage()
        self.epoch = 0
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, report: Report = print, deadline: float = math.inf) -> History:
        """Train to the last epoch, from the checkpoint where there is one that fits.

        Args:
            report: gets one line an epoch (see `STOPS`), with the remaining time.
            deadline: ``time.monotonic()`` after which no further epoch is started.

        Raises:
            TrainingError: the loss is not a number or has exploded.
            OutOfTime: the deadline has passed before the last epoch.
        """
        self._resume(report)
        size, precision = self.config.batch_size, self.config.precision
        graph = graphed(self.detector, size, precision, self.device, report)
        with reproducible(self.device), graph:
            while not self.strategy.finished():
                if time.monotonic() > deadline:
                    self._checkpoint()
                    raise OutOfTime
                self._run_epoch()
                if not self._stops_here():
                    continue
                self.history.epochs[-1] |= self.watch()
                self._checkpoint()
                report(self._line())
        self.average.load_into(self.detector)
        return self.history

    def _stops_here(self) -> bool:
        """Whether the epoch that has just ended is one of the `STOPS`."""
        epochs = self.config.epochs
        new = (self.epoch - 1) * STOPS // epochs < self.epoch * STOPS // epochs
        return new or self.strategy.finished()

    def _run_epoch(self) -> None:
        """Every training image once, then once more the batches of the pool (Algorithm 2)."""
        self.detector.train()
        start, self.waited = time.perf_counter(), 0.0
        first_step, images = len(self.history.loss), 0
        self.strategy.begin_epoch(self.epoch)
        # Ordinary training. The strategy sees each batch's loss and may keep the batch in its pool.
        for number, (indices, batch) in enumerate(self._loaded(self._order())):
            if self.strategy.steps_left() == 0:  # equal steps: the budget ends inside an epoch
                break
            self._step(indices, batch, self._rate(number))
            images += len(indices)
        # Retraining. DOAM-T (traditional) has an empty pool and does nothing here.
        pool = self.strategy.end_epoch()
        for indices, batch in self._loaded(pool):
            self._step(indices, batch, self._retrained_rate(), retrained=True)
        seconds = time.perf_counter() - start
        losses = self.history.loss[first_step:]
        images += sum(len(indices) for indices in pool)
        self.history.epochs.append(
            {
                "loss": sum(losses) / max(1, len(losses)),
                "steps": len(losses),
                "retrained": len(pool),
                "seconds": seconds,
                "waited": self.waited,
                "images_per_second": images / seconds,
            }
        )
        self.history.pool = self.strategy.history
        self.epoch += 1

    def _order(self) -> list[list[int]]:
        """This epoch's batches of image indices; like the flips they follow from seed and epoch."""
        size = self.config.batch_size
        order, self.flips = epoch_order(len(self.dataset), size, self.seed, self.epoch)
        return order

    def _loaded(self, batches: Sequence[Sequence[int]]) -> Iterator[tuple[list[int], Batch]]:
        """Each batch, its images on the device, the next one read meanwhile."""
        with ThreadPoolExecutor(max_workers=1) as reader:
            pending = [reader.submit(self._read, indices) for indices in batches[:1]]
            for number, indices in enumerate(batches):
                if number + 1 < len(batches):
                    pending.append(reader.submit(self._read, batches[number + 1]))
                start = time.perf_counter()
                images, targets = pending.pop(0).result()
                self.waited += time.perf_counter() - start
                yield list(indices), (images.to(self.device, non_blocking=True), targets)

    def _read(self, indices: Sequence[int]) -> Batch:
        images, targets = self.dataset.batch(indices)
        if self.config.horizontal_flip:  # this epoch's flips, also of a batch from an older one
            flip_some(images, targets, self.flips[indices])
        on_its_way = self.device.type == "cuda" and not images.is_cuda
        return (images.pin_memory() if on_its_way else images), targets

    def _rate(self, number: int) -> float:
        """Learning rate of this epoch's ordinary batch ``number``: what DOAM-T gives that batch.

        With equal steps retrained batches are part of the budget: step k has the rate that DOAM-T's
        step k has, so that the summed rates are equal as well.
        """
        if self.strategy.config.equal_steps:
            return self.config.rate_at(len(self.history.loss), self.strategy.planned_steps)
        step = self.epoch * self.batches + number
        return self.config.rate_at(step, self.batches * self.config.epochs)

    def _retrained_rate(self) -> float:
        """Learning rate of a retrained batch: the mean over its epoch's ordinary batches.

        (With equal steps every step has its place in the plan, and that place's rate.)

        So repetition's share of the summed rate is its share of the steps; and the last repetition,
        where a cosine has come down to 0, still teaches something.
        """
        return sum(map(self._rate, range(self.batches))) / self.batches

    def _step(self, indices: list[int], batch: Batch, rate: float, retrained: bool = False) -> None:
        """One batch: its loss, what the strategy makes of it, and an update of the weights."""
        images, targets = batch  # uint8 (N,3,H,W); a dict of boxes (G,4) and labels (G,) an image
        with forward_in(self.config.precision, self.device):
            # A detector in training mode returns its losses by name. Each is a mean over the batch,
            # SSD's over the priors that stand for an item.
            loss = sum(self.detector(images, targets).values())
        value = float(loss.detach())  # L_i (Eq. 10)
        if not math.isfinite(value) or value > EXPLODED:
            raise TrainingError(self._diverged(value, indices))
        if not retrained and not self.strategy.observe(indices, value, self._image_losses()):
            return  # it waits in the pool for the retraining, or the steps are spent
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.config.clip_norm:
            nn.utils.clip_grad_norm_(self.detector.parameters(), self.config.clip_norm)
        self.optimizer.step()
        self.history.loss.append(value)
        self.history.learning_rate.append(rate)
        self.history.retrained.append(retrained)
        if len(self.history.loss) > (1 - self.config.average_last) * self.strategy.planned_steps:
            self.average.add(self.detector)

    def _image_losses(self) -> list[float] | None:
        if self.strategy.config.pool_of == "batches":
            return None
        return self.detector.network.image_losses.tolist()

    def _diverged(self, value: float, indices: Sequence[int]) -> str:
        names = ", ".join(self.dataset.dataset.image_ids[index] for index in indices)
        step = len(self.history.loss)
        return (
            f"step {step} (epoch {self.epoch}): the loss is {value}; lower learning_rate, or set "
            f"warmup_steps or clip_norm; look at the boxes of this batch's images: {names}"
        )

    def _line(self) -> str:
        last = self.history.epochs[-1]
        spent = sum(entry["seconds"] for entry in self.history.epochs)
        done = len(self.history.loss)
        left = spent / done * (self.strategy.planned_steps - done)
        return (
            f"epoch {self.epoch}/{self.config.epochs}  loss {last['loss']:.3f}  "
            f"{last['images_per_second']:.1f} images/s  {clock(left)} left"
        )

    def _state(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on."""
        return {
            "epoch": self.epoch,
            "detector": self.detector.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": vars(self.average),
            "strategy": self.strategy.state_dict(),
            "history": vars(self.history),
            "processor": self.processor,
        }

    def _checkpoint(self) -> None:
        torch.save(self._state(), self.folder / "checkpoint.tmp")
        os.replace(self.folder / "checkpoint.tmp", self.folder / "checkpoint.pt")

    def _resume(self, report: Report = print) -> None:
        """Go on from the checkpoint; begin anew where other code or another processor made it."""
        path = self.folder / "checkpoint.pt"
        if not path.is_file():
            return
        fresh = copy.deepcopy(self._state())  # loading may fail half way
        try:
            self._load(torch.load(path, map_location=self.device, weights_only=True))
        except (EOFError, LookupError, RuntimeError, TypeError, ValueError, PickleError) as failed:
            self._load(fresh)
            report(f"{path} is of other code or processor ({one_line(str(failed))}): begins anew")

    def _load(self, state: dict[str, Any]) -> None:
        if state.get("processor", self.processor) != self.processor:  # older ones do not tell
            raise ValueError(f"{state['processor']}, this is {self.processor}")
        self.detector.load_state_dict(state["detector"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.strategy.load_state_dict(state["strategy"])
        self.average = WeightAverage(**state["average"])
        self.history = History(**state["history"])
        self.epoch = state["epoch"]


def epoch_order(
    images: int, batch_size: int, seed: int, epoch: int
) -> tuple[list[list[int]], Tensor]:
    """In which order an epoch's images come, and which are mirrored; seed and epoch decide it all.

    Args:
        images: number of training images.
        batch_size: images a batch; the last batch takes what is left.
        seed: of the run.
        epoch: from 0.

    Returns:
        The batches, each a list of positions in the training set; and (bool, one an image, at its
        position) whether ``horizontal_flip`` mirrors the image.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    shuffled = torch.randperm(images, generator=generator).tolist()
    flips = torch.rand(images, generator=generator) < 0.5
    return [shuffled[at : at + batch_size] for at in range(0, images, batch_size)], flips


def keep_image_losses(detector: nn.Module) -> None:
    """Let a detector's loss also tell each image's own.

    Raises:
        ValueError: its loss cannot.
    """
    network = getattr(detector, "network", detector)
    if not hasattr(network, "keeps_image_losses"):
        name = type(network).__name__
        raise ValueError(f"pool_of: images: {name} tells no loss of single images; SSD does")
    network.keeps_image_losses = True


def make_optimizer(detector: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """SGD as the paper's; or AdamW, whose first moment decays with the same momentum.

    Weight decay acts on all parameters: biases, normalisations and DOAM's gamma too.
    """
    settings = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    if config.optimizer == "adamw":
        betas = (config.momentum, 0.999)
        return torch.optim.AdamW(detector.parameters(), betas=betas, fused=True, **settings)
    return torch.optim.SGD(detector.parameters(), momentum=config.momentum, **settings)
