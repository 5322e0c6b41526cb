"""From a parameter file to stored results.

``parameters.py`` validates the file, ``arms.py`` holds the rows of the tables, ``study.py`` lists
the runs, ``train_run.py`` makes one and ``store.py`` keeps it; ``results.py`` is what a run is and
what it leaves behind, ``archive.py`` packs finished runs for the book's reference layer. The loop
that trains one network is :mod:`doamlib.training`. ``detectors.py`` finds trained detectors, one's
own and shipped ones, and ``detect.py`` looks at pictures with them.
"""

from doamlib.core.lazy import lazily

__getattr__, __all__ = lazily(
    __name__,
    parameters=("Parameters", "from_file", "from_notebook"),
    arms=("ARMS", "TABLES", "READINGS"),
    study=("Study", "run_config"),
    results=("Result", "RunConfig"),
    store=("RunStore",),
    archive=("Reference", "references", "pack"),
)
