"""The doctor finds everything at once, reads nothing outside, and says whether to go on."""

from __future__ import annotations

import builtins
import hashlib
import io
import json
import os
from pathlib import Path

import jsonschema
from coco_tools import edit, write_coco

from doamlib.data import coco
from doamlib.data.doctor.doctor import check
from doamlib.data.doctor.published import compare, known
from doamlib.data.doctor.report import SHOWN, Report, SplitReport
from doamlib.data.opixray import read_opixray


def codes(report: Report) -> list[tuple[str, str, int | None]]:
    return [(fault.code, fault.file, fault.line) for fault in report.faults]


def test_a_sound_dataset_may_be_trained_on(sound):
    report = check(sound.root)
    assert report.ok
    assert (report.format, report.generated) == ("opixray", False)
    assert report.splits["train"].counts == {
        "Folding_Knife": 1,
        "Straight_Knife": 0,
        "Scissor": 1,
        "Utility_Knife": 1,
        "Multi-tool_Knife": 1,
        "boxes": 4,
        "images": 3,
        "backgrounds": 0,
    }
    levels = report.splits["test"].levels
    assert [(level, row["images"], row["Scissor"]) for level, row in levels.items()] == [
        ("OL1", 1, 0),
        ("OL2", 1, 1),
        ("OL3", 1, 1),
    ]
    assert report.splits["train"].levels == {}
    assert list(report.splits["test"].sources) == [
        "test/test_knife.txt",
        "test/test_knife-1.txt",
        "test/test_knife-2.txt",
        "test/test_knife-3.txt",
    ]
    assert {fault.code for fault in report.faults} == {"count-differs"}


def test_all_faults_are_listed_at_once(sound):
    sound.append("train/train_knife.txt", "../test/test_image/040000\nnowhere\n")
    sound.path("train", "annotation", "009001.txt").write_text("009001.jpg Gun 1 2 3 4\n")
    sound.path("train", "annotation", "009002.txt").write_bytes(b"\xff\xfe")
    cut = sound.path("test", "image", "040000.jpg")
    cut.write_bytes(cut.read_bytes()[:-60])
    sound.path("test", "image", "040001.jpg").unlink()
    sound.path("test", "image", "040001.jpg").mkdir()
    sound.path("test", "annotation", "040002.txt").write_text(
        "040002.tiff Scissor 2 3 99 23\n040002.tiff Scissor 99 3 110 23\n"
    )
    report = check(sound.root)
    assert not report.ok
    assert {
        ("bad-stem", "train/train_knife.txt", 4),
        ("missing-image", "train/train_knife.txt", 5),
        ("missing-annotation", "train/train_annotation/nowhere.txt", None),
        ("unknown-class", "train/train_annotation/009001.txt", 1),
        ("encoding", "train/train_annotation/009002.txt", 1),
        ("unreadable-image", "test/test_image/040000.jpg", None),
        ("not-a-file", "test/test_image/040001.jpg", None),
        ("box-clipped", "test/test_annotation/040002.txt", 1),
        ("box-dropped", "test/test_annotation/040002.txt", 2),
    } <= set(codes(report))
    assert (report.splits["test"].clipped, report.splits["test"].dropped) == (1, 1)
    for fault in report.faults:
        if fault.severity == "error":
            assert str(fault) in str(report)


def test_warnings_alone_do_not_stop_training(sound):
    sound.add("train", "009005", ["Scissor -3 2 30 20", "Scissor 99 9 120 30"])
    report = check(sound.root)
    assert report.ok
    assert {"box-clipped", "box-dropped"} <= {fault.code for fault in report.faults}


def test_the_same_image_in_both_splits_is_found_by_name_and_by_content(sound):
    sound.add("test", "009000", ["Scissor 1 1 9 9"], level=1)  # same name, other picture
    sound.add("test", "040008", ["Scissor 1 1 9 9"], level=1)  # other name, same picture
    copy = sound.path("train", "image", "009001.jpg").read_bytes()
    sound.path("test", "image", "040008.jpg").write_bytes(copy)
    report = check(sound.root)
    assert ("name-in-two-splits", "test/test_image/009000.jpg", None) in codes(report)
    (same,) = [fault for fault in report.faults if fault.code == "same-image"]
    assert same.file == "test/test_image/040008.jpg"
    assert "train/train_image/009001.jpg" in same.message


