import numpy as np
import pytest
from scipy import stats

from icrl.agents import EXP3, rollout
from icrl.envs import Bandit, Gap, Public

K, T = 4, 50
PUBLIC = Public("bandit", K, T, "bernoulli")


def weights(arms, rewards, rate, legal=None):
    """The policy after these steps, by multiplying weights one by one (Bubeck and Cesa-Bianchi 2012, section 3.1)."""
    w = np.ones(K)
    there = np.ones(K) if legal is None else np.array(legal, float)
    for arm, reward in zip(arms, rewards, strict=True):
        p = w * there / (w * there).sum()
        if arm >= 0:
            w[arm] *= np.exp(-rate * (1 - reward) / p[arm])
    return w * there / (w * there).sum()


@pytest.mark.parametrize("given", [None, 0.2])
def test_weights_by_hand(given, fold):
    agent, rng = EXP3(rate=given), np.random.default_rng(0)
    rate = given or np.sqrt(2 * np.log(K) / (T * K))
    arms, rewards = rng.integers(-1, K, (8, 64)), rng.integers(0, 2, (8, 64))
    state, view = fold(agent, PUBLIC, list(arms), list(rewards), rows=64)
    policy = agent.policy(state, view)[:, 0]
    for row in range(64):
        assert policy[row] == pytest.approx(weights(arms[:, row], rewards[:, row], rate), rel=1e-9, abs=1e-300)
    assert (agent.advise(state, view)["value"] == policy).all()


def test_missing_arms_have_no_share(fold):
    legal = [True, False, True, True]
    state, view = fold(EXP3(rate=0.5), PUBLIC, [0, 2, 0], [0, 1, 0], rows=2560, legal=np.array(legal))
    expected = weights([0, 2, 0], [0, 1, 0], 0.5, legal)
    assert EXP3(rate=0.5).policy(state, view)[0, 0] == pytest.approx(expected)
    arms = np.bincount(EXP3(rate=0.5).act(state, view)[1].arm[:, 0], minlength=K)
    assert arms[1] == 0 and stats.chisquare(arms[legal], expected[legal] * 2560).pvalue > 1e-3


def test_another_player_may_choose_what_it_never_would(fold):
    """Arm 0 loses again and again: its weight is 0 to any precision, and it is played all the same."""
    state, view = fold(EXP3(rate=1.0), PUBLIC, [0] * 40, [0] * 40)
    policy = EXP3(rate=1.0).policy(state, view)[:, 0]
    assert policy == pytest.approx(np.tile([0, 1 / 3, 1 / 3, 1 / 3], (256, 1))) and np.isfinite(state.loss).all()


def test_estimated_losses_have_no_bias():
    """The mean of an arm's importance-weighted losses is the sum of its losses, though it was seldom played."""
    task = Bandit(n_arms=K, horizon=30, means=Gap(best=0.8, gap=0.5))
    agent, episodes = EXP3(), np.arange(5120)
    inside, state = task.start(episodes, 0), agent.start(task.public, None, episodes, 0)
    for _ in range(30):
        view = task.view(inside)
        state, choice = agent.act(state, view)
        inside, outcome, _ = task.step(inside, choice.arm)
        state = agent.update(state, view, choice, outcome)
    off = state.loss - 30 * (1 - inside.means)
    assert (abs(off.mean(axis=0)) < 4 * off.std(axis=0) / np.sqrt(5120)).all()


def test_regret_is_below_the_bound():
    """sqrt(2 T K ln K), and not by far: this gap is about as hard as any."""
    task = Bandit(n_arms=K, horizon=1000, means=Gap(best=0.6, gap=0.2))
    bound = np.sqrt(2 * 1000 * K * np.log(K))
    assert 0.2 * bound < rollout(EXP3(), task, episodes=256).gap.sum(axis=1).mean() < bound


def test_what_it_cannot_play():
    with pytest.raises(ValueError, match=r"EXP3 cannot play this task: its rewards must lie in \[0, 1\]"):
        EXP3().check(Public("bandit", K, T, "gaussian", 1.0))
    with pytest.raises(ValueError, match="it needs a horizon, or a rate"):
        EXP3().check(Public("bandit", K, None, "bernoulli"))
    EXP3(rate=0.1).check(Public("bandit", K, None, "bernoulli"))
    with pytest.raises(ValueError, match="rate"):
        EXP3(rate=0.0)
