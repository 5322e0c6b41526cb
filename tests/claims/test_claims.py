"""Every claim gets a verdict at every scale, from fabricated results whose truth is known."""

import re
from types import SimpleNamespace

import pytest
from fabricated import FULL, fabricate, reference

from doamlib.claims import rules, scoreboard
from doamlib.claims.claims import CLAIMS, outcomes
from doamlib.claims.scoreboard import (
    MADE_AGAIN,
    as_html,
    compute_used,
    drawn_interval,
    in_words,
    statuses,
)
from doamlib.claims.verdict import judge
from doamlib.core import paths
from doamlib.experiments.archive import Reference
from doamlib.experiments.arms import READINGS

TRAINED = [claim.number for claim in CLAIMS if claim.arms]
SMALL = {"width": 0.2, "image_size": 96}
PAPER = READINGS[1]


def at_full_size(references):
    found = outcomes(references)
    return {n: o.fact or o.scales["full size"].verdict for n, o in found.items()}


def test_there_are_thirteen_claims_and_each_has_a_verdict_without_any_result():
    found = outcomes([])
    assert list(found) == list(range(1, 14)) == [claim.number for claim in CLAIMS]
    for number in TRAINED:
        scales = found[number].scales
        assert list(scales) == ["small", "full size", "OPIXray"]
        for at in scales.values():
            assert at.verdict.status == at.verdict.headline == "not run yet"
            assert {part.status for part in at.verdict.parts.values()} == {"not run yet"}
            assert at.reference is None and at.checks == ()
        assert found[number].best is None and found[number].runs == {}
    assert (found[8].fact.status, found[13].fact.status) == ("supported", "contradicted")
    assert found[8].scales == found[13].scales == {}
    assert found[13].verdict == found[13].fact


def test_every_claim_has_a_page_of_the_book_and_a_place_in_the_paper():
    for claim in CLAIMS:
        assert (paths.book() / f"{claim.page}.ipynb").is_file()
        assert re.match(r"(Table [IVX]+|Fig\. \d|Section [IVX]+-[A-E])\b", claim.where)
        assert claim.statement.endswith(".")
    assert {c.number for c in CLAIMS if c.readings} == {1, 2, 3, 10, 11}
    assert {c.number for c in CLAIMS if c.pool} == {6, 7, 9, 12}


SHOWN = """
1 Table IV; mAP; SSD+DOAM-T, SSD, SSD+SE, SSD+Non-local, SSD+DA
2 Table IV, Section V-A; AP; SSD+DOAM-T, SSD
3 Table V, Fig. 5; mAP; SSD+DOAM-T, SSD, SSD+SE, SSD+Non-local, SSD+DA
4 Table V; mAP; SSD, SSD+Non-local
5 Table VI; mAP; SSD+DOAM-T, SSD, YOLOv3+DOAM-T, YOLOv3, FCOS+DOAM-T, FCOS
6 Table VI; mAP; SSD+DOAM-O, SSD+DOAM-T, YOLOv3+DOAM-O, YOLOv3+DOAM-T, FCOS+DOAM-O, FCOS+DOAM-T
7 Table VII; mAP; SSD+DOAM-T, SSD+DOAM-O, SSD+DOAM-E, SSD+DOAM-R, SSD+DOAM-F
8 Table VIII; ;
9 Table IX; mAP; SSD, SSD+Concat, SSD+EG, SSD+EG+MA/G, SSD+DOAM-T, SSD+DOAM-O
10 Fig. 6; ; SSD+DOAM-T, SSD
11 Fig. 7; ; SSD+DOAM-T
12 Section IV-B, I; points of occlusion; SSD+DOAM-O
13 Section III-C; % of the image;
"""
"""Number, place in the paper, unit and the arms that are read, as a reader would list them."""


def test_each_claim_is_read_from_its_place_in_its_unit_from_its_arms():
    lines = [f"{c.number} {c.where}; {c.unit}; {', '.join(c.arms)}".strip() for c in CLAIMS]
    assert lines == SHOWN.strip().splitlines()


