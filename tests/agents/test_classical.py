import numpy as np
import pytest
from scipy import stats

from icrl.agents import UCB, EpsilonGreedy, Greedy, ThompsonSampling, Uniform, rollout
from icrl.envs import Bandit, Choice, Fixed, Gap, Gaussian, Outcome, Public, View, make

ROWS = 2560  # ten blocks


def seen(agent, rewards, rows=256, reward="bernoulli", sd=None, legal=None):
    """(state, view) after each arm k paid `rewards[k]`, in all rows."""
    k, t = len(rewards), 0
    public = Public("bandit", k, 1000, reward, sd)
    episodes = np.arange(rows)
    legal = np.ones((rows, k), np.bool_) if legal is None else np.tile(legal, (rows, 1))

    def view():
        return View(episodes, np.full(rows, t), np.zeros(rows, np.int64), legal)

    state = agent.start(public, None, episodes, 0)
    for arm, paid in enumerate(rewards):
        for r in paid:
            outcome = Outcome(np.full(rows, float(r)), np.zeros(rows, np.bool_), np.zeros(rows, np.bool_))
            state = agent.update(state, view(), Choice(np.full((rows, 1), arm)), outcome)
            t += 1
    return state, view()


def chosen(agent, rewards, **kwargs):
    _, choice = agent.act(*seen(agent, rewards, **kwargs))
    return choice.arm[:, 0]


HISTORY = [[1, 1, 0], [0, 1], [1, 0, 0, 0, 1]]  # means 2/3, 1/2, 2/5 after t = 10


class TestUCB:
    @pytest.mark.parametrize(
        ("agent", "bonus"),
        [
            (UCB(), lambda n: np.sqrt(2 * np.log(10) / n)),  # UCB1, Auer et al. 2002
            (UCB(alpha=2.0), lambda n: np.sqrt(2 * np.log(10) / n)),
            (UCB(alpha=0.5), lambda n: np.sqrt(0.5 * np.log(10) / n)),
            (UCB(c=1.0), lambda n: np.sqrt(1 / n)),
            (UCB(c=0.3), lambda n: np.sqrt(0.3 / n)),
        ],
        ids=["default", "ucb1", "half", "c=1", "c=0.3"],
    )
    def test_index_by_hand(self, agent, bonus):
        index = agent.index(*seen(agent, HISTORY))
        expected = [2 / 3 + bonus(3), 1 / 2 + bonus(2), 2 / 5 + bonus(5)]
        assert index == pytest.approx(np.tile(expected, (256, 1)), abs=1e-12)
        assert (chosen(agent, HISTORY) == np.argmax(expected)).all()

    def test_the_default_is_ucb1(self):
        task = make("bernoulli-hard", horizon=60)
        state, view = seen(UCB(), HISTORY)
        assert (UCB().index(state, view) == UCB(alpha=2.0).index(state, view)).all()
        firsts = rollout(UCB(), task, episodes=64).arms[:, :5]
        assert (np.sort(firsts, axis=1) == np.arange(5)).all(), "each arm once first"

    def test_untried_arms_come_first(self):
        for agent in (UCB(), UCB(alpha=0.5), UCB(c=1.0)):
            assert (chosen(agent, [[1, 1], [], [1]]) == 1).all()

    def test_one_bonus_only(self):
        with pytest.raises(ValueError, match=r"give alpha .* or c .*, not both"):
            UCB(alpha=1.0, c=1.0)

    @pytest.mark.parametrize("fields", [{"alpha": 0}, {"alpha": -1}, {"c": 0}, {"c": -2}, {"alpha": float("nan")}])
    def test_bonuses_are_positive(self, fields):
        with pytest.raises(ValueError, match=next(iter(fields))):
            UCB(**fields)

    def test_unknown_fields(self):
        with pytest.raises(ValueError, match="beta"):
            UCB(beta=1.0)


class TestGreedy:
    def test_it_is_not_ucb(self):
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

    def test_it_stays_with_the_best_mean(self):
        assert (chosen(Greedy(), HISTORY) == 0).all()


class TestEpsilonGreedy:
    @pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.5, 1.0])
    def test_how_often_it_explores(self, epsilon):
        arms = chosen(EpsilonGreedy(epsilon=epsilon), HISTORY, rows=ROWS)
        share = 1 - epsilon + epsilon / 3
        assert stats.binomtest(int((arms == 0).sum()), ROWS, min(share, 1.0)).pvalue > 1e-3

    @pytest.mark.parametrize("epsilon", [-0.1, 1.1, float("nan"), float("inf")])
    def test_epsilon_is_a_probability(self, epsilon):
        with pytest.raises(ValueError, match="epsilon"):
            EpsilonGreedy(epsilon=epsilon)


