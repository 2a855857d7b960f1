import numpy as np
import pytest
from scipy import stats

from icrl.agents import UCB, DiscountedThompson, DiscountedUCB, SlidingWindowUCB, ThompsonSampling, rollout
from icrl.envs import Public, make

K, ROWS = 3, 32
BERNOULLI, GAUSSIAN = Public("moving", K, 500, "bernoulli"), Public("moving", K, 500, "gaussian", 1.5)


@pytest.fixture(params=[1, 7, 60])
def played(request):
    """Arms (some forfeited) and rewards [T, R]."""
    rng, shape = np.random.default_rng(request.param), (request.param, ROWS)
    return rng.integers(-1, K, shape), rng.integers(0, 2, shape)


def discounted(arms, rewards, row, k, discount):
    """(sum of weights, of weighted rewards) of an arm: a pull s steps ago weighs discount^(s - 1)."""
    t = len(arms)
    own = [(discount ** (t - 1 - s), float(rewards[s, row])) for s in range(t) if arms[s, row] == k]
    return sum(w for w, _ in own), sum(w * r for w, r in own)


def close(found, expected):
    assert np.array_equal(np.isinf(found), np.isinf(expected))
    known = np.isfinite(expected)
    assert found[known] == pytest.approx(expected[known], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("discount", "xi"), [(0.98, 0.5), (0.7, 1.2)])
def test_discounted_ucb_by_explicit_sums(discount, xi, played, fold):
    """D-UCB (Garivier and Moulines 2011) with rewards in [0, 1]: mean + 2 sqrt(xi ln N / n)."""
    agent = DiscountedUCB(discount=discount, xi=xi)
    state, view = fold(agent, BERNOULLI, list(played[0]), list(played[1]), rows=ROWS)
    expected = np.full((ROWS, K), np.inf)
    for row in range(ROWS):
        sums = [discounted(*played, row, k, discount) for k in range(K)]
        log = np.log(max(sum(n for n, _ in sums), 1.0))
        for k, (n, total) in enumerate(sums):
            if n > 1e-9:
                expected[row, k] = total / n + 2 * np.sqrt(xi * log / n)
    close(agent.index(state, view), expected)


@pytest.mark.parametrize(("window", "xi"), [(1, 0.6), (10, 0.6), (100, 2.0)])
def test_sliding_window_ucb_by_its_history(window, xi, played, fold):
    """SW-UCB: mean + sqrt(xi ln(min(t, window)) / n) over the last steps."""
    agent = SlidingWindowUCB(window=window, xi=xi)
    arms, rewards = played
    state, view = fold(agent, BERNOULLI, list(arms), list(rewards), rows=ROWS)
    expected = np.full((ROWS, K), np.inf)
    for row in range(ROWS):
        recent = list(zip(arms[-window:, row].tolist(), rewards[-window:, row].tolist(), strict=True))
        for k in range(K):
            if own := [r for arm, r in recent if arm == k]:
                bonus = np.sqrt(xi * np.log(min(len(arms), window)) / len(own))
                expected[row, k] = np.mean(own) + bonus
    close(agent.index(state, view), expected)
    advice = agent.advise(state, view)
    assert np.isnan(advice["bonus"][np.isinf(expected)]).all()
    assert (advice["count"] == [[(arms[-window:, row] == k).sum() for k in range(K)] for row in range(ROWS)]).all()


@pytest.mark.parametrize("discount", [0.99, 0.8])
def test_discounted_thompson_by_explicit_sums(discount, played, fold):
    """Beta(1 + discounted wins, 1 + discounted losses) (Raj and Kalyani 2017); Gaussian: N(mean, sd^2 / weight)."""
    agent, p = DiscountedThompson(discount=discount), 0.05
    state, view = fold(agent, BERNOULLI, list(played[0]), list(played[1]), rows=ROWS)
    noisy, noisy_view = fold(agent, GAUSSIAN, list(played[0]), list(played[1] * 3.0 - 1), rows=ROWS)
    advice, gaussian = agent.advise(state, view), agent.advise(noisy, noisy_view)
    for row in range(ROWS):
        for k in range(K):
            n, total = discounted(*played, row, k, discount)
            belief = stats.beta(1 + total, 1 + n - total)
            assert advice["value"][row, k] == pytest.approx(belief.mean())
            assert advice["count"][row, k] == pytest.approx(n)
            assert advice["low"][row, k] == pytest.approx(belief.ppf(p))
            if n < 1e-9:
                assert np.isnan(gaussian["value"][row, k]) and np.isnan(gaussian["high"][row, k])
                continue
            belief = stats.norm(3 * total / n - 1, 1.5 / np.sqrt(n))
            assert gaussian["value"][row, k] == pytest.approx(belief.mean())
            assert gaussian["high"][row, k] == pytest.approx(belief.ppf(1 - p))


def test_an_arm_that_was_never_tried_comes_first(fold):
    for agent in (DiscountedUCB(), SlidingWindowUCB()):
        state, view = fold(agent, BERNOULLI, [0, 2, 2], [1, 1, 1])
        assert (agent.act(state, view)[1].arm == 1).all()
    state, view = fold(DiscountedThompson(), GAUSSIAN, [0, 2, 2], [1, 1, 1])
    assert (DiscountedThompson().act(state, view)[1].arm == 1).all()


def test_what_leaves_the_window_is_tried_again():
    runs = rollout(SlidingWindowUCB(window=30), make("bernoulli-hard", horizon=300), episodes=64)
    for t in range(30, 300):
        there = (runs.arms[:, t - 30 : t, None] == np.arange(5)).any(axis=1)
        missing = ~there.all(axis=1)
        assert not there[missing, runs.arms[missing, t]].any()


@pytest.mark.parametrize(
    ("agent", "steady"),
    [
        (DiscountedUCB(discount=0.995, xi=0.125), UCB(alpha=0.5)),  # of equal width
        (SlidingWindowUCB(window=300, xi=0.5), UCB(alpha=0.5)),
        (DiscountedThompson(discount=0.98), ThompsonSampling()),
    ],
    ids=lambda agent: type(agent).__name__,
)
def test_they_follow_means_that_jump(agent, steady):
    """After changes of all means they lose less than their relatives who remember everything."""
    task = make("switching", horizon=2000, changes=4)
    ours, theirs = (rollout(a, task, episodes=512).gap[:, 1000:].sum(axis=1) for a in (agent, steady))
    ahead = theirs - ours
    assert ahead.mean() > 3 * ahead.std() / np.sqrt(512)


@pytest.mark.parametrize("agent", [DiscountedUCB, DiscountedThompson])
@pytest.mark.parametrize("discount", [0.0, 1.0, -0.5, float("nan")])
def test_a_discount_lies_between_0_and_1(agent, discount):
    with pytest.raises(ValueError, match="discount"):
        agent(discount=discount)


def test_a_window_holds_a_step():
    with pytest.raises(ValueError, match="window"):
        SlidingWindowUCB(window=0)


def test_noise_must_be_known():
    with pytest.raises(ValueError, match=r"DiscountedThompson .*it needs the standard deviation of the noise"):
        DiscountedThompson().check(Public("moving", K, 500, "gaussian"))
