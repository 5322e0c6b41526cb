"""Results that nobody trained: what admission, claims and findings read, with a known truth."""

from functools import cache
from types import SimpleNamespace

import numpy as np

from doamlib.claims.comparison import printed
from doamlib.data.classes import CLASSES, SHORT_NAMES
from doamlib.experiments.archive import Reference
from doamlib.experiments.arms import ARMS, CORE, READINGS

FULL = {
    "dataset": "simulation",
    "profile": "paper",
    "width": 1.0,
    "image_size": 300,
    "field_of_view": 1.0,
}
TRAINED = (*CORE, *READINGS[1:])
EPOCHS = 10
NAMES = dict(zip(SHORT_NAMES, CLASSES, strict=True)) | {"mAP": "mAP"}
papers = cache(printed)  # read once, not for every result


def papers_ap(arm):
    """Column -> AP that the paper prints for an arm; a reading of DOAM-T counts as DOAM-T."""
    own = "SSD+DOAM-T" if arm in READINGS else arm
    for name in ("IV", "VI", "VII", "IX"):
        if own in papers(name).index:
            return papers(name).loc[own].to_dict()
    raise KeyError(arm)


def fabricate(arm, seed, sign=1.0, noise=0.05, acts=True, steps=17820, maps_noise=0.005):
    """A result as the paper would have it.

    Args:
        arm: one of `TRAINED`.
        seed: of the noise.
        sign: -1 turns every difference to the plain detector around.
        noise: standard deviation in points.
        acts: whether exchanging maps costs 5 points, or nothing.
        steps: of the optimiser.
        maps_noise: standard deviation of how strongly maps and pool prefer the item, as a share.
    """
    rng = np.random.default_rng([seed, TRAINED.index(arm)])

    def value(theirs, base):
        return (base + sign * (theirs - base) + rng.normal(0, noise)) / 100

    ours, base = papers_ap(arm), papers_ap(arm.split("+")[0].split(",")[0])
    metrics = {"AP": {NAMES[n]: value(ours[n], base[n]) for n in NAMES}}
    levels = papers("V")
    of_arm = "SSD+DOAM-T" if arm in READINGS else arm
    by_level = levels.loc[of_arm if of_arm in levels.index else "SSD"]
    metrics["levels"] = {
        level: {"mAP": value(by_level[level], levels.loc["SSD", level])} for level in levels
    }
    metrics |= {"images": 1776, "train_images": 8000}
    strength = sign * (0.2 if "DOAM" in arm else 0.0) + rng.normal(0, maps_noise)
    metrics |= _maps(strength, np.random.default_rng([seed, TRAINED.index(arm), 1]))
    if "DOAM" in arm:
        lost = sign * 0.05 + rng.normal(0, 0.001) if acts else rng.normal(0, 0.001)
        own = metrics["AP"]["mAP"]
        metrics["attention"] = {"own": own, "other": own - lost, "edge_map": own - 0.96 * lost}
    return _result(arm, seed, metrics, steps)


def _result(arm, seed, metrics, steps):
    return SimpleNamespace(
        metrics=metrics,
        config=SimpleNamespace(
            data=SimpleNamespace(classes=CLASSES),
            detector=SimpleNamespace(doam=ARMS[arm].doam),
            sampling=ARMS[arm].sampling.model_copy(update={"pool_batches": 0.1}),
            training=SimpleNamespace(batch_size=24),
        ),
        history=_history(arm, metrics["AP"]["mAP"], steps),
        provenance={
            "commit": "abcdef0123",
            "dirty": False,
            "seed": seed,
            "training_seconds": 1.0,
            "hardware": {"device": "cpu", "cpu": "a processor", "cores": 2},
        },
        name=f"{arm}-{seed}",
        digest=lambda: "d",
        stale="",
    )


def _maps(strength, rng):
    """No two numbers are alike, so that one that is read for another shows."""

    def near(mean):
        return mean + rng.normal(0, 0.001)

    def scores(share):
        preferred = {"cover": 0.5, "evenness": 0.4, "lift_silhouette": 1.0, "lift_box": 0.98}
        found = {name: {"mean": near(m + share * strength)} for name, m in preferred.items()}
        # Weights drawn anew leave no preference, and neither have the maps that nobody trained.
        parts = {"doam": 1.0, "late": 0.99, "all": 0.98}
        random = {p: {"lift_silhouette": near(m), "lift_box": near(m)} for p, m in parts.items()}
        return found | {"random": random, "blank": near(0.1)}

    def plain(mean):
        return {name: {"mean": near(mean)} for name in ("lift_silhouette", "lift_box")}

    maps = {"attention": scores(1.0), "gradcam": scores(0.8)}
    maps |= {"edges": plain(1.0), "darkness": plain(1.01)}
    pool = {"pooled_occlusion": 0.3 + strength, "epoch_occlusion": 0.3, "most_occluded": 0.4}
    return {"maps": maps, "pool": pool}


def _history(arm, ap, steps):
    each = steps // EPOCHS
    retrained = 0 if ARMS[arm].sampling.strategy == "traditional" else round(0.1 * each)
    epochs = [
        {"steps": each + retrained, "retrained": retrained, "test_mAP": ap * min(1.0, 0.5 + n / 10)}
        for n in range(1, EPOCHS + 1)
    ]
    pool = [{"batches": [{}] * retrained} for _ in range(EPOCHS if retrained else 0)]
    loss = [1.0] * (steps + EPOCHS * retrained)
    return SimpleNamespace(loss=loss, epochs=epochs, pool=pool)


def reference(smoke, seeds=10, arms=TRAINED, changes=FULL, **options):
    """A layer of fabricated results, full size unless ``changes`` say otherwise."""
    results = {(a, s): fabricate(a, s, **options) for s in range(seeds) for a in arms}
    return Reference(smoke.model_copy(update=changes), results, {})
