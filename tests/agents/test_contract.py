"""What every agent must do. A new agent is tested by adding it to AGENTS of tests/fakes.py."""

import numpy as np
import pytest

from icrl.agents import replay, rollout
from icrl.agents.record import identity
from icrl.envs import Bandit, Gap, Gaussian, Public, UniformMeans

WORLDS = {
    "bernoulli": lambda fakes: Bandit(n_arms=5, horizon=12, means=Gap(best=0.6, gap=0.2)),
    "gaussian": lambda fakes: Bandit(n_arms=5, horizon=12, means=UniformMeans(), noise=Gaussian()),
    "ending": lambda fakes: fakes.Ending(n_arms=5, horizon=12, means=UniformMeans()),
}


@pytest.fixture(scope="module", params=WORLDS)
def world(request, fakes):
    return WORLDS[request.param](fakes)


NAMES = (
    *("uniform", "greedy", "epsilon-greedy", "ucb1", "ucb-half", "ucb-constant", "thompson"),
    *("win-stay", "stubborn"),
    *("llm-turns", "llm-log", "llm-summary", "llm-retry", "llm-resample", "llm-forfeit"),
)


@pytest.fixture(scope="module", params=NAMES)
def agent(request, fakes, tokenizer):
    return fakes.agent(request.param, tokenizer)


def test_all_agents_are_tested_here(fakes):
    assert NAMES == fakes.AGENTS


def equal(a, b):
    """Whether two runs are the same, cell by cell, up to where their longest episode ends."""
    assert a.columns().keys() == b.columns().keys() and a.names == b.names
    last = int(a.lengths.max())
    for name, column in a.columns().items():
        other = b.columns()[name]
        if column.ndim >= 2 and name != "means":
            column, other = column[:, :last], other[:, :last]
        np.testing.assert_array_equal(column, other, err_msg=name)
    return True


class TestContract:
    def test_it_answers_in_the_declared_shapes(self, agent, world):
        episodes, public = np.arange(4) if agent.block is None else np.arange(agent.block), world.public
        agent.check(public)
        names = agent.names(public, episodes, 0)
        assert names is None or [len(row) for row in names] == [public.n_arms] * len(episodes)
        _state, choice = agent.act(agent.start(public, names, episodes, 0), world.view(world.start(episodes, 0)))
        r, k = len(episodes), public.n_arms
        assert choice.arm.shape == (r, 1) and choice.arm.dtype == np.int64
        assert ((choice.arm >= -1) & (choice.arm < k)).all()
        assert choice.probs is None or np.allclose(choice.probs.sum(axis=2), 1)
        shapes = {"probs": (r, 1, k), "mass": (r, 1), "failed": (r,), "usage": (r, 3)}
        assert choice.ids is None or len(choice.ids) == r
        for name, shape in shapes.items():
            assert getattr(choice, name) is None or getattr(choice, name).shape == shape
        assert choice.text is None or len(choice.text) == r

    def test_fold_equals_live(self, agent, world, fakes):
        """Folding an agent over its own history gives the same states and the same choices."""
        lived, folded = [], []

        def into(states):
            return lambda agent, state, view, outcome: states.append(fakes.snapshot(state)) if outcome is None else None

        runs = rollout(fakes.Spy(agent, into(lived)), world, episodes=agent.block or 24, batch=24)
        choices = list(replay(fakes.Spy(agent, into(folded)), runs))
        np.testing.assert_array_equal(np.stack([c.arm[:, 0] for c in choices], axis=1), runs.arms)
        assert len(lived) == len(folded) == runs.horizon
        for before, after in zip(lived, folded, strict=True):
            np.testing.assert_equal(before, after)

    def test_results_do_not_depend_on_the_number_of_episodes(self, agent, world):
        few, many = (64, 20_000) if agent.block else (12, 64)
        alone, among = rollout(agent, world, episodes=few), rollout(agent, world, episodes=many)
        assert equal(alone, among.take(slice(0, few)))

    def test_results_do_not_depend_on_which_episodes_are_played(self, agent, world):
        wanted = [40, 3, 300, 7]
        some = rollout(agent, world, episodes=wanted)
        assert some.episode.tolist() == wanted
        for i, e in enumerate(wanted):
            assert equal(rollout(agent, world, episodes=[e]), some.take(slice(i, i + 1)))

    def test_results_do_not_depend_on_the_batch(self, agent, world):
        whole = rollout(agent, world, episodes=20, batch=64)
        for batch in (1, 7):
            assert equal(whole, rollout(agent, world, episodes=20, batch=batch))

    def test_it_plays_the_same_again_but_not_with_another_seed(self, agent, world):
        first, again, other = (rollout(agent, world, episodes=20, seed=seed) for seed in (3, 3, 4))
        assert equal(first, again)
        assert not np.array_equal(first.rewards, other.rewards, equal_nan=True)

    def test_rows_end_at_their_own_time(self, agent, world):
        runs = rollout(agent, world, episodes=64)
        past = np.arange(runs.horizon) >= runs.lengths[:, None]
        assert (runs.arms[past] == -1).all() and np.isnan(runs.rewards[past]).all() and np.isnan(runs.gap[past]).all()
        assert (runs.terminated == (runs.lengths < 12)).all()
        played = (runs.arms >= 0) & ~past
        assert not np.isnan(runs.rewards[played]).any()
        if type(world).__name__ == "Ending":
            assert runs.terminated.any() and not runs.terminated.all()

    def test_its_identity_tells_it_apart(self, agent, fakes, tokenizer):
        known = [identity(fakes.agent(name, tokenizer)) for name in fakes.AGENTS]
        assert known.count(identity(agent)) == 1

    def test_it_refuses_what_it_cannot_play(self, agent):
        with pytest.raises(ValueError, match="one"):
            agent.check(Public("duels", 5, 12, "bernoulli", slots=2))


