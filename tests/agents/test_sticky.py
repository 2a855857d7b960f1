import numpy as np
import pytest

from icrl.agents import rollout
from icrl.agents.sticky import Stubborn, WinStayLoseShift
from icrl.envs import Choice, make

TASK = make("bernoulli-hard")


def moves(runs):
    """[B, T-1] whether the next arm is the same, and whether the pull before it won."""
    return runs.arms[:, 1:] == runs.arms[:, :-1], runs.rewards[:, :-1] > 0


def test_win_stay_lose_shift_does_what_it_says():
    same, won = moves(rollout(WinStayLoseShift(), TASK, episodes=256))
    assert (same == won).all() and 0.3 < won.mean() < 0.7


def test_it_shifts_to_any_other_arm():
    runs = rollout(WinStayLoseShift(), TASK, episodes=512)
    same, _ = moves(runs)
    steps = (runs.arms[:, 1:] - runs.arms[:, :-1])[~same] % 5
    counts = np.bincount(steps, minlength=5)
    assert counts[0] == 0 and np.abs(counts[1:] / counts.sum() - 0.25).max() < 0.01


@pytest.mark.parametrize("stay", [0.0, 0.8, 1.0])
def test_rewards_do_not_move_the_stubborn(stay):
    """One that does not stay on purpose still meets its last arm in one of five draws."""
    same, won = moves(rollout(Stubborn(stay=stay), TASK, episodes=512))
    expected = stay + (1 - stay) / 5
    for given in (won, ~won):
        assert abs(same[given].mean() - expected) < 0.01


def test_a_forfeited_step_is_forgotten():
    agent, episodes = WinStayLoseShift(), np.arange(256)
    state = agent.start(TASK.public, None, episodes, 0)
    world = TASK.start(episodes, 0)
    rewards = []
    for arm in (2, -1):
        view, played = TASK.view(world), np.full((256, 1), arm)
        world, outcome, _ = TASK.step(world, played)
        state = agent.update(state, view, Choice(played), outcome)
        rewards.append(outcome.reward)
    _, choice = agent.act(state, TASK.view(world))
    assert ((choice.arm[:, 0] == 2) == (rewards[0] > 0)).all() and np.isnan(rewards[1]).all()


@pytest.mark.parametrize("stay", [-0.1, 1.1, float("nan")])
def test_stay_is_a_probability(stay):
    with pytest.raises(ValueError, match="stay"):
        Stubborn(stay=stay)
