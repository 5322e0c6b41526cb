"""From an image file to a tensor: header, pixels, and the resize that every network input gets.

Images of a dataset (:func:`image_size`, :func:`decode`) must lie as their boxes were drawn. A
picture of a reader's own (:func:`photo`) has no boxes yet: it is taken as a viewer shows it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional as F

from doamlib.core.report import message_of
from doamlib.data.faults import DataError, error

MAX_PIXELS = 50_000_000
"""Larger images are refused before a pixel is decoded (OPIXray's have 1.2 million)."""

SUFFIXES = (".jpg", ".jpeg", ".tiff", ".tif", ".png")
"""Of a dataset's image files, compared without regard to case."""

PICTURES = (*SUFFIXES, ".bmp")
"""Of what is taken for a picture where names decide: a reader's own, or one to convert."""

UPRIGHT = (None, 0, 1)
"""Values of EXIF's orientation tag that leave the pixels as they are stored."""

FORMATS = ("JPEG", "PNG", "TIFF", "BMP")
MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK")
DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N")
"""Modes of grey images with more than 8 bits a pixel."""


def image_size(path: Path, file: str) -> tuple[int, int]:
    """Width and height in pixels, from the header alone. Not to be called from several threads.

    Args:
        path: the image.
        file: what messages call it.

    Raises:
        DataError: not an image that can be read (``unreadable-image``), one of more than
            :data:`MAX_PIXELS` pixels (``huge-image``), or one that viewers turn (``turned``).
    """
    # Pillow also warns of huge images; the error says it better. Filters belong to the process.
    with warnings.catch_warnings(action="ignore"), _opened(path, file) as image:
        # A PNG's own getexif decodes the whole image; a TIFF is turned by Pillow itself.
        tag = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
        if tag not in UPRIGHT and image.format != "TIFF":
            message = f"{path.name} is turned by its EXIF orientation tag ({tag})"
            fix = "boxes may be drawn on the turned picture: save it upright without the tag"
            raise error("turned", message, file, fix=fix)
        return image.size


def decode(path: Path, file: str) -> Tensor:
    """The pixels of an image: uint8 tensor 3,H,W, RGB, values 0..255.

    Orientation tags are ignored; :func:`image_size` refuses them.

    Raises:
        DataError: as :func:`image_size`; also when the file is cut short.
    """
    with _opened(path, file) as image:
        pixels = np.array(image.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)


def photo(path: Path) -> Tensor:
    """Any picture of a reader's own as a network takes it: uint8 tensor 3,H,W, RGB, 0..255.

    Grey, palette, CMYK and one-bit images become RGB. What is transparent becomes white, as the
    empty belt is. The orientation tag is obeyed. Of more than 8 bits a pixel the upper 8 of those
    in use are kept (a scanner's 12 bits in a 16-bit file: the upper 8 of 12). Of several frames the
    first is taken.

    Raises:
        DataError: as :func:`image_size`, but for the orientation tag; the message starts with the
            path as it was given.
    """
    with _opened(path, str(path), (*MODES, *DEEP)) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode in DEEP:
            upright = _eight_bits(upright)
        if upright.has_transparency_data:
            clear = upright.convert("RGBA")
            white = Image.new("RGBA", clear.size, "white")
            upright = Image.alpha_composite(white, clear)
        pixels = np.array(upright.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _eight_bits(image: Image.Image) -> Image.Image:
    """The upper 8 of the bits that the largest value needs."""
    values = np.asarray(image).astype(np.int64).clip(min=0)
    surplus = max(0, int(values.max()).bit_length() - 8)
    return Image.fromarray((values >> surplus).astype(np.uint8))


@contextmanager
def _opened(path: Path, file: str, modes: tuple[str, ...] = MODES) -> Iterator[Image.Image]:
    """An image of a size and kind that we take; whatever goes wrong inside is a DataError."""
    message = f"{path.name} has more than {MAX_PIXELS:,} pixels"
    too_large = error("huge-image", message, file, fix="shrink or remove it")
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise too_large
            if image.mode not in modes:
                message = f"{path.name} has pixels of kind {image.mode!r}"
                raise error("unreadable-image", message, file, fix="convert it to 8-bit RGB")
            yield image
    except DataError:
        raise
    except Image.DecompressionBombError:
        raise too_large from None
    except Exception as failed:  # what Pillow raises on a broken file depends on how it is broken
        reason = message_of(failed).replace(str(path), path.name)
        message = f"{path.name} cannot be decoded ({reason})"
        fix = "restore the file from the original"
        if isinstance(failed, UnidentifiedImageError):  # GIF and WebP among them
            fix += f", or save it as {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        raise error("unreadable-image", message, file, fix=fix) from None


def resize(image: Tensor, size: int) -> Tensor:
    """A square network input: uint8 tensor 3,size,size; the aspect ratio is not kept.

    With a triangle filter as wide as the shrinking: every pixel counts, so a thin blade cannot fall
    between the samples. The official code (``cv2.resize``) does not keep the aspect ratio either,
    but reads the four neighbours of each sample and nothing between. The cache and a detector that
    is given other sizes both resize with this function.

    Args:
        image: uint8 tensor 3,H,W.
        size: side of the result in pixels (the paper's SSD: 300).
    """
    if image.shape[1:] == (size, size):
        return image.contiguous()
    resized = F.interpolate(image[None], (size, size), mode="bilinear", antialias=True)
    return resized[0].contiguous()