def test_the_parts_of_what_is_said_of_maps_and_pools_are_named_by_their_question():
    """A reader of the scoreboard sees these names and nothing else of the rule."""
    found = outcomes([])
    parts = {n: list(found[n].verdict.parts) for n in (2, 10, 11, 12)}
    ahead = [f"gain ST − gain {name}" for name in ("FO", "SC", "UT", "MU")]
    assert parts[2] == [*ahead, "mean gain − gain SC"]
    target = "on the target (lift minus 1)"
    learned = "learned (lift minus that of random weights)"
    assert parts[10] == ["wider (cover, %)", "more even (evenness, %)", target, learned]
    assert parts[11] == [target, learned, "used (own map above another image's, mAP)"]
    assert list(found[11].verdict.beside) == [
        "lift above that of edges",
        "lift above that of darkness",
        "mAP with its own map above that with plain edges for a map",
    ]
    assert list(found[10].verdict.beside) == ["more maps are blank and left out (%)"]
    reach = "above 25% of what choosing batches by occlusion would reach"
    assert parts[12] == ["more occluded than the average", reach]


def test_the_papers_numbers_are_those_of_its_tables():
    tested = {claim.number: claim.test({}) for claim in CLAIMS}
    paper = {n: {k: p.paper for k, p in (v.parts | v.beside).items()} for n, v in tested.items()}
    assert [round(v, 2) for v in paper[1].values()] == [3.12, 2.16, 2.6, 2.05]
    assert [round(paper[2][f"gain {n}"], 2) for n in ("ST", "SC", "MU")] == [6.48, 1.71, 0.56]
    assert [round(v, 2) for v in paper[2].values()][:5] == [2.02, 4.77, 4.14, 5.92, 1.41]
    at = [round(paper[3][f"gain over SSD at OL{level}"], 2) for level in (1, 2, 3)]
    assert at == [2.42, 2.91, 4.48]
    assert round(paper[3]["its rise from level to level, over SSD"], 2) == round(
        (4.48 - 2.42) / 2, 2
    )
    assert round(paper[4]["SSD − SSD+Non-local"], 2) == round(66.30 - 65.87, 2)
    assert [round(v, 2) for v in paper[5].values()][:3] == [3.12, 1.04, 0.39]
    assert [round(v, 2) for v in paper[6].values()] == [0.56, 1.15, 1.39]
    assert [round(v, 2) for v in paper[7].values()] == [1.35, 1.15, 1.32, 0.79, 0.59, 0.76]
    assert [round(v, 2) for v in paper[9].values()] == [1.43, 0.43, 0.37, 0.89, 0.26]


def test_what_a_claim_says_about_cost_is_judged_and_what_it_does_not_say_stands_beside():
    fact = outcomes([])[8].fact
    assert list(fact.parts) == [
        "adds no more than the text says",
        "fewer parameters than SE, Non-local, DA",
    ]
    assert fact.status == "supported" and fact.headline == "2 of 2 hold"
    assert fact.beside["cheap in use"].status == "contradicted"
    said, fewer = (part.reason for part in fact.parts.values())
    used = fact.beside["cheap in use"].reason
    assert (
        "parameters 0.10% (said 0.41%), size 0.10% (said 0.11%), GFLOPs 7.14% (said 7.14%)" in said
    )
    time, memory = map(float, re.findall(r"([0-9.]+) times", used))
    assert 1.1 < time < 1.5 and 1.1 < memory < 1.9 and "(cheap: up to 1.1)" in used
    counts = [int(n.replace(",", "")) for n in re.findall(r"([0-9,]+) fewer than", fewer)]
    assert len(counts) == 2 and min(counts) > 0
    assert fewer.count("rival as counted, ") == 1 and fewer.endswith("rival at the text's places")


def test_what_doam_adds_may_not_be_more_than_the_text_says(monkeypatch):
    counted = {"parameters": 0.10, "size": 0.10, "GFLOPs": 7.14}  # as the reasons above give it
    for said, status in (
        (counted, "supported"),
        (counted | {"size": 0.11}, "supported"),
        (counted | {"size": 0.09}, "contradicted"),
        (counted | {"GFLOPs": 7.13}, "contradicted"),
    ):
        monkeypatch.setattr(rules, "SAID", said)
        assert rules.judge_cost({}).parts["adds no more than the text says"].status == status


def test_doam_has_fewer_parameters_only_if_each_rival_has_more(monkeypatch):
    rows, places = rules._counted()
    for rival in ("SE", "Non-local", "DA"):
        small = places.copy()
        small[rival] = small["DOAM"]  # as many are not fewer
        monkeypatch.setattr(rules, "_counted", lambda small=small: (rows, small))
        part = rules.judge_cost({}).parts["fewer parameters than SE, Non-local, DA"]
        assert part.status == "contradicted"
        assert "0 fewer than the smallest rival at the text's places" in part.reason


