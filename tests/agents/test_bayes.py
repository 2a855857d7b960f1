import itertools
from fractions import Fraction
from math import factorial

import numpy as np
import pytest

from icrl.agents import ALGORITHMS, BayesOptimal, Gittins, rollout
from icrl.agents.bayes import decisions, gittins, value
from icrl.envs import Bandit, Public, UniformMeans

TWO = Bandit(n_arms=2, horizon=30, means=UniformMeans())


def chance(wins, losses):
    """Of one order of so many wins and losses of an arm with a uniform prior: Beta(wins + 1, losses + 1)."""
    return Fraction(factorial(wins) * factorial(losses), factorial(wins + losses + 1))


def expected(plan, horizon):
    """Mean sum of rewards of a plan, which gives an arm for every sequence of rewards so far."""
    total = Fraction(0)
    for rewards in itertools.product((0, 1), repeat=horizon):
        arms = [plan[rewards[:t]] for t in range(horizon)]
        won = [sum(r for r, a in zip(rewards, arms, strict=True) if a == k) for k in (0, 1)]
        total += chance(won[0], arms.count(0) - won[0]) * chance(won[1], arms.count(1) - won[1]) * sum(rewards)
    return total


def plans(horizon):
    """All of them: 2 to the number of histories."""
    histories = [h for t in range(horizon) for h in itertools.product((0, 1), repeat=t)]
    for arms in itertools.product((0, 1), repeat=len(histories)):
        yield dict(zip(histories, arms, strict=True))


@pytest.mark.parametrize("horizon", [1, 2, 3])
def test_value_by_trying_every_plan(horizon):
    assert value(horizon) == pytest.approx(float(max(expected(plan, horizon) for plan in plans(horizon))), abs=1e-12)


def test_decisions_follow_a_best_plan():
    """Of three steps: the table's own plan is worth as much as the best of the 128."""
    table, plan = decisions(3), {}
    for history in (h for t in range(3) for h in itertools.product((0, 1), repeat=t)):
        n0 = s0 = s1 = 0
        for t, reward in enumerate(history):
            arm = plan[history[:t]]
            n0, s0, s1 = n0 + (arm == 0), s0 + reward * (arm == 0), s1 + reward * (arm == 1)
        plan[history] = 0 if table[len(history), n0, s0, s1] >= 0 else 1
    assert expected(plan, 3) == max(expected(p, 3) for p in plans(3))
    assert table[0, 0, 0, 0] == 0, "before anything is known the arms tie"
    assert (table[1, 1, 1, 0], table[1, 1, 0, 0], table[1, 0, 0, 1], table[1, 0, 0, 0]) == (1, -1, -1, 1)


def test_it_reads_its_own_counts(fold):
    """Wins are pulls times a running mean, which is a whole number only nearly."""
    rng = np.random.default_rng(0)
    arms, rewards = rng.integers(0, 2, (70, 256)), rng.integers(0, 2, (70, 256))
    index = BayesOptimal().index(
        *fold(BayesOptimal(), Public("bandit", 2, 100, "bernoulli"), list(arms), list(rewards))
    )
    n0, s0, s1 = (arms == 0).sum(axis=0), (rewards * (arms == 0)).sum(axis=0), (rewards * arms).sum(axis=0)
    better = decisions(100)[70, n0, s0, s1]
    assert (np.sign(index[:, 0] - index[:, 1]) == better).all() and set(better.tolist()) >= {-1, 1}


@pytest.fixture(scope="module")
def optimal():
    return rollout(BayesOptimal(), TWO, episodes=20_480)


def test_it_earns_its_value(optimal):
    """Over instances from the prior the mean sum of rewards is the value that backward induction promised."""
    totals = optimal.rewards.sum(axis=1)
    assert abs(totals.mean() - value(30)) < 4 * totals.std() / np.sqrt(len(totals))
    known = optimal.means.max(axis=1).mean() * 30  # 2/3 of the horizon, if the best arm were known
    assert known - 2.5 < value(30) < known - 1


@pytest.mark.parametrize("name", ["ThompsonSampling", "Gittins", "Greedy", "UCB", "MostLikelyBest"])
def test_nobody_earns_more(name, optimal):
    """On the same luck, but for chance; by pseudo-regret, which is less noisy."""
    episodes = 256 if name == "MostLikelyBest" else 20_480
    other = rollout(ALGORITHMS[name](), TWO, episodes=episodes)
    ahead = other.gap.sum(axis=1) - optimal.gap[:episodes].sum(axis=1)
    assert ahead.mean() > -3 * ahead.std() / np.sqrt(episodes)
    if name in ("ThompsonSampling", "UCB"):
        assert ahead.mean() > 0.3


