"""Drawn figures as small files: pages are read on phones."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

CLOSE = 1.0
"""Mean difference of a colour, of 255, up to which a coarser choice of colours is not seen."""


def smaller_png(content: bytes) -> bytes:
    """A PNG of at most 256 colours and without transparency, or the same bytes if those are fewer.

    The 256 are chosen by median cut, which keeps the pale colours of X-ray images. Where fewer, or
    the widest coverage, are as good (grey images, maps in one colour scale, many copies of one
    scene), the smallest such file is taken.

    Args:
        content: a PNG file. Transparent parts become white, as on the page.
    """
    from PIL import Image, ImageChops, ImageStat

    with Image.open(io.BytesIO(content)) as opened:
        picture = opened.convert("RGBA")
    ground = Image.new("RGBA", picture.size, "white")
    flat = Image.alpha_composite(ground, picture).convert("RGB")
    taken = [flat.quantize(256, method=Image.Quantize.MEDIANCUT)]
    for method in (Image.Quantize.MEDIANCUT, Image.Quantize.MAXCOVERAGE):
        for colours in (64, 128, 256):  # fewer colours give the smaller file
            coarse = flat.quantize(colours, method=method)
            off = ImageStat.Stat(ImageChops.difference(flat, coarse.convert("RGB"))).mean
            if max(off) <= CLOSE:
                taken.append(coarse)
                break
    return min(content, *(_saved(image) for image in taken), key=len)


def _saved(image: Any) -> bytes:
    saved = io.BytesIO()
    image.save(saved, "PNG", optimize=True)
    return saved.getvalue()


def shrink(notebook: Mapping[str, Any]) -> None:
    """Replace every drawn figure of an executed notebook (nbformat's JSON) by a smaller file."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if drawn := output.get("data", {}).get("image/png"):
                small = smaller_png(base64.b64decode(drawn))
                output["data"]["image/png"] = base64.b64encode(small).decode()
