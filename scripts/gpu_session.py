"""Steps of scripts/reference_on_gpu.sh, one subcommand each; see there."""

from __future__ import annotations

import argparse
import importlib
import io
import json
import math
import os
import re
import shutil
import sys
import tarfile
import time
import zipfile
import zlib
from collections import defaultdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace

IMPORTED = (
    *("doamlib.cli", "doamlib.experiments.archive"),
    *("doamlib.evaluation.maps", "doamlib.simulation"),
)
"""All that ``doam train --pack`` imports; the book's floor, which wants Jupyter, is not in it."""

MAX_BYTES = 15 * 2**20
"""Of kept.tar.gz; one file that leaves the machine may have 16 MB."""

TRIAL = {
    "profile": "trial",
    "seeds": [0],
    "train_images": 64,
    "test_images": 32,
    "warm_images": 64,
    "epochs": 4,
    "warm_epochs": 4,
    "warmup_steps": 1,
}
UNFINISHED = 3
"""Exit status: nothing failed, and there is more to train."""


def lacking(wheels: Path) -> list[Path]:
    """Those wheels whose package is absent here or older than the wheel."""
    return [path for path in sorted(wheels.glob("*.whl")) if _installed(path) < _numbers(path)]


def _numbers(wheel: Path) -> tuple[int, ...]:
    return _release(wheel.name.split("-")[1])


def _release(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:4])


def _installed(wheel: Path) -> tuple[int, ...]:
    try:
        return _release(version(wheel.name.split("-")[0].replace("_", "-")))
    except PackageNotFoundError:
        return ()


def machine(file: Path) -> None:
    """Import everything; say what the machine is; refuse to train on a CPU unless told to."""
    for name in IMPORTED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            sys.exit(f"{error}: add the package to CARRIED in scripts/reference_on_gpu.sh")
    import torch

    from doamlib.experiments.parameters import from_file

    device = from_file(file).device
    if device != "cpu" and not torch.cuda.is_available():
        sys.exit(f"torch {torch.__version__} finds no GPU here, and {file} says device: {device}")
    name = "cpu" if device == "cpu" else torch.cuda.get_device_name()
    print(
        f"{name}, {os.cpu_count()} cores, Python {sys.version.split()[0]}, {torch.__version__=!s}"
    )


GRAPHED = ("SSD+DOAM-T", "YOLOv3+DOAM-T", "FCOS+DOAM-T")
"""Arms whose recorded step is compared with the ordinary one."""

ALLOWED = 0.05
"""Of the gradient's length: by so much the two steps may differ in bfloat16."""


def graphs(file: Path) -> None:
    """A step by CUDA graph must be the step without; prints both times. Does nothing on a CPU."""
    import torch

    from doamlib.experiments.arms import ARMS
    from doamlib.experiments.parameters import from_file
    from doamlib.experiments.study import run_config
    from doamlib.models.detector import build_detector
    from doamlib.models.graphs import graphed

    if not torch.cuda.is_available():
        return
    device, wanted = torch.device("cuda"), from_file(file)
    for arm in (arm for arm in GRAPHED if arm in wanted.arms):
        config = run_config(wanted, ARMS[arm], 0)
        detector = build_detector(config.detector, 0).to(device)
        step = _step_of(detector, config.training.precision, wanted.batch_size)
        (plain, again), slow = (step(), step()), _milliseconds(step)
        with graphed(detector, wanted.batch_size, config.training.precision, device, sys.exit):
            ours, fast = step(), _milliseconds(step)
        noise, off = ((x - plain).norm() / plain.norm() for x in (again, ours))
        print(
            f"  {arm:16} {slow:6.2f} ms a step, {fast:6.2f} by graph; gradients differ by {off:.1e}"
        )
        print(f"  {'':16} (two ordinary steps by {noise:.1e})")
        if not off < ALLOWED:
            sys.exit(f"{arm}: the graph's gradient is another one")


