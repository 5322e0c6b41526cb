"""The generator's physics against analytic cases and stated values."""

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose

from doamlib.simulation.optics.display import (
    DisplayChain,
    clean_colour,
    colour_table,
    colourise,
    expose,
)
from doamlib.simulation.optics.physics import effective_z, log_attenuation, physics

DATA = physics()


def basis_of(name: str, load: float, size: int = 8) -> np.ndarray:
    material = DATA.materials[name]
    shares = np.array([material.polyethylene, material.iron], np.float32)
    return np.broadcast_to(shares[:, None, None] * np.float32(load), (2, size, size)).copy()


def test_spectra_are_normalised_with_the_stated_mean_energies():
    assert_allclose([DATA.low.sum(), DATA.high.sum()], 1.0, rtol=1e-12)
    means = [(DATA.low * DATA.energy).sum(), (DATA.high * DATA.energy).sum()]
    assert_allclose(means, [60.2, 97.3], atol=0.1)


def test_monochromatic_slab_follows_beer_lambert():
    line = np.zeros_like(DATA.energy)
    line[44] = 1.0
    one_energy = dataclasses.replace(DATA, low=line, high=line)
    load = np.array([0.1, 1.0, 5.0])
    low, high = one_energy.exact_log_attenuation(DATA.mu["al"], load)
    assert_allclose(low, DATA.mu["al"][44] * load, rtol=1e-9)
    assert_allclose(high, low, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("pe", 0.207, 0.175),
        ("water", 0.231, 0.176),
        ("al", 0.414, 0.190),
        ("steel", 2.33, 0.534),
        ("cu", 3.09, 0.680),
    ],
)
def test_thin_layers_have_the_stated_attenuation(name, low, high):
    ours = [line[0] / 1e-4 for line in DATA.exact_log_attenuation(DATA.mu[name], np.array([1e-4]))]
    assert_allclose(ours, [low, high], rtol=0.01)


@pytest.mark.parametrize("name", ["pe", "steel"])
@pytest.mark.parametrize("load", [0.05, 0.7, 3.0, 9.0])
def test_forward_tables_agree_with_the_spectrum_for_the_basis_materials(name, load):
    exact = np.ravel(DATA.exact_log_attenuation(DATA.mu[name], np.array([load])))
    table = [plane[0, 0] for plane in log_attenuation(basis_of(name, load))]
    assert_allclose(table, exact, rtol=2e-3)


BEYOND_TWO_BASES = {"solder": (0.060, 0.035), "magnet": (0.115, 0.100), "lead": (0.145, 0.085)}
"""Largest relative error (low, high) of the materials with a K-edge in the beam's range: tin 29,
neodymium 44, lead 88 keV. No two smooth curves add up to a jump."""


def two_basis_errors(name: str, shares: tuple[float, float] | None = None) -> np.ndarray:
    """Relative error (2, N) of low and high log-attenuation, from hardly visible to black.

    With shares by the spectrum, else by the shipped table.
    """
    mu, wanted = DATA.mu[name], np.array([0.1, 0.3, 1.0, 3.0])
    grid = np.geomspace(1e-3, 30, 3000) / (DATA.high @ mu)
    loads = np.interp(wanted, DATA.exact_log_attenuation(mu, grid)[1], grid)
    exact = np.array(DATA.exact_log_attenuation(mu, loads))
    if shares is None:
        planes = [log_attenuation(basis_of(name, load)) for load in loads]
        return np.array(planes)[..., 0, 0].T / exact - 1
    mixture = shares[0] * DATA.mu["pe"] + shares[1] * DATA.mu["steel"]
    return np.array(DATA.exact_log_attenuation(mixture, loads)) / exact - 1


@pytest.mark.parametrize("name", DATA.materials)
def test_two_basis_materials_describe_the_others(name):
    worst = np.abs(two_basis_errors(name)).max(axis=1)
    assert (worst < BEYOND_TWO_BASES.get(name, 0.005)).all()


@pytest.mark.parametrize("name", BEYOND_TWO_BASES)
def test_k_edges_are_as_far_off_as_stated(name):
    worst = np.abs(two_basis_errors(name)).max(axis=1)
    assert_allclose(worst, BEYOND_TWO_BASES[name], atol=0.005)


@pytest.mark.parametrize("name", ["cu", "brass", "zamak"])
def test_metals_with_a_negative_share_are_right_behind_plastic(name):
    plastic, metal = 2.0, 0.8
    mixture = (DATA.mu["pe"] * plastic + DATA.mu[name] * metal) / (plastic + metal)
    load = np.array([plastic + metal])
    exact = np.ravel(DATA.exact_log_attenuation(mixture, load))
    summed = basis_of("pe", plastic) + basis_of(name, metal)
    assert_allclose([plane[0, 0] for plane in log_attenuation(summed)], exact, rtol=0.02)


