"""The embedded model plays: held-out labels, and seeds that its corpus excludes."""

from dataclasses import replace

import numpy as np
import pytest

import icrl
import icrl.agents
from icrl.agents import check_policy
from icrl.agents.sticky import WinStayLoseShift
from icrl.envs import task_from
from icrl.finetune.heldout import EVALUATION_SEEDS, held_out

SEED, EPISODES = 424_242, 400


@pytest.fixture(scope="module")
def pocket():
    return icrl.load_model("pocket")


def regret(agent) -> np.ndarray:
    runs = icrl.rollout(agent, icrl.make("bernoulli-easy"), episodes=EPISODES, seed=SEED, batch=200)
    if isinstance(agent, icrl.LLMAgent):
        assert {name for row in runs.names for name in row} <= set(held_out("buttons"))
    return icrl.metrics.pseudo_regret(runs)[:, -1]


@pytest.fixture(scope="module")
def played(pocket):
    assert SEED in EVALUATION_SEEDS
    return regret(icrl.LLMAgent(pocket, icrl.Prompt(history="raw", labels=held_out("buttons"))))


def test_it_plays_well(played):
    sticky = regret(WinStayLoseShift())
    assert played.mean() <= 0.6 * regret(icrl.Uniform()).mean()
    assert (played - sticky).mean() < -3 * (played - sticky).std() / EPISODES**0.5


@pytest.mark.parametrize(
    "prompt",
    [{"history": "summary"}, {"layout": "log"}, {"scenario": "clothes"}],
    ids=lambda prompt: "-".join(prompt.values()),
)
def test_it_reads_other_prompts(pocket, prompt):
    labels = held_out(prompt.get("scenario", "buttons"))
    agent = icrl.LLMAgent(pocket, icrl.Prompt(**prompt, labels=labels))
    task = icrl.make("bernoulli-easy", horizon=50)
    found, blind = (icrl.rollout(player, task, episodes=100, seed=SEED) for player in (agent, icrl.Uniform()))
    ratio = icrl.metrics.pseudo_regret(found)[:, -1].mean() / icrl.metrics.pseudo_regret(blind)[:, -1].mean()
    assert ratio < 0.75
    assert found.mass.mean() > 0.5


def test_its_size_and_window(pocket):
    from importlib.resources import files

    folder = files("icrl.models") / "pocket"
    assert (folder / "model.safetensors").stat().st_size < 8e6
    assert 1e6 <= pocket.model.num_parameters() <= 2e6
    assert pocket.window == 16_384


@pytest.mark.parametrize("history", ["raw", "summary"])
def test_it_writes_what_its_scores_say(history, pocket):
    """Up to what a few answers leave open; what cannot be read is the mass that is not on labels."""
    found = check_policy(icrl.LLMAgent(pocket, icrl.Prompt(history)), icrl.make("bernoulli-easy", horizon=12), 64)
    assert abs(found.distance - found.floor) < 0.03
    assert found.unread == pytest.approx(1 - found.mass, abs=0.08)


GAMES = {
    "kind": "trials",
    "games": 3,
    "task": {"kind": "bandit", "n_arms": 4, "horizon": 5, "means": {"kind": "uniform"}},
}
DUEL = {
    "kind": "dueling",
    "n_arms": 4,
    "horizon": 8,
    "preferences": {"kind": "bradley-terry", "strengths": {"kind": "normal"}},
}
COINS = {"kind": "bandit", "n_arms": 4, "horizon": 8, "means": {"kind": "uniform"}}


@pytest.mark.parametrize(
    ("task", "prompt"),
    [
        (COINS, {"answer": "thought", "max_thought": 12, "thoughts": "kept"}),
        (COINS, {"answer": "thought", "max_thought": 12, "layout": "log"}),
        (COINS, {"answer": "thought-distribution", "max_thought": 12, "on_failure": "resample"}),
        (COINS, {"budget": 150}),
        (DUEL, {}),
        (DUEL, {"answer": "thought", "max_thought": 12}),
        (GAMES, {"history": {"kind": "trials", "past": 1}}),
    ],
    ids=["thought-kept", "thought-log", "thought-distribution", "budget", "duel", "duel-thought", "games"],
)
def test_whatever_it_reads_its_cache_changes_nothing(task, prompt, pocket):
    """Folded over the same history by a model that reads everything anew, it thinks and chooses the same."""
    agent = icrl.LLMAgent(pocket, icrl.Prompt(**prompt, labels=("red", "blue", "green", "yellow")))
    runs = icrl.rollout(agent, task_from(task), episodes=6, seed=SEED)
    forgetful = replace(pocket, lanes=[])
    forgetful.reuses = False  # a cached property
    folded = list(icrl.agents.replay(replace(agent, model=forgetful), runs))
    arms = np.stack([choice.arm for choice in folded], axis=1).reshape(runs.arms.shape)
    if runs.thought is not None:
        same = runs.thought == np.array([choice.thought for choice in folded]).T
        assert same.mean() > 0.97, "a thought may differ where a draw lies at a boundary"
        assert (arms == runs.arms)[same].mean() > 0.97 and (runs.failed[same] >= 0).all()
    else:
        probs = np.stack([choice.probs for choice in folded], axis=1).reshape(runs.probs.shape)
        np.testing.assert_allclose(probs, runs.probs, atol=1e-4)
