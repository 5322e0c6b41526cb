"""The networks: DOAM, its rivals, and the three detectors that they are put into.

``doam.py`` is the paper's module and ``attention.py`` its rivals; ``detector.py`` puts either into
SSD, YOLOv3 or FCOS from one configuration. ``official.py`` reads the authors' weights,
``complexity.py`` counts parameters and operations (Table VIII). Training is in
:mod:`doamlib.training`, one floor up.
"""

from doamlib.core.lazy import lazily

__getattr__, __all__ = lazily(
    __name__,
    doam=("DOAM", "DOAMConfig"),
    official=("load_official_state_dict",),
    complexity=("complexity_table",),
    config=("DetectorConfig",),
    detector=("Detector", "build_detector"),
    weights=("load_weights", "save_weights"),
)
