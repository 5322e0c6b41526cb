"""Measure the generator and write the result as JSON: what the book shows about the data.

    python scripts/simulation_measure.py [OUT.json] [images] [scenes]

Without arguments it writes ``book/measurements/simulation.json``.

* ``realism``: histograms of half-frame windows and crops against the published pictures'
  (``tests/data/simulation/real_statistics.npz``), with the gate that they are meant to pass and
  what one half of the published pictures scores against the other;
* ``presence``: how well global colour and gradient histograms of whole frames, squashed to
  300 x 300, tell images with a cutter from images with one more harmless item (area under the ROC
  curve, cross-validated, best of three regularisations, bootstrap interval); repeated for windows
  of half the frame;
* ``cut``: how often the border of a half-frame window cuts cutters and their look-alikes;
* ``boxes`` and ``levels``: box sizes and occlusion before any quota, beside OPIXray's.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
from simulation_fit_display import compare, real_statistics, views, window_around_container
from simulation_realism import GATE, TARGET, histograms
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from doamlib.core import paths
from doamlib.core.files import write_text
from doamlib.data.classes import CLASSES
from doamlib.simulation.config import GENERATOR_VERSION, SimulationConfig
from doamlib.simulation.dice import Dice
from doamlib.simulation.optics.display import DisplayChain
from doamlib.simulation.scenes.compose import LOOK_ALIKES, compose, render_pixels
from doamlib.simulation.scenes.image import BOX_MARGIN, make_image
from doamlib.simulation.scenes.quotas import plan_images

STORE = paths.measurements() / "simulation.json"
FRAME_AREA = 1225 * 954
REAL_BOXES = {
    "width": [49, 89, 195],
    "height": [53, 102, 224],
    "area_percent": [0.39, 0.81, 1.67],
}
"""Smallest, median, largest of sixteen annotation rows of OPIXray."""
PAPER_LEVELS = [0.519, 0.309, 0.172]
KINDS = ("chroma", "chroma_luma", "luma", "gradient", "white")


def realism(scenes: int) -> dict:
    """Scores against the published pictures and whether the gate is passed."""
    pictures = []
    for i in range(scenes):
        composition = compose([101, i], [CLASSES[i % 5]], 1.0)
        dice = Dice([102, i])
        basis, box = window_around_container(composition)
        chain = DisplayChain.varied(dice)
        pictures.append((render_pixels(basis, chain, dice, belt=False), box))
    compared = compare(views(pictures), real_statistics())
    passed = all(compared[v][k] >= limit for v, g in GATE.items() for k, limit in g.items())
    scores = {
        view: {k: np.round(v, 4).tolist() for k, v in values.items()}
        for view, values in compared.items()
    }
    return {
        "scenes": scenes,
        "scores": scores,
        "gate": GATE,
        "passed": passed,
        "real_halves": real_halves(),
    }


def real_halves() -> dict[str, dict[str, float]]:
    """What one half of the published pictures scores against the other half, by view."""
    with np.load(TARGET) as stored:
        return {
            view: {k: round(float(stored[f"halves/{view}/{k}"]), 4) for k in KINDS} for view in GATE
        }


def features(image: np.ndarray) -> np.ndarray:
    """Global histograms of an image squashed to 300 x 300."""
    small = cv2.resize(image, (300, 300), interpolation=cv2.INTER_AREA)
    colours = cv2.calcHist([small], [0, 1, 2], None, [8] * 3, [0, 256] * 3).ravel() / small.size
    shape = histograms(small)
    return np.concatenate([colours, *(shape[k] / 9e4 for k in ("luma", "gradient", "white"))])


def draw(images: int, field_of_view: float, cutters: bool) -> tuple[np.ndarray, list[dict]]:
    """Features and sidecar records of a dataset."""
    config = SimulationConfig(
        train_images=images,
        test_images=0,
        seed=7 + cutters,
        field_of_view=field_of_view,
        cutters=cutters,
    )
    rows, records = [], []
    for number, plan in enumerate(plan_images(config)):
        image, record = make_image(config, plan)
        rows.append(features(image))
        records.append(record)
        if number % 200 == 0:
            print(f"fov {field_of_view} cutters {cutters}: {number} of {images}", flush=True)
    return np.array(rows), records


def area_under_curve(with_: np.ndarray, without: np.ndarray) -> dict:
    """Cross-validated AUC of cutter presence with a bootstrap 95% interval."""
    x = np.concatenate([with_, without])
    y = np.repeat([1, 0], [len(with_), len(without)])
    best = np.zeros(len(y))
    for strength in (1e-4, 1e-3, 1e-2):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
        scores = cross_val_predict(model, x, y, cv=5, method="decision_function")
        if not best.any() or roc_auc_score(y, scores) > roc_auc_score(y, best):
            best = scores
    rng = np.random.default_rng(0)
    picks = (rng.integers(0, len(y), len(y)) for _ in range(1000))
    interval = np.quantile([roc_auc_score(y[i], best[i]) for i in picks], [0.025, 0.975])
    return {
        "images": len(y),
        "auc": round(float(roc_auc_score(y, best)), 4),
        "interval": interval.round(4).tolist(),
    }


def describe(records: list[dict]) -> dict:
    """Box sizes and occlusion of the items in natural (quota-free) records."""
    items = [item for record in records for item in record["items"]]
    boxes = np.array([item["box"] for item in items], float)
    sides = boxes[:, 2:] - boxes[:, :2]
    sizes = {
        "width": sides[:, 0],
        "height": sides[:, 1],
        "area_percent": 100 * sides.prod(1) / FRAME_AREA,
    }
    levels = [r["level"] for r in records]
    by_class = {
        name: [
            round(float(np.mean([i["level"] == level for i in items if i["class"] == name])), 3)
            for level in (1, 2, 3)
        ]
        for name in CLASSES
    }
    tilts = np.array([item["tilt_degrees"] for item in items])
    return {
        "boxes": {
            "ours_5_50_95": {
                k: np.percentile(v, [5, 50, 95]).round(2).tolist() for k, v in sizes.items()
            },
            "real_min_median_max": REAL_BOXES,
        },
        "levels": {
            "ours": [round(levels.count(level) / len(levels), 3) for level in (1, 2, 3)],
            "paper": PAPER_LEVELS,
            "by_class": by_class,
            "edge_on_share": round(float((tilts > 65).mean()), 3),
        },
    }


def cut_shares(records: list[dict]) -> dict[str, dict]:
    """Number and cut share of cutters and look-alikes: boxes with a margin touch the border."""
    touched: dict[str, list[bool]] = {"cutters": [], "look_alikes": []}
    for record in records:
        x0, y0, x1, y1 = record["window"]
        size = np.array([x1 - x0, y1 - y0])
        alike = [item["box"] for item in record["harmless"] if item["name"] in LOOK_ALIKES]
        groups = {"cutters": ([item["box"] for item in record["items"]], 0)}
        groups["look_alikes"] = (alike, BOX_MARGIN)
        for name, (boxes, margin) in groups.items():
            for box in np.array(boxes).reshape(-1, 2, 2):
                inside = (box[0] > margin).all() and (box[1] < size - margin).all()
                touched[name].append(not inside)
    return {
        name: {"count": len(cut), "share": round(float(np.mean(cut)), 4)}
        for name, cut in touched.items()
    }


def main(target: str | Path = STORE, images: int = 2000, scenes: int = 120) -> None:
    cv2.setNumThreads(1)
    result = {"generator_version": GENERATOR_VERSION, "realism": realism(scenes)}
    print(json.dumps(result["realism"]), flush=True)
    presence = {}
    for field_of_view in (1.0, 0.5):
        with_, records = draw(images // 2, field_of_view, True)
        without, _ = draw(images // 2, field_of_view, False)
        presence[str(field_of_view)] = area_under_curve(with_, without)
        print(field_of_view, presence, flush=True)
        if field_of_view == 1.0:
            result |= describe(records)
        else:
            result["cut"] = cut_shares(records)
    result["presence"] = presence
    write_text(target, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:]))
