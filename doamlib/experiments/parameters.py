"""The parameters: one flat, typed, documented set that every notebook, run and file shares."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from doamlib import recipe
from doamlib.core.config import Config
from doamlib.core.paths import at_home
from doamlib.experiments.arms import ARMS, CORE, no_arm
from doamlib.experiments.values import (
    CELL_HEAD,
    ParameterError,
    as_names,
    as_numbers,
    as_written,
    found_file,
    found_folder,
    notebook_values,
    places,
    read_yaml,
    shown,
)

Images = Annotated[int, Field(gt=0, le=1_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Share = Annotated[float, Field(gt=0, le=1)]


HEADINGS = {
    "dataset": "data",
    "arms": "arms",
    "image_size": "network",
    "warm_start": "start",
    "optimizer": "training",
    "image": "picture",
    "device": "machine",
}
"""The first parameter of each group -> the group's heading in a notebook's parameters cell."""


class Parameters(Config, use_attribute_docstrings=True):
    """Every knob of the book. ``params/*.yaml`` hold values for it; no other knob exists.

    The defaults are those of ``params/quick.yaml`` and so of every notebook's parameters cell: a
    file that leaves keys out, or a page that declares few, means the same study for ``doam`` and
    for papermill.

    Raises:
        ParameterError: through :func:`from_notebook`, :func:`from_file` and :func:`from_values`.
    """

    profile: str = Field("quick", pattern=r"^[a-z0-9-]{1,40}$")
    """name shown beside every number"""

    dataset: Literal["simulation", "opixray", "coco"] = "simulation"
    """generated images, OPIXray as it lies on disk, or COCO JSON"""
    data_root: str | None = None
    """folder of a real dataset; none for simulation"""
    class_names: dict[str, str] = Field({})
    """coco: your category name -> the class it stands for; empty: as they are"""
    train_images: Images = 1600
    """simulation: images to train on"""
    test_images: Images = 300
    """simulation: images to test on"""
    data_seed: Seed = 0
    """simulation: seed of the dataset"""
    field_of_view: float = Field(0.3, ge=0.2, le=1)
    """simulation: share of the frame that is rendered"""

    arms: tuple[str, ...] = CORE
    """rows of the tables to train"""
    seeds: tuple[Seed, ...] = (0,)
    """one run an arm and seed"""
    image_size: int = Field(96, ge=96, le=1024)
    """side of the square network input, pixels"""
    width: Share = 0.2
    """share of the published channel counts"""
    doam_width: Share = 0.5
    """the same for DOAM itself"""

    warm_start: Literal["none", "harmless"] = "harmless"
    """starting weights. none: random; harmless: trained on harmless objects"""
    warm_start_per_seed: bool = False
    """each seed has its own warm start; else all share seed 0's"""
    warm_images: Images = 32000
    """warm start: generated images"""
    warm_epochs: int = Field(12, gt=0)
    """warm start: passes over them"""
    warm_learning_rate: float = Field(2.0e-3, gt=0)
    """warm start: peak of a cosine"""

    optimizer: recipe.Optimizer = "adamw"
    epochs: recipe.Epochs = 3
    batch_size: recipe.BatchSize = 16
    learning_rate: recipe.LearningRate = 5.0e-4
    momentum: recipe.Momentum = 0.9
    weight_decay: recipe.WeightDecay = 1.0e-2
    warmup_steps: recipe.WarmupSteps = 30
    schedule: recipe.Schedule = "cosine"
    clip_norm: recipe.ClipNorm = 10.0
    horizontal_flip: recipe.HorizontalFlip = True
    pool_share: Share = 0.1
    """over-sampling: pool size, of an epoch's batches"""
    loss_quantile: float = Field(0.5, ge=0, le=1)
    """over-sampling: a batch above it is hard enough for the pool"""
    average_last: recipe.AverageLast = 0.1
    precision: recipe.ForwardPrecision = "auto"

    image: str | None = None
    """a picture of your own for the page own_image; none: a generated one"""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """where networks run"""
    processes: int = Field(2, gt=0, le=256)
    """processes that generate and decode images"""

    @field_validator("arms")
    @classmethod
    def _arms_exist(cls, arms: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in arms if name not in ARMS]
        if unknown:
            raise ValueError(no_arm(unknown[0]))
        return arms

    @field_validator("arms", "seeds")
    @classmethod
    def _each_once(cls, named: tuple, info: ValidationInfo) -> tuple:
        if len(set(named)) < len(named) or not named:
            raise ValueError(f"name at least one of the {info.field_name}, each once")
        return named

    @model_validator(mode="after")
    def _data_root_fits(self) -> Parameters:
        if self.dataset == "simulation" and self.data_root is not None:
            raise ValueError("data_root: leave it null, or set dataset to opixray or coco")
        if self.dataset != "simulation" and self.data_root is None:
            raise ValueError(f"data_root: dataset {self.dataset} needs the folder that holds it")
        return self

    def check_machine(self) -> Parameters:
        """Refuse what this machine lacks: data folder, picture or device. Returns itself.

        Raises:
            ParameterError: it lacks one of them.
        """
        if self.image is not None and not os.path.isfile(at_home(self.image)):
            raise ParameterError(
                f"image = {shown(self.image)}: no such file in "
                f"{', '.join(map(str, places()))}; give the whole path of a picture"
            )
        if self.data_root is not None and not os.path.isdir(at_home(self.data_root)):
            whole = at_home(self.data_root).is_absolute()
            looked = "" if whole else f" in {', '.join(map(str, places()))}"
            raise ParameterError(
                f"data_root = {shown(self.data_root)}: no such folder{looked}; give the "
                "path of the dataset"
            )
        import torch

        if self.device == "cuda" and not torch.cuda.is_available():
            raise ParameterError(
                "device = 'cuda': this machine has no usable GPU; use 'auto' or 'cpu'"
            )
        return self


def known_arms(arms: Iterable[str] | str) -> tuple[str, ...]:
    """Names of arms, in their order; one name alone may stand without a list.

    Raises:
        ParameterError: there is no such arm.
    """
    arms = (arms,) if isinstance(arms, str) else tuple(arms)
    if unknown := [name for name in arms if name not in ARMS]:
        raise ParameterError(no_arm(unknown[0]))
    return arms


def from_values(values: Mapping[str, Any], where: str = "") -> Parameters:
    """Validated parameters from plain values (as YAML or a notebook cell holds them).

    Args:
        values: key -> bool, int, float, str, None, list or dict. A list or mapping given as text,
            as ``papermill -p seeds "[0,1]"`` passes it, is read as such, and one name or number
            (``-p arms SSD``) as a list of it.
        where: put before the message, e.g. the file's name.

    Raises:
        ParameterError: names the first offending key, its value and the fix.
    """
    decoded = {key: _as_meant(key, value) for key, value in values.items()}
    for key, value in decoded.items():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except (TypeError, UnicodeEncodeError) as unfit:
            plain = isinstance(unfit, TypeError)
            fix = "use plain numbers, text, lists" if plain else "is not UTF-8; rename it"
            raise ParameterError(
                f"{where}{shown(key, bare=True)} = {shown(value)}: {fix}"
            ) from None
    try:
        return Parameters.model_validate_json(json.dumps(decoded))
    except ValidationError as error:
        raise ParameterError(where + _one_line(error)) from None


def from_file(path: Path | str, **changes: Any) -> Parameters:
    """Validated parameters from a YAML file, read as papermill reads it.

    Args:
        path: the file; ``params/quick.yaml`` and its neighbours are found from any folder.
        changes: values that replace the file's, as papermill's ``-p`` does.

    Raises:
        ParameterError: the file is missing, not a mapping, or holds a value that is refused.
    """
    path = found_file(Path(path))
    values = {**read_yaml(path), **changes}
    return from_values(_with_whole_path(values, places(path)), f"{path}: ")


def from_notebook(namespace: Mapping[str, Any]) -> Parameters:
    """Validated parameters from a notebook's ``globals()``, right after its parameters cell.

    A page declares the parameters that it reads; defaults fill in the others. Papermill only warns
    about a key that the page does not declare, and injects it all the same. Here everything that
    the parameters cell or papermill's own cell assigns must be a parameter: a known key counts,
    declared or not, and any other is refused. Other variables are not looked at, and the cell may
    be run again at any time. The machine is checked as well.

    Raises:
        ParameterError: an unknown key, a refused value, a missing data folder or device.
    """
    values = notebook_values(namespace, Parameters.model_fields)
    return from_values(_with_whole_path(values, places())).check_machine()


def _with_whole_path(values: Mapping[str, Any], starts: list[Path]) -> dict[str, Any]:
    root, image = values.get("data_root"), values.get("image")
    whole = {"data_root": found_folder(root, starts)} if isinstance(root, str) else {}
    if isinstance(image, str):
        there = (p for start in starts if os.path.isfile(p := start / at_home(image)))
        whole["image"] = str(next(there, image))
    return {**values, **whole}


def cell_source(parameters: Parameters, keys: Collection[str] | None = None) -> str:
    """The parameters cell of a notebook: one documented ``key = value`` a line, under headings.

    A test compares the notebooks with it, and ``scripts/sync_notebooks.py`` writes it into them.

    Args:
        parameters: the values.
        keys: what the page declares; all parameters by default.
    """
    lines = [f"{CELL_HEAD}: papermill ... -f params/quick.yaml"]
    heading = None
    for key, value in parameters.model_dump(mode="json").items():
        heading = HEADINGS.get(key, heading)
        if keys is None or key in keys:
            if heading:
                lines += ["", f"# {heading}"]
                heading = None
            # papermill reads one parameter a line
            lines.append(f"{key} = {value!r}  # {Parameters.model_fields[key].description}")
    few = keys is not None and len(keys) < len(Parameters.model_fields)
    note = (
        ["# Papermill warns of a file's other keys: this page does not read them."] if few else []
    )
    return "\n".join([lines[0], *note, "# fmt: off", *lines[1:]])


def _as_meant(key: str, value: Any) -> Any:
    if key == "arms":
        return as_names(value, ARMS)
    return as_numbers(value) if key == "seeds" else as_written(value)


TYPES = {
    "tuple_type": "is no list; write one as in [1, 2]",
    "dict_type": "is no mapping; write one as in {knife: Knife}",
    "string_pattern_mismatch": "takes small letters, digits and hyphens, 40 at most, as in my-bags",
}
"""In place of pydantic's messages, which speak of JSON's arrays and of patterns."""


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    key = str(first["loc"][0]) if first["loc"] else ""
    field = Parameters.model_fields.get(key)
    if first["type"] == "extra_forbidden":
        like = difflib.get_close_matches(key.lower(), Parameters.model_fields, n=2)
        meant = f"did you mean {' or '.join(like)}? All keys are" if like else "the keys are"
        entry = f"{shown(key, bare=True)} = {shown(first['input'])}"
        return f"{entry}: no such parameter; {meant} {', '.join(Parameters.model_fields)}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "float_type" and isinstance(first["input"], str):
        message = "is text, not a number; YAML wants a point and a sign in 1.0e-4"
    message = TYPES.get(first["type"], message)
    more = f" ({field.description})" if field is not None else ""
    return f"{key} = {shown(first['input'])}: {message}{more}" if key else message
