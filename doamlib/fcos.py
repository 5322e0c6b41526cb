"""FCOS: to be written."""

from torch import nn


class FCOS(nn.Module):
    """Not there yet."""

    def __init__(self, config):
        raise NotImplementedError("FCOS is not written yet")
