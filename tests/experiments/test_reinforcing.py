"""From a plan to a model that was trained on its own play, on pocket."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from icrl import load_model
from icrl.cli import app
from icrl.experiments.distill_plan import DistillPlan
from icrl.experiments.distilling import distill
from icrl.experiments.reinforcing import begun, reinforce

TASK = {"n_arms": 2, "horizon": 5, "means": {"kind": "gap", "best": 0.8, "gap": 0.5}}
PLAN = {
    "model": "pocket",
    "teacher": {"type": "UCB", "alpha": 0.5},
    "data": {"tasks": TASK, "decisions": 60, "validation": 20},
    "train": {"looks": 1, "sft": {"learning_rate": 1e-3}},
    "evaluate": {"task": TASK, "episodes": 4, "looks": 4},
    "reinforce": {"steps": 2, "games": 2, "plays": 2, "grpo": {"learning_rate": 1e-3}},
}


def begin(title, steps):
    return lambda name, done, tokens: None


def plan(**changes):
    return DistillPlan.model_validate(PLAN | {"reinforce": PLAN["reinforce"] | changes})


def test_from_the_command_line(tmp_path):
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(PLAN))
    command = ["reinforce", str(tmp_path / "plan.yaml"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, command, env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    home = tmp_path / "out" / "reinforced"
    assert "student" in done.output and (home / "evaluation.csv").is_file()
    about = json.loads((home / "adapter" / "icrl.json").read_text())
    assert about["reinforce"]["reward"] == "regret" and about["base"] == "pocket"
    assert (
        load_model("pocket", adapter=str(home / "adapter")).facts["revision"] != load_model("pocket").facts["revision"]
    )


def test_it_begins_with_what_was_distilled(tmp_path):
    given = plan(start="distilled")
    with pytest.raises(ValueError, match="reinforce.start: .* is not there yet; icrl distill makes it"):
        reinforce(given, tmp_path, begin)
    distill(given, tmp_path, begin)
    base = load_model("pocket")
    weights = {name: value for name, value in begun(given, tmp_path, base).named_parameters() if "lora_B" in name}
    assert weights and all(value.requires_grad and value.abs().max() > 0 for value in weights.values())
    done = reinforce(given, tmp_path, begin)
    assert done.trained.folder == tmp_path / "reinforced" / "adapter"
    assert (done.trained.folder / "adapter_model.safetensors").is_file()


def test_a_folder_of_another_plan(tmp_path):
    reinforce(plan(steps=1), tmp_path, begin)
    with pytest.raises(ValueError, match="out: .* is of another plan: its reinforce is"):
        reinforce(plan(steps=3), tmp_path, begin)
