"""The examples run as they are."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from icrl.experiments import Experiment
from icrl.experiments.distill_plan import DistillPlan
from icrl.experiments.distill_splits import splits
from icrl.finetune.corpus import Corpus

EXAMPLES = Path(__file__).parent.parent / "examples"
PLANS = ("distill.yaml", "reinforce.yaml")


FEWER = {"distill.py": ["1500"]}
"""What an example is given here, so that it takes seconds."""


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_scripts(script, tmp_path):
    command = [sys.executable, script, *FEWER.get(script.name, [])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "regret" in done.stdout


@pytest.mark.parametrize(
    "path",
    sorted(set(EXAMPLES.glob("*.yaml")) - {EXAMPLES / name for name in ("steering.yaml", *PLANS)}),
    ids=lambda path: path.name,
)
def test_experiments_can_be_built(path):
    plan = Experiment.load(path)
    task = plan.build_task()
    for name in plan.agents:
        plan.build_agent(name).check(task.public)


def test_steering_is_swept(tmp_path):
    """The plan as it is, with fewer and shorter episodes."""
    plan = yaml.safe_load((EXAMPLES / "steering.yaml").read_text())
    plan["task"]["horizon"] = 5
    for part in ("fit", "sweep"):
        plan[part]["episodes"] = 4
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(plan))
    command = [sys.executable, "-m", "icrl", "steer", "sweep", path, "--out", "here"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "Chosen: " in done.stdout and (tmp_path / "here" / "sweep.png").exists()


def test_the_distillation_is_a_plan(tokenizer):
    """Its first rows can be written, and the page's plan is one, too."""
    page = (EXAMPLES.parent / "docs" / "distilling.md").read_text(encoding="utf-8")
    shown, more = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", page, re.S))
    plans = [DistillPlan.load(EXAMPLES / name) for name in PLANS]
    for plan in (*plans, *map(DistillPlan.model_validate, (shown, shown | more))):
        assert all(len(Corpus(tokenizer, 0, plan.syllabus(tokenizer)).batch(i)) > 1 for i in range(3))
        assert splits(plan)


def test_the_demo_is_the_main_job():
    plan = Experiment.load(EXAMPLES / "demo.yaml")
    assert plan.task == "bernoulli-hard"
    assert plan.episodes >= 64
    histories = {
        spec["prompt"]["history"] for spec in plan.agents.values() if isinstance(spec, dict) and "model" in spec
    }
    assert histories == {"raw", "summary"}
