"""Where a result came from: recorded with every run, never compared."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from doamlib.core import paths

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "opencv-python-headless", "pydantic")


def record(device: torch.device) -> dict[str, Any]:
    """Commit, package versions, hardware and the time now, as plain values.

    Args:
        device: the one that is computed on.

    Returns:
        ``commit`` (hex digits; what ``DOAM_COMMIT`` says where it is set, else of the book's own
        checkout, else ``unknown``), ``dirty`` (uncommitted changes to tracked files;
        ``DOAM_COMMIT`` then ends in ``-dirty``), ``packages``, ``python``, ``hardware``,
        ``started`` (UTC).
    """
    commit, dirty = _commit()
    return {
        "commit": commit or "unknown",
        "dirty": dirty if commit else None,
        "packages": packages(),
        "python": platform.python_version(),
        "hardware": _hardware(device),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def packages() -> dict[str, str]:
    """Versions of the packages that results depend on, ``absent`` where one is not installed."""
    return {name: _version(name) for name in PACKAGES}


def _commit() -> tuple[str, bool]:
    """Of the book's own repository: a zip of it may lie inside somebody else's."""
    if told := os.environ.get("DOAM_COMMIT", ""):  # by whoever compared a copy with that commit
        return told.removesuffix("-dirty"), told.endswith("-dirty")
    top = _git("rev-parse", "--show-toplevel")
    ours = bool(top) and Path(top).resolve() == paths.repository()
    if ours and (commit := _git("rev-parse", "HEAD")):
        return commit, bool(_git("status", "--porcelain", "--untracked-files=no"))
    return "", False


def _hardware(device: torch.device) -> dict[str, Any]:
    """The processor, cores and memory of this machine, and its GPU where that is the device."""
    allowed = hasattr(os, "sched_getaffinity")  # Linux; containers often get a part of the cores
    gpu = device.type == "cuda"
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if allowed else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "device": torch.cuda.get_device_name(device) if gpu else "cpu",
    }


def _cpu() -> str:
    """The processor's name; with family and model, since virtual machines often hide its number."""
    name = cpu_says("model name") or platform.processor() or platform.machine()
    family, model = cpu_says("cpu family"), cpu_says("model")
    return f"{name} (family {family}, model {model})" if family and model else name


def cpu_says(name: str) -> str:
    """What /proc/cpuinfo says of a processor (``model name``, ``flags``); empty without it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return ""
    fields = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in fields if key.strip() == name), "")


def _git(*arguments: str) -> str:
    folder = Path(__file__).resolve().parent
    # A hook of another repository's sets variables that would make git ask that one.
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    call = {"cwd": folder, "env": own, "capture_output": True, "text": True, "timeout": 20}
    try:
        done = subprocess.run(["git", *arguments], check=True, **call)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
