"""The last step of a run: what its network looks at, scored and kept with the result."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from doamlib.data.cache import CachedDataset
from doamlib.evaluation.map_scores import PLAIN, chosen_images, kinds_of, map_scores, summary, tidy
from doamlib.evaluation.randomisation import DRAWS, calibration_images, sanity
from doamlib.evaluation.test_set import TestSet, explained_images
from doamlib.models.detector import Detector

RANDOM_SEED = 1000
"""Added to a run's seed to draw weights anew, see :func:`doamlib.evaluation.randomisation.sanity`.
"""


def maps_of_run(
    detector: Detector, train: CachedDataset, tested: CachedDataset, seed: int
) -> tuple[dict[str, NDArray], dict[str, Any]]:
    """A trained detector's maps beside edges, darkness and randomised weights.

    They are drawn on a few random test images (`explained_images`), the same for all runs on the
    same data; the numbers say on how many images each mean rests. Where items are rare, these
    images may hold none, and then there are no numbers.

    Args:
        detector: trained; it is put in evaluation mode and stays on its device.
        train: training images at its input size, for
            :func:`doamlib.evaluation.randomisation.randomised`.
        tested: all test images at its input size.
        seed: of the run.

    Returns:
        Arrays as of :func:`doamlib.evaluation.map_scores.map_scores`; and, for JSON, the
        :func:`doamlib.evaluation.map_scores.summary` of them with
        :func:`doamlib.evaluation.randomisation.sanity` under ``random`` of each learned map.
    """
    detector.eval()
    images = chosen_images(len(tested), explained_images(len(tested)))
    scores = map_scores(detector, tested, (*kinds_of(detector), *PLAIN), images)
    numbers = summary(tidy(scores, TestSet.of(tested.dataset)))
    if not numbers:
        return scores, numbers
    few = tested.subset([tested.dataset.image_ids[index] for index in images])
    checked = sanity(detector, few, calibration_images(train), RANDOM_SEED + DRAWS * seed)
    for kind, parts in checked.items():
        numbers[kind]["random"] = parts
    return scores, numbers
