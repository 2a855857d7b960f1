import numpy as np
import pytest
from scipy import stats

from icrl.agents import LinThompsonSampling, LinUCB, Uniform, rollout
from icrl.agents.classical import argmax
from icrl.envs import Contexts, Linear, Public, UniformMeans

K, D = 4, 3
DISJOINT = Public("contextual", K, 5000, "gaussian", 1.0, context_dim=D)
SHARED = Public("contextual", K, 5000, "gaussian", 1.0, context_dim=D, per_arm=True)
EXACT = {"rel": 1e-9, "abs": 1e-9}


def history(public, steps, rows, seed=0):
    """Random arms (some forfeited), rewards, and contexts, one more of these."""
    rng = np.random.default_rng(seed)
    shape = (rows, K, D) if public.per_arm else (rows, D)
    contexts = [rng.normal(size=shape) for _ in range(steps + 1)]
    return list(rng.integers(-1, K, (steps, rows))), list(rng.normal(size=(steps, rows))), contexts


def features(public, context, arm):
    return context[arm] if public.per_arm else context


def solved(public, row, arm, arms, rewards, contexts, ridge):
    """(theta, A^-1) of an arm's regression, from the row's own history, by inverting A."""
    a, b = ridge * np.eye(D), np.zeros(D)
    for played, reward, context in zip(arms, rewards, contexts[:-1], strict=True):
        if played[row] == arm or (public.per_arm and played[row] >= 0):
            x = features(public, context[row], played[row])
            a, b = a + np.outer(x, x), b + reward[row] * x
    return np.linalg.inv(a) @ b, np.linalg.inv(a)


@pytest.mark.parametrize("public", [DISJOINT, SHARED], ids=["disjoint", "shared"])
class TestRidge:
    @pytest.mark.parametrize(("ridge", "steps", "rows"), [(1.0, 50, 8), (0.3, 50, 8), (5.0, 0, 2), (1.0, 2000, 2)])
    def test_estimates_and_widths_against_an_inverse(self, public, ridge, steps, rows, fold):
        agent = LinUCB(alpha=0.7, ridge=ridge)
        arms, rewards, contexts = history(public, steps, rows)
        state, view = fold(agent, public, arms, rewards, rows=rows, contexts=contexts)
        mean, width = agent.moments(state, view)
        for row in range(rows):
            for k in range(K):
                theta, inverse = solved(public, row, k, arms, rewards, contexts, ridge)
                x, m = features(public, contexts[-1][row], k), 0 if public.per_arm else k
                assert state.weights[row, m] == pytest.approx(theta, **EXACT)
                assert state.root[row, m].T @ state.root[row, m] == pytest.approx(inverse, **EXACT)
                assert mean[row, k] == pytest.approx(theta @ x, **EXACT)
                assert width[row, k] == pytest.approx(np.sqrt(x @ inverse @ x), **EXACT)
        assert agent.index(state, view) == pytest.approx(mean + 0.7 * width)
        assert agent.advise(state, view)["bonus"] == pytest.approx(0.7 * width)
        assert state.pulls.sum(axis=1).tolist() == [sum(a[row] >= 0 for a in arms) for row in range(rows)]

    def test_a_long_run_of_one_direction_keeps_its_precision(self, public, fold):
        x = np.zeros((2, K, D) if public.per_arm else (2, D))
        x[..., 0] = 100.0
        state, _ = fold(LinUCB(), public, [1] * 3000, [50.0] * 3000, rows=2, contexts=[x] * 3001)
        m = 0 if public.per_arm else 1
        inverse = state.root[0, m].T @ state.root[0, m]
        assert inverse == pytest.approx(np.diag([1 / (1 + 3000 * 1e4), 1, 1]), rel=1e-6, abs=1e-18)
        assert state.weights[0, m] == pytest.approx([0.5 * 3e7 / (3e7 + 1), 0, 0], rel=1e-9)

    def test_a_context_of_zeros_tells_nothing(self, public, fold, midway):
        zeros = np.zeros((256, K, D) if public.per_arm else (256, D))
        for agent in (LinUCB(), LinThompsonSampling()):
            state, view = fold(agent, public, [0, 1, -1], [3.0, -1.0, 0.0], contexts=[zeros] * 4)
            assert (state.weights == 0).all() and (state.root == np.eye(D)).all()
            assert agent.policy(state, view) == pytest.approx(np.full((256, 1, K), 1 / K), abs=0.07)
            assert stats.chisquare(np.bincount(agent.act(state, view)[1].arm[:, 0], minlength=K)).pvalue > 1e-3


