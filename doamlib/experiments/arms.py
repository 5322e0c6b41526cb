"""The rows of the paper's tables as plain data: what differs between two training runs."""

from __future__ import annotations

import difflib
from typing import Any, Literal

from doamlib.core.config import Config
from doamlib.core.report import one_line
from doamlib.models.doam import DOAMConfig
from doamlib.recipe import SamplingConfig


class Arm(Config):
    """One row: a detector, what is added to it, and how its batches are sampled.

    Attributes:
        name: as the book prints it.
        detector: ssd, yolov3 or fcos.
        attention: a rival inside the backbone (Table IV), or none.
        doam: the module in front of the detector, or none.
        sampling: Section IV-B's strategy or a rival of Section IV-D.
        focal: focal loss in place of hard negatives and cross-entropy (Eq. 20; DOAM-F).
        fresh_first_layer: with DOAM, draw the first convolution anew, as the official code does.
        shots: train on this many images of each class only (Section III-C), for as many steps as
            on all; 0: on all.
    """

    name: str
    detector: Literal["ssd", "yolov3", "fcos"] = "ssd"
    attention: Literal["none", "se", "nonlocal", "dual"] = "none"
    doam: DOAMConfig | None = None
    sampling: SamplingConfig = SamplingConfig()
    focal: bool = False
    fresh_first_layer: bool = False
    shots: int = 0


_DOAM = DOAMConfig()
_HARD = SamplingConfig(strategy="hard")
_HARD_EQUAL = SamplingConfig(strategy="hard", equal_steps=True)
_LOSSES = SamplingConfig(strategy="hard", priority_is="loss")  # as Algorithm 2 is printed
_IMAGES = SamplingConfig(strategy="hard", pool_of="images")
_IMAGES_EQUAL = SamplingConfig(strategy="hard", pool_of="images", equal_steps=True)

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

_READINGS = (
    Arm(name="SSD+DOAM-T, as the paper says", doam=DOAMConfig.paper()),
    Arm(
        name="SSD+DOAM-T, normalised steps",
        doam=DOAMConfig(block="conv-bn-relu", gamma=None),
    ),
)

SWITCHES: dict[str, dict[str, Any]] = {
    "SSD+DOAM-T, batch edges": {"edge_normalisation": "batch"},
    "SSD+DOAM-T, RGB": {"channel_order": "rgb"},
    "SSD+DOAM-T, mean edges": {"edge_channel": "mean"},
    "SSD+DOAM-T, 1x1 fusion": {"fusion_kernel": 1},
    "SSD+DOAM-T, no gamma": {"gamma": None},
    "SSD+DOAM-T, conv-bn-relu": {"block": "conv-bn-relu"},
}
"""Arm -> the one field in which its DOAM leaves the official code (or, for ``edge_normalisation``,
in which ours does)."""

SHOTS = (5, 10, 30)
"""Images a class of the few-shot splits."""

_EXTENDED = (
    Arm(name="SSD+DOAM-O, equal steps", doam=_DOAM, sampling=_HARD_EQUAL),
    Arm(name="SSD+DOAM-O, by losses", doam=_DOAM, sampling=_LOSSES),
    Arm(name="SSD+DOAM-O, hard images", doam=_DOAM, sampling=_IMAGES),
    Arm(name="SSD+DOAM-O, hard images, equal steps", doam=_DOAM, sampling=_IMAGES_EQUAL),
    *(Arm(name=name, doam=DOAMConfig(**switch)) for name, switch in SWITCHES.items()),
    Arm(
        name="SSD+DOAM-T, standardised inputs",
        doam=DOAMConfig(branch_inputs="standardised", gamma=None),
    ),
    Arm(name="SSD+DOAM-T, fresh first layer", doam=_DOAM, fresh_first_layer=True),
    *(Arm(name=f"SSD, {shots} shots", shots=shots) for shots in SHOTS),
    *(Arm(name=f"SSD+DOAM-T, {shots} shots", doam=_DOAM, shots=shots) for shots in SHOTS),
)

CORE = tuple(arm.name for arm in _CORE)
"""The 18 runs that Tables IV, V, VI, VII and IX share."""

READINGS = ("SSD+DOAM-T", *(arm.name for arm in _READINGS))
"""DOAM as the code computes it (the one of every table), as the text words it, and the variant of
the code's module that acts: batch normalisation and ReLU after each convolution of its branches,
and M blended in whole. ``scripts/probe_attention.py`` says by which rule it was chosen."""

ARMS: dict[str, Arm] = {arm.name: arm for arm in (*_CORE, *_READINGS, *_EXTENDED)}
"""Every arm by name."""


def no_arm(name: str) -> str:
    """What is said of a name that is no arm: those like it first, then all."""
    plain = {arm.lower(): arm for arm in reversed(ARMS)}
    like = difflib.get_close_matches(name.lower(), plain)
    close = [plain[arm] for arm in sorted(like, key=lambda arm: abs(len(arm) - len(name)))]
    meant = f"did you mean {' or '.join(close)}? All are" if close else "all are"
    return f"{one_line(name, 80)!r} is not an arm; {meant}: {'; '.join(ARMS)}"


def _on_ssd(*rows: str) -> dict[str, str]:
    """SSD, and rows that are printed without the detector they are added to."""
    return {"SSD": "SSD"} | {row: f"SSD+{row}" for row in rows}


TABLES: dict[str, dict[str, str]] = {
    "IV": _on_ssd("SE", "Non-local", "DA", "DOAM-T", "DOAM-O"),
    "V": _on_ssd("SE", "Non-local", "DA") | {"DOAM": "SSD+DOAM-T"},
    "VI": {
        f"{detector} {method}": detector if method == "base" else f"{detector}+{method}"
        for detector in ("SSD", "YOLOv3", "FCOS")
        for method in ("base", "DOAM-T", "DOAM-O")
    },
    "VII": _on_ssd("DOAM-T", "DOAM-E", "DOAM-R", "DOAM-F", "DOAM-O"),
    "IX": _on_ssd("Concat", "EG", "EG+MA/G") | {"EG+MA": "SSD+DOAM-T", "EG+MA+O": "SSD+DOAM-O"},
}
"""Table of the paper -> name of its row in print -> arm."""
