from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from icrl.agents import RUCB, DoubleThompson, Stating, rollout
from icrl.envs import BradleyTerry, Choice, Dueling, Fixed, Matrix, Outcome, Public, View

K = 4
PUBLIC = Public("dueling", K, 1000, "bernoulli", slots=2)
ROWS = 2560


def table(agent, wins, t, champion=None, rows=ROWS):
    """(state, view) with these counts of wins in all rows."""
    state = agent.start(PUBLIC, None, np.arange(rows), 0)
    crown = np.isin(np.arange(K), [] if champion is None else [champion])
    state = replace(state, wins=np.tile(np.array(wins, float), (rows, 1, 1)), champion=np.tile(crown, (rows, 1)))
    at = np.full(rows, t)
    return state, View(np.arange(rows), at, np.zeros_like(at), np.ones((rows, K), np.bool_))


def bound(wins, i, j, t, sign, alpha=0.51):
    """The entry of U (sign 1) or L (sign -1) in round t = 1, 2, ..., where 0 / 0 counts as 1."""
    if i == j:
        return 0.5
    n = wins[i][j] + wins[j][i]
    return wins[i][j] / n + sign * np.sqrt(alpha * np.log(t) / n) if n else 1 + sign


def pairs(choice):
    """[K, K] how often each pair was named."""
    return np.bincount(choice.arm[:, 0] * K + choice.arm[:, 1], minlength=K * K).reshape(K, K)


def rucb(wins, t, champion):
    """[K, K] the distribution over pairs of RUCB's box (Zoghi et al. 2014, algorithm 1)."""
    arms = range(K)
    c = [i for i in arms if all(bound(wins, i, j, t, 1) >= 0.5 for j in arms)]
    b = [i for i in ([] if champion is None else [champion]) if i in c]
    if not c:
        p = dict.fromkeys(arms, 1 / K)
    elif len(c) == 1:
        p = {c[0]: 1.0}
    else:
        p = {i: 0.5 if i in b else 0.5 ** len(b) / len([j for j in c if j not in b]) for i in c}
    found = np.zeros((K, K))
    for i, chance in p.items():
        u = [bound(wins, j, i, t, 1) for j in arms]
        rivals = [j for j in arms if u[j] >= max(u) - 1e-12]
        rivals = [j for j in rivals if j != i] or [i]
        found[i, rivals] += chance / len(rivals)
    return found


def double(wins, t, rng, draws=20_000):
    """[K, K] how often D-TS names each pair (Wu and Liu 2016, algorithm 1), by playing its box."""
    found, arms = np.zeros((K, K)), range(K)
    upper = [sum(bound(wins, i, j, t, 1) > 0.5 for j in arms if j != i) for i in arms]
    c = [i for i in arms if upper[i] == max(upper)]
    for _ in range(draws):
        theta = np.full((K, K), 0.5)
        for i in arms:
            for j in range(i + 1, K):
                theta[i, j] = rng.beta(1 + wins[i][j], 1 + wins[j][i])
                theta[j, i] = 1 - theta[i, j]
        score = [sum(theta[i, j] > 0.5 for j in arms if j != i) if i in c else -1 for i in arms]
        first = rng.choice([i for i in arms if score[i] == max(score)])
        again = [0.5 if i == first else rng.beta(1 + wins[i][first], 1 + wins[first][i]) for i in arms]
        second = max((i for i in arms if bound(wins, i, first, t, -1) <= 0.5), key=again.__getitem__)
        found[first, second] += 1
    return found / draws


