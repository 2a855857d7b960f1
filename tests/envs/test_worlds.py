"""What every world must do. A new world is tested by adding a line to WORLDS."""

import copy
from dataclasses import fields, is_dataclass

import numpy as np
import pytest

from icrl.agents.record import identity
from icrl.envs import (
    KINDS,
    ActionSets,
    Bandit,
    BestArm,
    BradleyTerry,
    Contexts,
    Drifting,
    Dueling,
    Gap,
    Gaussian,
    Instances,
    Linear,
    Matrix,
    NormalMeans,
    Outcome,
    Part,
    Public,
    Switching,
    TaskMixture,
    Trials,
    Truth,
    UniformMeans,
    View,
    make,
)
from icrl.envs.again import Again
from icrl.envs.movielens import MovieLens
from icrl.envs.scaled import Scaled
from icrl.envs.shuffled import Shuffled
from icrl.envs.types import put, take

MEANS = {"n_arms": 4, "horizon": 12, "means": UniformMeans()}
SETS = ActionSets(**MEANS, fewest=2, present=0.5)

WORLDS = {
    "bernoulli": lambda fakes: Bandit(n_arms=3, horizon=12, means=Gap(best=0.7, gap=0.3)),
    "gaussian": lambda fakes: Bandit(n_arms=4, horizon=12, means=NormalMeans(), noise=Gaussian(sd=2)),
    "ending": lambda fakes: fakes.Ending(n_arms=3, horizon=12, means=UniformMeans()),
    "table": lambda fakes: fakes.Table(n_arms=3, horizon=12, means=UniformMeans()),
    "movielens": lambda fakes: MovieLens(n_arms=4, horizon=12, sd=0.5, text=True),
    "documented": lambda fakes: fakes.documented()["Seasonal"](**MEANS),
    "best-arm": lambda fakes: BestArm(**MEANS),
    "switching": lambda fakes: Switching(**MEANS, changes=3),
    "drifting": lambda fakes: Drifting(**MEANS, drift=0.2),
    "action-sets": lambda fakes: SETS,
    "fewer-arms": lambda fakes: ActionSets(**MEANS, fewest=2),
    "contexts": lambda fakes: Contexts(**MEANS),
    "linear": lambda fakes: Linear(n_arms=4, horizon=12, dim=3, text=True),
    "features": lambda fakes: Linear(n_arms=4, horizon=12, dim=2, shared=True, drawn="episode", text=True),
    "dueling": lambda fakes: Dueling(n_arms=4, horizon=12, preferences=BradleyTerry(strengths=NormalMeans())),
    "matrix": lambda fakes: Dueling(n_arms=2, horizon=12, preferences=Matrix(values=((0.5, 0.7), (0.3, 0.5)))),
    "mixture": lambda fakes: TaskMixture(
        parts=(
            Part(weight=0.5, task=Bandit(n_arms=3, horizon=7, means=UniformMeans())),
            Part(weight=0.2, task=SETS),
            Part(weight=0.3, task=Switching(**MEANS, noise=Gaussian())),
        )
    ),
    "mixed-features": lambda fakes: TaskMixture(
        parts=(
            Part(weight=0.5, task=Linear(n_arms=3, horizon=7, dim=2, shared=True, text=True)),
            Part(weight=0.5, task=Linear(n_arms=4, horizon=12, dim=2, shared=True, drawn="task", text=True)),
        )
    ),
    "trials": lambda fakes: Trials(task=Switching(n_arms=4, horizon=4, means=UniformMeans(), changes=1), games=3),
    "shuffled": lambda fakes: Shuffled(SETS),
    "shuffled-contexts": lambda fakes: Shuffled(make("dpt-linear", horizon=12)),
    "scaled": lambda fakes: Scaled(Bandit(n_arms=3, horizon=6, means=UniformMeans(), noise=Gaussian(sd=2.0)), 10.0),
    "scaled-wins": lambda fakes: Scaled(Bandit(n_arms=3, horizon=6, means=UniformMeans()), 0.1),
    "again": lambda fakes: Again(Bandit(n_arms=3, horizon=5, means=UniformMeans()), times=3),
    "trials-of-sets": lambda fakes: Trials(task=SETS.model_copy(update={"horizon": 5}), games=2),
}
EPISODES = np.array([5, 300, 0, 77, 1, 512])


