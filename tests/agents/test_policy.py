"""The stated policy is that which is played: exact ones by chi-square, estimated ones as two samples of one policy."""

import numpy as np
import pytest
from scipy import stats

from icrl.agents import ALGORITHMS, Stating, rollout
from icrl.agents.classical import sampled
from icrl.envs import (
    ActionSets,
    Bandit,
    BestArm,
    BradleyTerry,
    Contexts,
    Dueling,
    Gap,
    Gaussian,
    Linear,
    NormalMeans,
    UniformMeans,
)

DRAWS, ROWS = 1500, (0, 3, 77, 200)
SLEEPING = ActionSets(n_arms=5, horizon=60, means=UniformMeans(), fewest=3, present=0.7)
NOISY = ActionSets(n_arms=4, horizon=60, means=NormalMeans(), noise=Gaussian(sd=1.0), fewest=3, present=0.8)
BEST = BestArm(n_arms=5, horizon=60, means=UniformMeans())
TWO = Bandit(n_arms=2, horizon=60, means=Gap(best=0.6, gap=0.2))
TABLE = Contexts(n_arms=4, horizon=60, means=UniformMeans())
DUELS = Dueling(n_arms=4, horizon=60, preferences=BradleyTerry(strengths=NormalMeans()))
FEATURES = Linear(n_arms=5, horizon=60, dim=3, shared=True)
CONTEXTS = Linear(n_arms=5, horizon=60, dim=3)

FIELDS = {"EpsilonGreedy": {"epsilon": 0.4}, "Boltzmann": {"temperature": 0.3}, "Stubborn": {"stay": 0.6}}
CASES = [(ALGORITHMS[name](**FIELDS.get(name, {})), SLEEPING) for name in ALGORITHMS]
CASES = [(agent, task) for agent, task in CASES if agent.refuses(task.public) is None]
CASES += [
    (ALGORITHMS["EpsilonGreedy"](epsilon=0.9, decay=5.0), SLEEPING),
    (ALGORITHMS["ThompsonSampling"](), NOISY),
    (ALGORITHMS["ThompsonSampling"](prior=(0.5, 1.0)), NOISY),
    (ALGORITHMS["ThompsonSampling"](variance="unknown"), NOISY),
    (ALGORITHMS["DiscountedThompson"](discount=0.9), NOISY),
    (ALGORITHMS["MostLikelyBest"](), NOISY),
    (ALGORITHMS["BayesOptimal"](), TWO),
    (ALGORITHMS["SuccessiveHalving"](), BEST),
    (ALGORITHMS["TopTwoThompson"](), BEST),
    (ALGORITHMS["TopTwoThompson"](leader=0.2), BEST),
    (ALGORITHMS["LinUCB"](), TABLE),
    (ALGORITHMS["LinUCB"](), FEATURES),
    (ALGORITHMS["LinThompsonSampling"](), CONTEXTS),
    (ALGORITHMS["LinThompsonSampling"](scale=0.5), TABLE),
    (ALGORITHMS["LinThompsonSampling"](), FEATURES),
    (ALGORITHMS["RUCB"](), DUELS),
    (ALGORITHMS["DoubleThompson"](), DUELS),
]
IDS = [f"{agent!r}-{task.kind}" for agent, task in CASES]


def estimated(agent, task):
    """Whether the policy is known by Monte Carlo only."""
    return task is DUELS or (task is FEATURES and type(agent).__name__ == "LinThompsonSampling")


def test_every_algorithm_is_here():
    assert {type(agent).__name__ for agent, _ in CASES} == set(ALGORITHMS)