def tables():
    """(wins, round, champion): none, a clear winner, a circle, near ties, and drawn ones."""
    rng = np.random.default_rng(1)
    yield np.zeros((K, K)), 1, None
    yield np.array([[0, 50, 45, 60], [0, 0, 30, 9], [1, 20, 0, 9], [2, 9, 9, 0]]), 240, None
    yield np.array([[0, 90, 10, 90], [10, 0, 90, 90], [90, 10, 0, 90], [10, 10, 10, 0]]), 601, 1
    yield np.array([[0, 6, 5, 7], [5, 0, 6, 8], [5, 6, 0, 7], [1, 1, 2, 0]]), 60, 0
    yield np.array([[0, 6, 5, 7], [5, 0, 6, 8], [5, 6, 0, 7], [1, 1, 2, 0]]), 60, 3
    yield np.array([[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]), 2, None
    yield np.ones((K, K)) - np.eye(K), 1, None  # all ties, with an arm itself too
    for n in (2, 5, 20, 80):
        wins = rng.integers(0, n, (K, K)) * (1 - np.eye(K))
        yield wins, int(wins.sum()) + 1, int(rng.integers(K))


def agree(counts, expected):
    """Chi-square, and nothing where the expectation is zero."""
    assert (counts[expected == 0] == 0).all(), (counts, expected)
    cells = expected > 0
    return cells.sum() == 1 or stats.chisquare(counts[cells], expected[cells] * counts.sum()).pvalue > 1e-4


@pytest.mark.parametrize("case", range(11))
def test_rucb_picks_by_its_box(case):
    wins, t, champion = list(tables())[case]
    expected = rucb(wins, t, champion)
    state, view = table(RUCB(), wins, t - 1, champion)
    policy = RUCB().policy(state, view, draws=4)[0]
    state, choice = RUCB().act(state, view)
    assert agree(pairs(choice), expected)
    band = 4 * np.sqrt(0.25 / 4)
    assert policy == pytest.approx(np.stack([expected.sum(axis=1), expected.sum(axis=0)]), abs=band)
    c = [i for i in range(K) if all(bound(wins, i, j, t, 1) >= 0.5 for j in range(K))]
    kept = c if len(c) == 1 else [i for i in c if i == champion]
    over = np.zeros(len(choice.arm), np.bool_)
    state = RUCB().update(state, view, choice, Outcome(np.ones(len(over)), over, over))
    assert np.flatnonzero(state.champion[0]).tolist() == kept


@pytest.mark.parametrize("case", range(11))
def test_double_thompson_picks_by_its_box(case):
    wins, t, _ = list(tables())[case]
    expected = double(wins, t, np.random.default_rng(case))
    counts = pairs(DoubleThompson().act(*table(DoubleThompson(), wins, t - 1))[1])
    common = expected + counts / counts.sum() > 0.004
    both = np.stack([counts[common], expected[common] * 20_000])
    assert common.sum() == 1 or stats.chi2_contingency(both).pvalue > 1e-4
    assert counts[expected == 0].sum() < 10


@pytest.mark.parametrize("agent", [RUCB(), DoubleThompson()], ids=repr)
class TestBoth:
    def test_wins_are_counted(self, agent, fold):
        """In each row its own; a duel with itself and a forfeited one tell nothing."""
        rng = np.random.default_rng(0)
        arms, rewards = rng.integers(-1, K, (30, 64, 2)), rng.integers(0, 2, (30, 64)).astype(float)
        state, view = fold(agent, PUBLIC, list(arms), list(rewards), rows=64)
        wins = np.zeros((64, K, K))
        for step, paid in zip(arms, rewards, strict=True):
            for row, ((i, j), won) in enumerate(zip(step, paid, strict=True)):
                if i >= 0 and j >= 0 and i != j:
                    wins[(row, i, j) if won else (row, j, i)] += 1
        assert (state.wins == wins).all()
        advice = agent.advise(state, view)
        played = wins.sum(axis=2) + wins.sum(axis=1)
        assert (advice["count"] == played).all()
        assert advice["value"][played > 0] == pytest.approx((wins.sum(axis=2) / np.maximum(played, 1))[played > 0])

    def test_finds_the_condorcet_winner(self, agent):
        p = np.array([[0.5, 0.6, 0.7, 0.8], [0.4, 0.5, 0.4, 0.6], [0.3, 0.6, 0.5, 0.6], [0.2, 0.4, 0.4, 0.5]])
        task = Dueling(n_arms=K, horizon=3000, preferences=Matrix(values=tuple(map(tuple, p.tolist()))))
        runs = rollout(agent, task, episodes=256)
        both = (runs.arms == runs.best_arm[:, None, None]).all(axis=2)
        shares = both.reshape(256, 6, 500).mean(axis=(0, 2))
        assert shares[-1] > max(0.75, shares[0] + 0.2) and (np.diff(shares) > 0).all()
        gaps = runs.means.max(axis=1, keepdims=True) - runs.means
        each = np.take_along_axis(gaps[:, None], runs.arms, axis=2)
        strong, weak = each.mean(axis=2).mean(), each.min(axis=2).mean()
        chance = np.minimum.outer(p[0] - 0.5, p[0] - 0.5).mean()  # the weak regret of pairs at random
        assert strong < 0.2 * (p[0] - 0.5).mean() and weak < 0.15 * chance

    def test_names_are_no_matter(self, agent):
        """Which arm is best is counterbalanced, and found as often in each place."""
        strengths = BradleyTerry(strengths=Fixed(values=(2.0, 0.0, 0.0, 0.0)))
        runs = rollout(agent, Dueling(n_arms=K, horizon=400, preferences=strengths), episodes=256)
        found = (runs.arms[:, -100:] == runs.best_arm[:, None, None]).mean(axis=(1, 2))
        assert min(found[runs.best_arm == k].mean() for k in range(K)) > 0.8

    def test_stated_marginals_hold_what_is_played(self, agent):
        """The mean probability of what is played is that of the sum of squares, which draws estimate too high."""
        runs = rollout(Stating(agent, draws=60), Dueling(n_arms=K, horizon=25, preferences=Matrix(values=EVEN)))
        stated = np.take_along_axis(runs.probs, runs.arms[..., None], axis=3)[..., 0]
        squares = ((60 * runs.probs**2 - runs.probs) / 59).sum(axis=3)
        assert stated.mean() == pytest.approx(squares.mean(), abs=0.01) and (squares > 0.3).mean() > 0.2


EVEN = tuple(tuple(0.5 if i == j else 0.55 if i < j else 0.45 for j in range(K)) for i in range(K))


def test_a_win_of_the_second_is_one_of_the_second(fold):
    for order, reward in (((2, 1), 1.0), ((1, 2), 0.0)):
        state, _ = fold(RUCB(), PUBLIC, [order], [reward])
        assert (state.wins[:, 2, 1] == 1).all() and state.wins.sum() == 256
    none = np.zeros(256, np.bool_)
    before = state.wins.copy()
    lost = Choice(np.tile([-1, 2], (256, 1))), Outcome(np.full(256, np.nan), none, none)
    assert (RUCB().update(state, table(RUCB(), before[0], 1, rows=256)[1], *lost).wins == before).all()