def test_small_is_what_lies_within_the_limit(monkeypatch):
    largest = float(re.search(r"to ([0-9.]+)% of", rules.judge_small({}).reason)[1])
    for limit, status in ((largest, "supported"), (largest / 1.005, "contradicted")):
        monkeypatch.setattr(rules, "SMALL", limit / 100 + 1e-9)
        assert rules.judge_small({}).status == status


def test_results_like_the_papers_support_every_trained_claim(smoke):
    found = at_full_size([reference(smoke)])
    assert {n: found[n].status for n in TRAINED} == dict.fromkeys(TRAINED, "supported")
    for number in TRAINED:
        for part in (found[number].parts | found[number].beside).values():
            assert part.status in ("supported", "open") or part.paper is not None
            if part.paper is not None:
                assert part.estimate.mean == pytest.approx(part.paper, abs=0.4)


def test_results_turned_around_contradict_every_trained_claim(smoke):
    found = at_full_size([reference(smoke, sign=-1.0)])
    assert {n: found[n].status for n in TRAINED} == dict.fromkeys(TRAINED, "contradicted")


def test_results_without_a_difference_show_no_effect_on_mAP(smoke):
    found = at_full_size([reference(smoke, sign=0.0)])
    assert {found[n].status for n in (1, 2, 5, 6, 7, 9)} == {"no effect"}
    assert found[1].headline == "0 of 4 hold, 4 no effect"


def test_results_drowned_in_noise_are_open(smoke):
    found = at_full_size([reference(smoke, noise=3.0)])
    assert [found[n].status for n in (1, 3, 6, 7, 9)] == ["open"] * 5


def test_the_cost_for_two_classes_is_shown_and_does_not_decide(smoke):
    layer = reference(smoke)
    cost = at_full_size([layer])[5].beside["its cost for YOLOv3, FO"]
    assert cost.status == "supported"
    for (arm, seed), result in layer.results.items():
        if arm == "YOLOv3+DOAM-T":  # mAP as in the paper, classes turned around
            turned = fabricate(arm, seed, sign=-1.0).metrics["AP"]
            result.metrics["AP"] = turned | {"mAP": result.metrics["AP"]["mAP"]}
    verdict = at_full_size([layer])[5]
    assert verdict.beside["its cost for YOLOv3, FO"].status == "contradicted"
    assert verdict.status == "supported"


# --- scales and admission -------------------------------------------------------------------------


def test_results_that_fall_short_are_shown_and_not_admitted(smoke):
    layer = reference(smoke, seeds=6, steps=17810)
    at = outcomes([layer])[1].scales["full size"]
    assert at.verdict.status == at.verdict.headline == "not admitted"
    assert at.verdict.reason == "optimiser steps: 17,810, needed 17,820"
    ours = at.verdict.parts["SSD+DOAM-T − SSD"]
    assert ours.status == "not admitted" and at.verdict.power is None
    assert ours.estimate.mean == pytest.approx(3.12, abs=0.2) and ours.estimate.n == 6
    html = as_html({1: outcomes([layer])[1]})
    estimate = ours.estimate
    assert f"{estimate.mean:+.2f} [{estimate.low:+.2f}, {estimate.high:+.2f}]" in html
    for said in ("OPIXray-Sim", "6 seeds", "a processor", "commit abcdef0", at.verdict.reason):
        assert said in html or said.capitalize() in html


def test_every_check_that_failed_is_told(smoke):
    layer = reference(smoke, seeds=6, steps=17810)
    for result in layer.results.values():
        result.metrics["images"] = 1700
    said = outcomes([layer])[4].scales["full size"].verdict.reason
    assert said == "test images: 1,700, needed 1,776; optimiser steps: 17,810, needed 17,820"
    costs = outcomes([layer])[5].scales["full size"].verdict.beside.values()
    assert {cost.status for cost in costs} == {"not admitted"}


def test_a_claim_about_sampling_needs_its_pool_and_others_do_not(smoke):
    layer = reference(smoke)
    for (arm, _), result in layer.results.items():
        if arm == "SSD+DOAM-O":
            result.history.pool = []
    found = at_full_size([layer])
    not_admitted = {n for n in TRAINED if found[n].status == "not admitted"}
    assert not_admitted == {6, 7, 9, 12}


