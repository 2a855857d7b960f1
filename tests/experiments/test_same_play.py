"""Batch size and the order of agents change nothing."""

import numpy as np
import pytest

from icrl.agents import LLMAgent, rollout
from icrl.envs import make
from icrl.models import load_model
from icrl.prompts import Prompt


@pytest.fixture(scope="module")
def pocket():
    return load_model("pocket")


@pytest.mark.parametrize("prompt", [Prompt(), Prompt("summary"), Prompt(layout="log")], ids=["turns", "summary", "log"])
def test_batches_of_1_7_and_64(pocket, prompt, assert_same_play):
    task = make("bernoulli-hard", horizon=12)
    agent = LLMAgent(pocket, prompt)
    whole = rollout(agent, task, episodes=64, seed=5, batch=64)
    assert_same_play(whole, rollout(agent, task, episodes=64, seed=5, batch=7))
    some = np.arange(0, 64, 9)
    assert_same_play(whole.take(some), rollout(agent, task, episodes=some.tolist(), seed=5, batch=1))


def test_a_fresh_model_plays_as_one_that_has_played_others(pocket, assert_same_play):
    task = make("bernoulli-easy", horizon=10)
    rollout(LLMAgent(pocket, Prompt(scenario="clothes")), task, episodes=6, seed=1)
    used = rollout(LLMAgent(pocket), task, episodes=6, seed=1)
    assert_same_play(rollout(LLMAgent(load_model("pocket")), task, episodes=6, seed=1), used)


def test_the_exact_policy_is_what_was_drawn_from(pocket):
    runs = rollout(LLMAgent(pocket), make("bernoulli-easy", horizon=10), episodes=256, seed=2, batch=256)
    assert runs.probs is not None
    np.testing.assert_allclose(runs.probs.sum(axis=2), 1.0, atol=1e-9)
    chosen = np.take_along_axis(runs.probs, runs.arms[:, :, None], axis=2)
    expected = (runs.probs**2).sum(axis=2).mean()  # E[p(chosen)] if choices are drawn from p
    assert abs(chosen.mean() - expected) < 4 * chosen.std() / chosen.size**0.5
