"""Sentences that follow from results, also from results that nobody hopes for."""

import re

import pytest
from fabricated import FULL, TRAINED, fabricate, reference

from doamlib.claims.claims import outcomes
from doamlib.claims.comparison import map_losses
from doamlib.claims.findings import _about_cost, found, how_sure, summary
from doamlib.experiments.archive import Reference
from doamlib.experiments.arms import READINGS

SMALL = FULL | {"width": 0.2, "image_size": 96}


def test_without_results_nothing_is_claimed():
    judged = outcomes([])
    assert found(judged[1]) == "Claim 1 was not run yet, at any scale."
    assert how_sure(judged[1]) == "Nothing may be said about it before it has run."
    assert [line.split("? ")[1] for line in summary(judged)[:4]] == ["Not run yet."] * 4
    assert summary(judged)[4].endswith("no run on the real OPIXray data has been contributed yet.")


def test_a_fact_is_told_without_seeds():
    judged = outcomes([], [13])
    assert found(judged[13]).startswith("Claim 13 does not hold: sixteen real boxes cover")
    assert how_sure(judged[13]) == "It needs no training, so no seed is in it."


def test_a_fact_of_several_parts_counts_them_and_names_those_that_decide():
    said = found(outcomes([], [8])[8])
    assert said.startswith(
        "Claim 8 holds (2 of 2 hold); for “adds no more than the text says”: parameters "
    )
    assert "; beside it, “cheap in use” does not hold: with DOAM " in said


@pytest.mark.parametrize(
    ("options", "verb", "answers"),
    [
        ({}, "holds (4 of 4 hold)", ["Yes", "Yes", "Yes"]),
        ({"sign": -1.0}, "does not hold (0 of 4 hold, 4 against)", ["No", "No", "No"]),
        (
            {"sign": 0.0},
            "shows no effect (0 of 4 hold, 4 no effect)",
            ["It makes no difference"] * 3,
        ),
        ({"seeds": 3}, "stays open (0 of 4 hold, 4 open)", ["Open"] * 3),
        ({"steps": 100}, "cannot be decided", ["Not decided (these runs are not admitted)"] * 3),
    ],
)  # fmt: skip
def test_every_outcome_has_its_words(smoke, options, verb, answers):
    judged = outcomes([reference(smoke, changes=SMALL, **options)])
    said = found(judged[1])
    assert said.startswith(f"On small networks on generated images, claim 1 {verb}: ")
    told = said
    pattern = r"SSD\+DOAM-T − SSD (\S+) \[(\S+), (\S+)\] mAP \(paper (\S+)\)"
    mean, low, high, paper = map(float, re.search(pattern, told).groups())
    estimate = judged[1].verdict.parts["SSD+DOAM-T − SSD"].estimate
    assert (mean, low, high) == pytest.approx(
        (estimate.mean, estimate.low, estimate.high), abs=6e-3
    )
    assert paper == 3.12 and said.endswith("; and 1 more.")
    for line, answer in zip(summary(judged), answers, strict=False):
        assert line.split("? ")[1].startswith(f"{answer}")
        assert "on small networks on generated images" in line


def test_how_sure_names_seeds_power_and_what_did_not_run(smoke):
    judged = outcomes([reference(smoke, changes=SMALL)])
    assert how_sure(judged[1]) == (
        "Judged by 10 seeds and 95% intervals; differences as large as the paper's would show as a "
        "whole in 100 of 100 such studies; not run yet: full size and OPIXray."
    )
    short = outcomes([reference(smoke, changes=SMALL, steps=100)])
    assert (
        "these runs may not decide it (optimiser steps: 100, needed" in how_sure(short[1]).lower()
    )


def test_parts_with_unequal_seeds_are_told_as_a_range(smoke):
    layer = reference(smoke, changes=SMALL)
    for seed in range(5, 10):
        del layer.results["SSD+SE", seed]
    assert "5 to 10 seeds" in how_sure(outcomes([layer])[1])


def test_the_attention_sentence_names_the_readings_that_act(smoke):
    every = summary(outcomes([reference(smoke, changes=SMALL)]))[3]
    assert every.startswith("Does the attention act? Yes, on small networks")
    layer = reference(smoke, changes=SMALL, acts=False)
    none = summary(outcomes([layer]))[3]
    assert none.startswith("Does the attention act? In no reading of the module, on")
    for (arm, seed), result in layer.results.items():
        if arm == READINGS[1]:
            result.metrics = fabricate(arm, seed).metrics
    one = summary(outcomes([layer]))[3]
    assert one.startswith(f"Does the attention act? Only in “{READINGS[1]}”, on")
    assert all(f" in “{reading}”" in one.split("changes the mAP by")[1] for reading in READINGS)
    losses = map_losses(layer.results, READINGS[1], "other").values()
    change = -sum(losses) / len(losses)
    assert f"{change:+.2f}" in one
    told = found(outcomes([layer])[1])
    assert re.search(r"mAP as the paper says and \S+ \[\S+ \S+\] as the code says \(paper", told)
    assert f"the code's own reading {'holds'}" in how_sure(outcomes([layer])[1])


