import numpy as np
import pytest
from scipy import stats

from icrl.agents import UCB, Boltzmann, EmpiricalMean, EpsilonGreedy, ExploreThenCommit, Greedy, rollout
from icrl.envs import Bandit, Fixed, Gap, Gaussian, Public, UniformMeans, make

ROWS = 2560
HISTORY = [[1, 1, 0], [0, 1], [1, 0, 0, 0, 1]]  # means 2/3, 1/2, 2/5 after t = 10


@pytest.fixture
def chosen(seen):
    def chosen(agent, rewards, **kwargs):
        return agent.act(*seen(agent, rewards, **kwargs))[1].arm[:, 0]

    return chosen


class TestGreedy:
    def test_it_is_not_ucb(self, chosen):
        """In EVOLvE (2025-07) GreedyAgent adds the bonus: choice by choice it is UCB."""
        history = [[1, 0, 1] * 30, [0, 1]]  # 0.67 of 90 pulls against 0.5 of 2
        assert (chosen(Greedy(), history) == 0).all()
        assert (chosen(UCB(), history) == 1).all()
        task = make("bernoulli-hard")
        assert (rollout(Greedy(), task, episodes=64).arms != rollout(UCB(), task, episodes=64).arms).mean() > 0.1

    def test_each_arm_once_in_random_order_then_the_best_mean(self):
        runs = rollout(Greedy(), Bandit(n_arms=3, horizon=50, means=Fixed(values=(0, 5, 9)), noise=Gaussian(sd=0.1)))
        assert (np.sort(runs.arms[:, :3], axis=1) == np.arange(3)).all()
        assert len({tuple(row) for row in runs.arms[:, :3].tolist()}) == 6
        assert (runs.arms[:, 3:] == runs.best_arm[:, None]).all()

    def test_it_stays_with_the_best_mean(self, chosen):
        assert (chosen(Greedy(), HISTORY) == 0).all()


class TestEpsilonGreedy:
    @pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.5, 1.0])
    def test_how_often_it_explores(self, epsilon, chosen):
        arms = chosen(EpsilonGreedy(epsilon=epsilon), HISTORY, rows=ROWS)
        share = 1 - epsilon + epsilon / 3
        assert stats.binomtest(int((arms == 0).sum()), ROWS, min(share, 1.0)).pvalue > 1e-3

    @pytest.mark.parametrize("epsilon", [-0.1, 1.1, float("nan"), float("inf")])
    def test_epsilon_is_a_probability(self, epsilon):
        with pytest.raises(ValueError, match="epsilon"):
            EpsilonGreedy(epsilon=epsilon)

    def test_decay(self, seen):
        """epsilon_t = min(epsilon, decay / t) at step t = 1, 2, ... (Auer et al. 2002)."""
        agent = EpsilonGreedy(epsilon=0.6, decay=2.0)
        rates = agent.rate(np.array([0, 1, 2, 3, 4, 19, 1999]))
        assert rates == pytest.approx([0.6, 0.6, 0.6, 2 / 4, 2 / 5, 2 / 20, 2 / 2000])
        state, view = seen(agent, HISTORY, rows=ROWS)  # the eleventh step: 2/11
        assert agent.policy(state, view)[0, 0] == pytest.approx([1 - 2 / 11 * 2 / 3, 2 / 33, 2 / 33])
        explored = (agent.act(state, view)[1].arm != 0).sum()
        assert stats.binomtest(int(explored), ROWS, 2 / 11 * 2 / 3).pvalue > 1e-3


