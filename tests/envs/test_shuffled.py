"""Worlds around worlds: arms in another order in each episode, rewards in another unit."""

import numpy as np
import pytest

from icrl.agents import UCB, LinUCB, Uniform, rollout
from icrl.envs import Bandit, Gap, UniformMeans, make
from icrl.envs.scaled import Scaled
from icrl.envs.shuffled import Shuffled
from icrl.finetune.labels import Oracle


class Ordered(Bandit):
    """Each arm is better than the one before it."""

    def instances(self, episodes, seed):
        found = super().instances(episodes, seed)
        return type(found)(np.sort(found.means, axis=1), np.full(len(episodes), self.n_arms - 1))

    def start(self, episodes, seed):
        return self._start(episodes, seed, self.instances(episodes, seed).means)


TASK = Ordered(n_arms=4, horizon=30, means=UniformMeans())


def test_every_place_may_be_the_best():
    runs = rollout(Uniform(), Shuffled(TASK), episodes=2000, seed=1)
    shares = np.bincount(runs.means.argmax(axis=1), minlength=4) / 2000
    assert np.abs(shares - 0.25).max() < 0.05
    assert (rollout(Uniform(), TASK, episodes=10, seed=1).means.argmax(axis=1) == 3).all()


def test_truth_and_rewards_are_of_the_arm_at_that_place():
    runs = rollout(UCB(), Shuffled(TASK), episodes=400, seed=1)
    paid = np.take_along_axis(runs.means, runs.arms, axis=1)
    assert np.abs(runs.rewards.mean() - paid.mean()) < 0.01
    assert np.allclose(runs.gap, runs.means.max(axis=1, keepdims=True) - paid)
    assert (runs.best_arm == runs.means.argmax(axis=1)).all()
    assert (Oracle(Shuffled(TASK)).best(runs) == runs.best_arm[:, None]).all()


def test_play_is_as_good_as_without():
    """Also where arms have contexts of their own, which move with them."""
    task = make("dpt-linear", horizon=60)
    ours, theirs = (np.nansum(rollout(LinUCB(), t, episodes=400, seed=2).gap, axis=1) for t in (Shuffled(task), task))
    blind = np.nansum(rollout(Uniform(), task, episodes=400, seed=2).gap, axis=1).mean()
    assert abs(ours.mean() - theirs.mean()) < 0.05 * blind
    gaps = Bandit(n_arms=3, horizon=10, means=Gap(best=0.9, gap=0.4))
    assert rollout(Uniform(), Shuffled(gaps), episodes=5).means.max() == 0.9


def test_duels_have_no_rewards_to_scale():
    with pytest.raises(ValueError, match="scale: duels have winners and no rewards, so it must be 1, got 2"):
        Scaled(make("dueling"), 2.0)
    with pytest.raises(ValueError, match="scale: must be a number above 0, got -1"):
        Scaled(make("bernoulli-hard"), -1.0)
    ours, theirs = (
        rollout(Uniform(), t, episodes=5) for t in (Scaled(make("bernoulli-hard"), 3.0), make("bernoulli-hard"))
    )
    assert (ours.rewards == 3 * theirs.rewards).all() and np.allclose(ours.gap, 3 * theirs.gap)