def test_part_of_a_claim_is_not_everywhere(smoke):
    layer = reference(smoke, changes=SMALL)
    for (arm, seed), result in layer.results.items():
        if arm == "SSD+SE":
            result.metrics["AP"]["mAP"] = 0.99 + 1e-4 * seed
    judged = outcomes([layer])
    assert found(judged[1]).split(": ")[0].endswith("(3 of 4 hold, 1 against)")
    assert summary(judged)[0].endswith("mAP (paper +3.12).")  # and of no other difference
    assert "help? Yes, on" in summary(judged)[0]  # DOAM does; that it beats a rival is another part
    for (arm, seed), result in layer.results.items():
        if arm == "FCOS+DOAM-O":
            result.metrics["AP"]["mAP"] = 0.01 + 1e-4 * seed
    assert "add to it? Not everywhere (2 of 3 hold, 1 against), on" in summary(outcomes([layer]))[2]


def test_real_data_are_counted(smoke):
    layer = reference(smoke, changes=FULL | {"dataset": "opixray"}, seeds=5)
    judged = outcomes([layer])
    assert summary(judged)[4].endswith("11 claims were run on the real OPIXray data.")
    only = {number: judged[number] for number in (1, 8)}
    assert _about_cost(only).endswith("; 1 claim was run on the real OPIXray data.")


def test_a_larger_scale_that_stays_open_is_told_beside_the_one_that_decides(smoke):
    real = reference(smoke, changes=FULL | {"dataset": "opixray"}, seeds=3)
    judged = outcomes([reference(smoke, changes=SMALL), real], [1])[1]
    assert judged.best.scale.name == "small"
    assert "; on full-size networks on OPIXray it stays open; not run yet: full size." in how_sure(
        judged
    )


def told(layer):
    """Every sentence about every claim."""
    judged = outcomes([layer])
    return [*map(found, judged.values()), *map(how_sure, judged.values()), *summary(judged)]


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("arm", TRAINED)
def test_results_that_come_in_piece_by_piece_have_their_words(smoke, arm, missing):
    whole = reference(smoke, changes=SMALL)
    some = {run: r for run, r in whole.results.items() if (run[0] == arm) is not missing}
    for sentence in told(Reference(whole.parameters, some, {})):
        assert sentence.endswith(".") and "None" not in sentence and "nan" not in sentence


def test_arms_without_a_common_seed_decide_nothing(smoke):
    layer = reference(smoke, changes=SMALL)
    for seed in range(5):
        del layer.results["SSD+Non-local", seed]
    for seed in range(5, 10):
        del layer.results["SSD", seed]
    judged = outcomes([layer], [4])
    assert judged[4].best.verdict.status == "not run yet"
    assert found(judged[4]) == (
        "On small networks on generated images, claim 4 was not run whole yet: none of its arms "
        "share a seed."
    )
    assert how_sure(judged[4]).startswith("No seed has all that it compares; ")


def test_arms_of_two_kinds_of_processor_are_not_said_to_share_no_seed(smoke):
    layer = reference(smoke, changes=SMALL)
    for (arm, _), result in layer.results.items():
        if arm == "SSD":
            result.provenance["hardware"] = {"device": "a GPU", "cpu": "", "cores": 2}
    said = found(outcomes([layer], [4])[4])
    assert said.endswith(": its arms were trained on different kinds of processor.")


def test_data_that_cannot_tell_hide_no_other_scale_and_are_named_where_there_is_none(smoke):
    """Real data know no occlusion, so nothing about a pool's can be measured on them."""
    real = reference(smoke, changes=FULL | {"dataset": "opixray"}, seeds=5)
    for result in real.results.values():
        result.metrics["pool"] = {}
    small = reference(smoke, changes=SMALL, seeds=3)
    both = outcomes([small, real], [12])[12]
    assert both.best.scale.name == "small" and both.verdict.status == "open"
    assert found(both).startswith("On small networks on generated images, claim 12 stays open")
    alone = found(outcomes([real], [12])[12])
    assert alone.endswith(
        "claim 12 was not run whole yet: these data do not hold what it takes to tell."
    )


def test_the_attention_sentence_is_open_until_every_reading_is_settled(smoke):
    layer = reference(smoke, changes=SMALL, seeds=5, acts=False)
    assert "Open" not in summary(outcomes([layer]))[3]
    for seed, lost in enumerate((8, -2, 7, -1, 3)):  # a mean of 3, and anything may be true
        own = layer.results[READINGS[0], seed].metrics["attention"]["own"]
        layer.results[READINGS[0], seed].metrics["attention"]["other"] = own - lost / 100
    assert "Open, at a first look: in no reading" in summary(outcomes([layer]))[3]
    layer = reference(smoke, changes=SMALL, seeds=5)
    for seed in range(1, 5):
        del layer.results[READINGS[1], seed]
    assert "Open, at a first look: yes" in summary(outcomes([layer]))[3]


def test_parts_with_units_of_their_own_leave_no_gap(smoke):
    for sentence in told(reference(smoke, changes=SMALL)):
        assert not re.search(r"  | [.;,]", sentence)


def test_one_seed_and_refused_runs_answer_nothing_about_the_attention(smoke):
    one = outcomes([reference(smoke, changes=SMALL, seeds=1)])
    assert summary(one)[3].startswith("Does the attention act? Open, at a first look: yes, on ")
    assert "one seed, which has no interval, decides nothing" in how_sure(one[1]).lower()
    refused = outcomes([reference(smoke, changes=SMALL, steps=100)])
    said = "Does the attention act? Not decided (these runs are not admitted), on "
    assert summary(refused)[3].startswith(said)
