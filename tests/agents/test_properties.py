"""What holds for all algorithms: names of arms and units of reward do not matter, advice is readable, regret grows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icrl.agents import ALGORITHMS, rollout
from icrl.envs import PRESETS, Bandit, Public, UniformMeans

K, STEPS, ROWS = 4, 24, 6
KINDS = {
    "bernoulli": Public("bandit", K, 60, "bernoulli"),
    "gaussian": Public("bandit", K, 60, "gaussian", 1.5),
    "best-arm": Public("best-arm", K, 60, "gaussian", 1.5),
    "disjoint": Public("contextual", K, 60, "gaussian", 1.5, context_dim=3),
    "shared": Public("contextual", K, 60, "gaussian", 1.5, context_dim=3, per_arm=True),
    "two": Public("bandit", 2, 60, "bernoulli"),
    "dueling": Public("dueling", K, 60, "bernoulli", slots=2),
}
ALL = [(name, kind) for name in ALGORITHMS for kind in KINDS if ALGORITHMS[name]().refuses(KINDS[kind]) is None]
EXACT = [
    (name, kind)
    for name, kind in ALL
    if kind != "dueling" and (name, kind) != ("LinThompsonSampling", "shared")  # known by Monte Carlo only
]


def history(kind, seed, steps=STEPS):
    """Arms [T, R, slots], rewards [T, R], contexts [T + 1, R, ...] or None."""
    public, rng = KINDS[kind], np.random.default_rng(seed)
    arms = rng.integers(0, public.n_arms, (steps, ROWS, public.slots))
    rewards = rng.normal(0.5, 1.0, (steps, ROWS))
    shape = (steps + 1, ROWS, public.n_arms, 3) if public.per_arm else (steps + 1, ROWS, 3)
    return arms, (rewards > 0.5) if public.reward == "bernoulli" else rewards, rng.normal(size=shape)


def policy(fold, name, kind, arms, rewards, contexts, scale=1.0, legal=None):
    public = KINDS[kind]
    if scale != 1.0:
        public = Public("bandit", K, 60, "gaussian", 1.5 * scale)
    seen = list(contexts) if public.context_dim else None
    agent = ALGORITHMS[name]()
    state, view = fold(agent, public, list(arms), list(rewards), rows=ROWS, contexts=seen, legal=legal)
    return agent.policy(state, view)[:, 0]


def test_all_algorithms_are_here():
    assert {name for name, _ in ALL} == set(ALGORITHMS)


@settings(max_examples=6)
@given(seed=st.integers(0, 2**31), order=st.permutations(range(K)), some=st.booleans())
@pytest.mark.parametrize(("name", "kind"), EXACT)
def test_names_of_arms_do_not_matter(name, kind, fold, seed, order, some):
    """Arm order[k] of one history is arm k of the other: so are the chances."""
    arms, rewards, contexts = history(kind, seed)
    order = np.array([k for k in order if k < KINDS[kind].n_arms])
    legal = np.isin(np.arange(len(order)), [1, 2]) if some and kind not in ("best-arm", "two") else None
    theirs = contexts[:, :, order] if KINDS[kind].per_arm else contexts
    if name == "SuccessiveHalving" and KINDS[kind].reward == "bernoulli":
        return  # ties were drawn on the way
    before = policy(fold, name, kind, arms, rewards, contexts, legal=legal)
    moved = None if legal is None else legal[order]
    after = policy(fold, name, kind, np.argsort(order)[arms], rewards, theirs, legal=moved)
    assert after == pytest.approx(before[:, order], abs=1e-6)


SCALE_AWARE = ("ThompsonSampling", "KLUCB", "MOSS", "DiscountedThompson", "Greedy", "MostLikelyBest", "EmpiricalMean")


@settings(max_examples=6)
@given(seed=st.integers(0, 2**31), scale=st.sampled_from([1e-3, 0.2, 7.0, 1e4]))
@pytest.mark.parametrize("name", SCALE_AWARE)
def test_units_of_reward_do_not_matter(name, fold, seed, scale):
    """Rewards in cents, and their noise too."""
    arms, rewards, contexts = history("gaussian", seed)
    before = policy(fold, name, "gaussian", arms, rewards, contexts)
    after = policy(fold, name, "gaussian", arms, rewards * scale, contexts, scale=scale)
    assert after == pytest.approx(before, abs=1e-5)


def test_units_of_reward_matter_to_others(fold):
    """So the test above can fail: UCB believes that rewards lie in [0, 1]."""
    arms, rewards, contexts = history("gaussian", 1)
    before = policy(fold, "UCB", "gaussian", arms, rewards, contexts)
    after = policy(fold, "UCB", "gaussian", arms, rewards * 1e4, contexts, scale=1e4)
    assert (before != after).any()


@pytest.mark.parametrize("steps", [0, 3, 40])
@pytest.mark.parametrize(("name", "kind"), ALL)
def test_advice_is_readable_and_agrees_with_the_history(name, kind, steps, fold):
    arms, rewards, contexts = history(kind, 3, steps)
    public, agent = KINDS[kind], ALGORITHMS[name]()
    seen = list(contexts) if public.context_dim else None
    state, view = fold(agent, public, list(arms), list(rewards), rows=ROWS, contexts=seen)
    advice = agent.advise(state, view)
    assert {"value", "count"} <= set(advice) <= {"value", "count", "bonus", "low", "high", "best", "rank"}
    for cells in advice.values():
        assert cells.shape == (ROWS, public.n_arms) and cells.dtype == np.float64 and not np.isinf(cells).any()
    played = (arms[:, :, :1] == np.arange(public.n_arms)) * 1.0 if public.slots == 1 else None
    if "Discounted" in name or played is None:
        return  # of those and of duels: their own files
    assert (advice["count"] == played.sum(axis=0)).all()  # the sliding window is longer than this history
    tried = played.sum(axis=0) > 0
    mean = (played * rewards[:, :, None]).sum(axis=0)[tried] / played.sum(axis=0)[tried]
    unknown = np.nan
    if ("Thompson" in name or "MostLikely" in name) and public.reward == "bernoulli":
        n, wins = played.sum(axis=0)[tried], (played * rewards[:, :, None]).sum(axis=0)[tried]
        mean, unknown = (wins + 1) / (n + 2), 0.5
    if name not in ("EXP3", "LinUCB", "LinThompsonSampling"):  # a probability; estimates for this context
        assert advice["value"][tried] == pytest.approx(mean)
        assert np.array_equal(advice["value"][~tried], np.full((~tried).sum(), unknown), equal_nan=True)
    if "low" in advice:
        known = np.isfinite(advice["low"])
        assert (advice["low"][known] < advice["value"][known]).all()
        assert (advice["value"][known] < advice["high"][known]).all()


TASKS = {name: task for name, (task, _) in PRESETS.items() if not name.startswith(("evolve", "movielens"))}
TASKS["two"] = Bandit(n_arms=2, horizon=40, means=UniformMeans())


@pytest.mark.parametrize("name", ALGORITHMS)
def test_regret_never_decreases(name):
    """Whatever the task, the gap of a step is not negative, and somewhere it is positive."""
    played = 0
    for task in TASKS.values():
        agent, slow = ALGORITHMS[name](), name == "MostLikelyBest"
        task = task.model_copy(update={"horizon": 5 if slow else 20}) if hasattr(task, "horizon") else task
        if agent.refuses(task.public) is None and not (slow and task.public.n_arms > 4):
            regret = rollout(agent, task, episodes=16).gap.cumsum(axis=1)
            assert (np.diff(regret, axis=1) >= -1e-12).all() and regret.max() > 0
            played += 1
    assert played