def _step_of(detector, precision: str, images: int):
    """Forward, loss and backward of one made-up batch; gives the gradient as one vector."""
    import torch

    from doamlib.core.precision import forward_in

    device = detector.mean.device
    shape = (images, 3, detector.image_size, detector.image_size)
    batch = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    box = torch.tensor([[10.0, 12, 50, 40], [30, 20, 80, 90]])
    targets = [
        {"boxes": box[: 1 + i % 2], "labels": torch.tensor([1, 3])[: 1 + i % 2]}
        for i in range(images)
    ]
    detector.train()

    def step():
        detector.zero_grad(set_to_none=True)
        with forward_in(precision, device):
            loss = sum(detector(batch, targets).values())
        loss.backward()
        return torch.cat([p.grad.flatten() for p in detector.parameters()])

    return step


def _milliseconds(step, times: int = 20) -> float:
    import torch

    step()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(times):
        step()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / times * 1000


def write_trial(file: Path, to: Path) -> None:
    """The parameters with a handful of images and one seed."""
    _write(for_this_machine(file) | TRIAL, to)


def write_brief(file: Path, to: Path) -> None:
    """The trial from the shipped starting weights: no warm start is trained."""
    few = {name: value for name, value in TRIAL.items() if not name.startswith("warm_")}
    _write(for_this_machine(file) | few | {"epochs": 2}, to)


def for_this_machine(file: Path) -> dict:
    """The validated parameters as plain values, with a process a core: small runs share a GPU.

    Of a seed the dearest arms come first, so that none begins when all others end.
    """
    from doamlib.experiments.parameters import from_file

    values = from_file(file).model_dump(mode="json")
    dear = ("FCOS+", "YOLOv3+", "FCOS", "SSD+DOAM-T", "SSD+DOAM-O", "YOLOv3", "SSD+DOAM", "")
    turn = {arm: next(i for i, d in enumerate(dear) if arm.startswith(d)) for arm in values["arms"]}
    return values | {"processes": os.cpu_count(), "arms": sorted(values["arms"], key=turn.get)}


def _write(values: dict, to: Path) -> None:
    to.write_text(json.dumps(values, indent=1))  # JSON is YAML


def interrupted() -> dict[str, float]:
    """Key of each run with a checkpoint -> seconds of its first epoch, which no repeat would hit.

    Fails where somebody still trains: workers must end with the process that started them.
    """
    import torch
    from filelock import FileLock, Timeout

    from doamlib.core import paths

    found = {}
    for path in paths.runs().glob("partial/*/checkpoint.pt"):
        try:
            FileLock(paths.runs() / "locks" / path.parent.name).acquire(timeout=20)
        except Timeout:
            sys.exit(f"run {path.parent.name} is still trained 20 s after its process was killed")
        state = torch.load(path, map_location="cpu", weights_only=True)
        if epochs := state["history"]["epochs"]:
            found[path.parent.name] = epochs[0]["seconds"]
    return found


def resumed(first_epochs: dict[str, float]) -> None:
    """Fail unless every interrupted run is finished and kept its first epoch."""
    from doamlib.core import paths

    if not first_epochs:
        sys.exit("nothing was interrupted: the trial proves no resumption")
    for key, seconds in first_epochs.items():
        file = paths.runs() / key / "history.json"
        if not file.is_file():
            sys.exit(f"run {key} was interrupted and is not finished after it was taken up again")
        if json.loads(file.read_text())["epochs"][0]["seconds"] != seconds:
            sys.exit(f"run {key} was interrupted and began anew instead of going on")
    print(f"taken up again after a kill: {len(first_epochs)} runs")


def check(file: Path, folder: Path) -> int:
    """Read the archives back; the exit status says whether all runs of the file are in them."""
    from doamlib.experiments.archive import references, stale_lines
    from doamlib.experiments.parameters import from_file

    wanted = from_file(file)
    found = references(folder)
    if lines := stale_lines(found):
        sys.exit("\n".join(lines))
    large = [path.name for path in folder.iterdir() if path.stat().st_size > 16 * 2**20]
    if large:
        sys.exit(f"over 16 MB: {', '.join(large)}")
    results = {run: result for layer in found for run, result in layer.results.items()}
    for (arm, seed), result in results.items():
        if not math.isfinite(result.ap()) or not len(result.test_set().truth):
            sys.exit(f"{arm}, seed {seed}: mAP is {result.ap()}")
    missing = [(a, s) for s in wanted.seeds for a in wanted.arms if (a, s) not in results]
    print(
        f"archives in {folder}: {len(results)} runs read back, {len(missing)} of the file missing"
    )
    return UNFINISHED if missing else 0


