"""The same bits from the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """On the CPU, the same seed gives the same bits; what was set before is set again after.

    One thread, because how a sum is split among threads changes its rounding. Small networks lose
    little by it, and runs side by side, one core each, are faster than one after the other on all
    cores (``benchmarks/bench_side_by_side.py``).
    """
    if device.type != "cpu":
        yield
        return
    threads = torch.get_num_threads()
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    filling = torch.utils.deterministic.fill_uninitialized_memory
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    # Nothing here reads memory that it has not written, so there is no need to fill it first.
    torch.utils.deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
        torch.utils.deterministic.fill_uninitialized_memory = filling