def test_each_scale_speaks_for_itself(smoke):
    full = reference(smoke, sign=-1.0)
    small = reference(smoke, changes=FULL | SMALL)
    real = reference(smoke, changes=FULL | {"dataset": "opixray"}, seeds=3)
    outcome = outcomes([small, full, real])[1]
    words = {name: at.verdict.status for name, at in outcome.scales.items()}
    assert words == {"small": "supported", "full size": "contradicted", "OPIXray": "open"}
    assert outcome.best.scale.name == "full size" and outcome.verdict.status == "contradicted"
    assert outcomes([small, real])[1].best.scale.name == "small"
    assert outcomes([real])[1].best.scale.name == "OPIXray"
    nothing = reference(smoke, sign=0.0, changes=FULL | SMALL)  # decides, and open results do not
    assert outcomes([nothing, real])[1].best.scale.name == "small"
    # One profile a scale, never pooled: the first.
    both = outcomes([small, reference(smoke, sign=-1.0, changes=FULL | SMALL)])
    arms = {*CLAIMS[0].arms, *READINGS}
    assert both[1].runs.keys() == {(f"small: {a}", seed) for a in arms for seed in range(10)}


def test_sources_name_the_plain_detectors_that_admission_reads(smoke):
    runs = outcomes([reference(smoke, changes=FULL | SMALL)])[6].runs
    assert {(f"small: {name}", 0) for name in ("SSD", "YOLOv3", "FCOS")} <= runs.keys()


def test_few_seeds_leave_it_open_and_stale_results_are_never_read(smoke):
    found = at_full_size([reference(smoke, seeds=3)])
    assert {found[n].status for n in TRAINED} == {"open"}
    assert "3 of the 5 seeds" in found[1].reason and "3 of the 10 seeds" in found[6].reason
    layer = reference(smoke)
    found = at_full_size([Reference(layer.parameters, {}, layer.results)])
    assert {found[n].status for n in TRAINED} == {"not run yet"}


def test_five_seeds_settle_what_the_paper_prints_as_a_point_or_more(smoke):
    found = at_full_size([reference(smoke, seeds=5)])
    assert {n for n in TRAINED if found[n].status == "supported"} == {1, 2, 10, 11, 12}
    assert found[5].headline == "2 of 3 hold, 1 open"


def test_one_missing_arm_leaves_the_claims_that_need_it_open(smoke):
    layer = reference(smoke)
    for seed in range(10):
        del layer.results["SSD+SE", seed]
    found = at_full_size([layer])
    assert {n for n in TRAINED if found[n].status == "open"} == {1, 3}
    assert found[1].parts["SSD+DOAM-T − SSD+SE"].status == "not run yet"
    assert found[1].parts["SSD+DOAM-T − SSD"].status == "supported"


def test_arms_of_one_seed_on_two_kinds_of_processors_are_no_pair(smoke):
    layer = reference(smoke)
    for seed in range(6):
        layer.results["SSD", seed].provenance["hardware"]["cpu"] = "another"
    found = at_full_size([layer])
    parts = found[1].parts
    assert parts["SSD+DOAM-T − SSD"].estimate.n == 4
    assert parts["SSD+DOAM-T − SSD+SE"].estimate.n == 10
    assert found[10].parts["wider (cover, %)"].estimate.n == 4
    for seed in range(6):  # one GPU, whatever processor stands beside it
        for arm in ("SSD", "SSD+DOAM-T"):
            layer.results[arm, seed].provenance["hardware"]["device"] = "a card"
    assert at_full_size([layer])[1].parts["SSD+DOAM-T − SSD"].estimate.n == 10


def test_other_data_and_layers_without_results_decide_nothing(smoke):
    full, empty = reference(smoke, seeds=5), reference(smoke, seeds=0)
    baggage = reference(smoke, seeds=1, changes=FULL | {"dataset": "coco"})
    found = outcomes([baggage, empty, full], numbers=[1, 13])
    assert list(found) == [1, 13]
    assert found[1].scales["full size"].reference is full
    assert [found[1].scales[name].reference for name in ("small", "OPIXray")] == [None, None]


# --- attention ------------------------------------------------------------------------------------


