"""The world: tasks, luck, the shared types, `Episodes`."""

from icrl.envs.bandit import Bandit, BestArm
from icrl.envs.dueling import BradleyTerry, Dueling, Matrix
from icrl.envs.episodes import Episodes, join
from icrl.envs.linear import Linear
from icrl.envs.means import Fixed, Gap, NormalMeans, UniformMeans
from icrl.envs.mixture import Part, TaskMixture
from icrl.envs.movielens import MovieLens
from icrl.envs.moving import Drifting, Switching
from icrl.envs.noise import Bernoulli, Gaussian
from icrl.envs.presets import PRESETS, make
from icrl.envs.sets import ActionSets
from icrl.envs.table import Contexts
from icrl.envs.tasks import KINDS, Task, task_from
from icrl.envs.trials import Trials
from icrl.envs.types import Choice, Instances, Outcome, Public, Truth, View, World

__all__ = [
    "KINDS",
    "PRESETS",
    "ActionSets",
    "Bandit",
    "Bernoulli",
    "BestArm",
    "BradleyTerry",
    "Choice",
    "Contexts",
    "Drifting",
    "Dueling",
    "Episodes",
    "Fixed",
    "Gap",
    "Gaussian",
    "Instances",
    "Linear",
    "Matrix",
    "MovieLens",
    "NormalMeans",
    "Outcome",
    "Part",
    "Public",
    "Switching",
    "Task",
    "TaskMixture",
    "Trials",
    "Truth",
    "UniformMeans",
    "View",
    "World",
    "join",
    "make",
    "task_from",
]
