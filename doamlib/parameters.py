"""The parameters: one flat, typed, documented set that every notebook, run and file shares."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from doamlib.arms import ARMS
from doamlib.config import Config
from doamlib.precision import Precision

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1)]


class ParameterError(ValueError):
    """A parameter was refused; the one-line message names the key, the value and the fix."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows in place of a traceback (a hook of IPython's)."""
        return [f"ParameterError: {self}"]


class Parameters(Config):
    """Every knob of the book. ``params/*.yaml`` hold values for it; no other knob exists.

    Raises:
        ParameterError: through :func:`from_notebook`, :func:`from_file` and :func:`from_values`.
    """

    profile: str = Field(
        "quick", pattern=r"^[a-z0-9-]+$", description="name shown beside every number"
    )

    dataset: Literal["simulation", "opixray", "coco"] = Field(
        "simulation", description="generated images, OPIXray as it lies on disk, or COCO JSON"
    )
    data_root: str | None = Field(None, description="folder of a real dataset; none for simulation")
    class_names: dict[str, str] = Field(
        {}, description="coco: your category name -> the class it stands for; empty: as they are"
    )
    train_images: Positive = Field(800, description="simulation: images to train on")
    test_images: Positive = Field(300, description="simulation: images to test on")
    data_seed: Count = Field(0, description="simulation: seed of the dataset")
    field_of_view: Share = Field(0.5, description="simulation: share of the frame that is rendered")

    arms: tuple[str, ...] = Field(("SSD", "SSD+DOAM-T"), description="rows of the tables to train")
    seeds: tuple[Count, ...] = Field((0,), description="one run an arm and seed")
    image_size: int = Field(
        160, ge=96, le=1024, description="side of the square network input, pixels"
    )
    width: Share = Field(0.25, description="share of the published channel counts")
    doam_width: Share = Field(0.5, description="the same for DOAM itself")

    warm_start: Literal["none", "harmless"] = Field(
        "harmless", description="starting weights: random, or trained on harmless objects"
    )
    warm_start_per_seed: bool = Field(
        False, description="each seed has its own warm start; else all share seed 0's"
    )
    warm_images: Positive = Field(3000, description="warm start: generated images")
    warm_epochs: Positive = Field(12, description="warm start: passes over them")
    warm_learning_rate: float = Field(1.0e-3, gt=0, description="warm start: peak of a cosine")

    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="sgd is the paper's")
    epochs: Positive = Field(2, description="passes over the training images")
    batch_size: Positive = Field(24, description="images a step (paper: 24)")
    learning_rate: float = Field(1.0e-4, gt=0, description="peak of the schedule (paper: 1.0e-4)")
    momentum: float = Field(
        0.9, ge=0, lt=1, description="SGD's, or AdamW's first beta (paper: 0.9)"
    )
    weight_decay: float = Field(5.0e-4, ge=0, description="of the optimizer (paper: 5.0e-4)")
    warmup_steps: Count = Field(0, description="steps over which the learning rate rises from 0")
    schedule: Literal["constant", "cosine"] = Field("constant", description="of the learning rate")
    clip_norm: float = Field(0.0, ge=0, description="largest gradient norm; 0: no limit")
    horizontal_flip: bool = Field(False, description="mirror half of the training images")
    pool_share: Share = Field(0.1, description="over-sampling: pool size, of an epoch's batches")
    loss_quantile: float = Field(
        0.5, ge=0, le=1, description="over-sampling: a batch above it is hard enough for the pool"
    )
    average_last: float = Field(
        0.0, ge=0, lt=1, description="share of the last steps whose weights are averaged; 0: none"
    )
    precision: Precision = Field(
        "auto", description="of the forward pass; auto: bfloat16 where the hardware has it"
    )

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where networks run")
    processes: Positive = Field(2, description="processes that generate and decode images")

    @field_validator("arms")
    @classmethod
    def _arms_exist(cls, arms: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in arms if name not in ARMS]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not an arm; choose from {', '.join(ARMS)}")
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
        """Refuse what this machine lacks: the data folder or the device. Returns itself."""
        if self.data_root is not None and not Path(self.data_root).expanduser().is_dir():
            raise ParameterError(
                f"data_root = {self.data_root!r}: no such folder; give the path of the dataset"
            )
        import torch

        if self.device == "cuda" and not torch.cuda.is_available():
            raise ParameterError(
                "device = 'cuda': this machine has no usable GPU; use 'auto' or 'cpu'"
            )
        return self


