"""A task that is, in each episode, one of several tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from icrl.envs import tape
from icrl.envs.means import Positive
from icrl.envs.spec import Spec
from icrl.envs.tape import Stream
from icrl.envs.types import Instances, Ints, Outcome, Public, Truth, View

if TYPE_CHECKING:
    from icrl.envs.tasks import Task


@dataclass(frozen=True)
class MixtureState:
    """Live rows; each belongs to one part, and every part holds all rows."""

    which: Ints
    """[R] the part that is played."""
    parts: tuple[Any, ...]


class Part(Spec):
    """A task, and its share of the episodes."""

    weight: Positive
    task: Annotated[Task, Field(discriminator="kind")]


class TaskMixture(Spec):
    """Each episode is one of several tasks, drawn by their weights, which sum to 1.

    Agents are told what holds for all parts: the largest number of arms (an episode's missing arms are never legal),
    the longest horizon, and the reward family and noise only where they agree.
    """

    kind: Literal["mixture"] = "mixture"
    parts: Annotated[tuple[Part, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _is_one_task(self) -> Self:
        if abs((total := sum(part.weight for part in self.parts)) - 1) > 1e-9:
            raise ValueError(f"parts: their weights must sum to 1, got {total:g}")
        for name in ("slots", "context_dim", "per_arm"):
            if len(found := {getattr(part.task.public, name) for part in self.parts}) > 1:
                raise ValueError(f"parts: all tasks must have the same {name}, got {sorted(found)}")
        if any(part.task.public.trials > 1 for part in self.parts):
            raise ValueError("parts: all must be tasks of one game, got trials")
        kinds = {part.task.public.kind for part in self.parts}
        if len(kinds) > 1 and kinds != {"bandit", "moving"}:
            raise ValueError(f"parts: an agent could not tell these kinds of task apart: {', '.join(sorted(kinds))}")
        if kinds == {"best-arm"} and len(ends := {part.task.public.horizon for part in self.parts}) > 1:
            raise ValueError(f"parts: best-arm tasks must have the same horizon, got {sorted(map(str, ends))}")
        return self

    @cached_property
    def public(self) -> Public:
        """What holds for all parts."""
        all_of_them = [part.task.public for part in self.parts]
        first, arms = all_of_them[0], {p.n_arms for p in all_of_them}
        horizons = [p.horizon for p in all_of_them if p.horizon is not None]
        noises = {p.noise_sd for p in all_of_them}
        return replace(
            first,
            kind="moving" if any(p.kind == "moving" for p in all_of_them) else first.kind,
            n_arms=max(arms),
            horizon=max(horizons) if len(horizons) == len(all_of_them) else None,
            reward="gaussian" if any(p.reward == "gaussian" for p in all_of_them) else "bernoulli",
            noise_sd=noises.pop() if len(noises) == 1 else None,
            variable=len(arms) > 1 or any(p.variable for p in all_of_them),
        )

    def instances(self, episodes: Ints, seed: int) -> Instances:
        """Means [B, K], NaN for arms that are not there, and best arms; None where some part has none."""
        which, found = self._which(episodes, seed), [p.task.instances(episodes, seed) for p in self.parts]
        means = [_wide(f.means, self.public.n_arms, np.nan) for f in found if f.means is not None]
        best = [f.best_arm for f in found if f.best_arm is not None]
        full = len(means) == len(found), len(best) == len(found)
        return Instances(_own(which, means) if full[0] else None, _own(which, best) if full[1] else None)

    def start(self, episodes: Ints, seed: int) -> MixtureState:
        """The first state of these episodes."""
        return MixtureState(self._which(episodes, seed), tuple(p.task.start(episodes, seed) for p in self.parts))

    def view(self, state: MixtureState) -> View:
        """What each row's own task shows."""
        views = [p.task.view(inside) for p, inside in zip(self.parts, state.parts, strict=True)]
        legal = _own(state.which, [_wide(v.legal, self.public.n_arms, False) for v in views])
        contexts = [v.context for v in views if v.context is not None]
        if self.public.per_arm:
            contexts = [_wide(c, self.public.n_arms, 0.0) for c in contexts]
        texts = [np.array(v.obs, object) for v in views if v.obs is not None]
        seen = _own(state.which, contexts) if contexts else None
        obs = tuple(_own(state.which, texts)) if len(texts) == len(views) else None
        return replace(views[0], legal=legal, context=seen, obs=obs, state=None)

    def step(self, state: MixtureState, arm: Ints) -> tuple[MixtureState, Outcome, Truth]:
        """One step of each row's own task; in the others it is forfeited."""
        stepped = [
            part.task.step(inside, np.where(state.which[:, None] == i, arm, -1))
            for i, (part, inside) in enumerate(zip(self.parts, state.parts, strict=True))
        ]
        parts, outcomes, truths = zip(*stepped, strict=True)
        own = {name: _own(state.which, [getattr(o, name) for o in outcomes]) for name in _OUTCOME}
        truth = Truth(_own(state.which, [t.gap for t in truths]), _own(state.which, [t.best for t in truths]))
        return replace(state, parts=parts), Outcome(**own), truth

    def _which(self, episodes: Ints, seed: int) -> Ints:
        edges = np.cumsum([part.weight for part in self.parts])[:-1]
        return np.searchsorted(edges, tape.uniform(tape.key(seed, Stream.TASK, episodes)), side="right")


_OUTCOME = ("reward", "terminated", "truncated")


def _own(which: Ints, parts: list[Any]) -> Any:
    """Row by row the value of the row's own part."""
    return np.stack(parts)[which, np.arange(len(which))]


def _wide(cells: Any, n_arms: int, fill: float | bool) -> Any:
    """[R, K, ...] with more arms."""
    width = [(0, 0), (0, n_arms - cells.shape[1])] + [(0, 0)] * (cells.ndim - 2)
    return np.pad(cells, width, constant_values=fill)
