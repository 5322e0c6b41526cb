"""Every refusal is one line that names the key, the value and the fix."""

import datetime
import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import yaml

from doamlib.claims import outcomes
from doamlib.claims.admission import ACTS, FLAT
from doamlib.claims.verdict import MORE_SEEDS
from doamlib.core import paths
from doamlib.experiments.arms import ARMS, READINGS, no_arm
from doamlib.experiments.data import data_config
from doamlib.experiments.parameters import (
    HEADINGS,
    ParameterError,
    Parameters,
    cell_source,
    from_file,
    from_notebook,
    from_values,
    known_arms,
)
from doamlib.experiments.study import run_config
from doamlib.experiments.values import as_written
from doamlib.simulation import SimulationConfig

PARAMS = Path(__file__).parents[2] / "params"


@pytest.mark.parametrize("file", sorted(PARAMS.glob("*.yaml")), ids=lambda file: file.stem)
def test_shipped_files_hold_what_differs_and_open_with_what_to_expect(file):
    head = [line for line in file.read_text().splitlines() if line.startswith("#")]
    words = [line.split()[1] for line in head[:4]]
    assert words == ["Purpose", "Expect", "Takes", "Command"] and file.name in head[3]
    values, defaults = yaml.safe_load(file.read_text()), Parameters().model_dump(mode="json")
    assert values["profile"] == file.stem
    if file.stem == "quick":
        assert set(values) == set(defaults)  # the one place where every value can be read
        return
    from_file(file, data_root="OPIXray" if file.stem == "opixray" else None)
    same = {key for key, value in values.items() if value == defaults[key]}
    assert same <= {"data_root"}  # opixray.yaml asks for it


def test_further_seeds_join_the_reference_results():
    reference, more = (from_file(PARAMS / f"{n}.yaml") for n in ("reference", "more-seeds"))
    one, other = reference.model_dump(), more.model_dump()
    assert {key for key in one if one[key] != other[key]} == {"profile", "arms", "seeds"}
    assert set(more.arms) < set(reference.arms) and not set(more.seeds) & set(reference.seeds)
    assert len({*more.seeds, *reference.seeds}) == MORE_SEEDS


def test_every_small_difference_of_the_paper_gets_its_further_seeds():
    parts = [p for o in outcomes([]).values() if not o.fact for p in o.verdict.parts.items()]
    small = [name for name, part in parts if part.paper is not None and abs(part.paper) < 1]
    arms = {
        arm
        for name in small
        for arm in name.removeprefix("its rise from level to level, over ").split(" − ")
    }
    assert {"SSD+SE", "SSD+EG", "FCOS"} < arms <= set(from_file(PARAMS / "more-seeds.yaml").arms)


def test_what_the_stopped_seed_scored_is_told_the_same_in_both_places():
    choice, stopped = (
        json.loads((paths.measurements() / f"{name}.json").read_text())
        for name in ("schedule_choice", "stopped_seed")
    )
    assert choice["stopped"]["rise_of_first_seed"] == stopped["arms"]["SSD"]["rise"] > FLAT


def test_the_acting_variant_was_chosen_with_the_rate_of_the_reference_runs_and_by_its_rule():
    file = paths.measurements() / "attention_probe.json"
    ours = {name: of["ours"] for name, of in json.loads(file.read_text())["readings"].items()}
    rates = {run["learning_rate"] for run in ours.values()}
    assert rates == {from_file(PARAMS / "reference.yaml").learning_rate}
    lost = {n: 100 * (r["effect"]["own"] - r["effect"]["other"]) for n, r in ours.items()}
    fed_or_blended = ["gamma starts at 1", "no gamma", "standardised inputs"]
    assert all(lost[name] < ACTS for name in [*fed_or_blended, "standardised inputs, no gamma"])
    assert lost["normalised steps, no gamma"] >= ACTS
    assert READINGS[2] == "SSD+DOAM-T, normalised steps" and ARMS[READINGS[2]].doam.gamma is None


def test_extended_arms_are_trained_like_the_reference_and_all_start_from_one_warm_start():
    """So that their rows can be laid beside each other, and starting weights are shipped once."""
    quick, reference, extended = (
        from_file(PARAMS / f"{name}.yaml") for name in ("quick", "reference", "extended")
    )
    one, other = reference.model_dump(), extended.model_dump()
    assert {key for key in one if one[key] != other[key]} == {"profile", "arms"}
    first = run_config(reference, ARMS["SSD"], 0).warm_run()
    assert first == run_config(quick, ARMS["SSD"], 0).warm_run()


