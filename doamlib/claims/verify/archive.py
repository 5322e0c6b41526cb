"""A contributed archive from its bytes to a verdict, and what a maintainer is shown of it."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from doamlib.claims.admission import admission, scale_of
from doamlib.claims.verify.forms import read_archive_file
from doamlib.claims.verify.history import check_history
from doamlib.claims.verify.identity import check_comparable, check_identity, check_provenance
from doamlib.claims.verify.packed import PackedRun
from doamlib.claims.verify.safe_zip import ArchiveError, parse_json, printable
from doamlib.claims.verify.scores import check_scores
from doamlib.core.report import Report
from doamlib.data.classes import CLASSES
from doamlib.evaluation.test_set import TestSet
from doamlib.experiments.archive import MAX_BYTES, Reference, merged, read_archive
from doamlib.experiments.parameters import ParameterError, from_values
from doamlib.experiments.results import Result
from doamlib.paper import table

REQUIRED = ("identity.json", "metrics.json", "provenance.json", "history.json")
LAYER_BYTES = 30 * 2**20
"""All archives of the reference layer together."""


@dataclass(frozen=True)
class Checked:
    """An archive in which nothing is wrong.

    Attributes:
        reference: its runs, as the book would read them.
        lines: the report.
        size: bytes of the archive.
    """

    reference: Reference
    lines: list[str]
    size: int


def verify(archives: Iterable[Path | str], report: Report = print) -> bool:
    """Check archives that were contributed, report on each, and say whether all are fine.

    Args:
        archives: as ``doam train --pack`` writes them.
        report: gets lines.
    """
    fine: list[Checked] = []
    refused = 0
    for path in map(Path, archives):
        try:
            checked = check_archive(path)
        except ArchiveError as error:
            refused += 1
            report(f"REFUSED  {error}")
        except Exception as error:  # whoever wrote the archive may have wanted just that
            refused += 1
            what = f"{path.name}: {type(error).__name__}, which no check foresaw: {error}"
            report(f"REFUSED  {printable(what)}")
        else:
            fine.append(checked)
            report(f"fine     {printable(path.name)}")
            for line in checked.lines:
                report(f"  {line}")
    for line in [*_twice(fine), *_too_large(fine)]:
        refused += 1
        report(f"REFUSED  {line}")
    for layer in merged(checked.reference for checked in fine):
        for line in admitted(layer):
            report(line)
    return not refused


def check_archive(path: Path | str) -> Checked:
    """Check one archive.

    Raises:
        ArchiveError: the first thing that is wrong.
    """
    path = Path(path)
    files = read_archive_file(path, MAX_BYTES)
    fingerprint, test = _test_set(files, path.name)
    root = _copy(files)
    runs = list(_runs(files, root, test, path.name))
    _check_counts(runs[0], path.name)
    remarks = [remark for run in runs for remark in _check_run(run, fingerprint)]
    check_comparable(runs)
    remarks += [*_code_remarks(runs), *_paper_remarks(runs[0])]
    lines = [*_summary(runs), *(f"note: {remark}" for remark in remarks)]
    return Checked(read_archive(root, path.name), lines, path.stat().st_size)


def admitted(layer: Reference) -> list[str]:
    """Whether these runs, taken together, may decide claims: the place where admission joins."""
    scale = scale_of(layer.parameters)
    if scale is None:
        return [f"no claim is judged on dataset {layer.parameters.dataset}"]
    arms = list(dict.fromkeys(arm for arm, _ in layer.results))
    pooled = any(r.config.sampling.strategy != "traditional" for r in layer.results.values())
    checks = admission(scale, layer.results, arms, pool=pooled)
    short = [check for check in checks if not check.holds]
    yet = "may not decide a claim yet" if short else "may decide claims"
    return [f"{scale.data}: these runs {yet}", *(f"  {check}" for check in short)]


def _test_set(files: dict[str, bytes], archive: str) -> tuple[str, TestSet]:
    """The one test set of an archive, and the fingerprint of the data that it is named after."""
    names = [name for name in files if name.startswith("test_sets/")]
    if len(names) != 1:
        found, right = f"{len(names)} test sets", "the runs of an archive share one"
        raise ArchiveError(archive, found, right)
    try:
        return Path(names[0]).stem, TestSet.load(io.BytesIO(files[names[0]]))
    except ValueError as error:
        raise ArchiveError(f"{archive}: {names[0]}", str(error), "pack it again") from None


def _copy(files: dict[str, bytes]) -> zipfile.Path:
    """An archive in memory that holds these files and nothing else, as the book would read it."""
    copy = zipfile.ZipFile(io.BytesIO(), "w")
    for name, content in files.items():
        copy.writestr(name, content)
    return zipfile.Path(copy)


def _runs(
    files: dict[str, bytes], root: zipfile.Path, test: TestSet, archive: str
) -> Iterator[PackedRun]:
    """The runs that ``runs.json`` lists, which are those that have a folder."""
    place = f"{archive}: runs.json"
    index = parse_json(files["runs.json"], place)
    try:
        parameters = from_values(index["parameters"], "parameters: ")
    except (ParameterError, ValueError, RecursionError) as error:
        raise ArchiveError(place, str(error), "pack with valid parameters") from None
    if not (listed := [run["key"] for run in index["runs"]]):
        raise ArchiveError(place, "lists no run", "pack again once a run is finished")
    folders = {name.split("/")[0] for name in files if "/" in name} - {"test_sets"}
    for key in sorted(folders ^ set(listed)):
        found, right = f"run {key}", "every folder is listed, every run has one"
        raise ArchiveError(place, found, right)
    for what, values in (("key", listed), ("run", [(r["arm"], r["seed"]) for r in index["runs"]])):
        value, times = Counter(values).most_common(1)[0]
        if times > 1:
            raise ArchiveError(place, f"{what} {value} is listed {times} times", "each once")
    for run in index["runs"]:
        for name in REQUIRED:
            if f"{run['key']}/{name}" not in files:
                raise ArchiveError(f"{archive}: {run['key']}/{name}", "is missing", "pack again")
        result = Result(root / run["key"], "reference")
        where = f"{archive}: {result.key}"
        yield PackedRun(where, run["arm"], run["seed"], parameters, result, test)


def _check_run(run: PackedRun, fingerprint: str) -> list[str]:
    check_identity(run)
    found = f"fingerprint = {run.result.identity['fingerprint']}"
    fits = run.result.identity["fingerprint"] == fingerprint
    run.need(fits, "identity.json", found, f"the test set is that of {fingerprint}")
    check_provenance(run)
    check_history(run)
    return check_scores(run)


def _check_counts(run: PackedRun, archive: str) -> None:
    """The parameters say how many generated images there are; the classes are the dataset's."""
    test, parameters = run.test, run.parameters
    said, there = parameters.test_images, len(test.image_ids)
    place = f"{archive}: runs.json"
    if parameters.dataset == "simulation" and said != there:
        raise ArchiveError(place, f"test_images = {said}", f"the test set has {there}")
    if parameters.dataset != "coco" and test.classes != CLASSES:
        right = f"{parameters.dataset} has {', '.join(CLASSES)}"
        raise ArchiveError(place, f"classes {', '.join(test.classes)}", right)


