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

SEED, EPISODES = 424_242, 100
RAW = icrl.Prompt(labels=held_out("buttons"))


@pytest.fixture(scope="module")
def pocket():
    return icrl.load_model("pocket")


def play(agent, name, horizon=100, episodes=EPISODES):
    return icrl.rollout(agent, icrl.make(name, horizon=horizon), episodes=episodes, seed=SEED, batch=100)


def share(runs, blind):
    """Of uniform play's regret."""
    return icrl.metrics.final_regret(runs).mean() / icrl.metrics.final_regret(blind).mean()


@pytest.fixture(scope="module")
def easy(pocket):
    assert SEED in EVALUATION_SEEDS
    return play(icrl.LLMAgent(pocket, RAW), "bernoulli-easy")


@pytest.fixture(scope="module")
def hard(pocket):
    return play(icrl.LLMAgent(pocket, RAW), "bernoulli-hard")


class TestPlay:
    """What its card says, with the width that fewer episodes need."""

    def test_its_labels_are_held_out(self, easy, hard):
        assert {name for runs in (easy, hard) for row in runs.names for name in row} <= set(held_out("buttons"))

    def test_where_it_is_easy_it_does_well(self, easy):
        sticky = play(WinStayLoseShift(), "bernoulli-easy")
        apart = icrl.metrics.final_regret(easy) - icrl.metrics.final_regret(sticky)
        assert share(easy, play(icrl.Uniform(), "bernoulli-easy")) <= 0.5
        assert apart.mean() < -3 * apart.std() / EPISODES**0.5

    def test_where_it_is_hard_it_explores_too_little(self, hard):
        blind = play(icrl.Uniform(), "bernoulli-hard")
        assert share(hard, blind) <= 0.9
        thompson = icrl.metrics.suffix_failure(play(icrl.ThompsonSampling(), "bernoulli-hard")).mean()
        assert thompson + 0.05 <= icrl.metrics.suffix_failure(hard).mean() <= 0.65
        assert icrl.metrics.greedy_frac(hard).mean() > icrl.metrics.greedy_frac(blind).mean() + 0.2

    def test_it_grows_sure(self, hard):
        entropy = icrl.metrics.action_entropy(hard).mean(axis=0)
        assert entropy[0] > 1.5 and entropy[0] > entropy[9] + 0.1 > entropy[99] + 0.2

    def test_it_does_not_mind_the_place_of_a_label(self, hard):
        assert icrl.metrics.first_pull_bias(hard) < 0.14

    def test_nearly_all_probability_lies_on_labels(self, easy, hard):
        assert min(runs.mass.mean(axis=0).min() for runs in (easy, hard)) > 0.97


@pytest.mark.parametrize(
    "prompt",
    [{"history": "summary"}, {"layout": "log"}, {"scenario": "clothes"}, {"hints": icrl.UCB(c=1.0)}],
    ids=lambda prompt: "-".join(map(str, prompt)),
)
def test_it_reads_other_prompts(pocket, prompt):
    labels = held_out(prompt.get("scenario", "buttons"))
    found = play(icrl.LLMAgent(pocket, icrl.Prompt(**prompt, labels=labels)), "bernoulli-easy", 50, 40)
    assert share(found, play(icrl.Uniform(), "bernoulli-easy", 50, 40)) < 0.75
    assert found.mass.mean() > 0.95


def test_its_size_and_window(pocket):
    from importlib.resources import files

    folder = files("icrl.models") / "pocket"
    assert (folder / "model.safetensors").stat().st_size < 8e6
    assert pocket.model.num_parameters() <= 4e6 and len(pocket.tokenizer) <= 4096
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
    runs = icrl.rollout(agent, task_from(task), episodes=4, seed=SEED)
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
