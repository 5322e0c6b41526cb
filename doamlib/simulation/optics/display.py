"""The scanner's display chain: noise, sharpening, material colour, tone.

Order: blur of the detector, noise, logarithm, Z-effective from smoothed channels (colour bleeds,
luminance stays crisp), sharpening in the log domain, air gate, tone curve, colour table. The
constants are pixels and levels at the real scale (1 px/mm, 1225 x 954 frame); they were fitted
to the pictures that the DOAM papers print (see ``scripts/simulation_fit_display.py``).
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

import cv2
import numpy as np
from pydantic import Field

from doamlib.core.config import Config
from doamlib.simulation.dice import Dice
from doamlib.simulation.optics.physics import effective_z

HUE_STEPS = 64
LOW_SHARE = 0.35
"""Share of the low-energy channel in the displayed luminance."""


class DisplayChain(Config):
    """Parameters of one image's display chain; the defaults are the fitted scanner."""

    psf_px: float = Field(0.25, gt=0, description="Detector blur, standard deviation in pixels.")
    photons_low: float = Field(1.19e4, gt=0, description="Photons a pixel in open beam, low.")
    photons_high: float = Field(1.78e4, gt=0, description="Photons a pixel in open beam, high.")
    electronic_low: float = Field(3.0e-3, ge=0, description="Electronic noise, share of open beam.")
    electronic_high: float = Field(
        2.5e-3, ge=0, description="Electronic noise, share of open beam."
    )
    structure: float = Field(0.058, ge=0, description="Noise proportional to L times I.")
    grain_px: float = Field(0.75, gt=0, description="Correlation of the noise, pixels.")
    row_gain: float = Field(0.0026, ge=0, description="Spread of the rows' gain.")
    column_gain: float = Field(0.002, ge=0, description="Spread of the columns' gain.")
    floor: float = Field(5.2, gt=0, description="Largest log-attenuation that is measured.")
    z_blur_px: float = Field(2.0, gt=0, description="Smoothing before Z-effective, pixels.")
    sharpen_fine: float = Field(0.85, ge=0, description="Unsharp amount, narrow kernel.")
    sharpen_fine_px: float = Field(0.68, gt=0, description="Narrow kernel, pixels.")
    sharpen_wide: float = Field(1.7, ge=0, description="Unsharp amount, wide kernel.")
    sharpen_wide_px: float = Field(2.8, gt=0, description="Wide kernel, pixels.")
    halo: float = Field(0.28, ge=0, le=1, description="Largest brightening, share of L.")
    air_from: float = Field(0.010, ge=0, description="Smoothed L below which air is pure white.")
    air_to: float = Field(0.028, gt=0, description="Smoothed L above which nothing is gated.")
    tone: float = Field(0.89, gt=0, description="k in Y = 255 exp(-k L^p).")
    tone_power: float = Field(0.86, gt=0, description="p in Y = 255 exp(-k L^p).")
    hue_shift: float = Field(1.0, gt=0, description="Factor on Z-effective before colour.")
    jpeg_quality: int = Field(90, ge=1, le=100, description="Quality of the stored JPEG.")

    @classmethod
    def varied(cls, dice: Dice) -> DisplayChain:
        """One image's chain: tone +-7%, hue +-3%, noise x 0.8-1.25, sharpening x 0.8-1.2."""
        scanner = cls()
        noise, sharpening = dice.between(0.8, 1.25), dice.between(0.8, 1.2)
        return scanner.with_noise(noise).model_copy(
            update={
                "tone": scanner.tone * dice.between(0.93, 1.07),
                "hue_shift": dice.between(0.97, 1.03),
                "sharpen_fine": scanner.sharpen_fine * sharpening,
                "sharpen_wide": scanner.sharpen_wide * sharpening,
                "jpeg_quality": dice.count(85, 95),
            }
        )

    def with_noise(self, factor: float) -> DisplayChain:
        """The same chain with every noise amplitude multiplied by a factor above zero."""
        return self.model_copy(
            update={
                "photons_low": self.photons_low / factor**2,
                "photons_high": self.photons_high / factor**2,
                "electronic_low": self.electronic_low * factor,
                "electronic_high": self.electronic_high * factor,
                "structure": self.structure * factor,
            }
        )


@functools.cache
def colour_columns() -> dict:
    """Hue and saturation by luma of six columns, each at a Z-effective; linear in between.

    Medians over the published pictures; see ``colours.json``.
    """
    return json.loads(Path(__file__).with_name("colours.json").read_text())


@functools.cache
def colour_table() -> np.ndarray:
    """Colour by hue index and luma, uint8 (64, 256, 3) RGB; every entry has its column's luma."""
    points, columns = colour_columns()["luma"], colour_columns()["columns"]
    luma = np.arange(256)
    weights = np.array([0.299, 0.587, 0.114])
    colours = []
    for column in columns:
        hue = np.interp(luma, points, column["hue_degrees"])
        saturation = np.interp(luma, points, column["saturation_percent"]) / 100
        hsv = np.stack([hue, saturation, np.ones(256)], 1)[None].astype(np.float32)
        rgb = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0]
        colours.append(np.clip(rgb * (luma / (rgb @ weights))[:, None], 0, 255))
    at = np.linspace(0, len(columns) - 1, HUE_STEPS)
    left = np.minimum(at.astype(int), len(columns) - 2)
    share = (at - left)[:, None, None]
    colours = np.array(colours)
    return np.round(colours[left] * (1 - share) + colours[left + 1] * share).astype(np.uint8)


