"""Runs on other machines: trained once, the bits of this one, nothing lost with a worker."""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from filelock import FileLock
from safetensors.numpy import load_file

from doamlib import cli
from doamlib.core import paths
from doamlib.core.report import Refusal
from doamlib.experiments import cluster_worker
from doamlib.experiments.store import RunStore
from doamlib.experiments.study import Study
from doamlib.training import OutOfTime

pytest.importorskip("distributed")
from doamlib.experiments import cluster, cluster_client

SMALL = {"train_images": 16, "test_images": 6, "field_of_view": 0.25, "warm_images": 8}
"""Of the runs here, so that a worker makes their images in a second."""

SMOKE = yaml.safe_load((paths.repository() / "params" / "smoke.yaml").read_text())
PATIENCE = 300.0
"""Seconds after which a process that these tests started is taken for stuck."""


@contextmanager
def process(*command, home=None, path=None, **options):
    """A child process whose error lines go where pytest shows them; killed at the end."""
    places = [str(path)] if path else []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*places, *sys.path])}
    environment |= {"DOAM_HOME": str(home)} if home else {}
    child = subprocess.Popen([sys.executable, *map(str, command)], env=environment, **options)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


@contextmanager
def scheduler(folder):
    """A Dask scheduler on loopback; its address and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    command = ("-m", "distributed.cli.dask_scheduler", "--no-dashboard", "--host", address)
    with process(*command, cwd=folder, stderr=subprocess.DEVNULL) as child:
        until(lambda: answers(address), child)
        yield SimpleNamespace(address=address, process=child)


@contextmanager
def worker(address, home, path=None, threads=1):
    """A worker with one slot and a home of its own; yields its process."""
    command = ("-m", "distributed.cli.dask_worker", address, "--no-nanny", "--memory-limit", 0)
    command += ("--nthreads", threads, "--resources", "core=1", "--no-dashboard")
    home.mkdir(parents=True, exist_ok=True)
    command += ("--name", home.name, "--local-directory", home / "dask")
    with process(*command, home=home, path=path, cwd=home, stderr=subprocess.DEVNULL) as child:
        yield child


def answers(address):
    host, _, port = address.removeprefix("tcp://").partition(":")
    try:
        socket.create_connection((host, int(port))).close()
    except OSError:
        return False
    return True


def until(true, *children):
    end = time.monotonic() + PATIENCE
    while not true():
        assert all(child.poll() is None for child in children), "it ended too early"
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A scheduler with two workers, whose homes are the folders ``one`` and ``other``."""
    folder = tmp_path_factory.mktemp("cluster")
    homes = (folder / "one", folder / "other")
    with scheduler(folder) as found, ExitStack() as workers:
        for home in homes:
            workers.enter_context(worker(found.address, home))
        from distributed import Client

        with Client(found.address) as client:
            client.wait_for_workers(2, timeout=PATIENCE)
        yield SimpleNamespace(address=found.address, homes=homes)


@pytest.fixture(scope="module")
def frail(tmp_path_factory):
    """A scheduler whose workers get lost; ``start(home)`` gives it one more."""
    folder = tmp_path_factory.mktemp("frail")
    with scheduler(folder) as found, ExitStack() as workers:

        def start(home):
            living.append(workers.enter_context(worker(found.address, home)))

        living = []
        yield SimpleNamespace(**vars(found), folder=folder, start=start, living=living)


@pytest.fixture
def lines():
    return []


@pytest.fixture
def wanted(smoke, tmp_path, lines):
    """Makes a study of quick runs with a store of its own; says its lines to ``lines``."""

    def make(name="store", arms=("SSD+SE",), **changes):
        changes |= {"arms": arms, "device": "cpu", "processes": 1, **SMALL}
        store = RunStore(tmp_path / name, reference=tmp_path / "none")
        return Study(smoke.model_copy(update=changes), lines.append, store)

    return make


def same_bits(one, other):
    assert one.metrics == other.metrics
    assert one.history.loss == other.history.loss
    assert one.provenance["starting_weights"] == other.provenance["starting_weights"]
    assert one.test_set().image_ids == other.test_set().image_ids
    weights = [load_file(result.weights()) for result in (one, other)]
    return all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[1])


def test_an_address_that_leads_nowhere_is_one_line(wanted, monkeypatch):
    monkeypatch.setattr(cluster_client, "TIMEOUT", 0.5)
    for address, told in (
        ("local:many", "say how many processes"),
        ("local:0", "say how many processes"),
        ("tcp://127.0.0.1:1", "no Dask scheduler answers there"),
        ("nonsense://x", "no Dask scheduler answers there"),
    ):
        with pytest.raises(cluster.ClusterError, match=told) as failed:
            cluster.train_on(address, wanted())
        assert address in str(failed.value) and "\n" not in str(failed.value)


