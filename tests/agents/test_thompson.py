import numpy as np
import pytest
from scipy import stats

from icrl.agents import MostLikelyBest, ThompsonSampling, rollout
from icrl.envs import Bandit, Gaussian, NormalMeans, Public, UniformMeans

ROWS = 5120  # twenty blocks
HISTORY = [[1, 1, 0], [0, 1], [1, 0, 0, 0, 1]]
NOISY = [[1.5, 2.5, -1.0], [0.5] * 15 + [2.1], [0.0, 0.3, 0.2, -0.7, 0.4]]


@pytest.fixture
def drawn(seen):
    """[R, K] one draw from the posterior in each of many equal rows."""

    def drawn(agent, rewards, **kwargs):
        state, _ = seen(agent, rewards, rows=ROWS, **kwargs)
        return agent.sample(state, state.dice)

    return drawn


def agree(draws, posteriors):
    """Whether each column of draws comes from its distribution, by Kolmogorov and Smirnov."""
    return all(stats.kstest(column, d.cdf).pvalue > 1e-3 for column, d in zip(draws.T, posteriors, strict=True))


class TestPosteriors:
    @pytest.mark.parametrize(("prior", "a", "b"), [(None, 1, 1), ((0.5, 0.5), 0.5, 0.5), ((7.0, 2.0), 7, 2)])
    def test_bernoulli(self, prior, a, b, drawn):
        counts = [(2, 1), (1, 1), (2, 3), (0, 0)]
        draws = drawn(ThompsonSampling(prior=prior), [*HISTORY, []])
        assert agree(draws, [stats.beta(a + wins, b + losses) for wins, losses in counts])

    def test_gaussian_with_a_flat_prior(self, drawn):
        draws = drawn(ThompsonSampling(), [*NOISY, []], reward="gaussian", sd=2.0)
        posteriors = [stats.norm(np.mean(paid), 2.0 / np.sqrt(len(paid))) for paid in NOISY]
        assert agree(draws[:, :3], posteriors)
        assert np.isinf(draws[:, 3]).all(), "untried arms come first"

    def test_gaussian_with_a_normal_prior(self, drawn):
        """Products of N(3, 0.7^2) and the likelihoods, integrated on a grid."""
        draws = drawn(ThompsonSampling(prior=(3.0, 0.7)), [*NOISY, []], reward="gaussian", sd=2.0)
        x = np.linspace(-10, 12, 20001)
        for column, paid in zip(draws.T, [*NOISY, []], strict=True):
            log = stats.norm(3.0, 0.7).logpdf(x) + sum(stats.norm(x, 2.0).logpdf(r) for r in paid)
            weight = np.exp(log - log.max())
            mean = (x * weight).sum() / weight.sum()
            sd = np.sqrt(((x - mean) ** 2 * weight).sum() / weight.sum())
            assert stats.kstest(column, stats.norm(mean, sd).cdf).pvalue > 1e-3

    def test_gaussian_of_unknown_variance(self, drawn):
        """Student's t about the mean: what the classical confidence interval is made of."""
        draws = drawn(ThompsonSampling(variance="unknown"), [*NOISY, [1.0, 9.0], []], reward="gaussian", sd=None)
        posteriors = [stats.t(len(r) - 1, np.mean(r), np.std(r, ddof=1) / np.sqrt(len(r))) for r in NOISY]
        assert agree(draws[:, :3], posteriors)
        assert np.isinf(draws[:, 3:]).all(), "each arm three times first"

    def test_draws_of_arms_are_independent(self, drawn):
        assert abs(np.corrcoef(drawn(ThompsonSampling(), HISTORY).T) - np.eye(3)).max() < 4 / np.sqrt(ROWS)

    def test_advice_is_the_central_posterior(self, seen):
        for agent, rewards, kwargs, posteriors in (
            (ThompsonSampling(), HISTORY, {}, [stats.beta(3, 2), stats.beta(2, 2), stats.beta(3, 4)]),
            (
                ThompsonSampling(variance="unknown"),
                NOISY,
                {"reward": "gaussian"},
                [stats.t(len(r) - 1, np.mean(r), stats.sem(r)) for r in NOISY],
            ),
        ):
            state, view = seen(agent, rewards, **kwargs)
            advice = agent.advise(state, view)
            for k, posterior in enumerate(posteriors):
                assert advice["value"][:, k] == pytest.approx(posterior.mean())
                assert advice["low"][:, k] == pytest.approx(posterior.ppf(0.05))
                assert advice["high"][:, k] == pytest.approx(posterior.ppf(0.95))


