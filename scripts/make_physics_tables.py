"""Make doamlib/simulation/optics/physics.npz: attenuation and spectra for the X-ray generator.

Run once, in an environment with spekpy and xraydb (``pip install -e .[physics]``); the generator
itself only reads the table. Everything is tabulated at 145 photon energies, 15.5 to 159.5 keV:

* ``mu``: mass attenuation coefficient in cm2/g of every material (total, coherent included),
  from the elements' tables by mass fraction;
* ``low``, ``high``: share of the detected signal by energy, for the two layers of a sandwich
  detector behind a tungsten tube (each sums to one);
* ``basis``: each material as c1 * polyethylene + c2 * iron, from the smallest relative errors of
  both log-attenuations, thin to nearly black;
* ``effective_z``, ``mu_z``: the pure materials between which Z-effective is interpolated.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import spekpy
import xraydb
from scipy.optimize import least_squares

from doamlib.core.files import npz_bytes, write_bytes

TARGET = Path(__file__).resolve().parents[1] / "doamlib" / "simulation" / "optics" / "physics.npz"
ENERGY_KEV = np.arange(15.5, 160.0, 1.0)
FITTED_AT = (0.1, 0.3, 1.0, 3.0)
"""High-energy log-attenuations at which materials are fitted: from hardly visible to black."""
CELLULOSE, EPOXY, CAESIUM_IODIDE = "C6H10O5", "C11H12O3", "CsI"

# Name: (composition, density in g/cm3). A composition is a formula or (mass share, part) pairs.
MATERIALS: dict[str, tuple[str | list, float]] = {
    "pe": ("C2H4", 0.94),
    "pp": ("C3H6", 0.90),
    "abs": ("C15H17N", 1.05),
    "nylon": ("C6H11NO", 1.14),
    "pet": ("C10H8O4", 1.38),
    "pvc": ([(0.60, "C2H3Cl"), (0.25, "C24H38O4"), (0.15, "CaCO3")], 1.40),
    "cotton": (CELLULOSE, 0.35),
    "paper": ([(0.93, CELLULOSE), (0.07, "CaCO3")], 0.85),
    "wood": (CELLULOSE, 0.65),
    "leather": (
        [(0.52, "C"), (0.07, "H"), (0.18, "N"), (0.21, "O"), (0.01, "S"), (0.01, "Cr")],
        0.90,
    ),
    "rubber": ([(0.82, "C5H8"), (0.14, "CaCO3"), (0.02, "ZnO"), (0.02, "S")], 1.20),
    "water": ("H2O", 1.0),
    "food": ([(0.7, "H2O"), (0.3, CELLULOSE)], 0.9),
    "glass": ([(0.72, "SiO2"), (0.14, "Na2O"), (0.11, "CaO"), (0.03, "MgO")], 2.5),
    "ceramic": ("Al2O3", 3.7),
    "fr4": ([(0.6, "SiO2"), (0.34, EPOXY), (0.06, "Br")], 1.85),
    "pcb": ([(0.48, "SiO2"), (0.288, EPOXY), (0.032, "Br"), (0.20, "Cu")], 2.20),
    "chip": ([(0.55, "SiO2"), (0.25, EPOXY), (0.20, "Cu")], 2.4),
    "liion": (
        [(0.40, "LiCoO2"), (0.22, "C"), (0.12, "Cu"), (0.10, "Al"), (0.16, "C3H4O3")],
        2.4,
    ),
    "al": ("Al", 2.70),
    "ti": ("Ti", 4.5),
    "steel": ("Fe", 7.85),
    "stainless": ([(0.72, "Fe"), (0.18, "Cr"), (0.10, "Ni")], 7.9),
    "cu": ("Cu", 8.96),
    "brass": ([(0.65, "Cu"), (0.35, "Zn")], 8.5),
    "zamak": ([(0.96, "Zn"), (0.04, "Al")], 6.6),
    "ferrite": ("Fe3O4", 4.8),
    "solder": ([(0.965, "Sn"), (0.03, "Ag"), (0.005, "Cu")], 7.4),
    "magnet": ([(0.27, "Nd"), (0.72, "Fe"), (0.01, "B")], 7.5),
    "lead": ("Pb", 11.34),
    "alkaline": (
        [(0.35, "MnO2"), (0.2, "Zn"), (0.2, "Fe"), (0.15, "H2O"), (0.1, "KOH")],
        2.9,
    ),
}
EFFECTIVE_Z = {"C2H4": 5.4, "H2O": 7.5, "Al": 13.0, "Ti": 22.0, "Fe": 26.0, "Cu": 29.0, "Ag": 47.0}


def mass_attenuation(composition: str | list) -> np.ndarray:
    """Mass attenuation coefficient (cm2/g) of a formula or a mixture at ENERGY_KEV."""
    if isinstance(composition, str):
        masses = {
            element: count * xraydb.atomic_mass(element)
            for element, count in xraydb.chemparse(composition).items()
        }
        parts = [(m, xraydb.mu_elam(element, ENERGY_KEV * 1e3)) for element, m in masses.items()]
    else:
        parts = [(share, mass_attenuation(part)) for share, part in composition]
    return sum(w * mu for w, mu in parts) / sum(w for w, _ in parts)


def detector_weights() -> tuple[np.ndarray, np.ndarray]:
    """Shares of the signal by energy: CsI 0.30 mm, 0.60 mm copper, CsI 4.0 mm; 160 kVp tungsten."""
    tube = spekpy.Spek(kvp=160, th=20, dk=1.0, targ="W")
    tube.filter("Al", 3.0)
    tube.filter("Air", 1000)
    energy, fluence = tube.get_spectrum(edges=False)
    photons = np.interp(ENERGY_KEV, energy, fluence, left=0, right=0)
    crystal, copper = mass_attenuation(CAESIUM_IODIDE), mass_attenuation("Cu")
    front, filter_, back = 0.030 * 4.51, 0.06 * 8.96, 0.40 * 4.51
    low = photons * ENERGY_KEV * (1 - np.exp(-crystal * front))
    passed = photons * ENERGY_KEV * np.exp(-crystal * front - copper * filter_)
    high = passed * (1 - np.exp(-crystal * back))
    return low / low.sum(), high / high.sum()


def _signals(mu: np.ndarray, load: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Log-attenuations (2, N) of loads (N,) in g/cm2 at the two detector layers."""
    return -np.log(np.exp(-np.outer(load, mu)) @ weights.T + 1e-30).T