def only_the_papers_reading_acts(smoke):
    """The code's map is inert and its arm no better than SSD; the paper's text acts and is."""
    layer = reference(smoke, acts=False)
    for (arm, seed), result in layer.results.items():
        if arm == PAPER:
            result.metrics = fabricate(arm, seed).metrics
        if arm == "SSD+DOAM-T":
            inert = fabricate(arm, seed, sign=0.0, acts=False).metrics
            result.metrics |= {"AP": inert["AP"], "attention": inert["attention"]}
    return layer


def test_the_reading_that_acts_is_judged_and_the_codes_beside_it(smoke):
    found = outcomes([only_the_papers_reading_acts(smoke)])
    at = found[1].scales["full size"]
    assert (at.reading, at.verdict.status, at.code.status) == (PAPER, "supported", "contradicted")
    assert at.code.parts["SSD+DOAM-T − SSD"].status == "no effect"
    assert at.verdict.parts["SSD+DOAM-T − SSD"].status == "supported"
    assert "the code's reading" in as_html({1: found[1]}) and PAPER in as_html({1: found[1]})
    chosen = found[11].scales["full size"].verdict
    assert chosen.status == "supported"
    # What a reading was chosen for is no test of it.
    assert rules.USED not in chosen.parts and chosen.beside[rules.USED].status == "supported"
    assert found[11].scales["full size"].code.parts[rules.USED].status == "no effect"
    assert (f"full size: {PAPER}", 0) in found[1].runs
    # Claims with arms that exist in the code's reading alone are judged on that.
    at = found[5].scales["full size"]
    assert (at.reading, at.code) == ("SSD+DOAM-T", None)
    assert at.verdict.parts["SSD+DOAM-T − SSD"].status == "no effect"


def test_a_reading_is_judged_by_its_own_seeds_alone(smoke):
    layer = only_the_papers_reading_acts(smoke)
    del layer.results[PAPER, 9]
    at = outcomes([layer])[1].scales["full size"]
    part = "SSD+DOAM-T − SSD"
    assert (at.verdict.parts[part].estimate.n, at.code.parts[part].estimate.n) == (9, 10)


def test_where_the_codes_map_acts_or_none_does_the_codes_reading_is_judged(smoke):
    for layer in (reference(smoke), reference(smoke, acts=False)):
        at = outcomes([layer])[1].scales["full size"]
        assert (at.reading, at.code) == ("SSD+DOAM-T", None)
        assert at.verdict.status == "supported"


def test_a_map_that_nothing_uses_is_not_wholly_supported(smoke):
    verdict = at_full_size([reference(smoke, acts=False)])[11]
    assert verdict.headline == "2 of 3 hold, 1 no effect" and verdict.status == "open"


def test_maps_and_pools_that_were_not_stored_were_not_run(smoke):
    bare = reference(smoke)
    for result in bare.results.values():
        del result.metrics["maps"]
        result.metrics["pool"] = {}
        result.metrics["attention"] = {}
    found = at_full_size([bare])
    assert {found[n].status for n in (10, 11, 12)} == {"not run yet"}


def test_a_map_that_random_weights_give_too_is_no_support(smoke):
    full = reference(smoke)
    for (_, seed), result in full.results.items():
        for kind in ("attention", "gradcam"):
            of_kind = result.metrics["maps"][kind]
            mean = of_kind["lift_silhouette"]["mean"] + 0.1 + 0.01 * seed
            of_kind["random"] = {part: {"lift_silhouette": mean} for part in ("doam", "all")}
    found = at_full_size([full])
    assert [found[n].status for n in (10, 11)] == ["contradicted"] * 2
    learned = "learned (lift minus that of random weights)"
    assert found[11].parts[learned].status == "contradicted"
    on_target = found[11].parts["on the target (lift minus 1)"]
    assert on_target.status == "supported"
    assert on_target.estimate.mean == pytest.approx(0.2, abs=0.01)  # above an even spread


def test_edges_that_find_the_item_better_are_shown_and_do_not_decide(smoke):
    full = reference(smoke)
    for result in full.results.values():
        result.metrics["maps"]["edges"] = {"lift_silhouette": {"mean": 3.0}}
        if "attention" in result.metrics:
            result.metrics["attention"]["edge_map"] += 0.2
    verdict = at_full_size([full])[11]
    assert verdict.status == "supported"
    assert verdict.beside["lift above that of edges"].status == "contradicted"
    assert verdict.beside["lift above that of darkness"].status == "supported"
    instead = verdict.beside["mAP with its own map above that with plain edges for a map"]
    assert instead.status == "contradicted"
    assert instead.estimate.mean == pytest.approx(-15, abs=0.5)


