"""A run ends with the step that reaches its budget, and goes on from there with a larger one."""

import numpy as np
import pytest

from icrl.experiments import BudgetSpent, Experiment, config, load, run
from icrl.experiments.store import Store

EPISODES, BATCH, T = 5, 3, 4


@pytest.fixture(params=["free", "thought"])
def plan(request, fakes, letters, monkeypatch):
    model = fakes.Thinking(letters, script=fakes.by_hash, thought=fakes.thought_by_hash)
    monkeypatch.setattr(config, "load_base", lambda name, **how: model)
    prompt = {"answer": request.param, "on_failure": "resample", "labels": list(fakes.FIVE), "max_thought": 24}
    agents = {"ucb": "UCB", "llm": {"model": "fake", "prompt": prompt}, "last": {"type": "TryAll", "agent": "UCB"}}
    fields = {"task": {"preset": "bernoulli-hard", "horizon": T}, "agents": agents}
    return lambda tokens=None: Experiment(**fields, episodes=EPISODES, batch=BATCH, tokens=tokens, min_mass=0)


@pytest.fixture
def whole(plan, tmp_path):
    return run(plan(), tmp_path / "whole")["llm"]


def costs(runs):
    """Tokens of each lockstep step, in the order in which they are played."""
    each = runs.usage[:, :, [0, 2, 3]].sum(axis=2)
    return np.concatenate([each[i : i + BATCH].sum(axis=0) for i in range(0, EPISODES, BATCH)])


def stored(folder):
    with Store.read(folder) as store:
        return sum(n for n, _ in store.progress("llm").values())


@pytest.mark.parametrize("steps", range(1, 2 * T + 1))
def test_the_step_that_reaches_it_is_the_last(plan, whole, tmp_path, steps):
    reached = costs(whole).cumsum()
    assert (whole.usage[:, :, 2:] > 0).any()  # what is written or thought counts, too
    limits = int(reached[steps - 1]), int(reached[steps - 1] - costs(whole)[steps - 1] + 1)
    for i, limit in enumerate(limits):
        if steps == 2 * T:
            assert len(run(plan(limit), tmp_path / f"{i}")["last"]) == EPISODES  # nothing was left to play
            continue
        with pytest.raises(BudgetSpent, match=f"tokens: {reached[steps - 1]:,} of {limit:,} are spent; llm has played"):
            run(plan(limit), tmp_path / f"{i}")
        assert stored(tmp_path / f"{i}") == np.repeat([BATCH, EPISODES - BATCH], T)[:steps].sum()


def test_a_larger_one_continues(plan, whole, tmp_path):
    """What the folder holds is counted: the same budget plays nothing more."""
    reached = costs(whole).cumsum()
    for steps in (2, 2, T, T + 1):
        with pytest.raises(BudgetSpent):
            run(plan(int(reached[steps - 1])), tmp_path / "parts")
        assert stored(tmp_path / "parts") == np.repeat([BATCH, EPISODES - BATCH], T)[:steps].sum()
    runs = run(plan(), tmp_path / "parts")["llm"]
    for name, column in whole.columns().items():
        np.testing.assert_array_equal(column, getattr(runs, name), err_msg=name)


def test_what_is_finished_can_be_read(plan, whole, tmp_path):
    first = int(costs(whole)[:T].sum())
    with pytest.raises(BudgetSpent, match="played 12 steps and finished 3 episodes"):
        run(plan(first), tmp_path / "run")
    experiment, runs, _ = load(tmp_path / "run")
    assert experiment.tokens == first
    assert {name: found.episode.tolist() for name, found in runs.items()} == {"ucb": [0, 1, 2], "llm": [0, 1, 2]}
