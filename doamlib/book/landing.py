"""The picture that opens the book: one bag of this build, from X-ray to detections."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from doamlib.book import plots
from doamlib.evaluation.detections import Detections
from doamlib.evaluation.map_scores import attention_maps
from doamlib.evaluation.test_set import TestSet
from doamlib.experiments.arms import ARMS
from doamlib.experiments.results import Result
from doamlib.experiments.study import Study
from doamlib.models.edges import SobelEdges


def arm_with_attention(study: Study) -> str | None:
    """The first arm of the parameters whose network has an attention map; None without one."""
    for name in study.parameters.arms:
        doam = ARMS[name].doam
        if doam is not None and doam.attends:
            return name
    return None


def described(study: Study, results: Mapping[tuple[str, int], Result]) -> str:
    """Which network the picture shows, and on which data, as a sentence of its caption."""
    data = "generated" if study.parameters.dataset == "simulation" else "real"
    if not results:
        return f"The image is {data}; this profile trains no network with attention to show."
    arm, seed = next(iter(results))
    of = f"profile {study.parameters.profile}"
    return f"The image is {data}, the network {arm}, seed {seed} of {of}."


def most_hidden(test: TestSet, detections: Detections) -> int:
    """Position of the image to show: a rule picks it, not the eye.

    Kept is each image's strongest detection, the one that the picture draws first. Shown is the
    image of the hit item whose occlusion O is highest (of the highest level where O is not known);
    where nothing was hit, that of the item which is hidden most. The first one of equals.
    """
    by_score = np.argsort(-detections.score, kind="stable")
    strongest = np.unique(detections.image_index[by_score], return_index=True)[1]
    matches = test.match(detections.select(by_score[strongest]))
    known = np.isfinite(test.occlusion).all()
    hidden = test.occlusion if known else test.levels[test.truth.image_index]
    items = matches.item[matches.hit] if matches.hit.any() else np.arange(len(test.truth))
    items = np.sort(items)
    return int(test.truth.image_index[items[np.argmax(hidden[items])]])


def opening_picture(study: Study, results: Mapping[tuple[str, int], Result]) -> Figure:
    """X-ray with its annotated items, edges, attention map and detections of one test image.

    Args:
        study: whose test images.
        results: of :func:`arm_with_attention`, the first is shown; without any, the last two
            panels are left out.
    """
    test = study.data.test
    found = next(iter(results.values()), None)
    index = most_hidden(found.test_set(), found.detections()) if found else 0
    sample = test[index]
    names = [test.classes[label - 1].replace("_", " ") for label in sample.labels]
    with plots.panels(4 if found else 2, aspect=0.8, width=11) as axes:
        plots.picture(axes[0], sample.image, "a bag in X-rays")
        plots.boxes(axes[0], sample.boxes, names)
        edges = SobelEdges()(torch.as_tensor(sample.image)[None].float())[0, 0].numpy()
        edges[[0, 1, -2, -1]] = edges[:, [0, 1, -2, -1]] = 0  # the frame that padding makes
        limit = np.percentile(edges, 99)
        plots.picture(axes[1], edges, "its edges", cmap="magma", vmax=limit)
        if found:
            _attention(axes[2], study, found, index, edges.shape)
            plots.picture(axes[3], sample.image, "what the network finds")
            _detections(axes[3], found, index)
        figure = axes[0].figure
    return figure


def _attention(
    axis: Axes, study: Study, result: Result, index: int, shape: tuple[int, int]
) -> None:
    size = result.config.detector.image_size
    cached = study.data.cached("test", size, study.processes, study.report)
    values = attention_maps(result.detector(), cached.batch([index])[0])[0].numpy()
    whole = (-0.5, shape[1] - 0.5, shape[0] - 0.5, -0.5)  # over the image before it was resized
    plots.picture(axis, values, "DOAM's map M", cmap="inferno", extent=whole)


def _detections(axis: Axes, result: Result, index: int) -> None:
    """The strongest detections, as many as the image has items, and one at least."""
    test, found = result.test_set(), result.detections()
    shown = max(1, int((test.truth.image_index == index).sum()))
    rows = np.flatnonzero(found.image_index == index)
    rows = rows[np.argsort(-found.score[rows], kind="stable")][:shown]
    best = found.select(rows)
    names = [
        f"{test.classes[label - 1].replace('_', ' ')} {score:.2f}"
        for label, score in zip(best.label, best.score, strict=True)
    ]
    plots.boxes(axis, best.boxes, names)
