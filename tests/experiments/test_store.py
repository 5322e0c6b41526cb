"""The run store: trained once, never half finished, found again, stale when it has to be."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import load_file

from doamlib.core import paths, provenance
from doamlib.evaluation import map_scores
from doamlib.experiments import results, run_end
from doamlib.experiments.arms import ARMS, READINGS, SWITCHES
from doamlib.experiments.parameters import from_file
from doamlib.experiments.results import Result
from doamlib.experiments.store import RunStore
from doamlib.experiments.study import Study, run_config
from doamlib.experiments.train_run import Limits, result_of
from doamlib.training import OutOfTime, Training

REPOSITORY = Path(__file__).parents[2]


def quiet(line):
    pass


@pytest.fixture
def config(smoke):
    return run_config(smoke, ARMS["SSD"], seed=0)


@pytest.fixture
def result(study):
    return study.results(["SSD"])["SSD", 0]


def test_key_names_configuration_data_and_version(config, smoke, monkeypatch):
    key = config.key("f" * 16)
    assert key == run_config(smoke, ARMS["SSD"], 0).key("f" * 16)
    others = {
        run_config(smoke, ARMS["SSD"], 1).key("f" * 16),
        run_config(smoke, ARMS["SSD+DOAM-T"], 0).key("f" * 16),
        config.key("e" * 16),
    }
    monkeypatch.setattr(results, "RESULTS_VERSION", results.RESULTS_VERSION + 1)
    others.add(config.key("f" * 16))
    assert len(others) == 4 and key not in others


def test_a_result_holds_everything(result, config, study):
    assert result.config == config
    assert result.identity["fingerprint"] == study.fingerprint
    assert 0 <= result.ap() <= 100
    assert result.metrics["images"] == len(study.data.test)
    assert len(result.history.loss) == 3
    assert set(result.provenance) >= {
        *("commit", "dirty", "packages", "hardware", "started", "seed"),
        *("training_seconds", "evaluation_seconds"),
    }
    assert result.weights().is_file()
    assert len(result.test_set().image_ids) == len(study.data.test)
    assert np.isfinite(result.test_set().occlusion).all()


def test_a_copy_that_was_compared_with_a_commit_is_told_which(monkeypatch):
    """Whatever checkout it was laid over: that one's commit is not what runs."""
    monkeypatch.setenv("DOAM_COMMIT", "abc123")
    record = provenance.record(torch.device("cpu"))
    assert (record["commit"], record["dirty"]) == ("abc123", False)


def test_a_copy_without_git_is_told_its_commit(monkeypatch):
    monkeypatch.setattr(provenance, "_git", lambda *arguments: "")
    for told, commit, dirty in (
        ("", "unknown", None),
        ("abc123", "abc123", False),
        ("abc123-dirty", "abc123", True),
    ):
        monkeypatch.setenv("DOAM_COMMIT", told)
        record = provenance.record(torch.device("cpu"))
        assert (record["commit"], record["dirty"]) == (commit, dirty)


def test_what_exists_is_not_trained_again(result, study, config, monkeypatch):
    monkeypatch.setattr(Training, "run", lambda *a: pytest.fail("trained again"))
    again = result_of(study.store, config, study.data, study.device, quiet)
    assert again.key == result.key


def test_same_seed_same_bits(result, study, config, tmp_path):
    again = result_of(RunStore(tmp_path), config, study.data, study.device, quiet)
    assert again.metrics == result.metrics
    assert again.history.loss == result.history.loss
    one, other = load_file(again.weights()), load_file(result.weights())
    assert all(np.array_equal(one[name], other[name]) for name in other)


def test_a_result_without_weights_has_no_detector(result, tmp_path):
    copy = tmp_path / result.key
    shutil.copytree(result._place, copy)
    (copy / "weights.safetensors").unlink()
    with pytest.raises(ValueError, match=f"reference/{result.key} keeps no weights; train this"):
        Result(copy, "reference").detector()


