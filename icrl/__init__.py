"""In-context reinforcement learning with language-model agents.

Names are imported when they are first used, so `import icrl` costs nothing, and tasks and classical agents load
neither torch nor transformers.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from icrl import metrics, stats
    from icrl.agents import (
        UCB,
        EpsilonGreedy,
        Greedy,
        LinThompsonSampling,
        LinUCB,
        LLMAgent,
        Steering,
        ThompsonSampling,
        Uniform,
        fit_east,
        recommend,
        replay,
        rollout,
    )
    from icrl.envs import Bandit, Episodes, make
    from icrl.experiments.compare import compare
    from icrl.experiments.distilling import distill
    from icrl.experiments.reinforcing import reinforce
    from icrl.models import ServerLost, ServerSettings, SteeringVector, load_model
    from icrl.prompts import Prompt

__version__ = "0.1.0"
_HOMES = {
    "icrl.agents": (
        *("UCB", "EpsilonGreedy", "Greedy", "LLMAgent", "LinThompsonSampling", "LinUCB", "ThompsonSampling", "Uniform"),
        *("Steering", "fit_east", "recommend", "replay", "rollout"),
    ),
    "icrl.envs": ("Bandit", "Episodes", "make"),
    "icrl.experiments": ("compare",),
    "icrl.experiments.distilling": ("distill",),
    "icrl.experiments.reinforcing": ("reinforce",),
    "icrl.models": ("ServerLost", "ServerSettings", "SteeringVector", "load_model"),
    "icrl.prompts": ("Prompt",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "UCB",
    "Bandit",
    "Episodes",
    "EpsilonGreedy",
    "Greedy",
    "LLMAgent",
    "LinThompsonSampling",
    "LinUCB",
    "Prompt",
    "ServerLost",
    "ServerSettings",
    "Steering",
    "SteeringVector",
    "ThompsonSampling",
    "Uniform",
    "compare",
    "distill",
    "fit_east",
    "load_model",
    "make",
    "metrics",
    "recommend",
    "reinforce",
    "replay",
    "rollout",
    "stats",
]


def __getattr__(name: str) -> Any:
    if name in ("metrics", "stats"):
        return import_module(f"icrl.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'icrl' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


if "gymnasium" in sys.modules:  # it has no plugins: packages register their environments when they are imported
    import_module("icrl.envs.gym")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
