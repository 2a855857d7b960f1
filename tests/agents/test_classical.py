"""What all algorithms share: ties, illegal arms, forfeited steps, and that learning helps."""

import numpy as np
import pytest
from scipy import stats

from icrl.agents import KLUCB, MOSS, UCB, EpsilonGreedy, Greedy, ThompsonSampling, Uniform, rollout
from icrl.agents.classical import argmax, ties
from icrl.agents.dice import Dice
from icrl.envs import Bandit, Choice, Fixed, Gap, Gaussian, Outcome
from icrl.experiments.measures import final_regret

ROWS = 2560  # ten blocks
HISTORY = [[1, 1, 0], [0, 1], [1, 0, 0, 0, 1]]  # means 2/3, 1/2, 2/5 after t = 10


@pytest.fixture
def chosen(seen):
    def chosen(agent, rewards, **kwargs):
        return agent.act(*seen(agent, rewards, **kwargs))[1].arm[:, 0]

    return chosen


@pytest.mark.parametrize("agent", [Uniform(), Greedy(), UCB(), UCB(c=1.0)], ids=repr)
class TestTies:
    def test_are_broken_uniformly(self, agent, chosen):
        arms = chosen(agent, [[], [], [], []], rows=ROWS)
        assert stats.chisquare(np.bincount(arms, minlength=4)).pvalue > 1e-3

    def test_between_some_arms_only(self, agent, chosen):
        arms = chosen(agent, [[], [], [], []], rows=ROWS, legal=[True, False, True, False])
        assert set(arms) == {0, 2}
        assert stats.chisquare(np.bincount(arms)[[0, 2]]).pvalue > 1e-3

    def test_rounding_breaks_no_tie(self, agent, chosen):
        """Two wins of three are two thirds in any order, but the running means differ in the last bit."""
        tied = chosen(agent, [[1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 0, 1]], rows=ROWS)
        assert stats.chisquare(np.bincount(tied, minlength=4)).pvalue > 1e-3


@pytest.mark.parametrize("n_arms", [2, 3, 257, 300])  # beyond 255 the sums need wider integers
def test_argmax_against_a_loop(n_arms):
    rng = np.random.default_rng(n_arms)
    index = rng.integers(0, max(3, n_arms // 2), (100, n_arms)).astype(float)
    index[rng.random(index.shape) < 0.05] = np.inf
    index[rng.random(index.shape) < 0.05] = -np.inf
    index[:40], index[40] = rng.random((40, n_arms)), 0.0  # no ties; nothing but ties
    legal = rng.random(index.shape) < 0.8
    legal[~legal.any(axis=1)] = True
    for allowed in (legal, np.ones_like(legal)):
        arms = argmax(index, allowed, Dice.of("argmax", np.arange(100), 0))
        policy = ties(index, allowed)
        for row in range(100):
            there = np.flatnonzero(allowed[row]).tolist()
            highest = max(index[row, there].tolist())
            best = [k for k in there if index[row, k] == highest]
            assert arms[row] in best
            expected = np.zeros(n_arms)
            expected[best] = 1 / len(best)
            assert policy[row] == pytest.approx(expected)


@pytest.mark.parametrize("agent", [Uniform(), Greedy(), EpsilonGreedy(), UCB(), ThompsonSampling()], ids=repr)
def test_illegal_arms_are_never_chosen(agent, chosen):
    arms = chosen(agent, [*HISTORY, []], rows=ROWS, legal=[False, True, True, False])
    assert set(arms) <= {1, 2}


@pytest.mark.parametrize("agent", [Greedy(), EpsilonGreedy(epsilon=0.3), UCB(), ThompsonSampling()], ids=repr)
def test_learning_beats_chance(agent):
    task = Bandit(n_arms=4, horizon=200, means=Gap(best=0.8, gap=0.5))
    assert rollout(agent, task).gap.mean() < 0.5 * rollout(Uniform(), task).gap.mean()


def test_a_forfeited_step_counts_nothing(seen):
    agent = UCB()
    state, view = seen(agent, HISTORY)
    before = {name: getattr(state, name).copy() for name in ("pulls", "mean", "width")}
    none = np.zeros(256, np.bool_)
    lost = Outcome(np.full(256, np.nan), none, none)
    state = agent.update(state, view, Choice(np.full((256, 1), -1)), lost)
    for name, cells in before.items():
        assert (getattr(state, name) == cells).all()


@pytest.mark.parametrize(
    "agent", [Greedy(), ThompsonSampling(), KLUCB(), MOSS(), ThompsonSampling(variance="unknown")], ids=repr
)
@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_the_unit_of_reward_changes_nothing(agent, unit):
    regret = []
    for u in (1.0, unit):
        task = Bandit(n_arms=3, horizon=50, means=Fixed(values=(u, 0.5 * u, 0)), noise=Gaussian(sd=0.3 * u))
        regret.append(final_regret(rollout(agent, task, episodes=2048)).mean() / u)
    assert regret[1] == pytest.approx(regret[0], rel=0.1)