def test_a_block_that_ends_early_takes_no_luck_from_others(fakes):
    """All 256 episodes of block 0 end before those of block 1: the generators must not move up."""
    world = fakes.Ending(n_arms=5, horizon=60, means=UniformMeans())
    ends = rollout(fakes.CLASSICAL["uniform"], world, episodes=512).lengths
    assert ends[:256].max() < ends[256:].max()
    for agent in fakes.CLASSICAL.values():
        both = rollout(agent, world, episodes=512)
        assert equal(rollout(agent, world, episodes=range(256, 512)), both.take(slice(256, None)))


def test_the_order_of_agents_does_not_matter(fakes, tokenizer):
    world = WORLDS["bernoulli"](fakes)
    agents = {name: fakes.agent(name, tokenizer) for name in NAMES}
    there = {name: rollout(agents[name], world, episodes=8) for name in NAMES}
    back = {name: rollout(agents[name], world, episodes=8) for name in reversed(NAMES)}
    assert all(equal(there[name], back[name]) for name in NAMES)


def test_all_agents_meet_the_same_luck(fakes, tokenizer):
    """The n-th pull of an arm in an episode pays the same for everyone, whatever was pulled in between."""
    paid, met = {}, 0
    for name in NAMES:
        runs = rollout(fakes.agent(name, tokenizer), WORLDS["gaussian"](fakes), episodes=32)
        for e in range(len(runs)):
            for arm in range(5):
                for n, reward in enumerate(runs.rewards[e, runs.arms[e] == arm].tolist()):
                    met += (e, arm, n) in paid
                    assert paid.setdefault((e, arm, n), reward) == reward
    assert met > 1000


def test_all_language_models_see_the_same_labels(fakes, tokenizer):
    names = {rollout(fakes.agent(n, tokenizer), WORLDS["bernoulli"](fakes), episodes=9).names for n in fakes.PROMPTS}
    assert len(names) == 1
