"""The world: tasks, luck, the shared types, `Episodes`."""

from icrl.envs.bandit import Bandit, Bernoulli, Fixed, Gap, Gaussian, NormalMeans, UniformMeans
from icrl.envs.episodes import Episodes, join
from icrl.envs.presets import PRESETS, make
from icrl.envs.types import Choice, Instances, Outcome, Public, Truth, View, World

__all__ = [
    "PRESETS",
    "Bandit",
    "Bernoulli",
    "Choice",
    "Episodes",
    "Fixed",
    "Gap",
    "Gaussian",
    "Instances",
    "NormalMeans",
    "Outcome",
    "Public",
    "Truth",
    "UniformMeans",
    "View",
    "World",
    "join",
    "make",
]
