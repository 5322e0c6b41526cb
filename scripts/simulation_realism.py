"""Statistics of published X-ray pictures, as numbers, and how close generated ones come.

Run with the two figures of the DOAM papers (the occlusion levels and the sample crops) to make
``tests/data/simulation/real_statistics.npz``; only histograms and scores are stored, no pixels::

    python scripts/simulation_realism.py occlusion_levels.png samples.png

The figure of the occlusion levels shows six half-frame windows of 1225 x 954 frames, 418 px wide;
the figure of the samples shows fifteen crops of about 221 x 207 px at 1.11 times the frame's scale.
A score is the intersection of two normalised histograms, 1 for equal ones. How far below 1 so few
pictures stay is told by the scores of one half of them against the other, averaged over random
halves (``halves/...``).
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter

from doamlib.core.files import npz_bytes, write_bytes

TARGET = Path(__file__).resolve().parents[1] / "tests/data/simulation/real_statistics.npz"
WINDOW_WIDTH = 418
CROP_SIZE, CROP_SCALE = (221, 207), 1.11
GATE = {
    "window": {"chroma": 0.78, "chroma_luma": 0.80, "gradient": 0.88, "luma": 0.85, "white": 0.92},
    "crop": {"chroma": 0.75, "gradient": 0.91},
}
LUMA = np.array([0.299, 0.587, 0.114])


def histograms(image: np.ndarray, mask: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Histograms of colour, luma, gradient and share of air of an RGB uint8 picture.

    Air (every channel at least 250) is left out of all but ``white``.
    """
    valid = np.ones(image.shape[:2], bool) if mask is None else mask
    air = image.min(2) >= 250
    used = valid & ~air
    hsv = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    hue, saturation, luma = np.radians(hsv[..., 0][used]), hsv[..., 1][used], grey[used]
    plane = np.stack([saturation * np.cos(hue), saturation * np.sin(hue), luma], 1)
    gx, gy = (cv2.Sobel(grey, cv2.CV_32F, dx, 1 - dx, scale=1 / 8) for dx in (1, 0))
    slope = np.log2(np.hypot(gx, gy)[used] + 1e-4)
    square = [[-1, 1], [-1, 1]]
    return {
        "chroma": np.histogramdd(plane[:, :2], bins=(32, 32), range=square)[0],
        "chroma_luma": np.histogramdd(plane, bins=(16, 16, 12), range=[*square, [0, 1.0001]])[0],
        "luma": np.histogram(luma, bins=32, range=(0, 1.0001))[0].astype(float),
        "gradient": np.histogram(slope, bins=32, range=(-10, 0))[0].astype(float),
        "white": np.array([(air & valid).sum(), used.sum()], float),
    }


def pooled(many: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Mean of the pictures' normalised histograms."""
    return {k: np.mean([h[k] / max(h[k].sum(), 1e-9) for h in many], axis=0) for k in many[0]}


def _smoothed(name: str, histogram: np.ndarray) -> np.ndarray:
    wide = histogram if name == "white" else gaussian_filter(histogram, 1.0)
    return wide / wide.sum()


def score(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> dict[str, float]:
    """Intersection of two sets of pooled histograms, each in 0..1."""
    return {k: float(np.minimum(_smoothed(k, one[k]), _smoothed(k, other[k])).sum()) for k in one}


def as_jpeg(image: np.ndarray, quality: int = 92) -> np.ndarray:
    """The picture after JPEG compression."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]


def window_view(image: np.ndarray) -> np.ndarray:
    """A half-frame window (612 px wide) as the figure of the occlusion levels prints it."""
    height = round(image.shape[0] * WINDOW_WIDTH / image.shape[1])
    return as_jpeg(cv2.resize(image, (WINDOW_WIDTH, height), interpolation=cv2.INTER_AREA))


def crop_view(image: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """The surroundings of a box as the figure of the samples prints them."""
    width, height = (round(side / CROP_SCALE) for side in CROP_SIZE)
    x = int(np.clip((box[0] + box[2] - width) / 2, 0, image.shape[1] - width))
    y = int(np.clip((box[1] + box[3] - height) / 2, 0, image.shape[0] - height))
    cut = image[y : y + height, x : x + width]
    return as_jpeg(cv2.resize(cut, CROP_SIZE, interpolation=cv2.INTER_CUBIC))


def tiles(figure: np.ndarray) -> list[np.ndarray]:
    """The pictures inside a figure's yellow frames, row by row."""
    r, g, b = (figure[..., k].astype(int) for k in range(3))
    yellow = ((r > 220) & (g > 160) & (g < 235) & (b < 120)).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(yellow, connectivity=8)
    frames = [s for s in stats[1:] if s[2] > 150 and s[3] > 150]
    frames.sort(key=lambda s: (s[1] // 100, s[0]))
    return [figure[y + 4 : y + h - 4, x + 4 : x + w - 4] for x, y, w, h, _ in frames]


def outside_red(tile: np.ndarray) -> np.ndarray:
    """Mask of the pixels that the drawn red boxes do not touch."""
    r, g, b = (tile[..., k].astype(int) for k in range(3))
    red = (r > 150) & (g < 110) & (b < 110) & (r - g > 90) & (r - b > 90)
    return cv2.dilate(red.astype(np.uint8), np.ones((7, 7))) == 0


def floor_noise(images: list[np.ndarray]) -> list[float]:
    """Local noise (sd of luma in 9 x 9) of light cream regions: 10th, 30th, 50th percentile."""
    values = []
    for image in images:
        grey = image.astype(np.float32) @ LUMA.astype(np.float32)
        mean = cv2.blur(grey, (9, 9))
        spread = np.sqrt(np.maximum(cv2.blur(grey * grey, (9, 9)) - mean * mean, 0))
        air = cv2.dilate((image.min(2) >= 254).astype(np.uint8), np.ones((9, 9))) > 0
        values.append(spread[(mean > 215) & (mean < 245) & ~air])
    return [round(float(v), 2) for v in np.percentile(np.concatenate(values), [10, 30, 50])]


def main(levels: str, samples: str) -> None:
    views = {}
    for name, path, first in (("window", levels, 0), ("crop", samples, 5)):
        figure = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
        views[name] = tiles(figure)[first:]
        print(name, [tile.shape[:2] for tile in views[name]], floor_noise(views[name]))
    if len(views["window"]) != 6 or len(views["crop"]) != 15:
        raise SystemExit("expected 6 windows and 15 crops in the two figures")
    stored = {}
    for name, pictures in views.items():
        each = [histograms(tile, outside_red(tile)) for tile in pictures]
        halves = []
        for seed in range(20):
            order = np.random.default_rng(seed).permutation(len(each))
            one, two = ([each[i] for i in order[k::2]] for k in (0, 1))
            halves.append(score(pooled(one), pooled(two)))
        stored |= {f"halves/{name}/{k}": np.mean([h[k] for h in halves]) for k in halves[0]}
        stored |= {f"{name}/{k}": v.astype(np.float32) for k, v in pooled(each).items()}
        stored[f"{name}/floor_noise"] = np.array(floor_noise(pictures))
    write_bytes(TARGET, npz_bytes(**stored))
    print(TARGET, TARGET.stat().st_size, "bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
