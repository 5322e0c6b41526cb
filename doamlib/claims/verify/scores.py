"""Do the scores of a packed run follow from what the archive keeps?

What can be computed again is: the scores of the detections kept, means over classes, the summary of
the maps' scores. What cannot is bounded (:mod:`doamlib.claims.verify.bounds`), or compared with the
same measurement in the history.
"""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from doamlib.claims.verify.bounds import ap_bounds
from doamlib.claims.verify.packed import EXACT, PackedRun, are_numbers, differences
from doamlib.claims.verify.safe_zip import ArchiveError
from doamlib.evaluation.detections import Detections, check_images
from doamlib.evaluation.map_swaps import EDGE_SWAPS, SWAPS
from doamlib.evaluation.test_set import explained_images, score
from doamlib.experiments.archive import STRONGEST
from doamlib.experiments.results import RunConfig

MEMBER = "metrics.json"

MAPS_EXACT = 1e-6
"""Scores of maps are stored as float32."""

CHANCE = 0.005
"""mAP (0 to 1) by which a GPU may evaluate the same weights differently."""

COCO_SLACK = 0.02
"""COCO reads the same curve at 101 recalls: AP50 was within 0.002 of mAP on eleven finished runs;
with few items a step of the curve may be as high as one item."""

GAIN = (-0.002, 0.02)
"""mAP of all detections minus that of the kept ones, without a remark. On eleven finished runs it
was 0.0001 to 0.0043 for cutters and 0.0088 to 0.0133 for 30 kinds of harmless objects."""

NONE = Detections(np.empty(0, int), np.empty(0, int), np.empty(0, np.float32), np.empty((0, 4)))


def check_scores(run: PackedRun) -> list[str]:
    """The scores of one run against everything else in its archive.

    Returns:
        Remarks: what is unusual but not wrong.

    Raises:
        ArchiveError: the first number that is wrong or cannot be.
    """
    _check_shape(run)
    _check_last_evaluation(run)
    _check_attention(run)
    _check_maps(run)
    if run.result.keeps_detections:
        return _check_kept(run)
    first = min(run.parameters.seeds)
    right = f"seed {first} keeps its detections"
    run.need(run.seed != first, "detections.npz", "is missing", right)
    return []


def _check_shape(run: PackedRun) -> None:
    """Classes, levels, windows and counts are the test set's; means are means."""
    metrics, expected = run.result.metrics, score(NONE, run.test)
    for name, right in expected.items():
        if name in ("images", "items"):
            run.same({name: metrics[name]}, {name: right}, MEMBER, 0)
        elif name != "detections":
            for path, one, other in differences({name: metrics[name]}, {name: right}):
                run.need(are_numbers(one, other), MEMBER, f"{path}: {one}", f"it has {other}")
    median = {"by_occlusion.median": metrics["by_occlusion"]["median"]}
    right = {"by_occlusion.median": expected["by_occlusion"]["median"]}
    run.same(median, right, MEMBER, EXACT)
    tables = {name: metrics[name] for name in ("AP", "AP_11_point")}
    tables |= {f"levels.{name}": table for name, table in metrics["levels"].items()}
    for name, table in tables.items():
        mean = np.mean([ap for label, ap in table.items() if label != "mAP"])
        run.same({f"{name}.mAP": table["mAP"]}, {f"{name}.mAP": float(mean)}, MEMBER, EXACT)
    coco, slack = metrics["COCO"], COCO_SLACK + 1 / metrics["items"]
    run.same({"COCO.AP50": coco["AP50"]}, {"COCO.AP50": metrics["AP"]["mAP"]}, MEMBER, slack)
    found = f"COCO.AP50:95 = {coco['AP50:95']}"
    fits = coco["AP50:95"] <= coco["AP50"] + EXACT
    run.need(fits, MEMBER, found, f"at most AP50, {coco['AP50']}")


