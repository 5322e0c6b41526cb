"""The command line: ``doam book``, ``plan``, ``train``, ``detect``, ``verify`` and ``data``."""

from __future__ import annotations

import math
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from doamlib.cli_data import QUICK, Cluster, File, data_app, say, study_of
from doamlib.core import paths
from doamlib.core.report import Refusal

app = typer.Typer(
    help="Rebuild the book, or only its runs or its data, from one parameter file.\n\n"
    "A parameter file is a list of 'key: value' lines; params/quick.yaml is the default, "
    "params/smoke.yaml takes minutes, params/paper.yaml wants a GPU and params/opixray.yaml the "
    "real dataset. Everything that is finished is kept in runs/ and datasets/ and used again; set "
    "DOAM_HOME to keep it in another folder than the repository.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

INTERRUPTED = 130
"""Exit status by which typer tells that Ctrl-C ended a command."""


@app.command()
def book(file: File = QUICK) -> None:
    """Train what is missing, execute the notebooks, render the book.

    Example: doam book -f params/smoke.yaml

    Interrupt it at any time: the next call goes on where this one stopped.
    """
    from doamlib.book.build import build

    start = time.monotonic()
    study = study_of(file)
    study.train(study.announce())
    page = build(study.parameters, say, study.store)
    say(f"The book is ready after {time.monotonic() - start:.0f} s. Open {page}")


@app.command()
def plan(file: File = QUICK) -> None:
    """List the runs that a parameter file needs, which exist, and how long the rest will take.

    Example: doam plan -f params/paper.yaml

    Runs that the book's reference layer holds are told apart from those of this machine. Where the
    file wants a GPU and there is none, the runs are listed without the time that they take.
    """
    import torch

    from doamlib.experiments.archive import stored
    from doamlib.experiments.parameters import from_file
    from doamlib.experiments.study import Study

    parameters = from_file(file)
    timed = parameters.device != "cuda" or torch.cuda.is_available()
    if not timed:
        say("this machine has no usable GPU: plan where you will train to learn how long it takes")
        parameters = parameters.model_copy(update={"device": "cpu"})
    reference = stored(parameters)
    for run in Study(parameters.check_machine(), say).announce(timed=timed):
        done = run.result and f"done, mAP {run.result.ap():.1f}  {run.result.key}"
        state = done or "missing"
        if not run.result and (known := reference.get((run.arm, run.seed))):
            state = f"in the reference layer, mAP {known.ap():.1f}"
        say(f"  {run.arm:16} seed {run.seed}  {state}")


@app.command()
def train(
    file: File = QUICK,
    time_budget: Annotated[
        str, typer.Option(help="Stop training cleanly after this long, e.g. 9m; go on next time.")
    ] = "",
    pack: Annotated[
        Path | None, typer.Option(help="Then write what is finished as archives to this folder.")
    ] = None,
    estimate: Annotated[bool, typer.Option(help="Measure first how long it will take.")] = True,
    cluster: Cluster = "",
) -> None:
    """Train the runs that a parameter file needs and that do not exist yet.

    Example: doam train -f params/paper.yaml --time-budget 9m --pack book/reference_results

    Runs are taken seed by seed, so that whole comparisons get finished; images that are missing are
    drawn before them, whatever the budget. Archives hold metrics, histories, scores of attention
    maps and provenance, and of the smallest seed detections too, but no weights. To contribute
    them, check them with doam verify.

    With --cluster the runs are trained by the workers of a Dask scheduler, which share no folder
    with this machine; the page 'Beyond one machine' of the book says how to start them.
    """
    from doamlib.experiments.archive import pack as write_archives
    from doamlib.training import OutOfTime

    deadline = time.monotonic() + _seconds(time_budget) if time_budget else float("inf")
    study = study_of(file, elsewhere=bool(cluster))
    plan = study.announce(timed=not cluster) if estimate else study.plan()
    try:
        if cluster:
            from doamlib.experiments.cluster import train_on

            train_on(cluster, study, deadline)
            plan = study.plan()
        for (arm, seed), result in study.train(plan, deadline).items():
            say(f"  {arm:16} seed {seed}  mAP {result.ap():.1f}  {result.key}")
    except OutOfTime:
        say(f"{time_budget} are over; what is finished is kept, call again to go on")
    for path in write_archives(study, pack) if pack else []:
        say(f"wrote {path}, {path.stat().st_size / 2**20:.1f} MB")


@app.command()
def detect(
    pictures: Annotated[list[Path], typer.Argument(help="Pictures, or folders of any depth.")],
    arm: Annotated[str | None, typer.Option(help="The row of the tables, e.g. SSD+DOAM-O.")] = None,
    seed: Annotated[int | None, typer.Option(help="The seed of the run.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Only runs of this parameter file.")
    ] = None,
    out: Annotated[Path, typer.Option(help="A folder for what was found.")] = Path("detected"),
    threshold: Annotated[float, typer.Option(min=0, max=1, help="List from this score on.")] = 0.3,
    windows: Annotated[bool, typer.Option("--windows", help="Cut up whole frames.")] = False,
) -> None:
    """Look for cutters in pictures of your own with a trained detector.

    Example: doam detect bag.jpg scans/ --arm SSD+DOAM-O --out found

    Takes jpg, png, tiff and bmp: colour, grey, palette, transparent, turned, 8 or 16 bits. Writes
    an annotated PNG of each picture, detections.json and detections.csv. The detector is one of
    your own runs or one that the book ships: with -f a run of that file; else, of those that --arm
    and --seed allow, one of your own on real data, then SSD+DOAM-O, then whichever was trained
    longest. With --windows a picture of a whole frame is looked at in windows as large as the
    training images.

    It is a teaching example and no security product. The exit status is 0 when every picture was
    looked at, 1 when one could not be, 2 when there is no such detector.
    """
    from doamlib.experiments.detect import detect_files
    from doamlib.experiments.detectors import NOTICE, choose, trained, trained_by

    chosen = choose(trained_by(study_of(file), arm) if file else trained(), arm, seed)
    say(chosen.about())
    say(NOTICE)
    problems = detect_files(chosen, pictures, out, threshold, windows, say, _refusal)
    raise typer.Exit(1 if problems else 0)


@app.command()
def verify(
    archives: Annotated[list[Path], typer.Argument(help="Archives that doam train --pack wrote.")],
) -> None:
    """Check archives of results, yours before you contribute them or a stranger's before a merge.

    Example: doam verify results/opixray-seed*.zip

    Nothing in an archive is trusted or executed. It is refused, in one line that names the file and
    the value, where a number contradicts its configuration, its history or the detections kept.
    That the images were the right ones only a run on them can tell.

    The exit status is 0 when every archive is fine, 1 otherwise.
    """
    from doamlib.claims.verify import verify as examine

    raise typer.Exit(0 if examine(archives, say) else 1)


app.add_typer(data_app, name="data")


def _seconds(text: str) -> float:
    units = {"s": 1, "m": 60, "h": 3600}
    try:
        seconds = float(text[:-1]) * units[text[-1]]
    except (ValueError, KeyError):
        seconds = math.nan
    if 0 < seconds < math.inf:
        return seconds
    raise typer.BadParameter(f"{text!r}: write 540s, 9m or 1.5h") from None


def main() -> None:
    """Run the command line; a refusal is one line on standard error and exit status 2."""
    try:
        _run()
    except (KeyboardInterrupt, SystemExit) as end:
        status = INTERRUPTED if isinstance(end, KeyboardInterrupt) else end.code
        if status == INTERRUPTED:
            print("doam: interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(status)


def _run() -> None:
    try:
        app()
    except Refusal as error:
        sys.exit(_refusal(error))
    except OSError as error:  # a full disk, a folder that may only be read
        sys.exit(_refusal(_in_a_line(error)))


def _in_a_line(error: OSError) -> str:
    if error.strerror is None:
        return str(error)
    if error.filename is None:
        place, ours = "", True
    else:
        place = f"{error.filename}: "
        ours = Path(os.fsdecode(error.filename)).absolute().is_relative_to(paths.home())
    fix = f"what is made lies in {paths.home()}; set DOAM_HOME to keep it elsewhere"
    return f"{place}{error.strerror.lower()}; {fix if ours else 'name another place'}"


def _refusal(error: Exception | str) -> int:
    print(f"doam: {error}", file=sys.stderr, flush=True)
    return 2


if __name__ == "__main__":
    main()
