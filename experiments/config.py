"""The experiment file: names in YAML become objects here."""

from __future__ import annotations

import inspect
import json
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import ConfigDict, Field, field_validator, model_validator

from icrl import agents
from icrl.agents import ALGORITHMS
from icrl.agents.base import AnyAgent
from icrl.envs import PRESETS, make, task_from
from icrl.envs.spec import Loader, Spec, check_keys, checked, placed
from icrl.envs.types import AnyWorld, Public
from icrl.experiments import players, prompting
from icrl.experiments.prompting import Lessons
from icrl.experiments.steered import Steered
from icrl.models import Model, ServerSettings
from icrl.models.base import Loaded
from icrl.models.load import load_base, load_tokenizer
from icrl.prompts import Prompt

Money = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Prices(Spec):
    """What a million tokens cost, in any currency.

    Attributes:
        new: Tokens that are read and no cache knew.
        cached: Those that it knew; None: as much as new ones.
        written: Tokens of answers, and of thoughts.
    """

    new: Money
    cached: Money | None = None
    written: Money


class Experiment(Spec):
    """Several agents on one task.

    Attributes:
        task: A preset (`icrl envs` lists them), `{preset: NAME, horizon: 50}`, the fields of a task with its `kind` (a
            stationary `bandit`, if none is given), or an import path `package.module:object`.
        agents: By name: an algorithm (`UCB`, or `{type: UCB, c: 1.0}`), a model (`{model: pocket, prompt: {history:
            summary}, temperature: 1.0}`, with `steering: {vector: FILE, strength: 4.0}` if it is steered), a hybrid
            around others (`{type: TryAll, agent: {model: pocket}}`), or an import path as `type`. `prompt:
            krishnamurthy/BSSC` names a published prompt, `prompts: krishnamurthy` stands for one agent per prompt of
            that grid (`icrl.prompts.preset`). Of `evolve`, the guide is LinUCB where contexts are seen, else UCB with
            alpha 0.5; and a sweep leaves out what cannot tell contexts.
        episodes: How many episodes each agent plays; the same ones.
        seed: Of all luck.
        batch: Episodes that a model plays at once.
        min_mass: Least probability that a model must give to the labels, on average over a few prompts that are tried
            before anything is played; of answers that it writes, the least share that must be readable. With 0 it plays
            in any case.
        tokens: Most tokens that models may read and write in one run folder, over all runs into it; None: any number.
            The step that reaches it is the last; what is tried for `min_mass` does not count.
        prices: What tokens cost: `{new: 0.1, cached: 0.01, written: 0.4}`, for all agents.

    `batch`, `min_mass`, `tokens` and `prices` may change between two runs into one folder, all else not.
    """

    model_config = ConfigDict(hide_input_in_errors=True)  # it may hold what nobody should read

    task: str | dict[str, Any]
    agents: Annotated[dict[str, str | dict[str, Any]], Field(min_length=1)]
    episodes: Annotated[int, Field(ge=1)] = 64
    seed: Annotated[int, Field(ge=0)] = 0
    batch: Annotated[int, Field(ge=1)] = 64
    min_mass: Annotated[float, Field(ge=0, le=1)] = 0.9
    tokens: Annotated[int, Field(ge=1)] | None = None
    prices: Prices | None = None

    @model_validator(mode="before")
    @classmethod
    def _agents_are_swept(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(given.get("agents"), dict):
            return given
        task = given.get("task")
        world = cache(lambda: build_task(task) if isinstance(task, str | dict) else None)
        swept = (prompting.swept(str(name), spec, world) for name, spec in given["agents"].items())
        pairs = [pair for found in swept for pair in found.items()]
        if twice := [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]:
            raise ValueError(f"agents: a sweep makes an agent {twice[0]!r}, which is there already; rename one")
        return given | {"agents": dict(pairs)}

    @field_validator("agents", mode="after")
    @classmethod
    def _agents_are_known(cls, given: dict[str, Any]) -> dict[str, Any]:
        for name, spec in given.items():
            players.check(spec, f"agents.{name}", as_served)
        return given

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads and checks an experiment file, and the steering vectors that it names.

        Raises:
            ValueError: The file is not there, is no YAML mapping, or holds something unknown or out of range.
        """
        found = checked(cls, mapping(path, "experiment", "task and agents"))
        for name, spec in found.agents.items():
            for fields, where in players.models_in(spec, f"agents.{name}"):
                as_served(fields, where).steered(where)
        return found

    def build_task(self) -> AnyWorld:
        """The world to play in."""
        return build_task(self.task)

    def check_prompts(self, shared: Shared) -> None:
        """Raises ValueError for a prompt that cannot tell the task; no model is loaded."""
        for name, spec in self.agents.items():
            for fields, where in players.models_in(spec, f"agents.{name}"):
                player = as_served(fields, where, shared.lessons)
                with placed(f"{where}.prompt"):
                    player.prompt.check(shared.lessons.task.public)

    def build_agent(self, name: str, shared: Shared | None = None) -> AnyAgent:
        """One of the agents.

        Args:
            name: Its name.
            shared: What was made for others before.
        """
        found = shared or Shared(Lessons(self.build_task()))

        def modelled(fields: dict[str, Any], where: str) -> AnyAgent:
            return as_served(fields, where, found.lessons).build(found.models, where)

        return players.agent(self.agents[name], f"agents.{name}", modelled)


@dataclass(frozen=True)
class Shared:
    """What the agents of an experiment have in common.

    Attributes:
        lessons: The task, and games of teachers.
        models: Those that are loaded, without adapters, by how they were loaded.
    """

    lessons: Lessons
    models: dict[str, Loaded] = field(default_factory=dict)


class Served(Spec):
    """An agent on a language model; the arguments of `load_model` and of `LLMAgent`."""

    model: str
    prompt: Prompt = Prompt()
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    revision: str | None = None
    dtype: str = "auto"
    device_map: str | None = None
    adapter: str | None = None
    chat_template: str | None = None
    server: ServerSettings | None = None
    steering: Annotated[Steered | None, Field(exclude=True)] = None  # what is dumped tells models apart

    def tokenizer(self) -> Any:
        """The model's tokenizer, without its weights."""
        return load_tokenizer(self.model, revision=self.revision, chat_template=self.chat_template, server=self.server)

    def steered(self, where: str) -> agents.Steering | None:
        """Its steering, with the vector, which is read; `where`: the place at which this stands."""
        return None if self.steering is None else self.steering.build(f"{where}.steering")

    def build(self, models: dict[str, Loaded], where: str) -> agents.LLMAgent:
        """The agent; its model is loaded, unless it is among `models`. Adapters of one model share its weights."""
        steering = self.steered(where)
        told = self.model_dump(include={"model", "revision", "dtype", "device_map", "chat_template", "server"})
        if (key := json.dumps(told)) not in models:
            models[key] = load_base(told.pop("model"), **told | {"server": self.server})
        model: Model = models[key] if self.adapter is None else models[key].adapted(self.adapter)
        return agents.LLMAgent(model, self.prompt, self.temperature, steering)


def mapping(path: str | Path, what: str, keys: str) -> dict[str, Any]:
    """A YAML file that holds fields.

    Args:
        path: The file.
        what: It is to be.
        keys: Some of its own.

    Raises:
        ValueError: It is not there, or holds something else.
    """
    try:
        fields = yaml.load(Path(path).read_text(encoding="utf-8"), Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{what}: cannot read {path}: {error}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{what}: {path} is not YAML: {error}") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{what}: {path} must hold keys such as {keys}, got {type(fields).__name__}")
    return fields


def served(experiment: Experiment, name: str | None = None) -> tuple[str, Served]:
    """An agent on a language model, or the first one in a hybrid, by its name; without a name the first of all.

    Raises:
        ValueError: There is no such agent, or it has no model.
    """
    inside = {n: next(players.models_in(spec, n), None) for n, spec in experiment.agents.items()}
    known = {n: first[0] for n, first in inside.items() if first is not None}
    found = name or next(iter(known), None)
    if found not in known:
        raise ValueError(f"agents: {name or 'none'} is no agent with a model; such are: {', '.join(known) or 'none'}")
    return found, as_served(dict(known[found]), f"agents.{found}", Lessons(experiment.build_task()))


def as_served(fields: dict[str, Any], where: str, lessons: Lessons | None = None) -> Served:
    """Its fields as a value, with a prompt; without the task, what of the prompt needs one is left out."""
    check_keys(fields, Served.model_fields, where)
    told = prompting.prompt(fields.get("prompt", {}), f"{where}.prompt", lessons)
    return checked(Served, fields | {"prompt": told}, where)


def build_task(task: str | dict[str, Any]) -> AnyWorld:
    """A preset, one with other fields, a task of its fields, or an import path."""
    if isinstance(task, str):
        return _imported_task(task) if ":" in task else make(task)
    if "preset" in task:
        return make(task["preset"], **{key: value for key, value in task.items() if key != "preset"})
    return task_from(task)


def _imported_task(path: str) -> AnyWorld:
    """A world, or what a class or function without arguments makes."""
    found = players.imported(path, "task")
    try:
        world: AnyWorld = found() if callable(found) else found
    except TypeError as error:
        raise ValueError(f"task: {path} cannot be called without arguments: {error}") from error
    if not isinstance(getattr(world, "public", None), Public):
        raise ValueError(f"task: {path} gives {type(world).__name__}, which has not the methods of a world")
    return world


def algorithms(task: str | None = None) -> list[tuple[str, str]]:
    """Name and meaning of each algorithm that comes with icrl, or of those that can play a preset.

    Raises:
        ValueError: There is no such preset.
    """
    public = None if task is None else make(task).public
    able = [kind for kind in ALGORITHMS.values() if public is None or kind().refuses(public) is None]
    return [(kind.__name__, (inspect.getdoc(kind) or "").splitlines()[0]) for kind in able]


def presets() -> list[tuple[str, str, int, int | None, str]]:
    """Name, kind, arms, horizon and meaning of each preset."""
    known = [(name, task.public, meaning) for name, (task, meaning) in sorted(PRESETS.items())]
    return [(name, public.kind, public.n_arms, public.horizon, meaning) for name, public, meaning in known]