def _check_last_evaluation(run: PackedRun) -> None:
    """The last step's weights are scored twice, unless it is their average that is kept."""
    last = run.result.history.epochs[-1].get("test_mAP")
    where = "epochs[-1].test_mAP"
    run.need(last is not None, "history.json", f"{where} is missing", "a run ends with a score")
    if not run.result.config.training.average_last:
        own = run.result.metrics["AP"]["mAP"]
        run.same({where: last}, {where: own}, "history.json", CHANCE)


def attention_keys(config: RunConfig) -> set[str]:
    """What :func:`doamlib.evaluation.map_swaps.map_effect` returns for a detector."""
    doam = config.detector.doam
    if doam is None:
        return set()
    keys = {"own", *EDGE_SWAPS}
    if not doam.attends:
        return keys
    keys |= {*SWAPS, "edge_map", "attention_mean", "attention_sd", "saturated"}
    return keys | ({"gamma"} if doam.gamma is not None else set())


def _check_attention(run: PackedRun) -> None:
    found, keys = run.result.metrics["attention"], attention_keys(run.result.config)
    right = f"this arm has {', '.join(sorted(keys)) or 'none'}"
    run.need(found.keys() == keys, MEMBER, f"attention: {', '.join(found) or 'none'}", right)
    for name, value in found.items():
        fits = name == "gamma" or 0 <= value <= 1
        run.need(fits, MEMBER, f"attention.{name} = {value}", "it runs from 0 to 1")
    if found:
        own = {"attention.own": run.result.metrics["AP"]["mAP"]}
        run.same({"attention.own": found["own"]}, own, MEMBER, EXACT)


# --- detections ---------------------------------------------------------------------------------


def _check_kept(run: PackedRun) -> list[str]:
    kept, per_image = _kept(run), run.result.config.detector.detections_per_image
    stored, scored = run.result.read("kept.json"), score(kept, run.test)
    run.need(stored is not None, "kept.json", "is missing", "pack again: it scores the detections")
    run.same(json.loads(stored), scored, "kept.json", EXACT)
    metrics = run.result.metrics
    count = np.bincount(kept.image_index, minlength=len(run.test.image_ids))
    most = len(kept) + int((count == STRONGEST).sum()) * max(0, per_image - STRONGEST)
    found, right = f"detections = {metrics['detections']}", f"{len(kept)} to {most} were found"
    run.need(len(kept) <= metrics["detections"] <= most, MEMBER, found, right)
    bounds = ap_bounds(kept, run.test, STRONGEST, per_image)
    _check_bounds(run, *bounds)
    _check_coco(run, scored)
    gain = metrics["AP"]["mAP"] - scored["AP"]["mAP"]
    if GAIN[0] <= gain <= GAIN[1]:
        return []
    return [
        f"{run.arm}, seed {run.seed}: mAP is {gain:+.4f} from that of the {STRONGEST} strongest "
        f"detections an image; {GAIN[0]} to {GAIN[1]} is usual"
    ]


def _kept(run: PackedRun) -> Detections:
    """The detections, which fit the test set and are as few as an archive keeps."""
    member, images = "detections.npz", len(run.test.image_ids)
    try:
        kept = run.result.detections()
        check_images(kept.image_index, images)
        most = int(np.bincount(kept.image_index).max(initial=0))
        found = f"{most} detections on one image"
        run.need(most <= STRONGEST, member, found, f"an archive keeps the {STRONGEST} strongest")
        run.test.match(kept)
    except ValueError as error:
        found = str(error.__cause__ or error)
        raise ArchiveError(f"{run.place}/{member}", found, "pack it again") from None
    return kept


def _check_bounds(run: PackedRun, low: dict[str, Any], high: dict[str, Any]) -> None:
    """No AP lies where no detections, added to the kept ones, could have brought it."""
    stored = {name: run.result.metrics[name] for name in low}
    ends = {path: (least, most) for path, least, most in differences(low, high)}
    for path, value, least in differences(stored, low):
        most = ends[path][1] if path in ends else least
        fits = least - EXACT <= value <= most + EXACT
        right = f"with the detections kept it lies in {least:.4f} to {most:.4f}"
        run.need(fits, MEMBER, f"{path} = {value}", right)


