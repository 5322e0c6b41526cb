"""Why does DOAM's attention switch on or not: python scripts/probe_attention.py [READING ...]

Trains an SSD with each reading of the module on the training part of the reference data, under two
recipes, and looks at the validation part only. Watched: gamma, the gradient that each step gives
it, and at the end what M looks like and what the detections lose when M is exchanged
(:mod:`doamlib.evaluation.map_swaps`). Recipes:

- ``ours``: that of params/reference.yaml, shorter.
- ``gamma's own rate``: the same, gamma alone learning `GAMMA_RATE` times as fast.
- ``official``: SGD at the official code's rate, momentum and weight decay, pixels of 0 to 255 that
  nothing normalises (the starting weights' first layer is rescaled, so that it computes the same),
  no clipping, batches of 24.

The rule for the variant that stands beside the code's reading, written before these runs: of the
readings that keep the code's module and change how it is fed or how M is blended in, those act that
lose 1 mAP or more when images exchange their maps. The one with the fewest changes stands, and
among equals the one that loses most. If none acts, the one that loses most stands, and the book
says that it does not act. Added on 27 November 2026, when a gamma that starts at 1 had been seen
to change nothing and before the next reading was run: if none of these acts, batch normalisation
and ReLU in the branches' steps (the paper's words for them) are tried as one change more; the
variant stands if it acts by the same measure.

Written to ``book/measurements/attention_probe.json``, reading by reading.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import torch
import torch.nn.utils.parametrize as parametrize
from choose_recipe import held_out  # beside this file
from torch import nn

from doamlib.core import paths
from doamlib.core.determinism import reproducible
from doamlib.core.files import write_text
from doamlib.core.provenance import record
from doamlib.evaluation.map_swaps import map_effect
from doamlib.evaluation.test_set import TestSet
from doamlib.experiments.arms import ARMS
from doamlib.experiments.parameters import Parameters, from_file
from doamlib.experiments.study import Study, run_config
from doamlib.models.detector import MEAN, STD, Detector, build_detector, load_weights
from doamlib.models.doam import DOAMConfig
from doamlib.recipe import SamplingConfig, TrainingConfig
from doamlib.training import Training

EPOCHS = 3
POINTS = 40
GAMMA_RATE = 30.0
OWN_RATE = "gamma's own rate"
RECIPES = ("ours", OWN_RATE, "official")
READINGS = {
    "code": DOAMConfig(),
    "no gamma": DOAMConfig(gamma=None),
    "gamma starts at 1": DOAMConfig(gamma=1.0),
    "standardised inputs": DOAMConfig(branch_inputs="standardised"),
    "standardised inputs, no gamma": DOAMConfig(branch_inputs="standardised", gamma=None),
    "normalised steps, no gamma": DOAMConfig(block="conv-bn-relu", gamma=None),
    "as the paper says": DOAMConfig.paper(),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("readings", nargs="*", default=list(READINGS))
    arguments.add_argument("--recipes", nargs="*", choices=RECIPES, default=["ours", "official"])
    options = arguments.parse_args()
    study = Study(from_file(paths.repository() / "params" / "reference.yaml"))
    data = held_out(study.data)
    target = paths.measurements() / "attention_probe.json"
    stored = json.loads(target.read_text()) if target.is_file() else {}
    found = stored["readings"] if stored.get("data") == study.fingerprint else {}
    made = record(study.device)  # now, since the file that is written here is a tracked one
    for reading in options.readings:
        for recipe in options.recipes:
            one = probe(reading, recipe, study, data) | {"provenance": made}
            found.setdefault(reading, {})[recipe] = one
            print(reading, recipe, found[reading][recipe]["effect"], flush=True)
            content = {"readings": found, "epochs": EPOCHS, "gamma_rate": GAMMA_RATE}
            content["data"] = study.fingerprint
            write_text(target, json.dumps(content, indent=1) + "\n")


def probe(reading: str, recipe: str, study: Study, data) -> dict:
    """One short training; gamma and its gradient step by step, thinned to ``POINTS`` stretches."""
    parameters, device = study.parameters, study.device
    config = run_config(parameters, ARMS["SSD"], seed=0)
    doam = READINGS[reading].slimmed(parameters.doam_width)
    detector = build_detector(config.detector.model_copy(update={"doam": doam}), seed=0)
    load_weights(detector, study.store.starting_weights(config.warm_run()))
    if recipe == "official":
        without_normalisation(detector)
    detector.to(device)
    train, held = (data.cached(part, detector.image_size, 1, print) for part in ("train", "test"))
    gammas, gradients = [], []

    def note(gradient: torch.Tensor) -> None:
        gradients.append(float(gradient) / (GAMMA_RATE if recipe == OWN_RATE else 1))
        gammas.append(float(detector.doam.gamma.detach()))

    if doam.gamma is not None:
        learned = detector.doam.gamma
        if recipe == OWN_RATE:
            parametrize.register_parametrization(detector.doam, "gamma", Scaled())
            learned = detector.doam.parametrizations.gamma.original
        learned.register_hook(note)
    with tempfile.TemporaryDirectory() as folder, reproducible(device):
        recipe_config = training_config(recipe, parameters, config.training)
        training = Training(
            detector, train, recipe_config, SamplingConfig(), 0, Path(folder), device
        )
        training.run(print)
        effect = map_effect(detector, held, TestSet.of(data.test), device)
    return {
        "loss": [round(epoch["loss"], 4) for epoch in training.history.epochs],
        "gamma": thinned(gammas),
        "gradient_mean": thinned(gradients),
        "gradient_sd": thinned(gradients, statistics.pstdev),
        "steps": len(training.history.loss),
        "effect": effect,
        "learning_rate": recipe_config.learning_rate,
    }


def training_config(recipe: str, parameters: Parameters, ours: TrainingConfig) -> TrainingConfig:
    """Ours for ``EPOCHS`` passes; or the official code's (TrainingConfig's defaults)."""
    if recipe == "official":
        return TrainingConfig(epochs=EPOCHS, precision=parameters.precision)
    return ours.model_copy(update={"epochs": EPOCHS})


class Scaled(nn.Module):
    """`GAMMA_RATE` times a learned number: Adam's steps do not depend on a gradient's size, so the
    product moves so much faster than the number itself.
    """

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """What the module uses."""
        return GAMMA_RATE * value

    def right_inverse(self, value: torch.Tensor) -> torch.Tensor:
        """What is learned."""
        return value / GAMMA_RATE


def without_normalisation(detector: Detector) -> None:
    """Feed pixels of 0 to 255 to the network, its first convolution rescaled to compute the same.

    Exact but for the border, where zero padding now stands for a black pixel, not an average one.
    """
    channels = len(detector.mean)
    mean, std = (torch.tensor(values[:channels]).view(1, -1, 1, 1) for values in (MEAN, STD))
    first = detector.network.get_submodule(detector.network.first_layer)
    with torch.no_grad():
        first.weight.div_(std)
        first.bias.sub_((first.weight * mean).sum(dim=(1, 2, 3)))
        detector.mean.zero_()
        detector.std.fill_(1.0)


def thinned(values: list[float], of=statistics.fmean) -> list[float]:
    """``of`` each of up to ``POINTS`` equal stretches."""
    size = max(1, -(-len(values) // POINTS))
    return [round(of(values[i : i + size]), 8) for i in range(0, len(values), size)]


if __name__ == "__main__":
    main()
