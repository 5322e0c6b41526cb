"""Contributed archives: what is packed here is fine, and whatever is changed in it is refused."""

import copy
import io
import json
import re
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doamlib import cli
from doamlib.claims.verify import ArchiveError, archive, check_archive, verify
from doamlib.claims.verify.bounds import ap_bounds
from doamlib.claims.verify.history import learning_rates, training_images
from doamlib.claims.verify.packed import PackedRun, differences
from doamlib.claims.verify.scores import attention_keys, check_scores
from doamlib.core.files import npz_bytes
from doamlib.evaluation.detections import Detections, GroundTruth
from doamlib.evaluation.map_swaps import exchanges, has_map
from doamlib.evaluation.test_set import TestSet, score, score_matches
from doamlib.experiments.archive import pack, references
from doamlib.experiments.arms import ARMS as ARMS_BY_NAME
from doamlib.experiments.parameters import from_values
from doamlib.experiments.results import Result
from doamlib.experiments.study import Study, run_config
from doamlib.models.doam import DOAM

ARMS = ("SSD", "SSD+DOAM-T", "SSD+DOAM-E")


@pytest.fixture(scope="module")
def packed(study, tmp_path_factory):
    """The smoke study's archive: plain SSD, one arm with maps, one with a pool."""
    parameters = study.parameters.model_copy(update={"arms": ARMS})
    own = Study(parameters, lambda line: None, study.store)
    own.results()
    (path,) = pack(own, tmp_path_factory.mktemp("packed"))
    return path


@pytest.fixture(scope="module")
def files(packed):
    """The archive's files, as if the networks had learned something: items are found."""
    with zipfile.ZipFile(packed) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    test = read_test_set(files)
    for seed, key in enumerate(name.split("/")[0] for name in files if "identity" in name):
        whole = plausible(test, seed)
        kept = whole.strongest(20).as_bytes()
        metrics = json.loads(files[f"{key}/metrics.json"]) | score(whole, test)
        history = json.loads(files[f"{key}/history.json"])
        history["epochs"][-1]["test_mAP"] = metrics["AP"]["mAP"]
        metrics["attention"] |= {"own": metrics["AP"]["mAP"]} if metrics["attention"] else {}
        scored = score(Detections.load(io.BytesIO(kept)), test)
        contents = {"metrics": metrics, "history": history, "kept": scored}
        files |= {f"{key}/{name}.json": json.dumps(value) for name, value in contents.items()}
        files[f"{key}/detections.npz"] = kept
    return files


def read_test_set(files):
    (name,) = (name for name in files if name.startswith("test_sets/"))
    return TestSet.load(io.BytesIO(files[name]))


def plausible(test, seed):
    """Thirty detections an image: its items, a little off, among what is not there."""
    random, found = np.random.default_rng(seed), []
    for image in range(len(test.image_ids)):
        own = test.truth.image_index == image
        count = 30 - own.sum()
        sides = np.ptp(test.truth.boxes[own].reshape(-1, 2, 2), axis=1)
        off = random.normal(0, 0.05, (own.sum(), 4)) * np.tile(sides, 2)
        corners = random.uniform(0, 300, (count, 2))
        boxes = [test.truth.boxes[own] + off, np.hstack([corners, corners + 40])]
        labels = [test.truth.label[own], random.integers(1, 6, count)]
        scores = [random.uniform(0.1, 0.9, own.sum()), random.uniform(0.02, 0.5, count)]
        found.append([np.concatenate(part) for part in (labels, scores, boxes)])
    return Detections.from_images(found)


@pytest.fixture(scope="module")
def keys(files):
    """Arm -> folder."""
    return {run["arm"]: run["key"] for run in json.loads(files["runs.json"])["runs"]}


@pytest.fixture
def rewritten(tmp_path):
    """Writes files as an archive."""

    def write(files):
        path = tmp_path / "theirs.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path

    return write


def refusal(path):
    """The line by which an archive is refused, as a reader sees it: one, and no traceback."""
    lines = []
    assert not verify([path], lines.append)
    (line,) = lines
    assert line.startswith(f"REFUSED  {path.name}") and line.isprintable()
    return line


