"""The command line: ``doam book``, ``plan``, ``train``, ``detect``, ``verify`` and ``data``."""

from __future__ import annotations

import re
import sys
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Rebuild the book, or only its runs or its data, from one parameter file.\n\n"
    "A parameter file is a list of 'key: value' lines; params/quick.yaml is the default, "
    "params/smoke.yaml takes seconds, params/paper.yaml wants a GPU and params/opixray.yaml the "
    "real dataset. Everything that is finished is kept in runs/ and datasets/ and used again; set "
    "DOAM_HOME to keep it in another folder than the repository.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

File = Annotated[Path, typer.Option("-f", "--file", help="The parameter file.")]
QUICK = Path("params/quick.yaml")
CLUSTER = "Have it done by the workers of this Dask scheduler (tcp://host:8786), or by local:4."
INTERRUPTED = 130
"""Exit status by which typer tells that Ctrl-C ended a command."""


def _say(line: str) -> None:
    print(line, flush=True)


def _study(file: Path, elsewhere: bool = False):
    """The study of a parameter file; ``elsewhere``: this machine need not have its device."""
    from doamlib.experiments.parameters import from_file
    from doamlib.experiments.study import Study

    parameters = from_file(file)
    return Study(parameters if elsewhere else parameters.check_machine(), _say)


@app.command()
def book(file: File = QUICK) -> None:
    """Train what is missing, execute the notebooks, render the book.

    Example: doam book -f params/smoke.yaml

    Interrupt it at any time: the next call goes on where this one stopped.
    """
    from doamlib.book.build import BuildError, build

    start = time.monotonic()
    study = _study(file)
    study.train(study.announce())
    try:
        page = build(study.parameters, _say, study.store)
    except BuildError as error:
        raise typer.Exit(_refusal(error)) from None
    _say(f"The book is ready after {time.monotonic() - start:.0f} s. Open {page}")


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
        _say("this machine has no usable GPU: plan where you will train to learn how long it takes")
        parameters = parameters.model_copy(update={"device": "cpu"})
    reference = stored(parameters)
    for run in Study(parameters.check_machine(), _say).announce(timed=timed):
        state = f"done, mAP {run.result.ap():.1f}" if run.result else "missing"
        if not run.result and (known := reference.get((run.arm, run.seed))):
            state = f"in the reference layer, mAP {known.ap():.1f}"
        _say(f"  {run.arm:16} seed {run.seed}  {run.config.digest()}  {state}")


@app.command()
def train(
    file: File = QUICK,
    time_budget: Annotated[
        str, typer.Option(help="Stop cleanly after this long, e.g. 9m or 540s; go on next time.")
    ] = "",
    pack: Annotated[
        Path | None, typer.Option(help="Then write what is finished as archives to this folder.")
    ] = None,
    estimate: Annotated[bool, typer.Option(help="Measure first how long it will take.")] = True,
    cluster: Annotated[str, typer.Option(help=CLUSTER)] = "",
) -> None:
    """Train the runs that a parameter file needs and that do not exist yet.

    Example: doam train -f params/paper.yaml --time-budget 9m --pack book/reference_results

    Runs are taken seed by seed, so that whole comparisons get finished. Archives hold metrics,
    histories, scores of attention maps and provenance, and of the smallest seed detections too,
    but no weights. To contribute them, check them with doam verify.

    With --cluster the runs are trained by the workers of a Dask scheduler, which share no folder
    with this machine; the page 'Beyond one machine' of the book says how to start them.
    """
    from doamlib.experiments.archive import MixedProcessors
    from doamlib.experiments.archive import pack as write_archives
    from doamlib.training import OutOfTime

    deadline = time.monotonic() + _seconds(time_budget) if time_budget else float("inf")
    study = _study(file, elsewhere=bool(cluster))
    plan = study.announce(timed=not cluster) if estimate else study.plan()
    try:
        if cluster:
            from doamlib.experiments.cluster import train_on

            train_on(cluster, study, deadline)
            plan = study.plan()
        for (arm, seed), result in study.train(plan, deadline).items():
            _say(f"  {arm:16} seed {seed}  mAP {result.ap():.1f}  {result.key}")
    except OutOfTime:
        _say(f"{time_budget} are over; what is finished is kept, call again to go on")
    try:
        for path in write_archives(study, pack) if pack else []:
            _say(f"wrote {path}, {path.stat().st_size / 2**20:.1f} MB")
    except MixedProcessors as error:
        raise typer.Exit(_refusal(error)) from None


