"""Admission once more: every check by its own arithmetic, in layers that each fail one of them."""

import admission_again
import pytest
from claims_again import claims_of
from fabricated import FULL, reference
from layers import (
    DOAM,
    DOAM_O,
    NORMALISED,
    PAPER,
    REAL,
    SHORT,
    SMALL,
    a_step_less,
    fewer,
    last_epochs,
    levels,
    no_plain,
    no_pools,
    only,
    plain_map,
    pools_of_images,
    runs_of,
    short_pools,
    slim_doam,
)

from doamlib.claims import outcomes
from doamlib.experiments import references

STEPS, TRAIN, TEST = "optimiser steps", "training images", "test images"
SLIM, POOL = "DOAM's channels", "pool full"


def of_plain(name):
    return [
        f"mAP of plain {name}",
        f"plain {name} finds less where items are hidden",
        f"rise of plain {name} in its last fifth",
    ]


MAP, FALL, RISE = of_plain("SSD")


def unchanged(layer):
    pass


def both(*changes):
    def change(layer):
        for one in changes:
            one(layer)

    return change


def train_images(count):
    def change(layer):
        for result in runs_of(layer):
            result.metrics["train_images"] = count

    return change


def alternating(low, high):
    """Plain SSD's mAP, seed by seed."""

    def change(layer):
        for number, result in enumerate(runs_of(layer, "SSD")):
            result.metrics["AP"]["mAP"] = (low, high)[number % 2] / 100

    return change


def one_run_rises(layer):
    """By four points, where the others rise by none: on average 0.4."""
    for epoch, value in zip(layer.results["SSD", 3].history.epochs[-3:], (40, 40, 44), strict=True):
        epoch["test_mAP"] = value / 100


EVERY_FOURTH = dict(seen=(1, 5, 9))

CASES = [
    *((unchanged, scale, number, []) for scale in (SMALL, FULL, SHORT, REAL) for number in (9, 4)),
    *((a_step_less, scale, 1, [STEPS]) for scale in (SMALL, FULL, SHORT, REAL)),
    (a_step_less, FULL, 4, []),
    (fewer("train_images"), SMALL, 2, [TRAIN]),
    (fewer("train_images"), SMALL, 12, []),
    (fewer("images"), SMALL, 3, [TEST]),
    (fewer("images"), REAL, 11, [TEST]),
    *((train_images(7109), scale, 5, []) for scale in (FULL, SHORT, REAL)),
    *((train_images(7108), scale, 5, [TRAIN]) for scale in (FULL, SHORT, REAL)),
    (train_images(7999), SMALL, 6, [TRAIN]),
    *((slim_doam, SMALL, number, [SLIM]) for number in (5, 7, 10)),
    (both(slim_doam, a_step_less), SMALL, 9, [STEPS, SLIM]),
    (plain_map("SSD", 30.0), SMALL, 4, []),
    (plain_map("SSD", 29.99), SMALL, 12, [MAP]),
    (plain_map("YOLOv3", 29.9), SMALL, 6, of_plain("YOLOv3")[:1]),
    (plain_map("FCOS", 29.9), SMALL, 5, of_plain("FCOS")[:1]),
    (plain_map("FCOS", 29.9), SMALL, 1, []),
    (alternating(25, 35), SMALL, 4, []),
    (alternating(25, 34.9), SMALL, 4, [MAP]),
    (levels("SSD", 60, 50, 50), SMALL, 3, [FALL]),
    (levels("SSD", 60, 60, 40), SMALL, 4, [FALL]),
    (levels("SSD", 50, 60, 40), SMALL, 9, [FALL]),
    (levels("SSD", 60, 50), SMALL, 11, [FALL]),
    (levels("SSD"), SMALL, 7, [FALL]),
    (levels("YOLOv3", 60, 40, 50), SMALL, 5, of_plain("YOLOv3")[1:2]),
    (levels("SSD", 60.02, 60.01, 60), SMALL, 7, []),
    (last_epochs("SSD", 40, 40, 41), SMALL, 1, [RISE]),
    (last_epochs("SSD", 40, 45, 40.99), SMALL, 1, []),
    (last_epochs("SSD", 50, 45, 40), SMALL, 2, []),
    (last_epochs("FCOS", 40, 40, 42), SMALL, 6, of_plain("FCOS")[2:]),
    (last_epochs("SSD", 38, 0, 0, 0, 40.1, **EVERY_FOURTH), SMALL, 10, [RISE]),
    (last_epochs("SSD", 38, 0, 0, 0, 39.9, **EVERY_FOURTH), SMALL, 10, []),
    (last_epochs("SSD", 40, seen=(9,)), SMALL, 4, [RISE]),
    (one_run_rises, SMALL, 4, []),
    (short_pools(DOAM_O, 1), SMALL, 12, []),
    (short_pools(DOAM_O, 2), SMALL, 12, [POOL]),
    (short_pools(DOAM_O, 2), SMALL, 5, []),
    (short_pools("FCOS+DOAM-O", 2), SMALL, 6, [POOL]),
    (short_pools("SSD+DOAM-R", 2), SMALL, 7, [POOL]),
    (short_pools("SSD+DOAM-R", 2), SMALL, 9, []),
    (no_pools, SMALL, 9, [POOL]),
    (no_pools, SMALL, 1, []),
    (pools_of_images(DOAM_O), SMALL, 12, []),
    (pools_of_images(DOAM_O, short=1), SMALL, 12, [POOL]),
    (no_plain("YOLOv3"), SMALL, 6, of_plain("YOLOv3")),
    (both(only(PAPER), a_step_less), SMALL, 1, []),  # only beside it the code's reading fails
    (both(only(PAPER), no_plain("SSD")), SMALL, 11, of_plain("SSD")),
]
"""What is changed, at which scale, a claim, and the checks that fail for that one."""


