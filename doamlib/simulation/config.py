"""What a generated dataset is: its configuration and identity."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from doamlib.core.config import Config, digest_of

GENERATOR_VERSION = 5
"""Raised whenever the same configuration would give other images; part of every fingerprint."""

MIN_FIELD_OF_VIEW = 0.2
"""In smaller windows the longest cutters have no place."""


class SimulationConfig(Config):
    """A dataset of generated X-ray images.

    With cutters, class proportions follow Table II and the test split's occlusion levels Table III
    of the paper, scaled to the numbers asked for.
    """

    train_images: int = Field(ge=0, le=1_000_000, description="Images in the training split.")
    test_images: int = Field(ge=0, le=1_000_000, description="Images in the test split.")
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of the whole dataset.")
    field_of_view: float = Field(
        1.0,
        ge=MIN_FIELD_OF_VIEW,
        le=1.0,
        description="Share of the 1225 x 954 frame's width and height that an image shows.",
    )
    cutters: bool = Field(
        True, description="False: no cutter, one extra distractor an image instead."
    )

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.train_images + self.test_images == 0:
            raise ValueError("train_images + test_images is 0: ask for at least one image")
        return self

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits from the configuration and GENERATOR_VERSION, never from pixels."""
        return digest_of({"config": self.digest(), "generator": GENERATOR_VERSION})

    @classmethod
    def tiny(cls) -> SimulationConfig:
        """For tests: seconds."""
        return cls(train_images=12, test_images=8, field_of_view=0.25)

    @classmethod
    def quick(cls) -> SimulationConfig:
        """For a reader without a GPU: small windows for small networks."""
        return cls(train_images=1600, test_images=300, field_of_view=0.3)

    @classmethod
    def paper(cls) -> SimulationConfig:
        """OPIXray's own counts and frames: reproduces Tables II and III exactly."""
        return cls(train_images=7109, test_images=1776)

    @classmethod
    def backgrounds(cls) -> SimulationConfig:
        """Frames without any cutter, as in OPIXray's second version, with a distractor each."""
        return cls(train_images=1000, test_images=0, cutters=False)
