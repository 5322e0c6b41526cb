"""From parameters to runs: what a page needs, what exists, what is missing, how long it takes."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from doamlib.core.report import Report, clock, counted
from doamlib.data.classes import CLASSES
from doamlib.experiments.arms import ARMS, Arm
from doamlib.experiments.data import Data, DataConfig, data_config, drawn_first, open_data
from doamlib.experiments.estimate import seconds_of_each
from doamlib.experiments.parallel import Task, Trainer
from doamlib.experiments.parameters import ParameterError, Parameters, known_arms
from doamlib.experiments.results import Result, RunConfig, WarmStart
from doamlib.experiments.store import RunStore
from doamlib.experiments.train_run import Limits
from doamlib.models.config import DetectorConfig
from doamlib.recipe import TrainingConfig
from doamlib.simulation import SimulationConfig

WARM_DATA_SEED = 10_000
"""Added to ``data_seed``: a warm start never sees an image of the experiments."""


WARM_BATCH = 24
"""Images a step of a warm start."""


def run_config(
    parameters: Parameters, arm: Arm, seed: int, classes: Sequence[str] = CLASSES
) -> RunConfig:
    """The training run of an arm: the parameters' recipe with what the arm changes.

    Args:
        parameters: recipe and data.
        arm: a row of a table.
        seed: of the run.
        classes: of the data; :meth:`Study.config` fills them in.
    """
    pool = {"pool_batches": parameters.pool_share, "threshold": parameters.loss_quantile}
    pooled = arm.sampling.strategy != "traditional"
    return RunConfig(
        data=data_config(parameters, arm.shots, classes),
        detector=DetectorConfig(
            name=arm.detector,
            width=parameters.width,
            image_size=parameters.image_size,
            num_classes=len(classes),
            attention=arm.attention,
            doam=arm.doam and arm.doam.slimmed(parameters.doam_width),
            focal_loss=arm.focal,
            fresh_first_layer=arm.fresh_first_layer,
        ),
        sampling=arm.sampling.model_copy(update=pool if pooled else {}),
        training=_training(parameters, _epochs(parameters, arm, len(classes))),
        seed=seed,
        warm_start=_warm_start(parameters, seed),
    )


def _epochs(parameters: Parameters, arm: Arm, classes: int) -> int:
    """Passes of an arm: few images are passed as often as gives the steps of all images.

    With equal passes a handful of images would get a few steps, all within the warm-up: a
    comparison of starting weights. Counted from ``train_images``, for real data too; `Study.plan`
    sees that it is right.
    """
    if not arm.shots:
        return parameters.epochs
    size = parameters.batch_size
    steps = parameters.epochs * math.ceil(parameters.train_images / size)
    return math.ceil(steps / math.ceil(arm.shots * classes / size))


def _training(parameters: Parameters, epochs: int) -> TrainingConfig:
    shared = TrainingConfig.model_fields.keys() & Parameters.model_fields.keys()
    return TrainingConfig(**{n: getattr(parameters, n) for n in shared} | {"epochs": epochs})


def _refuse_one_alone(images: int, image_size: int) -> None:
    """Batch normalisation has no variance where one image's map has one position."""
    from doamlib.models.priors import map_sizes  # imports torchvision, which takes a second

    if 1 in map_sizes(image_size):
        raise ParameterError(
            f"warm_images = {images}: batches of {WARM_BATCH} leave one image alone, and at "
            f"image_size {image_size} batch normalisation needs two; take {images + 1}"
        )


