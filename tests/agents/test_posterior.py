import tracemalloc

import numpy as np
import pytest
from scipy import stats
from scipy.special import betaln

from icrl.agents.dice import Dice
from icrl.agents.posterior import best_probability, beta, normal, student

QUADRATURE = 1e-3  # what the docstrings promise


def best(posterior, legal=None):
    """[R, K] probabilities, all arms legal unless told otherwise."""
    there = np.ones(posterior.mean.shape, np.bool_) if legal is None else np.atleast_2d(legal)
    found = best_probability(posterior, there)
    assert found.sum(axis=1) == pytest.approx(1.0) and (found[~there] == 0).all() and (found >= 0).all()
    return found


def share(draws):
    """How often each column is the highest."""
    return np.bincount(draws.argmax(axis=1), minlength=draws.shape[1]) / len(draws)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def families(rng, k):
    """(posterior [1, K], its K distributions of scipy.stats) of each family."""
    a, b = np.floor(10 ** rng.uniform(0, 2.5, (2, 1, k)))
    mean, sd = rng.normal(size=(1, k)) * 0.3, 10 ** rng.uniform(-2, 0, (1, k))
    n, squares = rng.integers(3, 30, (1, k)), 10 ** rng.uniform(-2, 1, (1, k))
    scale = np.sqrt(squares / n / (n - 1))
    yield beta(a, b), [stats.beta(*p) for p in zip(a[0], b[0], strict=True)]
    yield normal(mean, sd), [stats.norm(*p) for p in zip(mean[0], sd[0], strict=True)]
    yield student(mean, squares, n), [stats.t(*p) for p in zip(n[0] - 1, mean[0], scale[0], strict=True)]


def test_distributions_are_those_of_scipy(rng):
    levels = np.array([1e-6, 0.05, 0.5, 0.9])
    for posterior, known in families(rng, 6):
        x = np.linspace(-2, 2, 41)
        assert posterior.cdf(x[None, None])[0] == pytest.approx(np.stack([d.cdf(x) for d in known]), abs=1e-12)
        quantiles = posterior.quantile(levels[:, None, None])[:, 0].T
        assert quantiles == pytest.approx(np.stack([d.ppf(levels) for d in known]), rel=1e-9, abs=1e-12)
        assert posterior.quantile(0.3)[0] == pytest.approx([d.ppf(0.3) for d in known])


def by_grid(known):
    """The integrals of the others' cdf over an arm's own, on 2000 quantiles of every arm."""
    x = np.unique(np.concatenate([d.ppf(stats.norm.cdf(np.linspace(-7, 7, 2001))) for d in known]))
    below = np.stack([d.cdf(x) for d in known])
    others = np.stack([np.delete(below, k, axis=0).prod(axis=0) for k in range(len(known))])
    return (np.diff(below) * (others[:, 1:] + others[:, :-1])).sum(axis=1) / 2


@pytest.mark.parametrize(("k", "times"), [(2, 10), (5, 10), (10, 8), (20, 6)])
def test_best_probability_against_a_fine_grid(k, times, rng):
    for _ in range(times):
        for posterior, known in families(rng, k):
            assert best(posterior)[0] == pytest.approx(by_grid(known), abs=QUADRATURE)


@pytest.mark.parametrize("k", [2, 5, 20])
def test_best_probability_against_monte_carlo(k, rng):
    n = 200_000
    for _ in range(2):
        for posterior, known in families(rng, k):
            found = best(posterior)[0]
            drawn = share(np.stack([d.rvs(n, random_state=rng) for d in known], axis=1))
            assert (abs(found - drawn) < QUADRATURE + 4 * np.sqrt(drawn * (1 - drawn) / n) + 2 / n).all()


def test_two_normal_arms_in_closed_form(rng):
    m, s = rng.normal(size=(300, 2)), 10 ** rng.uniform(-4, 1, (300, 2))
    closed = stats.norm.cdf((m[:, 0] - m[:, 1]) / np.sqrt((s**2).sum(axis=1)))
    assert best(normal(m, s))[:, 0] == pytest.approx(closed, abs=1e-4)


def test_two_beta_arms_in_closed_form(rng):
    """P(A > B) = sum_{i < a} B(c + i, b + d) / ((b + i) B(1 + i, b) B(c, d)) for Beta(a, b) and Beta(c, d)."""
    a, b, c, d = rng.integers(1, 60, (4, 100))
    closed = [
        sum(np.exp(betaln(r + i, q + s) - np.log(q + i) - betaln(1 + i, q) - betaln(r, s)) for i in range(p))
        for p, q, r, s in zip(a, b, c, d, strict=True)
    ]
    found = best(beta(np.stack([a, c], axis=1).astype(float), np.stack([b, d], axis=1).astype(float)))
    assert found[:, 0] == pytest.approx(closed, abs=1e-4)


@pytest.mark.parametrize("k", [2, 3, 7, 20])
def test_equal_arms_share_alike(k):
    for posterior in (
        beta(np.full((1, k), 3.0), np.full((1, k), 2.0)),
        beta(np.full((1, k), 3e6), np.full((1, k), 2e6)),
        normal(np.full((1, k), -5.0), np.full((1, k), 1e-9)),
        normal(np.full((1, k), 1e6), np.zeros((1, k))),
        student(np.full((1, k), 1e6), np.zeros((1, k)), np.full((1, k), 3)),
    ):
        assert best(posterior) == pytest.approx(np.full((1, k), 1 / k), abs=1e-9)


