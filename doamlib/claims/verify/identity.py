"""Is a packed run what it is said to be, and does it say where it was made?"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import ValidationError

from doamlib.claims.verify.packed import ROUNDED, PackedRun
from doamlib.experiments.archive import why_stale
from doamlib.experiments.results import processor, warm_name


def check_identity(run: PackedRun) -> None:
    """Key, configuration, data and code version are what the archive's parameters give today.

    Raises:
        doamlib.claims.verify.safe_zip.ArchiveError: one of them is not.
    """
    result, parameters = run.result, run.parameters
    named = {"arm": (run.arm, parameters.arms), "seed": (run.seed, parameters.seeds)}
    for name, (value, known) in named.items():
        found, right = f"{name} {value}", f"the parameters name {', '.join(map(str, known))}"
        run.need(value in known, "identity.json", found, right)
    try:
        stale = why_stale(result, parameters, run.arm, run.seed)
        key = result.config.key(result.identity["fingerprint"])
    except ValidationError as error:
        first = error.errors()[0]
        stale, key = f"config.{'.'.join(map(str, first['loc']))}: {first['msg']}", ""
    right = "train with the code of this checkout and the packed parameters"
    run.need(not stale, "identity.json", stale, right)
    right = f"configuration, fingerprint and results version give {key}"
    run.need(result.key == key, "identity.json", f"key {result.key}", right)


def check_provenance(run: PackedRun) -> None:
    """Seed, starting weights, number format and times fit the run.

    Raises:
        doamlib.claims.verify.safe_zip.ArchiveError: something contradicts the configuration or
            history.
    """
    member, made, config = "provenance.json", run.result.provenance, run.result.config
    found, right = f"seed = {made['seed']}", f"the configuration has {config.seed}"
    run.need(made["seed"] == config.seed, member, found, right)
    warm, start = config.warm_run(), made["starting_weights"]
    origin = f"random, seed {config.seed}" if warm is None else warm_name(warm)
    found = f"starting_weights.from = {start['from']!r}"
    run.need(start["from"] == origin, member, found, f"the run starts from {origin!r}")
    named = warm is None or start.get("sha256") is not None
    right = "a warm start names its file's"
    run.need(named, member, "starting_weights.sha256 is missing", right)
    found, right = f"precision = {made['precision']}", f"asked was {config.training.precision}"
    run.need(config.training.precision in ("auto", made["precision"]), member, found, right)
    spent = sum(epoch["seconds"] for epoch in run.result.history.epochs)
    stored = {"training_seconds": made["training_seconds"]}
    run.same(stored, {"training_seconds": spent}, member, 0.1, ROUNDED)


def check_comparable(runs: Iterable[PackedRun]) -> None:
    """Arms differ by nothing but the arm: one kind of processor a seed, one start for one name.

    Raises:
        doamlib.claims.verify.safe_zip.ArchiveError: two starting weights went by one name, or the
            arms of a seed were trained on two kinds of processors.
    """
    starts: dict[str, str] = {}
    kinds: dict[int, str] = {}
    for run in runs:
        start, kind = run.result.provenance["starting_weights"], processor(run.result)
        if "sha256" in start:
            first = starts.setdefault(start["from"], start["sha256"])
            found = f"starting_weights.sha256 = {start['sha256']}"
            right = f"runs before it that start from {start['from']} have {first}"
            run.need(start["sha256"] == first, "provenance.json", found, right)
        first = kinds.setdefault(run.seed, kind)
        right = f"other arms of seed {run.seed} were trained on {first}"
        run.need(kind == first, "provenance.json", f"hardware {kind}", right)
