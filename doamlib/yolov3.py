"""YOLOv3: to be written."""

from torch import nn


class YOLOv3(nn.Module):
    """Not there yet."""

    def __init__(self, config):
        raise NotImplementedError("YOLOv3 is not written yet")