def test_boxes_stand_in_where_no_silhouette_is_known(smoke):
    full = reference(smoke)
    for result in full.results.values():
        for scores in result.metrics["maps"].values():
            del scores["lift_silhouette"]
            for random in scores.get("random", {}).values():
                random.pop("lift_silhouette", None)
    found = at_full_size([full])
    assert [found[n].status for n in (10, 11)] == ["supported"] * 2


@pytest.mark.parametrize(
    ("pooled", "status", "headline"),
    [
        (0.3251, "supported", "2 of 2 hold"),  # just over a quarter of the way from 0.30 to 0.40
        (0.3249, "contradicted", "1 of 2 hold, 1 against"),
        (0.299, "contradicted", "0 of 2 hold, 2 against"),
    ],
)
def test_a_pool_must_be_notably_more_occluded_than_the_average(smoke, pooled, status, headline):
    full = reference(smoke)
    for (arm, seed), result in full.results.items():
        # Another arm's pool says nothing about the one of large losses.
        held = pooled if arm == "SSD+DOAM-O" else 0.3125
        result.metrics["pool"]["pooled_occlusion"] = held + 1e-6 * seed
    verdict = at_full_size([full])[12]
    assert (verdict.status, verdict.headline) == (status, headline)


def test_the_paper_against_itself():
    checks = rules.arithmetic()
    wrong = {name for name, verdict in checks.items() if verdict.status == "contradicted"}
    mean = "mAP is the mean of the classes (Table {})".format
    assert wrong == {
        *map(mean, ("IV", "VI", "VII")),
        "Scissor is the least occluded class (Section V-A)",
        "Parameters and size grow by the same percentage (Section V-D)",
        "DOAM-O is the same in Tables IV and IX",
    }
    assert (
        "0.41% and 0.11%, and size is"
        in checks["Parameters and size grow by the same percentage (Section V-D)"].reason
    )
    assert checks[mean("IX")].reason == "every row agrees up to rounding"
    same = checks["DOAM-O is the same in Tables IV and IX"]
    assert same.reason == "mAP 74.57 and 74.27; 1 of 5 classes agree"
    most = checks["ST, FO and UT gain most from DOAM (Section V-A)"]
    assert most.reason == "ST +6.48, FO +4.46, UT +2.34, SC +1.71, MU +0.56"
    assert "74.57, mean 74.32" in checks["mAP is the mean of the classes (Table IV)"].reason
    assert "83.80, mean 83.79" in checks["mAP is the mean of the classes (Table VI)"].reason
    first = checks["Scissor is the least occluded class (Section V-A)"]
    assert first.status == "contradicted"
    assert first.reason == "shares at OL3: ST 26.8%, SC 22.5%, MU 16.3%, FO 12.4%, UT 12.0%"


# --- the scoreboard -------------------------------------------------------------------------------


def test_the_page_says_every_verdict_in_words_in_a_column_a_scale(smoke):
    found = outcomes([reference(smoke), reference(smoke, sign=-1.0, changes=FULL | SMALL)])
    html = as_html(found)
    for number, outcome in found.items():
        row = html.split(f"<tr id='claim-{number}'>")[1].split("</tr>")[0]
        words = re.findall(r"<span class='verdict [a-z-]+'>([^<]+)</span>", row)
        expected = [at.verdict.status for at in outcome.scales.values()] or [outcome.fact.status]
        assert words == expected
    assert (
        "<caption>" in html and html.count("scope='row'") == 13 and html.count("scope='col'") == 4
    )
    said = statuses(found)
    small, full, real = said["1"].split("; ")
    assert (small, full) == ("small: 0 of 4 hold, 4 against", "full size: 4 of 4 hold")
    assert real == "OPIXray: not run yet"
    assert said["13"] == "contradicted" and list(said) == [str(n) for n in range(1, 14)]
    assert in_words(found) == "12 are supported and 1 is contradicted"
    assert in_words(outcomes([])) == (
        "1 is supported, 1 is contradicted and 11 have no run at any scale"
    )


