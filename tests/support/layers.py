"""Fabricated layers that differ from the paper's numbers in one thing each: what the second
reading of verdicts and of admission is asked of.
"""

from fabricated import FULL, fabricate, reference

DOAM, DOAM_O = "SSD+DOAM-T", "SSD+DOAM-O"
PAPER, NORMALISED = "SSD+DOAM-T, as the paper says", "SSD+DOAM-T, normalised steps"
SMALL = FULL | {"width": 0.2, "image_size": 96, "profile": "reference"}
SHORT = FULL | {"profile": "paper-short"}
REAL = FULL | {"dataset": "opixray"}


def runs_of(layer, *arms):
    """The results of these arms, or all."""
    return [r for (arm, _), r in layer.results.items() if not arms or arm in arms]


# --- what differences are made of -----------------------------------------------------------------

OPTIONS = {
    "like the paper": {},
    "like the paper at full size": {"changes": FULL},
    "turned": {"sign": -1.0},
    "nothing": {"sign": 0.0, "maps_noise": 0.0005},
    "noisy": {"noise": 1.0},
    "a little below": {"sign": -0.05, "noise": 0.15},
    "a little below and noisy": {"sign": -0.2, "noise": 0.5},
    "nine seeds": {"seeds": 9},
    "five seeds": {"noise": 0.5, "seeds": 5},
    "four seeds": {"seeds": 4},
    "two seeds": {"seeds": 2},
    "one seed": {"seeds": 1},
    "every seed the same": {"noise": 0.0},
    "steps of a short schedule": {"changes": SHORT, "steps": 4000},
}


def an_arm_is_missing(layer):
    for seed in range(10):
        del layer.results["SSD+SE", seed]


def seeds_are_missing(layer):
    for arm in ("SSD+Non-local", "YOLOv3", DOAM_O):
        for seed in (0, 4, 9):
            del layer.results[arm, seed]


def only_plain_detectors(layer):
    for arm, seed in list(layer.results):
        if "+" in arm:
            del layer.results[arm, seed]


def two_processors(layer):
    for seed in range(3):
        layer.results["SSD", seed].provenance["hardware"]["cpu"] = "another"
    for arm in ("SSD+SE", DOAM):
        layer.results[arm, 5].provenance["hardware"]["device"] = "a card"


def boxes_alone(layer):
    for result in runs_of(layer):
        for scores in result.metrics["maps"].values():
            del scores["lift_silhouette"]
            for random in scores.get("random", {}).values():
                del random["lift_silhouette"]


def no_maps_and_pools(layer):
    for result in runs_of(layer):
        del result.metrics["maps"]
        result.metrics |= {"pool": {}, "attention": {}}


def a_pool_of_little_more(layer):
    """More occluded than the average, and less so than is asked for."""
    for number, result in enumerate(runs_of(layer, DOAM_O)):
        result.metrics["pool"]["pooled_occlusion"] = 0.32 + 1e-4 * number


def one_rival_is_just_ahead(layer):
    """By a third of a point (p = 0.03), where the other rivals are far behind."""
    ahead = zip(runs_of(layer, "SSD+SE"), runs_of(layer, DOAM), strict=True)
    for number, (rival, doam) in enumerate(ahead):
        points = 1 / 3 + (0.4 if number % 2 else -0.4)
        rival.metrics["AP"]["mAP"] = doam.metrics["AP"]["mAP"] + points / 100


CHANGES = {
    "an arm is missing": an_arm_is_missing,
    "seeds are missing": seeds_are_missing,
    "plain detectors alone": only_plain_detectors,
    "two processors": two_processors,
    "boxes alone": boxes_alone,
    "no maps and pools": no_maps_and_pools,
    "a pool of little more": a_pool_of_little_more,
    "one rival is just ahead": one_rival_is_just_ahead,
}


# --- which reading acts ---------------------------------------------------------------------------


def only(*acting):
    """Elsewhere than in these readings the map does nothing and the arm is no better than SSD."""

    def change(layer):
        for (arm, seed), result in layer.results.items():
            if arm in {DOAM, PAPER, NORMALISED} - {*acting}:
                inert = fabricate(arm, seed, sign=0.0, acts=False).metrics
                result.metrics |= {name: inert[name] for name in ("AP", "attention", "levels")}

    return change