def rates(file: Path) -> None:
    """Print images a second of each arm and of all runs together."""
    from doamlib.experiments.parameters import from_file
    from doamlib.experiments.study import Study

    per_arm: dict[str, list[tuple[float, float, int]]] = defaultdict(list)
    for run in Study(from_file(file)).plan():
        if run.result is not None:
            epochs, at_once = run.result.history.epochs, run.result.provenance["runs_at_once"]
            images = sum(entry["images_per_second"] * entry["seconds"] for entry in epochs)
            seconds = sum(entry["seconds"] for entry in epochs)
            per_arm[run.arm].append((images, seconds, at_once))
    for arm, runs in per_arm.items():
        images, seconds, at_once = map(sum, zip(*runs, strict=True))
        beside = f"{at_once / len(runs):.0f} at once"
        print(f"  {arm:16} {images / seconds:8.1f} images/s a run, {beside}, {len(runs)} runs")
    if all_runs := [run for runs in per_arm.values() for run in runs]:
        images, seconds, at_once = map(sum, zip(*all_runs, strict=True))
        together = images / seconds * at_once / len(all_runs)
        print(f"  in all {together:.0f} images/s while training, {images:.0f} images trained on")


def take_up(file: Path, folder: Path | None = None) -> None:
    """Put the runs of unfinished seeds, which the checkout brings as archives, into the run store.

    Only those that this kind of processor trained, because arms of one seed are compared: the
    others are trained anew. They have no weights, which only `doam detect` would want.
    """
    from doamlib.core import paths
    from doamlib.experiments.parameters import from_file
    from doamlib.experiments.study import Study

    study, done = Study(from_file(file)), committed()
    for path in sorted((folder or paths.reference_results() / "unfinished").glob("*.zip")):
        print(f"{path.name}: {_taken(path, study, done)}")


def _taken(path: Path, study, done: set[str]) -> str:
    """Put one archive's runs into the study's store; says what came of it."""
    from doamlib.experiments.archive import read_archive
    from doamlib.experiments.results import processor

    plan = {run.config.key(study.fingerprint): run for run in study.plan()}
    layer = read_archive(zipfile.Path(path), path.name)
    asked = [result for result in layer.results.values() if result.key in plan]
    runs = [result for result in asked if result.config.digest() not in done]
    if not asked:
        return f"no run that these parameters ask for, {len(layer.stale)} stale"
    if not runs:
        return "its seeds are whole in book/reference_results: delete it"
    here, kinds = _processor(study, runs[0]), {processor(result) for result in runs}
    if kinds != {here}:
        return f"left, because {', '.join(sorted(kinds))} trained it and here is {here}"
    new = [result for result in runs if plan[result.key].result is None]
    for result in new:
        _put(path, result, study.store)
    return f"{len(new)} runs taken up, {len(runs) - len(new)} were there"


def _processor(study, result) -> str:
    """What `processor` would say of this result, were it trained here."""
    from doamlib.core import provenance
    from doamlib.core.precision import chosen
    from doamlib.experiments.results import processor

    precision = chosen(result.config.training.precision, study.device)
    made_by = provenance.record(study.device) | {"precision": precision}
    return processor(SimpleNamespace(provenance=made_by))


def _put(path: Path, result, store) -> None:
    with store.making(result.key) as partial:
        made = partial / "result"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        for file in (zipfile.Path(path) / result.key).iterdir():
            (made / file.name).write_bytes(file.read_bytes())
        store.put(result.key, made, result.test_set().as_bytes())


def committed() -> set[str]:
    """Digests of the configurations that the committed results hold; these are whole seeds."""
    from doamlib.experiments.archive import references

    return {r.config.digest() for layer in references() for r in layer.results.values()}


