"""The command line: ``doam data make``, ``check``, ``convert`` and ``export``."""

from __future__ import annotations

import json
import re
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from doamlib.core.paths import at_home

if TYPE_CHECKING:
    from doamlib.data.dataset import Dataset
    from doamlib.experiments.study import PlannedRun

File = Annotated[Path, typer.Option("-f", "--file", help="The parameter file.")]
Cluster = Annotated[
    str,
    typer.Option(
        help="Have it done by the workers of this Dask scheduler (tcp://host:8786), or by local:4."
    ),
]
QUICK = Path("params/quick.yaml")


def say(line: str) -> None:
    """Print a line at once; a folder's name that is not UTF-8 with escapes."""
    print(line.encode(errors="backslashreplace").decode(), flush=True)


def study_of(file: Path, elsewhere: bool = False, **changes: str):
    """The study of a parameter file; ``elsewhere``: this machine need not have its device.

    ``changes`` are values in place of the file's.

    Raises:
        doamlib.experiments.parameters.ParameterError: the file, a value or the machine is at fault.
    """
    from doamlib.experiments.parameters import from_file
    from doamlib.experiments.study import Study

    parameters = from_file(file, **changes)
    return Study(parameters if elsewhere else parameters.check_machine(), say)


data_app = typer.Typer(
    help="Make, check, convert or export a dataset.\n\n"
    "No data: doam data make. Your own pictures with boxes: doam data convert, then doam data "
    "check, then dataset: coco and data_root: FOLDER in a parameter file. For other tools: doam "
    "data export.\n\nWithout a subcommand: open the data of a parameter file, made first where "
    "they are generated and missing.",
    invoke_without_command=True,
    rich_markup_mode=None,
)


@data_app.callback()
def data(context: typer.Context, file: File = QUICK) -> None:
    """Make or open the data of a parameter file and say what they are."""
    if (inside := context.invoked_subcommand) is None:
        opened = study_of(file).data
        for split in (opened.train, opened.test):
            items = sum(len(record.labels) for record in split.records)
            say(f"{split.split}: {len(split)} images, {items} items in {split.root}")
        say(f"fingerprint {opened.fingerprint}")
    elif context.get_parameter_source("file").name != "DEFAULT":
        raise typer.BadParameter(f"put -f behind the subcommand: doam data {inside} ... -f {file}")


@data_app.command()
def make(
    target: Annotated[
        Path | None, typer.Argument(help="A new folder; by default where runs look for it.")
    ] = None,
    file: File = QUICK,
    cluster: Cluster = "",
) -> None:
    """Write the generated dataset that a parameter file names, and say where it lies.

    Example: doam data make -f params/quick.yaml

    Images of luggage with five kinds of cutter, drawn from physics: train_images, test_images,
    data_seed and field_of_view in the file say which. OPIXray's layout, with masks and occlusion of
    every item in sidecar/. Interrupt it at any time, the same command goes on; what is finished is
    never made again.

    With --cluster the workers of a Dask scheduler draw the images, bit for bit the same ones, and
    this machine writes them; the page 'Beyond one machine' of the book says how to start workers.
    """
    from doamlib.experiments.data import data_config, simulated
    from doamlib.experiments.parameters import ParameterError, from_file
    from doamlib.simulation import generate

    parameters = from_file(file)
    if (config := data_config(parameters).simulation) is None:
        raise ParameterError(
            f"dataset = {parameters.dataset!r}: only generated data are made; "
            f"read yours with: doam data check {shlex.quote(str(at_home(parameters.data_root)))}"
        )
    draw = None
    if cluster:
        from doamlib.experiments.cluster import drawing

        draw = drawing(cluster, say)
    if target is None:
        root = simulated(config, parameters.processes, say, draw)
    else:
        root = generate(config, at_home(target), parameters.processes, say, draw)
    say(f"{config.train_images:,} training and {config.test_images:,} test images in {root}")


