"""The model, dataset, sampling and experiment code behind the DOAM-O reproduction book."""

__version__ = "0.1.0"
