"""Over-sampling strategies: which batches of an epoch are trained on a second time.

Section IV-B (hard samples: Algorithm 2, Eq. 10 to 12) and IV-D (easy: Eq. 17, 18; random: Eq. 19).
A pool S holds at most N_S whole batches, by image index. When it is retrained it is emptied. Focal
loss (Eq. 20), the fourth strategy of Table VII, re-weighs the loss inside the detector: it samples
as ``"traditional"`` does.

Symbols: X_i is a batch and L_i its loss (Eq. 10; a mean over the batch, SSD's over its matched
priors), L the loss threshold, S the pool, N_S the most batches that it holds. Taught in
``book/sampling.ipynb``. A strategy sees losses, never a network::

    strategy = make_strategy(config, batches=297, epochs=60, seed=0)
    for epoch in itertools.count():
        strategy.begin_epoch(epoch)
        ...  # for each batch: its loss, then an optimiser step if strategy.observe(indices, loss)
        ...  # for each batch of strategy.end_epoch(): an optimiser step
        if strategy.finished():
            break

Printed equations that cannot be meant, and what we do: in Eq. 12 the new pool is S without X_m,
with X_i; in Eq. 18 the batch that leaves is the one with the largest loss. What the paper leaves
open is a field of `SamplingConfig`.

Where we differ on purpose: the pool compares a batch's *excess*. Through the last 20 losses goes a
straight line (:mod:`doamlib.core.trend`; with fewer than ten there is none yet); the excess is how
far the batch's loss lies above the line's next point, in standard deviations of a new loss. L moves
with every batch: it is the median (``threshold``) of the excesses of the ``batches`` ordinary
batches before this one, across the epoch's border. The paper compares the losses L_i themselves.
They fall while a network learns, so that "largest loss" means "first N_S batches of the epoch", and
a threshold from the last epoch is one that hardly any batch of this one reaches.

As printed: ``priority_is="loss"``, with ``threshold_is="loss"`` and a number for L where one is
known. Table VII: T is ``strategy="traditional"``, O ``"hard"``, E ``"easy"``, R ``"random"``, and F
is T with ``focal_loss`` of :class:`doamlib.models.config.DetectorConfig`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from doamlib.core.trend import WINDOW, next_loss
from doamlib.recipe import SamplingConfig, planned_steps


@dataclass(frozen=True)
class PooledBatch:
    """A batch in the pool, or with ``pool_of="images"`` a single image.

    Attributes:
        indices: the images, as positions in the training set.
        loss: L_i (Eq. 10) when it entered; of a single image, its own loss.
        epoch: when it entered, from 0.
        priority: what the pool compares; the largest stay.
    """

    indices: list[int]
    loss: float
    epoch: int
    priority: float


class Strategy:
    """Traditional training, and what all strategies share: epochs, steps, state, history.

    As it is, every batch is trained on once an epoch (DOAM-T; also what focal loss trains with).

    Attributes:
        planned_steps: see `planned_steps`.
        history: for each retraining, JSON-able: ``epoch``, ``threshold`` (L for the epoch's last
            batch, None: no threshold), ``retrained`` (batches given out; fewer than held where the
            steps ran out) and ``batches`` (the pool, each with ``indices``, ``loss``, ``epoch``,
            ``priority``).
    """

    def __init__(
        self, config: SamplingConfig, batches: int, epochs: int, seed: int, batch_size: int = 1
    ) -> None:
        self.config, self.batches, self.epochs, self.seed = config, batches, epochs, seed
        self.batch_size = batch_size
        self.planned_steps = planned_steps(config, batches, epochs)
        self.history: list[dict[str, Any]] = []
        self._epoch, self._steps = 0, 0
        self._threshold: float | None = None
        self._seen: int | None = None  # batches of the running epoch; None between epochs
        self._levels: list[float] = []  # mean losses of the last batches, for the trend
        self._priorities: list[list[float]] = []  # of the last epoch's worth of batches, for L
        self._pool: list[PooledBatch] = []

    @property
    def pool(self) -> tuple[PooledBatch, ...]:
        """What S holds now, in order of arrival."""
        return tuple(self._pool)

    def steps_left(self) -> int:
        """Optimiser steps until `planned_steps`."""
        return self.planned_steps - self._steps

    def finished(self) -> bool:
        """Whether the run is over: steps spent (equal steps), or else the last epoch done."""
        if self.config.equal_steps:
            return self.steps_left() == 0
        return self._seen is None and self._epoch >= self.epochs

    def begin_epoch(self, epoch: int) -> None:
        """Start an epoch (counted from 0, none left out).

        Raises:
            RuntimeError: the previous epoch has not ended, or another epoch would be next.
        """
        if self._seen is not None:
            raise RuntimeError(f"epoch {self._epoch} has begun; call end_epoch() first")
        if epoch != self._epoch:
            raise RuntimeError(f"epoch {epoch} cannot begin; epoch {self._epoch} is next")
        self._seen = 0

    def observe(
        self, indices: Sequence[int], loss: float, image_losses: Sequence[float] | None = None
    ) -> bool:
        """Tell the loss of the epoch's next batch; the pool may take the batch, or images of it.

        Args:
            indices: the batch's images, as positions in the training set.
            loss: mean loss of the batch (Eq. 10).
            image_losses: each image's own loss; read by ``pool_of="images"`` alone.

        Returns:
            Whether to take an optimiser step on this batch.

        Raises:
            ValueError: a loss is not finite or is missing (nothing has been recorded), or there are
                no indices.
            RuntimeError: no epoch has begun, or it holds more batches than were announced.
        Paper: Eq. 10.
        """
        seen = self._running()
        indices = [int(index) for index in indices]
        if not indices:
            raise ValueError("a batch without images has no loss")
        if not math.isfinite(loss):
            raise ValueError(f"loss {loss} of the batch with images {indices} cannot be ranked")
        offered = self._offered(indices, float(loss), image_losses)
        if seen == self.batches:
            raise RuntimeError(f"epoch {self._epoch} has over {self.batches} batches")
        if self.steps_left() == 0:
            return False
        self._seen = seen + 1
        train = self._take(offered) or self.config.train_replacing
        self._steps += train
        return train

    def end_epoch(self) -> list[list[int]]:
        """End the epoch.

        Returns:
            The batches of the pool, which is empty afterwards, in order of arrival: each is to be
            trained on once now, and is counted as a step. None between two retrainings. A pool of
            images is cut into batches of ``batch_size``.

        Raises:
            RuntimeError: no epoch has begun.
        """
        self._running()
        self._seen = None
        self._epoch += 1
        if self._epoch % self.config.retrain_every:
            return []
        batches = self._batches()[: self.steps_left()]
        self._steps += len(batches)
        if self.config.strategy != "traditional":
            self.history.append(
                {
                    "epoch": self._epoch - 1,
                    "threshold": self._threshold,
                    "retrained": len(batches),
                    "batches": [asdict(batch) for batch in self._pool],
                }
            )
        self._pool = []
        return batches

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs, as JSON; may be taken in the middle of an epoch."""
        return {
            "identity": self._identity(),
            "epoch": self._epoch,
            "steps": self._steps,
            "threshold": self._threshold,
            "seen": self._seen,
            "levels": list(self._levels),
            "priorities": [list(own) for own in self._priorities],
            "pool": [asdict(batch) for batch in self._pool],
            "history": list(self.history),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            ValueError: the state is that of another configuration, run length or seed.
        """
        ours, other = self._identity().items(), state["identity"].items()
        if ours != other:
            raise ValueError(f"checkpoint of {dict(other - ours)}, this is {dict(ours - other)}")
        self._epoch, self._steps = state["epoch"], state["steps"]
        self._threshold, self._seen = state["threshold"], state["seen"]
        self._levels = list(state["levels"])
        self._priorities = [list(own) for own in state["priorities"]]
        self._pool = [PooledBatch(**batch) for batch in state["pool"]]
        self.history = list(state["history"])

    def _identity(self) -> dict[str, Any]:
        names = ("batches", "epochs", "seed", "batch_size")
        return self.config.model_dump(mode="json") | {name: getattr(self, name) for name in names}

    def _running(self) -> int:
        """Batches of the running epoch so far."""
        if self._seen is None:
            raise RuntimeError("no epoch has begun; call begin_epoch() first")
        return self._seen

    def _offered(
        self, indices: list[int], loss: float, image_losses: Sequence[float] | None
    ) -> list[tuple[list[int], float]]:
        """What the pool may take of a batch, each with its loss: the batch, or its images."""
        if self.config.pool_of == "batches":
            return [(indices, loss)]
        own = [float(one) for one in image_losses or ()]
        if len(own) != len(indices) or not all(map(math.isfinite, own)):
            raise ValueError(
                f"pool_of: images needs a finite loss of each image {indices}, not {own}"
            )
        return [([index], one) for index, one in zip(indices, own, strict=True)]

    def _batches(self) -> list[list[int]]:
        """The pool as batches to train on."""
        if self.config.pool_of == "batches":
            return [batch.indices for batch in self._pool]
        images, size = [image.indices[0] for image in self._pool], self.batch_size
        return [images[start : start + size] for start in range(0, len(images), size)]

    def _take(self, offered: list[tuple[list[int], float]]) -> bool:
        """Offer a batch or its images to the pool; False if one replaced another."""
        return True

    def _insert(self, batch: PooledBatch) -> bool:
        """Keep the N_S batches of largest priority; False if this one replaced another.

        Among equals the earlier stays: a batch enters a full pool only above the smallest priority
        (the strict sign of Eq. 12 and 18), and of several smallest the last that came leaves.
        """
        each = self.batch_size if self.config.pool_of == "images" else 1
        if len(self._pool) < each * self.config.pool_size(self.batches):
            self._pool.append(batch)
            return True
        weakest = min(range(len(self._pool)), key=lambda i: (self._pool[i].priority, -i))  # X_m
        if batch.priority <= self._pool[weakest].priority:
            return True
        del self._pool[weakest]
        self._pool.append(batch)
        return False


class Hard(Strategy):
    """Keeps the N_S batches of largest priority among those above L (Algorithm 2).

    The priority is the excess or the loss (``priority_is``). With the defaults the first batches of
    a run, too early for a trend, have excess 0 and no L to pass: they fill the pool until harder
    ones come. L exists from the second batch with an excess on.
    Paper: Algorithm 2; Eq. 11, 12; Fig. 4.
    """

    _sign = 1.0

    def _take(self, offered: list[tuple[list[int], float]]) -> bool:
        losses = np.array([loss for _, loss in offered])  # L_i: one, or each image's
        scores = self._scores(losses)
        # The largest priority stays; Easy turns the sign, so that its smallest loss does.
        priorities = (self._sign * (np.zeros_like(losses) if scores is None else scores)).tolist()
        self._threshold = self._threshold_now()  # L
        ranked = self._sign * losses if self.config.threshold_is == "loss" else priorities
        replaced = False
        for (indices, loss), priority, rank in zip(offered, priorities, ranked, strict=True):
            # Algorithm 2: L_i > L (Eq. 11), then a place in S while it has one, else Eq. 12.
            if self._threshold is None or rank > self._sign * self._threshold:
                entry = PooledBatch(indices, loss, self._epoch, priority)
                replaced |= not self._insert(entry)
        self._levels = [*self._levels, float(losses.mean())][-WINDOW:]
        if scores is not None:
            self._priorities = [*self._priorities, priorities][-self.batches :]
        return not replaced

    def _scores(self, losses: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """What is compared, before Easy turns its sign; None where there is no trend yet."""
        if self.config.priority_is == "loss":
            return losses
        if (expected := next_loss(self._levels)) is None:
            return None
        return (losses - expected[0]) / expected[1]

    def _threshold_now(self) -> float | None:
        """L for the next batch; None while no batch has a score."""
        if self.config.threshold_is == "loss":
            return self.config.threshold
        if not self._priorities:
            return None
        recent = np.concatenate(self._priorities)
        return float(self._sign * np.quantile(recent, self.config.threshold))


class Easy(Hard):
    """Keeps the N_S batches of smallest loss or excess below L. Paper: Eq. 17, 18.

    With all signs turned it is `Hard`: L is then the (1 - ``threshold``) quantile of the excesses,
    and what lies below it enters.
    """

    _sign = -1.0


class Random(Strategy):
    """Keeps N_S batches drawn evenly from those seen since the last retraining (Eq. 19).

    Each batch gets a random number, which only the seed and its place in the run decide, and the
    largest stay. Every batch is trained on, whatever ``train_replacing`` says: Eq. 19 has no
    replacement. Paper: Eq. 19.
    """

    def _take(self, offered: list[tuple[list[int], float]]) -> bool:
        generator = np.random.default_rng((self.seed, self._epoch, self._running()))
        for indices, loss in offered:
            self._insert(PooledBatch(indices, loss, self._epoch, float(generator.random())))
        return True


def make_strategy(
    config: SamplingConfig, batches: int, epochs: int, seed: int, batch_size: int = 1
) -> Strategy:
    """The strategy that the configuration names.

    ``batches`` and ``epochs`` as for `planned_steps`; ``seed`` is not negative, and only
    ``"random"`` draws from it; ``batch_size`` is what a pool of images is cut into.
    """
    kinds = {"traditional": Strategy, "hard": Hard, "easy": Easy, "random": Random}
    return kinds[config.strategy](config, batches, epochs, seed, batch_size)
