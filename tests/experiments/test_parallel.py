"""Runs trained side by side: the bits of runs trained one by one, and no process left behind."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from doamlib.core.determinism import reproducible
from doamlib.core.workers import SPAWN, WorkerEnded, worker_processes
from doamlib.experiments.arms import ARMS
from doamlib.experiments.parallel import Task, Trainer
from doamlib.experiments.store import RunStore
from doamlib.experiments.study import Study, run_config
from doamlib.experiments.train_run import Limits
from doamlib.simulation import SimulationConfig, generate
from doamlib.training import OutOfTime, TrainingError


def quiet(line):
    pass


def nothing():
    pass


def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def trainer(study, folder, **changes):
    store = RunStore(folder, reference=folder / "none")
    limits = Limits(**{"runs_at_once": 2} | changes)
    return Trainer(store, torch.device("cpu"), study.data, limits)


@pytest.fixture
def tasks(smoke):
    return [Task(name, run_config(smoke, ARMS[name], 0)) for name in ("SSD", "SSD+DOAM-T")]


def test_side_by_side_gives_the_bits_of_one_after_the_other(study, smoke, tmp_path):
    """Whatever number of threads the process around has: both sides train with one."""
    lines, threads, arms = [], torch.get_num_threads(), ("SSD+SE", "SSD+DOAM-T")
    torch.set_num_threads(threads + 1)
    try:
        stores = {
            processes: Study(
                smoke.model_copy(update={"processes": processes, "device": "cpu", "arms": arms}),
                lines.append,
                RunStore(tmp_path / str(processes), reference=tmp_path / "none"),
            ).results()
            for processes in (1, 2)
        }
        assert torch.get_num_threads() == threads + 1
    finally:
        torch.set_num_threads(threads)
    for run, alone in stores[1].items():
        beside = stores[2][run]
        assert (alone.provenance["runs_at_once"], beside.provenance["runs_at_once"]) == (1, 2)
        assert beside.metrics == alone.metrics
        assert beside.history.loss == alone.history.loss
        one, other = load_file(alone.weights()), load_file(beside.weights())
        assert all(np.array_equal(one[name], other[name]) for name in other)
    told = [line for line in lines if "epoch 1/1" in line]
    assert sorted(line.partition(":")[0] for line in told) == [
        *["[1/2] SSD+SE, seed 0"] * 2,
        *["[2/2] SSD+DOAM-T, seed 0"] * 2,
    ]


def test_runs_at_once_are_bound_by_parameters_cores_and_what_is_missing(smoke, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 20)
    study = Study(smoke.model_copy(update={"processes": 16, "device": "cpu"}), quiet)
    assert [study.runs_at_once(missing) for missing in (0, 1, 3, 99)] == [1, 1, 3, 16]
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert study.runs_at_once(99) == 4
    assert study.processes == 16


def test_on_a_gpu_small_networks_share_it_and_full_size_ones_take_turns(smoke, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 20)
    several = smoke.model_copy(update={"processes": 12})
    for width, at_once in ((0.125, 12), (0.5, 12), (1.0, 1)):
        study = Study(several.model_copy(update={"width": width}), quiet)
        study.device = torch.device("cuda")
        assert study.runs_at_once(99) == at_once
        assert study.processes == 20  # images are made before anything is trained


def test_warm_starts_that_are_missing_are_trained_first_and_side_by_side(
    smoke, study, monkeypatch, tmp_path
):
    """Otherwise all runs of a detector would wait for the one that trains its warm start."""
    trained = []

    def record(trainer, tasks, report):
        trained.append((trainer.limits.runs_at_once, [(task.name, task.config) for task in tasks]))

    monkeypatch.setattr(Trainer, "train_all", record)
    monkeypatch.setattr("doamlib.experiments.study.open_data", lambda *arguments: study.data)
    changes = {"warm_start": "harmless", "arms": ("SSD", "SSD+SE", "FCOS"), "device": "cpu"}
    own = Study(smoke.model_copy(update=changes), quiet, RunStore(tmp_path, reference=tmp_path))
    own.results()
    (warm_at_once, warm), (_, runs) = trained
    assert [config for _, config in runs] == [run.config for run in own.plan()]
    assert [name for name, _ in warm] == ["[warm start] ssd, seed 0", "[warm start] fcos, seed 0"]
    assert [config for _, config in warm] == [runs[0][1].warm_run(), runs[2][1].warm_run()]
    assert warm_at_once == own.runs_at_once(2)


def test_out_of_time_leaves_nothing_finished_and_says_so(study, tasks, tmp_path):
    late = trainer(study, tmp_path, deadline=time.monotonic())
    with pytest.raises(OutOfTime):
        late.train_all(tasks, quiet)
    assert not late.store.digests()


def test_a_run_that_diverges_names_itself_and_stops_the_others(study, smoke, tasks, tmp_path):
    recipe = {"optimizer": "sgd", "learning_rate": 1e30, "clip_norm": 0.0, "epochs": 200}
    wild = smoke.model_copy(update=recipe)
    config = run_config(wild, ARMS["SSD"], 0)
    steady = run_config(smoke.model_copy(update={"epochs": 2000}), ARMS["SSD"], 0)
    with pytest.raises(TrainingError, match=r"^wild: step .* the loss is"):
        trainer(study, tmp_path).train_all([Task("wild", config), Task("steady", steady)], quiet)


ENDED = r"^a process was ended from outside \(memory\?\): lower processes .* goes on$"


def test_a_run_that_the_system_kills_is_told_in_one_line(study, tasks, tmp_path, monkeypatch):
    monkeypatch.setattr("doamlib.experiments.parallel._train_in_worker", killed)
    with pytest.raises(WorkerEnded, match=ENDED):
        trainer(study, tmp_path).train_all(tasks, quiet)


@pytest.mark.slow
def test_and_so_is_a_process_that_draws_images(tmp_path, monkeypatch):
    monkeypatch.setattr("doamlib.simulation.dataset._produce", killed)
    few = SimulationConfig(train_images=3, test_images=3, field_of_view=0.2)
    with pytest.raises(WorkerEnded, match=ENDED):
        generate(few, tmp_path / "data", 2, quiet)


def test_one_thread_inside_and_the_former_number_after():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with reproducible(torch.device("cpu")):
            assert torch.get_num_threads() == 1
            with reproducible(torch.device("cpu")):
                assert torch.get_num_threads() == 1
            assert torch.get_num_threads() == 1
            assert torch.are_deterministic_algorithms_enabled()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_who_only_warns_of_what_is_not_deterministic_does_so_again_after():
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with reproducible(torch.device("cpu")):
            assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.slow
def test_an_error_stops_the_workers_at_once():
    with pytest.raises(RuntimeError, match="enough"), worker_processes(1, nothing) as pool:
        worker = pool.submit(os.getpid).result()
        pool.submit(time.sleep, 600)
        raise RuntimeError("enough")
    assert not alive(worker)


@pytest.mark.slow
def test_and_leaves_the_processes_alone_that_were_there_before():
    other = SPAWN.Process(target=time.sleep, args=(600,))
    other.start()
    try:
        with pytest.raises(RuntimeError, match="enough"), worker_processes(1, nothing):
            raise RuntimeError("enough")
        assert other.is_alive()
    finally:
        other.kill()


PARENT = """
import os, sys, time
from doamlib.core.workers import worker_processes

if __name__ == "__main__":
    with worker_processes(1, os.getpid) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""


def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    for _ in range(600):
        if not alive(worker):
            return
        time.sleep(0.1)
    pytest.fail("the worker outlived its parent by a minute")


def alive(process):
    """False for a zombie too: it has ended, and nobody has asked for its status yet."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
