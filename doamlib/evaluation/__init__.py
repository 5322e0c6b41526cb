"""From detections to numbers: matching, average precision, intervals, and what maps look at.

``ap.py`` is the official evaluator's rule and ``coco.py`` COCO's; ``test_set.py`` runs a detector
over test images and scores it; ``statistics.py`` says what a handful of seeds allows to say;
``map_scores.py`` and ``map_swaps.py`` measure attention maps and whether anything uses them.
Taught in ``book/measuring.ipynb``.
"""

from doamlib.core.lazy import lazily

__getattr__, __all__ = lazily(
    __name__,
    {
        "average_precision": "ap",
        "average_precisions": "ap",
        "mean_ap": "ap",
        "precision_recall": "ap",
        "Detections": "detections",
        "GroundTruth": "detections",
        "iou": "matching",
        "match": "matching",
        "TestSet": "test_set",
        "detect": "test_set",
        "score": "test_set",
        "summarise": "statistics",
        "paired_differences": "statistics",
    },
)