@functools.cache
def _hue_by_z() -> np.ndarray:
    """Hue index at every twentieth of Z-effective from 0 to 50."""
    columns = [column["effective_z"] for column in colour_columns()["columns"]]
    rows = np.linspace(0, HUE_STEPS - 1, len(columns))
    return np.interp(np.linspace(0, 50, 1001), columns, rows).astype(np.float32)


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), sigma)


def expose(
    low: np.ndarray, high: np.ndarray, chain: DisplayChain, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """What the two detectors measure: blur, quantum, electronic and gain noise.

    Args:
        low: Noise-free low-energy log-attenuation, float32 (H, W).
        high: The same at high energy.
        chain: Parameters.
        generator: Source of the noise.

    Returns:
        Measured log-attenuations, float32 (H, W), at most ``chain.floor``.
    """
    height, width = low.shape
    gain = 1 + chain.row_gain * generator.standard_normal((height, 1), dtype=np.float32)
    gain = gain * (1 + chain.column_gain * generator.standard_normal((1, width), dtype=np.float32))
    measured = []
    for log, photons, electronic in (
        (low, chain.photons_low, chain.electronic_low),
        (high, chain.photons_high, chain.electronic_high),
    ):
        beam = _blur(cv2.exp(-log), chain.psf_px)
        grain = _blur(generator.standard_normal((height, width), dtype=np.float32), chain.grain_px)
        grain *= np.float32(1 / _blurred_spread(chain.grain_px))
        structure = log * beam
        structure *= structure * np.float32(chain.structure**2)
        variance = beam * np.float32(1 / photons) + structure + np.float32(electronic**2)
        beam = (beam + grain * cv2.sqrt(variance)) * gain
        measured.append(-cv2.log(np.maximum(beam, np.float32(np.exp(-chain.floor)))))
    return measured[0], measured[1]


def _blurred_spread(sigma: float) -> float:
    """Standard deviation that a Gaussian blur leaves of white unit noise."""
    kernel = cv2.getGaussianKernel(2 * max(round(4 * sigma), 1) + 1, sigma, cv2.CV_64F)
    return float((kernel**2).sum())


def luminance(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The log-attenuation whose tone is displayed, float32 (H, W)."""
    return np.float32(LOW_SHARE) * low + np.float32(1 - LOW_SHARE) * high


def sharpen(log: np.ndarray, chain: DisplayChain) -> np.ndarray:
    """Unsharp masking at two widths; dark outlines overshoot freely, white halos are limited."""
    detail = np.float32(chain.sharpen_fine) * (log - _blur(log, chain.sharpen_fine_px))
    detail += np.float32(chain.sharpen_wide) * (log - _blur(log, chain.sharpen_wide_px))
    return log + np.maximum(detail, np.float32(-chain.halo) * log)


def tone(log: np.ndarray, chain: DisplayChain) -> np.ndarray:
    """Luma 255 exp(-k L^p), float32 (H, W)."""
    curve = cv2.pow(np.maximum(log, 0), chain.tone_power)
    return 255 * cv2.exp(np.float32(-chain.tone) * curve)


def hue_index(low: np.ndarray, high: np.ndarray, chain: DisplayChain) -> np.ndarray:
    """Row of the colour table by Z-effective, float32 (H, W), 0 (organic) to 63 (deep blue)."""
    at = effective_z(low, high) * np.float32(20 * chain.hue_shift)
    return _hue_by_z()[np.minimum(at, 1000).astype(np.int32)]


def _look_up(table: np.ndarray, luma: np.ndarray, hue: np.ndarray) -> np.ndarray:
    return cv2.remap(table, luma, hue, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def colourise(low: np.ndarray, high: np.ndarray, chain: DisplayChain) -> np.ndarray:
    """Pseudo-colour image of two measured log-attenuations.

    Returns:
        uint8 (H, W, 3) RGB; air is exactly (255, 255, 255).
    """
    low_smooth, high_smooth = _blur(low, chain.z_blur_px), _blur(high, chain.z_blur_px)
    gate = (luminance(low_smooth, high_smooth) - chain.air_from) / (chain.air_to - chain.air_from)
    log = sharpen(luminance(low, high), chain) * np.clip(gate, 0, 1, dtype=np.float32)
    return _look_up(colour_table(), tone(log, chain), hue_index(low_smooth, high_smooth, chain))


def clean_colour(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Displayed colour without noise, sharpening or air gate: float32 (H, W, 3) RGB in 0..1.

    The space in which occlusion is measured.
    """
    chain = DisplayChain()
    table = colour_table().astype(np.float32) / 255
    return _look_up(table, tone(luminance(low, high), chain), hue_index(low, high, chain))
