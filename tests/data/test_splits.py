"""Tables of a dataset, and parts of it that anybody can draw again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from doamlib.data.dataset import Dataset, read_manifest
from doamlib.data.faults import DataError
from doamlib.data.folder import Folder
from doamlib.data.opixray import read_opixray
from doamlib.data.sample import Annotation
from doamlib.data.sidecar import read_sidecar
from doamlib.data.splits import (
    box_table,
    count_table,
    few_shot_ids,
    level_table,
    small_object_ids,
    validation_split,
    write_list,
)


@pytest.fixture
def many(layout):
    """Twelve images a class, two of both knives, three backgrounds."""
    kinds = ["Folding_Knife", "Straight_Knife", "Scissor", "Utility_Knife", "Multi-tool_Knife"]
    for number in range(60):
        layout.add("train", f"{number:03}", [f"{kinds[number % 5]} 1 1 {6 + number % 7} 9"])
    for number in range(60, 62):
        layout.add("train", f"{number:03}", ["Folding_Knife 1 1 5 5", "Straight_Knife 9 9 20 20"])
    for number in range(62, 65):
        layout.add("train", f"{number:03}", [])
    return read_opixray(layout.root, "train")


def test_box_table_by_hand(sound):
    table = box_table(read_opixray(sound.root, "test"))
    assert table.to_dict("list") == {
        "image_id": ["040000", "040002", "040001"],
        "class": ["Straight_Knife", "Scissor", "Scissor"],
        "level": [1, 3, 2],
        "width": [60.0, 10.0, 12.0],
        "height": [40.0, 20.0, 20.0],
        "area_share": [1.0, 200 / 2400, 240 / 2400],
    }
    train = box_table(read_opixray(sound.root, "train"))
    assert train["level"].isna().all()
    assert train["image_id"].tolist() == ["009001", "009000", "009000", "009002"]


def test_tables_of_nothing_are_empty(sound):
    nothing = read_opixray(sound.root, "train").subset([])
    assert box_table(nothing).empty
    assert count_table(nothing).loc["train", "boxes"] == 0


def test_count_and_level_tables_by_hand(sound):
    """Paper: Tables II and III."""
    train, test = (read_opixray(sound.root, split) for split in ("train", "test"))
    counts = count_table(train, test)
    assert counts.loc["train"].tolist() == [1, 0, 1, 1, 1, 4, 3, 0]
    assert counts.loc["all"].tolist() == [1, 1, 3, 1, 1, 7, 6, 0]
    levels = level_table(test)
    assert levels.index.tolist() == ["OL1", "OL2", "OL3"]
    assert levels["Straight_Knife"].tolist() == [1, 0, 0]
    assert level_table(train).empty


def test_small_objects_by_hand(layout):
    # The frame has 2,400 pixels: 0.12% of them are 2.88.
    layout.add("train", "small", ["Scissor 1 1 2 3"])
    layout.add("train", "large", ["Scissor 1 1 4 2"])
    layout.add("train", "both", ["Scissor 1 1 2 3", "Scissor 1 1 9 9"])
    layout.add("train", "none", [])
    data = read_opixray(layout.root, "train")
    assert small_object_ids(data) == ("small",)
    assert small_object_ids(data, max_share=3 / 2400) == ("small", "large")
    assert small_object_ids(data, max_share=1.0) == ("small", "large", "both")


def test_few_shot_subsets_are_exact_nested_and_seeded(many):
    five, ten = few_shot_ids(many, 5, seed=1), few_shot_ids(many, 10, seed=1)
    assert count_table(many.subset(ten)).loc["train"].tolist() == [10] * 5 + [50, 50, 0]
    assert set(five) < set(ten)
    assert set(few_shot_ids(many, 5, seed=2)) != set(five)
    with pytest.raises(ValueError, match="Folding_Knife: 12 images of it alone, 13 are wanted"):
        few_shot_ids(many, 13, seed=1)


def test_subsets_do_not_depend_on_the_order_of_the_list(many):
    turned = many.subset(reversed(many.image_ids))
    assert set(few_shot_ids(turned, 5, seed=1)) == set(few_shot_ids(many, 5, seed=1))
    assert set(validation_split(turned, 0.25, 3)[1]) == set(validation_split(many, 0.25, 3)[1])


def index_of(count):
    """An index without files: classes A, B and C in turn, one box an image."""
    box = torch.tensor([[1.0, 1, 9, 9]])
    records = tuple(
        Annotation(f"{i:03}", "", box, torch.tensor([1 + i % 3]), None, 60, 40)
        for i in range(count)
    )
    return Dataset(Path(), "train", ("A", "B", "C"), records)


def test_subsets_are_what_they_were():
    """A change of the drawing rule would silently change every reader's subset."""
    assert few_shot_ids(index_of(40), 2, seed=0) == ("000", "007", "011", "015", "022", "023")
    assert validation_split(index_of(40), 0.1, seed=0)[1] == ("011", "015", "022")


