"""The reference layer: committed results of larger runs than a reader's machine may be able to do.

It holds archives (zip) that :func:`pack` wrote. An archive names its runs by arm and seed and keeps
the parameters that they were made with, so that a result never vanishes silently: when the code has
moved on, it is found all the same and marked stale.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from doamlib.core import paths
from doamlib.core.files import npz_bytes, write_bytes
from doamlib.core.report import Refusal
from doamlib.evaluation.detections import Detections
from doamlib.evaluation.test_set import score
from doamlib.experiments.arms import ARMS
from doamlib.experiments.parameters import Parameters, from_values
from doamlib.experiments.results import RESULTS_VERSION, Result, Runs, of_arms, processor
from doamlib.experiments.study import PlannedRun, Study, run_config

PACKED = ("identity.json", "metrics.json", "provenance.json")
STRONGEST = 20
"""Detections an image that an archive keeps, of its profile's first seed; what was scored (200) is
in ``metrics.json``, and what the kept ones score in ``kept.json``."""

DIGITS = 5
"""Significant digits of losses and learning rates in an archive."""

MAX_BYTES = 16 * 2**20
RUNS_ONLY = {"profile", "arms", "seeds", "device", "processes", "data_root", "image"}
"""Parameters that say which runs there are and where, not how each is made."""


@dataclass(frozen=True)
class Reference:
    """Committed results of one profile.

    Attributes:
        parameters: what they were made with.
        results: (arm, seed) -> result that still stands.
        stale: (arm, seed) -> result that today's code would not compute; shown under a banner and
            kept out of every verdict. ``Result.stale`` says why.
    """

    parameters: Parameters
    results: Runs
    stale: Runs

    def of(self, arms: Iterable[str]) -> Runs:
        """The results of these arms, arm by arm in the order given."""
        return of_arms(self.results, arms)


def references(folder: Path | str | None = None) -> list[Reference]:
    """Every committed profile, those with more results first.

    Profiles that share a recipe (all parameters but ``RUNS_ONLY``) are one, under the name and
    parameters of the one that ran most.

    Args:
        folder: of the archives; the committed one by default.
    """
    archives = sorted(Path(folder or paths.reference_results()).glob("*.zip"))
    return merged(read_archive(zipfile.Path(archive), archive.name) for archive in archives)


def merged(parts: Iterable[Reference]) -> list[Reference]:
    """One layer for each recipe and, of real data, each copy of them; order as `references`."""
    found: dict[str, list[Reference]] = {}
    for part in parts:
        recipe = _recipe(part.parameters)
        if part.parameters.dataset != "simulation":
            data = {result.identity["fingerprint"] for result in part.results.values()}
            recipe += " ".join(sorted(data))
        found.setdefault(recipe, []).append(part)
    layers = [_merged(same) for same in found.values()]
    return sorted(layers, key=lambda r: -len(r.results))


def read_archive(root: zipfile.Path, name: str) -> Reference:
    """One archive's runs; it is trusted (:mod:`doamlib.claims.verify` reads one that is not).

    Args:
        root: of the archive.
        name: put before a message.

    Raises:
        doamlib.experiments.parameters.ParameterError: its parameters are refused.
    """
    index = json.loads((root / "runs.json").read_text(encoding="utf-8"))
    reference = Reference(from_values(index["parameters"], f"{name}: "), {}, {})
    for run in index["runs"]:
        result = Result(root / run["key"], "reference")
        result.stale = why_stale(result, reference.parameters, run["arm"], run["seed"])
        kept = reference.stale if result.stale else reference.results
        kept[run["arm"], run["seed"]] = result
    return reference


def _merged(parts: list[Reference]) -> Reference:
    """Archives of one recipe as one layer; a run that several hold is the same in all."""
    runs: Counter[str] = Counter()
    results, stale = {}, {}
    for part in parts:
        runs[part.parameters.profile] += len(part.results) + len(part.stale)
        results, stale = part.results | results, part.stale | stale
    name = runs.most_common(1)[0][0]
    parameters = next(p.parameters for p in parts if p.parameters.profile == name)
    in_order = (
        dict(sorted(found.items(), key=lambda run: run[0][1])) for found in (results, stale)
    )
    return Reference(parameters, *in_order)


def stored(parameters: Parameters, folder: Path | str | None = None) -> Runs:
    """What the layer holds of the recipe that these parameters name; stale results left out.

    Args:
        parameters: of which `RUNS_ONLY` do not matter.
        folder: of the archives; the committed one by default.
    """
    recipe = _recipe(parameters)
    return next((r.results for r in references(folder) if _recipe(r.parameters) == recipe), {})


def _recipe(parameters: Parameters) -> str:
    return parameters.model_dump_json(exclude=RUNS_ONLY)


def why_stale(result: Result, parameters: Parameters, arm: str, seed: int) -> str:
    """Why a stored result is not what today's code would compute; empty when it is."""
    version = result.identity["results_version"]
    if version != RESULTS_VERSION:
        return f"made by results version {version}, the code is at {RESULTS_VERSION}"
    if arm not in ARMS:
        return f"there is no arm {arm!r} any more"
    config = run_config(parameters, ARMS[arm], seed, result.config.data.classes)
    if result.config != config:
        return "its configuration is not the one that these parameters give today"
    today = config.data.simulation and config.data.simulation.fingerprint
    if today and result.identity["fingerprint"] != today:
        return f"made on data {result.identity['fingerprint']}, today's are {today}"
    return ""


