"""Named tasks of the literature, for `icrl.make` and `icrl envs`."""

from __future__ import annotations

from typing import Any

from icrl.envs.bandit import Bandit, Bernoulli, Gap, Gaussian, NormalMeans
from icrl.envs.spec import checked, nearest

_EVOLVE = {  # difficulty: (means and noise of the two families, horizon), Nie et al. 2024 (arXiv 2410.06238)
    "easy": (Gap(best=0.75, gap=0.5), 1.0, 300),
    "hard": (Gap(best=0.6, gap=0.2), 3.0, 1000),
}

PRESETS: dict[str, tuple[Bandit, str]] = {
    "bernoulli-hard": (
        Bandit(n_arms=5, horizon=100, means=Gap(best=0.6, gap=0.2)),
        "Krishnamurthy et al. 2024, hard: one arm 0.6, four arms 0.4",
    ),
    "bernoulli-easy": (
        Bandit(n_arms=4, horizon=100, means=Gap(best=0.75, gap=0.5)),
        "Krishnamurthy et al. 2024, easy: one arm 0.75, three arms 0.25",
    ),
}
for _level, (_gap, _sd, _horizon) in _EVOLVE.items():
    for _k in (5, 20):
        PRESETS[f"evolve-bernoulli-k{_k}-{_level}"] = (
            Bandit(n_arms=_k, horizon=_horizon, means=_gap, noise=Bernoulli()),
            f"EVOLvE, {_level}: one arm {_gap.best:g}, the others {_gap.best - _gap.gap:g}",
        )
        PRESETS[f"evolve-gaussian-k{_k}-{_level}"] = (
            Bandit(n_arms=_k, horizon=_horizon, means=NormalMeans(sd=_sd), noise=Gaussian(sd=_sd)),
            f"EVOLvE, {_level}: means drawn from N(0, {_sd:g}), noise of sd {_sd:g}",
        )


def make(name: str, **overrides: Any) -> Bandit:
    """A task by name, with some of its fields replaced.

    Args:
        name: One of `PRESETS` (`icrl envs` lists them).
        **overrides: Fields of `Bandit`, e.g. `horizon=500`; checked like any other.

    Raises:
        ValueError: The name is unknown (the nearest is suggested) or a field has a bad value.
    """
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(
            f"task: unknown preset {name!r}{nearest(str(name), PRESETS)} Known: {', '.join(sorted(PRESETS))}"
        )
    task, _ = PRESETS[name]
    return checked(Bandit, task.model_dump() | overrides, name)
