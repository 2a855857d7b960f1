"""Agents around agents: what they play, what they ask their model, and what is written down of it."""

import numpy as np
import pytest
from scipy import stats

from icrl import metrics
from icrl.agents import (
    UCB,
    Corral,
    EpsilonGreedy,
    EpsilonMix,
    Greedy,
    LinThompsonSampling,
    LinUCB,
    LLMAgent,
    Mixture,
    PriorThompson,
    Schedule,
    Stating,
    ThompsonSampling,
    TryAll,
    Uniform,
    rollout,
)
from icrl.agents.corral import mirrored
from icrl.envs import Bandit, Choice, Fixed, Gap, UniformMeans, make
from icrl.prompts import Prompt

TASK = make("bernoulli-hard", horizon=30)


@pytest.fixture
def llm(fakes, tokenizer):
    return LLMAgent(fakes.FakeModel(tokenizer), Prompt("raw", labels=fakes.FIVE))


def asked(llm):
    return sum(len(batch) for batch in llm.model.asked)


class TestTryAll:
    def test_each_arm_once_first_in_any_order(self, llm):
        runs = rollout(TryAll(llm), TASK, episodes=64)
        assert (np.sort(runs.arms[:, :5], axis=1) == np.arange(5)).all()
        assert stats.chisquare(np.bincount(runs.arms[:, 0], minlength=5)).pvalue > 1e-3
        assert len({tuple(row) for row in runs.arms[:, :5].tolist()}) > 30

    def test_the_model_is_asked_only_afterwards_and_reads_what_was_played(self, llm):
        runs = rollout(TryAll(llm), TASK, episodes=8)
        assert asked(llm) == 8 * 25 and metrics.model_calls(runs).tolist() == [25] * 8
        prompt = llm.model.tokenizer.decode(llm.model.asked[0][0].ids)
        for arm, reward in zip(runs.arms[0, :5], runs.rewards[0, :5], strict=True):
            assert f"{runs.names[0][arm]}" in prompt and f"Reward {reward:.0f} ({runs.names[0][arm]})" in prompt
        assert (runs.text[:, :5] == np.array(runs.names)[np.arange(8)[:, None], runs.arms[:, :5]]).all()

    def test_its_first_steps_have_their_own_probabilities(self, llm):
        runs = rollout(TryAll(llm), TASK, episodes=8)
        assert np.allclose(runs.probs[:, 0], 0.2)
        left = np.take_along_axis(runs.probs[:, 3], runs.arms[:, 3:4], axis=1)
        assert np.allclose(left, 0.5) and np.allclose(runs.probs.sum(axis=2), 1)

    def test_it_helps_the_greedy(self):
        """Around an algorithm it plays whole blocks, as that does."""
        agent = TryAll(Greedy())
        assert agent.block == 256
        assert (rollout(agent, TASK).arms[:, 5:] != rollout(Uniform(), TASK).arms[:, 5:]).any()


class TestEpsilonMix:
    def test_probabilities_are_those_of_the_mixture(self, llm):
        alone, mixed = rollout(llm, TASK, episodes=16), rollout(EpsilonMix(llm, 0.25), TASK, episodes=16)
        assert np.allclose(mixed.probs[:, 0], 0.75 * alone.probs[:, 0] + 0.25 / 5)

    def test_how_often_it_explores(self):
        runs = rollout(EpsilonMix(TryAll(Greedy()), 0.4), make("bernoulli-hard"), episodes=512)
        greedy = metrics.greedy_frac(runs)
        assert 0.6 < greedy.mean() < 0.85

    @pytest.mark.parametrize("epsilon", [-0.1, 1.5, float("nan")])
    def test_epsilon_is_a_probability(self, epsilon):
        with pytest.raises(ValueError, match="epsilon"):
            EpsilonMix(UCB(), epsilon=epsilon)


