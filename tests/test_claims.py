"""Every claim gets a verdict, from fabricated results whose truth is known."""

from types import SimpleNamespace

import numpy as np
import pytest

from doamlib import evidence
from doamlib.arms import CORE
from doamlib.claims import CLAIMS, outcomes
from doamlib.comparison import printed
from doamlib.data.classes import CLASSES, SHORT_NAMES
from doamlib.reference import Reference
from doamlib.scoreboard import MADE_AGAIN, as_html, statuses

FULL = {"width": 1.0, "image_size": 300, "train_images": 7109, "test_images": 1776}
TRAINED = [claim.number for claim in CLAIMS if claim.arms]


@pytest.fixture(scope="module")
def parameters(smoke):
    """Of a full-size profile, or of another one."""
    return lambda **changes: smoke.model_copy(update=FULL | {"field_of_view": 1.0} | changes)


def papers_ap(arm):
    """Column -> AP that the paper prints for an arm, from whichever table has it."""
    for name in ("IV", "VI", "VII", "IX"):
        if arm in printed(name).index:
            return printed(name).loc[arm].to_dict()
    raise KeyError(arm)


def fabricate(arm, seed, sign=1.0, noise=0.05):
    """A result as the paper would have it; ``sign=-1`` turns every difference to SSD around."""
    rng = np.random.default_rng([seed, list(CORE).index(arm)])

    def value(theirs, base):
        return (base + sign * (theirs - base) + rng.normal(0, noise)) / 100

    ours = papers_ap(arm)
    base = papers_ap(arm.split("+")[0])
    names = dict(zip(SHORT_NAMES, CLASSES, strict=True)) | {"mAP": "mAP"}
    metrics = {"AP": {names[n]: value(ours[n], base[n]) for n in names}}
    levels = printed("V")
    by_level = levels.loc[arm] if arm in levels.index else levels.loc["SSD"]
    metrics["levels"] = {
        level: {"mAP": value(by_level[level], levels.loc["SSD", level])} for level in levels
    }
    strength = sign * (0.2 if "DOAM" in arm else 0.0) + rng.normal(0, 0.005)
    means = {"cover": 0.5, "evenness": 0.5, "lift_silhouette": 1.0, "lift_box": 1.0}
    scores = {name: {"mean": mean + strength} for name, mean in means.items()}
    # Weights drawn anew leave no preference, and neither have the maps that nobody trained.
    random = {part: {"lift_silhouette": 1.0, "lift_box": 1.0} for part in ("doam", "late", "all")}
    plain = {"lift_silhouette": {"mean": 1.0}, "lift_box": {"mean": 1.0}}
    learned = scores | {"random": random}
    metrics["maps"] = {"attention": learned, "gradcam": learned, "edges": plain, "darkness": plain}
    metrics["pool"] = {"pooled_occlusion": 0.3 + strength, "epoch_occlusion": 0.3}
    provenance = {"commit": "abcdef0123", "dirty": False, "seed": seed, "training_seconds": 1.0}
    return SimpleNamespace(
        metrics=metrics, provenance=provenance, name=f"{arm}-{seed}", digest=lambda: "d", stale=""
    )


def verdicts(references):
    return {number: outcome.verdict for number, outcome in outcomes(references).items()}


def reference(parameters, seeds=6, **options):
    results = {(a, s): fabricate(a, s, **options) for s in range(seeds) for a in CORE}
    return Reference(parameters(), results, {})


def test_there_are_thirteen_claims_and_each_has_a_verdict_without_any_result():
    found = verdicts([])
    assert list(found) == list(range(1, 14)) == [claim.number for claim in CLAIMS]
    assert {found[n].status for n in TRAINED} == {"not tested here"}
    assert (found[8].status, found[13].status) == ("supported", "contradicted")


def test_the_papers_numbers_are_those_of_its_tables():
    paper = {claim.number: claim.printed() for claim in CLAIMS}
    assert [round(v, 2) for v in paper[1].values()] == [3.12, 2.16, 2.6, 2.05]
    assert round(paper[2]["gain ST"], 2) == 6.48
    assert round(paper[2]["gain SC"], 2) == 1.71
    at = [round(paper[3][f"gain over SSD at OL{level}"], 2) for level in (1, 2, 3)]
    assert at == [2.42, 2.91, 4.48]
    assert round(paper[3]["its rise a level, over SSD"], 2) == round((4.48 - 2.42) / 2, 2)
    assert round(paper[4]["SSD − SSD+Non-local"], 2) == round(66.30 - 65.87, 2)
    assert [round(v, 2) for v in paper[5].values()][:3] == [3.12, 1.04, 0.39]
    assert [round(v, 2) for v in paper[6].values()] == [0.56, 1.15, 1.39]
    assert min(paper[7].values()) > 0 and min(paper[9].values()) > 0
    assert round(paper[8]["million parameters"], 1) == 0.1
    assert round(paper[8]["GFLOPs"], 2) == 2.19


def test_results_like_the_papers_support_every_trained_claim(parameters):
    found = verdicts([reference(parameters)])
    assert {n: found[n].status for n in TRAINED} == dict.fromkeys(TRAINED, "supported")


def test_results_turned_around_contradict_every_trained_claim(parameters):
    found = verdicts([reference(parameters, sign=-1.0)])
    assert {n: found[n].status for n in TRAINED} == dict.fromkeys(TRAINED, "contradicted")


def test_results_drowned_in_noise_are_inconclusive(parameters):
    found = verdicts([reference(parameters, noise=40.0)])
    assert [found[n].status for n in (1, 3, 6, 7, 9)] == ["inconclusive"] * 5


