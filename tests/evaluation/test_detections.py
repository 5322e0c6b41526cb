import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from doamlib.core.files import write_bytes
from doamlib.evaluation.ap import average_precisions, mean_ap
from doamlib.evaluation.detections import Detections, GroundTruth, from_records
from doamlib.evaluation.matching import match

GOLDEN = json.loads((Path(__file__).parents[1] / "data/evaluation/voc_ap_seed5.json").read_text())


def golden() -> tuple[GroundTruth, Detections]:
    return from_records(GOLDEN["ground_truth"], GOLDEN["detections"], len(GOLDEN["classes"]))


def test_from_images_keeps_the_image_of_every_box():
    detections = Detections.from_images(
        [
            ([], [], np.empty((0, 4))),
            ([2, 1], [0.5, 0.25], [[0, 1, 2, 3], [4, 5, 6, 7]]),
            ([3], [0.75], [[8, 9, 10, 11]]),
        ]
    )
    assert_array_equal(detections.image_index, [1, 1, 2])
    assert_array_equal(detections.label, [2, 1, 3])
    assert_array_equal(detections.score, np.float32([0.5, 0.25, 0.75]))
    assert_array_equal(detections.boxes, np.arange(12).reshape(3, 4))


def test_from_images_counts_background_images_and_accepts_no_image_at_all():
    truth = GroundTruth.from_images([([], []), ([1], [[0, 0, 1, 1]]), ([], [])])
    assert (truth.image_count, len(truth)) == (3, 1)
    assert GroundTruth.from_images([]).image_count == 0
    assert Detections.from_images([]).boxes.shape == (0, 4)


def test_from_images_refuses_columns_of_different_length():
    with pytest.raises(ValueError):
        Detections.from_images([([1, 2], [0.5], [[0, 0, 1, 1]] * 2)])
    with pytest.raises(ValueError):  # one box too few here, one too many there
        Detections.from_images(
            [([1, 2], [0.5, 0.4], [[0, 0, 1, 1]]), ([1], [0.5], [[0, 0, 1, 1]] * 2)]
        )


@pytest.mark.parametrize(
    ("label", "score", "box", "message"),
    [
        (0, 0.5, [0, 0, 1, 1], "label is below 1"),
        (1, np.nan, [0, 0, 1, 1], "score is not finite"),
        (1, 0.5, [0, 0, np.inf, 1], "box is not finite"),
        (1, 0.5, [2, 0, 1, 1], "x2 < x1"),
        (1, 0.5, [0, 3, 1, 1], "y2 < y1"),
    ],
)
def test_a_faulty_row_is_named(label, score, box, message):
    good = ([1], [0.5], [[0, 0, 1, 1]])
    with pytest.raises(ValueError, match=f"row 1 .image_index 1.: .*{message}"):
        Detections.from_images([good, ([label], [score], [box])])


def on_two_images():
    """Labels 1, 3 and 4 on image 2 with scores 0.1, 0.9 and 0.5, and label 2 on image 0."""
    boxes = np.array([[1.0, 2.0, 4.0, 8.0]] * 4)
    scores = np.float32([0.1, 0.3, 0.9, 0.5])
    return Detections(np.array([2, 0, 2, 2]), np.array([1, 2, 3, 4]), scores, boxes)


@pytest.mark.parametrize(
    ("count", "kept"), [(0, []), (1, [2, 3]), (2, [2, 3, 4]), (3, [1, 2, 3, 4])]
)
def test_the_strongest_of_each_image_keep_their_order(count, kept):
    assert_array_equal(on_two_images().strongest(count).label, kept)


def test_cocos_results_count_from_one_and_tell_width_and_height():
    first, *others = on_two_images().as_coco()
    assert first.pop("score") == pytest.approx(0.1)
    assert first == {"image_id": 3, "category_id": 1, "bbox": [1.0, 2.0, 3.0, 6.0]}
    assert [row["image_id"] for row in others] == [1, 3, 3]


def test_an_item_outside_the_set_is_refused():
    with pytest.raises(ValueError, match="the set has 2 images"):
        GroundTruth(np.array([2]), np.array([1]), np.zeros((1, 4)), image_count=2)


