"""The rows of the paper's tables as plain data: what differs between two training runs."""

from __future__ import annotations

from typing import Literal

from doamlib.config import Config
from doamlib.doam import DOAMConfig
from doamlib.sampling import SamplingConfig


class Arm(Config):
    """One row: a detector, what is added to it, and how its batches are sampled.

    Attributes:
        name: as the book prints it.
        detector: ssd, yolov3 or fcos.
        attention: a rival inside the backbone (Table IV), or none.
        doam: the module in front of the detector, or none.
        sampling: Section IV-B's strategy or a rival of Section IV-D.
        focal: focal loss in place of hard negatives and cross-entropy (Eq. 20; DOAM-F).
    """

    name: str
    detector: Literal["ssd", "yolov3", "fcos"] = "ssd"
    attention: Literal["none", "se", "nonlocal", "dual"] = "none"
    doam: DOAMConfig | None = None
    sampling: SamplingConfig = SamplingConfig()
    focal: bool = False


_DOAM = DOAMConfig.reference()
_HARD = SamplingConfig(strategy="hard")

_CORE = (
    Arm(name="SSD"),
    Arm(name="SSD+SE", attention="se"),
    Arm(name="SSD+Non-local", attention="nonlocal"),
    Arm(name="SSD+DA", attention="dual"),
    Arm(name="SSD+DOAM-T", doam=_DOAM),
    Arm(name="SSD+DOAM-O", doam=_DOAM, sampling=_HARD),
    Arm(name="SSD+DOAM-E", doam=_DOAM, sampling=SamplingConfig(strategy="easy")),
    Arm(name="SSD+DOAM-R", doam=_DOAM, sampling=SamplingConfig(strategy="random")),
    Arm(name="SSD+DOAM-F", doam=_DOAM, focal=True),
    Arm(name="SSD+Concat", doam=DOAMConfig.concat()),
    Arm(name="SSD+EG", doam=DOAMConfig.edge_guidance_only()),
    Arm(name="SSD+EG+MA/G", doam=DOAMConfig.without_gate()),
    Arm(name="YOLOv3", detector="yolov3"),
    Arm(name="YOLOv3+DOAM-T", detector="yolov3", doam=_DOAM),
    Arm(name="YOLOv3+DOAM-O", detector="yolov3", doam=_DOAM, sampling=_HARD),
    Arm(name="FCOS", detector="fcos"),
    Arm(name="FCOS+DOAM-T", detector="fcos", doam=_DOAM),
    Arm(name="FCOS+DOAM-O", detector="fcos", doam=_DOAM, sampling=_HARD),
)

CORE = tuple(arm.name for arm in _CORE)
"""The 18 runs that Tables IV, V, VI, VII and IX share."""

ARMS: dict[str, Arm] = {arm.name: arm for arm in _CORE}
"""Every arm by name."""

TABLES: dict[str, dict[str, str]] = {
    "IV": {
        "SSD": "SSD",
        "SE": "SSD+SE",
        "Non-local": "SSD+Non-local",
        "DA": "SSD+DA",
        "DOAM-T": "SSD+DOAM-T",
        "DOAM-O": "SSD+DOAM-O",
    },
}
"""Table of the paper -> name of its row in print -> arm."""