def of_reading(layer, claim, reading):
    """Checks of a claim with a reading in the place of the code's."""
    arms = [reading if arm == DOAM else arm for arm in claim.arms]
    return admission_again.checks(layer.parameters, layer.results, arms, claim.sampling)


def assert_admitted(verdict, failed):
    if not failed:
        assert verdict.status != "not admitted"
        return
    states = {part.status for part in (verdict.parts | verdict.beside).values()}
    assert states | {verdict.status} == {"not admitted"} and verdict.power is None
    assert [reason.split(": ")[0] for reason in verdict.reason.split("; ")] == failed


def assert_admitted_again(layer):
    """Check by check, and nothing is said where one fails; returns what failed, by claim."""
    claims, failed = claims_of(layer.results), {}
    found = outcomes([layer], list(claims))
    for number, claim in claims.items():
        at = found[number].scales[admission_again.scale_of(layer.parameters)]
        own = of_reading(layer, claim, at.reading)
        if own:
            assert [(check.name, check.holds) for check in at.checks] == list(own.items()), number
        failed[number] = [name for name, holds in own.items() if not holds]
        assert_admitted(at.verdict, failed[number])
        if at.code:
            code = of_reading(layer, claim, DOAM)
            assert_admitted(at.code, [name for name, holds in code.items() if not holds])
    return failed


@pytest.mark.parametrize(
    ("change", "scale", "number", "failing"),
    CASES,
    ids=[f"{n}-{', '.join(case[3]) or 'admitted'}" for n, case in enumerate(CASES)],
)
def test_each_check_follows_from_what_the_runs_left_behind(change, scale, number, failing, smoke):
    steps = 4000 if scale in (SMALL, SHORT) else 17820
    layer = reference(smoke, changes=scale, steps=steps)
    change(layer)
    assert assert_admitted_again(layer)[number] == failing


def test_every_check_fails_alone_somewhere():
    alone = {failing[0] for *_, failing in CASES if len(failing) == 1}
    assert alone >= {TRAIN, TEST, STEPS, SLIM, MAP, FALL, RISE, POOL}


def test_stored_layers_are_admitted_or_not_by_what_they_left_behind():
    stored = [layer for layer in references() if admission_again.scale_of(layer.parameters)]
    if not stored:
        pytest.skip("no reference results are stored yet")
    for layer in stored:
        assert_admitted_again(layer)


@pytest.mark.parametrize("reading", [PAPER, NORMALISED])
def test_a_reading_that_is_judged_must_pass_itself(reading, smoke):
    layer = reference(smoke, changes=SMALL, steps=4000)
    only(reading)(layer)
    layer.results[reading, 3].history.loss.pop()
    at = outcomes([layer], [1])[1].scales["small"]
    assert at.reading == reading != DOAM and at.verdict.status == "not admitted"
