"""From a plan to a model that was trained on its own play, on pocket."""

import json
import shutil

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import TrainerCallback
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


class Stops(TrainerCallback):
    """Fails after the first look, as a machine may."""

    def on_step_end(self, args, state, control, **given):
        if state.global_step > 2:
            raise KeyboardInterrupt


def test_it_goes_on_beside_a_reference(tmp_path):
    """Which TRL keeps as a second adapter, in the checkpoints, too."""
    given = DistillPlan.model_validate(
        PLAN
        | {"reinforce": PLAN["reinforce"] | {"start": "distilled", "steps": 4, "grpo": {"beta": 0.1}}}
        | {"train": PLAN["train"] | {"looks": 2}}
    )
    distill(given, tmp_path / "whole", begin)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    whole = reinforce(given, tmp_path / "whole", begin)
    with pytest.raises(KeyboardInterrupt):
        reinforce(given, tmp_path / "cut", begin, (Stops(),))
    again = reinforce(given, tmp_path / "cut", begin)
    ours, theirs = (
        load_file(tmp_path / name / "reinforced" / "checkpoint-4" / "adapter_model.safetensors")
        for name in ("whole", "cut")
    )
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-6) for name in ours)
    assert [look.step for look in again.trained.looks] == [look.step for look in whole.trained.looks] == [2, 4]


def test_without_a_teacher_nothing_is_judged(tmp_path):
    fields = {key: value for key, value in PLAN.items() if key != "teacher"} | {"label": "taken"}
    fields["data"] = PLAN["data"] | {"context": [{"agent": "Uniform"}]}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(fields))
    done = CliRunner().invoke(app, ["reinforce", str(tmp_path / "plan.yaml"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0 and "without a teacher nothing is judged" in done.output


def test_what_cannot_be_played_is_said_before_anything_is_trained(tmp_path, fakes):
    """Also where only a later batch is of it."""
    data = PLAN["data"] | {"tasks": TASK | {"horizon": {"choice": [5, 5, 5, 5, 5, 5, 9000]}}}
    given = DistillPlan.model_validate(PLAN | {"data": data, "reinforce": PLAN["reinforce"] | {"steps": 20}})
    with pytest.raises(ValueError, match="prompt: at t=9000 it may be .* tokens long"):
        reinforce(given, tmp_path, begin)
    assert not list((tmp_path / "reinforced").glob("checkpoint-*"))
    blind = DistillPlan.model_validate(PLAN | {"evaluate": {"task": "icrl_test_fakes:Unknown", "looks": 2}})
    with pytest.raises(ValueError, match="evaluate.task: states of the model are compared by their regret"):
        reinforce(blind, tmp_path / "blind", begin)


def test_a_folder_of_another_plan(tmp_path):
    reinforce(plan(steps=1), tmp_path, begin)
    with pytest.raises(ValueError, match="out: .* is of another plan: its reinforce is"):
        reinforce(plan(steps=3), tmp_path, begin)
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "plan.json").write_text(json.dumps(plan().about_training | {"label": "taken"}))
    with pytest.raises(ValueError, match="out: .* is of another plan: its label is"):
        reinforce(plan(steps=1), tmp_path, begin)


def test_several_processes_train_as_one(tmp_path, two_processes):
    """Two of them on the CPU, each with the plays of its games, take the steps that one takes."""
    given = plan(games=4, plays=4)
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(given.model_dump(exclude_defaults=True)))
    two_processes("reinforce", "plan.yaml", "--out", "run", cwd=tmp_path)
    one = reinforce(given, tmp_path / "one", begin).trained.folder / "adapter_model.safetensors"
    together = load_file(tmp_path / "run" / "reinforced" / "adapter" / "adapter_model.safetensors")
    apart = max(float((together[name] - value).abs().max()) for name, value in load_file(one).items())
    moved = max(float(value.abs().max()) for name, value in together.items() if "lora_B" in name)
    assert apart < 1e-2 * moved and moved > 1e-4