def test_validation_split_takes_the_same_share_of_every_class(many):
    train, validation = validation_split(many, 0.25, seed=0)
    assert set(train) | set(validation) == set(many.image_ids)
    assert not set(train) & set(validation)
    counts = count_table(many.subset(validation)).loc["train"]
    assert counts[["Scissor", "Utility_Knife", "Multi-tool_Knife"]].tolist() == [3, 3, 3]
    assert counts["backgrounds"] == 1
    assert validation == tuple(i for i in many.image_ids if i in set(validation))
    assert validation_split(many, 0.25, seed=1)[1] != validation


@given(st.floats(0.01, 0.99), st.integers(0, 2**40))
def test_a_larger_validation_split_contains_the_smaller(share, seed):
    index = index_of(40)
    small = set(validation_split(index, share / 2, seed)[1])
    assert small <= set(validation_split(index, share, seed)[1])


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0, float("nan")])
def test_a_senseless_share_is_refused(many, share):
    with pytest.raises(ValueError, match="share = "):
        validation_split(many, share, 0)


def test_a_written_list_is_a_split_list(sound, many):
    write_list(sound.root / "train/train_knife.txt", ["009002", "009000"])
    assert read_opixray(sound.root, "train").image_ids == ("009002", "009000")


def test_fingerprints_know_levels_and_classes(sound):
    data = read_opixray(sound.root, "test")
    before = data.fingerprint
    assert replace(data, classes=("x", "Knife", "y")).fingerprint != before
    lists = [sound.root / f"test/test_knife-{level}.txt" for level in (1, 2)]
    texts = [path.read_text() for path in lists]
    for path, text in zip(lists, reversed(texts), strict=True):
        path.write_text(text)
    assert read_opixray(sound.root, "test").fingerprint != before


def test_fingerprints_know_content_and_nothing_else(sound):
    def fingerprint():
        return read_opixray(sound.root, "train").fingerprint

    before = fingerprint()
    path = sound.root / "train/train_knife.txt"
    path.write_text("\n".join(reversed(path.read_text().split())))
    (sound.root / "notes.txt").write_text("unrelated")
    assert fingerprint() == before
    annotation = sound.path("train", "annotation", "009001.txt")
    text = annotation.read_text()
    annotation.write_text(text.replace("25 30", "25 31"))
    assert fingerprint() != before
    annotation.write_text(text)
    assert fingerprint() == before
    sound.draw(sound.path("train", "image", "009001.jpg"), seed=77)
    assert fingerprint() != before


def test_the_manifest_vouches_for_generated_images_but_not_for_boxes(sound):
    manifest = sound.root / "manifest.json"
    assert read_manifest(Folder(sound.root)).fingerprint is None
    manifest.write_text('{"fingerprint": "first"}')
    first = read_opixray(sound.root, "train").fingerprint
    assert read_opixray(sound.root, "test").fingerprint != first
    manifest.write_text('{"fingerprint": "second"}')
    assert read_opixray(sound.root, "train").fingerprint != first
    manifest.write_text('{"fingerprint": "first"}')
    annotation = sound.path("train", "annotation", "009001.txt")
    annotation.write_text(annotation.read_text().replace("25 30", "25 31"))
    assert read_opixray(sound.root, "train").fingerprint != first
    for broken in ("{", "[]", "{}"):
        manifest.write_text(broken)
        with pytest.raises(DataError, match=r"manifest\.json"):
            read_manifest(Folder(sound.root))


ITEM = {
    "class": "Scissor",
    "box": [1, 0, 3, 2],
    "occlusion": 0.4,
    "level": 2,
    "share": 0.3,
    "clutter": 0.1,
    "tilt_degrees": 12.5,
    "core_pixels": 3,
    "silhouette": {"size": [2, 3], "counts": "231"},
}
LINE = {
    "image": "000001",
    "seed": [0, 1, 7],
    "containers": ["tray"],
    "items": [ITEM],
    "harmless": [{"name": "phone", "box": [0, 0, 1, 1]}],
}


def test_sidecar_records_are_typed_and_keyed_by_image(tmp_path):
    assert read_sidecar(tmp_path, "train") == {}
    (tmp_path / "sidecar").mkdir()
    path = tmp_path / "sidecar/train.jsonl"
    path.write_text(json.dumps(LINE) + "\n" + json.dumps({**LINE, "image": "2", "later": 1}) + "\n")
    found = read_sidecar(tmp_path, "train")
    assert list(found) == ["000001", "2"]
    item = found["000001"].items[0]
    assert (item.name, item.box, item.occlusion, item.level) == ("Scissor", (1, 0, 3, 2), 0.4, 2)
    assert found["000001"].harmless[0].name == "phone"
    # Column by column: two pixels off, three on, one off.
    assert item.silhouette.mask().tolist() == [[False, True, True], [False, True, False]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "Invalid JSON"),
        (json.dumps({**LINE, "items": [{**ITEM, "level": "two"}]}), "items.0.level"),
        (json.dumps(LINE), "'000001' occurs twice"),
    ],
)
def test_a_bad_sidecar_line_is_named(tmp_path, line, message):
    (tmp_path / "sidecar").mkdir()
    (tmp_path / "sidecar/test.jsonl").write_text(json.dumps(LINE) + "\n" + line + "\n")
    with pytest.raises(DataError) as raised:
        read_sidecar(tmp_path, "test")
    assert (raised.value.fault.file, raised.value.fault.line) == ("sidecar/test.jsonl", 2)
    assert message in str(raised.value)