def test_without_the_extra_the_command_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "doamlib.experiments.cluster_client")
    with pytest.raises(cluster.ClusterError) as failed:
        importlib.import_module("doamlib.experiments.cluster_client")
    assert isinstance(failed.value, Refusal)  # in a notebook: no traceback
    assert str(failed.value) == (
        "--cluster needs the package distributed: pip install -e '.[cluster]'"
    )


def test_a_worker_of_another_kind_may_take_nothing():
    ours, alone = cluster_worker.versions(), SimpleNamespace(state=SimpleNamespace(nthreads=1))
    assert {"doamlib", "torch"} <= ours.keys()
    assert cluster_worker.unfit(ours, alone) == ""
    other = ours | {"torch": "1.0"}
    assert "another version of torch" in cluster_worker.unfit(other, alone)
    several = SimpleNamespace(state=SimpleNamespace(nthreads=8))
    assert "--nthreads 1 --nworkers 8" in cluster_worker.unfit(ours, several)


def test_a_run_is_taken_once_and_only_with_its_warm_start(wanted):
    """What another process makes is left to it, and so is what would start from that."""
    study = wanted(arms=("SSD+SE", "FCOS", "SSD+DA"), warm_start="harmless")
    runs = cluster._wanted(study)
    assert [run.name for run in runs] == [
        *("[warm start] ssd, seed 0", "[warm start] fcos, seed 0"),
        *("[1/3] SSD+SE, seed 0", "[2/3] FCOS, seed 0", "[3/3] SSD+DA, seed 0"),
    ]
    with ExitStack() as mine:
        assert list(cluster._taken(study.store, runs, mine)) == runs
        with ExitStack() as theirs:
            assert not cluster._taken(study.store, runs, theirs)
    locks = study.store.root / "locks"
    with FileLock(locks / runs[0].key), ExitStack() as mine:
        assert list(cluster._taken(study.store, runs, mine)) == [runs[1], runs[3]]
    with FileLock(locks / runs[2].key), ExitStack() as mine:
        assert runs[2] not in cluster._taken(study.store, runs, mine)


def test_a_result_of_another_run_is_not_put(wanted, tmp_path):
    study = wanted()
    (run,) = cluster._wanted(study)
    files = {"identity.json": json.dumps(run.config.identity("f" * 16)).encode()}
    with pytest.raises(cluster.ClusterError, match="another run"):
        cluster._put(study.store, run, tmp_path / "made", files)
    assert not study.store.digests()


@pytest.mark.slow
def test_two_machines_without_a_shared_folder_give_the_bits_of_one(two, wanted, lines):
    """The warm start is trained once; the runs that start from it take a worker each."""
    changes = {"arms": ("SSD+SE", "SSD+DA"), "warm_start": "harmless"}
    study = wanted("far", **changes)
    cluster.train_on(two.address, study)
    assert "2 workers" in lines[0]
    begun = [line.partition(": begins at ")[::2] for line in lines if "begins at" in line]
    assert sorted(name for name, _ in begun) == [
        *("[1/2] SSD+SE, seed 0", "[2/2] SSD+DA, seed 0", "[warm start] ssd, seed 0")
    ]
    assert len({place for name, place in begun if "warm" not in name}) == 2
    here, far = wanted("here", **changes).results(), study.results()
    assert all(same_bits(here[run], far[run]) for run in far)
    assert far.keys() == here.keys() and len(study.store.digests()) == 3
    for home in two.homes:  # each made its data itself, and keeps what it trained
        assert list((home / "datasets").glob("simulation-*/manifest.json"))
        assert list((home / "cluster").glob("*/*/identity.json"))


@pytest.mark.slow
def test_images_from_two_machines_are_those_of_one(two, tmp_path, monkeypatch, capsys):
    values = {**SMOKE, "train_images": 9, "test_images": 4, "data_seed": 5, "field_of_view": 0.2}
    file = tmp_path / "p.yaml"
    file.write_text(json.dumps(values))
    monkeypatch.setattr(cluster, "PIECE", 2)
    for target, more in (("far", ["--cluster", two.address]), ("here", [])):
        command = ["doam", "data", "make", tmp_path / target, "-f", file, *more]
        monkeypatch.setattr(sys, "argv", [*map(str, command)])
        with pytest.raises(SystemExit, match=r"^0$"):
            cli.main()
        assert ("2 workers at" in capsys.readouterr().out) == bool(more)
    far, here = tmp_path / "far", tmp_path / "here"
    assert (far / "manifest.json").read_bytes() == (here / "manifest.json").read_bytes()
    for image in here.glob("*/*_image/*.jpg"):
        assert image.read_bytes() == (far / image.relative_to(here)).read_bytes()


