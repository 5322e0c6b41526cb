"""Miniature datasets, written by the tests themselves (no real image is involved)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


class Layout:
    """Writes a dataset in OPIXray's layout, image by image."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.images = 0

    def path(self, split: str, kind: str, name: str) -> Path:
        return self.root / split / f"{split}_{kind}" / name

    @staticmethod
    def draw(path: Path, width: int = 60, height: int = 40, seed: int = 0) -> None:
        """A smooth random picture: survives JPEG, differs for every seed."""
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)
        picture.save(path)

    def append(self, name: str, text: str) -> None:
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("ab") as stream:
            stream.write(text.encode())

    def add(
        self, split, stem, rows=(), *, suffix=".jpg", level=None, size=(60, 40), listed=True
    ) -> None:
        """One image, its annotation file (rows without the leading name) and its list entries."""
        self.images += 1
        self.draw(self.path(split, "image", stem + suffix), *size, seed=self.images)
        annotation = self.path(split, "annotation", f"{stem}.txt")
        annotation.parent.mkdir(parents=True, exist_ok=True)
        annotation.write_text("".join(f"{stem}{suffix} {row}\r\n" for row in rows), newline="")
        if listed:
            self.append(f"{split}/{split}_knife.txt", f"{stem}\r\n")
        if level is not None:
            self.append(f"{split}/{split}_knife-{level}.txt", f"{stem}\n")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "dataset")


@pytest.fixture
def sound(layout: Layout) -> Layout:
    """A dataset without a fault: jpg and TIFF, two items in one image, three levels."""
    layout.add("train", "009001", ["Folding_Knife 5 6 25 30"])
    layout.add("train", "009000", ["Scissor 10 5 30 35", "Utility_Knife 31 2 50 20"])
    layout.add("train", "009002", ["Multi-tool_Knife 1 1 20 9"], suffix=".TIFF", size=(80, 30))
    layout.add("test", "040000", ["Straight_Knife 0 0 60 40"], level=1)
    layout.add("test", "040002", ["Scissor 2 3 12 23"], level=3, suffix=".tiff")
    layout.add("test", "040001", ["Scissor 20 3 32 23"], level=2)
    return layout