@pytest.mark.parametrize(
    ("truth", "found", "message"),
    [
        ({"a": []}, {"b": []}, "'b'.*does not list"),
        ({"a": [[5, 0, 0, 1, 1]]}, {}, "'a'.*class from 0 to 4"),
        ({"a": [[-1, 0, 0, 1, 1]]}, {}, "'a'.*class from 0 to 4"),
        ({"a": [[0, 0, 0, 1]]}, {}, "'a'.*5 numbers"),
        ({"a": []}, {"a": [[0, 0, 0, 1, 1]]}, "'a'.*6 numbers"),
    ],
)
def test_a_faulty_record_names_its_image(truth, found, message):
    with pytest.raises(ValueError, match=message):
        from_records(truth, found, class_count=5)


def test_class_0_of_a_record_is_label_1():
    truth, found = from_records({"a": [], "b": [[0, 1, 2, 3, 4]]}, {"b": [[4, 0.5, 1, 2, 3, 4]]}, 5)
    assert (truth.label[0], truth.image_index[0], truth.image_count) == (1, 1, 2)
    assert (found.label[0], found.score[0]) == (5, 0.5)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 70_000),
            st.integers(1, 9),
            st.floats(0, 1, width=32),
            *[st.floats(-50, 3000, width=32)] * 4,
        ),
        max_size=20,
    )
)
def test_saving_moves_no_box_by_more_than_half_a_step(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("detections") / "found.npz"
    table = np.array(rows, dtype=np.float64).reshape(-1, 7)
    corners = table[:, 3:].reshape(-1, 2, 2)
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float32)
    saved = Detections(
        table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2].astype(np.float32), boxes
    )
    write_bytes(path, saved.as_bytes())
    loaded = Detections.load(path)
    for name in ("image_index", "label", "score"):
        assert_array_equal(getattr(loaded, name), getattr(saved, name))
    span = max(float(boxes.max(initial=0)), 0) - min(float(boxes.min(initial=0)), 0)
    rounding = np.spacing(np.float32(3000))
    assert np.abs(loaded.boxes - boxes).max(initial=0) <= span / 65535 / 2 + rounding


def test_saving_changes_no_golden_ap_and_little_space_is_used(tmp_path):
    truth, detections = golden()
    write_bytes(tmp_path / "found.npz", detections.as_bytes())
    loaded = Detections.load(tmp_path / "found.npz")
    before, after = (
        average_precisions(match(truth, found, GOLDEN["classes"])) for found in (detections, loaded)
    )
    assert mean_ap(before) > 0.4
    assert_array_equal(before, after)
    assert np.abs(loaded.boxes - detections.boxes).max() < 0.01
    assert (tmp_path / "found.npz").stat().st_size < 20 * len(detections)


def test_the_same_detections_give_the_same_bytes(tmp_path):
    _, detections = golden()
    write_bytes(tmp_path / "a.npz", detections.as_bytes())
    write_bytes(tmp_path / "b.npz", detections.as_bytes())
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    _, detections = golden()
    path = tmp_path / "found.npz"
    write_bytes(path, detections.as_bytes())
    before = path.read_bytes()

    def fail(file, **fields):
        file.write(b"half a file")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="disk full"):
        write_bytes(path, detections.select(slice(0, 3)).as_bytes())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_whoever_reads_while_a_file_is_replaced_reads_the_old_one(tmp_path):
    _, detections = golden()
    path = tmp_path / "found.npz"
    write_bytes(path, detections.as_bytes())
    before = path.read_bytes()
    with path.open("rb") as reader:
        start = reader.read(100)
        write_bytes(path, detections.select(slice(0, 3)).as_bytes())
        assert start + reader.read() == before
    assert len(Detections.load(path)) == 3


def test_loading_something_else_is_refused_by_name(tmp_path):
    _, detections = golden()
    write_bytes(tmp_path / "cut.npz", detections.as_bytes())
    cut = (tmp_path / "cut.npz").read_bytes()[:200]
    (tmp_path / "cut.npz").write_bytes(cut)
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "text.npz").write_text("not an archive")
    np.savez(tmp_path / "other.npz", label=np.zeros(3))
    with (tmp_path / "plain.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    for name in ("cut", "empty", "text", "other", "plain"):
        with pytest.raises(ValueError, match=rf"{name}\.npz is not a detections file"):
            Detections.load(tmp_path / f"{name}.npz")
