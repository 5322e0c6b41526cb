"""Over-sampling strategies: which batches of an epoch are trained on a second time.

Section IV-B (hard samples: Algorithm 2, Eq. 10 to 12) and IV-D (easy: Eq. 17, 18; random: Eq. 19).
A pool S holds at most N_S whole batches, by image index. When it is retrained it is emptied. Focal
loss (Eq. 20), the fourth strategy of Table VII, re-weighs the loss inside the detector: it samples
as ``"traditional"`` does.

A strategy sees losses, never a network::

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
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from doamlib.config import Config


class SamplingConfig(Config):
    """A strategy and the choices that the paper does not print.

    Two ways to spend steps. With ``equal_steps=False``, as in the paper, a strategy with a pool
    trains for as many epochs as the others and its retrained batches come on top. With
    ``equal_steps=True`` it gets exactly the optimiser steps of traditional training: retrained
    batches count, and the run ends, if need be in the middle of an epoch, when they are spent.
    """

    strategy: Literal["traditional", "hard", "easy", "random"] = Field(
        "traditional", description="hard: DOAM-O; easy, random: DOAM-E, DOAM-R of Table VII"
    )
    threshold: float = Field(
        0.5,
        description="the standard loss threshold L; a share, because no loss fits every detector "
        "and epoch, and one half, so that hard means harder than usual",
    )
    threshold_is: Literal["quantile", "loss"] = Field(
        "quantile",
        description="quantile: of the previous epoch's losses (easy: from above), and none in the "
        "first epoch; loss: a number that the loss must exceed (easy: stay below)",
    )
    pool_batches: int | float = Field(
        0.1,
        gt=0,
        description="N_S: a whole number of batches, or a share (0 to 1.0) of an epoch's batches; "
        "a tenth keeps the extra steps, and with them the unfairness of extra steps, small",
    )
    retrain_every: int = Field(
        1, gt=0, description="epochs after which the pool is retrained and emptied"
    )
    train_replacing: bool = Field(
        True,
        description="a batch that replaces another in a full pool is trained on at once as well; "
        "false: it waits for the retraining (both readings fit Algorithm 2)",
    )
    equal_steps: bool = Field(False, description="retraining takes its steps from the same budget")

    @model_validator(mode="after")
    def _check_shares(self) -> SamplingConfig:
        if self.threshold_is == "quantile" and not 0 <= self.threshold <= 1:
            raise ValueError(
                f"threshold {self.threshold} is no quantile; or set threshold_is: loss"
            )
        if isinstance(self.pool_batches, float) and self.pool_batches > 1:
            raise ValueError(
                f"pool_batches {self.pool_batches} is no share; write whole batches as 12"
            )
        return self

    def pool_size(self, batches: int) -> int:
        """N_S in whole batches, at least 1, for an epoch of ``batches``."""
        if isinstance(self.pool_batches, int):
            return self.pool_batches
        return max(1, round(self.pool_batches * batches))


def planned_steps(config: SamplingConfig, batches: int, epochs: int) -> int:
    """Optimiser steps of a whole run: what a learning-rate schedule is drawn over.

    Exact for traditional training and for equal steps. Otherwise the most that can happen: fewer
    where a threshold keeps a pool from filling or ``train_replacing`` is off.

    Args:
        config: the strategy.
        batches: batches in an epoch.
        epochs: passes over the training images that traditional training makes.
    """
    if config.strategy == "traditional" or config.equal_steps:
        return batches * epochs
    retrained = min(config.pool_size(batches), batches * config.retrain_every)
    return batches * epochs + retrained * (epochs // config.retrain_every)


@dataclass(frozen=True)
class PooledBatch:
    """A batch in the pool.

    Attributes:
        indices: the images, as positions in the training set.
        loss: L_i (Eq. 10) when it entered.
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
        history: for each retraining, JSON-able: ``epoch``, ``threshold`` (L in that epoch, None: no
            threshold), ``retrained`` (batches given out; fewer than held where the steps ran out)
            and ``batches`` (the pool, each with ``indices``, ``loss``, ``epoch``, ``priority``).
    """

    def __init__(self, config: SamplingConfig, batches: int, epochs: int, seed: int) -> None:
        self.config, self.batches, self.epochs, self.seed = config, batches, epochs, seed
        self.planned_steps = planned_steps(config, batches, epochs)
        self.history: list[dict[str, Any]] = []
        self._epoch, self._steps = 0, 0
        self._threshold: float | None = None
        self._losses: list[float] | None = None  # of the running epoch; None between epochs
        self._last_losses: list[float] = []
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
        return self._losses is None and self._epoch >= self.epochs

    def begin_epoch(self, epoch: int) -> None:
        """Start an epoch (counted from 0, none left out) and fix its threshold L.

        Raises:
            RuntimeError: the previous epoch has not ended, or another epoch would be next.
        """
        if self._losses is not None:
            raise RuntimeError(f"epoch {self._epoch} has begun; call end_epoch() first")
        if epoch != self._epoch:
            raise RuntimeError(f"epoch {epoch} cannot begin; epoch {self._epoch} is next")
        self._losses = []
        self._threshold = self._threshold_of_epoch()

    def observe(self, indices: Sequence[int], loss: float) -> bool:
        """Tell the loss of the epoch's next batch; the pool may take the batch.

        Args:
            indices: the batch's images, as positions in the training set.
            loss: mean loss of the batch (Eq. 10).

        Returns:
            Whether to take an optimiser step on this batch.

        Raises:
            ValueError: the loss is not finite (nothing has been recorded), or there are no indices.
            RuntimeError: no epoch has begun, or it holds more batches than were announced.
        """
        losses = self._running()
        indices, loss = [int(index) for index in indices], float(loss)
        if not indices:
            raise ValueError("a batch without images has no loss")
        if not math.isfinite(loss):
            raise ValueError(f"loss {loss} of the batch with images {indices} cannot be ranked")
        if len(losses) == self.batches:
            raise RuntimeError(f"epoch {self._epoch} has over {self.batches} batches")
        if self.steps_left() == 0:
            return False
        losses.append(loss)
        train = self._take(indices, loss) or self.config.train_replacing
        self._steps += train
        return train

    def end_epoch(self) -> list[list[int]]:
        """End the epoch.

        Returns:
            The batches of the pool, which is empty afterwards, in order of arrival: each is to be
            trained on once now, and is counted as a step. None between two retrainings.

        Raises:
            RuntimeError: no epoch has begun.
        """
        self._last_losses = self._running() or self._last_losses
        self._losses = None
        self._epoch += 1
        if self._epoch % self.config.retrain_every:
            return []
        batches = [batch.indices for batch in self._pool[: self.steps_left()]]
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
            "losses": None if self._losses is None else list(self._losses),
            "last_losses": list(self._last_losses),
            "pool": [asdict(batch) for batch in self._pool],
            "history": list(self.history),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            ValueError: the state is that of another configuration, run length or seed.
        """
        if state["identity"] != self._identity():
            raise ValueError(f"checkpoint of {state['identity']}, but this is {self._identity()}")
        self._epoch, self._steps = state["epoch"], state["steps"]
        self._threshold = state["threshold"]
        self._losses = None if state["losses"] is None else list(state["losses"])
        self._last_losses = list(state["last_losses"])
        self._pool = [PooledBatch(**batch) for batch in state["pool"]]
        self.history = list(state["history"])

    def _identity(self) -> dict[str, Any]:
        run = {"batches": self.batches, "epochs": self.epochs, "seed": self.seed}
        return self.config.model_dump(mode="json") | run

    def _running(self) -> list[float]:
        if self._losses is None:
            raise RuntimeError("no epoch has begun; call begin_epoch() first")
        return self._losses

    def _threshold_of_epoch(self) -> float | None:
        return None

    def _take(self, indices: list[int], loss: float) -> bool:
        """Offer the batch to the pool; False if it replaced another one."""
        return True

    def _insert(self, batch: PooledBatch) -> bool:
        """Keep the N_S batches of largest priority; False if this one replaced another.

        Among equals the earlier stays: a batch enters a full pool only above the smallest priority
        (the strict sign of Eq. 12 and 18), and of several smallest the last that came leaves.
        """
        if len(self._pool) < self.config.pool_size(self.batches):
            self._pool.append(batch)
            return True
        last = min(range(len(self._pool)), key=lambda i: (self._pool[i].priority, -i))
        if batch.priority <= self._pool[last].priority:
            return True
        del self._pool[last]
        self._pool.append(batch)
        return False