def test_the_cost_for_two_classes_is_shown_and_does_not_decide(parameters):
    verdict = verdicts([reference(parameters)])[5]
    cost = verdict.parts["its cost for YOLOv3, FO"]
    assert cost.status == "supported"
    turned = {
        key: fabricate(*key, sign=-1.0 if key[0] == "YOLOv3+DOAM-T" else 1.0)
        for key in reference(parameters).results
    }
    for (arm, seed), result in turned.items():
        if arm == "YOLOv3+DOAM-T":  # mAP as in the paper, classes turned around
            result.metrics["AP"]["mAP"] = fabricate(arm, seed).metrics["AP"]["mAP"]
    verdict = verdicts([Reference(parameters(), turned, {})])[5]
    assert verdict.parts["its cost for YOLOv3, FO"].status == "contradicted"
    assert verdict.status == "supported"


@pytest.mark.parametrize("small", [{"width": 0.25}, {"train_images": 800}, {"field_of_view": 0.3}])
def test_small_networks_or_data_get_no_verdict_but_show_what_was_measured(parameters, small):
    full = reference(parameters)
    found = outcomes([Reference(parameters(**small), full.results, {})])
    assert {found[n].verdict.status for n in TRAINED} == {"not tested here"}
    ours = found[1].verdict.parts["SSD+DOAM-T − SSD"].estimate
    assert ours.mean == pytest.approx(3.12, abs=0.2)
    assert ours.low < ours.mean < ours.high and ours.n == 6
    row = as_html({1: found[1]})
    assert f"{ours.mean:+.2f} [{ours.low:+.2f}, {ours.high:+.2f}]" in row
    for said in ("OPIXray-Sim", "6 seeds", "commit abcdef0"):
        assert f"<span>{said}</span>" in row


def test_three_seeds_get_no_verdict(parameters):
    found = verdicts([reference(parameters, seeds=3)])
    assert {found[n].status for n in TRAINED} == {"not tested here"}
    assert "3 of the 5 seeds" in found[1].reason


def test_stale_results_are_never_read(parameters):
    full = reference(parameters)
    found = outcomes([Reference(parameters(), {}, full.results)])
    assert {found[n].verdict.status for n in TRAINED} == {"not tested here"}
    html = as_html({n: found[n] for n in TRAINED})
    assert html.count("here </span>") == html.count("here </span>–") >= len(TRAINED)


def test_one_missing_arm_leaves_the_claims_that_need_it_untested(parameters):
    full = reference(parameters)
    rest = {key: value for key, value in full.results.items() if key[0] != "SSD+SE"}
    found = verdicts([Reference(parameters(), rest, {})])
    untested = {n for n in TRAINED if found[n].status == "not tested here"}
    assert untested == {1, 3}


def test_maps_and_pools_that_were_not_stored_are_not_tested(parameters):
    bare = reference(parameters)
    for result in bare.results.values():
        del result.metrics["maps"]
        result.metrics["pool"] = {}
    found = verdicts([bare])
    assert {found[n].status for n in (10, 11, 12)} == {"not tested here"}


def test_a_map_that_random_weights_give_too_is_no_support(parameters):
    full = reference(parameters)
    for (_, seed), result in full.results.items():
        for kind in ("attention", "gradcam"):
            of_kind = result.metrics["maps"][kind]
            mean = of_kind["lift_silhouette"]["mean"] + 0.1 + 0.01 * seed
            of_kind["random"] = {part: {"lift_silhouette": mean} for part in ("doam", "all")}
    found = verdicts([full])
    assert [found[n].status for n in (10, 11)] == ["contradicted"] * 2
    learned = "learned (lift above that of random weights)"
    assert found[11].parts[learned].status == "contradicted"
    assert found[11].parts["on the target (lift above 1)"].status == "supported"


def test_edges_that_find_the_item_better_are_shown_and_do_not_decide(parameters):
    full = reference(parameters)
    for result in full.results.values():
        result.metrics["maps"]["edges"] = {"lift_silhouette": {"mean": 3.0}}
    verdict = verdicts([full])[11]
    assert verdict.status == "supported"
    assert verdict.parts["lift above that of edges"].status == "contradicted"
    assert verdict.parts["lift above that of darkness"].status == "supported"


def test_a_full_size_profile_decides_and_a_small_one_only_shows(parameters):
    full = reference(parameters, sign=-1.0)
    small = Reference(parameters(width=0.25), reference(parameters).results, {})
    assert outcomes([full, small])[1].verdict.status == "contradicted"
    assert outcomes([small])[1].reference is small


def test_the_paper_against_itself():
    checks = evidence.arithmetic()
    wrong = {name for name, verdict in checks.items() if verdict.status == "contradicted"}
    assert "mAP is the mean of the classes (Table IX)" not in wrong
    assert "74.57, mean 74.32" in checks["mAP is the mean of the classes (Table IV)"].reason
    assert "83.80, mean 83.79" in checks["mAP is the mean of the classes (Table VI)"].reason
    first = checks["Scissor is the least occluded class (Section V-A)"]
    assert first.status == "contradicted"
    assert first.reason == "shares at OL3: ST 26.8%, SC 22.5%, MU 16.3%, FO 12.4%, UT 12.0%"


def test_the_page_says_every_verdict_in_words(parameters):
    found = outcomes([reference(parameters)])
    html = as_html(found)
    assert html.count("<tr id=") == 13
    for number, word in statuses(found).items():
        row = html.split(f"<tr id='claim-{number}'>")[1].split("</tr>")[0]
        assert f">{word}</span>" in row
    assert "<caption>" in html and html.count("scope='row'") == 13


def test_every_table_and_figure_of_the_paper_has_a_page():
    names = [name for name, _, _ in MADE_AGAIN]
    tables = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"]
    assert names == [f"Table {t}" for t in tables] + [f"Fig. {n}" for n in range(1, 8)]