class TestMixture:
    def test_schedules_by_hand(self):
        assert Schedule(1.0, 0.2, 4).at(np.arange(6)).tolist() == pytest.approx([1, 0.8, 0.6, 0.4, 0.2, 0.2])
        assert Schedule(0.3, 0.3).at(np.array([0, 50])).tolist() == [0.3, 0.3]
        with pytest.raises(ValueError, match="steps"):
            Schedule(first=1, last=0, steps=0)

    def test_shares_and_calls(self, llm):
        runs = rollout(Mixture(llm, UCB(), Schedule(0.3, 0.3)), TASK, episodes=64)
        calls = metrics.model_calls(runs)
        assert asked(llm) == calls.sum()
        assert stats.binomtest(int(calls.sum()), 64 * 30, 0.3).pvalue > 1e-3

    def test_the_ends_are_the_players(self, llm):
        only = rollout(Mixture(llm, UCB(), Schedule(1, 1)), TASK, episodes=8)
        alone = rollout(llm, TASK, episodes=8)
        assert (only.arms == alone.arms).all() and (only.probs == alone.probs).all()
        none = rollout(Mixture(llm, Stating(EpsilonGreedy()), Schedule(0, 0)), TASK, episodes=8)
        assert none.usage is None and np.allclose(none.probs.sum(axis=2), 1)

    def test_the_algorithm_learns_from_the_steps_of_the_model(self, llm):
        """From step 20 on UCB plays alone: with 20 pulls known, it tries no arm merely because it never did."""
        runs = rollout(Mixture(llm, UCB(c=1e-9), Schedule(1, 0, 20)), TASK, episodes=32)
        for b in range(32):
            pulls = np.bincount(runs.arms[b, :20], minlength=5)
            means = np.bincount(runs.arms[b, :20], runs.rewards[b, :20], 5) / np.maximum(pulls, 1)
            best = np.where(pulls, means, np.inf)
            assert best[runs.arms[b, 20]] == best.max()


class TestCorral:
    def test_it_finds_the_better_agent(self):
        task = Bandit(n_arms=5, horizon=400, means=Gap(best=0.9, gap=0.6))
        good, bad = rollout(UCB(c=0.5), task), rollout(Uniform(), task)
        both = [rollout(Corral(*pair, rate=0.05), task) for pair in ((UCB(c=0.5), Uniform()), (Uniform(), UCB(c=0.5)))]
        for runs in both:
            assert runs.gap[:, 200:].mean() < good.gap[:, 200:].mean() + 0.2 * bad.gap[:, 200:].mean()

    @pytest.mark.parametrize("budget", [0, 3, 12])
    def test_the_budget_holds(self, llm, budget):
        runs = rollout(Corral(llm, UCB(), budget=budget), TASK, episodes=16)
        calls = metrics.model_calls(runs) if runs.usage is not None else np.zeros(16)
        assert calls.max() <= budget and asked(llm) == calls.sum()
        assert budget == 0 or calls.max() == budget

    def test_mirror_descent_solves_its_equation(self):
        rng = np.random.default_rng(0)
        weight, ours, theirs = rng.uniform(0.05, 0.95, 200), rng.uniform(0, 30, 200), rng.uniform(0, 30, 200)
        new = mirrored(weight, ours, theirs, 0.1)
        first, second = 1 / new - 1 / weight - 0.1 * ours, 1 / (1 - new) - 1 / (1 - weight) - 0.1 * theirs
        inside = (new > 2e-6) & (new < 1 - 2e-6)
        assert inside.mean() > 0.95 and np.allclose(first[inside], second[inside], atol=1e-5)
        assert ((new < weight) == (ours > theirs))[inside].all()

    def test_it_needs_bounded_rewards(self):
        with pytest.raises(ValueError, match=r"rewards in \[0, 1\]"):
            Corral(UCB(), Greedy()).check(make("dpt-gaussian").public)


class TestPriorThompson:
    def test_a_strong_opinion_is_followed_at_first(self, llm):
        runs = rollout(PriorThompson(llm, strength=300.0), TASK, episodes=64)
        opinion = rollout(llm, TASK, episodes=64).probs[:, 0]
        assert (runs.arms[:, 0] == opinion.argmax(axis=1)).mean() > 0.6

    def test_no_opinion_is_thompson_sampling(self, llm):
        task = Bandit(n_arms=3, horizon=60, means=Fixed(values=(0.9, 0.3, 0.3)))
        mine = rollout(PriorThompson(llm, strength=0.0), task, episodes=512).gap.sum(axis=1)
        plain = rollout(ThompsonSampling(), task, episodes=512).gap.sum(axis=1)
        assert stats.ttest_rel(mine, plain).pvalue > 1e-3

    def test_one_call_per_episode(self, llm):
        runs = rollout(PriorThompson(llm), TASK, episodes=8, batch=4)
        assert asked(llm) == 8 and metrics.model_calls(runs).tolist() == [1] * 8

    def test_it_needs_probabilities(self, fakes, tokenizer):
        with pytest.raises(ValueError, match="no probabilities"):
            rollout(PriorThompson(fakes.agent("llm-retry", tokenizer)), TASK, episodes=2)


def test_stating_plays_the_same_and_says_how():
    for algorithm in (EpsilonGreedy(epsilon=0.3), ThompsonSampling()):
        alone, stated = rollout(algorithm, TASK, episodes=256), rollout(Stating(algorithm), TASK, episodes=256)
        assert (alone.arms == stated.arms).all()
        chosen = np.take_along_axis(stated.probs, stated.arms[..., None], axis=2)[..., 0]
        # if the probabilities are right, 1/p of the chosen arm estimates the number of arms that could come
        assert (1 / chosen).mean() == pytest.approx((stated.probs > 1e-6).sum(axis=2).mean(), rel=0.05)


