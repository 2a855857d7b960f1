"""Named tasks of the literature, for `icrl.make` and `icrl envs`."""

from __future__ import annotations

from typing import Any

from icrl.envs.bandit import Bandit, BestArm
from icrl.envs.dueling import BradleyTerry, Dueling, Matrix
from icrl.envs.linear import Linear
from icrl.envs.means import Fixed, Gap, NormalMeans, UniformMeans
from icrl.envs.mixture import Part, TaskMixture
from icrl.envs.movielens import MovieLens
from icrl.envs.moving import Drifting, Switching
from icrl.envs.noise import Bernoulli, Gaussian
from icrl.envs.sets import ActionSets
from icrl.envs.spec import checked, nearest
from icrl.envs.table import Contexts
from icrl.envs.tasks import Task
from icrl.envs.trials import Trials

_EASY, _HARD = Gap(best=0.75, gap=0.5), Gap(best=0.6, gap=0.2)
_EVOLVE = {"easy": (_EASY, 1.0, 300), "hard": (_HARD, 3.0, 1000)}  # means and noise of the two families, horizon
_FLAT, _UNIT, _HALF = UniformMeans(), NormalMeans(), NormalMeans(sd=0.5**0.5)
_CYCLE = (  # arm 0 beats three others, but loses to arm 4, which loses to the rest
    (0.5, 0.7, 0.7, 0.7, 0.3),
    (0.3, 0.5, 0.7, 0.3, 0.8),
    (0.3, 0.3, 0.5, 0.7, 0.8),
    (0.3, 0.7, 0.3, 0.5, 0.8),
    (0.7, 0.2, 0.2, 0.2, 0.5),
)

PRESETS: dict[str, tuple[Task, str]] = {
    "bernoulli-hard": (
        Bandit(n_arms=5, horizon=100, means=_HARD),
        "Krishnamurthy et al. 2024, hard: one arm 0.6, four arms 0.4",
    ),
    "bernoulli-easy": (
        Bandit(n_arms=4, horizon=100, means=_EASY),
        "Krishnamurthy et al. 2024, easy: one arm 0.75, three arms 0.25",
    ),
    "dpt-bernoulli": (Bandit(n_arms=5, horizon=500, means=_FLAT), "Lee et al. 2023 (DPT): means from U(0, 1)"),
    "dpt-gaussian": (
        Bandit(n_arms=5, horizon=500, means=_FLAT, noise=Gaussian(sd=0.3)),
        "Lee et al. 2023 (DPT): means from U(0, 1), noise of sd 0.3",
    ),
    "dpt-linear": (
        Linear(
            n_arms=10, horizon=200, dim=2, shared=True, weights=_HALF, contexts=_HALF, drawn="task",
            noise=Gaussian(sd=0.3),
        ),
        "Lee et al. 2023 (DPT): 10 arms with fixed features of 2 dimensions, noise of sd 0.3",
    ),
    "lin-bai-mei": (
        Linear(
            n_arms=10, horizon=200, dim=5, shared=True, weights=_FLAT, contexts=UniformMeans(low=-1, high=1),
            drawn="episode", noise=Gaussian(sd=1.5),
        ),
        "Lin, Bai and Mei 2023: 10 arms with features of 5 dimensions in each episode, noise of sd 1.5",
    ),
    "linear": (
        Linear(n_arms=5, horizon=500, dim=5, noise=Gaussian(sd=0.5)),
        "the setting of LinUCB: a new context of 5 dimensions at each step, weights per arm",
    ),
    "contexts": (
        Contexts(n_arms=4, horizon=300, means=_FLAT, n_contexts=3),
        "three contexts, each with means of its own from U(0, 1)",
    ),
    "switching": (
        Switching(n_arms=4, horizon=400, means=_FLAT, changes=3),
        "Bernoulli arms whose means are all drawn anew at three steps of an episode",
    ),
    "drifting": (
        Drifting(n_arms=4, horizon=400, means=_FLAT, drift=0.03),
        "Bernoulli arms whose means take a step of sd 0.03 at every step, reflected at 0 and 1",
    ),
    "dueling": (
        Dueling(n_arms=5, horizon=500, preferences=BradleyTerry(strengths=_UNIT)),
        "preferences between two arms, by Bradley-Terry strengths from N(0, 1)",
    ),
    "dueling-cycle": (
        Dueling(n_arms=5, horizon=500, preferences=Matrix(values=_CYCLE)),
        "preferences that go in circles: one arm beats most others, none beats all",
    ),
    "best-arm": (
        BestArm(n_arms=8, horizon=201, means=Fixed(values=(0.6, 0.5, 0.5, 0.5, 0.4, 0.4, 0.3, 0.3))),
        "name the best of 8 arms after 200 pulls; only that last choice counts",
    ),
    "headless": (
        ActionSets(n_arms=20, horizon=300, means=_FLAT, fewest=4),
        "4 to 20 arms, after Sinii et al. 2023 (Headless-AD), with means from U(0, 1)",
    ),
    "sleeping": (
        ActionSets(n_arms=6, horizon=300, means=_FLAT, fewest=6, present=0.6),
        "six arms, of which each is there at 60 % of the steps",
    ),
    "movielens-k10": (
        MovieLens(n_arms=10, horizon=200),
        "which of 10 movies to recommend to each new user; made-up ratings unless folder= names MovieLens files",
    ),
    "movielens-k30": (
        MovieLens(n_arms=30, horizon=1000),
        "which of 30 movies to recommend to each new user; made-up ratings unless folder= names MovieLens files",
    ),
    "easy-or-hard": (
        TaskMixture(
            parts=(
                Part(weight=0.5, task=Bandit(n_arms=4, horizon=100, means=_EASY)),
                Part(weight=0.5, task=Bandit(n_arms=5, horizon=100, means=_HARD)),
            )
        ),
        "bernoulli-easy or bernoulli-hard, as likely",
    ),
    "trials": (
        Trials(task=Bandit(n_arms=4, horizon=20, means=_EASY), games=3),
        "three games in one episode, 20 steps each: one arm 0.75, three arms 0.25, anew in each game",
    ),
}  # fmt: skip
for _level, (_gap, _sd, _horizon) in _EVOLVE.items():  # Nie et al. 2024 (arXiv 2410.06238)
    for _k in (5, 20):
        PRESETS[f"evolve-bernoulli-k{_k}-{_level}"] = (
            Bandit(n_arms=_k, horizon=_horizon, means=_gap, noise=Bernoulli()),
            f"EVOLvE, {_level}: one arm {_gap.best:g}, the others {_gap.best - _gap.gap:g}",
        )
        PRESETS[f"evolve-gaussian-k{_k}-{_level}"] = (
            Bandit(n_arms=_k, horizon=_horizon, means=NormalMeans(sd=_sd), noise=Gaussian(sd=_sd)),
            f"EVOLvE, {_level}: means drawn from N(0, {_sd:g}), noise of sd {_sd:g}",
        )


def make(name: str, /, **overrides: Any) -> Task:
    """A task by name, with some of its fields replaced.

    Args:
        name: One of `PRESETS` (`icrl envs` lists them).
        **overrides: Fields of that task, e.g. `horizon=500`; checked like any other.

    Raises:
        ValueError: The name is unknown (the nearest is suggested) or a field has a bad value.
    """
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(
            f"task: unknown preset {name!r}{nearest(str(name), PRESETS)} Known: {', '.join(sorted(PRESETS))}"
        )
    task, _ = PRESETS[name]
    return checked(type(task), task.model_dump() | overrides, name)
