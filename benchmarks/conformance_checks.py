"""The checks behind docs/conformance.md: one function per source, each gives rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from icrl import metrics
from icrl.agents import (
    KLUCB,
    LCB,
    UCB,
    BayesOptimal,
    EmpiricalMean,
    EpsilonMix,
    Greedy,
    SuccessiveHalving,
    ThompsonSampling,
    Uniform,
    recommend,
    rollout,
)
from icrl.agents.base import AnyAgent
from icrl.agents.bayes import gittins, value
from icrl.envs import Bandit, Episodes, Fixed, Gap, Gaussian, Task, UniformMeans, make
from icrl.stats import lai_robbins

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Check:
    """One row."""

    source: str
    what: str
    n: int
    ours: str
    theirs: str
    agrees: bool


def near(source: str, what: str, ours: Values, theirs: float, error: float) -> Check:
    """Whether a mean lies within four standard errors of a published one that has a standard error itself."""
    mean, own = float(ours.mean()), float(ours.std(ddof=1) / np.sqrt(len(ours)))
    agrees = abs(mean - theirs) <= 4 * np.hypot(own, error)
    return Check(source, what, len(ours), f"{mean:.4g} ± {own:.2g}", f"{theirs:g} ± {error:.2g}", bool(agrees))


def within(source: str, what: str, n: int, ours: float, low: float, high: float) -> Check:
    """Whether a number lies in an interval."""
    return Check(source, what, n, f"{ours:.4g}", f"{low:g} to {high:g}", low <= ours <= high)


def regret(agent: AnyAgent, task: Task, n: int, t: int | None = None) -> Values:
    """[N] pseudo-regret after t steps."""
    found: Values = metrics.pseudo_regret(rollout(agent, task, episodes=n))[:, -1 if t is None else t - 1]
    return found


def krishnamurthy() -> Iterator[Check]:
    """The baselines on the hard instance."""
    published = {  # SuffFail(T/2), K MinFrac, GreedyFrac, of 1000 episodes
        "Thompson sampling": (ThompsonSampling(), 0.01, 0.28, 0.62),
        "UCB, c = 1": (UCB(c=1.0), 0.02, 0.18, 0.76),
        "Greedy": (Greedy(), 0.48, 0.05, 1.00),
    }
    for name, (agent, *values) in published.items():
        runs = rollout(agent, make("bernoulli-hard"), episodes=20_000)
        measures = (metrics.suffix_failure, metrics.min_frac, metrics.greedy_frac)
        for measure, theirs in zip(measures, values, strict=True):
            ours = measure(runs).astype(np.float64)
            error = float(np.hypot(ours.std() / np.sqrt(1000), 0.005))  # printed with two decimals
            yield near("Krishnamurthy et al. 2024, hard", f"{name}: {measure.__name__}", ours, theirs, error)


def evolve() -> Iterator[Check]:
    """EVOLvE's algorithms, run from its own code: 200 episodes of UCB, 10 to 40 of Thompson sampling."""
    published = {
        "bernoulli-k5-easy": ((16.90, 0.31), (14.86, 1.01)),
        "bernoulli-k5-hard": ((39.69, 0.81), (32.56, 4.59)),
        "bernoulli-k20-easy": ((72.67, 0.77), (65.88, 3.60)),
        "bernoulli-k20-hard": ((139.59, 1.24), (131.54, 7.49)),
    }
    for name, (ucb, thompson) in published.items():
        task = make(f"evolve-{name}")
        yield near("banditbench 0.0.8", f"UCB(alpha=0.5), {name}", regret(UCB(alpha=0.5), task, 2048), *ucb)
        yield near("banditbench 0.0.8", f"Thompson sampling, {name}", regret(ThompsonSampling(), task, 1024), *thompson)
    fixed = {
        "gaussian-k5-easy": ((0.905, 0.346, 0.822, 0.330, -1.303), 1.0, 300, (21.51, 0.91)),
        "gaussian-k5-hard": ((2.716, 1.037, 2.465, 0.991, -3.909), 3.0, 1000, (179.84, 19.70)),
    }
    for name, (means, sd, horizon, theirs) in fixed.items():
        task = Bandit(n_arms=5, horizon=horizon, means=Fixed(values=means), noise=Gaussian(sd=sd))
        yield near("banditbench 0.0.8", f"UCB(alpha=0.5), {name}", regret(UCB(alpha=0.5), task, 2048), *theirs)


def dpt() -> Iterator[Check]:
    """The baselines of DPT's bandits, from 500 simulated tasks, at T = 50 and 100."""
    rows: dict[str, list[tuple[str, AnyAgent, float, float]]] = {
        "gaussian": [
            ("Thompson sampling, prior N(0.5, 1/12)", ThompsonSampling(prior=(0.5, (1 / 12) ** 0.5)), 4.7, 5.9),
            ("UCB, 1/sqrt(n)", UCB(c=1.0), 5.3, 6.9),
            ("UCB1", UCB(), 10.5, 17.6),
            ("greedy, forced start", Greedy(), 3.6, 5.2),
            ("epsilon-greedy, 0.1, from means of 0", EpsilonMix(LCB(c=1e-12), 0.1), 9.1, 13.6),
            ("LCB, online", LCB(), 14.9, 29.8),
            ("random", Uniform(), 16.7, 33.7),
        ],
        "bernoulli": [
            ("Thompson sampling, Beta(1, 1)", ThompsonSampling(), 6.3, 8.3),
            ("UCB, 1/sqrt(n)", UCB(c=1.0), 5.2, 6.7),
            ("UCB1", UCB(), 10.5, 17.4),
            ("greedy, forced start", Greedy(), 4.3, 6.1),
            ("random", Uniform(), 16.9, 33.5),
        ],
    }
    for family, agents in rows.items():
        for name, agent, *theirs in agents:
            curve = metrics.pseudo_regret(rollout(agent, make(f"dpt-{family}", horizon=100), episodes=4096))
            for t, number in zip((50, 100), theirs, strict=True):
                ours = curve[:, t - 1]
                yield near(f"DPT, {family}, T = {t}", name, ours, number, float(ours.std() / np.sqrt(500)))