def test_hybrids_of_hybrids_play(llm):
    agent = TryAll(EpsilonMix(Mixture(llm, TryAll(ThompsonSampling())), 0.2))
    task = Bandit(n_arms=5, horizon=12, means=UniformMeans())
    whole, parts = rollout(agent, task, episodes=12, batch=12), rollout(agent, task, episodes=12, batch=5)
    assert (whole.arms == parts.arms).all() and (whole.text == parts.text).all()


class Always(Uniform):
    """Pulls one arm."""

    def __init__(self, arm):
        self.arm = arm

    def act(self, state, view):
        return state, Choice(np.full((len(view.t), 1), self.arm))


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_hybrids_inside_one_another_draw_their_own_luck(share):
    """EpsilonMix(Mixture): the outer coin must not decide the inner one."""
    agent = EpsilonMix(Mixture(Always(0), Always(1), Schedule(share, share)), epsilon=0.1)
    first = (rollout(agent, TASK, episodes=1024).arms == 0).mean()
    assert first == pytest.approx(0.9 * share + 0.1 / 5, abs=4 * 0.5 / np.sqrt(1024 * 30))
    agent = Mixture(EpsilonMix(Always(0), epsilon=0.3), Always(1), Schedule(share, share))
    first = (rollout(agent, TASK, episodes=1024).arms == 0).mean()
    assert first == pytest.approx(share * (0.7 + 0.3 / 5), abs=4 * 0.5 / np.sqrt(1024 * 30))


@pytest.mark.parametrize("both", [lambda a, b: Mixture(a, b, Schedule(0.3, 0.3)), Corral])
def test_calls_of_a_second_model_are_counted_too(both, fakes, tokenizer):
    one, two = (LLMAgent(fakes.FakeModel(tokenizer), Prompt("raw", labels=fakes.FIVE)) for _ in range(2))
    runs = rollout(both(one, two), TASK, episodes=8)
    assert metrics.model_calls(runs).tolist() == [30] * 8 and asked(one) + asked(two) == 240
    assert 0 < asked(one) < 240
    assert not np.isnan(runs.mass).any() and (runs.text != "").all()
    alone = rollout(both(Uniform(), two), TASK, episodes=8)
    assert metrics.model_calls(alone).sum() == asked(two) - (240 - asked(one))


def test_what_is_stated_by_monte_carlo_is_never_impossible():
    task = make("lin-bai-mei", horizon=20)
    runs = rollout(Stating(LinThompsonSampling(), draws=20), task, episodes=256)
    chosen = np.take_along_axis(runs.probs, runs.arms[..., None], axis=2)
    assert (chosen > 0).all() and np.allclose(runs.probs.sum(axis=2), 1)
    view = task.view(task.start(np.arange(256), 0))
    for algorithm, says in ((LinThompsonSampling(), "sampled"), (LinUCB(), "exact")):
        agent = Stating(algorithm, draws=5)
        assert agent.act(agent.start(task.public, None, np.arange(256), 0), view)[1].policy == says


@pytest.mark.parametrize("inner", ["ucb", UCB, 3, None])
def test_what_stands_inside_must_be_an_agent(inner):
    for around in (TryAll, EpsilonMix, lambda agent: Mixture(agent, UCB()), lambda agent: Corral(UCB(), agent)):
        with pytest.raises(ValueError, match="must be an agent"):
            around(inner)
    with pytest.raises(ValueError, match=r"must be one of icrl\.agents\.ALGORITHMS"):
        Stating(inner)
    with pytest.raises(ValueError, match=r"must be one of icrl\.agents\.ALGORITHMS"):
        Stating(TryAll(UCB()))
    with pytest.raises(ValueError, match="agent: must be an object"):
        rollout(inner, TASK)
    with pytest.raises(ValueError, match="task: must be an object"):
        rollout(UCB(), inner)


def test_two_models_that_write_at_different_lengths(fakes, tokenizer, tmp_path):
    """Whatever the batch; and what is stored of them can be read."""
    from icrl.envs import Episodes

    task = make("bernoulli-hard", horizon=12)

    def writing(limit):
        model = fakes.Writing(tokenizer, script=fakes.by_hash)
        return LLMAgent(model, Prompt(labels=fakes.FIVE, answer="free", on_failure="resample", max_tokens=limit))

    agent = Mixture(writing(40), writing(12))
    one, many = (rollout(agent, task, episodes=6, batch=batch) for batch in (1, 6))
    assert (one.arms == many.arms).all() and (one.ids == many.ids).all() and one.ids.shape == (6, 12, 40)
    assert (Episodes.load(one.save(tmp_path / "runs")).ids == one.ids).all()
