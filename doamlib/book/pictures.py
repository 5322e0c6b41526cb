"""Drawn figures as small files: pages are read on phones."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any


def smaller_png(content: bytes) -> bytes:
    """A PNG of at most 256 colours and without transparency, or the same bytes if those are fewer.

    Args:
        content: a PNG file. Transparent parts become white, as on the page.
    """
    from PIL import Image

    with Image.open(io.BytesIO(content)) as opened:
        picture = opened.convert("RGBA")
    ground = Image.new("RGBA", picture.size, "white")
    flat = Image.alpha_composite(ground, picture).convert("RGB")
    few = flat.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.FLOYDSTEINBERG)
    saved = io.BytesIO()
    few.save(saved, "PNG", optimize=True)
    return min(saved.getvalue(), content, key=len)


def shrink(notebook: Mapping[str, Any]) -> None:
    """Replace every drawn figure of an executed notebook (nbformat's JSON) by a smaller file."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if drawn := output.get("data", {}).get("image/png"):
                small = smaller_png(base64.b64decode(drawn))
                output["data"]["image/png"] = base64.b64encode(small).decode()
