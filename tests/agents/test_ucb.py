import numpy as np
import pytest
from scipy.optimize import brentq

from icrl.agents import KLUCB, LCB, MOSS, UCB, rollout
from icrl.envs import Bandit, Gap, make

HISTORY = [[1, 1, 0], [0, 1], [1, 0, 0, 0, 1]]  # means 2/3, 1/2, 2/5 after t = 10
MEANS, PULLS = np.array([2 / 3, 1 / 2, 2 / 5]), np.array([3, 2, 5])
NOISY = [[1.5, 2.5, -1.0], [0.5] * 5, [-3.0, 0.0]]  # means 1, 0.5, -1.5 after t = 10


def kl(p, q):
    """Of Bernoulli distributions, with 0 ln 0 = 0."""
    parts = [a * np.log(a / b) for a, b in ((p, q), (1 - p, 1 - q)) if a > 0]
    return sum(parts)


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
    def test_index_by_hand(self, agent, bonus, seen):
        state, view = seen(agent, HISTORY)
        expected = MEANS + bonus(PULLS)
        assert agent.index(state, view) == pytest.approx(np.tile(expected, (256, 1)), abs=1e-12)
        assert (agent.act(state, view)[1].arm == np.argmax(expected)).all()

    def test_each_arm_once_first(self):
        firsts = rollout(UCB(), make("bernoulli-hard", horizon=60), episodes=64).arms[:, :5]
        assert (np.sort(firsts, axis=1) == np.arange(5)).all()

    @pytest.mark.parametrize("agent", [UCB(), UCB(alpha=0.5), UCB(c=1.0), KLUCB(), KLUCB(c=3.0), MOSS()], ids=repr)
    def test_untried_arms_come_first(self, agent, seen):
        for rewards in ([[1, 1], [], [1]], [[1], [], []], [[], [], []]):
            state, view = seen(agent, rewards)
            assert {len(rewards[arm]) for arm in set(agent.act(state, view)[1].arm[:, 0].tolist())} == {0}

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

    def test_known_regret_of_ucb1(self):
        """Ten arms, gap 0.3, T = 500: UCB1 stays below its bound (8 ln T / gap + (1 + pi^2/3) gap) per arm."""
        task = Bandit(n_arms=10, horizon=500, means=Gap(best=0.8, gap=0.3))
        regret = rollout(UCB(), task, episodes=256).gap.sum(axis=1)
        assert 20 < regret.mean() < 9 * (8 * np.log(500) / 0.3 + (1 + np.pi**2 / 3) * 0.3)
        for better in (UCB(alpha=0.5), MOSS()):
            assert rollout(better, task, episodes=256).gap.sum(axis=1).mean() < 0.7 * regret.mean()


class TestKLUCB:
    @pytest.mark.parametrize("c", [0.0, 3.0])
    @pytest.mark.parametrize("rewards", [HISTORY, [[0] * 4, [1] * 3, [1, 0, 1]], [[0], [1] * 40, [1, 0] * 30]])
    def test_bernoulli_index_by_root_finding(self, c, rewards, seen):
        t = sum(map(len, rewards))
        level = np.log(t) + c * max(np.log(np.log(t)), 0.0)
        for arm, paid in enumerate(rewards):
            p, n = np.mean(paid), len(paid)
            known = 1.0 if p == 1 else brentq(lambda q, p=p, n=n: n * kl(p, q) - level, p, 1 - 1e-15, xtol=1e-14)
            assert KLUCB(c=c).index(*seen(KLUCB(c=c), rewards, rows=4))[:, arm] == pytest.approx(known, abs=1e-8)

    def test_loglog_counts_from_where_it_is_positive(self, seen):
        agent, rewards = KLUCB(c=3.0), [[1], [0]]  # ln ln 2 < 0
        state, view = seen(agent, rewards)
        assert (agent.index(state, view) == KLUCB().index(state, view)).all()

    def test_gaussian_index_by_hand(self, seen):
        agent, means = KLUCB(), np.array([1.0, 0.5, -1.5])
        index = agent.index(*seen(agent, NOISY, reward="gaussian", sd=2.0))
        expected = means + 2.0 * np.sqrt(2 * np.log(10) / np.array([3, 5, 2]))
        assert index == pytest.approx(np.tile(expected, (256, 1)), abs=1e-12)

    def test_it_is_sharper_than_the_bound_of_pinsker(self, seen):
        state, view = seen(KLUCB(), HISTORY)
        assert (KLUCB().index(state, view) < UCB(alpha=0.5).index(state, view)).all()


class TestMOSS:
    def test_index_by_hand(self, seen):
        """T = 12, K = 3: of five pulls T / (K n) is below 1, so there is no bonus."""
        index = MOSS().index(*seen(MOSS(), HISTORY, horizon=12))
        expected = [2 / 3 + np.sqrt(np.log(12 / 9) / 3), 1 / 2 + np.sqrt(np.log(12 / 6) / 2), 2 / 5]
        assert index == pytest.approx(np.tile(expected, (256, 1)), abs=1e-12)

    def test_gaussian_rewards_are_measured_in_their_noise(self, seen):
        """Rewards in [0, 1] are 1/2-subgaussian; those of sd 2 spread four times as far."""
        index = MOSS().index(*seen(MOSS(), NOISY, reward="gaussian", sd=2.0))
        n = np.array([3, 5, 2])
        expected = np.array([1.0, 0.5, -1.5]) + 4 * np.sqrt(np.log(1000 / (3 * n)) / n)
        assert index == pytest.approx(np.tile(expected, (256, 1)), abs=1e-12)


class TestLCB:
    @pytest.mark.parametrize("c", [1.0, 0.2])
    def test_index_by_hand(self, c, seen):
        agent = LCB(c=c)
        index = agent.index(*seen(agent, [*HISTORY, []]))
        expected = [*(MEANS - np.sqrt(c / PULLS)), -np.sqrt(c)]  # an untried arm: one pull that paid 0
        assert index == pytest.approx(np.tile(expected, (256, 1)), abs=1e-12)

    def test_it_prefers_what_is_known(self, seen):
        rewards = [[1] * 6 + [0] * 4, [1, 1, 1, 0]]  # 0.6 of ten pulls, 0.75 of four
        assert (LCB().act(*seen(LCB(), rewards))[1].arm == 0).all()
        assert (UCB().act(*seen(UCB(), rewards))[1].arm == 1).all()