def loses(arm, points):
    """An arm's mAP falls by these points, seed by seed, where images exchange their maps."""

    def change(layer):
        only(PAPER)(layer)
        for result, lost in zip(runs_of(layer, arm), points, strict=True):
            result.metrics["attention"] = {"own": lost / 100, "other": 0.0, "edge_map": 0.0}

    return change


def a_reading_has_fewer_seeds(fewer):
    def change(layer):
        only(PAPER)(layer)
        for seed in range(fewer):
            del layer.results[PAPER, seed]

    return change


READING = {
    "every reading acts": (only(DOAM, PAPER, NORMALISED), DOAM),
    "the paper's acts": (only(PAPER), PAPER),
    "the normalised acts": (only(NORMALISED), NORMALISED),
    "both others act": (only(PAPER, NORMALISED), PAPER),
    "none acts": (only(), DOAM),
    "the code's loses a point": (loses(DOAM, [1.0] * 10), DOAM),
    "the code's loses almost a point": (loses(DOAM, [1.0] * 9 + [0.99]), PAPER),
    "the code's loses much, and not surely": (loses(DOAM, [9.0, -1.0] * 3 + [-1.0] * 4), PAPER),
    "the acting one has fewer seeds": (a_reading_has_fewer_seeds(3), PAPER),
    "the acting one has as few as a verdict needs": (a_reading_has_fewer_seeds(5), PAPER),
    "the acting one has too few seeds": (a_reading_has_fewer_seeds(6), DOAM),
}
"""Name -> the change, and the reading that is to be judged."""

NAMES = (*OPTIONS, *CHANGES, *READING)


def layer_named(name, smoke):
    """One of `NAMES`: small networks, unless its options say otherwise."""
    options = OPTIONS.get(name, {})
    if "changes" not in options:
        options = {"changes": SMALL, "steps": 4000} | options
    layer = reference(smoke, **options)
    if name in CHANGES:
        CHANGES[name](layer)
    if name in READING:
        change, _ = READING[name]
        change(layer)
    return layer


# --- what admission looks at ----------------------------------------------------------------------


def fewer(name):
    """One of the counts of a single run is one short of what is asked for."""

    def change(layer):
        layer.results[DOAM, 3].metrics[name] -= 1

    return change


def a_step_less(layer):
    layer.results[DOAM, 3].history.loss.pop()


def slim_doam(layer):
    """One channel less, in one convolution of one run."""
    detector = layer.results[DOAM, 3].config.detector
    slim = {"material_channels": (8, 16, 31, 16, 8)}
    detector.doam = detector.doam.model_copy(update=slim)


def plain_map(detector, points):
    def change(layer):
        for result in runs_of(layer, detector):
            result.metrics["AP"]["mAP"] = points / 100

    return change


def levels(detector, *points):
    def change(layer):
        for result in runs_of(layer, detector):
            by_level = zip(("OL1", "OL2", "OL3"), points, strict=False)
            result.metrics["levels"] = {name: {"mAP": value / 100} for name, value in by_level}

    return change


def last_epochs(detector, *points, seen=range(10)):
    """The test mAP after the last epochs, looked at after those of ``seen`` alone."""

    def change(layer):
        for result in runs_of(layer, detector):
            epochs = result.history.epochs
            for epoch, value in zip(epochs[-len(points) :], points, strict=True):
                epoch["test_mAP"] = value / 100
            for number in set(range(10)) - {*seen}:
                del epochs[number]["test_mAP"]

    return change


def short_pools(arm, count, seed=3):
    """As many pools of one run lack a batch."""

    def change(layer):
        for entry in layer.results[arm, seed].history.pool[:count]:
            entry["batches"] = entry["batches"][1:]

    return change


def pools_of_images(*arms, short=0):
    """The arms' pools hold images, of a tenth of the batches, ``short`` too few in one run."""

    def change(layer):
        for result in runs_of(layer, *arms):
            sampling = result.config.sampling.model_copy(update={"pool_of": "images"})
            result.config.sampling = sampling
            for entry in result.history.pool:
                entry["batches"] = entry["batches"] * 24
        for entry in layer.results[arms[0], 3].history.pool:
            entry["batches"] = entry["batches"][short:]

    return change


def no_pools(layer):
    for result in runs_of(layer):
        result.history.pool = []


def no_plain(detector):
    def change(layer):
        for seed in range(10):
            layer.results.pop((detector, seed), None)

    return change