def test_facts_are_told_with_what_stands_beside_them():
    html = as_html(outcomes([], [8, 13]))
    eight, thirteen = html.split("<tr id='claim-")[1:]
    assert "<small>2 of 2 hold, no training needed</small>" in eight
    assert "beside: cheap in use: contradicted, with DOAM a training step" in eight
    assert (
        "<small>no training needed</small>" in thirteen and "sixteen real boxes" in thirteen.lower()
    )


def test_a_drawn_interval_has_its_numbers_at_their_places():
    part = judge(dict(enumerate([0.0, 1.0, 2.0, 3.0, 4.0])), paper=8.0)  # 2.00 [0.04, 3.96]
    svg = drawn_interval(part)
    zero, mean = (
        float(re.search(p, svg)[1]) for p in (r"'zero' x1='([0-9.]+)'", r"cx='([0-9.]+)'")
    )
    low, high = map(float, re.search(r"'ours' x1='([0-9.]+)' x2='([0-9.]+)'", svg).groups())
    theirs = float(re.search(r"'paper' d='M([0-9.]+) ", svg)[1])
    assert 0 < zero < low < mean < high < theirs < 120
    assert (theirs - zero) / (mean - zero) == pytest.approx(4, rel=0.01)
    assert mean - low == pytest.approx(high - mean, abs=0.2)
    wider = drawn_interval(part, (-8.0, 8.0))
    middle = float(re.search(r"'zero' x1='([0-9.]+)'", wider)[1])
    assert middle == pytest.approx(60, abs=0.1)
    assert float(re.search(r"cx='([0-9.]+)'", wider)[1]) - middle == pytest.approx(13.4, abs=0.2)
    uneven = drawn_interval(part, (-4.0, 12.0))  # a margin of 0.96 on either side of 16
    zero = float(re.search(r"'zero' x1='([0-9.]+)'", uneven)[1])
    assert zero == pytest.approx(120 * 4.96 / 17.92, abs=0.06)
    assert set(re.findall(r"(?:cy|class='ours'.*? y1|y2)='([0-9.]+)'", uneven)) == {"7.0", "14"}
    nothing = drawn_interval(judge({}))
    assert "circle" not in nothing and "paper" not in nothing
    assert "circle" in drawn_interval(judge({0: 1.0}))


def test_compute_is_summed_in_hours_by_hardware_stale_results_too():
    def made(device, seconds, cores=2):
        hardware = {"cpu": "AMD", "cores": cores, "device": device}
        times = {"training_seconds": seconds, "evaluation_seconds": seconds / 10}
        return SimpleNamespace(provenance={"hardware": hardware} | times)

    here, there = made("cpu", 5400), made("NVIDIA H200", 900)
    parameters = SimpleNamespace(profile="reference")
    layer = Reference(parameters, {("SSD", 0): here, ("SSD", 1): there}, {("SSD", 2): here})
    rows = compute_used([layer, layer]).to_numpy().tolist()
    assert rows == [
        ["reference", "AMD, 2 cores", 4, 6.0, pytest.approx(0.6)],
        ["reference", "NVIDIA H200", 2, 0.5, pytest.approx(0.05)],
    ]


def test_the_scoreboard_links_to_pages_that_are_written():
    rows = as_html(outcomes([])).split("<tr id='claim-")[1:]
    assert len(rows) == 13
    for row in rows:
        pages = re.findall(r"<a href='(\w+)\.html(?:#[\w-]+)?'>[^<]+</a>", row)
        assert pages and all((paths.book() / f"{page}.ipynb").is_file() for page in pages)
    assert scoreboard._link("no_such_page") == "No such page"


def test_every_table_and_figure_of_the_paper_has_a_page():
    names = [name for name, _, _ in MADE_AGAIN]
    tables = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"]
    assert names == [f"Table {t}" for t in tables] + [f"Fig. {n}" for n in range(1, 8)]


def test_a_claim_names_the_seeds_of_the_runs_that_it_reads(smoke):
    whole = reference(smoke, seeds=10)
    some = {run: r for run, r in whole.results.items() if run[1] < 5 or run[0] == "SSD+EG"}
    html = as_html(outcomes([Reference(whole.parameters, some, {})], [4, 9]))
    four, nine = html.split("<tr id='claim-")[1:]
    assert "; 5 seeds; " in four and "; 10 seeds; " in nine
