"""What is noted of a model's play: states at the prompt's end, and the entropy of the policy there."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import entr

from icrl import load_model
from icrl.agents import UCB, EpsilonMix, LLMAgent, Steering, collect, fit_east, prompt_pairs, replay, rollout
from icrl.agents.asking import _questions
from icrl.agents.histories import folded
from icrl.agents.plays import _sampled
from icrl.envs import Choice, make
from icrl.prompts import Prompt

TASK = make("bernoulli-hard", horizon=5)


@pytest.fixture(scope="module")
def agent():
    return LLMAgent(load_model("pocket"))


@pytest.fixture(scope="module")
def vector(agent):
    return fit_east(agent, TASK, episodes=8)[1]


def prompts(agent, runs, t):
    """What the model is asked at step t of episodes."""
    asked = agent.asked(*folded(agent, runs, t))
    return _questions(asked, asked.prompts, 0)


class TestCollect:
    def test_states_are_those_of_the_prompts_that_were_played(self, agent):
        runs, plays = rollout(agent, TASK, episodes=3, seed=1), collect(agent, TASK, episodes=3, seed=1)
        assert plays.states.shape == (15, 4, 208) and plays.states.dtype == np.float32
        for t in range(5):
            alone = [replace(q, key=("alone", q.key)) for q in prompts(agent, runs, t)]
            assert np.allclose(plays.states[plays.t == t], agent.model.residuals(alone), atol=1e-4)
        assert np.allclose(plays.entropy.reshape(5, 3).T, entr(runs.probs).sum(axis=2), atol=1e-5)
        assert (plays.run.reshape(5, 3) == [0, 1, 2]).all()

    def test_it_says_where_it_is_from(self, agent):
        found = collect(agent, TASK, episodes=2, seed=7).origin
        assert (found.runs, found.prompts, found.dropped, found.seed) == (2, 10, 0, 7)
        assert found.model == "pocket" and found.revision == agent.model.revision and '"n_arms": 5' in found.task
        assert found.agent != collect(replace(agent, temperature=2.0), TASK, episodes=2).origin.agent

    def test_batches_change_nothing(self, agent):
        whole, parts = (collect(agent, TASK, episodes=5, batch=batch) for batch in (5, 2))
        order = np.lexsort((parts.run, parts.t))
        assert np.allclose(whole.states, parts.states[order], atol=1e-4)

    def test_what_is_drawn_has_the_policy_s_entropy(self, agent):
        """Of 120 draws: within 0.05 nats on average, each draw another one, the first one played."""
        exact = collect(agent, TASK, episodes=3, seed=2)
        drawn = collect(agent, TASK, episodes=3, seed=2, estimator="sampled", draws=120)
        assert np.array_equal(exact.run, drawn.run) and np.allclose(exact.states, drawn.states, atol=1e-4)
        assert abs(drawn.entropy.mean() - exact.entropy.mean()) < 0.05
        assert np.abs(drawn.entropy - exact.entropy).max() < 0.25

    def test_thoughts_are_averaged_over(self, agent):
        thinking = replace(agent, prompt=Prompt(answer="thought", max_thought=24))
        task = make("bernoulli-hard", horizon=2)
        one, many = (collect(thinking, task, episodes=4, draws=n) for n in (1, 6))
        assert one.origin.estimator == "policy of 1 draw" and many.origin.estimator == "policy of 6 draws"
        assert np.allclose(one.states, many.states, atol=1e-4)  # of the prompt, before the thought
        assert many.entropy.mean() > one.entropy.mean()

    def test_a_steering_of_its_own_moves_the_play_only(self, agent, vector):
        steered = replace(agent, steering=Steering(vector, 30.0))
        plain, moved = collect(agent, TASK, episodes=3), collect(steered, TASK, episodes=3)
        first = plain.t == 0
        assert np.allclose(plain.states[first], moved.states[first], atol=1e-4)
        assert (moved.entropy > plain.entropy)[~first].mean() > 0.5

    @pytest.mark.parametrize(
        ("change", "fields", "says"),
        [
            ({}, {"estimator": "exact"}, "estimator: must be 'policy' or 'sampled', got 'exact'"),
            ({}, {"draws": 1, "estimator": "sampled"}, "draws: must be a whole number of at least 2, got 1"),
            ({"prompt": Prompt(answer="free")}, {}, "answers that are written have no exact policy"),
        ],
    )
    def test_bad_input(self, agent, change, fields, says):
        with pytest.raises(ValueError, match=says):
            collect(replace(agent, **change), TASK, episodes=2, **fields)

    def test_duels_and_other_models_are_refused(self, agent, fakes, tokenizer):
        with pytest.raises(ValueError, match="one choice among at least 2 arms is needed, got 5 arms and 2 per choice"):
            collect(agent, make("dueling", horizon=3), episodes=2)
        with pytest.raises(ValueError, match="must be an LLMAgent, got UCB"):
            collect(UCB(), TASK, episodes=2)
        with pytest.raises(ValueError, match="from transformers models only"):
            collect(LLMAgent(fakes.FakeModel(tokenizer)), TASK, episodes=2)


def test_miller_and_madow_and_what_cannot_be_read():
    arms = np.array([[0, 0, 1, 1], [2, 2, 2, 2], [-1, -1, 1, -1], [0, 1, -1, -1]])
    found = _sampled([Choice(column[:, None]) for column in arms.T], made_up=False)
    assert np.allclose(found[[0, 1, 3]], [np.log(2) + 1 / 8, 0, np.log(2) + 1 / 4]) and np.isnan(found[2])
    stood_in = [Choice(np.where(column < 0, 3, column)[:, None], failed=(column < 0).astype(int)) for column in arms.T]
    assert np.allclose(_sampled(stood_in, made_up=True), found, equal_nan=True)


def test_prompt_pairs_are_of_the_same_histories(agent):
    more, less = Prompt(instructions="advice"), Prompt()
    pairs = prompt_pairs(agent, TASK, more, less, episodes=3, seed=1)
    plays = collect(agent, TASK, episodes=3, seed=1)
    assert np.allclose(pairs.less, plays.states, atol=1e-4) and pairs.more.shape == pairs.less.shape
    assert np.abs(pairs.more - pairs.less).max() > 0.1
    same = prompt_pairs(agent, TASK, less, less, episodes=3, batch=2)
    assert np.allclose(same.more, same.less, atol=1e-4)


class TestAgent:
    def test_no_strength_is_no_steering(self, agent, vector, assert_same_play):
        plain, zero = (rollout(a, TASK, episodes=3) for a in (agent, replace(agent, steering=Steering(vector, 0.0))))
        assert_same_play(plain, zero)
        assert np.array_equal(plain.probs, zero.probs)

    def test_turns_begin_clean(self, agent, vector):
        """A policy after steered turns is that of one who steers this turn only."""
        steered = replace(agent, steering=Steering(vector, 40.0))
        runs = rollout(steered, TASK, episodes=3)
        for t in range(5):
            again = steered.model.ask([replace(q, key=("fresh", q.key)) for q in prompts(steered, runs, t)])
            assert np.allclose(np.exp([a.logp for a in again]), runs.probs[:, t], atol=1e-4)

    def test_hybrids_and_replay(self, agent, vector):
        steered = replace(agent, steering=Steering(vector, 20.0))
        runs = rollout(EpsilonMix(steered, 0.2), TASK, episodes=3)
        folded = np.stack([choice.probs[:, 0] for choice in replay(EpsilonMix(steered, 0.2), runs)], axis=1)
        assert np.allclose(folded, runs.probs, atol=1e-4)

    def test_what_does_not_fit_is_refused(self, agent, vector):
        narrow = replace(vector, directions=vector.directions[:, :100])
        with pytest.raises(ValueError, match="100 numbers, but pocket has a width of 208"):
            rollout(replace(agent, steering=Steering(narrow)), TASK, episodes=1)
        with pytest.raises(ValueError, match="layers 0 to 3, but the vector is for 9"):
            rollout(replace(agent, steering=Steering(replace(vector, layers=(9,)))), TASK, episodes=1)
        with pytest.raises(
            ValueError, match=r"must be a SteeringVector, got a tuple \(`fit_east` gives a vector for each"
        ):
            Steering((vector, vector))
        with pytest.raises(ValueError, match=r"strength: must be a number, or such as Fading\(first=8.0\), got '4'"):
            Steering(vector, "4")
        with pytest.raises(ValueError, match="positions: must be one of"):
            Steering(vector, positions="last")
        with pytest.raises(ValueError, match="strength: must be a finite number"):
            Steering(vector, float("nan"))
