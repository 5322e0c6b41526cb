"""Random draws for the generator: one seed, one stream, cheap scalars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class Dice:
    """A seeded stream of scalar draws, taken from NumPy in batches (a scalar call costs 2 us).

    Args:
        seed: Anything ``numpy.random.SeedSequence`` takes: an integer or a list of integers.
    """

    def __init__(self, seed: int | Sequence[int]) -> None:
        self.generator = np.random.Generator(np.random.SFC64(seed))
        self._pool: list[float] = []

    def unit(self) -> float:
        """Uniform in [0, 1)."""
        if not self._pool:
            self._pool = self.generator.random(64).tolist()
        return self._pool.pop()

    def between(self, low: float, high: float) -> float:
        """Uniform in [low, high)."""
        return low + (high - low) * self.unit()

    def count(self, low: int, high: int) -> int:
        """Uniform integer from low to high, both included."""
        return low + int(self.unit() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.unit() < probability

    def sign(self) -> int:
        """-1 or +1."""
        return 1 if self.unit() < 0.5 else -1

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, all equally likely (repeat one to weigh it)."""
        return options[int(self.unit() * len(options))]

    def normal(self, spread: float) -> float:
        """Normal with mean 0 and this standard deviation."""
        return spread * float(self.generator.standard_normal())

    def poisson(self, mean: float) -> int:
        """Poisson-distributed count."""
        return int(self.generator.poisson(mean))

    def pair(self, half_width: float, half_height: float) -> tuple[float, float]:
        """Uniform point in a centred rectangle."""
        return self.between(-half_width, half_width), self.between(-half_height, half_height)

    def point(self, half_width: float, half_height: float) -> np.ndarray:
        """The same as float64 (2,)."""
        return np.array(self.pair(half_width, half_height))

    def seed(self) -> int:
        """A seed for a child stream."""
        return int(self.unit() * 2**52)
