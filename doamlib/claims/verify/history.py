"""Does a stored history fit the configuration that it claims to come from?

Steps, epochs and learning rates follow from the configuration and are computed again. A made-up
history would have to get every step's rate right, and every epoch's mean loss.
"""

from __future__ import annotations

import math

from doamlib.claims.verify.packed import EXACT, ROUNDED, PackedRun
from doamlib.experiments.results import RunConfig
from doamlib.recipe import planned_steps
from doamlib.training import History

MEMBER = "history.json"


def check_history(run: PackedRun) -> None:
    """Steps, epochs, learning rates, mean losses and pools against the configuration.

    Raises:
        doamlib.claims.verify.safe_zip.ArchiveError: the first thing that does not fit.
    """
    config, images = run.result.config, training_images(run)
    batches = math.ceil(images / config.training.batch_size)
    _check_steps(run, images, batches)
    _check_epochs(run, batches)
    stored = {"learning_rate": run.result.history.learning_rate}
    right = {"learning_rate": learning_rates(config, run.result.history, batches)}
    run.same(stored, right, MEMBER, EXACT, ROUNDED)
    _check_pool(run, images, batches)


def training_images(run: PackedRun) -> int:
    """How many there are, as far as the configuration tells; of real data the metrics say it."""
    config, stored = run.result.config, run.result.metrics["train_images"]
    right = config.data.shots * len(config.data.classes) or stored
    if config.data.simulation and not config.data.shots:
        right = config.data.simulation.train_images
    run.same({"train_images": stored}, {"train_images": right}, "metrics.json", 0)
    return right


def _check_steps(run: PackedRun, images: int, batches: int) -> None:
    history, config = run.result.history, run.result.config
    training, sampling = config.training, config.sampling
    most = planned_steps(sampling, batches, training.epochs)
    exact = sampling.strategy == "traditional" or sampling.equal_steps
    least = most if exact else batches * training.epochs
    steps = len(history.loss)
    right = (
        f"{training.epochs} epochs of {images} images in batches of {training.batch_size} take "
        f"{most}{'' if exact else f' at most and {least} at least'}"
    )
    run.need(least <= steps <= most, MEMBER, f"loss: {steps} steps", right)
    for name in ("learning_rate", "retrained"):
        found = len(getattr(history, name))
        run.need(found == steps, MEMBER, f"{name}: {found} steps", f"loss has {steps}")
    count = len(history.epochs)
    right = f"the configuration has {training.epochs}"
    whole = count == training.epochs or (sampling.equal_steps and count < training.epochs)
    run.need(whole, MEMBER, f"epochs: {count}", right)


def _check_epochs(run: PackedRun, batches: int) -> None:
    history, start = run.result.history, 0
    cut = run.result.config.sampling.equal_steps
    for number, epoch in enumerate(history.epochs):
        place, steps, again = f"epochs[{number}]", epoch["steps"], epoch["retrained"]
        found = f"{place}: {steps} steps, {again} of them retrained"
        fits = steps - again == batches or (cut and 0 <= steps - again < batches)
        run.need(fits, MEMBER, found, f"an epoch has {batches} batches")
        flags = history.retrained[start : start + steps]
        last = flags == [False] * (steps - again) + [True] * again
        right = f"the last {again} steps are retrained"
        run.need(last, MEMBER, f"{place}: retrained is not true there", right)
        mean = sum(history.loss[start : start + steps]) / steps
        run.same({place: epoch["loss"]}, {place: mean}, MEMBER, ROUNDED, ROUNDED)
        start += steps
    right = f"loss has {len(history.loss)}"
    run.need(start == len(history.loss), MEMBER, f"epochs: {start} steps", right)


def learning_rates(config: RunConfig, history: History, batches: int) -> list[float]:
    """The rate of every step, as :class:`doamlib.training.Training` sets it.

    Args:
        config: of the run.
        history: says which steps were retrained ones.
        batches: of an epoch.
    """
    training, rates = config.training, []
    planned = batches * training.epochs
    if config.sampling.equal_steps:
        return [training.rate_at(step, planned) for step in range(len(history.loss))]
    for number, epoch in enumerate(history.epochs):
        own = [training.rate_at(number * batches + step, planned) for step in range(batches)]
        rates += own + [sum(own) / batches] * epoch["retrained"]
    return rates


def _check_pool(run: PackedRun, images: int, batches: int) -> None:
    history, config = run.result.history, run.result.config
    sampling, size = config.sampling, config.training.batch_size
    every = len(history.epochs) // sampling.retrain_every
    right = every if sampling.strategy != "traditional" else 0
    found = f"pool: {len(history.pool)} retrainings"
    run.need(len(history.pool) == right, MEMBER, found, f"{right} by the configuration")
    most = sampling.pool_size(batches) * (size if sampling.pool_of == "images" else 1)
    for number, entry in enumerate(history.pool):
        place, held = f"pool[{number}]", entry["batches"]
        found = f"{place}: {len(held)} held"
        run.need(len(held) <= most, MEMBER, found, f"the pool holds {most}")
        again = dict(enumerate(epoch["retrained"] for epoch in history.epochs)).get(entry["epoch"])
        found = f"{place}: {entry['retrained']} retrained in epoch {entry['epoch']}"
        run.need(entry["retrained"] == again, MEMBER, found, f"that epoch has {again}")
        largest = max((max(batch["indices"]) for batch in held), default=0)
        found = f"{place}: image index {largest}"
        run.need(largest < images, MEMBER, found, f"there are {images} training images")