@pytest.fixture(params=WORLDS)
def world(request, fakes):
    return WORLDS[request.param](fakes)


def walk(world, state, seed=0, steps=100, forfeits=False):
    """Plays drawn arms to the end: (episodes alive, outcome, truth, state after) per step.

    An arm is a function of (episode, t), so that a row plays the same whoever else is alive.
    """
    found = []
    for _ in range(steps):
        view = world.view(state)
        rolls = [np.random.default_rng((seed, e, t)) for e, t in zip(view.episode, view.t, strict=True)]
        there = [np.append(np.flatnonzero(legal), np.full(int(forfeits), -1)) for legal in view.legal]
        arms = np.array([r.choice(known, world.public.slots) for r, known in zip(rolls, there, strict=True)])
        state, outcome, truth = world.step(state, np.where((arms < 0).any(axis=1, keepdims=True), -1, arms))
        found.append((view.episode, copy.deepcopy(outcome), copy.deepcopy(truth)))
        over = outcome.terminated | outcome.truncated
        if over.all():
            return found
        state = take(state, ~over)
    raise AssertionError("the world does not end")


def by_episode(walked):
    """What each episode met, step by step."""
    cells = {}
    for episode, outcome, truth in walked:
        for row, e in enumerate(episode.tolist()):
            met = (outcome.reward[row], outcome.terminated[row], outcome.truncated[row], truth.gap[row])
            cells.setdefault(e, []).append(np.array(met, float).tobytes())
    return cells


def arrays_of(state):
    """The arrays of a state, those of its parts included."""
    found = {}
    for f in fields(state):
        value = getattr(state, f.name)
        if isinstance(value, tuple):
            found |= {f"{f.name}.{i}.{k}": v for i, part in enumerate(value) for k, v in arrays_of(part).items()}
        else:
            found[f.name] = value
    return found


def first_legal(world, state):
    """An arm that is there, in every slot."""
    return np.repeat(world.view(state).legal.argmax(axis=1)[:, None], world.public.slots, axis=1)


def test_every_kind_is_tested_here(fakes):
    kinds = {getattr(made(fakes), "kind", None) for made in WORLDS.values()}
    assert kinds - {None} == {*KINDS, "seasonal"}


