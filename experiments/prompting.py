"""Prompts of an experiment file become values here: published ones by their names, and algorithms for theirs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from icrl.agents import UCB, LinUCB, rollout
from icrl.envs import Episodes
from icrl.envs.spec import Spec, check_keys, checked, nearest, placed
from icrl.envs.types import AnyWorld, Public
from icrl.experiments import players
from icrl.prompts import Demonstrations, Hints, Prompt, preset
from icrl.prompts.adviser import AnyAdviser
from icrl.prompts.history import Summary


class Shown(Spec):
    """Demonstrations in an experiment file: episodes that a teacher plays on the experiment's task.

    Attributes:
        teacher: An algorithm.
        count: How many are shown before each game.
        choose: See `icrl.prompts.Demonstrations`.
        pool: How many the teacher plays.
        seed: Of its luck.
    """

    teacher: str | dict[str, Any]
    count: Annotated[int, Field(ge=1)] = 1
    choose: Literal["random", "regret", "similar"] = "random"
    pool: Annotated[int, Field(ge=2)] = 64
    seed: Annotated[int, Field(ge=0)] = 2026


@dataclass(frozen=True)
class Lessons:
    """A task, and what teachers have played on it: many prompts may show the same games."""

    task: AnyWorld
    played: dict[str, Episodes] = field(default_factory=dict)

    def of(self, shown: Shown, where: str) -> Demonstrations:
        """Lets the teacher play, unless it has."""
        key = shown.model_dump_json(exclude={"count", "choose"})
        if key not in self.played:
            teacher = players.agent(shown.teacher, where)
            with placed(where):
                self.played[key] = rollout(teacher, self.task, episodes=shown.pool, seed=shown.seed)
        return Demonstrations(self.played[key], shown.count, shown.choose)


def prompt(given: Any, where: str, lessons: Lessons | None = None) -> Any:
    """A prompt's fields, with values for names.

    Args:
        given: What stands in the file.
        where: There.
        lessons: The task; without it what needs one is checked, but left out.
    """
    if isinstance(given, str):
        return _published(given, where, lessons)
    if not isinstance(given, dict):
        return given
    check_keys(given, (*inspect.signature(Prompt).parameters, "preset"), where)
    fields = {key: value for key, value in given.items() if key != "preset"}
    if fields.get("hints"):
        fields["hints"] = _hints(fields["hints"], f"{where}.hints")
    if fields.get("demonstrations"):
        fields["demonstrations"] = _demonstrations(fields["demonstrations"], f"{where}.demonstrations", lessons)
    return vars(_published(given["preset"], where, lessons)) | fields if "preset" in given else fields


def _hints(given: Any, where: str) -> dict[str, Any]:
    """The fields of hints; an algorithm alone stands for hints of it."""
    fields = given if isinstance(given, dict) and "adviser" in given else {"adviser": given}
    check_keys(fields, inspect.signature(Hints).parameters, where)
    players.check(fields["adviser"], where)
    return fields | {"adviser": players.agent(fields["adviser"], where)}


def _demonstrations(given: Any, where: str, lessons: Lessons | None) -> Demonstrations | None:
    shown = checked(Shown, given, where)
    players.check(shown.teacher, f"{where}.teacher")
    return None if lessons is None else lessons.of(shown, f"{where}.teacher")


def _published(name: Any, where: str, lessons: Lessons | None) -> Prompt:
    """A prompt of a preset, by `preset/code`."""
    group, found, code = str(name).partition("/")
    if not found:
        raise ValueError(
            f"{where}: give fields (history: raw), or a published prompt such as krishnamurthy/BSSC, got {name!r}"
        )
    known = _preset(group, where, None if lessons is None else lessons.task.public)
    if code not in known:
        raise ValueError(f"{where}: unknown prompt {code!r} of {group}{nearest(code, known)} Known: {', '.join(known)}")
    return known[code]


def _preset(group: str, where: str, public: Public | None) -> dict[str, Prompt]:
    """A published set of prompts, with the guide that belongs to the task."""
    guide: AnyAdviser = LinUCB() if public is not None and public.context_dim else UCB(alpha=0.5)
    try:
        return preset(group, guide)
    except ValueError as error:
        raise ValueError(f"{where}: {str(error).removeprefix('prompts: ')}") from error


def swept(name: str, spec: Any, task: Callable[[], AnyWorld | None]) -> dict[str, Any]:
    """An agent, or one for each prompt of a preset; of `evolve`, for each that can tell the task.

    Args:
        name: The agent's.
        spec: Its fields.
        task: Makes the task, if the file has one.
    """
    if not isinstance(spec, dict) or "prompts" not in spec:
        return {name: spec}
    group, fields = str(spec["prompts"]), {key: value for key, value in spec.items() if key != "prompts"}
    own = fields.get("prompt", {})
    if not isinstance(own, dict):
        raise ValueError(f"agents.{name}.prompt: beside prompts, give fields that all of them have, got {own!r}")
    world = task() if group == "evolve" else None
    known = _preset(group, f"agents.{name}.prompts", None if world is None else world.public)
    contexts = world is not None and world.public.context_dim > 0
    codes = [code for code, told in known.items() if not (contexts and isinstance(told.past, Summary))]
    return {f"{name}-{code}": fields | {"prompt": own | {"preset": f"{group}/{code}"}} for code in codes}