def test_images_and_boxes_of_an_unlikely_size_stand_out(sound):
    sound.add("train", "big", ["Scissor 5 5 25 30"], size=(150, 40))
    sound.add("train", "little", ["Scissor 1 1 5 5"], size=(60, 10))
    sound.add("train", "dot", ["Scissor 5 5 6 6"])
    report = check(sound.root)
    found = [(fault.severity, fault.code, fault.file) for fault in report.faults]
    assert [entry for entry in found if entry[1].endswith("-size")] == [
        ("warning", "image-size", "train/train_image/big.jpg"),
        ("warning", "image-size", "train/train_image/little.jpg"),
        ("note", "box-size", "train/train_image/dot.jpg"),
    ]


def test_nothing_outside_the_root_is_opened(sound, tmp_path, monkeypatch):
    decoy = tmp_path / "decoy"
    decoy.mkdir()
    sound.draw(decoy / "secret.jpg", seed=5)
    (decoy / "secret.txt").write_text("secret.jpg Scissor 1 1 9 9\n")
    for entry in ("../decoy/secret", str(decoy / "secret"), "../../decoy/secret"):
        sound.append("train/train_knife.txt", entry + "\n")
    for kind, suffix in (("image", ".jpg"), ("annotation", ".txt")):
        sound.add("train", f"linked-{kind}", ["Scissor 1 1 9 9"])
        link = sound.path("train", kind, f"linked-{kind}{suffix}")
        link.unlink()
        link.symlink_to(decoy / f"secret{suffix}")
    (sound.root / "sidecar").symlink_to(decoy)
    (sound.root / "manifest.json").symlink_to(decoy / "secret.txt")
    (decoy / "train.jsonl").write_text("{}")
    opened: list[str] = []

    def watching(plain):
        def watch(file, *arguments, **keywords):
            if isinstance(file, str | os.PathLike):
                opened.append(os.path.realpath(file))
            return plain(file, *arguments, **keywords)

        return watch

    for module in (builtins, io):
        monkeypatch.setattr(module, "open", watching(io.open))
    report = check(sound.root)
    for kind, name in (("image", "009000.jpg"), ("annotation", "009000.txt")):
        assert str(sound.path("train", kind, name).resolve()) in opened  # the watch works
    assert not [name for name in opened if Path(name).is_relative_to(decoy.resolve())]
    outside = {fault.file for fault in report.faults if fault.code == "outside-root"}
    assert outside == {
        "train/train_image/linked-image.jpg",
        "train/train_annotation/linked-annotation.txt",
        "sidecar/train.jsonl",
        "manifest.json",
    }


def test_json_report_fits_its_schema_and_reads_back(sound):
    sound.append("train/train_knife.txt", "nowhere\n")
    report = check(sound.root)
    text = report.as_json()
    jsonschema.validate(json.loads(text), Report.model_json_schema())
    assert Report.model_validate_json(text) == report
    assert json.loads(text)["ok"] is False


def test_text_cuts_long_lists_and_says_so(sound):
    for index in range(SHOWN + 3):
        sound.append("train/train_knife.txt", f"nowhere-{index:02}\n")
    text = str(check(sound.root))
    assert "... and 3 more [missing-image]" in text
    assert [f"'nowhere-{i:02}'" in text for i in range(SHOWN + 3)] == [True] * SHOWN + [False] * 3
    assert text.splitlines()[-1] == f"errors: {2 * (SHOWN + 3)}; training cannot go on"
    assert str(check(sound.root / "train/train_knife.txt")).count("\n") == 2


def test_reports_do_not_depend_on_the_order_of_the_list(sound):
    before = check(sound.root).splits["train"]
    path = sound.root / "train/train_knife.txt"
    path.write_text("\n".join(reversed(path.read_text().split())))
    after = check(sound.root).splits["train"]
    assert after.fingerprint == before.fingerprint
    assert after.sources != before.sources


