"""``doam detect``: pictures in, annotated copies and lists of what was found out.

Taught in ``book/own_image.ipynb``.
"""

from __future__ import annotations

import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from doamlib.core import paths
from doamlib.core.files import write_bytes, write_text
from doamlib.core.report import Report
from doamlib.data.faults import DataError, error
from doamlib.data.images import PICTURES, photo
from doamlib.data.layouts import is_image
from doamlib.evaluation.pictures import find_in_picture
from doamlib.experiments.detectors import NOTICE, Trained

COLUMNS = ("file", "class", "score", "x1", "y1", "x2", "y2")
INK, PAPER = "#c0392b", "white"
LONGEST_STEM = 200
"""Bytes of a picture's name that the annotated copy's has: the file system takes 255 in all."""

NAMED = 5
"""Detections of a picture that its line names; all are in the files."""


def detect_files(
    trained: Trained,
    pictures: Sequence[Path],
    out: Path,
    threshold: float,
    windows: bool,
    report: Report,
    complain: Callable[[str], Any],
) -> int:
    """Look at pictures, write what was found.

    Args:
        trained: the detector.
        pictures: files, and folders whose pictures are taken (not those of folders inside).
        out: folder for ``NAME-detected.png`` of each picture, ``detections.json`` and
            ``detections.csv``; boxes are x1, y1, x2, y2 in pixels of the picture as it is shown.
        threshold: score from which a detection is drawn and listed, 0 to 1.
        windows: cut pictures into windows as large as the training images were.
        report: gets a line for each picture.
        complain: gets a line for each problem; the other pictures are looked at all the same.

    Returns:
        How many problems there were.
    """
    out = paths.at_home(out)
    files, problems = _files(map(paths.at_home, pictures), out)
    for problem in problems:
        complain(problem)
    if not files:
        return len(problems)
    paths.writable(out, fix="choose another folder with --out")
    detector, classes = trained.load(), trained.config.data.classes
    share = trained.field_of_view if windows else 1.0
    found, names = [], _names(files)
    for file in files:
        try:
            picture = photo(file)
        except DataError as fault:
            problems.append(str(fault))
            complain(str(fault))
            continue
        rows = _rows(find_in_picture(detector, picture, share), classes)
        kept = [row for row in rows if row["score"] >= threshold]
        write_bytes(out / names[file], annotated(picture, kept))
        height, width = picture.shape[1:]
        size = {"width": width, "height": height, "annotated": names[file]}
        found.append({"file": str(file), **size, "detections": kept})
        report(f"{file}: {_said(rows, kept, threshold)}")
    if found:  # else what an earlier call wrote stays
        _write(out, trained, threshold, share, found)
        report(f"wrote {out}/detections.json, detections.csv and the annotated pictures")
    return len(problems)


def _files(pictures: Iterable[Path], out: Path) -> tuple[list[Path], list[str]]:
    """The pictures that are there, each once, and a line for each thing that is not."""
    files, problems = [], []
    for path in pictures:
        inside = _inside(path, out) if path.is_dir() else []
        if path.is_file():
            files.append(path)
        elif inside:
            files += inside
        else:
            what = f"no picture ({', '.join(PICTURES)}) in it" if path.is_dir() else "no such file"
            problems.append(str(error("no-picture", what, str(path), fix="name another one")))
    if clash := [file for file in files if file.resolve().parent == out.resolve()]:
        fix = "choose another folder with --out"
        what = f"would be written beside your pictures in {out}"
        raise error("out-holds-pictures", what, str(clash[0]), fix=fix)
    return list({file.resolve(): file for file in reversed(files)}.values())[::-1], problems


def _inside(folder: Path, out: Path) -> list[Path]:
    """The pictures in a folder, however deep, but for what an earlier call wrote to ``out``."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and is_image(path.name))
    if folder.resolve() == out.resolve():
        return list(found)
    return [path for path in found if out.resolve() not in path.resolve().parents]


def _names(files: Iterable[Path]) -> dict[Path, str]:
    """A name of its own for each annotated copy."""
    taken: Counter[str] = Counter()
    names = {}
    for file in files:
        name = stem = os.fsencode(file.stem)[:LONGEST_STEM].decode(errors="ignore")
        while name in taken:  # a picture may be called as another one's copy: a-2.jpg
            taken[stem] += 1
            name = f"{stem}-{taken[stem]}"
        taken[name] = 1
        names[file] = f"{name}-detected.png"
    return names


def _rows(found: dict[str, Tensor], classes: Sequence[str]) -> list[dict[str, Any]]:
    parts = (found[name].tolist() for name in ("boxes", "labels", "scores"))
    return [
        {"class": classes[label - 1], "score": round(score, 4), "box": [round(v, 1) for v in box]}
        for box, label, score in zip(*parts, strict=True)
    ]


def _said(rows: Sequence[dict], kept: Sequence[dict], threshold: float) -> str:
    def words(row: dict) -> str:
        return f"{row['class']} {row['score']:.2f}"

    if kept:
        more = f" and {len(kept) - NAMED} more" if len(kept) > NAMED else ""
        return f"{len(kept)} found: {', '.join(map(words, kept[:NAMED]))}{more}"
    strongest = f", the strongest is {words(rows[0])}" if rows else ""
    return f"nothing at {threshold:g} or above{strongest}"


def annotated(picture: Tensor, rows: Sequence[dict[str, Any]]) -> bytes:
    """A PNG of a picture with boxes, classes and scores.

    Args:
        picture: uint8 tensor 3,H,W, RGB.
        rows: dicts with ``class``, ``score`` and ``box`` (x1, y1, x2, y2 in pixels), strongest
            first; it is drawn last, over the others.
    """
    image = Image.fromarray(picture.permute(1, 2, 0).numpy())
    draw, line = ImageDraw.Draw(image), max(1, round(min(image.size) / 250))
    font = ImageFont.load_default(max(10, round(min(image.size) / 35)))
    for row in reversed(rows):
        x1, y1, x2, y2 = row["box"]
        text = f"{row['class'].replace('_', ' ')} {row['score']:.2f}"
        draw.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=INK, width=line)
        left, _, right, bottom = draw.textbbox((0, 0), text, font=font)
        x = min(x1, image.width - right - 2 * line)  # inside the picture on every side
        y = y1 - bottom - 2 * line if y1 > bottom + 2 * line else y2 + line
        y = max(0, min(y, image.height - bottom - 2 * line))
        draw.rectangle((x, y, x + right - left + 3 * line, y + bottom + line), fill=PAPER)
        draw.text((x + line, y), text, fill=INK, font=font)
    made = io.BytesIO()
    image.save(made, "PNG")
    return made.getvalue()


def _write(
    out: Path, trained: Trained, threshold: float, share: float, found: list[dict[str, Any]]
) -> None:
    report = {
        "notice": NOTICE,
        "detector": {
            "about": trained.about(),
            "arm": trained.arm,
            "seed": trained.config.seed,
            "origin": trained.origin,
            "weights": trained.path.name,
            "classes": trained.config.data.classes,
            "AP": trained.ap,
        },
        "threshold": threshold,
        "window_share": share,
        "images": found,
    }
    write_text(out / "detections.json", json.dumps(report, indent=1) + "\n")
    rows = [
        (image["file"], row["class"], row["score"], *row["box"])
        for image in found
        for row in image["detections"]
    ]
    table = pd.DataFrame(rows, columns=COLUMNS).to_csv(index=False, lineterminator="\n")
    write_text(out / "detections.csv", table)