def test_the_reference_takes_the_recipe_that_won_on_held_out_images():
    choice = json.loads((paths.measurements() / "recipe_choice.json").read_text())
    if choice["profile"] != "reference":
        pytest.skip("the stored choice is an older profile's")
    reference = from_file(PARAMS / "reference.yaml")
    score = "mAP_averaged" if choice["averaging"]["used"] else "mAP_last_step"
    best = max(choice["candidates"], key=lambda one: one[score])
    assert choice["chosen"] == best
    assert reference.batch_size == best["batch_size"]  # the rate was chosen again, see below
    assert (reference.average_last > 0) == choice["averaging"]["used"]


def test_the_reference_takes_the_schedule_that_won_among_the_flat_ones():
    choice = json.loads((paths.measurements() / "schedule_choice.json").read_text())
    flat = [one for one in choice["candidates"] if one["mean_rise"] < choice["limit"]]
    best = max(flat, key=lambda one: one["mean_mAP"])
    assert choice["chosen"] == best and len(best["rise"]) == 3
    assert choice["limit"] < FLAT
    reference = from_file(PARAMS / "reference.yaml")
    assert (reference.schedule, reference.learning_rate) == (
        best["schedule"],
        best["learning_rate"],
    )


def test_presets_of_the_generator_are_the_data_of_the_files_of_the_same_name():
    for name in ("quick", "paper"):
        preset = getattr(SimulationConfig, name)()
        assert data_config(from_file(PARAMS / f"{name}.yaml")).simulation == preset


def test_opixray_file_lacks_only_the_folder():
    values = yaml.safe_load((PARAMS / "opixray.yaml").read_text())
    with pytest.raises(ParameterError, match=r"data_root: dataset opixray needs the folder"):
        from_values(values)
    opixray = from_values({**values, "data_root": "/data/OPIXray"})
    paper = from_file(PARAMS / "paper.yaml").model_dump()
    differ = {key for key, value in opixray.model_dump().items() if value != paper[key]}
    assert differ == {"profile", "dataset", "data_root"}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("learning_rate", "1e-4", "is text, not a number; YAML wants a point and a sign in 1.0e-4"),
        ("learning_rate", -1.0, "greater than 0"),
        ("epochs", -3, "greater than 0"),
        ("epochs", 2.5, "integer"),
        ("epochs", True, "integer"),
        ("seeds", "[0, 0]", "each once"),
        ("seeds", [], "at least one"),
        ("seeds", "zero", "is no list"),
        ("class_names", ["Gun"], "is no mapping; write one as in {knife: Knife}"),
        ("arms", ["SSD", "SDD"], "'SDD' is not an arm; did you mean SSD"),
        ("dataset", "voc", "'simulation', 'opixray' or 'coco'"),
        ("schedule", None, "'constant', 'cosine' or 'step'"),
        ("epoch", 3, "no such parameter; did you mean epochs or warm_epochs? All keys are profile"),
        ("colour", 3, "no such parameter; the keys are profile"),
        ("profile", "nur SSD", "takes small letters, digits and hyphens, 40 at most"),
    ],
)
def test_refusals_name_key_value_and_fix(key, value, message):
    with pytest.raises(ParameterError) as refusal:
        from_values({key: value}, "my.yaml: ")
    text = str(refusal.value)
    assert text.startswith(f"my.yaml: {key} = ") and message in text and "\n" not in text


def test_yaml_traps_are_refused(tmp_path):
    file = tmp_path / "trap.yaml"
    file.write_text("learning_rate: 1e-4\n")
    with pytest.raises(ParameterError, match=r"trap.yaml: learning_rate = '1e-4': is text"):
        from_file(file)
    file.write_text("epochs: yes\n")
    with pytest.raises(ParameterError, match="epochs = True"):
        from_file(file)


@pytest.mark.parametrize(
    "content", ["- 1\n", "a: [\n", "\xff\xfe".encode("latin-1").decode("latin-1")]
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path, content):
    file = tmp_path / "broken.yaml"
    file.write_text(content, encoding="latin-1")
    with pytest.raises(ParameterError, match=r"broken\.yaml"):
        from_file(file)


@pytest.mark.parametrize(
    "value", ["2026-13-01", "1" * 5000, '!!int ""', "!!bool perhaps", "!!timestamp soon"]
)
def test_a_value_that_yaml_cannot_make_is_refused_and_in_a_list_stays_text(tmp_path, value):
    file = tmp_path / "broken.yaml"
    file.write_text(f"profile: {value}\n")
    with pytest.raises(ParameterError, match=r"broken\.yaml: cannot be read as YAML"):
        from_file(file)
    assert as_written(f"[{value}]") == f"[{value}]"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ParameterError, match=r"absent\.yaml"):
        from_file(tmp_path / "absent.yaml")


