"""From detections to numbers: matching, average precision, intervals, and what maps look at.

``ap.py`` is the official evaluator's rule and ``coco.py`` COCO's; ``test_set.py`` runs a detector
over test images and scores it; ``statistics.py`` says what a handful of seeds allows to say;
``map_scores.py`` and ``map_swaps.py`` measure attention maps and whether anything uses them.
Taught in ``book/measuring.ipynb``.
"""

from doamlib.core.lazy import lazily

__getattr__, __all__ = lazily(
    __name__,
    ap=("average_precision", "average_precisions", "mean_ap", "precision_recall"),
    detections=("Detections", "GroundTruth"),
    matching=("iou", "match"),
    test_set=("TestSet", "detect", "score"),
    statistics=("summarise", "paired_differences"),
)