def _check_coco(run: PackedRun, kept: dict[str, Any]) -> None:
    """COCO's scores rise above those of the kept detections as the mAP does."""
    metrics, slack = run.result.metrics, (COCO_SLACK + 1 / run.result.metrics["items"]) / 2
    gain = metrics["AP"]["mAP"] - kept["AP"]["mAP"]
    for name, least in (("AP50", gain), ("AP50:95", min(0.0, gain))):
        low, high = kept["COCO"][name] + least - slack, kept["COCO"][name] + gain + slack
        found = f"COCO.{name} = {metrics['COCO'][name]}"
        right = f"beside the mAP it lies in {low:.4f} to {high:.4f}"
        run.need(low <= metrics["COCO"][name] <= high, MEMBER, found, right)


# --- maps ---------------------------------------------------------------------------------------


def _check_maps(run: PackedRun) -> None:
    result, explained = run.result, run.result.config.explained
    stored = result.read("maps.npz")
    right = "plain SSD, DOAM-T and DOAM-O have maps, no other arm"
    for member, there in (("maps.npz", stored is not None), (MEMBER, "maps" in result.metrics)):
        found = "there are maps" if there else "maps are missing"
        run.need(there == explained, member, found, right)
    if explained:
        with np.load(io.BytesIO(stored), allow_pickle=False) as arrays:
            _check_map_scores(run, dict(arrays))


def _check_map_scores(run: PackedRun, scores: dict[str, NDArray]) -> None:
    # captum takes seconds to import, and few runs are explained
    from doamlib.evaluation.map_scores import PLAIN, STORED, chosen_images, summary, tidy
    from doamlib.evaluation.randomisation import CHECKED, DRAWS

    count = len(run.test.image_ids)
    images = chosen_images(count, explained_images(count))
    right = f"the {len(images)} drawn for every run on {count} test images"
    run.need(np.array_equal(scores["images"], images), "maps.npz", "images: other ones", right)
    items = int(np.isin(run.test.truth.image_index, images).sum())
    learned = ["gradcam"]  # every explained run is an SSD
    doam = run.result.config.detector.doam
    if doam is not None and doam.attends:
        learned.insert(0, "attention")
    names = {f"{kind}_{score}" for kind in (*learned, *PLAIN) for score in STORED}
    others = {name for name in scores if name.endswith(STORED)} - names
    for name in sorted(names | others):
        found = f"{name}: {len(scores[name])} scores" if name in scores else f"{name} is missing"
        right = f"{items} items lie on these images" if name in names else "not of this arm"
        fits = name in names and name in scores and len(scores[name]) == items
        run.need(fits, "maps.npz", found, right)
    numbers, right = run.result.metrics["maps"], summary(tidy(scores, run.test))
    for kind in [kind for kind in learned if kind in right]:  # rare items: none on these images
        drawn = numbers.get(kind, {}).get("random") or {}
        right[kind]["random"] = {
            part: _mean_draws(run, drawn.get(part), DRAWS) for part in CHECKED[kind]
        }
    run.same({"maps": numbers}, {"maps": right}, MEMBER, MAPS_EXACT, MAPS_EXACT)


def _mean_draws(run: PackedRun, part: dict[str, Any] | None, count: int) -> dict[str, Any] | None:
    """What a part's means must be, by what it lists for each draw."""
    if part is None:
        return None
    right = dict(part)
    for name, draws in part["draws"].items():
        run.need(len(draws) == count, MEMBER, f"{name}: {len(draws)} draws", f"{count} are made")
        known = [value for value in draws if value is not None]
        right[name] = float(np.mean(known)) if known else None
    return right