def pack(study: Study, folder: Path | str | None = None) -> list[Path]:
    """Write a study's finished runs as archives, one a seed or more where 16 MB do not hold it.

    Every run keeps its metrics, history, provenance and the scores of its maps. What takes most
    room, detections and pictures of maps, is kept of the smallest seed only, with what exactly
    these detections score (``kept.json``). Losses and learning rates are rounded to ``DIGITS``
    digits. Of a real dataset's folder only the name is kept. Older archives of a seed make room.

    Args:
        study: its parameters name the runs; what is not trained is left out.
        folder: where to; the committed reference layer by default.

    Returns:
        The archives written.

    Raises:
        MixedProcessors: arms of one seed were trained on different kinds of processors.
        PoorerArchive: an archive of a seed holds arms that are not finished here.
    """
    folder = paths.at_home(folder or paths.reference_results())
    finished = [run for run in study.plan() if run.result is not None]
    seeds = {seed: list(runs) for seed, runs in groupby(finished, lambda run: run.seed)}
    old = {seed: _archives(folder, study.parameters.profile, seed) for seed in seeds}
    for seed, runs in seeds.items():
        _one_processor(seed, runs)
        _no_poorer(old[seed], runs)
    written = []
    for seed, runs in seeds.items():
        written += (new := _pack_seed(study, runs, folder))
        for path in set(old[seed]) - set(new):  # it would be read before the new ones
            path.unlink()
    return written


def _pack_seed(study: Study, runs: Sequence[PlannedRun], folder: Path) -> list[Path]:
    """Write the archives of one seed's finished runs."""
    seed, written = runs[0].seed, []
    first = seed == min(study.parameters.seeds)
    contents = [(run, _content(run.result, whole=first)) for run in runs]
    for part, members in enumerate(_parts(contents)):
        listed = [{"key": run.result.key, "arm": run.arm, "seed": seed} for run, _ in members]
        index = {"parameters": _shared(study.parameters), "runs": listed}
        files = {"runs.json": json.dumps(index, indent=1).encode()}
        for run, content in members:
            files |= {f"{run.result.key}/{name}": data for name, data in content.items()}
            files[f"test_sets/{study.fingerprint}.npz"] = run.result.test_set().as_bytes()
        name = f"{study.parameters.profile}-seed{seed}{f'-{part}' if part else ''}.zip"
        _write_zip(folder / name, files)
        written.append(folder / name)
    return written


