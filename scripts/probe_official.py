"""Look at the official module as its authors wrote it: python scripts/probe_official.py FILE

``FILE`` is ``DOAM/De_Occlusion_Attention_Module.py`` of the official repository at commit a3d37ff
(``git clone https://github.com/OPIXray-author/OPIXray``, then ``git checkout a3d37ff``), which this
project does not ship. The module is built as it builds itself, on the CPU, and looked at before any
training, in training mode: is M pinned to 0 or 1, what is gamma, and which weights get a gradient.
Its images are generated ones, whole frames of 300 pixels.

Beside it our module with the same weights, so that what is shown of ours holds for theirs. Written
to ``book/measurements/official_start.json``.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from doamlib.core import paths
from doamlib.core.files import write_text
from doamlib.core.provenance import record
from doamlib.data.images import resize
from doamlib.evaluation.map_swaps import looking
from doamlib.models.doam import DOAM, DOAMConfig
from doamlib.models.official import load_official_state_dict
from doamlib.simulation import SimulationConfig
from doamlib.simulation.scenes.image import make_image
from doamlib.simulation.scenes.quotas import plan_images

COMMIT = "a3d37ff"
SHA256 = "4b13859315a6eff0ee2dd16097c19a5d94ca6b1572e3f136254f7074c7de8b29"
SIZE = 300
"""The only input size that the official module takes."""
IMAGES = SimulationConfig(train_images=4, test_images=1, seed=0, field_of_view=1.0)
STARTS = 20
GRADIENT_STARTS, GRADIENT_IMAGES = 3, 2
GAMMAS = (0.0, 0.001, 1.0)
BINS = 20


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("file", type=Path)
    module = official_module(arguments.parse_args().file)
    images = generated()
    starts, maps = zip(*(start(module, seed, images) for seed in range(STARTS)), strict=True)
    few = images[:GRADIENT_IMAGES]
    counts = np.histogram(np.concatenate(maps), bins=BINS, range=(0, 1))[0]
    content = {
        "file": "DOAM/De_Occlusion_Attention_Module.py",
        "commit": COMMIT,
        "sha256": SHA256,
        "images": {"count": len(images), "size": SIZE, "data": IMAGES.fingerprint},
        "starts": starts,
        "histogram": (counts / counts.sum()).round(6).tolist(),
        "gradients": [g for seed in range(GRADIENT_STARTS) for g in gradients(module, seed, few)],
        "provenance": record(torch.device("cpu")),
    }
    text = json.dumps(content, indent=1) + "\n"
    write_text(paths.measurements() / "official_start.json", text)
    print(text)


def official_module(file: Path) -> type[nn.Module]:
    """The class in ``file``, which must be the one of `COMMIT`; made to build itself on a CPU."""
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != SHA256:
        raise SystemExit(f"{file}: is not the file of commit {COMMIT} (sha256 {found}): check out")
    torch.cuda.FloatTensor = torch.FloatTensor
    spec = importlib.util.spec_from_file_location("official", file)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded.DOAM


def generated() -> Tensor:
    """Training images as the official loader hands them on: float N,3,300,300, BGR, 0..255."""
    pixels = [make_image(IMAGES, plan)[0] for plan in plan_images(IMAGES)[: IMAGES.train_images]]
    images = [torch.from_numpy(np.ascontiguousarray(np.moveaxis(p, -1, 0))) for p in pixels]
    return torch.stack([resize(image, SIZE) for image in images]).float().flip(1)


def built(module: type[nn.Module], seed: int) -> nn.Module:
    """The official module as a training begins with it."""
    torch.manual_seed(seed)
    return module().train()


@torch.no_grad()
def start(module: type[nn.Module], seed: int, images: Tensor) -> tuple[dict, np.ndarray]:
    """One start: what M looks like, what the output adds to the input, how far ours is away."""
    theirs, seen = built(module, seed), []
    theirs.sigmoid.register_forward_hook(lambda _, __, maps: seen.append(maps))
    ours = DOAM(DOAMConfig.official()).train()
    load_official_state_dict(ours, theirs.state_dict())
    output, maps = theirs(images), seen[0]
    with looking(ours) as told:
        ours_output, ours_maps = ours(images.flip(1), return_attention=True)
    found = {
        "seed": seed,
        "gamma": float(theirs.gamma),
        **told(),
        "slope": float((4 * maps * (1 - maps)).mean()),
        "output_minus_image": float((output[:, :3] - images).abs().max()),
        "ours_minus_theirs_M": float((ours_maps - maps).abs().max()),
        "ours_minus_theirs_D": float((ours_output[:, [2, 1, 0, 3]] - output).abs().max()),
    }
    return found, maps.flatten().numpy()


def gradients(module: type[nn.Module], seed: int, images: Tensor) -> list[dict]:
    """What one and the same gradient at the output leaves for gamma and for all other weights."""
    generator = torch.Generator().manual_seed(seed)
    arriving = torch.randn(len(images), 4, SIZE, SIZE, generator=generator)
    rows = []
    for gamma in GAMMAS:
        theirs = built(module, seed)
        nn.init.constant_(theirs.gamma, gamma)
        theirs(images).backward(arriving)
        learned = {name: p.grad for name, p in theirs.named_parameters() if p.requires_grad}
        own = learned.pop("gamma")
        others = torch.cat([grad.flatten() for grad in learned.values()])
        rows.append(
            {"seed": seed, "gamma": gamma, "to_gamma": float(own), "to_M": float(others.norm())}
        )
    return rows


if __name__ == "__main__":
    main()