def _warm_start(parameters: Parameters, seed: int) -> WarmStart | None:
    """Other images than those of the experiments, all without a cutter; one recipe for all files.

    Every choice is made here or is a ``warm_`` parameter, so that files with different recipes for
    the experiments themselves start from the same weights.
    """
    if parameters.warm_start == "none":
        return None
    images = parameters.warm_images
    if images % WARM_BATCH == 1:
        _refuse_one_alone(images, parameters.image_size)
    recipe = {
        "optimizer": "adamw",
        "epochs": parameters.warm_epochs,
        "batch_size": WARM_BATCH,
        "learning_rate": parameters.warm_learning_rate,
        "momentum": 0.9,
        "weight_decay": 0.05,
        "warmup_steps": 100,
        "schedule": "cosine",
        "clip_norm": 10.0,
        "horizontal_flip": True,
        "average_last": 0.1,
        "precision": "auto",
    }
    return WarmStart(
        data=DataConfig(
            simulation=SimulationConfig(
                train_images=images,
                test_images=max(1, images // 10),
                seed=(WARM_DATA_SEED + parameters.data_seed) % 2**32,
                field_of_view=parameters.field_of_view,
                cutters=False,
            ),
            objects="harmless",
        ),
        training=TrainingConfig(**recipe),
        seed=seed if parameters.warm_start_per_seed else 0,
    )


@dataclass(frozen=True)
class PlannedRun:
    """A run that the parameters need, with its result where there is one."""

    arm: str
    seed: int
    config: RunConfig
    result: Result | None


class Study:
    """The runs of one set of parameters: asks the store, trains what is missing.

    Args:
        parameters: which arms, seeds, data and recipe.
        report: gets progress lines.
        store: where results live.
    """

    def __init__(
        self, parameters: Parameters, report: Report = print, store: RunStore | None = None
    ) -> None:
        self.parameters, self.report = parameters, report
        self.store = store or RunStore()
        device = parameters.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        self._expected: dict[str, float] = {}  # digest of a run -> seconds

    @cached_property
    def data(self) -> Data:
        """The data, open; generated first where they are missing."""
        config, root = data_config(self.parameters), self.parameters.data_root
        return open_data(config, root, self.processes, self.report)

    @property
    def processes(self) -> int:
        """Processes that make and decode images; beside a GPU all cores at least."""
        given = self.parameters.processes
        return given if self.device.type == "cpu" else max(given, os.cpu_count())

    @cached_property
    def fingerprint(self) -> str:
        """Names the data; for generated data known without generating them."""
        simulation = data_config(self.parameters).simulation
        return self.data.fingerprint if simulation is None else simulation.fingerprint

    @property
    def classes(self) -> tuple[str, ...]:
        """The data's own, in label order; of generated data the five kinds of cutter."""
        return CLASSES if self.parameters.dataset == "simulation" else self.data.classes

    def config(self, arm: str, seed: int) -> RunConfig:
        """The run of an arm on these data, with their classes."""
        return run_config(self.parameters, ARMS[arm], seed, self.classes)

    def plan(self, arms: Iterable[str] | None = None) -> list[PlannedRun]:
        """Every run of these arms (default: the parameters'), seed by seed.

        Raises:
            doamlib.experiments.parameters.ParameterError: no such arm; few shots of real data, and
                ``train_images``, which their steps follow from, is not the number of training
                images; fewer images than shots; or a warm start that batch normalisation cannot be
                trained on.
            doamlib.data.faults.DataError: the data have an error, or too few images of a class.
        """
        wanted = known_arms(ARMS if arms is None else arms)
        names = [name for name in self.parameters.arms if name in wanted]
        for shots in sorted({ARMS[name].shots for name in names} - {0}):
            self._check_shots(shots)
        return [self._planned(name, seed) for seed in self.parameters.seeds for name in names]

    def _planned(self, arm: str, seed: int) -> PlannedRun:
        config = self.config(arm, seed)
        return PlannedRun(arm, seed, config, self.store.find(config, self.fingerprint))

    def _check_shots(self, shots: int) -> None:
        said, root = self.parameters.train_images, self.parameters.data_root
        if root is not None and (found := len(self.data.train)) != said:
            raise ParameterError(
                f"train_images = {said}: {root} holds {found} training images; write {found}, "
                "because few-shot arms take as many steps as all images would"
            )
        if root is not None:
            self.data.few_shot(shots)
        elif said < (least := shots * len(self.classes)):
            raise ParameterError(
                f"train_images = {said}: {shots} shots of {len(self.classes)} classes need "
                f"{least} images at least; generate more or leave the few-shot arms out"
            )

    def announce(self, arms: Iterable[str] | None = None, timed: bool = True) -> list[PlannedRun]:
        """Report what exists, what is missing and, if ``timed``, how long; returns the plan."""
        runs = self.plan(arms)
        warm, missing = self.missing(runs)
        stored = len(runs) - len(missing)
        self.report(f"{counted(len(runs), 'run')} needed, {stored} stored")
        if missing:
            first = f" and {counted(len(warm), 'warm start')} before them" if warm else ""
            needed = ""
            if timed:
                configs = [task.config for task in (*missing, *warm)]
                works = [(config, *self._images(config)) for config in configs]
                seconds = seconds_of_each(works, self.device)
                self._expected |= {c.digest(): s for c, s in zip(configs, seconds, strict=True)}
                total = sum(seconds) / self.runs_at_once(len(missing))
                needed = f", about {clock(total)} on this machine"
                needed += drawn_first(data_config(self.parameters))
            self.report(f"{len(missing)} to train{first}{needed}")
            self._tell_of_few_steps()
        return runs

    def _tell_of_few_steps(self) -> None:
        """A handful of images passed a few times teaches nothing, and looks like a bad network."""
        asked, generated = self.parameters, self.parameters.dataset == "simulation"
        images = asked.train_images if generated else len(self.data.train)
        steps = asked.epochs * math.ceil(images / asked.batch_size)
        if steps < asked.warmup_steps:
            self.report(
                f"{steps} steps of training are fewer than warmup_steps = {asked.warmup_steps}: "
                f"expect next to nothing, and raise epochs ({asked.epochs} now)"
            )

    def missing(self, plan: Sequence[PlannedRun]) -> tuple[list[Task], list[Task]]:
        """What is to be trained of a plan: the warm starts that its runs lack, and these runs.

        Seed by seed, and of a seed the longest first, once :meth:`announce` has measured how long:
        a long run that is begun last leaves the other cores idle.
        """
        runs = [
            Task(f"[{number}/{len(plan)}] {run.arm}, seed {run.seed}", run.config)
            for number, run in enumerate(plan, start=1)
            if run.result is None
        ]
        starts = {start.digest(): start for run in runs if (start := run.config.warm_run())}
        warm = [
            Task(f"[warm start] {start.detector.name}, seed {start.seed}", start)
            for start in starts.values()
            if self.store.starting_weights(start) is None
        ]
        turn = {seed: at for at, seed in enumerate(self.parameters.seeds)}
        expected = self._expected
        runs.sort(key=lambda t: (turn[t.config.seed], -expected.get(t.config.digest(), 0.0)))
        return warm, runs

    def _images(self, config: RunConfig) -> tuple[int, int]:
        """How many images the run is trained and tested on."""
        if simulation := config.data.simulation:
            train, test = simulation.train_images, simulation.test_images
        else:
            train, test = len(self.data.train), len(self.data.test)
        return config.data.shots * len(config.data.classes) or train, test

    def results(self, arms: Iterable[str] | None = None) -> dict[tuple[str, int], Result]:
        """(arm, seed) -> result of every run of these arms: :meth:`plan`, then :meth:`train`."""
        return self.train(self.plan(arms))

    def train(
        self, plan: Sequence[PlannedRun], deadline: float = float("inf")
    ) -> dict[tuple[str, int], Result]:
        """(arm, seed) -> result of every planned run, trained now where missing.

        As many runs are trained side by side as `runs_at_once` says, the warm starts that they
        need before them. On a CPU results do not depend on it.

        Args:
            plan: of :meth:`plan` or :meth:`announce`.
            deadline: a :func:`time.monotonic` after which no epoch is started.

        Raises:
            doamlib.training.TrainingError: a loss diverged.
            doamlib.training.OutOfTime: the deadline passed; the next call goes on from there.
        """
        warm, missing = self.missing(plan)
        for shots in {task.config.data.shots for task in missing}:
            self.data.few_shot(shots)  # refused before anything is trained
        if warm:
            harmless = open_data(warm[0].config.data, None, self.processes, self.report)
            self._train_all(warm, harmless, deadline)
        if missing:
            self._train_all(missing, self.data, deadline)
        return {
            (run.arm, run.seed): run.result or self.store.find(run.config, self.fingerprint)
            for run in plan
        }

    def found(self, arms: Iterable[str]) -> dict[tuple[str, int], Result]:
        """What is trained of these arms, with the parameters' seeds; nothing is trained for it."""
        seeds = self.parameters.seeds
        runs = [self._planned(arm, seed) for arm in known_arms(arms) for seed in seeds]
        return {(run.arm, run.seed): run.result for run in runs if run.result}

    def _train_all(self, tasks: list[Task], data: Data, deadline: float) -> None:
        """Train these, which share their data; images are decoded first, by all processes."""
        for split in ("train", "test"):
            data.cached(split, self.parameters.image_size, self.processes, self.report)
        at_once = self.runs_at_once(len(tasks))
        limits = Limits(deadline, 1 if at_once > 1 else self.processes, at_once)
        Trainer(self.store, self.device, data, limits).train_all(tasks, self.report)

    def runs_at_once(self, missing: int) -> int:
        """How many of ``missing`` runs are trained side by side: at least 1, at most one a core.

        On a GPU small networks share it, because one alone leaves it idle most of the time; a
        full-size network has it for itself.
        """
        if self.device.type != "cpu" and self.parameters.width == 1:
            return 1
        return max(1, min(self.parameters.processes, os.cpu_count(), missing))