def _archives(folder: Path, profile: str, seed: int) -> list[Path]:
    """What :func:`pack` wrote earlier of a seed."""
    name = re.compile(rf"{profile}-seed{seed}(-\d+)?\.zip")
    return [path for path in sorted(folder.glob("*.zip")) if name.fullmatch(path.name)]


class PoorerArchive(Refusal, RuntimeError):
    """Packing would lose runs that an archive of the same name holds."""


def _no_poorer(old: Iterable[Path], runs: Iterable[PlannedRun]) -> None:
    finished = {run.arm for run in runs}
    for path in old:
        index = json.loads((zipfile.Path(path) / "runs.json").read_text(encoding="utf-8"))
        held = {run["arm"] for run in index["runs"]}
        if lost := sorted(held - finished):
            raise PoorerArchive(
                f"{path} holds arms that are not finished here ({', '.join(lost)}): train them "
                "too, pack to another folder, or move it away; what was trained is kept"
            )


class MixedProcessors(Refusal, RuntimeError):
    """Arms of one seed come from different kinds of processors, so their differences mislead."""


def _one_processor(seed: int, runs: Iterable[PlannedRun]) -> None:
    kinds = {processor(run.result): run.arm for run in runs}
    if len(kinds) > 1:
        found = "; ".join(f"{arm} on {kind}" for kind, arm in kinds.items())
        raise MixedProcessors(
            f"seed {seed} was trained on {len(kinds)} kinds of processors ({found}): the same seed "
            "gives other numbers on each; train all arms of a seed on one kind"
        )


def _shared(parameters: Parameters) -> dict[str, Any]:
    """The parameters without paths, which name a person as often as not."""
    values = parameters.model_dump(mode="json", exclude={"image"})
    if root := parameters.data_root:
        values["data_root"] = Path(root).name or parameters.dataset
    return values


def _content(result: Result, whole: bool) -> dict[str, bytes]:
    """A result's files; detections only if ``whole``, pictures only then and of generated images.

    A picture of darkness or edges is a picture of its image, and real data sets are not ours to
    pass on.
    """
    files = {name: _compact(json.loads(result.read(name))) for name in PACKED}
    files["history.json"] = _compact(_rounded(json.loads(result.read("history.json"))))
    if maps := result.read("maps.npz"):
        with np.load(io.BytesIO(maps)) as arrays:
            pictures = whole and result.config.data.simulation is not None
            kept = {n: a for n, a in arrays.items() if pictures or not n.endswith("examples")}
        files["maps.npz"] = npz_bytes(**kept)
    if whole:
        detections = result.detections().strongest(STRONGEST).as_bytes()
        files["detections.npz"] = detections
        kept = Detections.load(io.BytesIO(detections))  # boxes as a reader gets them, to the digit
        files["kept.json"] = _compact(score(kept, result.test_set()))
    return files


def _compact(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def _rounded(content: Any) -> Any:
    """The same with every float rounded, so that equal ones stay equal; integers are exact."""
    if isinstance(content, float):
        return float(f"{content:.{DIGITS}g}")
    if isinstance(content, list):
        return [_rounded(value) for value in content]
    if isinstance(content, dict):
        return {name: _rounded(value) for name, value in content.items()}
    return content


Contents = list[tuple[PlannedRun, dict[str, bytes]]]


def _parts(contents: Contents) -> list[Contents]:
    """Neighbours that stay below the limit together."""
    parts: list[Contents] = []
    room = 0
    for run, content in contents:
        size = sum(map(len, content.values()))
        if not parts or size > room:
            parts.append([])
            room = MAX_BYTES - 2**20  # the test set and the index
        parts[-1].append((run, content))
        room -= size
    return parts


def _write_zip(path: Path, files: dict[str, bytes]) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            # A fixed date: the same results give the same bytes.
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    write_bytes(path, packed.getvalue())


def stale_lines(references: Iterable[Reference]) -> list[str]:
    """One line a stale result: what it is and why it no longer counts."""
    return [
        f"{reference.parameters.profile}: {arm}, seed {seed} is stale: {result.stale}"
        for reference in references
        for (arm, seed), result in reference.stale.items()
    ]