def leaves(value, path=()):
    """(path, number) of every number in a JSON value."""
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, key))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, value


def put(value, path, new):
    """A copy with another value at one path; a callable is applied to what is there."""
    value = copy.deepcopy(value)
    place = value
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = new(place[path[-1]]) if callable(new) else new
    return value


# --- what is fine -------------------------------------------------------------------------------


def test_what_was_packed_is_fine_and_reported(packed, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["doam", "verify", str(packed)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    out, err = capsys.readouterr()
    assert not end.value.code and not err
    assert f"fine     {packed.name}" in out and "profile smoke, dataset simulation" in out
    assert "12 test images" in out and "3 runs: 3 arms, seed 0; 3 keep detections" in out
    assert all(re.search(rf"mAP +\d+\.\d  {re.escape(arm)}\n", out) for arm in ARMS)
    result = references(packed.parent)[0].results["SSD", 0]
    assert result.provenance["commit"] in out and result.provenance["hardware"]["cpu"] in out


def test_one_bad_archive_among_good_ones_fails_all(packed, tmp_path, monkeypatch, capsys):
    (tmp_path / "bad.zip").write_bytes(b"no")
    monkeypatch.setattr("sys.argv", ["doam", "verify", str(tmp_path / "bad.zip"), str(packed)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    out, err = capsys.readouterr()
    assert end.value.code == 1 and not err
    assert out.startswith("REFUSED  bad.zip: cannot be unpacked") and "fine     smoke" in out


def test_the_same_run_counts_once(packed, tmp_path):
    again = tmp_path / "again.zip"
    again.write_bytes(packed.read_bytes())
    lines = []
    assert not verify([packed, again], lines.append)
    assert any("is in 2 of these archives" in line for line in lines)


def test_archives_have_room_together(packed, monkeypatch):
    monkeypatch.setattr(archive, "LAYER_BYTES", packed.stat().st_size - 1)
    lines = []
    assert not verify([packed], lines.append)
    assert any(line.startswith("REFUSED  these archives have") for line in lines)


def test_whether_runs_may_decide_is_asked_once_of_all_that_are_fine(packed):
    lines = []
    assert verify([packed], lines.append)
    short = lines[
        -1 - lines[::-1].index(next(line for line in lines[::-1] if "these runs" in line))
    ]
    assert short == "small networks on generated images: these runs may not decide a claim yet"
    assert "  training images: 24, needed 8,000" in lines


def test_real_data_leave_no_path_and_are_compared_with_the_paper(study, tmp_path):
    """The generated images lie in OPIXray's layout, so they pass for an OPIXray of 12 images."""
    root = study.data.train.root
    changes = {"dataset": "opixray", "data_root": str(root), "arms": ["SSD+SE"], "seeds": [3]}
    parameters = from_values(study.parameters.model_dump(mode="json") | changes)
    own = Study(parameters, lambda line: None, study.store)
    own.results()
    (path,) = pack(own, tmp_path)
    assert str(root.parent).encode() not in path.read_bytes()
    with zipfile.ZipFile(path) as packed:
        index = json.loads(packed.read("runs.json"))
    assert index["parameters"]["data_root"] == root.name
    checked = check_archive(path)
    assert checked.reference.results.keys() == {("SSD+SE", 3)}
    notes = [line for line in checked.lines if line.startswith("note: ")]
    assert "note: 12 test images; the paper has 1,776" in notes
    assert "note: 24 train images; the paper has 7,109" in notes


def test_copies_of_real_data_that_differ_are_two_layers(study, tmp_path):
    changes = {"dataset": "opixray", "data_root": "/a/OPIXray"}
    values = study.parameters.model_dump(mode="json") | changes
    one = archive.Reference(from_values(values), {("SSD", 0): FakeResult("1")}, {})
    moved = from_values(values | {"data_root": "/b/OPIXray"})
    same = archive.Reference(moved, {("SSD", 1): FakeResult("1")}, {})
    other = archive.Reference(moved, {("SSD", 2): FakeResult("2")}, {})
    layers = archive.merged([one, same, other])
    assert [list(layer.results) for layer in layers] == [[("SSD", 0), ("SSD", 1)], [("SSD", 2)]]


class FakeResult:
    def __init__(self, fingerprint):
        self.identity = {"fingerprint": fingerprint}


def test_the_archive_that_is_tampered_with_below_is_fine(files, rewritten):
    assert verify([rewritten(files)], lambda line: None)


# --- what is refused: files ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["README.txt", "{SSD}/weights.safetensors", "../runs.json", "x/"])
def test_a_foreign_file_is_refused(files, keys, rewritten, name):
    assert "REFUSED" in refusal(rewritten(files | {name.format_map(keys): b"x"}))


@pytest.mark.parametrize(
    "name",
    [
        "runs.json",
        *(f"{{SSD}}/{kind}.json" for kind in ("identity", "metrics", "provenance", "history")),
        *("{SSD}/kept.json", "{SSD}/detections.npz", "{SSD}/maps.npz", "test_sets"),
    ],
)
def test_a_missing_file_is_refused(files, keys, rewritten, name):
    gone = name.format_map(keys)
    left = {name: content for name, content in files.items() if not name.startswith(gone)}
    assert len(left) == len(files) - 1
    line = refusal(rewritten(left))
    assert "missing" in line or "0 test sets" in line


def test_a_run_that_is_not_listed_or_has_no_files_is_refused(files, keys, rewritten):
    key = keys["SSD"]
    index = json.loads(files["runs.json"])
    fewer = put(index, ("runs",), [run for run in index["runs"] if run["key"] != key])
    line = refusal(rewritten(files | {"runs.json": json.dumps(fewer)}))
    assert f"runs.json: run {key}; every folder is listed" in line
    left = {name: content for name, content in files.items() if not name.startswith(key)}
    assert f"run {key}" in refusal(rewritten(left))


def test_a_hostile_npz_is_refused(files, keys, rewritten):
    name = f"{keys['SSD']}/detections.npz"
    made = io.BytesIO()
    np.savez(made, **{key: np.array([{}]) for key in np.load(io.BytesIO(files[name]))})
    line = refusal(rewritten(files | {name: made.getvalue()}))
    assert name in line and "holds pickled objects" in line
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("score.npy", bytes(2**25))
    line = refusal(rewritten(files | {name: made.getvalue()}))
    assert f"{name}: 'score.npy': 33,554,432 bytes unpacked" in line


# --- what is refused: values --------------------------------------------------------------------


def still(epoch):
    return epoch | {"seconds": 0.0}


KEY = "0" * 16
TAMPERED = [
    # member, path, new value, words of the refusal
    ("runs.json", ("parameters", "epochs"), 2, "its configuration is not the one"),
    ("runs.json", ("parameters", "epochs"), "many", "epochs = 'many'"),
    ("runs.json", ("parameters", "colour"), 1, "no such parameter"),
    ("runs.json", ("parameters", "arms"), ["SSD"], "arm SSD+DOAM-T; the parameters name SSD"),
    ("runs.json", ("parameters", "arms"), "[" * 5000, "runs.json"),
    ("runs.json", ("parameters", "seeds"), [4], "seed 0; the parameters name 4"),
    ("runs.json", ("parameters", "data_seed"), 1, "its configuration is not the one"),
    ("runs.json", ("parameters", "test_images"), 13, "test_images = 13; the test set has 12"),
    ("runs.json", ("runs", 0, "arm"), "SSD+SE", "SSD+SE"),
    ("runs.json", ("runs", 0, "arm"), "\x1b[2J", "runs.0.arm"),
    ("runs.json", ("runs", 0, "arm"), "SSD+DOAM-T", "is listed 2 times"),
    ("runs.json", ("runs", 0, "seed"), -1, "runs.0.seed = -1"),
    ("runs.json", ("runs", 0, "key"), "../../etc", "runs.0.key"),
    ("runs.json", ("runs",), [], "runs = []"),
    ("identity.json", ("fingerprint",), KEY, f"made on data {KEY}"),
    ("identity.json", ("results_version",), 1, "made by results version 1"),
    ("identity.json", ("config", "seed"), 1, "its configuration is not the one"),
    ("identity.json", ("config", "training", "epochs"), 0, "config.training.epochs"),
    ("identity.json", ("config",), {}, "config.data: Field required"),
    ("provenance.json", ("seed",), 1, "seed = 1; the configuration has 0"),
    ("provenance.json", ("commit",), "abc; rm", "commit = 'abc; rm'"),
    ("provenance.json", ("dirty",), "no", "dirty = 'no'"),
    ("provenance.json", ("hardware", "cpu"), "A\u202eB", "hardware.cpu"),
    ("provenance.json", ("hardware", "cores"), 0, "hardware.cores = 0"),
    ("provenance.json", ("started",), "yesterday", "started = 'yesterday'"),
    ("provenance.json", ("starting_weights", "from"), "ImageNet", "starts from 'random, seed 0'"),
    ("provenance.json", ("precision",), "int8", "precision = 'int8'"),
    ("provenance.json", ("training_seconds",), 1e6, "training_seconds = 1000000.0"),
    ("provenance.json", ("evaluation_seconds",), None, "evaluation_seconds = None"),
    ("history.json", ("loss",), lambda old: old[:-1], "loss: 2 steps; 1 epochs of 24 images"),
    ("history.json", ("loss", 0), lambda old: old + 1, "epochs[0] = "),
    ("history.json", ("loss", 0), -1.0, "loss.0 = -1.0"),
    ("history.json", ("loss", 0), True, "loss.0 = True"),
    ("history.json", ("learning_rate", 1), 0.01, "learning_rate[1] = 0.01"),
    ("history.json", ("learning_rate",), lambda old: [*old, 0.1], "learning_rate: 4 steps"),
    ("history.json", ("retrained", 1), True, "retrained is not true there"),
    ("history.json", ("epochs", 0, "steps"), 2, "epochs[0]: 2 steps"),
    ("history.json", ("epochs", 0, "loss"), 1.0, "epochs[0] = 1.0"),
    ("history.json", ("epochs", 0, "test_mAP"), 0.9, "test_mAP = 0.9"),
    (
        "history.json",
        ("epochs",),
        lambda old: [*old, still(old[0])],
        "epochs: 2; the configuration",
    ),
    ("metrics.json", ("AP", "mAP"), 1.01, "AP.mAP = 1.01"),
    ("metrics.json", ("AP", "Scissor"), "0.5", "AP.Scissor = '0.5'"),
    ("metrics.json", ("AP", "Chainsaw"), 0.5, "AP: keys"),
    ("metrics.json", ("levels", "OL4"), {}, "levels: keys"),
    ("metrics.json", ("images",), 1776, "images = 1776"),
    ("metrics.json", ("train_images",), 7109, "train_images = 7109"),
    ("metrics.json", ("detections",), 10**6, "detections = 1000000"),
    ("metrics.json", ("detections",), 3, "detections = 3"),
    ("metrics.json", ("COCO", "AP50"), 0.9, "COCO.AP50 = 0.9"),
    ("metrics.json", ("COCO", "AP50:95"), 0.9, "COCO.AP50:95 = 0.9; at most AP50"),
    ("metrics.json", ("attention",), {"own": 0.0}, "attention: own; this arm has none"),
    ("metrics.json", ("maps", "gradcam", "lift_box", "mean"), 9.9, "lift_box.mean = 9.9"),
    ("metrics.json", ("maps", "gradcam", "random", "all", "lift_box"), 9.9, "all.lift_box = 9.9"),
    ("metrics.json", ("maps",), None, "maps = None"),
    ("metrics.json", ("extra",), 1, "extra = 1"),
    ("kept.json", ("AP", "mAP"), 0.5, "AP.mAP = 0.5; the archive's own files give"),
    ("kept.json", ("detections",), 7, "detections = 7"),
]


@pytest.mark.parametrize(("member", "path", "new", "words"), TAMPERED)
def test_a_changed_value_is_refused_by_name(files, keys, rewritten, member, path, new, words):
    name = member if member == "runs.json" else f"{keys['SSD']}/{member}"
    changed = put(json.loads(files[name]), path, new)
    line = refusal(rewritten(files | {name: json.dumps(changed)}))
    assert words in line and (name in line or "runs.json" in member), line


ARRAYS = [
    ("{SSD}/detections.npz", "image_index", lambda a: a + 12, "but the set has 12 images"),
    ("{SSD}/detections.npz", "image_index", lambda a: a * 0, "detections on one image"),
    ("{SSD}/detections.npz", "label", lambda a: a + 5, "but there are 5 classes"),
    ("{SSD}/detections.npz", "score", lambda a: a * np.nan, "score: nan"),
    ("{SSD}/detections.npz", "score", lambda a: a[::-1], "kept.json: "),
    ("{SSD}/detections.npz", "score", lambda a: a[1:], "scores of shape"),
    ("{SSD}/detections.npz", "box_scale", lambda a: a * np.inf, "box_scale: "),
    ("{SSD}/detections.npz", "box_scale", lambda a: a[:1], "box_scale: shape (1,)"),
    ("{SSD}/detections.npz", "boxes", lambda a: a[:, ::-1], "box has x2 < x1"),
    ("{SSD}/maps.npz", "gradcam_lift_box", lambda a: a + 1, "maps.gradcam.lift_box.mean"),
    ("{SSD}/maps.npz", "gradcam_cover", lambda a: a[1:], "gradcam_cover: 11 scores"),
    ("{SSD}/maps.npz", "images", lambda a: a[::-1], "images: other ones"),
    ("{SSD}/maps.npz", "attention_cover", lambda a: np.zeros(12, np.float32), "not of this arm"),
    ("{test}", "levels", lambda a: a + 3, "levels: "),
    ("{test}", "levels", lambda a: np.roll(a, 1), "metrics.json: "),
    ("{test}", "sizes", lambda a: a[1:], "sizes: shape (11, 2)"),
    ("{test}", "image_ids", lambda a: a[[0] * len(a)], "every image once"),
    ("{test}", "image_index", lambda a: a * 0 + 10**6, "image_index: 1000000"),
    ("{test}", "image_index", lambda a: np.repeat(a, 9)[: len(a)], "metrics.json: "),
    ("{test}", "label", lambda a: a % 5 + 1, "metrics.json: "),
    ("{test}", "boxes", lambda a: a * np.nan, "box is not finite"),
    ("{test}", "occlusion", lambda a: a / 2, "by_occlusion.median"),
    ("{test}", "classes", lambda a: a[::-1], "runs.json: classes Multi-tool_Knife"),
]


@pytest.mark.parametrize(("name", "array", "change", "words"), ARRAYS)
def test_a_changed_array_is_refused(files, keys, rewritten, name, array, change, words):
    (test,) = (name for name in files if name.startswith("test_sets/"))
    name = name.format_map(keys | {"test": test})
    arrays = dict(np.load(io.BytesIO(files[name])))
    changed = change(arrays.get(array))
    arrays[array] = changed if array == "attention_cover" else changed.astype(arrays[array].dtype)
    line = refusal(rewritten(files | {name: npz_bytes(**arrays)}))
    assert words in line, line


def test_a_test_set_that_would_take_gigabytes_to_check_is_refused(files, rewritten):
    (name,) = (name for name in files if name.startswith("test_sets/"))
    arrays = dict(np.load(io.BytesIO(files[name])))
    items = ("image_index", "label", "boxes", "occlusion")
    many = arrays | {key: np.repeat(arrays[key][:1], 101, axis=0) for key in items}
    line = refusal(rewritten(files | {name: npz_bytes(**many)}))
    assert "101 items on one image; at most 100" in line
    many = arrays | {key: np.repeat(arrays[key], 2000, axis=0) for key in items}
    assert "24,000 items; items, and" in refusal(rewritten(files | {name: npz_bytes(**many)}))


def test_arms_of_one_seed_on_two_kinds_of_processors_are_refused(files, keys, rewritten):
    name = f"{keys['SSD+DOAM-T']}/provenance.json"
    made = put(json.loads(files[name]), ("hardware", "device"), "Other GPU")
    line = refusal(rewritten(files | {name: json.dumps(made)}))
    kind = f"Other GPU, {made['precision']}"
    assert f"{name}: hardware {kind}; other arms of seed 0 were trained on " in line


def test_arms_that_start_from_different_files_are_refused(files, keys, rewritten):
    for arm in ("SSD", "SSD+DOAM-E"):
        name = f"{keys[arm]}/provenance.json"
        made = json.loads(files[name])
        made["starting_weights"]["sha256"] = f"{len(arm):064d}"
        files = files | {name: json.dumps(made)}
    assert "starting_weights.sha256 = 000" in refusal(rewritten(files))


def places(value, path=()):
    """Every place in a JSON value, itself included."""
    yield path
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_stands_in_place_of_a_value_no_check_breaks(files, rewritten, data):
    """The archive is fine or refused by a check: no other exception gets out."""
    name = data.draw(st.sampled_from([name for name in files if name.endswith(".json")]))
    value = json.loads(files[name])
    path = data.draw(st.sampled_from(list(places(value))))
    new = data.draw(ANYTHING)
    changed = put(value, path, new) if path else new
    try:
        check_archive(rewritten(files | {name: json.dumps(changed)}))
    except ArchiveError as refused:
        assert str(refused).isascii()


# --- numbers ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(files):
    """The run with maps and an attention map, under examination."""
    reference = archive.read_archive(archive._copy(files), "theirs.zip")
    result = reference.results["SSD+DOAM-T", 0]
    parameters = reference.parameters
    return PackedRun("theirs", "SSD+DOAM-T", 0, parameters, result, result.test_set())


def with_metrics(run, metrics):
    """The same run with other metrics."""
    result = Result(run.result._place, "reference")
    result.__dict__["metrics"] = metrics
    return PackedRun(run.place, run.arm, run.seed, run.parameters, result, run.test)


def can_be_computed(path):
    """Whether the archive holds enough to say what a number of metrics.json must be."""
    if path[0] in ("AP", "AP_11_point", "levels", "images", "items"):
        return True
    if path[0] == "by_occlusion":
        return path[1] == "median"
    if path[0] == "attention":
        return path[1] == "own"
    if path[0] == "maps":  # of randomised networks there is nothing but a list of draws
        return "random" not in path or path[-1] in ("lift_box", "lift_silhouette", "correlation")
    return False


def test_the_run_itself_is_fine(run):
    assert check_scores(run) == []


def test_maps_of_images_without_an_item_have_no_numbers_and_none_are_asked_for(run, monkeypatch):
    monkeypatch.setattr("doamlib.evaluation.map_scores.summary", lambda table: {})
    assert check_scores(with_metrics(run, run.result.metrics | {"maps": {}})) == []
    with pytest.raises(ArchiveError, match=r"metrics\.json: "):
        check_scores(run)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_number_that_can_be_computed_again_is_refused_when_changed(run, data):
    metrics = run.result.metrics
    known = [(path, value) for path, value in leaves(metrics) if can_be_computed(path)]
    assert len(known) > 80
    path, value = data.draw(st.sampled_from(known))
    share = path[0] != "maps" and isinstance(value, float)
    drawn = st.floats(0, 1) if share else st.floats(-100, 100) | st.integers(0, 10**4)
    other = data.draw(drawn.filter(lambda new: abs(new - value) > 1e-4 * max(1, abs(value))))
    with pytest.raises(ArchiveError) as refused:
        check_scores(with_metrics(run, put(metrics, path, other)))
    assert "metrics.json: " in str(refused.value) or "test_mAP" in str(refused.value)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_score_of_the_kept_detections_is_refused_when_changed(run, data):
    kept = json.loads(run.result.read("kept.json"))
    path, value = data.draw(st.sampled_from(list(leaves(kept))))
    other = data.draw(st.floats(0, 1).filter(lambda new: abs(new - value) > 1e-8))
    with pytest.raises(ArchiveError, match=r"kept\.json: "):
        run.same(put(kept, path, other), kept, "kept.json", 1e-9)


def test_a_table_raised_with_all_its_means_is_beyond_what_detections_allow(run):
    """Nothing contradicts itself here; only the detections tell that it cannot be."""
    metrics = copy.deepcopy(run.result.metrics)
    assert 0.4 < metrics["AP"]["mAP"] < 0.9
    high = ap_bounds(run.result.detections(), run.test, 20, 200)[1]
    assert high["AP"]["mAP"] < 0.95
    raised = {name: 0.99 for name in metrics["AP"]}
    metrics["AP"], metrics["COCO"] = raised, {"AP50": 0.99, "AP50:95": 0.6}
    metrics["attention"]["own"] = 0.99
    other = with_metrics(run, metrics)
    other.result.__dict__["history"] = copy.deepcopy(run.result.history)
    other.result.history.epochs[-1]["test_mAP"] = 0.99
    with pytest.raises(ArchiveError, match=r"AP\.\w+ = 0\.99; with the detections kept it lies in"):
        check_scores(other)


@pytest.mark.parametrize("arm", ARMS_BY_NAME)
def test_attention_is_asked_what_a_run_of_the_arm_stores(smoke, arm):
    config = run_config(smoke, ARMS_BY_NAME[arm], 0)
    doam = config.detector.doam and DOAM(config.detector.doam)
    stored = {"own", *exchanges(doam)} if doam else set()
    if has_map(doam):
        stored |= {"attention_mean", "attention_sd", "saturated"}
    stored |= {"gamma"} if hasattr(doam, "gamma") else set()
    assert attention_keys(config) == stored


def test_differences_are_found_by_path_and_shape():
    stored = {"a": [1, 2.0], "b": {"c": None}, "d": True}
    assert list(differences(stored, {"a": [1, 2.0], "b": {"c": None}, "d": True})) == []
    assert list(differences(stored, stored | {"a": [1, 3.0]})) == [("a[1]", 2.0, 3.0)]
    assert list(differences(stored, stored | {"b": {"c": 1.0}})) == [("b.c", None, 1.0)]
    assert list(differences(stored, stored | {"a": [1]})) == [("a", "a list of 2", "a list of 1")]
    assert list(differences(stored, stored | {"d": 1})) == [("d", True, 1)]
    (shape,) = differences(stored, {"a": 1})
    assert shape == ("", "keys a, b, d", "keys a")


# --- bounds -------------------------------------------------------------------------------------


def toy(detections, items=(0, 20)):
    """One image of one class with items at these x, and detections (score, x), all 10 pixels."""
    boxes = np.array([[x, 0.0, x + 10, 10] for x in items])
    truth = GroundTruth(np.zeros(len(items), int), np.ones(len(items), int), boxes, 1)
    none = np.full(len(items), np.nan)
    test = TestSet(("a",), ("i",), np.array([[99, 99]]), np.array([1]), truth, none)
    table = np.array(detections, float).reshape(-1, 2)
    found = np.stack([[x, 0, x + 10, 10] for x in table[:, 1]])
    ones = np.ones(len(table), int)
    return test, Detections(ones * 0, ones, table[:, 0].astype(np.float32), found)


def test_bounds_by_hand():
    """Two items, the first found at 0.9, a false positive at 0.8, and one more may come.

    At best it finds the second item at 0.8: precision 1 at recall 1/2, and 2/3 behind it, where the
    false positive of the same score counts: AP (1 + 2/3) / 2. At worst it finds nothing: AP 1/2.
    """
    test, kept = toy([(0.9, 0), (0.8, 70)])
    low, high = ap_bounds(kept, test, strongest=2, per_image=3)
    assert low["AP"] == {"a": 0.5, "mAP": 0.5}
    assert high["AP"] == pytest.approx({"a": 5 / 6, "mAP": 5 / 6})
    assert low["levels"]["OL1"]["mAP"] == 0.5


def test_of_two_items_with_one_box_only_the_first_can_be_found():
    """At best one more hit, at the score of the false positive: precision 1/2 at recall 1/2."""
    test, kept = toy([(0.9, 70)], items=(0, 0))
    low, high = ap_bounds(kept, test, strongest=1, per_image=9)
    assert (low["AP"]["a"], high["AP"]["a"]) == (0, 0.25)


def test_an_image_with_fewer_detections_than_are_kept_hides_none():
    test, kept = toy([(0.9, 0), (0.8, 70)])
    low, high = ap_bounds(kept, test, strongest=3, per_image=200)
    assert low == high == score_matches(test.match(kept), test)


@st.composite
def detection_sets(draw):
    """Three images, two classes, ties, duplicates and misses, and O of every item."""
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    items, found = random.integers(1, 9), random.integers(1, 40)
    corners = random.integers(0, 5, (items, 2)) * 12.0
    boxes = np.hstack([corners, corners + 12])
    truth = GroundTruth(random.integers(0, 3, items), random.integers(1, 3, items), boxes, 3)
    levels, sizes = random.integers(0, 4, 3), np.full((3, 2), 99)
    test = TestSet(("a", "b"), ("1", "2", "3"), sizes, levels, truth, random.random(items))
    near = boxes[random.integers(0, items, found)] + random.integers(-4, 5, (found, 1))
    scores = random.choice([0.1, 0.2, 0.3, 0.5, 0.9], found).astype(np.float32)
    places = random.integers(0, 3, found), random.integers(1, 3, found)
    return test, Detections(*places, scores, near)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(detection_sets(), st.integers(1, 6))
def test_what_all_detections_score_lies_within_the_bounds_of_the_strongest(sets, strongest):
    test, detections = sets
    per_image = int(np.bincount(detections.image_index).max())
    kept = detections.strongest(strongest)
    low, high = ap_bounds(kept, test, strongest, max(strongest, per_image))
    whole = score_matches(test.match(detections), test)
    for table in ("AP", "AP_11_point", "levels", "by_occlusion"):
        ends = dict(leaves(low[table])), dict(leaves(high[table]))
        for path, value in leaves(whole[table]):
            assert ends[0][path] - 1e-9 <= value <= ends[1][path] + 1e-9, (table, path)


# --- histories ----------------------------------------------------------------------------------


def test_few_shots_are_of_each_class_that_the_data_have(smoke):
    """Five shots of three classes are 15 images, not 25."""
    config = run_config(smoke, ARMS_BY_NAME["SSD, 5 shots"], 0, ("gun", "knife", "wrench"))
    result = SimpleNamespace(config=config, metrics={"train_images": 15})
    assert training_images(PackedRun("theirs", "SSD, 5 shots", 0, smoke, result, None)) == 15


@pytest.mark.parametrize("arm", ["SSD+SE", "SSD+DOAM-E", "SSD+DOAM-O, equal steps"])
def test_learning_rates_are_those_of_training(study, arm):
    changes = {"arms": [arm], "epochs": 3, "batch_size": 4}
    parameters = from_values(study.parameters.model_dump(mode="json") | changes)
    (result,) = Study(parameters, lambda line: None, study.store).results().values()
    rates = learning_rates(result.config, result.history, 6)
    np.testing.assert_allclose(rates, result.history.learning_rate, rtol=1e-12)
    assert any(result.history.retrained) == (arm != "SSD+SE")


POOLS = [
    ((), [], "pool: 0 retrainings"),
    ((0, "retrained"), 7, "7 retrained in epoch 0"),
    ((0, "epoch"), 5, "retrained in epoch 5"),
    ((0, "batches", 0, "indices", 0), 24, "image index 24; there are 24 training images"),
    ((0, "batches"), lambda old: old * 9, "9 held; the pool holds 1"),
]


@pytest.mark.parametrize(("path", "new", "words"), POOLS)
def test_a_changed_pool_is_refused(files, keys, rewritten, path, new, words):
    name = f"{keys['SSD+DOAM-E']}/history.json"
    changed = put(json.loads(files[name]), ("pool", *path), new)
    assert words in refusal(rewritten(files | {name: json.dumps(changed)}))


def test_kept_json_is_what_the_packed_detections_score(packed):
    result = references(packed.parent)[0].results["SSD", 0]
    kept = json.loads(result.read("kept.json"))
    assert kept == score(result.detections(), result.test_set())
    assert kept["detections"] <= 20 * kept["images"] < result.metrics["detections"]


def test_nothing_is_unpacked_to_the_disk(packed, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("extracted")

    for name in ("extract", "extractall"):
        monkeypatch.setattr(zipfile.ZipFile, name, refuse)
    before = sorted(Path(packed.parent).iterdir())
    check_archive(packed)
    assert sorted(Path(packed.parent).iterdir()) == before