class TestContract:
    def test_public_says_what_it_is(self, world):
        public = world.public
        assert isinstance(public, Public) and public == world.public
        assert public.n_arms >= 2 and public.slots >= 1 and public.kind and public.horizon != 0

    def test_its_identity_is_a_text(self, world):
        assert isinstance(identity(world), str) and identity(world) == identity(copy.deepcopy(world))

    def test_the_state_holds_arrays_over_rows_only(self, world):
        state = world.start(EPISODES, 0)
        assert is_dataclass(state)
        for name, value in arrays_of(state).items():
            assert value is None or (isinstance(value, np.ndarray) and len(value) == len(EPISODES)), name

    def test_a_view_has_the_declared_shapes(self, world):
        view = world.view(world.start(EPISODES, 0))
        r, k = len(EPISODES), world.public.n_arms
        assert isinstance(view, View)
        assert view.episode.tolist() == EPISODES.tolist() and view.t.tolist() == [0] * r and view.trial.shape == (r,)
        assert view.legal.shape == (r, k) and view.legal.dtype == np.bool_ and view.legal.any(axis=1).all()
        public = world.public
        assert view.legal.all() or public.variable
        shape = (r, k, public.context_dim) if public.per_arm else (r, public.context_dim)
        assert (view.context is None) == (public.context_dim == 0)
        assert view.context is None or (view.context.shape == shape and np.isfinite(view.context).all())
        assert view.obs is None or (len(view.obs) == r and all(isinstance(text, str) for text in view.obs))

    def test_a_step_has_the_declared_shapes(self, world):
        r = len(EPISODES)
        start = world.start(EPISODES, 0)
        state, outcome, truth = world.step(start, first_legal(world, start))
        assert isinstance(outcome, Outcome) and isinstance(truth, Truth)
        assert outcome.reward.shape == (r,) and outcome.reward.dtype == np.float64
        assert outcome.terminated.shape == outcome.truncated.shape == (r,)
        assert outcome.terminated.dtype == outcome.truncated.dtype == np.bool_
        assert not (outcome.terminated & outcome.truncated).any()
        assert truth.gap.shape == (r,) and truth.best.shape == (r, world.public.slots)
        assert world.view(state).t.tolist() == [1] * r

    def test_it_ends_by_its_horizon(self, world):
        walked = walk(world, world.start(EPISODES, 0))
        assert len(walked) <= world.public.horizon
        for met in by_episode(walked).values():
            ends = [np.frombuffer(cell)[1:3].any() for cell in met]
            assert ends == [False] * (len(ends) - 1) + [True]

    def test_gaps_are_regrets(self, world):
        for _, _, truth in walk(world, world.start(EPISODES, 0)):
            assert (np.isnan(truth.gap) | (truth.gap >= 0)).all()

    def test_the_same_seed_gives_the_same_episodes(self, world):
        first, again = (by_episode(walk(world, world.start(EPISODES, 4))) for _ in range(2))
        assert first == again

    def test_another_seed_gives_others(self, world):
        episodes = np.arange(64)
        one, other = (by_episode(walk(world, world.start(episodes, seed))) for seed in (0, 1))
        assert one != other

    def test_an_episode_does_not_depend_on_its_company(self, world):
        together = by_episode(walk(world, world.start(EPISODES, 0), forfeits=True))
        for e in EPISODES:
            assert by_episode(walk(world, world.start(np.array([e]), 0), forfeits=True)) == {e: together[e]}

    def test_a_copied_state_goes_on_identically(self, world):
        state = world.start(EPISODES, 0)
        for _ in range(2):
            state, outcome, _ = world.step(state, first_legal(world, state))
            if (over := outcome.terminated | outcome.truncated).any():
                state = take(state, ~over)
        saved = copy.deepcopy(state)
        assert by_episode(walk(world, state)) == by_episode(walk(world, saved))

    def test_a_forfeited_step_pays_nothing(self, world):
        start = world.start(EPISODES, 0)
        arms = first_legal(world, start)
        arms[1] = -1
        _, outcome, truth = world.step(start, arms)
        assert np.isnan(outcome.reward).tolist() == (arms[:, 0] < 0).tolist()
        assert np.isnan(truth.gap[1])

    def test_instances_agree_with_steps(self, world):
        instances, r = world.instances(EPISODES, 0), np.arange(len(EPISODES))
        assert isinstance(instances, Instances)
        if instances.means is None:
            return
        assert instances.means.shape == (len(EPISODES), world.public.n_arms)
        highest = np.nanmax(instances.means, axis=1)
        for arm in range(world.public.n_arms):
            start = world.start(EPISODES, 0)
            view = world.view(start)
            there = view.legal[:, arm]
            assert np.isfinite(instances.means[there, arm]).all()
            best = np.nanmax(np.where(view.legal, instances.means, -np.inf), axis=1)
            arms = np.full((len(EPISODES), world.public.slots), arm)
            _, _, truth = world.step(start, np.where(there[:, None], arms, -1))
            assert np.allclose(truth.gap[there], (best - instances.means[:, arm])[there])
        if instances.best_arm is not None:
            assert np.allclose(instances.means[r, instances.best_arm], highest)

    def test_a_row_can_be_put_into_another_batch(self, world):
        """What Gymnasium's vector environments do when an episode ends."""
        state, fresh = world.start(np.arange(4), 0), world.start(np.array([9]), 0)
        state, _, _ = world.step(state, first_legal(world, state))
        put(state, np.array([2]), fresh)
        alone = by_episode(walk(world, world.start(np.array([9]), 0)))
        assert by_episode(walk(world, take(state, np.array([2])))) == alone