def write_missing(file: Path, to: Path) -> None:
    """The parameters with the seeds that the committed results lack; an empty file if none."""
    from doamlib.experiments.arms import ARMS
    from doamlib.experiments.parameters import from_file
    from doamlib.experiments.study import run_config

    wanted = from_file(file)
    done = committed()
    seeds = [
        seed
        for seed in wanted.seeds
        if not done.issuperset(run_config(wanted, ARMS[a], seed).digest() for a in wanted.arms)
    ]
    to.write_text("")
    if seeds:
        _write(for_this_machine(file) | {"seeds": seeds}, to)
    print(f"seeds to train: {seeds}")


def pack(file: Path, folder: Path) -> None:
    """Archives of what is finished, as ``doam train --pack`` writes them for all of these seeds."""
    from doamlib.core.report import Refusal
    from doamlib.experiments.archive import pack as write_archives
    from doamlib.experiments.parameters import from_file
    from doamlib.experiments.study import Study

    try:
        written = write_archives(Study(from_file(file)), folder)
    except Refusal as refused:
        sys.exit(str(refused))
    for path in written:
        print(f"wrote {path}, {path.stat().st_size / 2**20:.1f} MB")


def keep(file: Path, to: Path) -> None:
    """What an unfinished seed needs to go on elsewhere, as far as it fits; no file if none is.

    A seed that the archives beside the file do not hold (packing was refused) counts as unfinished.
    Warm starts come first, since later runs must start from the same weights; then finished runs of
    unfinished seeds, without weights, and with detections only where archives keep them; then
    checkpoints.
    """
    from doamlib.experiments.archive import stored
    from doamlib.experiments.parameters import from_file
    from doamlib.experiments.study import Study

    study = Study(from_file(file))
    plan, root = study.plan(), study.store.root
    packed = stored(study.parameters, to.parent)
    unfinished = {r.seed for r in plan if r.result is None or (r.arm, r.seed) not in packed}
    if not unfinished:
        return
    warm = {study.store.starting_weights(w) for run in plan if (w := run.config.warm_run())}
    warm = sorted(path.parent for path in warm if path and root in path.parents)
    results = [run for run in plan if run.result and run.seed in unfinished]
    files = [sorted(folder.iterdir()) for folder in warm]
    for run in results:
        first = run.seed == min(study.parameters.seeds)
        left_out = {"weights.safetensors", *(() if first else ("detections.npz",))}
        folder = root / run.result.key
        files.append([path for path in sorted(folder.iterdir()) if path.name not in left_out])
    files += [list((root / "test_sets").glob("*.npz"))]
    checkpoints = sorted(root.glob("partial/*/checkpoint.pt"), key=lambda p: p.stat().st_size)
    left = write_tar(to, root, [*files, *([path] for path in checkpoints)])
    print(f"kept {len(warm)} warm starts, {len(results)} runs, {len(checkpoints)} checkpoints of")
    print(f"  unfinished seeds in {to}, but for {left} which do not fit")


def write_tar(to: Path, root: Path, groups: list[list[Path]]) -> int:
    """Add whole groups of files while they fit; returns how many did not."""
    packed, left = io.BytesIO(), 0
    used = 0
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for group in groups:
            size = sum(len(zlib.compress(path.read_bytes())) + 512 for path in group)
            if used + size > MAX_BYTES:
                left += 1
                continue
            used += size
            for path in group:
                archive.add(path, path.relative_to(root))
    to.write_bytes(packed.getvalue())
    return left


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("step")
    arguments.add_argument("paths", nargs="*", type=Path)
    options = arguments.parse_args()
    if options.step == "lacking":
        print(*lacking(*options.paths), sep="\n")
    elif options.step == "interrupted":
        print(json.dumps(interrupted()))
    elif options.step == "resumed":
        resumed(json.loads(options.paths[0].read_text()))
    else:
        steps = (machine, graphs, write_trial, write_brief, check, rates, take_up, write_missing)
        steps += (pack, keep)
        named = {step.__name__.removeprefix("write_"): step for step in steps}
        return named[options.step](*options.paths) or 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