@data_app.command()
def check(
    path: Annotated[Path | None, typer.Argument(help="The folder of the dataset.")] = None,
    file: Annotated[
        Path | None, typer.Option("-f", "--file", help="Whose format and class names to expect.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
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
    say(report.as_json() if as_json else str(report))
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
    from doamlib.experiments.values import read_mapping

    if split is not None and not 0 < split < 1:
        raise typer.BadParameter(f"--split {split}: give a share above 0 and below 1, e.g. 0.8")
    names = read_mapping(classes, "--classes")
    try:
        pattern = {"group": re.compile(group)} if group else {}
    except re.error as wrong:
        raise typer.BadParameter(f"--group {group!r}: {wrong}") from None
    if pattern and not pattern["group"].groups:
        raise typer.BadParameter(
            f"--group {group!r} has no group: put brackets, e.g. '^(bag[0-9]+)'"
        )
    made = converter.convert(source, target, share=split, names=names, **pattern)
    counts = ", ".join(f"{part.split} {len(part):,}" for part in made.splits)
    say(f"{made.format} in {source} -> COCO JSON in {target}: images {counts}")
    say("classes: " + ", ".join(made.splits[0].classes))
    for line in made.losses or ["nothing"]:
        say(f"lost: {line}")
    report = examine(target, format="coco")
    say(str(report) if not report.ok else report.line)
    raise typer.Exit(0 if report.ok else 1)


@data_app.command()
def export(
    target: Annotated[Path, typer.Argument(help="A new folder.")],
    source: Annotated[
        Path | None, typer.Argument(help="A dataset's folder; by default the file's data.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("-f", "--file", help="Whose data, names and finished runs.")
    ] = None,
    layout: Annotated[
        str, typer.Option("--format", help="coco: train.json, test.json; or opixray.")
    ] = "coco",
    detections: Annotated[
        bool, typer.Option(help="Also what the file's finished runs detect on the test images.")
    ] = False,
) -> None:
    """Write a dataset for other tools: COCO JSON with its images, or OPIXray's layout.

    Example: doam data export ~/xray-coco -f params/quick.yaml --detections

    Boxes, classes and occlusion levels (occlusion_level of a COCO image; level lists of OPIXray)
    are kept, masks stay in the dataset's sidecar. Detections go to detections/ARM-seed0.json (of
    an ARM with a slash: a hyphen) in COCO's format of results, one file a run, which pycocotools'
    loadRes reads beside test.json.
    """
    from doamlib.data import export as exporter
    from doamlib.data.judge import first_error, judge
    from doamlib.data.readers import detect_format, read_splits

    if layout not in ("coco", "opixray"):
        raise typer.BadParameter(f"--format {layout!r}: choose coco or opixray")
    if detections and (file is None or layout != "coco"):
        raise typer.BadParameter("--detections needs a parameter file with -f, and --format coco")
    exporter.new_folder(target)
    root, more = _what_to_check(source, file)
    splits = list(read_splits(root, more.get("format") or detect_format(root), more.get("names")))
    faults = [fault for split in splits for fault in split.faults] + judge(splits)
    if refused := first_error(faults, root):
        raise refused
    if layout == "opixray":
        splits = [split for split in splits if split.split != "val"]
    runs = _finished(file, source, splits[1]) if detections else []
    made = exporter.export(splits, target, layout)
    counts = ", ".join(f"{split.split} {len(split):,}" for split in splits)
    say(f"{root} -> {layout} in {made}: images {counts}")
    for run in runs:
        say(f"wrote {_write_detections(run, made)}")
    if detections and not runs:
        say(f"no finished run of {file} has looked at these images")


def _finished(file: Path, source: Path | None, test: Dataset) -> list[PlannedRun]:
    """The file's runs that were finished on these data, in this order, and keep detections."""
    runs = [run for run in study_of(file, **_in_place(source)).plan() if run.result is not None]
    kept = [run for run in runs if run.result.keeps_detections]
    return [run for run in kept if run.result.test_set().image_ids == test.image_ids]


def _write_detections(run: PlannedRun, target: Path) -> Path:
    """COCO results of a finished run; image and category ids are those of ``test.json``."""
    from doamlib.core.files import write_text

    path = target / "detections" / f"{run.arm}-seed{run.seed}.json".replace("/", "-")
    write_text(path, json.dumps(run.result.detections().as_coco()) + "\n")
    return path


def _in_place(path: Path | None) -> dict[str, str]:
    """What a folder that was typed changes of a parameter file."""
    return {} if path is None else {"data_root": str(at_home(path).absolute())}


def _what_to_check(path: Path | None, file: Path | None) -> tuple[Path, dict]:
    """The folder, and the doctor's other arguments."""
    from doamlib.experiments.data import data_config, simulated
    from doamlib.experiments.parameters import ParameterError, from_file

    if file is None:
        if path is None:
            raise typer.BadParameter("give the folder of a dataset, or a parameter file with -f")
        return path, {}
    try:
        parameters = from_file(file, **_in_place(path))
    except ParameterError as refused:
        if path is None or "leave it null" not in str(refused):
            raise
        fix = "set dataset to opixray or coco in it, or leave -f out"
        raise ParameterError(f"{file}: its data are generated, {path} is not; {fix}") from None
    config = data_config(parameters)
    if config.simulation is not None:
        root = simulated(config.simulation, parameters.processes, partial(print, file=sys.stderr))
    else:
        root = at_home(parameters.data_root)
    format = "coco" if config.dataset == "coco" else "opixray"
    return root, {"format": format, "names": config.class_names}
