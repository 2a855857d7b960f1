"""The pages say what is true: their code runs, and what they name is there."""

import re
from pathlib import Path

import numpy as np
import pytest

from icrl.agents import ALGORITHMS
from icrl.envs import KINDS, PRESETS

ROOT = Path(__file__).parent.parent


def test_the_page_on_extending_runs(fakes):
    names = fakes.documented()
    assert names["runs"].arms.shape == (32, 100) and set(names["both"]) == {"bayes", "ucb"}


def test_the_seasons_are_as_the_page_says(fakes):
    task = fakes.documented()["task"]
    state = task.start(np.arange(8), 0)
    base, means = state.base, []
    for _ in range(task.horizon):
        means.append(state.means)
        state, _, _ = task.step(state, np.zeros((8, 1), np.int64))
    t, k = np.arange(100)[:, None, None], np.arange(4)
    expected = base + 0.3 * np.sin(2 * np.pi * (t / 40 + k / 4))
    np.testing.assert_allclose(means, expected.clip(0, 1))


def test_the_new_bandit_is_short():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "extending.md").read_text(encoding="utf-8"), re.S)
    assert len(blocks[0].splitlines()) < 60


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_stands_in_the_conformance_table(name):
    page = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
    assert f"| {name} |" in page


def test_conformance_covers_every_kind():
    page = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
    shown = {task.kind for name, (task, _) in PRESETS.items() if f" {name}, T" in page}
    assert shown == set(KINDS)


def test_the_prompt_of_the_front_page_is_what_a_model_reads():
    from icrl.experiments import Experiment
    from icrl.experiments.preview import preview

    page = (ROOT / "README.md").read_text(encoding="utf-8")
    prompt = {"scenario": "slots", "history": {"kind": "window", "last": 3}, "hints": "UCB", "horizon": "told"}
    task = {"kind": "bandit", "n_arms": 3, "horizon": 20, "means": {"kind": "uniform"}}
    found = preview(Experiment(task=task, agents={"a": {"model": "pocket", "prompt": prompt}}), None, 5)
    (shown,) = re.findall(r"```text\n(.*?)\n```", page, re.S)
    assert found.again + found.new == shown


def test_the_prompts_of_the_front_page_can_be_built():
    import icrl

    page = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = (b for b in re.findall(r"```python\n(.*?)```", page, re.S) if "Demonstrations" in b)
    exec(block, {"icrl": icrl, "task": icrl.make("bernoulli-hard", horizon=5)})  # our own page


def test_the_page_on_serving_can_be_read():
    """Its experiment files, of which no server is asked."""
    import yaml

    from icrl.experiments import Experiment

    page = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.S)
    plans = [Experiment(**yaml.safe_load(block)) for block in blocks]
    assert [list(plan.agents) for plan in plans] == [["plain", "tuned", "engine"], ["llm"], ["hosted"]]
    assert "@" not in page


def test_the_page_on_steering_runs(tmp_path, monkeypatch):
    """Its code, with fewer and shorter episodes."""
    page = (ROOT / "docs" / "steering.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.S)
    monkeypatch.chdir(tmp_path)
    short = block.replace('"bernoulli-hard"', '"bernoulli-hard", horizon=4').replace("=65", "=4").replace("=64", "=4")
    exec(short, names := {})  # our own page
    assert (tmp_path / "east.safetensors").is_file() and names["runs"].arms.shape == (4, 4)


def test_the_page_on_prompts_runs():
    """Its code as it stands, its experiment files as far as they can be checked without weights."""
    import yaml

    from icrl.experiments import Experiment
    from icrl.experiments.preview import preview

    page = (ROOT / "docs" / "prompts.md").read_text(encoding="utf-8")
    names = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.S):
        exec(block, names)  # our own page
    baker, published = (Experiment(**yaml.safe_load(block)) for block in re.findall(r"```yaml\n(.*?)```", page, re.S))
    found = preview(baker, None, 3)
    assert "You bake one cake a day" in found.again and "the village paid" in found.again + found.new
    assert len(published.agents) == 34