@pytest.mark.parametrize("steps", [2, 31, 59])
@pytest.mark.parametrize(("agent", "task"), CASES, ids=IDS)
def test_policy_is_the_frequency_of_picks(agent, task, steps, midway, copies):
    slow = type(agent).__name__ == "MostLikelyBest"  # a quadrature in each row
    state, view = midway(agent, task, min(steps, 15) if slow else steps)
    draws = 150 if slow else DRAWS
    first, there = copies(agent, state, view, ROWS, 1)
    policy = agent.policy(first, there, draws)
    arms = agent.pick(*(many := copies(agent, state, view, ROWS, draws)), many[0].dice)
    k = task.public.n_arms
    assert policy.shape == (len(ROWS), task.public.slots, k)
    assert policy.sum(axis=2) == pytest.approx(1.0) and (policy >= 0).all()
    assert (policy[np.broadcast_to(~there.legal[:, None], policy.shape)] == 0).all()
    counts = (arms.reshape(len(ROWS), draws, -1, 1) == np.arange(k)).sum(axis=1)
    total, freedom = 0.0, 0
    for p, n in zip(policy.reshape(-1, k), counts.reshape(-1, k), strict=True):
        rare = p * draws < 5  # of these all together
        if estimated(agent, task):
            cells = p * draws + n > 0
            if cells.sum() > 1:
                found = stats.chi2_contingency(np.stack([p[cells] * draws, n[cells]]), correction=False)
                total, freedom = total + found.statistic, freedom + found.dof
            continue
        assert (n[p == 0] == 0).all()
        assert n[rare].sum() <= p[rare].sum() * draws + 4 * np.sqrt(p[rare].sum() * draws) + 3
        expected = p[~rare] / p[~rare].sum() * n[~rare].sum()
        total, freedom = total + ((n[~rare] - expected) ** 2 / expected).sum(), freedom + (~rare).sum() - 1
    assert freedom == 0 or stats.chi2.sf(total, freedom) > 1e-4


@pytest.mark.parametrize(
    ("agent", "task"), [(a, t) for a, t in CASES if not estimated(a, t) and "Likely" not in repr(a)][:20:3]
)
def test_estimates_by_draws_are_within_their_standard_error(agent, task, midway):
    """`sampled`, which estimates any policy, against the exact one."""
    state, view = midway(agent, task, 20)
    exact, estimate = agent.policy(state, view), sampled(agent, state, view, 200)
    off = (estimate - exact) / np.sqrt(np.maximum(exact * (1 - exact), 1e-3) / 200)
    drawn = (exact > 0.02) & (exact < 0.98)
    if drawn.sum() > 100:
        assert abs(off[drawn].std() - 1) < 0.15 and abs(off[drawn].mean()) < 0.15
    assert estimate[~drawn] == pytest.approx(exact[~drawn], abs=0.07)


def test_asking_for_a_policy_disturbs_nothing(midway):
    for agent, task in ((ALGORITHMS["LinThompsonSampling"](), FEATURES), (ALGORITHMS["RUCB"](), DUELS)):
        plain = rollout(agent, task, episodes=256)
        stated = rollout(Stating(agent, draws=5), task, episodes=256)
        assert (plain.arms == stated.arms).all() and (plain.rewards == stated.rewards).all()
        assert plain.probs is None and stated.probs.shape == (256, 60, *[2] * (task is DUELS), task.public.n_arms)


@pytest.mark.parametrize("name", ["Uniform", "EpsilonGreedy", "Boltzmann", "EXP3"])
def test_stated_probabilities_weigh_what_was_played(name):
    """The mean of 1 / p(arm) is the number of arms that can be played: here, of those that are there."""
    runs = rollout(Stating(ALGORITHMS[name](**FIELDS.get(name, {}))), SLEEPING, episodes=1024)
    p = np.take_along_axis(runs.probs, runs.arms[..., None], axis=2)[..., 0]
    support = (runs.probs > 0).sum(axis=2)
    off = (1 / p - support).mean(axis=1)
    assert abs(off.mean()) <= 4 * off.std() / np.sqrt(1024)
    assert (support[:, 20:] == runs.legal[:, 20:].sum(axis=2)).mean() > 0.7
