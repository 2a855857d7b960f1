"""Tasks that are, in each episode, one of several."""

import numpy as np
import pytest
from scipy import stats

from icrl.agents import ThompsonSampling, Uniform, rollout
from icrl.envs import (
    ActionSets,
    Bandit,
    Contexts,
    Gap,
    Gaussian,
    Linear,
    Part,
    Switching,
    TaskMixture,
    UniformMeans,
    make,
)

EASY, HARD = make("bernoulli-easy"), make("bernoulli-hard")
GAUSS = Bandit(n_arms=4, horizon=30, means=UniformMeans(), noise=Gaussian(sd=0.5))
BEST = make("best-arm")
LINEAR = Linear(n_arms=4, horizon=30, dim=2)


def mixture(*tasks, weights=None):
    weights = weights or [1 / max(len(tasks), 1)] * len(tasks)
    return TaskMixture(parts=tuple(Part(weight=w, task=t) for w, t in zip(weights, tasks, strict=True)))


def test_shares_are_the_weights():
    which = mixture(EASY, HARD, GAUSS, weights=[0.2, 0.5, 0.3]).start(np.arange(5000), 0).which
    assert stats.chisquare(np.bincount(which), [1000, 2500, 1500]).pvalue > 1e-3


def test_each_episode_is_its_own_tasks_episode():
    """Same arms, same luck: the rewards are those of the task itself."""
    both = mixture(EASY, GAUSS)
    runs = rollout(Uniform(), both, episodes=64)
    which = both.start(np.arange(64), 0).which
    for i, task in enumerate((EASY, GAUSS)):
        state = task.start(np.flatnonzero(which == i), 0)
        mine = runs.take(which == i)
        for t in range(task.horizon):
            state, outcome, truth = task.step(state, mine.arms[:, t, None])
            assert (outcome.reward == mine.rewards[:, t]).all() and (truth.gap == mine.gap[:, t]).all()
        assert (mine.lengths == task.horizon).all()
        assert (mine.means[:, : task.n_arms] == task.instances(np.flatnonzero(which == i), 0).means).all()


def test_agents_are_told_what_holds_for_all():
    public = mixture(EASY, HARD).public
    assert (public.n_arms, public.horizon, public.reward, public.variable) == (5, 100, "bernoulli", True)
    public = mixture(EASY, GAUSS).public
    assert (public.reward, public.noise_sd, public.variable, public.kind) == ("gaussian", None, False, "bandit")
    assert mixture(EASY, Switching(n_arms=4, horizon=9, means=UniformMeans())).public.kind == "moving"
    assert mixture(GAUSS, GAUSS).public.noise_sd == 0.5
    with pytest.raises(ValueError, match="it needs the standard deviation of the noise"):
        ThompsonSampling().check(mixture(EASY, GAUSS).public)
    ThompsonSampling(variance="unknown").check(mixture(EASY, GAUSS).public)


def test_mixtures_of_mixtures():
    task = mixture(mixture(EASY, HARD), ActionSets(n_arms=6, horizon=20, means=UniformMeans(), present=0.5))
    runs = rollout(ThompsonSampling(), task, episodes=64)
    assert set(runs.lengths) == {20, 100} and runs.legal.shape[2] == 6
    assert runs.means.shape == (64, 6) and runs.best_arm is None


@pytest.mark.parametrize(
    ("tasks", "weights", "says"),
    [
        ((EASY, HARD), [0.5, 0.6], "sum to 1, got 1.1"),
        ((EASY, HARD), [1.5, -0.5], "weight"),
        ((EASY, LINEAR), None, r"same context_dim, got \[0, 2\]"),
        ((BEST, BEST.model_copy(update={"horizon": 9})), None, "best-arm tasks must have the same horizon"),
        ((EASY, make("dueling")), None, r"same slots, got \[1, 2\]"),
        ((EASY, make("best-arm")), None, "could not tell these kinds of task apart: bandit, best-arm"),
        ((LINEAR, Contexts(n_arms=4, horizon=5, means=UniformMeans(), n_contexts=3)), None, "same context_dim"),
        ((), None, "parts"),
    ],
)
def test_what_is_no_task_is_refused(tasks, weights, says):
    with pytest.raises(ValueError, match=says):
        mixture(*tasks, weights=weights)


def test_a_part_is_checked_like_any_task():
    with pytest.raises(ValueError, match="kind"):
        TaskMixture.model_validate({"parts": [{"weight": 1, "task": {"kind": "nothing"}}]})
    given = {
        "parts": [{"weight": 1.0, "task": {"kind": "bandit", "n_arms": 3, "horizon": 4, "means": {"kind": "uniform"}}}]
    }
    assert TaskMixture.model_validate(given).parts[0].task.means == UniformMeans()
    assert Gap(best=0.6, gap=0.2) == HARD.means