class TestExtremes:
    def test_concentrated_posteriors(self):
        a, b = np.array([[5.01e7, 5.0e7, 1.0]]), np.array([[4.99e7, 5.0e7, 1e9]])  # 20 sd apart
        assert best(beta(a, b)) == pytest.approx(np.array([[1.0, 0.0, 0.0]]), abs=1e-6)
        near = best(normal(np.array([[1.0, 1.0 + 1e-8]]), np.full((1, 2), 1e-8)))
        assert near[0, 1] == pytest.approx(stats.norm.cdf(1 / np.sqrt(2)), abs=1e-4)

    def test_a_point_beside_a_spread(self):
        for k in (1, 19):  # one point, or many below it
            mean = np.array([[0.5, 0.2, *[-9.0] * k]])
            sd = np.array([[0.0, 0.3, *[0.0] * k]])
            assert best(normal(mean, sd))[0, :2] == pytest.approx([stats.norm.cdf(1), stats.norm.sf(1)], abs=1e-3)

    def test_points_are_in_order(self):
        found = best(normal(np.array([[0.1, 0.3, 0.2]]), np.zeros((1, 3))))
        assert found == pytest.approx(np.array([[0.0, 1.0, 0.0]]), abs=1e-6)

    def test_a_wide_arm_among_many_narrow_ones(self, rng):
        mean, sd = np.r_[0.0, np.full(19, 0.5)][None], np.r_[1.0, np.full(19, 1e-3)][None]
        wide = best(normal(mean, sd))[0]
        assert wide[0] == pytest.approx(stats.norm.sf(0.5 + 1.84e-3), abs=1e-3)  # 1.84: the mean maximum of 19
        assert wide[1:] == pytest.approx(np.full(19, (1 - wide[0]) / 19))

    def test_heavy_tails(self, rng):
        mean, squares, n = np.array([[0.0, 1.0]]), np.array([[6.0, 6.0]]), np.array([[3, 3]])
        drawn = share(mean + rng.standard_t(2, (400_000, 2)))
        assert best(student(mean, squares, n))[0] == pytest.approx(drawn, abs=4e-3)

    def test_untried_arms_share_all(self):
        mean = np.array([[0.9, np.inf, 0.1, np.inf], [0.9, np.inf, 0.1, 0.2]])
        found = best(normal(mean, np.where(np.isinf(mean), 0.0, 0.1)))
        assert found.tolist() == [[0, 0.5, 0, 0.5], [0, 1, 0, 0]]


class TestLegalArms:
    def test_missing_arms_are_not_there(self, rng):
        for posterior, known in families(rng, 6):
            legal = np.array([True, False, True, True, False, True])
            drawn = share(np.stack([d.rvs(200_000, random_state=rng) for d in known], axis=1)[:, legal])
            assert best(posterior, legal)[0, legal] == pytest.approx(drawn, abs=5.5e-3)

    def test_a_missing_arm_may_be_untried(self):
        """In some rows, while in others it is there, and first."""
        mean = np.array([[0.0, 0.0, np.inf], [0.0, 0.0, np.inf], [0.0, 0.0, -3.0]])
        legal = np.array([[True, True, False], [True, True, True], [True, True, True]])
        found = best(normal(mean, np.where(np.isinf(mean), 0.0, 0.5)), legal)
        assert found == pytest.approx(np.array([[0.5, 0.5, 0], [0, 0, 1], [0.5, 0.5, 0]]), abs=1e-4)

    def test_one_arm_is_the_best_of_one(self):
        legal = np.array([[False, True, False]])
        for posterior in (normal(np.zeros((1, 3)), np.zeros((1, 3))), beta(np.ones((1, 3)), np.ones((1, 3)))):
            assert best(posterior, legal).tolist() == [[0, 1, 0]]


def test_draws_come_from_the_same_distributions(rng):
    rows = 5120
    for posterior, known in families(rng, 3):
        many = {"dice": Dice.of("posterior", np.arange(rows), 0)}
        if known[0].dist.name == "beta":
            a, b = (np.tile([d.args[i] for d in known], (rows, 1)) for i in (0, 1))
            draws = beta(a, b).draw(many["dice"])
        elif known[0].dist.name == "norm":
            mean, sd = (np.tile([d.args[i] for d in known], (rows, 1)) for i in (0, 1))
            draws = normal(mean, sd).draw(many["dice"])
        else:
            n = np.tile([d.args[0] + 1 for d in known], (rows, 1))
            mean, scale = (np.tile([d.args[i] for d in known], (rows, 1)) for i in (1, 2))
            draws = student(mean, scale**2 * n * (n - 1), n).draw(many["dice"])
        assert posterior.mean.shape == (1, 3)
        for column, d in zip(draws.T, known, strict=True):
            assert stats.kstest(column, d.cdf).pvalue > 1e-3


def test_many_arms_are_taken_a_few_rows_at_a_time():
    """Each row of 300 arms needs 30 MB for each array of the quadrature."""
    mean = np.tile(np.linspace(0, 1, 300), (8, 1))
    tracemalloc.start()
    best = best_probability(normal(mean, np.full(mean.shape, 0.1)), np.ones(mean.shape, np.bool_))
    assert tracemalloc.get_traced_memory()[1] < 4e8
    tracemalloc.stop()
    assert np.allclose(best.sum(axis=1), 1) and (best == best[0]).all() and best[0].argmax() == 299
