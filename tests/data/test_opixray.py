"""The reader for OPIXray's layout: every oddity of the real files, every fault by name."""

from __future__ import annotations

import os
import pickle
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from doamlib.data.classes import CLASSES
from doamlib.data.faults import DataError, FaultLog
from doamlib.data.opixray import read_opixray
from doamlib.data.sample import Row, boxes_within, scale_boxes

LIST = "train/train_knife.txt"


def faults(root, code, split="train"):
    """The faults of one kind that a reader who goes on behind errors has met."""
    found = read_opixray(root, split, strict=False).faults
    return [fault for fault in found if fault.code == code]


def test_order_labels_and_boxes_are_those_of_the_files(sound):
    data = read_opixray(sound.root, "train")
    assert data.image_ids == ("009001", "009000", "009002")
    torch.testing.assert_close(
        data.records[1].boxes, torch.tensor([[10.0, 5, 30, 35], [31, 2, 50, 20]])
    )
    assert data.records[1].labels.tolist() == [3, 4]
    assert data.records[1].labels.dtype == torch.int64
    assert data.faults == ()


def test_sample_is_the_decoded_image_in_rgb(sound):
    sample = read_opixray(sound.root, "train")[2]
    with Image.open(sound.path("train", "image", "009002.TIFF")) as image:
        expected = np.asarray(image).transpose(2, 0, 1)
    np.testing.assert_array_equal(sample.image.numpy(), expected)
    assert sample.image.shape == (3, 30, 80)
    assert (sample.image_id, sample.level) == ("009002", None)


def test_levels_come_from_the_numbered_lists(sound):
    data = read_opixray(sound.root, "test")
    assert [record.level for record in data.records] == [1, 3, 2]


def test_grey_palette_and_transparent_images_become_rgb(layout):
    for mode in ("L", "P", "RGBA"):
        layout.add("train", mode, ["Scissor 1 1 9 9"], suffix=".png")
        path = layout.path("train", "image", f"{mode}.png")
        Image.open(path).convert(mode).save(path)
    data = read_opixray(layout.root, "train")
    assert [data[i].image.shape for i in range(3)] == [(3, 40, 60)] * 3


def test_list_entries_may_carry_the_suffix_and_a_byte_order_mark(layout):
    layout.append(LIST, "\ufeff")
    layout.append(LIST, "x.jpg\n")
    layout.add("train", "x", ["Scissor 1 1 9 9"], listed=False)
    assert read_opixray(layout.root, "train").image_ids == ("x",)


def test_an_empty_annotation_is_a_background_image(layout):
    layout.add("train", "b", [])
    data = read_opixray(layout.root, "train")
    sample = data[0]
    assert sample.boxes.shape == (0, 4)
    assert sample.labels.shape == (0,)
    assert sample.labels.dtype == torch.int64
    assert [(fault.severity, fault.code) for fault in data.faults] == [("note", "no-box")]


def test_boxes_are_clipped_and_dropped_and_counted_with_their_line(layout):
    layout.add(
        "train",
        "x",
        ["Scissor -5 2 70 30", "Scissor 61 2 90 30", "Scissor 9 9 9 20", "Scissor 1 1 4 4"],
    )
    data = read_opixray(layout.root, "train")
    torch.testing.assert_close(
        data.records[0].boxes, torch.tensor([[0.0, 2, 60, 30], [1, 1, 4, 4]])
    )
    assert [(fault.code, fault.line) for fault in data.faults] == [
        ("box-clipped", 1),
        ("box-dropped", 2),
        ("box-dropped", 3),
    ]
    assert all(fault.file == "train/train_annotation/x.txt" for fault in data.faults)