def test_a_table_ends_with_its_horizon():
    for horizon in (1, 2, 100):
        BayesOptimal().check(Public("bandit", 2, horizon, "bernoulli"))
    runs = rollout(BayesOptimal(), Bandit(n_arms=2, horizon=1, means=UniformMeans()), episodes=256)
    assert 90 < runs.arms.sum() < 166


@pytest.mark.parametrize(
    ("public", "why"),
    [
        (Public("bandit", 3, 30, "bernoulli"), "two Bernoulli arms that are always there"),
        (Public("bandit", 2, 30, "gaussian", 1.0), "two Bernoulli arms"),
        (Public("bandit", 2, 30, "bernoulli", variable=True), "always there"),
        (Public("best-arm", 2, 30, "bernoulli"), "two Bernoulli arms"),
        (Public("bandit", 2, 101, "bernoulli"), "a horizon of at most 100, got 101"),
        (Public("bandit", 2, None, "bernoulli"), "a horizon of at most 100, got None"),
    ],
)
def test_what_it_cannot_play(public, why):
    with pytest.raises(ValueError, match=f"BayesOptimal cannot play this task: .*{why}"):
        BayesOptimal().check(public)


# Gittins (1989), tables for Bernoulli reward processes: rows losses 0, 1, 2; columns wins 0, 1, 2, ...
PUBLISHED = {
    0.9: [[0.7029, 0.8001, 0.8452, 0.8723], [0.5001, 0.6346, 0.7072, 0.7539], [0.3796, 0.5163, 0.6010, 0.6579]],
    0.99: [[0.8699, 0.9102, 0.9285], [0.7005, 0.7844, 0.8268], [0.5671, 0.6726, 0.7308]],
}


class TestGittins:
    @pytest.mark.parametrize("discount", PUBLISHED)
    def test_published_indices(self, discount):
        known = np.array(PUBLISHED[discount])
        assert pytest.approx(known, abs=3e-4) == gittins(discount)[: known.shape[1], : known.shape[0]].T
        assert gittins(0.9)[9, 1] == pytest.approx(0.8695, abs=3e-4)

    @pytest.mark.parametrize(("wins", "losses", "discount"), [(0, 0, 0.5), (3, 1, 0.5), (0, 4, 0.7), (30, 10, 0.7)])
    def test_by_stopping_times(self, wins, losses, discount):
        """The index is the rate at which retiring and going on, for 60 steps at most, are worth the same."""
        low, high = 0.0, 1.0
        for _ in range(30):
            rate = (low + high) / 2
            ahead = np.zeros(61)  # by wins: the worth of going on, above that of `rate` per step
            for n in range(59, -1, -1):
                p = (wins + np.arange(n + 1) + 1) / (wins + losses + n + 2)
                go = p - rate + discount * (p * ahead[1 : n + 2] + (1 - p) * ahead[: n + 1])
                ahead = np.maximum(go, 0)
            low, high = (rate, high) if go[0] > 0 else (low, rate)
        assert gittins(discount)[wins, losses] == pytest.approx(low, abs=5e-4)

    def test_an_index_is_above_the_mean_and_falls_to_it(self):
        table, n = gittins(0.95), np.arange(300)
        w, losses = np.nonzero(n[:, None] + n < 300)
        bonus = table[w, losses] - (w + 1) / (w + losses + 2)
        assert (bonus > 0).all()
        assert bonus[w + losses == 299].max() < 0.01 < 0.2 < bonus[0]

    def test_it_reads_its_own_counts(self, seen):
        rewards = [[1, 0, 1], [], [0, 0], [1] * 299, [1, 0] * 200]
        index = Gittins(discount=0.9).index(*seen(Gittins(discount=0.9), rewards, rows=2))
        expected = [
            0.7072,
            0.7029,
            0.3796,
            gittins(0.9)[299, 0],
            201 / 402 + 299 / 400 * (gittins(0.9)[150, 149] - 151 / 301),
        ]
        assert index == pytest.approx(np.tile(expected, (2, 1)), abs=3e-4)

    def test_it_does_not_jump_where_its_table_ends(self, seen):
        index = Gittins(discount=0.99).index(*seen(Gittins(discount=0.99), [[1, 0] * 149, [1, 0] * 150, [1, 0] * 160]))
        assert (np.diff(index[0]) < 0).all() and index[0, 0] - index[0, 1] < 1e-3
        assert index[0, 2] > 0.505  # a bonus is left

    @pytest.mark.parametrize("discount", [0.0, 1.0, float("nan")])
    def test_a_discount_lies_between_0_and_1(self, discount):
        with pytest.raises(ValueError, match="discount"):
            Gittins(discount=discount)