def from_values(values: Mapping[str, Any], where: str = "") -> Parameters:
    """Validated parameters from plain values (as YAML or a notebook cell holds them).

    Args:
        values: key -> bool, int, float, str, None, list or dict. A list given as JSON text, as
            ``papermill -p seeds "[0,1]"`` passes it, is read as the list.
        where: put before the message, e.g. the file's name.

    Raises:
        ParameterError: names the first offending key, its value and the fix.
    """
    decoded = {key: _json_list(value) for key, value in values.items()}
    try:
        text = json.dumps(decoded)
    except TypeError as error:
        raise ParameterError(f"{where}{error}; use plain numbers, text, lists") from None
    try:
        return Parameters.model_validate_json(text)
    except ValidationError as error:
        raise ParameterError(where + _one_line(error)) from None


def from_file(path: Path | str, **changes: Any) -> Parameters:
    """Validated parameters from a YAML file, read as papermill reads it.

    Args:
        path: the file.
        changes: values that replace the file's, as papermill's ``-p`` does.

    Raises:
        ParameterError: the file is missing, not a mapping, or holds a value that is refused.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        detail = " ".join(str(error).split())
        raise ParameterError(f"{path}: cannot be read as YAML ({detail})") from None
    if not isinstance(values, dict):
        raise ParameterError(f"{path}: holds no 'key: value' lines; compare with params/quick.yaml")
    return from_values({**values, **changes}, f"{path}: ")


def from_notebook(namespace: Mapping[str, Any]) -> Parameters:
    """Validated parameters from a notebook's ``globals()``, right after its parameters cell.

    Papermill only warns about a key that the notebook does not know and then runs without it. Here
    every plain value in the namespace must be a parameter, so that key is refused. The machine is
    checked as well.

    Raises:
        ParameterError: an unknown key, a refused value, a missing data folder or device.
    """
    return from_values(_plain_values(namespace)).check_machine()


def cell_source(parameters: Parameters) -> str:
    """The parameters cell of every notebook: one documented ``key = value`` a line.

    A test compares the notebooks with it, and ``scripts/sync_notebooks.py`` writes it into them.
    """
    head = "# Change these here, or from outside: papermill ... -f params/quick.yaml\n# fmt: off"
    lines = [  # papermill reads one parameter a line
        f"{key} = {value!r}  # {Parameters.model_fields[key].description}"
        for key, value in parameters.model_dump(mode="json").items()
    ]
    return "\n".join([head, *lines])


def _plain_values(namespace: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in namespace.items()
        if not key.startswith("_")
        and key not in ("In", "Out")  # IPython's own
        and not isinstance(value, types.ModuleType)
        and not callable(value)
    }


def _json_list(value: Any) -> Any:
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    key = str(first["loc"][0]) if first["loc"] else ""
    field = Parameters.model_fields.get(key)
    if first["type"] == "extra_forbidden":
        keys = ", ".join(Parameters.model_fields)
        return f"{key} = {first['input']!r}: no such parameter; the keys are {keys}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "float_type" and isinstance(first["input"], str):
        message = "is text, not a number; YAML wants a point and a sign in 1.0e-4"
    more = f" ({field.description})" if field is not None else ""
    return f"{key} = {first['input']!r}: {message}{more}" if key else message