def _code_remarks(runs: list[PackedRun]) -> Iterator[str]:
    """Runs whose code nobody can look up."""
    made = [run.result.provenance for run in runs]
    unknown = sum(m["commit"] == "unknown" for m in made)
    changed = sum(m["commit"] != "unknown" and m["dirty"] is not False for m in made)
    for count, what in ((unknown, "of an unknown commit"), (changed, "with uncommitted changes")):
        if count:
            yield f"{count} of {len(runs)} runs were made by code {what}"


def _paper_remarks(run: PackedRun) -> Iterator[str]:
    """How an OPIXray differs from the paper's, by Tables II and III."""
    if run.parameters.dataset != "opixray":
        return
    levels, splits = (
        table(number).set_index(name)["total_images"]
        for number, name in ((3, "level"), (2, "split"))
    )
    found = {f"OL{k}": int((run.test.levels == k).sum()) for k in (1, 2, 3)}
    found |= {"test": len(run.test.image_ids)}
    if not run.result.config.data.shots:
        found |= {"train": run.result.metrics["train_images"]}
    for name, count in found.items():
        printed = int({**levels, **splits}[name])
        if count != printed:
            yield f"{count:,} {name} images; the paper has {printed:,}"


# --- report -------------------------------------------------------------------------------------


def _summary(runs: list[PackedRun]) -> list[str]:
    """What a maintainer wants to know of an archive, before reading any of its numbers."""
    first = runs[0]
    parameters, identity = first.parameters, first.result.identity
    images = len(first.test.image_ids), len(first.test.truth)
    arms, seeds = list(dict.fromkeys(r.arm for r in runs)), sorted({r.seed for r in runs})
    kept = sum(run.result.keeps_detections for run in runs)
    return [
        f"profile {parameters.profile}, dataset {parameters.dataset}, data "
        f"{identity['fingerprint']}",
        "{:,} test images with {:,} items".format(*images),
        f"{len(runs)} runs: {len(arms)} arms, seed {', '.join(map(str, seeds))}; {kept} keep "
        "detections, whose scores were computed again",
        *_made(runs),
        *(f"mAP {line}" for line in _mean_ap(runs)),
    ]


def _made(runs: list[PackedRun]) -> Iterator[str]:
    """Machines and commits, each with the number of its runs."""
    made = [run.result.provenance for run in runs]
    machines = Counter((m["hardware"]["device"], m["hardware"]["cpu"]) for m in made)
    for (device, cpu), count in machines.items():
        yield f"{count} on {cpu if device == 'cpu' else f'{device} beside {cpu}'}"
    for commit, count in Counter(m["commit"] for m in made).items():
        yield f"{count} by commit {commit}"
    hours = sum(m["training_seconds"] for m in made) / 3600
    yield f"{hours:.1f} hours of training"


def _mean_ap(runs: list[PackedRun]) -> Iterator[str]:
    for arm in dict.fromkeys(run.arm for run in runs):
        values = [run.result.ap() for run in runs if run.arm == arm]
        yield f"{np.mean(values):5.1f}  {arm}"


def _twice(checked: list[Checked]) -> Iterator[str]:
    """Runs that two of the archives claim."""
    names = Counter(result.key for c in checked for result in c.reference.results.values())
    for key, times in names.items():
        if times > 1:
            yield f"run {key} is in {times} of these archives; give each run once"


def _too_large(checked: list[Checked]) -> Iterator[str]:
    total = sum(one.size for one in checked)
    if total > LAYER_BYTES:
        yield (
            f"these archives have {total / 2**20:.1f} MB together; the reference layer has room "
            f"for {LAYER_BYTES // 2**20} MB"
        )
