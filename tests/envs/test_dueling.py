"""Preferences between two arms."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit

from icrl import metrics
from icrl.agents import RUCB, DoubleThompson, rollout
from icrl.envs import BradleyTerry, Dueling, Fixed, Gap, Matrix, NormalMeans, make
from icrl.envs.dueling import worth

FIXED = Dueling(n_arms=3, horizon=400, preferences=BradleyTerry(strengths=Fixed(values=(1.0, 0.0, -0.5)), scale=2.0))


def duel(world, first, second, n, rows=600):
    """[B, n] whether the first was preferred, at each of n meetings."""
    state, found = world.start(np.arange(rows), 0), []
    for _ in range(n):
        state, outcome, _ = world.step(state, np.tile([first, second], (rows, 1)))
        found.append(outcome.reward)
    return np.stack(found, axis=1)


def test_preferences_are_bradley_terrys():
    world, n = FIXED, 50
    strengths = world.preferences.strengths.draw(3, np.arange(600), 0)
    won = duel(world, 0, 2, n).mean(axis=1)
    for gap in np.unique(np.round(strengths[:, 0] - strengths[:, 2], 9)):
        at = np.isclose(strengths[:, 0] - strengths[:, 2], gap)
        p = expit(2.0 * gap)
        assert stats.binomtest(int(won[at].sum() * n), int(at.sum() * n), p).pvalue > 1e-3


def test_a_meeting_ends_the_same_whichever_is_named_first():
    assert (duel(FIXED, 0, 2, 30) == 1 - duel(FIXED, 2, 0, 30)).all()


def test_meetings_are_counted_per_pair():
    """Duels of others in between change nothing, and one with itself is a coin."""
    state, found = FIXED.start(np.arange(600), 0), []
    for pair in ((0, 2), (1, 1), (2, 0), (0, 1), (0, 2)):
        state, outcome, _ = FIXED.step(state, np.tile(pair, (600, 1)))
        if set(pair) == {0, 2}:
            found.append(outcome.reward if pair == (0, 2) else 1 - outcome.reward)
    assert (np.stack(found, axis=1) == duel(FIXED, 0, 2, 3)).all()
    assert stats.binomtest(int(duel(FIXED, 1, 1, 20).sum()), 12_000, 0.5).pvalue > 1e-3


def test_worth_by_hand():
    condorcet = np.array([[0.5, 0.6, 0.8], [0.4, 0.5, 0.7], [0.2, 0.3, 0.5]])
    cycle = np.array([[0.5, 0.6, 0.4], [0.4, 0.5, 0.9], [0.6, 0.1, 0.5]])
    tied = np.array([[0.5, 0.5, 0.9], [0.5, 0.5, 0.9], [0.1, 0.1, 0.5]])
    assert np.allclose(worth(np.stack([condorcet, cycle, tied])), [[0.5, 0.4, 0.2], [0.5, 0.5, 0.5], [0.75, 0.75, 0]])


def test_strong_and_weak_regret():
    runs = rollout(RUCB(), FIXED, episodes=64)
    gaps = runs.means.max(axis=1, keepdims=True) - runs.means
    own = np.take_along_axis(gaps[:, None], runs.arms, axis=2)
    assert np.allclose(metrics.pseudo_regret(runs), own.mean(axis=2).cumsum(axis=1))
    assert np.allclose(metrics.weak_regret(runs), own.min(axis=2).cumsum(axis=1))
    assert np.allclose(np.sort(runs.means, axis=1), np.sort([0.5, expit(-2.0), expit(-3.0)]))


def test_a_matrix_is_rotated_but_stays_what_it_is():
    values = ((0.5, 0.9, 0.6), (0.1, 0.5, 0.8), (0.4, 0.2, 0.5))
    drawn = Matrix(values=values).draw(3, np.arange(300), 0)
    assert np.allclose(drawn + drawn.swapaxes(1, 2), 1)
    best = worth(drawn).argmax(axis=1)
    assert (np.bincount(best) == 100).all()
    for b, arm in enumerate(best):
        order = (arm + np.arange(3)) % 3
        assert np.allclose(drawn[b][np.ix_(order, order)], values)


def test_without_a_condorcet_winner_the_copeland_winner_is_best():
    task = make("dueling-cycle")
    truth = task.instances(np.arange(50), 0)
    assert np.allclose(np.sort(truth.means, axis=1), [[0.25, 0.5, 0.5, 0.5, 0.75]])
    ends = rollout(DoubleThompson(), task, episodes=64).gap[:, 400:].mean()
    assert ends < 0.6 * (0.75 - truth.means.mean()), "by then it plays the best arm more often than chance"


def test_a_forfeited_duel_pays_nothing_and_moves_no_luck():
    state, rows = FIXED.start(np.arange(8), 0), np.arange(8)
    arms = np.tile([0, 1], (8, 1))
    arms[rows % 2 == 0, 1] = -1
    state, outcome, truth = FIXED.step(state, arms)
    assert (np.isnan(outcome.reward) == (rows % 2 == 0)).all() and (np.isnan(truth.gap) == (rows % 2 == 0)).all()
    state, outcome, _ = FIXED.step(state, np.tile([0, 1], (8, 1)))
    expected = duel(FIXED, 0, 1, 2, rows=8)
    assert (outcome.reward == np.where(rows % 2 == 0, expected[:, 0], expected[:, 1])).all()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (((0.5, 0.7), (0.4, 0.5)), r"P\[0\]\[1\] = 0.7 and P\[1\]\[0\] = 0.4"),
        (((0.6, 0.7), (0.3, 0.5)), r"P\[0\]\[0\] = 0.6"),
        (((0.5, 1.2), (-0.2, 0.5)), r"lie in \[0, 1\]"),
        (((0.5, 0.7), (0.3,)), "2 rows, but row 1 has 1"),
        (((0.5, 0.7, 0.1), (0.3, 0.5, 0.1)), "2 rows, but row 0 has 3"),
    ],
)
def test_tables_that_are_no_preferences_are_refused(values, says):
    with pytest.raises(ValueError, match=says):
        Matrix(values=values)


def test_preferences_must_fit_the_number_of_arms():
    with pytest.raises(ValueError, match="has 2 rows, but n_arms is 3"):
        Dueling(n_arms=3, horizon=5, preferences=Matrix(values=((0.5, 0.7), (0.3, 0.5))))
    with pytest.raises(ValueError, match="has 2 entries, but n_arms is 3"):
        Dueling(n_arms=3, horizon=5, preferences=BradleyTerry(strengths=Fixed(values=(1.0, 2.0))))
    for strengths in (NormalMeans(), Gap(best=1, gap=1)):
        assert Dueling(n_arms=3, horizon=5, preferences=BradleyTerry(strengths=strengths)).public.slots == 2