@pytest.mark.parametrize("name", DATA.materials)
def test_no_other_shares_describe_a_material_better(name):
    material = DATA.materials[name]
    shares = np.array([material.polyethylene, material.iron])
    ours = np.square(two_basis_errors(name, shares)).sum()
    for step in ((0.003, 0.0), (-0.003, 0.0), (0.0, 0.003), (0.0, -0.003)):
        assert np.square(two_basis_errors(name, shares + step)).sum() > ours


def test_negative_sums_count_as_air():
    low, high = log_attenuation(np.full((2, 8, 8), -1.0, np.float32))
    assert_allclose([low, high], 0.0, atol=1e-6)


@pytest.mark.parametrize(("name", "z"), [("water", 7.5), ("al", 13.0), ("steel", 26.0)])
@pytest.mark.parametrize("high_wanted", [0.6, 1.0, 2.5])
def test_effective_z_is_that_of_pure_materials_whatever_their_thickness(name, z, high_wanted):
    load = high_wanted / (DATA.high @ DATA.mu[name])
    low, high = log_attenuation(basis_of(name, load))
    assert effective_z(low, high)[0, 0] == pytest.approx(z, rel=0.06)


def test_more_steel_is_darker_and_bluer():
    colours = [
        clean_colour(*log_attenuation(basis_of("steel", mm / 10 * 7.85)))[0, 0]
        for mm in (0.3, 0.8, 1.5, 3.0, 6.0)
    ]
    luma = [float(c @ [0.299, 0.587, 0.114]) for c in colours]
    blue_share = [float(c[2] / c.sum()) for c in colours]
    assert luma == sorted(luma, reverse=True)
    assert blue_share == sorted(blue_share)


@pytest.mark.parametrize(
    ("name", "mm", "rgb"),
    [
        ("pp", 5, (240, 229, 210)),
        ("cotton", 100, (212, 125, 45)),
        ("water", 60, (150, 84, 23)),
        ("steel", 3, (39, 78, 172)),
        ("al", 5, (145, 205, 160)),
        ("liion", 4, (128, 169, 224)),
    ],
)
def test_materials_have_the_stated_colours(name, mm, rgb):
    """At the tone the colours were stated for (k = 0.86)."""
    low, high = log_attenuation(basis_of(name, mm / 10 * DATA.materials[name].density))
    flat = DisplayChain().model_copy(update={"tone": 0.86, "row_gain": 0.0, "column_gain": 0.0})
    assert_allclose(colourise(low, high, flat)[4, 4], rgb, atol=3)


def test_colour_table_keeps_luma_where_no_channel_saturates():
    table = colour_table().astype(float)
    luma = table @ [0.299, 0.587, 0.114]
    open_ = table.max(2) < 254
    assert np.abs(luma - np.arange(256))[open_].max() < 1.5
    assert open_[:, :160].mean() > 0.6
    assert (table[:, 255] == 255).all()


def test_air_is_white_and_flat_regions_are_not_sharpened():
    low, high = log_attenuation(np.zeros((2, 40, 40), np.float32))
    chain = DisplayChain()
    noisy = expose(low, high, chain, np.random.default_rng(0))
    assert (colourise(*noisy, chain) == 255).all()
    flat = log_attenuation(basis_of("water", 3.0, 40))
    assert len(np.unique(colourise(*flat, chain).reshape(-1, 3), axis=0)) == 1


def test_noise_has_the_stated_variance():
    chain = DisplayChain().model_copy(update={"row_gain": 0.0, "column_gain": 0.0})
    low, high = log_attenuation(basis_of("water", 3.0, 300))
    measured = expose(low, high, chain, np.random.default_rng(1))[1]
    beam = np.exp(-high[0, 0])
    variance = (
        beam / chain.photons_high
        + chain.electronic_high**2
        + (chain.structure * high[0, 0] * beam) ** 2
    )
    assert np.exp(-measured).std() == pytest.approx(np.sqrt(variance), rel=0.05)


def test_a_noisier_chain_is_noisier():
    low, high = log_attenuation(basis_of("water", 3.0, 100))
    spread = [
        expose(low, high, DisplayChain().with_noise(f), np.random.default_rng(2))[0].std()
        for f in (0.5, 1.0, 2.0)
    ]
    assert_allclose(spread / spread[1], [0.5, 1.0, 2.0], rtol=0.25)
