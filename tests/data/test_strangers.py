"""Text and files by strangers: escaped or refused, and never more memory than a few images."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser

import pandas as pd
import pytest
from coco_tools import edit, write_coco
from PIL import Image

from doamlib.book import pages, plots
from doamlib.core.report import one_line
from doamlib.data import coco, folder
from doamlib.data.coco import read_coco
from doamlib.data.convert import convert
from doamlib.data.doctor.doctor import check
from doamlib.data.faults import DataError, Fault
from doamlib.data.splits import count_table

NASTY = (
    "<script>alert(1)</script>",
    "</td><img src=x onerror=alert(1)>",
    "\"a\" & 'b'",
    "חרב",
    "US$",
)


class Tags(HTMLParser):
    """The kinds of elements that a browser would make of a page."""

    def __init__(self, text):
        super().__init__()
        self.found, self.texts = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.add(tag)

    def handle_data(self, data):
        self.texts.append(data.strip())


def test_class_names_in_a_pages_tables_are_text_and_make_no_element(tmp_path, monkeypatch):
    dataset = read_coco(write_coco(tmp_path / "set", NASTY), "train")
    assert dataset.classes == NASTY
    table = count_table(dataset)
    shown = []
    monkeypatch.setattr(pages, "display", shown.append)
    pages.show({f"of {NASTY[0]}": table.T, "other": table, "third": pd.DataFrame({"a": NASTY})})
    assert len(shown) == 3
    for frame in (*(styled.to_html() for styled in shown), table.to_html()):
        tags = Tags(frame)
        assert not tags.found & {"script", "img"}
        assert any(name in tags.texts for name in NASTY)


def test_class_names_are_drawn_as_they_are(tmp_path):
    plots.use_style()
    with plots.panels(len(NASTY)) as axes:
        for axis, name in zip(axes, NASTY, strict=True):
            axis.set_title(name)
        axes[0].figure.canvas.draw()


@pytest.mark.parametrize("text", ["a\nb", "\x1b[31m", "\u202egnp", "x" * 10_000, "\0"])
def test_a_message_is_one_line_of_printable_text(text):
    fault = Fault(severity="error", code="c", message=text, file=text, fix=text)
    assert str(fault).isprintable() and len(str(fault)) < 2000
    assert one_line("ü חרב <b>") == "ü חרב <b>"


def test_a_file_too_large_for_memory_is_refused_unread(tmp_path, monkeypatch):
    root = write_coco(tmp_path / "set")
    with (root / "train.json").open("r+b") as file:
        file.truncate(folder.MAX_BYTES + 1)  # sparse: no byte of it lies on the disk
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda path: pytest.fail(f"{path} was read"))
    with pytest.raises(DataError, match=r"huge-file"):
        read_coco(root, "train")


@pytest.mark.slow
def test_neither_a_bomb_of_an_image_nor_a_json_of_two_gigabytes_costs_memory(tmp_path):
    root = write_coco(tmp_path / "set")
    Image.new("1", (20_000, 20_000)).save(root / "train/train_1.png")  # 1.2 GB as RGB
    with (root / "test.json").open("r+b") as file:
        file.truncate(2_000_000_000)  # one line, sparse
    code = (
        "import resource; from doamlib.data.doctor.doctor import check;"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        f"report = check({str(root)!r}); assert not report.ok;"
        "assert {'huge-image', 'huge-file'} <= {fault.code for fault in report.faults};"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 150_000  # kilobytes


def test_a_small_file_with_too_many_entries_is_refused_before_each_is_a_fault(
    tmp_path, monkeypatch
):
    for module in (folder, coco):
        monkeypatch.setattr(module, "MAX_ENTRIES", 1000)
    root = write_coco(tmp_path / "set")
    edit(root / "train.json", lambda data: data["images"].extend([{}] * 1000))
    faults = read_coco(root, "train", strict=False).faults
    assert [fault.code for fault in faults] == ["huge-file"]
    assert "has 1,006 images, and 1,000 are read at most" in str(faults[0])
    (root / "list.txt").write_text("a\n" * 1000)
    assert len(list(folder.Folder(root).lines("list.txt"))) == 1000
    (root / "list.txt").write_text("\n" * 1001)
    with pytest.raises(DataError, match="1,001 lines"):
        list(folder.Folder(root).lines("list.txt"))


def test_a_broken_yaml_beside_yolo_files_is_told_and_stops_nothing(tmp_path):
    root = tmp_path / "yolo"
    for split in ("train", "test"):
        for kind in ("images", "labels"):
            (root / split / kind).mkdir(parents=True)
        Image.effect_noise((60, 40), 50).save(root / split / "images" / f"{split}.png")
        (root / split / "labels" / f"{split}.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    (root / "data.yaml").write_text("names: [gun\n\tx: }")
    (root / "list.yaml").write_text("- 1\n")
    made = convert(root, tmp_path / "made")
    assert any("1 YAML files that cannot be read, e.g. data.yaml" in line for line in made.losses)
    assert check(tmp_path / "made").ok


def test_links_out_of_the_source_are_not_converted(tmp_path):
    root = write_coco(tmp_path / "set")
    secret = tmp_path / "secret.png"
    (root / "train/train_1.png").rename(secret)
    (root / "train/train_1.png").symlink_to(secret)
    edit(root / "train.json", lambda data: data["images"][1].update(file_name="../../secret.png"))
    made = convert(root, tmp_path / "made")
    assert "2 entries at fault (outside-root)" in " ".join(made.losses)
    assert not list((tmp_path / "made").rglob("*secret*"))
    assert len(made.splits[0]) == 4