def test_shared_arms_with_features_of_their_own_are_independent_arms(fold):
    """One-hot features: index sum / (n + ridge) + alpha / sqrt(n + ridge)."""
    public = Public("contextual", K, 100, "gaussian", 1.0, context_dim=K, per_arm=True)
    arms, rewards = [0, 1, 1, 3, 1, 0], [1.0, 0.5, -2.0, 4.0, 1.0, 0.5]
    agent, onehot = LinUCB(alpha=1.5, ridge=0.4), [np.tile(np.eye(K), (256, 1, 1))] * 7
    sums, n = np.array([1.5, -0.5, 0.0, 4.0]), np.array([2, 3, 0, 1])
    expected = sums / (n + 0.4) + 1.5 / np.sqrt(n + 0.4)
    assert agent.index(*fold(agent, public, arms, rewards, contexts=onehot)) == pytest.approx(
        np.tile(expected, (256, 1))
    )


def test_a_player_per_context():
    """Disjoint LinUCB with one-hot contexts, against a table of counts and sums kept by hand, choice by choice."""
    agent, task = LinUCB(alpha=0.8), Contexts(n_arms=3, horizon=120, means=UniformMeans(), n_contexts=4)
    runs = rollout(agent, task, episodes=64)
    seen, row, checked = runs.context.argmax(axis=2), np.arange(64), 0
    n, sums = np.zeros((64, 4, 3)), np.zeros((64, 4, 3))
    for t in range(120):
        c, arm = seen[:, t], runs.arms[:, t]
        index = sums[row, c] / (n[row, c] + 1) + 0.8 / np.sqrt(n[row, c] + 1)
        assert (index[row, arm] >= index.max(axis=1) - 1e-8).all()
        checked += (np.sort(index, axis=1)[:, -1] - np.sort(index, axis=1)[:, -2] > 1e-6).sum()
        n[row, c, arm] += 1
        sums[row, c, arm] += runs.rewards[:, t]
    assert checked > 64 * 60, "most choices had no tie"


class TestLinThompson:
    def test_shared_draws_have_the_posterior_as_their_distribution(self, fold, monkeypatch):
        """What is drawn is read where it is compared: the arms' scores are features . weights."""
        rows, agent = 5120, LinThompsonSampling(scale=0.6, ridge=0.5)
        arms, rewards, contexts = history(SHARED, 12, 1)
        contexts = [np.tile(c, (rows, 1, 1)) for c in contexts]
        state, view = fold(agent, SHARED, arms, rewards, rows=rows, contexts=contexts)
        scores = []
        monkeypatch.setattr(
            "icrl.agents.linear.argmax", lambda index, *rest: scores.append(index) or argmax(index, *rest)
        )
        agent.act(state, view)
        theta, inverse = solved(SHARED, 0, 0, arms, rewards, contexts, 0.5)
        weights = np.linalg.lstsq(contexts[-1][0], scores[0].T, rcond=None)[0].T  # [rows, D], of K > D equations
        covariance = 0.36 * inverse
        whitened = np.linalg.solve(np.linalg.cholesky(covariance), (weights - theta).T)
        for z in whitened:
            assert stats.kstest(z, stats.norm.cdf).pvalue > 1e-3
        assert np.cov(whitened) == pytest.approx(np.eye(D), abs=5 * np.sqrt(2 / rows))

    def test_disjoint_policy_against_drawn_weights(self, fold):
        agent, rng = LinThompsonSampling(scale=0.8), np.random.default_rng(4)
        arms, rewards, contexts = history(DISJOINT, 30, 3, seed=2)
        state, view = fold(agent, DISJOINT, arms, rewards, rows=3, contexts=contexts)
        policy = agent.policy(state, view)[:, 0]
        for row in range(3):
            scores = []
            for k in range(K):
                theta, inverse = solved(DISJOINT, row, k, arms, rewards, contexts, 1.0)
                scores.append(rng.multivariate_normal(theta, 0.64 * inverse, 200_000) @ contexts[-1][row])
            share = np.bincount(np.argmax(scores, axis=0), minlength=K) / 200_000
            assert policy[row] == pytest.approx(share, abs=5e-3)


@pytest.mark.parametrize("agent", [LinUCB(alpha=0.5), LinThompsonSampling(scale=0.3)], ids=repr)
@pytest.mark.parametrize("shared", [False, True])
def test_they_learn_what_contexts_mean(agent, shared):
    task = Linear(n_arms=5, horizon=300, dim=4, shared=shared)
    gap = rollout(agent, task).gap
    chance = rollout(Uniform(), task).gap.mean()
    assert gap[:, -100:].mean() < 0.2 * chance
    assert gap[:, -100:].mean() < 0.5 * gap[:, :30].mean()