class TestExploreThenCommit:
    @pytest.mark.parametrize("noise", [None, Gaussian(sd=0.5)], ids=["bernoulli", "gaussian"])
    def test_schedule_and_commitment(self, noise):
        means = {"means": Gap(best=0.6, gap=0.2)} | ({} if noise is None else {"noise": noise})
        runs = rollout(ExploreThenCommit(pulls=4), Bandit(n_arms=3, horizon=60, **means), episodes=512)
        turns = runs.arms[:, :12].reshape(512, 4, 3)
        assert (np.sort(turns, axis=2) == np.arange(3)).all(), "four turns of all three arms"
        assert (runs.arms[:, 12:] == runs.arms[:, 12:13]).all(), "then one arm for ever"
        onehot = runs.arms[:, :12, None] == np.arange(3)
        early = (onehot * runs.rewards[:, :12, None]).sum(axis=1) / 4
        committed = np.take_along_axis(early, runs.arms[:, 12:13], axis=1)[:, 0]
        assert (committed >= early.max(axis=1) - 1e-9).all()

    def test_nothing_that_comes_later_counts(self, seen):
        agent = ExploreThenCommit(pulls=3)
        state, view = seen(agent, [[1, 1, 0] + [0] * 50, [0, 0, 1], [0, 0, 0]])
        assert (agent.act(state, view)[1].arm == 0).all(), "2/3 at first, though 2/53 by now"
        other = seen(agent, [[0, 0, 1, 1, 1, 1], [1, 1, 0], [0, 0, 0]])  # another player went on with arm 0
        assert (agent.act(*other)[1].arm == 1).all()

    def test_a_tie_is_broken_once(self, seen):
        agent = ExploreThenCommit(pulls=2)
        tied = seen(agent, [[1, 0], [0, 1], [0, 0]], rows=ROWS)
        assert stats.chisquare(np.bincount(agent.act(*tied)[1].arm[:, 0], minlength=3)[:2]).pvalue > 1e-3
        committed = seen(agent, [[1, 0], [0, 1, 0, 0], [0, 0]])
        assert (agent.act(*committed)[1].arm == 1).all()

    def test_where_its_arm_is_missing(self, fold):
        """The second best stands in, and leaves when the best is back."""
        agent, public = ExploreThenCommit(pulls=2), Public("bandit", 3, 100, "bernoulli", variable=True)
        arms, rewards = [0, 1, 2, 0, 1, 2, 0, 0, 1, 1, 1], [1, 1, 0, 1, 0, 0, 0, 0, 1, 1, 1]
        for legal, expected in (((1, 1, 1), 0), ((0, 1, 1), 1), ((0, 0, 1), 2)):
            state, view = fold(agent, public, arms, rewards, legal=np.array(legal, np.bool_))
            assert (agent.act(state, view)[1].arm == expected).all()


class TestBoltzmann:
    def test_policy_by_hand(self, seen):
        agent = Boltzmann(temperature=0.2)
        weights = np.exp(np.array([2 / 3, 1 / 2, 2 / 5]) / 0.2)
        assert agent.policy(*seen(agent, HISTORY))[0, 0] == pytest.approx(weights / weights.sum())
        legal = np.array([True, False, True])
        known = agent.policy(*seen(agent, HISTORY, legal=legal))[0, 0]
        assert known == pytest.approx(weights * legal / (weights * legal).sum())

    def test_untried_arms_come_first(self, seen):
        assert Boltzmann().policy(*seen(Boltzmann(), [[1], [], [1], []]))[0, 0].tolist() == [0, 0.5, 0, 0.5]

    def test_large_means_do_not_overflow(self, seen):
        far = seen(Boltzmann(), [[1e6], [1e6 - 1], [-1e6]], reward="gaussian", sd=1.0)
        assert Boltzmann().policy(*far)[0, 0] == pytest.approx([1 / (1 + np.exp(-10)), 1 / (1 + np.exp(10)), 0])


def test_empirical_mean_passes_over_what_a_log_has_not_tried(seen):
    agent = EmpiricalMean()
    assert (agent.act(*seen(agent, [[0, 0], [], [1, 0, 0]]))[1].arm == 2).all()
    unknown = agent.act(*seen(agent, [[], [], []], rows=ROWS))[1].arm[:, 0]
    assert stats.chisquare(np.bincount(unknown)).pvalue > 1e-3


@pytest.mark.parametrize("agent", [Greedy(), ExploreThenCommit(pulls=10), Boltzmann(temperature=0.05)], ids=repr)
def test_the_cost_of_not_exploring_enough(agent):
    """UCB with the constant 1/2 beats them where means come from U(0, 1) and there is time."""
    task = Bandit(n_arms=5, horizon=1000, means=UniformMeans())
    ours, ucb = (rollout(a, task, episodes=512).gap.sum(axis=1) for a in (agent, UCB(alpha=0.5)))
    assert (ours - ucb).mean() > 3 * (ours - ucb).std() / np.sqrt(512)