@pytest.mark.slow
def test_two_clients_at_once_share_what_both_want(two, tmp_path):
    """Three callers, two of them with one store: all get the result of one training."""
    file = tmp_path / "p.yaml"
    file.write_text(json.dumps({**SMOKE, **SMALL, "arms": ["SSD+SE"], "seeds": [7]}))
    command = ("-m", "doamlib.cli", "train", "-f", file, "--cluster", two.address)
    options = {"stdout": subprocess.PIPE, "text": True, "cwd": tmp_path}
    homes = [tmp_path / name for name in ("a", "a", "b")]
    with ExitStack() as children:
        callers = [
            children.enter_context(process(*command, home=home, **options)) for home in homes
        ]
        told = [caller.communicate(timeout=PATIENCE)[0] for caller in callers]
    assert all("mAP" in text for text in told)
    made = [list((home / "runs").glob("*/provenance.json")) for home in homes[1:]]
    assert [len(files) for files in made] == [1, 1]
    assert made[0][0].read_bytes() == made[1][0].read_bytes()
    assert len(list((two.homes[0].parent).glob(f"*/cluster/*/{made[0][0].parent.name}"))) == 1


@pytest.mark.slow
def test_a_worker_without_the_library_is_named(two, wanted, tmp_path):
    fake = tmp_path / "fake"
    (fake / "doamlib").mkdir(parents=True)
    (fake / "doamlib" / "__init__.py").write_text("raise ModuleNotFoundError('no doamlib')")
    from distributed import Client

    with worker(two.address, tmp_path / "bare", path=fake), Client(two.address) as client:
        client.wait_for_workers(3, timeout=PATIENCE)
        found = client.scheduler_info(n_workers=-1)["workers"]
        (bare,) = (address for address, one in found.items() if one["name"] == "bare")
        with pytest.raises(cluster.ClusterError) as failed:
            cluster.train_on(two.address, wanted())
    assert str(failed.value).startswith(f"worker {bare} cannot load this version of doamlib")
    assert "\n" not in str(failed.value)


@pytest.mark.slow
def test_after_the_deadline_nothing_is_trained(two, wanted, lines):
    study = wanted()
    with pytest.raises(OutOfTime):
        cluster.train_on(two.address, study, deadline=time.monotonic())
    assert not study.store.digests() and not any("epoch" in line for line in lines)


@pytest.mark.slow
def test_a_lost_worker_loses_no_result(frail, wanted, lines):
    """The second begins anew; the third sees the second's folder, and goes on from there."""
    homes = [frail.folder / name for name in ("first", "second", "third")]
    (frail.folder / "shared").mkdir()
    for home in homes:
        home.mkdir()
    for home in homes[1:]:
        (home / "cluster").symlink_to(frail.folder / "shared")
    frail.start(homes[0])

    def kill_at_the_second_epoch(line):
        lines.append(line)
        if "epoch 2/4" in line and len(frail.living) < 3:
            frail.living[-1].kill()
            frail.start(homes[len(frail.living)])

    study = wanted(epochs=4, horizontal_flip=True)
    study.report = kill_at_the_second_epoch
    cluster.train_on(frail.address, study)
    told = [line.partition(": epoch ")[2].split()[0] for line in lines if ": epoch " in line]
    assert told == ["1/4", "2/4", "1/4", "2/4", "3/4", "4/4"]
    assert sum("begins at" in line for line in lines) == 3
    ((made),) = study.results().values()
    ((alone),) = wanted("here", epochs=4, horizontal_flip=True).results().values()
    assert same_bits(alone, made)


@pytest.mark.slow
def test_a_caller_that_leaves_frees_its_worker_and_a_lost_scheduler_is_one_line(
    frail, wanted, lines
):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    if not frail.living:
        frail.start(frail.folder / "only")
    long = wanted(epochs=600)

    def at_an_epoch(act):
        def report(line):
            lines.append(line)
            if ": epoch " in line and not acted:
                acted.append(True)
                act()

        acted = []
        return report

    long.report = at_an_epoch(lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        cluster.train_on(frail.address, long)
    cluster.train_on(frail.address, short := wanted(seeds=(5,)))  # else it waits for the end
    assert len(short.store.digests()) == 1
    assert not list(frail.folder.glob(f"*/cluster/*/{cluster._wanted(long)[0].key}"))

    lines.clear()
    long.report = at_an_epoch(frail.process.kill)
    with pytest.raises(cluster.ClusterError, match="the scheduler went away") as failed:
        cluster.train_on(frail.address, long)
    assert "\n" not in str(failed.value)
    assert not any("epoch 10/" in line for line in lines)  # the first stop of 60: it went on
    until(lambda: frail.living[-1].poll() is not None)
    (run,) = cluster._wanted(long)
    with long.store.making(run.key, wait=0):
        pass