@app.command()
def detect(
    pictures: Annotated[list[Path], typer.Argument(help="Pictures, or folders of them.")],
    arm: Annotated[str | None, typer.Option(help="The row of the tables, e.g. SSD+DOAM-O.")] = None,
    seed: Annotated[int | None, typer.Option(help="The seed of the run.")] = None,
    out: Annotated[Path, typer.Option(help="A folder for what was found.")] = Path("detected"),
    threshold: Annotated[float, typer.Option(min=0, max=1, help="List from this score on.")] = 0.3,
    windows: Annotated[bool, typer.Option("--windows", help="Cut up whole frames.")] = False,
) -> None:
    """Look for cutters in pictures of your own with a trained detector.

    Example: doam detect bag.jpg scans/ --arm SSD+DOAM-O --out found

    Takes jpg, png and tiff: colour, grey, palette, transparent, turned, 8 or 16 bits. Writes an
    annotated PNG of each picture, detections.json and detections.csv. The detector is one of your
    own runs or one that the book ships, whichever was trained longest. With --windows a picture of
    a whole frame is looked at in windows as large as the training images.

    It is a teaching example and no security product. The exit status is 0 when every picture was
    looked at, 1 when one could not be, 2 when there is no such detector.
    """
    from doamlib.experiments.detect import detect_files
    from doamlib.experiments.detectors import NOTICE, choose, trained

    chosen = choose(trained(), arm, seed)
    _say(chosen.about())
    _say(NOTICE)
    problems = detect_files(chosen, pictures, out, threshold, windows, _say, _refusal)
    _say(f"wrote {out}/detections.json, detections.csv and the annotated pictures")
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

    raise typer.Exit(0 if examine(archives, _say) else 1)


data_app = typer.Typer(
    help="Make, check or convert a dataset.\n\nWithout a subcommand: make the images that a "
    "parameter file names (doam data -f params/quick.yaml), or read the dataset that it points to.",
    invoke_without_command=True,
    rich_markup_mode=None,
)
app.add_typer(data_app, name="data")


@data_app.callback()
def data(context: typer.Context, file: File = QUICK) -> None:
    """Make or open the data of a parameter file and say what they are."""
    if context.invoked_subcommand is None:
        opened = _study(file).data
        for split in (opened.train, opened.test):
            items = sum(len(record.labels) for record in split.records)
            _say(f"{split.split}: {len(split)} images, {items} items in {split.root}")
        _say(f"fingerprint {opened.fingerprint}")


