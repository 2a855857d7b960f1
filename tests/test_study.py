"""The study of steering: how strengths are found, and what its correlations are."""

from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def matched(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from steered import matched

    return matched


class TestStrengths:
    def test_the_one_that_gives_more_entropy_by_so_much(self, matched):
        found = matched.found(lambda x: 0.5 + 0.3 * x, 0.1, both=False)
        assert found["reached"] and found["entropy"] == pytest.approx(0.5 + matched.MORE, abs=matched.CLOSE)

    def test_either_sign_of_what_means_nothing(self, matched):
        found = matched.found(lambda x: 0.5 - 0.3 * x, 0.1, both=True)
        assert found["reached"] and found["strength"] == pytest.approx(-matched.MORE / 0.3, abs=0.06)

    def test_what_cannot_be_reached(self, matched):
        found = matched.found(lambda x: 0.5 - abs(x - 0.1), 0.1, both=True)
        assert (
            not found["reached"] and found["strength"] == 0.1 and found["target"] == pytest.approx(0.4 + matched.MORE)
        )


class TestCorrelations:
    def test_ranks_count(self, matched):
        a = np.random.default_rng(0).normal(size=500)
        assert matched.correlation(a, np.exp(a)) == pytest.approx(1) and np.isnan(matched.correlation(a * 0, a))

    def test_what_a_third_explains_is_gone(self, matched):
        a, b, c = np.random.default_rng(0).normal(size=(3, 20_000))
        assert matched.correlation(a + c, b + c) > 0.4
        assert abs(matched.beyond(a + c, b + c, c)) < 0.05
        assert matched.beyond(a + c, b + a + c, c) > 0.4
