"""What every agent must do, on every kind of task that it can play.

A new algorithm is tested by standing in `icrl.agents.ALGORITHMS`, another agent by adding it to tests/fakes.py.
"""

import numpy as np
import pytest

from icrl.agents import replay, rollout
from icrl.agents.record import identity
from icrl.envs import (
    ActionSets,
    Bandit,
    BestArm,
    BradleyTerry,
    Contexts,
    Drifting,
    Dueling,
    Gap,
    Gaussian,
    Linear,
    NormalMeans,
    Part,
    Public,
    Switching,
    TaskMixture,
    Trials,
    UniformMeans,
)

T = 12
MEANS = {"n_arms": 5, "horizon": T, "means": UniformMeans()}
WORLDS = {
    "bernoulli": lambda fakes: Bandit(n_arms=5, horizon=T, means=Gap(best=0.6, gap=0.2)),
    "gaussian": lambda fakes: Bandit(n_arms=5, horizon=T, means=UniformMeans(), noise=Gaussian()),
    "two": lambda fakes: Bandit(n_arms=2, horizon=T, means=UniformMeans()),
    "ending": lambda fakes: fakes.Ending(n_arms=5, horizon=T, means=UniformMeans()),
    "switching": lambda fakes: Switching(**MEANS),
    "drifting": lambda fakes: Drifting(**MEANS, drift=0.1),
    "sets": lambda fakes: ActionSets(**MEANS, fewest=2, present=0.7),
    "best-arm": lambda fakes: BestArm(**MEANS),
    "contexts": lambda fakes: Contexts(**MEANS),
    "linear": lambda fakes: Linear(n_arms=5, horizon=T, dim=3),
    "features": lambda fakes: Linear(n_arms=5, horizon=T, dim=3, shared=True, drawn="episode"),
    "dueling": lambda fakes: Dueling(n_arms=5, horizon=T, preferences=BradleyTerry(strengths=NormalMeans())),
    "mixture": lambda fakes: TaskMixture(
        parts=(
            Part(weight=0.4, task=Bandit(n_arms=3, horizon=9, means=UniformMeans())),
            Part(weight=0.6, task=Bandit(n_arms=5, horizon=T, means=Gap(best=0.6, gap=0.2))),
        )
    ),
    "trials": lambda fakes: Trials(task=Bandit(n_arms=5, horizon=T // 3, means=UniformMeans()), games=3),
}
SLOW = ("MostLikelyBest",)  # a quadrature per row and step


@pytest.fixture(scope="module", params=WORLDS)
def world(request, fakes):
    return WORLDS[request.param](fakes)


NAMES = (
    *("Uniform", "Greedy", "EpsilonGreedy", "ExploreThenCommit", "Boltzmann", "WinStayLoseShift", "Stubborn"),
    *("UCB", "KLUCB", "MOSS", "ThompsonSampling", "MostLikelyBest", "EXP3", "BayesOptimal", "Gittins"),
    *("DiscountedUCB", "SlidingWindowUCB", "DiscountedThompson", "LinUCB", "LinThompsonSampling"),
    *("RUCB", "DoubleThompson", "SuccessiveHalving", "TopTwoThompson", "LCB", "EmpiricalMean"),
    *("epsilon-often", "epsilon-decaying", "ucb-half", "ucb-constant", "thompson-unknown", "thompson-prior"),
    *("stubborn-less", "documented", "stating", "try-all-ucb", "mix-of-two", "restarting"),
    *("llm-turns", "llm-log", "llm-summary", "llm-window", "llm-hints", "llm-positive"),
    *("llm-retry", "llm-resample", "llm-distribution", "llm-thought", "llm-thought-kept", "llm-thought-shares"),
    *("llm-thought-log", "llm-budget", "llm-forfeit"),
    *("llm-steered-unsure", "llm-steered-closed"),
    *("try-all", "try-all-free", "epsilon-mix", "mixture", "mixture-free", "corral", "prior"),
    *("restarting-mixture", "mixture-steered", "mixture-restarting"),
)


@pytest.fixture(scope="module", params=NAMES)
def agent(request, fakes, tokenizer, world):
    agent = fakes.agent(request.param, tokenizer)
    try:
        agent.check(world.public)
    except ValueError:
        pytest.skip("refused; tests/agents/test_able.py holds what is refused")
    return agent


def test_all_agents_are_tested_here(fakes):
    assert NAMES == fakes.AGENTS


def equal(a, b):
    """Whether two runs are the same, cell by cell, up to where their longest episode ends."""
    assert a.names == b.names
    last, known = int(a.lengths.max()), a.columns().keys() | b.columns().keys()
    for name in known:
        if name not in a.columns() or name not in b.columns():  # a hybrid may not have needed its model
            other = a if name in a.columns() else b
            blank = {"f": np.isnan, "i": lambda x: x == -1, "U": lambda x: x == ""}[getattr(other, name).dtype.kind]
            assert blank(getattr(other, name)).all(), name
            continue
        column, other = a.columns()[name], b.columns()[name]
        if column.ndim >= 2 and name != "means":
            column, other = column[:, :last], other[:, :last]
        np.testing.assert_array_equal(column, other, err_msg=name)
    return True


class TestContract:
    def test_it_answers_in_the_declared_shapes(self, agent, world):
        episodes, public = np.arange(4) if agent.block is None else np.arange(agent.block), world.public
        names = agent.names(public, episodes, 0)
        assert names is None or [len(row) for row in names] == [public.n_arms] * len(episodes)
        view = world.view(world.start(episodes, 0))
        _state, choice = agent.act(agent.start(public, names, episodes, 0), view)
        r, k, slots = len(episodes), public.n_arms, public.slots
        assert choice.arm.shape == (r, slots) and choice.arm.dtype == np.int64
        assert ((choice.arm >= -1) & (choice.arm < k)).all()
        assert (np.take_along_axis(view.legal, choice.arm, axis=1) | (choice.arm < 0)).all()
        known = np.ones(r, np.bool_) if choice.probs is None else ~np.isnan(choice.probs[:, 0, 0])
        assert choice.probs is None or np.allclose(choice.probs[known].sum(axis=2), 1)
        shapes = {"probs": (r, slots, k), "mass": (r, slots), "failed": (r,), "usage": (r, 4)}
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
        for t, choice in enumerate(choices):
            np.testing.assert_array_equal(choice.arm.reshape(runs.arms[:, t].shape), runs.arms[:, t])
        assert len(lived) == len(folded) == runs.horizon
        for before, after in zip(lived, folded, strict=True):
            np.testing.assert_equal(before, after)

    def test_results_do_not_depend_on_the_number_of_episodes(self, agent, world):
        few, many = (64, 600 if type(agent).__name__ in SLOW else 5000) if agent.block else (12, 64)
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
        played = (runs.arms.reshape(*past.shape, -1)[..., 0] >= 0) & ~past
        assert not np.isnan(runs.rewards[played]).any()
        if type(world).__name__ == "Ending":
            assert (runs.terminated == (runs.lengths < T)).all()
            assert runs.terminated.any() and not runs.terminated.all()
        if type(world).__name__ == "TaskMixture":
            assert set(runs.lengths) == {9, T}

    def test_regret_never_falls(self, agent, world):
        gap = rollout(agent, world, episodes=64).gap
        assert (gap[~np.isnan(gap)] >= 0).all()

    def test_its_identity_tells_it_apart(self, agent, fakes, tokenizer):
        known = [identity(fakes.agent(name, tokenizer)) for name in fakes.AGENTS]
        assert known.count(identity(agent)) == 1

    def test_it_refuses_what_it_cannot_play(self, agent, world):
        wrong = 3 - world.public.slots
        with pytest.raises(ValueError, match="one choice per step|chooses one arm|chooses two arms|two Bernoulli arms"):
            agent.check(Public("duels", 5, T, "bernoulli", slots=wrong))


def test_a_block_that_ends_early_takes_no_luck_from_others(fakes):
    """All 256 episodes of block 0 end before those of block 1: the generators must not move up."""
    world = fakes.Ending(n_arms=5, horizon=60, means=UniformMeans())
    ends = rollout(fakes.CLASSICAL["Uniform"], world, episodes=512).lengths
    assert ends[:256].max() < ends[256:].max()
    for name in ("Greedy", "EpsilonGreedy", "ThompsonSampling", "EXP3", "DiscountedThompson", "mix-of-two"):
        both = rollout(fakes.CLASSICAL[name], world, episodes=512)
        assert equal(rollout(fakes.CLASSICAL[name], world, episodes=range(256, 512)), both.take(slice(256, None)))


PLAIN = ("Uniform", "UCB", "ThompsonSampling", "WinStayLoseShift", "stating", "mix-of-two", "llm-turns", "llm-log")
PLAIN += ("llm-summary", "llm-retry", "llm-resample", "llm-forfeit", "try-all", "epsilon-mix", "mixture", "corral")


def test_the_order_of_agents_does_not_matter(fakes, tokenizer):
    world = WORLDS["bernoulli"](fakes)
    agents = {name: fakes.agent(name, tokenizer) for name in PLAIN}
    there = {name: rollout(agents[name], world, episodes=8) for name in PLAIN}
    back = {name: rollout(agents[name], world, episodes=8) for name in reversed(PLAIN)}
    assert all(equal(there[name], back[name]) for name in PLAIN)


def test_all_agents_meet_the_same_luck(fakes, tokenizer):
    """The n-th pull of an arm in an episode pays the same for everyone, whatever was pulled in between."""
    paid, met = {}, 0
    for name in PLAIN:
        runs = rollout(fakes.agent(name, tokenizer), WORLDS["bernoulli"](fakes), episodes=32)
        for e in range(len(runs)):
            for arm in range(5):
                for n, reward in enumerate(runs.rewards[e, runs.arms[e] == arm].tolist()):
                    met += (e, arm, n) in paid
                    assert paid.setdefault((e, arm, n), reward) == reward
    assert met > 1000


def test_all_language_models_see_the_same_labels(fakes, tokenizer):
    models = (*fakes.PROMPTS, *fakes.HYBRIDS)
    names = {rollout(fakes.agent(n, tokenizer), WORLDS["bernoulli"](fakes), episodes=9).names for n in models}
    assert len(names) == 1
