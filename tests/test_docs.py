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