class TestThompson:
    def test_bernoulli_posterior(self):
        index = ThompsonSampling().index(*seen(ThompsonSampling(), [*HISTORY, []], rows=ROWS))
        for arm, (wins, losses) in enumerate([(2, 1), (1, 1), (2, 3), (0, 0)]):
            assert stats.kstest(index[:, arm], stats.beta(1 + wins, 1 + losses).cdf).pvalue > 1e-3

    def test_gaussian_posterior(self):
        agent, rewards = ThompsonSampling(), [[1.5, 2.5, -1.0], [0.5] * 16, []]
        index = agent.index(*seen(agent, rewards, rows=ROWS, reward="gaussian", sd=2.0))
        for arm, (mean, n) in enumerate([(1.0, 3), (0.5, 16)]):
            assert stats.kstest(index[:, arm], stats.norm(mean, 2.0 / np.sqrt(n)).cdf).pvalue > 1e-3
        assert np.isinf(index[:, 2]).all(), "untried arms come first"

    def test_draws_of_arms_are_independent(self):
        index = ThompsonSampling().index(*seen(ThompsonSampling(), HISTORY, rows=ROWS))
        assert abs(np.corrcoef(index.T) - np.eye(3)).max() < 0.08


@pytest.mark.parametrize("agent", [Uniform(), Greedy(), UCB(), UCB(c=1.0)], ids=repr)
class TestTies:
    def test_are_broken_uniformly(self, agent):
        arms = chosen(agent, [[], [], [], []], rows=ROWS)
        assert stats.chisquare(np.bincount(arms, minlength=4)).pvalue > 1e-3

    def test_between_some_arms_only(self, agent):
        arms = chosen(agent, [[], [], [], []], rows=ROWS, legal=[True, False, True, False])
        assert set(arms) == {0, 2}
        assert stats.chisquare(np.bincount(arms)[[0, 2]]).pvalue > 1e-3

    def test_rounding_breaks_no_tie(self, agent):
        """Two wins of three are two thirds in any order, but the running means differ in the last bit."""
        tied = chosen(agent, [[1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 0, 1]], rows=ROWS)
        assert stats.chisquare(np.bincount(tied, minlength=4)).pvalue > 1e-3


@pytest.mark.parametrize("agent", [Uniform(), Greedy(), EpsilonGreedy(), UCB(), ThompsonSampling()], ids=repr)
def test_illegal_arms_are_never_chosen(agent):
    arms = chosen(agent, [*HISTORY, []], rows=ROWS, legal=[False, True, True, False])
    assert set(arms) <= {1, 2}


@pytest.mark.parametrize("agent", [Greedy(), EpsilonGreedy(epsilon=0.3), UCB(), ThompsonSampling()], ids=repr)
def test_learning_beats_chance(agent):
    task = Bandit(n_arms=4, horizon=200, means=Gap(best=0.8, gap=0.5))
    assert rollout(agent, task).gap.mean() < 0.5 * rollout(Uniform(), task).gap.mean()


def test_a_forfeited_step_counts_nothing():
    agent = UCB()
    state, view = seen(agent, HISTORY)
    before = {name: getattr(state, name).copy() for name in ("pulls", "mean", "width")}
    none = np.zeros(256, np.bool_)
    lost = Outcome(np.full(256, np.nan), none, none)
    state = agent.update(state, view, Choice(np.full((256, 1), -1)), lost)
    for name, cells in before.items():
        assert (getattr(state, name) == cells).all()


def test_known_regret_of_ucb1():
    """Ten arms, gap 0.3, T = 500: UCB1 stays below its bound (8 ln T / gap + (1 + pi^2/3) gap) per arm."""
    task = Bandit(n_arms=10, horizon=500, means=Gap(best=0.8, gap=0.3))
    regret = rollout(UCB(), task, episodes=256).gap.sum(axis=1)
    assert 20 < regret.mean() < 9 * (8 * np.log(500) / 0.3 + (1 + np.pi**2 / 3) * 0.3)
    assert rollout(UCB(alpha=0.5), task, episodes=256).gap.sum(axis=1).mean() < regret.mean()
