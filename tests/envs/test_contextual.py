"""Linear contexts, contexts from a table, and how they are told."""

import numpy as np
import pytest
from scipy import stats

from icrl.agents import Greedy, LinUCB, Uniform, replay, rollout
from icrl.agents.record import seen
from icrl.envs import Contexts, Gap, Gaussian, Linear, NormalMeans, UniformMeans
from icrl.envs.words import told


def steps(world, rows=50, t=6):
    """(state before, truth, reward) of steps in which arm 1 is played."""
    state = world.start(np.arange(rows), 3)
    for _ in range(t):
        before = state
        state, outcome, truth = world.step(state, np.ones((rows, 1), np.int64))
        yield before, truth, outcome.reward


@pytest.mark.parametrize("shared", [False, True])
def test_means_are_linear_in_the_context(shared):
    world = Linear(n_arms=4, horizon=20, dim=3, shared=shared, noise=Gaussian(sd=1e-6))
    for state, truth, reward in steps(world):
        seen = world.view(state).context
        means = np.stack(
            [
                [(seen[b, k] if shared else seen[b]) @ state.weights[b, 0 if shared else k] for k in range(4)]
                for b in range(50)
            ]
        )
        assert np.allclose(reward, means[:, 1], atol=1e-4)
        assert np.allclose(truth.gap, means.max(axis=1) - means[:, 1])
        assert (truth.best[:, 0] == means.argmax(axis=1)).all()


@pytest.mark.parametrize(
    ("drawn", "in_time", "in_episodes", "in_seeds"),
    [("step", True, True, True), ("episode", False, True, True), ("task", False, False, False)],
)
def test_contexts_are_drawn_as_often_as_declared(drawn, in_time, in_episodes, in_seeds):
    world = Linear(n_arms=4, horizon=9, dim=2, shared=True, drawn=drawn)
    first, second = (world.view(state).context for state, _, _ in steps(world, t=2))
    other = world.view(world.start(np.arange(50), 4)).context
    assert (first != second).any() == in_time
    assert (first[0] != first[1]).any() == in_episodes
    assert (first != other).any() == in_seeds


def test_context_and_reward_do_not_depend_on_what_was_played():
    world = Linear(n_arms=3, horizon=15, dim=2)
    one, other = rollout(Uniform(), world, episodes=20), rollout(LinUCB(), world, episodes=20)
    assert (one.context == other.context).all() and (one.arms != other.arms).any()


def test_contexts_of_a_table_are_bandits_of_their_own():
    world = Contexts(n_arms=3, horizon=40, means=Gap(best=0.9, gap=0.5), n_contexts=4, noise=Gaussian(sd=0.01))
    runs = rollout(Uniform(), world, episodes=200)
    assert (runs.context.sum(axis=2) == 1).all() and set(np.unique(runs.context)) == {0, 1}
    which = runs.context.argmax(axis=2)
    assert np.bincount(which.ravel()) == pytest.approx([2000] * 4, rel=0.1)
    best = np.where(runs.gap == 0, runs.arms, -1)
    for b in range(20):
        for c in range(4):
            assert len(set(best[b, which[b] == c].tolist()) - {-1}) <= 1, "one best arm per context"
    positions = [best[b, which[b] == c].max() for b in range(200) for c in range(4)]
    assert np.bincount(np.array(positions)[np.array(positions) >= 0]).min() > 200


def test_contexts_of_a_table_have_names_if_wanted():
    plain, named = (Contexts(n_arms=2, horizon=9, means=UniformMeans(), text=text) for text in (False, True))
    runs, bare = (rollout(Uniform(), world, episodes=20, seed=5) for world in (named, plain))
    assert bare.obs is None and (runs.context == bare.context).all() and (runs.rewards == bare.rewards).all()
    assert (runs.obs == np.array(["case 1", "case 2", "case 3"])[runs.context.argmax(axis=2)]).all()


def test_runs_keep_what_was_seen_so_that_others_can_be_folded_over_them():
    world = Linear(n_arms=3, horizon=15, dim=2)
    runs = rollout(LinUCB(), world, episodes=256)
    told = np.stack([choice.arm[:, 0] for choice in replay(LinUCB(), runs)], axis=1)
    assert (told == runs.arms).all()
    again = seen(world, runs.episode, 0, runs.arms, runs.lengths)
    assert (again["context"] == runs.context).all(), "what a store need not keep"
    assert rollout(Greedy(), world, episodes=3).context.shape == (3, 15, 2)


def test_texts_round_as_stated():
    assert told(np.array([[0.126, -0.001], [1.0, -2.5]])) == ("0.13, 0.00", "1.00, -2.50")
    assert told(np.array([[[1.0], [2.0]]]), decimals=0) == ("1\n2",)
    world = Linear(n_arms=2, horizon=3, dim=2, text=True)
    runs = rollout(Uniform(), world, episodes=4)
    assert runs.obs.shape == (4, 3) and runs.obs[0, 0] == ", ".join(f"{x:z.2f}" for x in runs.context[0, 0])


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"dim": 0}, "dim"),
        ({"drawn": "never"}, "drawn"),
        ({"noise": {"kind": "bernoulli"}}, "noise"),
        ({"weights": {"kind": "gap", "best": 1, "gap": 1}}, "weights"),
    ],
)
def test_bad_fields_are_refused(fields, says):
    with pytest.raises(ValueError, match=says):
        Linear(**({"n_arms": 3, "horizon": 5, "dim": 2} | fields))


def test_distributions_are_those_declared():
    world = Linear(n_arms=3, horizon=5, dim=2, weights=UniformMeans(low=2, high=4), contexts=NormalMeans(mean=1, sd=3))
    state = world.start(np.arange(20_000), 0)
    assert state.weights.min() >= 2 and state.weights.max() <= 4 and state.weights.mean() == pytest.approx(3, abs=0.01)
    assert state.context.mean() == pytest.approx(1, abs=0.06) and state.context.std() == pytest.approx(3, rel=0.02)


def test_contexts_have_means_of_their_own():
    """With three arms and three contexts, all 27 maps from context to best arm occur."""
    world = Contexts(n_arms=3, horizon=2, n_contexts=3, means=Gap(best=0.9, gap=0.5))
    best = world.start(np.arange(3000), 0).table.argmax(axis=2)
    _, counts = np.unique(best @ [9, 3, 1], return_counts=True)
    assert len(counts) == 27 and stats.chisquare(counts).pvalue > 1e-3