def test_a_trained_first_layer_comes_back_where_training_began_with_a_fresh_one(smoke, tmp_path):
    from doamlib.models.detector import build_detector, save_weights

    config = run_config(smoke, ARMS["SSD+DOAM-T, fresh first layer"], 0)
    made = build_detector(config.detector, seed=5)
    save_weights(made, tmp_path / "weights.safetensors")
    (tmp_path / "identity.json").write_text(json.dumps(config.identity("x")))
    own = Result(tmp_path, "local").detector().state_dict()
    assert all(torch.equal(own[name], value) for name, value in made.state_dict().items())


def test_weights_give_the_stored_detections(result, study):
    from doamlib.evaluation.test_set import detect
    from doamlib.models.detector import build_detector, load_weights

    detector = build_detector(result.config.detector, seed=99)
    assert load_weights(detector, result.weights()) == []
    own = result.detector()
    assert not own.training
    assert all(np.array_equal(own.state_dict()[n], t) for n, t in detector.state_dict().items())
    test = study.data.cached("test", detector.image_size, 1, quiet)
    found = detect(detector, test, study.device)
    stored = result.detections()
    np.testing.assert_array_equal(found.label, stored.label)
    np.testing.assert_allclose(found.score, stored.score, rtol=1e-5)


def test_an_error_at_the_very_end_leaves_nothing_that_looks_finished(
    study, config, tmp_path, monkeypatch
):
    store = RunStore(tmp_path, reference=tmp_path / "none")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(run_end, "score", fail)
    with pytest.raises(OSError, match="disk full"):
        result_of(store, config, study.data, study.device, quiet)
    assert store.find(config, study.fingerprint) is None
    assert not store.digests()
    monkeypatch.undo()
    monkeypatch.setattr(Training, "_run_epoch", lambda self: pytest.fail("trained again"))
    assert result_of(store, config, study.data, study.device, quiet).metrics["images"] > 0
    assert not (tmp_path / "partial" / config.key(study.fingerprint)).exists()


def test_maps_are_the_last_step_and_wait_where_time_is_over(study, config, tmp_path, monkeypatch):
    """The deadline passes in the last epoch: no maps now, and next time nothing is retrained."""
    store = RunStore(tmp_path)
    drawn = "doamlib.evaluation.maps.maps_of_run"
    monkeypatch.setattr(drawn, lambda *_: pytest.fail("maps drawn after the deadline"))
    clock = iter([0.0, *[99.0] * 9])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with pytest.raises(OutOfTime):
        result_of(store, config, study.data, study.device, quiet, Limits(deadline=10.0))
    assert store.find(config, study.fingerprint) is None
    monkeypatch.undo()
    monkeypatch.setattr(Training, "_run_epoch", lambda self: pytest.fail("trained again"))
    assert "maps" in result_of(store, config, study.data, study.device, quiet).metrics


def test_an_explained_run_keeps_its_maps_and_another_draws_none(result, study, tmp_path):
    maps = result.metrics["maps"]
    assert set(maps) == {"gradcam", "edges", "darkness"}
    assert maps["gradcam"]["random"]["all"]["images"] == len(study.data.test)
    with np.load(io.BytesIO(result.read("maps.npz"))) as arrays:
        scores = map_scores.tidy(dict(arrays), result.test_set())
    found = scores[scores["map"] == "edges"].groupby("image").lift_box.mean().mean()
    assert found == pytest.approx(maps["edges"]["lift_box"]["mean"])
    focal = result.config.detector.model_copy(update={"focal_loss": True})
    config = result.config.model_copy(update={"detector": focal})
    other = result_of(RunStore(tmp_path), config, study.data, study.device, quiet)
    assert "maps" not in other.metrics and other.read("maps.npz") is None


def test_which_runs_are_explained(smoke):
    explained = {name for name, arm in ARMS.items() if run_config(smoke, arm, 0).explained}
    pools = {f"SSD+DOAM-O{more}" for more in ("", ", hard images", ", by losses")}
    named = {"SSD", "SSD+DOAM-T", *pools, *READINGS, *SWITCHES}
    others = {f"SSD+DOAM-T, {what}" for what in ("fresh first layer", "standardised inputs")}
    assert explained == named | others
    warm = smoke.model_copy(update={"warm_start": "harmless"})
    assert not run_config(warm, ARMS["SSD"], 0).warm_run().explained


