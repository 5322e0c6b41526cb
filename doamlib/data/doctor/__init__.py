"""Reads a whole dataset and lists every fault, with file and line.

``doam data check FOLDER`` on the command line, :func:`check` in Python. The judgement itself is
:mod:`doamlib.data.judge`, which training asks too; here it becomes a report, beside the counts that
the paper prints of OPIXray.
"""

from doamlib.core.lazy import lazily

__getattr__, __all__ = lazily(__name__, doctor=("check",), report=("Report",))
