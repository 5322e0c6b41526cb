"""Datasets: one typed sample, whatever the format on disk.

Readers for OPIXray's layout and for COCO JSON as tools write it, conversion from other formats, the
judgement of what is wrong with a folder (``doctor``), splits, and the cache of decoded images.
Generated data are written in OPIXray's layout by :mod:`doamlib.simulation` and read here like any
other.
"""

from doamlib.core.lazy import lazily

__getattr__, __all__ = lazily(
    __name__,
    classes=("CLASSES", "SHORT_NAMES", "short_names"),
    dataset=("Dataset",),
    faults=("DataError",),
    splits=("box_table", "count_table", "level_table"),
)