def test_a_default_that_has_changed_since_is_not_mistaken_for_the_old_one(
    result, study, config, tmp_path
):
    """The key leaves defaults out; the stored configuration does not. It makes room."""
    shutil.copytree(paths.runs() / result.key, tmp_path / result.key)
    path = tmp_path / result.key / "identity.json"
    identity = json.loads(path.read_text())
    identity["config"]["detector"]["nms_iou"] = 0.5
    path.write_text(json.dumps(identity))
    store = RunStore(tmp_path)
    assert store.find(config, study.fingerprint) is None
    again = result_of(store, config, study.data, study.device, quiet)
    assert again.key == result.key and again.config == config
    assert again.metrics == result.metrics
    assert not list((tmp_path / "partial").iterdir())


def test_a_run_that_another_processor_began_begins_anew(
    result, study, config, tmp_path, monkeypatch
):
    """Interrupted after its last epoch there: no epoch of it counts here."""
    store, lines = RunStore(tmp_path, reference=tmp_path / "none"), []
    with monkeypatch.context() as there:
        there.setattr("doamlib.core.provenance._cpu", lambda: "Abacus 3000")
        there.setattr(run_end, "score", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            result_of(store, config, study.data, study.device, quiet)
    again = result_of(store, config, study.data, study.device, lines.append)
    told = next(line for line in lines if "begins anew" in line)
    assert "checkpoint.pt" in told and "Abacus 3000" in told and results.processor(again) in told
    assert any(line.startswith("epoch 1/1") for line in lines)
    assert again.metrics == result.metrics


def test_digest_follows_the_stored_numbers(result, tmp_path):
    shutil.copytree(paths.runs() / result.key, tmp_path / result.key)
    copy = results.Result(tmp_path / result.key, "local")
    assert copy.digest() == result.digest()
    metrics = json.loads((tmp_path / result.key / "metrics.json").read_text())
    metrics["AP"]["mAP"] += 0.01
    (tmp_path / result.key / "metrics.json").write_text(json.dumps(metrics))
    assert copy.digest() != result.digest()


def _parameter_file(folder, **changes):
    """Of an arm with a pool and without maps, whose drawing is most of a short run."""
    values = yaml.safe_load((REPOSITORY / "params" / "smoke.yaml").read_text())
    path = folder / "p.yaml"
    path.write_text(json.dumps({**values, "arms": ["SSD+DOAM-E"], **changes}))  # JSON is YAML
    return path


def _train(file, home, **options):
    doam = Path(sys.executable).with_name("doam")
    return subprocess.Popen(
        [doam, "train", "-f", file, "--no-estimate"],
        env={**os.environ, "DOAM_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.slow
def test_killed_for_real_and_resumed_gives_the_same_bits(study, home, tmp_path):
    """kill -9 after the first checkpoint; the next call ends with an uninterrupted run's bits."""
    file, own = _parameter_file(tmp_path, epochs=3, horizontal_flip=True), tmp_path / "killed"
    own.mkdir()
    (own / "datasets").symlink_to(home / "datasets")
    process = _train(file, own)
    while not list((own / "runs").glob("partial/*/checkpoint.pt")):
        assert process.poll() is None, "finished before it could be killed"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not list((own / "runs").glob("*/identity.json"))
    output, _ = _train(file, own).communicate()
    assert "epoch 3/3" in output and "epoch 1/3" not in output
    ((made),) = (own / "runs").glob("*/identity.json")
    killed = results.Result(made.parent, "local")
    uninterrupted = Study(from_file(file), quiet, RunStore(tmp_path / "whole", tmp_path / "none"))
    ((whole),) = uninterrupted.results().values()
    assert killed.metrics == whole.metrics
    assert killed.history.loss == whole.history.loss
    one, other = load_file(killed.weights()), load_file(whole.weights())
    assert all(np.array_equal(one[key], other[key]) for key in other)


@pytest.mark.slow
def test_two_processes_that_want_one_run_train_it_once(study, home, tmp_path):
    (tmp_path / "datasets").symlink_to(home / "datasets")
    file = _parameter_file(tmp_path, seeds=[3])
    pair = [_train(file, tmp_path) for _ in range(2)]
    outputs = [process.communicate()[0] for process in pair]
    assert all("mAP" in output for output in outputs)
    assert sum(output.count("epoch 1/1") for output in outputs) == 1