def basis_coefficients(mu: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Each material as c1 * polyethylene + c2 * iron, by what the detector sees of it.

    Least squares of the relative errors of both log-attenuations at the loads whose high one is
    FITTED_AT. (A fit of the curves mu(E) themselves spends its effort on energies that a thick
    material lets no photon through, and fails at K-edges.) Rounded to six decimals.
    """
    names, weights = list(MATERIALS), np.stack([low, high])
    pair = mu[[names.index("pe"), names.index("steel")]]
    rows = []
    for row in mu:
        grid = np.geomspace(1e-3, 30, 4000) / (high @ row)
        load = np.interp(FITTED_AT, _signals(row, grid, weights)[1], grid)
        wanted = _signals(row, load, weights)

        def errors(shares: np.ndarray, load=load, wanted=wanted) -> np.ndarray:
            return (_signals(shares @ pair, load, weights) / wanted - 1).ravel()

        start = np.linalg.lstsq(pair.T, row, rcond=None)[0]
        fitted = least_squares(errors, start, xtol=1e-14, ftol=1e-14, gtol=1e-14)
        rows.append(fitted.x.round(6) + 0.0)
    return np.array(rows)


def main() -> None:
    low, high = detector_weights()
    mu = np.array([mass_attenuation(composition) for composition, _ in MATERIALS.values()])
    tables = npz_bytes(
        energy_kev=ENERGY_KEV,
        low=low,
        high=high,
        names=np.array(list(MATERIALS)),
        density=np.array([density for _, density in MATERIALS.values()]),
        mu=mu,
        basis=basis_coefficients(mu, low, high),
        effective_z=np.array(list(EFFECTIVE_Z.values())),
        mu_z=np.array([mass_attenuation(formula) for formula in EFFECTIVE_Z]),
    )
    write_bytes(TARGET, tables)
    print(f"{TARGET}: {TARGET.stat().st_size} bytes, {len(MATERIALS)} materials")


if __name__ == "__main__":
    main()