def test_a_manifest_marks_generated_data_and_its_files_are_compared(sound):
    files = [path for path in sound.root.rglob("*") if path.is_file()]
    digests = {
        path.relative_to(sound.root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }
    manifest = sound.root / "manifest.json"
    manifest.write_text(json.dumps({"fingerprint": "abc", "files": digests, "format": 1}))
    report = check(sound.root)
    assert report.generated
    assert report.faults == ()  # counts other than the paper's are no fault of a generated set
    sound.draw(sound.path("train", "image", "009000.jpg"), seed=99)
    (sound.root / "test/test_knife-1.txt").unlink()
    report = check(sound.root)
    assert ("file-changed", "train/train_image/009000.jpg", None) in codes(report)
    assert ("missing", "test/test_knife-1.txt", None) in codes(report)
    assert not report.ok


def test_a_broken_manifest_is_said_once(sound):
    (sound.root / "manifest.json").write_text("{")
    report = check(sound.root)
    assert codes(report) == [("bad-manifest", "manifest.json", None)]
    assert not report.ok


def test_coco_is_recognised_and_checked(sound):
    for split in ("train", "test"):
        data = read_opixray(sound.root, split)
        coco.write_coco(data, sound.root.parent / f"coco/{split}.json")
        for record in data.records:
            target = sound.root.parent / "coco" / record.path
            target.parent.mkdir(parents=True, exist_ok=True)
            os.rename(sound.root / record.path, target)
    root = sound.root.parent / "coco"
    # Renamed folders: OPIXray's layout must not be what tells the format.
    for split in ("train", "test"):
        os.rename(root / split, root / f"{split}-pictures")
        path = root / f"{split}.json"
        path.write_text(path.read_text().replace(f"{split}/", f"{split}-pictures/", 1 << 20))
    report = check(root)
    assert (report.format, report.ok, report.faults) == ("coco", True, ())
    assert report.splits["test"].levels["OL3"]["Scissor"] == 1
    text = (root / "test.json").read_text()
    (root / "test.json").write_text(text.replace("Scissor", "Scissors"))
    broken = check(root)
    assert [fault.code for fault in broken.faults] == ["classes-differ"]
    assert not broken.ok


def test_a_json_file_that_names_no_split_is_asked_about(layout):
    layout.append("result.json", "{}")
    report = check(layout.root)
    assert (report.format, codes(report)) == ("coco", [("no-annotations", ".", None)])


def test_coco_images_without_a_name_are_faults_and_no_crash(tmp_path):
    root = write_coco(tmp_path / "set")
    edit(root / "train.json", lambda d: [d["images"][n].update(file_name="") for n in (0, 1)])
    report = check(root)
    assert not report.ok
    assert [code for code, *_ in codes(report)].count("bad-entry") == 2


def counted(counts: list[int], images: int, dropped: int = 0, levels=None) -> SplitReport:
    names = ["Folding_Knife", "Straight_Knife", "Scissor", "Utility_Knife", "Multi-tool_Knife"]
    rows = {**dict(zip(names, counts, strict=True)), "images": images}
    return SplitReport(
        counts=rows, levels=levels or {}, clipped=0, dropped=dropped, sources={}, fingerprint=None
    )


def test_the_full_dataset_equals_the_tables_but_for_what_is_explained():
    ol2 = counted([148, 84, 125, 88, 105], 548).counts  # as counted on the real files
    train = counted([1589, 808, 1494, 1635, 1612], 7109, dropped=1)
    test = counted([404, 235, 369, 343, 430], 1776, levels={"OL2": ol2})
    numbers = compare({"train": train, "test": test})
    differing = {(n.row, n.column): n.explanation for n in numbers if n.explanation != ""}
    assert set(differing) == {("train", "ST"), ("OL2", "SC")}
    assert all(differing.values())
    assert len(numbers) == 3 * 6


def test_unexplained_differences_stay_unexplained():
    train = counted([1589, 807, 1495, 1635, 1612], 7108, dropped=1)
    numbers = compare({"train": train})
    unexplained = {n.column for n in numbers if n.explanation is None}
    assert unexplained == {"ST", "SC", "images"}


def test_known_facts_carry_their_arithmetic():
    text = " ".join(known())
    for number in (
        "7,139",
        "1,781",
        "7,109",
        "1,776",
        "923 + 551 + 307",
        "922 + 548 + 306",
        "7,019",
    ):
        assert number in text