def test_any_seed_of_the_data_has_a_warm_start_of_other_images():
    for seed in (0, 2**32 - 1):
        warm = run_config(from_values({"data_seed": seed}), ARMS["SSD"], 0).warm_start
        assert warm.data.simulation.seed == (seed + 10_000) % 2**32 != seed


def test_lists_given_as_text_are_lists():
    assert from_values({"seeds": "[3, 1]"}).seeds == (3, 1)


def test_cell_source_gives_the_same_parameters_back():
    parameters = from_file(PARAMS / "quick.yaml")
    source = cell_source(parameters)
    namespace = {}
    exec(source, namespace)
    assert from_notebook(namespace) == parameters
    lines = source.splitlines()
    assignments = [line for line in lines if line and not line.startswith("#")]
    assert all(line.split("#")[0].count("=") == 1 for line in assignments)
    headings = [line for above, line in pairwise(lines) if not above]
    assert headings == [f"# {name}" for name in HEADINGS.values()]


def test_a_cell_of_few_parameters_has_their_headings_only_and_says_why():
    lines = cell_source(Parameters(), ["profile", "seeds", "epochs"]).splitlines()
    assert "does not read them" in lines[1]
    assert [line.split("=")[0].strip() for line in lines[3:]] == [
        *("profile", "", "# arms", "seeds", "", "# training", "epochs")
    ]


def test_a_key_that_papermill_would_only_warn_about_is_refused():
    namespace = {"json": json, "epochs": 3, "epoch": 4, "_i": "x", "In": [], "Out": {}, "f": print}
    with pytest.raises(ParameterError, match="epoch = 4: no such parameter"):
        from_notebook(namespace)
    del namespace["epoch"]
    assert from_notebook(namespace).epochs == 3


def test_data_root_and_dataset_belong_together(tmp_path):
    with pytest.raises(ParameterError, match="data_root: leave it null"):
        from_values({"data_root": str(tmp_path)})
    gone = tmp_path / "gone"
    with pytest.raises(ParameterError, match=r"data_root = '.*gone': no such folder"):
        from_notebook({"dataset": "opixray", "data_root": str(gone)})
    assert from_notebook({"dataset": "opixray", "data_root": str(tmp_path)}).data_root


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ParameterError, match="device = 'cuda': this machine has no usable GPU"):
        from_notebook({"device": "cuda"})


def test_in_a_notebook_the_refusal_is_one_line_without_traceback():
    assert ParameterError("epochs = -1: no")._render_traceback_() == [
        "ParameterError: epochs = -1: no"
    ]


def test_a_picture_is_found_from_where_one_typed_and_changes_no_run(monkeypatch, tmp_path, smoke):
    (tmp_path / "bag.png").touch()
    monkeypatch.setenv("PWD", str(tmp_path))
    found = from_notebook({"image": "bag.png"})
    assert found.image == str(tmp_path / "bag.png")
    plain, named = (smoke.model_copy(update={"image": value}) for value in (None, found.image))
    arms = ARMS["SSD+DOAM-O"], ARMS["FCOS"]
    assert all(run_config(plain, arm, 0) == run_config(named, arm, 0) for arm in arms)


def test_a_picture_that_is_not_there_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("PWD", str(tmp_path))
    with pytest.raises(ParameterError) as refused:
        from_notebook({"image": "gone.png"})
    assert str(refused.value).startswith("image = 'gone.png': no such file in ")
    assert str(tmp_path) in str(refused.value) and "\n" not in str(refused.value)


def test_a_value_of_no_plain_type_is_named_with_its_key():
    day = datetime.date(2024, 1, 1)
    with pytest.raises(
        ParameterError, match=r"^data_seed = datetime\.date\(2024, 1, 1\): use plain numbers"
    ):
        from_values({"epochs": 2, "data_seed": day})


def test_a_folder_whose_name_is_not_utf8_is_refused_by_its_key():
    with pytest.raises(ParameterError, match=r"^data_root = '/\\udcb5': is not UTF-8; rename it"):
        from_values({"dataset": "coco", "data_root": "/\udcb5"})


def test_a_misspelt_arm_is_answered_with_those_like_it():
    with pytest.raises(
        ParameterError, match=r"'SSD\+DOAM' is not an arm; did you mean .*SSD\+DOAM-"
    ):
        from_values({"arms": ["SSD+DOAM"]})
    assert no_arm("ssd").startswith("'ssd' is not an arm; did you mean SSD")
    assert no_arm("?!").startswith("'?!' is not an arm; all are: SSD; SSD+SE; ")
    assert known_arms("SSD") == ("SSD",) == known_arms(["SSD"])
