"""Dual-energy attenuation: grams per square centimetre to log-attenuations and Z-effective.

Every material is written as ``c1 * polyethylene + c2 * iron``, so a whole scene is two maps in
g/cm2 and drawing is adding. Two basis materials describe the attenuation of all others within a few
per mille, unless a K-edge lies in the beam's range, as for tin solder, neodymium magnets and lead:
a sum of two smooth curves cannot jump. ``tests/simulation/test_optics.py`` states how far off
these are. The polychromatic forward model (a tube spectrum seen by two detector layers, hence beam
hardening) is tabulated once over the two maps.
``scripts/make_physics_tables.py`` makes ``physics.npz``.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

TABLE_SIZE = 384
MAX_BASIS = (60.0, 40.0)
"""Largest tabulated polyethylene and iron load in g/cm2; more is clamped (it is black anyway)."""
MIN_POLYETHYLENE = -10.0
"""Smallest tabulated polyethylene load: metals heavier than iron have a negative share."""
Z_TABLE_SIZE = 256
MAX_HIGH = 6.0
"""Largest high-energy log-attenuation of the Z-effective table."""
RATIO_RANGE = (1.0, 5.0)
"""Range of ``low / high`` in the Z-effective table: polyethylene is 1.18, thin copper 4.0."""


@dataclass(frozen=True)
class Material:
    """A material in the two-basis description.

    Attributes:
        polyethylene: Mass share c1 of the polyethylene basis; negative for copper and heavier.
        iron: Mass share c2 of the iron basis.
        density: g/cm3.
    """

    polyethylene: float
    iron: float
    density: float


@dataclass(frozen=True)
class Physics:
    """The shipped table: spectra and attenuation at 145 photon energies.

    Attributes:
        energy: keV, float64 (145,).
        low: Share of the low-energy detector's signal by energy, sums to one.
        high: The same for the high-energy detector.
        mu: Mass attenuation in cm2/g by material name, each (145,).
        materials: Two-basis description by material name.
        z_curves: ``(Z, mu)`` of the pure materials between which Z-effective is interpolated.
    """

    energy: np.ndarray
    low: np.ndarray
    high: np.ndarray
    mu: dict[str, np.ndarray]
    materials: dict[str, Material]
    z_curves: tuple[tuple[float, np.ndarray], ...]

    def exact_log_attenuation(self, mu: np.ndarray, load: np.ndarray) -> tuple[np.ndarray, ...]:
        """Low and high log-attenuation of one material without the tables.

        Args:
            mu: Mass attenuation (145,) in cm2/g.
            load: Thickness times density in g/cm2, (N,).
        """
        transmission = np.exp(-np.outer(load, mu))
        return -np.log(transmission @ self.low), -np.log(transmission @ self.high)


@functools.cache
def physics() -> Physics:
    """Read the shipped table (once a process)."""
    with np.load(Path(__file__).with_name("physics.npz")) as table:
        names = [str(name) for name in table["names"]]
        return Physics(
            energy=table["energy_kev"],
            low=table["low"],
            high=table["high"],
            mu=dict(zip(names, table["mu"], strict=True)),
            materials={
                name: Material(*shares, density)
                for name, shares, density in zip(
                    names, table["basis"].tolist(), table["density"].tolist(), strict=True
                )
            },
            z_curves=tuple(zip(table["effective_z"].tolist(), table["mu_z"], strict=True)),
        )


_STEPS = tuple((TABLE_SIZE - 1) / limit**0.5 for limit in MAX_BASIS)
"""Table columns (polyethylene) and rows (iron) by the square root of a load."""
_NO_POLYETHYLENE = math.ceil(math.sqrt(-MIN_POLYETHYLENE) * _STEPS[0])
"""The column without polyethylene; those before it hold negative loads."""


@functools.cache
def _forward_tables() -> tuple[np.ndarray, np.ndarray]:
    """Low and high log-attenuation over (iron, polyethylene), both axes spaced by square root."""
    data = physics()
    root = np.arange(-_NO_POLYETHYLENE, TABLE_SIZE) / _STEPS[0]
    pe = np.exp(-np.outer(root * abs(root), data.mu["pe"]))
    fe = np.exp(-np.outer((np.arange(TABLE_SIZE) / _STEPS[1]) ** 2, data.mu["steel"]))
    # einsum, not BLAS: the same bits whatever the number of threads.
    tables = [np.einsum("ie,je->ij", fe * weights, pe) for weights in (data.low, data.high)]
    return tuple(np.maximum(-np.log(table + 1e-30), 0).astype(np.float32) for table in tables)


@functools.cache
def _z_table() -> np.ndarray:
    """Z-effective over (ratio, square root of high): inverts the pure materials' curves."""
    data = physics()
    high = np.linspace(0, 1, Z_TABLE_SIZE) ** 2 * MAX_HIGH
    curves = []
    for _, mu in data.z_curves:
        load = np.geomspace(1e-4, 200 / (data.high @ mu), 600)
        low_of, high_of = data.exact_log_attenuation(mu, load)
        curves.append(np.interp(np.maximum(high, 1e-3), high_of, low_of / high_of))
    ratios = np.maximum.accumulate(curves, axis=0) + 1e-6 * np.arange(len(curves))[:, None]
    numbers = [z for z, _ in data.z_curves]
    wanted = np.linspace(*RATIO_RANGE, Z_TABLE_SIZE)
    columns = [np.interp(wanted, ratios[:, j], numbers) for j in range(Z_TABLE_SIZE)]
    return np.stack(columns, axis=1).astype(np.float32)


def log_attenuation(basis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log-attenuation ``-ln(I / I0)`` at the two energies.

    Args:
        basis: Polyethylene and iron load in g/cm2, float32 (2, H, W). Metals heavier than iron
            make the first negative; sums that no matter can have (less than air) count as air.

    Returns:
        ``low`` and ``high``, float32 (H, W), zero in air.
    """
    last = np.float32(TABLE_SIZE - 1.001)
    plastic = np.copysign(cv2.sqrt(np.abs(basis[0])), basis[0])
    plastic *= np.float32(_STEPS[0])
    column = np.clip(plastic, -_NO_POLYETHYLENE, last, out=plastic)
    column += np.float32(_NO_POLYETHYLENE)
    row = np.minimum(cv2.sqrt(np.maximum(basis[1], 0)) * np.float32(_STEPS[1]), last)
    return tuple(cv2.remap(table, column, row, cv2.INTER_LINEAR) for table in _forward_tables())


def effective_z(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Z-effective from the two log-attenuations, beam hardening included.

    Args:
        low: Low-energy log-attenuation, float32 (H, W).
        high: High-energy log-attenuation, float32 (H, W).

    Returns:
        Effective atomic number, float32 (H, W), 5.4 (polyethylene) to 47 (silver); where almost
        nothing attenuates it tends to that of light plastics.
    """
    ratio = (low + np.float32(0.024)) / (np.maximum(high, 0) + np.float32(0.020))
    step = np.float32((Z_TABLE_SIZE - 1) / (RATIO_RANGE[1] - RATIO_RANGE[0]))
    last = np.float32(Z_TABLE_SIZE - 1.001)
    across = cv2.sqrt(np.maximum(high, 0)) * np.float32((Z_TABLE_SIZE - 1) / MAX_HIGH**0.5)
    down = np.clip((ratio - np.float32(RATIO_RANGE[0])) * step, 0, last)
    return cv2.remap(_z_table(), np.minimum(across, last), down, cv2.INTER_LINEAR)