def test_other_class_names_and_left_out_classes(layout):
    layout.add("train", "x", ["Laptop 1 1 9 9", "Cutter 2 2 8 8", "Scissor 3 3 7 7"])
    data = read_opixray(layout.root, "train", names={"Cutter": "Utility_Knife", "Laptop": ""})
    assert data.records[0].labels.tolist() == [4, 3]
    assert data.classes == CLASSES


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("Scissor 1 2 3", "bad-row"),
        ("Scissor 1 2 3 four", "bad-row"),
        ("Scissor 1 2 nan 4", "bad-row"),
        ("Scissor 1 2 inf 4", "bad-row"),
        ("Gun 1 2 3 4", "unknown-class"),
    ],
)
def test_a_bad_row_is_named_with_file_and_line(layout, row, code):
    layout.add("train", "x", ["Scissor 1 1 9 9", row])
    with pytest.raises(DataError) as raised:
        read_opixray(layout.root, "train")
    fault = raised.value.fault
    assert (fault.code, fault.file, fault.line) == (code, "train/train_annotation/x.txt", 2)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith("train/train_annotation/x.txt:2: error: ")
    assert fault.fix
    # The whole image is left out: training on it would teach that the item is not there.
    assert read_opixray(layout.root, "train", strict=False).image_ids == ()


def test_every_fault_is_found_in_one_pass(layout):
    layout.add("train", "good", ["Scissor 1 1 9 9"])
    layout.append(LIST, "absent\n")  # line 2
    layout.append(LIST, "../../secret\n")  # line 3
    layout.append(LIST, "good\n")  # line 4
    layout.add("train", "cut", ["Gun 1 1 9 9"])  # line 5
    layout.path("train", "image", "cut.jpg").write_bytes(b"")
    layout.add("train", "other", [])  # line 6
    layout.path("train", "annotation", "other.txt").write_text("good.jpg Scissor 1 1 9 9\n")
    layout.add("train", "folder", ["Scissor 1 1 9 9"])  # line 7
    layout.path("train", "image", "folder.jpg").unlink()
    layout.path("train", "image", "folder.jpg").mkdir()
    layout.add("train", "latin", ["Scissor 1 1 9 9"])  # line 8
    layout.path("train", "annotation", "latin.txt").write_bytes(b"a b 1 2 3 4\nl\xe9 Scissor\n")
    layout.add("train", "extra", listed=False)
    data = read_opixray(layout.root, "train", strict=False)
    found = {(fault.severity, fault.code, fault.file, fault.line) for fault in data.faults}
    notes = "train/train_annotation"
    assert found == {
        ("error", "missing-image", LIST, 2),
        ("error", "missing-annotation", f"{notes}/absent.txt", None),
        ("error", "bad-stem", LIST, 3),
        ("warning", "listed-twice", LIST, 4),
        ("error", "unreadable-image", "train/train_image/cut.jpg", None),
        ("error", "unknown-class", f"{notes}/cut.txt", 1),
        ("warning", "other-image", f"{notes}/other.txt", 1),
        ("error", "not-a-file", "train/train_image/folder.jpg", None),
        ("error", "encoding", f"{notes}/latin.txt", 2),
        ("note", "unlisted-images", "train/train_image", None),
    }
    assert data.image_ids == ("good", "other")


@pytest.mark.parametrize("entry", ["a/b", "..", "a\\b", "a\x00b", "/etc/passwd"])
def test_a_list_entry_that_is_no_bare_name_is_refused(layout, entry):
    layout.add("train", "x", ["Scissor 1 1 9 9"])
    layout.append(LIST, entry + "\n")
    assert [fault.line for fault in faults(layout.root, "bad-stem")] == [2]


def test_an_empty_list_is_an_error(layout):
    layout.add("train", "x", ["Scissor 1 1 9 9"], listed=False)
    layout.append(LIST, "\r\n\r\n")
    assert len(faults(layout.root, "empty-list")) == 1


def test_a_missing_split_is_one_clear_line(sound):
    with pytest.raises(DataError, match=r"'val/val_knife\.txt' does not exist"):
        read_opixray(sound.root, "val")


def test_a_root_that_is_a_file_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is not a folder"):
        read_opixray(tmp_path / "file", "train")


def test_level_lists_must_agree_with_the_split_list(sound):
    sound.append("test/test_knife-2.txt", "040000\nnowhere\n")
    sound.add("test", "040003", ["Scissor 1 1 9 9"])
    found = read_opixray(sound.root, "test", strict=False).faults
    assert [(fault.severity, fault.code, fault.file, fault.line) for fault in found] == [
        ("error", "two-levels", "test/test_knife-2.txt", 2),
        ("warning", "level-unlisted", "test/test_knife-2.txt", 3),
        ("warning", "no-level", "test/test_knife.txt", 4),
    ]