class Hard(Strategy):
    """Keeps the N_S batches of largest loss among those with loss > L (Algorithm 2)."""

    _sign = 1.0

    def _threshold_of_epoch(self) -> float | None:
        if self.config.threshold_is == "loss":
            return self.config.threshold
        if not self._last_losses:
            return None
        ranked = self._sign * np.array(self._last_losses)
        return float(self._sign * np.quantile(ranked, self.config.threshold))

    def _take(self, indices: list[int], loss: float) -> bool:
        priority = self._sign * loss
        if self._threshold is not None and priority <= self._sign * self._threshold:
            return True
        return self._insert(PooledBatch(indices, loss, self._epoch, priority))


class Easy(Hard):
    """Keeps the N_S batches of smallest loss among those with loss < L (Eq. 17, 18)."""

    _sign = -1.0


class Random(Strategy):
    """Keeps N_S batches drawn evenly from those seen since the last retraining (Eq. 19).

    Each batch gets a random number, which only the seed and its place in the run decide, and the
    largest stay. Every batch is trained on, whatever ``train_replacing`` says: Eq. 19 has no
    replacement.
    """

    def _take(self, indices: list[int], loss: float) -> bool:
        place = (self.seed, self._epoch, len(self._running()))
        priority = float(np.random.default_rng(place).random())
        self._insert(PooledBatch(indices, loss, self._epoch, priority))
        return True


def make_strategy(config: SamplingConfig, batches: int, epochs: int, seed: int) -> Strategy:
    """The strategy that the configuration names.

    ``batches`` and ``epochs`` as for `planned_steps`; ``seed`` is not negative, and only
    ``"random"`` draws from it.
    """
    kinds = {"traditional": Strategy, "hard": Hard, "easy": Easy, "random": Random}
    return kinds[config.strategy](config, batches, epochs, seed)