def test_the_spread_is_learnt_from_any_order(fold):
    """Welford's sums against two passes over each row's own rewards, which lie far from 0."""
    agent, public = ThompsonSampling(variance="unknown"), Public("bandit", 3, 100, "gaussian")
    rng = np.random.default_rng(0)
    arms, rewards = rng.integers(-1, 3, (40, 256)), 1e4 + rng.normal(size=(40, 256))
    state, _ = fold(agent, public, list(arms), list(rewards))
    for row in range(0, 256, 16):
        for k in range(3):
            own = rewards[arms[:, row] == k, row]
            assert state.squares[row, k] == pytest.approx(((own - own.mean()) ** 2).sum(), rel=1e-6)


def test_most_likely_best_plays_the_mode_of_the_policy(seen):
    for rewards in (HISTORY, [[1, 0], [], [1, 1, 0, 0, 1]], [[0], [0, 0], [0, 0, 0]]):
        best = MostLikelyBest().index(*seen(MostLikelyBest(), rewards))
        rng = np.random.default_rng(1)
        draws = np.stack([rng.beta(1 + sum(r), 1 + len(r) - sum(r), 200_000) for r in rewards])
        share = np.bincount(draws.argmax(axis=0), minlength=3) / 200_000
        assert best == pytest.approx(np.tile(share, (256, 1)), abs=5e-3)
        state, view = seen(MostLikelyBest(), rewards)
        assert (MostLikelyBest().act(state, view)[1].arm == share.argmax()).all()
        assert (MostLikelyBest().advise(state, view)["best"] == best).all()


def test_a_good_prior_helps_and_a_wrong_one_costs():
    task = Bandit(n_arms=10, horizon=100, means=NormalMeans(mean=2.0), noise=Gaussian(sd=1.0))
    priors = ((2.0, 1.0), None, (-8.0, 0.5))
    good, flat, wrong = (rollout(ThompsonSampling(prior=p), task, episodes=512).gap.sum(axis=1) for p in priors)
    assert good.mean() + 1 < flat.mean() and flat.mean() + 3 < wrong.mean()


def test_regret_over_the_prior_is_below_the_bound():
    """Of Russo and Van Roy (2016): sqrt(T K H(A*) / 2), for the prior that it is run with."""
    runs = rollout(ThompsonSampling(), Bandit(n_arms=5, horizon=200, means=UniformMeans()), episodes=1024)
    assert 5 < runs.gap.sum(axis=1).mean() < np.sqrt(200 * 5 * np.log(5) / 2)


@pytest.mark.parametrize("prior", [(1.0, 0.0), (1.0, -1.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_priors_are_checked(prior):
    with pytest.raises(ValueError, match="prior"):
        ThompsonSampling(prior=prior)


def test_what_it_cannot_know():
    unknown = Public("bandit", 3, 100, "gaussian")
    with pytest.raises(ValueError, match=r"deviation of the noise: give variance='unknown'"):
        ThompsonSampling().check(unknown)
    ThompsonSampling(variance="unknown").check(unknown)
    with pytest.raises(ValueError, match=r"a Beta prior needs two positive numbers, got \(-1.0, 1.0\)"):
        ThompsonSampling(prior=(-1.0, 1.0)).check(Public("bandit", 3, 100, "bernoulli"))
    with pytest.raises(ValueError, match="prior: with variance='unknown'"):
        ThompsonSampling(prior=(0.0, 1.0), variance="unknown")
