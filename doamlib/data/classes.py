"""The five kinds of cutter, in the order of the paper's tables."""

from __future__ import annotations

CLASSES = ("Folding_Knife", "Straight_Knife", "Scissor", "Utility_Knife", "Multi-tool_Knife")
"""As OPIXray's annotation files spell them; class ``i`` has label ``i + 1`` (0: background)."""

SHORT_NAMES = ("FO", "ST", "SC", "UT", "MU")
"""The paper's abbreviations (Table II), in the same order."""
