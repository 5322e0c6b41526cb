"""How a detector is trained and which batches are repeated: every choice, as data.

:mod:`doamlib.training` and :mod:`doamlib.sampling` act on them. What the paper prints is a default,
what it leaves open is a field.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from doamlib.core.config import Config
from doamlib.core.precision import Precision

# Every knob of the recipe, declared once: type, range and meaning. Two classes give it a default:
# TrainingConfig the paper's, Parameters that of params/quick.yaml.

Optimizer = Annotated[Literal["sgd", "adamw"], Field(description="sgd is the paper's")]
Epochs = Annotated[int, Field(gt=0, description="passes over the training images")]
BatchSize = Annotated[int, Field(gt=0, description="images a step (paper: 24)")]
LearningRate = Annotated[
    float, Field(gt=0, description="peak of the schedule (paper: 1.0e-4, constant)")
]
Momentum = Annotated[
    float, Field(ge=0, lt=1, description="SGD's, or AdamW's first beta (paper: 0.9)")
]
WeightDecay = Annotated[float, Field(ge=0, description="of the optimizer (paper: 5.0e-4)")]
WarmupSteps = Annotated[
    int, Field(ge=0, description="steps over which the learning rate rises from 0")
]
Schedule = Annotated[
    Literal["constant", "cosine", "step"],
    Field(
        description="of the learning rate; cosine: falls to 0; step: a tenth in the last two fifths"
    ),
]
ClipNorm = Annotated[float, Field(ge=0, description="largest gradient norm; 0: no limit")]
HorizontalFlip = Annotated[bool, Field(description="mirror half of the training images")]
AverageLast = Annotated[
    float,
    Field(ge=0, lt=1, description="share of the last steps whose weights are averaged; 0: none"),
]
ForwardPrecision = Annotated[
    Precision,
    Field(description="of the forward pass; auto: bfloat16 where the hardware has it"),
]


class TrainingConfig(Config):
    """How a detector is trained. Defaults are the paper's (Section V); the rest it leaves open.

    ``average_last`` counts planned steps: a pool that does not fill leaves a run short of its plan,
    and the share smaller.
    """

    optimizer: Optimizer = "sgd"
    epochs: Epochs = 60
    batch_size: BatchSize = 24
    learning_rate: LearningRate = 1.0e-4
    momentum: Momentum = 0.9
    weight_decay: WeightDecay = 5.0e-4
    warmup_steps: WarmupSteps = 0
    schedule: Schedule = "constant"
    clip_norm: ClipNorm = 0.0
    horizontal_flip: HorizontalFlip = False
    average_last: AverageLast = 0.0
    precision: ForwardPrecision = "float32"

    def rate_at(self, step: int, planned_steps: int) -> float:
        """Learning rate of step ``step`` (from 0) of the ``planned_steps`` that it falls over."""
        warm = min(1.0, (step + 1) / (self.warmup_steps + 1))
        if self.schedule == "constant":
            return self.learning_rate * warm
        progress = min(1.0, step / max(1, planned_steps))
        if self.schedule == "step":
            return self.learning_rate * warm * (0.1 if progress >= 0.6 else 1.0)
        return self.learning_rate * warm * 0.5 * (1.0 + math.cos(math.pi * progress))


class SamplingConfig(Config, use_attribute_docstrings=True):
    """A strategy and the choices that the paper does not print.

    Two ways to spend steps. With ``equal_steps=False``, as in the paper, a strategy with a pool
    trains for as many epochs as the others and its retrained batches come on top. With
    ``equal_steps=True`` it gets exactly the optimiser steps of traditional training: retrained
    batches count, and the run ends, if need be in the middle of an epoch, when they are spent.
    """

    strategy: Literal["traditional", "hard", "easy", "random"] = "traditional"
    """hard: DOAM-O; easy, random: DOAM-E, DOAM-R of Table VII"""
    threshold: float = 0.5
    """the standard loss threshold L; a share, because no loss fits every detector and epoch, and
    one half, so that hard means harder than usual"""
    threshold_is: Literal["quantile", "loss"] = "quantile"
    """quantile: of what the last epoch's worth of batches scored (easy: from above); loss: a number
    that the loss must exceed (easy: stay below)"""
    priority_is: Literal["excess", "loss"] = "excess"
    """what the pool compares. loss: as printed; losses fall, so it keeps whatever came first;
    excess: the loss above the trend of the losses before it, in standard deviations"""
    pool_of: Literal["batches", "images"] = "batches"
    """images: the same number of images, each chosen by its own loss and retrained in new batches,
    because a batch's mean hides its images"""
    pool_batches: int | float = Field(0.1, gt=0)
    """N_S: a whole number of batches, or a share (0 to 1.0) of an epoch's batches; a tenth keeps
    the extra steps, and with them the unfairness of extra steps, small"""
    retrain_every: int = Field(1, gt=0)
    """epochs after which the pool is retrained and emptied"""
    train_replacing: bool = True
    """a batch that replaces another in a full pool is trained on at once as well; false: it waits
    for the retraining, and is left out if another replaces it before (both readings fit
    Algorithm 2)"""
    equal_steps: bool = False
    """retraining takes its steps from the same budget"""

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
        if self.pool_of == "images" and not self.train_replacing:
            raise ValueError("train_replacing: false needs whole batches; leave pool_of: batches")
        return self

    def pool_size(self, batches: int) -> int:
        """N_S in whole batches, at least 1, for an epoch of ``batches``."""
        if isinstance(self.pool_batches, int):
            return self.pool_batches
        return max(1, round(self.pool_batches * batches))


def planned_steps(config: SamplingConfig, batches: int, epochs: int) -> int:
    """Optimiser steps of a whole run.

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
