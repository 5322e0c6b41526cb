"""Detectors and pictures small enough for a test."""

import torch

from doamlib.models.config import DetectorConfig
from doamlib.models.detector import build_detector
from doamlib.models.doam import DOAMConfig

SIZE = 96
LARGE = {"boxes": torch.tensor([[10.0, 20.0, 60.0, 70.0]]), "labels": torch.tensor([2])}
SMALL = {"boxes": torch.tensor([[40.0, 40.0, 52.0, 52.0]]), "labels": torch.tensor([2])}


def make(doam=True, name="ssd", seed=0):
    """An untrained detector, an eighth as wide as the published ones."""
    doam = DOAMConfig().slimmed(0.5) if doam else None
    config = DetectorConfig(name=name, width=0.125, image_size=SIZE, doam=doam)
    return build_detector(config, seed).eval()


def photos(count=2, seed=0):
    """Pictures of noise, ``uint8 (count, 3, SIZE, SIZE)``."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator)


def seeded(network, config, seed=0):
    """A network (SSD, YOLOv3, FCOS) with random weights that follow from the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return network(config)


def random_boxes(count, side, seed):
    """Boxes (count, 4) of at least a pixel within a square image."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * side * 0.7
    size = 1 + torch.rand(count, 2, generator=generator) * (side * 0.3 - 1)
    return torch.cat([corner, corner + size], dim=1)