def test_an_absurdly_large_image_is_refused_before_decoding(layout, recwarn):
    for index, side in enumerate((8_000, 10_000, 60_000)):  # from harmless to Pillow's own limits
        layout.add("train", f"x{index}", ["Scissor 1 1 9 9"], suffix=".png")
        path = layout.path("train", "image", f"x{index}.png")
        data = bytearray(path.read_bytes())
        data[16:24] = side.to_bytes(4, "big") * 2  # width and height in the PNG header
        data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
        path.write_bytes(data)
    found = faults(layout.root, "huge-image")
    assert [fault.file for fault in found] == [f"train/train_image/x{i}.png" for i in range(3)]
    assert not recwarn.list


def test_a_truncated_image_is_named_when_it_is_decoded(layout):
    layout.add("train", "x", ["Scissor 1 1 9 9"])
    path = layout.path("train", "image", "x.jpg")
    path.write_bytes(path.read_bytes()[:-200])
    data = read_opixray(layout.root, "train")  # the header is still sound
    with pytest.raises(DataError, match=r"train/train_image/x\.jpg: error: .*truncated"):
        data[0]


def test_an_image_that_changed_its_size_since_is_named(layout):
    layout.add("train", "x", ["Scissor 1 1 9 9"])
    data = read_opixray(layout.root, "train")
    layout.draw(layout.path("train", "image", "x.jpg"), 30, 30)
    with pytest.raises(DataError, match="no longer 60 x 40"):
        data[0]


@pytest.mark.parametrize("what", ["image", "annotation", "folder", "list"])
def test_links_out_of_the_root_are_refused(sound, tmp_path, what):
    inside = {
        "image": sound.path("train", "image", "009000.jpg"),
        "annotation": sound.path("train", "annotation", "009000.txt"),
        "folder": sound.root / "train" / "train_image",
        "list": sound.root / LIST,
    }[what]
    outside = tmp_path / "outside"
    os.rename(inside, outside)
    inside.symlink_to(outside)
    found = faults(sound.root, "outside-root")
    assert [fault.file for fault in found] == [inside.relative_to(sound.root).as_posix()]


def test_links_within_the_root_are_followed(sound):
    image = sound.path("train", "image", "009000.jpg")
    os.rename(image, sound.root / "elsewhere.jpg")
    image.symlink_to(sound.root / "elsewhere.jpg")
    assert read_opixray(sound.root, "train").faults == ()


def test_an_error_survives_the_way_from_a_worker_process(sound):
    with pytest.raises(DataError) as raised:
        read_opixray(sound.root, "val")
    copy = pickle.loads(pickle.dumps(raised.value))
    assert copy.fault == raised.value.fault


number = st.floats(-100, 200, width=32)


@given(st.lists(st.tuples(number, number, number, number), max_size=6))
def test_clipped_boxes_are_inside_and_have_area_and_lose_nothing_inside(corners):
    rows = [Row(box, 1 + i, "f", i, "n") for i, box in enumerate(corners)]
    log = FaultLog()
    boxes, labels = boxes_within(rows, 60, 40, log)
    assert boxes.shape == (len(labels), 4)
    dropped = sum(fault.code == "box-dropped" for fault in log.faults)
    assert len(labels) == len(rows) - dropped
    for box, label in zip(boxes.tolist(), labels.tolist(), strict=True):
        x1, y1, x2, y2 = corners[label - 1]
        assert box == [max(x1, 0), max(y1, 0), min(x2, 60), min(y2, 40)]
        assert 0 <= box[0] < box[2] <= 60 and 0 <= box[1] < box[3] <= 40


side = st.integers(1, 5000)


@given(st.tuples(number, number, number, number), side, side, side, side)
def test_scaling_there_and_back_is_the_identity(corners, w1, h1, w2, h2):
    boxes = torch.tensor([corners], dtype=torch.float32)
    there = scale_boxes(boxes, (w1, h1), (w2, h2))
    back = scale_boxes(there, (w2, h2), (w1, h1))
    torch.testing.assert_close(back, boxes, rtol=1e-5, atol=1e-30)
    frame = scale_boxes(torch.tensor([[0.0, 0, w1, h1]]), (w1, h1), (w2, h2))
    torch.testing.assert_close(frame, torch.tensor([[0.0, 0, w2, h2]]), rtol=1e-6, atol=0)
