"""All tasks that come with icrl, as one type: what an experiment file may hold, told apart by `kind`."""

from __future__ import annotations

from typing import Any

from icrl.envs.bandit import Bandit, BestArm
from icrl.envs.dueling import Dueling
from icrl.envs.linear import Linear
from icrl.envs.mixture import Part, TaskMixture
from icrl.envs.movielens import MovieLens
from icrl.envs.moving import Drifting, Switching
from icrl.envs.sets import ActionSets
from icrl.envs.spec import check_keys, checked, nearest
from icrl.envs.table import Contexts
from icrl.envs.trials import Trials

Task = (
    Bandit
    | BestArm
    | Switching
    | Drifting
    | ActionSets
    | Linear
    | Contexts
    | Dueling
    | MovieLens
    | TaskMixture
    | Trials
)
KINDS: dict[str, type[Task]] = {
    str(task.model_fields["kind"].default): task
    for task in (
        Bandit, BestArm, Switching, Drifting, ActionSets, Linear, Contexts, Dueling, MovieLens, TaskMixture,
        Trials,
    )
}  # fmt: skip

Part.model_rebuild(_types_namespace={"Task": Task})
TaskMixture.model_rebuild()


def task_from(fields: dict[str, Any], where: str = "task") -> Task:
    """A task from its fields; without `kind` it is a stationary bandit.

    Raises:
        ValueError: The kind or a field is unknown, or a value out of range.
    """
    kind = fields.get("kind", "bandit")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"{where}: unknown kind {kind!r}{nearest(str(kind), KINDS)} Known: {', '.join(KINDS)}")
    check_keys(fields, KINDS[kind].model_fields, where)
    return checked(KINDS[kind], fields, where)
