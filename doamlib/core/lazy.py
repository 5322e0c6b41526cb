"""A room shows its main names without importing what is behind them before somebody asks."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def lazily(room: str, **names: tuple[str, ...]) -> tuple[Callable[[str], Any], list[str]]:
    """``__getattr__`` and ``__all__`` for a package (PEP 562).

    Torchvision takes a second and a half to import, and few who import ``doamlib.models`` need it.

    Args:
        room: the package's ``__name__``.
        names: module of the package -> the public names that it holds.
    """
    homes = {name: module for module, own in names.items() for name in own}

    def find(name: str) -> Any:
        if name not in homes:  # a module of the room: the import system looks for it next
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        return getattr(import_module(f"{room}.{homes[name]}"), name)

    return find, sorted(homes)
