"""A golden smoke run: what training and evaluation compute, pinned to RESULTS_VERSION.

When this fails although you meant to change what is computed: raise ``RESULTS_VERSION`` in
``doamlib/experiments/results.py`` and record again with ``python tests/test_golden.py`` (see
CONTRIBUTING.md).
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest

from doamlib.experiments.results import RESULTS_VERSION
from doamlib.experiments.store import RunStore

GOLDEN = Path(__file__).parent / "data" / "golden_smoke.json"
GOLDEN_RUNS = {"arms": ("SSD", "SSD+DOAM-O"), "precision": "float32"}
"""In float32, or the numbers would be those of processors that have bfloat16, or of others."""


def summary(results):
    """Losses of every step and the detections' coarse shape: enough to notice any change."""
    return {
        arm: {
            "loss": [round(loss, 4) for loss in result.history.loss],
            "retrained": result.history.retrained,
            "detections": result.metrics["detections"],
            "scores": float(result.detections().score.sum()),
        }
        for (arm, _), result in results.items()
    }


def test_the_smoke_run_computes_what_it_did_at_this_results_version(study):
    golden = json.loads(GOLDEN.read_text())
    if golden["results_version"] != RESULTS_VERSION:
        pytest.fail("RESULTS_VERSION was raised: record the golden run again (see this file's top)")
    if golden["data"] != study.fingerprint:
        pytest.fail("the generated images are others: record the golden run again")
    parameters = study.parameters.model_copy(update=GOLDEN_RUNS)
    now = summary(type(study)(parameters, lambda line: None, study.store).results())
    for arm, expected in golden["arms"].items():
        # Other processors round differently, so a percent; a change of method shows far more.
        np.testing.assert_allclose(now[arm]["loss"], expected["loss"], rtol=0.01, err_msg=arm)
        assert now[arm]["retrained"] == expected["retrained"]
        np.testing.assert_allclose(now[arm]["scores"], expected["scores"], rtol=0.03, err_msg=arm)


def record():
    """Write the golden file from a fresh run."""
    from doamlib.experiments.parameters import from_file
    from doamlib.experiments.study import Study

    smoke = from_file(Path(__file__).parent.parent / "params" / "smoke.yaml")
    parameters = smoke.model_copy(update=GOLDEN_RUNS)
    with tempfile.TemporaryDirectory() as folder:
        study = Study(parameters, store=RunStore(Path(folder)))
        golden = {
            "results_version": RESULTS_VERSION,
            "data": study.fingerprint,
            "arms": summary(study.results()),
        }
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    record()
