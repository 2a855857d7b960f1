"""Truth never reaches an agent: neither in what it is given, nor in what it could reach from there."""

from dataclasses import dataclass

import numpy as np
import pytest

from icrl.agents import UCB, rollout
from icrl.envs import Instances, Truth, UniformMeans
from icrl.envs.bandit import BanditState


@pytest.fixture
def world(fakes):
    return fakes.Table(n_arms=5, horizon=5, means=UniformMeans())


def leaks(fakes, world, episodes, roots):
    """What of the truth can be reached from `roots`."""
    truth = world.instances(episodes, 0)
    highest = truth.means.max(axis=1)
    secret = [truth.means, highest, truth.best_arm, highest[:, None] - truth.means]
    secret += [s.T for s in secret] + [truth.best_arm[:, None], np.eye(5)[truth.best_arm]]
    found = []
    for value in fakes.reachable(*roots):
        if isinstance(value, (type(world), BanditState, Truth, Instances, UniformMeans)):
            found.append(type(value).__name__)
        elif isinstance(value, np.ndarray) and value.dtype.kind in "fiub" and value.size > 1:
            found += [str(value) for s in secret if value.shape == s.shape and np.allclose(value, s)]
        elif isinstance(value, (list, tuple)) and len(value) == len(episodes):
            try:
                cells = np.array(value, float)
            except (TypeError, ValueError):
                continue
            found += [str(value) for s in secret if cells.shape == s.shape and np.allclose(cells, s)]
    return found


def looked(fakes, world, agent):
    """Leaks at every step of a run of 16 episodes (256 for agents that play blocks)."""
    episodes, found = np.arange(agent.block or 16), []

    def see(agent, state, view, outcome):
        if len(view.t) == len(episodes):
            found.extend(leaks(fakes, world, episodes, (agent, state, view, outcome)))

    rollout(fakes.Spy(agent, see), world, episodes=len(episodes))
    return found


REACHED = ("Uniform", "EpsilonGreedy", "UCB", "ThompsonSampling", "EXP3", "mix-of-two")
REACHED += ("llm-turns", "llm-summary", "llm-retry", "mixture", "corral", "prior")


@pytest.mark.parametrize("name", REACHED)
def test_no_truth_is_reachable(name, fakes, tokenizer, world):
    assert looked(fakes, world, fakes.agent(name, tokenizer)) == []


@dataclass(frozen=True)
class Cheat:
    """Hides `secret(state)` in a corner of its state."""

    agent: object
    secret: object

    def __getattr__(self, name):
        return getattr(self.agent, name)

    def start(self, public, names, episodes, seed):
        self.hidden.append({"deep": ([self.secret],)})
        return self.agent.start(public, names, episodes, seed)

    @property
    def hidden(self):
        return self.__dict__.setdefault("_hidden", [])


@pytest.mark.parametrize("what", ["means", "best", "gaps", "list", "world", "state", "closure"])
def test_the_search_finds_what_is_hidden(what, fakes, world):
    episodes = np.arange(256)
    truth = world.instances(episodes, 0)
    secrets = {
        "means": truth.means,
        "best": truth.best_arm[:, None],
        "gaps": truth.means.max(axis=1, keepdims=True) - truth.means,
        "list": truth.best_arm.tolist(),
        "world": world,
        "state": world.start(episodes, 0),
        "closure": lambda: world,
    }
    assert looked(fakes, world, Cheat(UCB(), secrets[what]))


NAMES = (
    *("Uniform", "Greedy", "EpsilonGreedy", "ExploreThenCommit", "Boltzmann", "WinStayLoseShift", "Stubborn"),
    *("UCB", "ucb-constant", "KLUCB", "MOSS", "LCB", "EmpiricalMean", "ThompsonSampling", "EXP3", "Gittins"),
    *("DiscountedUCB", "SlidingWindowUCB", "DiscountedThompson", "stating", "mix-of-two"),
    *("llm-turns", "llm-log", "llm-summary", "llm-retry", "llm-resample"),
    *("try-all", "epsilon-mix", "mixture", "corral", "prior"),
)


@pytest.mark.parametrize("name", NAMES)
def test_other_means_with_the_same_rewards_change_no_choice(name, fakes, tokenizer):
    agent = fakes.agent(name, tokenizer)
    one, other = (fakes.Table(n_arms=5, horizon=12, means=m) for m in (UniformMeans(), UniformMeans(low=0.4, high=0.5)))
    first, second = rollout(agent, one, episodes=32), rollout(agent, other, episodes=32)
    assert not np.allclose(first.means, second.means)
    np.testing.assert_array_equal(first.rewards, second.rewards)
    np.testing.assert_array_equal(first.arms, second.arms)
    if first.probs is not None:
        np.testing.assert_array_equal(first.probs, second.probs)