@dataclass(frozen=True)
class Expert:
    """Writes logs: with probability `share` the best arm, else arms by weights drawn for each episode."""

    share: float

    def log(self, task: Task, n: int) -> Episodes:
        """N episodes; the best arms are taken from the truth, as no agent could."""
        runs = rollout(Uniform(), task, episodes=n)
        rng = np.random.default_rng(0)
        assert runs.best_arm is not None and runs.means is not None
        weights = rng.dirichlet(np.ones(task.public.n_arms), n)
        shape = runs.arms.shape
        drawn = (rng.random((*shape, 1)) > weights.cumsum(axis=1)[:, None]).sum(axis=2)
        arms = np.where(rng.random(shape) < self.share, runs.best_arm[:, None], drawn)
        means = np.take_along_axis(runs.means, arms, axis=1)
        return replace(runs, arms=arms, rewards=means + 0.3 * rng.standard_normal(shape), gap=runs.gap)


def offline() -> Iterator[Check]:
    """LCB against the empirical mean on logs of 200 steps: better near an expert, worse on exploratory logs."""
    task, rows = make("dpt-gaussian", horizon=200), np.arange(4096)
    gaps: dict[float, list[Values]] = {}
    for share in (0.5, 0.0):
        log = Expert(share).log(task, len(rows))
        assert log.means is not None
        best = log.means.max(axis=1)
        gaps[share] = [best - log.means[rows, recommend(agent, log)] for agent in (LCB(), EmpiricalMean())]
    for share, theirs in ((0.5, (0.0001, 0.0141)), (0.0, (0.0301, 0.0164))):
        for name, ours, number in zip(("LCB", "empirical mean"), gaps[share], theirs, strict=True):
            what = f"{name}, {share:.0%} expert: suboptimality"
            yield near("offline logs, H = 200", what, ours, number, float(ours.std() / np.sqrt(500)))
    for share, sign, word in ((0.5, 1, "better"), (0.0, -1, "worse")):
        pessimist, empirical = gaps[share]
        lead = sign * (empirical - pessimist)
        z = float(lead.mean() / (lead.std() / np.sqrt(len(lead))))
        yield within("the two cross", f"LCB {word} at {share:.0%} expert, in standard errors", len(rows), z, 4, np.inf)


def lai_and_robbins() -> Iterator[Check]:
    """The slope of regret in ln T over the constant of Lai and Robbins, from T = 3,000 to 30,000."""
    agents: tuple[tuple[str, AnyAgent], ...] = (("KL-UCB", KLUCB()), ("Thompson sampling", ThompsonSampling()))
    for best, gap in ((0.9, 0.8), (0.75, 0.5), (0.6, 0.2)):
        task = Bandit(n_arms=5, horizon=30_000, means=Gap(best=best, gap=gap))
        for name, agent in agents:
            runs = rollout(agent, task, episodes=512)
            curve = metrics.pseudo_regret(runs)
            slope = (curve[:, -1] - curve[:, 2999]).mean() / np.log(10)
            ratio = float(slope / lai_robbins(runs).mean())
            what = f"{name}, best {best}, gap {gap}: slope of regret / constant"
            yield within("Lai and Robbins 1985", what, 512, ratio, 0.6, 1.1)


def optimal() -> Iterator[Check]:
    """Bayes-optimal play and Gittins indices."""
    for discount, number in ((0.9, 0.7029), (0.99, 0.8699)):
        ours = float(gittins(discount)[0, 0])
        what = f"index of Beta(1, 1), discount {discount}"
        yield within("Gittins 1989", what, 1, ours, number - 1e-3, number + 1e-3)
    task = Bandit(n_arms=2, horizon=50, means=UniformMeans())
    ours = rollout(BayesOptimal(), task, episodes=20_000).rewards.sum(axis=1)
    yield near("dynamic programming", "Bayes-optimal, 2 arms, T = 50: reward", ours, round(value(50), 4), 0.0)


def halving() -> Iterator[Check]:
    """The probability of error of sequential halving and its bound."""
    task = make("best-arm", horizon=40_001)  # with fewer pulls the bound is 1
    runs = rollout(SuccessiveHalving(), task, episodes=512)
    assert runs.means is not None
    gaps = np.sort(runs.means.max(axis=1, keepdims=True) - runs.means, axis=1)[0]
    k, budget = len(gaps), (task.public.horizon or 1) - 1
    hardness = max(i / gaps[i - 1] ** 2 for i in range(2, k + 1))
    bound = round(float(3 * np.log2(k) * np.exp(-budget / (8 * hardness * np.log2(k)))), 3)
    error = float(metrics.error(runs).mean())
    what = "sequential halving, best-arm, T = 40,001: probability of error"
    yield within("Karnin et al. 2013", what, 512, error, 0, bound)


PARTS: tuple[Callable[[], Iterator[Check]], ...] = (
    krishnamurthy, evolve, dpt, offline, lai_and_robbins, optimal, halving,
)  # fmt: skip
