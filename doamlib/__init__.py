"""The model, dataset, sampling and experiment code behind the DOAM-O reproduction book."""

import time

__version__ = "0.1.0"

IMPORTED_AT = time.monotonic()
"""When this process first imported the library: a page's cost is counted from here."""