@data_app.command()
def check(
    path: Annotated[Path | None, typer.Argument(help="The folder of the dataset.")] = None,
    file: Annotated[
        Path | None, typer.Option("-f", "--file", help="Whose format and class names to expect.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Read a whole dataset and list every fault, with file and line.

    Example: doam data check ~/OPIXray

    With -f it is read as a training run would read it: in the format and with the class names of
    the parameter file. Without a folder it is the file's own data that are checked.

    The exit status is 0 when training can go on, 1 when it cannot.
    """
    from doamlib.data.doctor.doctor import check as examine

    root, more = _what_to_check(path, file)
    report = examine(root, **more)
    _say(report.as_json() if json else str(report))
    raise typer.Exit(0 if report.ok else 1)


@data_app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="The folder with images and annotations.")],
    target: Annotated[Path, typer.Argument(help="A new folder.")],
    split: Annotated[
        float | None,
        typer.Option(help="Divide all images anew: this share of them is trained on, e.g. 0.8."),
    ] = None,
    classes: Annotated[
        str, typer.Option(help="Other names, e.g. '{knife: Knife, toy: \"\"}', or a YAML file.")
    ] = "",
    group: Annotated[
        str, typer.Option(help="Keep images together whose names agree in this pattern's group.")
    ] = "",
) -> None:
    """Turn Pascal VOC XML, YOLO text, LabelMe or COCO JSON into COCO JSON that training reads.

    Example: doam data convert ~/labelled ~/xray --split 0.8

    Then: dataset: coco and data_root: ~/xray in a parameter file. Splits that the source has are
    kept unless --split is given. A class mapped to "" is left out. What the source knows and COCO
    boxes do not (flags, polygons, attributes) is listed, so nothing is lost in silence. For
    --group, '^(bag[0-9]+)' keeps bag12_top and bag12_side in one split.

    The exit status is 0 when training can go on with the result, 1 when it cannot.
    """
    from doamlib.data import convert as converter
    from doamlib.data.doctor.doctor import check as examine
    from doamlib.experiments.parameters import read_mapping

    if split is not None and not 0 < split < 1:
        raise typer.BadParameter(f"--split {split}: give a share above 0 and below 1, e.g. 0.8")
    names = read_mapping(classes, "--classes")
    try:
        pattern = {"group": re.compile(group)} if group else {}
    except re.error as wrong:
        raise typer.BadParameter(f"--group {group!r}: {wrong}") from None
    made = converter.convert(source, target, share=split, names=names, **pattern)
    counts = ", ".join(f"{part.split} {len(part):,}" for part in made.splits)
    _say(f"{made.format} in {source} -> COCO JSON in {target}: images {counts}")
    _say("classes: " + ", ".join(made.splits[0].classes))
    for line in made.losses or ["nothing"]:
        _say(f"lost: {line}")
    report = examine(target, format="coco")
    _say(str(report) if not report.ok else report.line)
    raise typer.Exit(0 if report.ok else 1)


def _what_to_check(path: Path | None, file: Path | None) -> tuple[Path, dict]:
    """The folder, and the doctor's other arguments."""
    from doamlib.experiments.data import data_config, simulated
    from doamlib.experiments.parameters import from_file

    if file is None:
        if path is None:
            raise typer.BadParameter("give the folder of a dataset, or a parameter file with -f")
        return path, {}
    typed = path and str(path.expanduser().absolute())
    parameters = from_file(file, **({} if path is None else {"data_root": typed}))
    config = data_config(parameters)
    if config.simulation is not None:
        root = simulated(config.simulation, parameters.processes, partial(print, file=sys.stderr))
    else:
        root = Path(parameters.data_root).expanduser()
    format = "coco" if config.dataset == "coco" else "opixray"
    return root, {"format": format, "names": config.class_names}


def _seconds(text: str) -> float:
    units = {"s": 1, "m": 60, "h": 3600}
    try:
        return float(text[:-1]) * units[text[-1]]
    except (ValueError, KeyError):
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
    from doamlib.data.faults import DataError
    from doamlib.experiments.detectors import DetectorError
    from doamlib.experiments.parameters import ParameterError
    from doamlib.training import TrainingError

    try:
        app()
    except (ParameterError, DataError, DetectorError, TrainingError) as error:
        sys.exit(_refusal(error))
    except OSError as error:  # a full disk, a folder that may only be read
        sys.exit(_refusal(_in_a_line(error)))


def _in_a_line(error: OSError) -> str:
    from doamlib.core import paths

    if isinstance(error, paths.PlaceError) or error.strerror is None:
        return str(error)
    place = f"{error.filename}: " if error.filename else ""
    fix = f"what is made lies in {paths.home()}; set DOAM_HOME to keep it elsewhere"
    return f"{place}{error.strerror.lower()}; {fix}"


def _refusal(error: Exception | str) -> int:
    print(f"doam: {error}", file=sys.stderr, flush=True)
    return 2
