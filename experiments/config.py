"""The experiment file: names in YAML become objects here."""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, field_validator

from icrl import agents
from icrl.agents import ALGORITHMS
from icrl.agents.base import AnyAgent
from icrl.envs import PRESETS, make, task_from
from icrl.envs.spec import Spec, check_keys, checked, nearest, sentence
from icrl.envs.types import AnyWorld, Public
from icrl.models import Model, load_model
from icrl.models.load import load_tokenizer
from icrl.prompts import Demonstrations, Prompt, preset

PLAYERS = {
    "TryAll": ("agent",),
    "EpsilonMix": ("agent",),
    "Mixture": ("llm", "algorithm"),
    "Corral": ("llm", "algorithm"),
    "PriorThompson": ("llm",),
    "Stating": ("algorithm",),
    "Restarting": ("agent",),
}
"""Agents around agents: which of their fields are agents themselves."""


class Experiment(Spec):
    """Several agents on one task.

    Attributes:
        task: A preset (`icrl envs` lists them), `{preset: NAME, horizon: 50}`, the fields of a task with its `kind` (a
            stationary `bandit`, if none is given), or an import path `package.module:object`.
        agents: By name: an algorithm (`UCB`, or `{type: UCB, c: 1.0}`), a model (`{model: pocket, prompt: {history:
            summary}, temperature: 1.0}`), a hybrid around others (`{type: TryAll, agent: {model: pocket}}`), or an
            import path as `type`. `prompt: krishnamurthy/BSSC` names a published prompt, `prompts: krishnamurthy`
            stands for one agent per prompt of that grid (`icrl.prompts.preset`).
        episodes: How many episodes each agent plays; the same ones.
        seed: Of all luck.
        batch: Episodes that a model plays at once.
        min_mass: Least probability that a model must give to the labels, on average over a few prompts that are tried
            before it plays; 0 plays in any case.
        tokens: Most tokens that models may read and write in one run folder, over all runs into it; None: any number.
            The step that reaches it is the last; what is tried for `min_mass` does not count.

    `batch`, `min_mass` and `tokens` may change between two runs into one folder, all else not.
    """

    task: str | dict[str, Any]
    agents: Annotated[dict[str, str | dict[str, Any]], Field(min_length=1)]
    episodes: Annotated[int, Field(ge=1)] = 64
    seed: Annotated[int, Field(ge=0)] = 0
    batch: Annotated[int, Field(ge=1)] = 64
    min_mass: Annotated[float, Field(ge=0, le=1)] = 0.9
    tokens: Annotated[int, Field(ge=1)] | None = None

    @field_validator("agents", mode="before")
    @classmethod
    def _agents_are_swept(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {key: spec for name, agent in given.items() for key, spec in _swept(str(name), agent).items()}

    @field_validator("agents", mode="after")
    @classmethod
    def _agents_are_known(cls, given: dict[str, Any]) -> dict[str, Any]:
        for name, spec in given.items():
            _check_agent(spec, f"agents.{name}")
        return given

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads and checks an experiment file.

        Raises:
            ValueError: The file is not there, is no YAML mapping, or holds something unknown or out of range.
        """
        try:
            fields = yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"experiment: cannot read {path}: {error}") from error
        except yaml.YAMLError as error:
            raise ValueError(f"experiment: {path} is not YAML: {error}") from error
        if not isinstance(fields, dict):
            raise ValueError(f"experiment: {path} must hold keys such as task and agents, got {type(fields).__name__}")
        return checked(cls, fields)

    def build_task(self) -> AnyWorld:
        """The world to play in."""
        if isinstance(self.task, str):
            return _imported_task(self.task) if ":" in self.task else make(self.task)
        if "preset" in self.task:
            fields = {key: value for key, value in self.task.items() if key != "preset"}
            return make(self.task["preset"], **fields)
        return task_from(self.task)

    def build_agent(self, name: str, models: dict[str, Model] | None = None) -> AnyAgent:
        """One of the agents.

        Args:
            name: Its name.
            models: Those that were loaded before, by how they were loaded; agents of one model share it.
        """
        return _agent(self.agents[name], f"agents.{name}", {} if models is None else models, self.build_task())


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

    def build(self, task: AnyWorld, where: str) -> Demonstrations:
        """Lets the teacher play."""
        played = agents.rollout(_agent(self.teacher, where, {}, task), task, episodes=self.pool, seed=self.seed)
        return Demonstrations(played, self.count, self.choose)


def _prompt(prompt: Any, where: str, task: AnyWorld | None = None) -> Any:
    """A prompt's fields, with algorithms for their names; without a task, what needs one is checked and left out."""
    if isinstance(prompt, str):
        return _published(prompt, where)
    if not isinstance(prompt, dict):
        return prompt
    if name := prompt.get("preset"):
        own = {key: value for key, value in prompt.items() if key != "preset"}
        return vars(_published(name, where)) | _prompt(own, where, task)
    if given := prompt.get("hints"):
        fields = given if isinstance(given, dict) and "adviser" in given else {"adviser": given}
        _check_agent(fields["adviser"], f"{where}.hints")
        prompt = prompt | {"hints": fields | {"adviser": _agent(fields["adviser"], f"{where}.hints", {}, task)}}
    if given := prompt.get("demonstrations"):
        shown = checked(Shown, given, f"{where}.demonstrations")
        _check_agent(shown.teacher, f"{where}.demonstrations.teacher")
        built = None if task is None else shown.build(task, f"{where}.demonstrations.teacher")
        prompt = prompt | {"demonstrations": built}
    return prompt


def _published(name: Any, where: str) -> Prompt:
    """A prompt of a preset, by `preset/code`."""
    group, found, code = str(name).partition("/")
    if not found:
        raise ValueError(
            f"{where}: give fields (history: raw), or a published prompt such as krishnamurthy/BSSC, got {name!r}"
        )
    known = preset(group, agents.UCB(alpha=0.5))
    if code not in known:
        raise ValueError(f"{where}: unknown prompt {code!r} of {group}{nearest(code, known)} Known: {', '.join(known)}")
    return known[code]


def _swept(name: str, spec: Any) -> dict[str, Any]:
    """An agent, or one for each prompt of a preset."""
    if not isinstance(spec, dict) or "prompts" not in spec:
        return {name: spec}
    group, fields = str(spec["prompts"]), {key: value for key, value in spec.items() if key != "prompts"}
    own = fields.get("prompt", {})
    if not isinstance(own, dict):
        raise ValueError(f"agents.{name}.prompt: beside prompts, give fields that all of them have, got {own!r}")
    codes = preset(group, agents.UCB(alpha=0.5))
    return {f"{name}-{code}": fields | {"prompt": own | {"preset": f"{group}/{code}"}} for code in codes}


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

    def tokenizer(self) -> Any:
        """The model's tokenizer, without its weights."""
        return load_tokenizer(self.model, revision=self.revision, chat_template=self.chat_template)

    def build(self, models: dict[str, Model]) -> AnyAgent:
        """The agent; its model is loaded, unless it is among `models`."""
        loading = self.model_dump(exclude={"prompt", "temperature"})
        key = json.dumps(loading)
        if key not in models:
            models[key] = load_model(loading.pop("model"), **loading)
        return agents.LLMAgent(models[key], self.prompt, self.temperature)


def served(experiment: Experiment, name: str | None = None) -> tuple[str, Served]:
    """An agent on a language model, by its name; without a name the first one.

    Raises:
        ValueError: There is no such agent, or it has no model.
    """
    known = [n for n, spec in experiment.agents.items() if isinstance(spec, dict) and "model" in spec]
    found = name or next(iter(known), None)
    if found not in known:
        raise ValueError(f"agents: {name or 'none'} is no agent with a model; such are: {', '.join(known) or 'none'}")
    return found, _served(dict(experiment.agents[found]), f"agents.{found}", experiment.build_task())  # type: ignore[arg-type]


def _served(fields: dict[str, Any], where: str, task: AnyWorld | None) -> Served:
    return checked(Served, fields | {"prompt": _prompt(fields.get("prompt", {}), f"{where}.prompt", task)}, where)


def _agent(spec: str | dict[str, Any], where: str, models: dict[str, Model], task: AnyWorld | None = None) -> AnyAgent:
    """An agent, after those inside it."""
    fields: dict[str, Any] = {"type": spec} if isinstance(spec, str) else dict(spec)
    if "model" in fields:
        return _served(fields, where, task).build(models)
    for inner in PLAYERS.get(fields["type"], ()):
        fields[inner] = _agent(fields[inner], f"{where}.{inner}", models, task)
    return _build(fields, where)


def _build(fields: dict[str, Any], where: str) -> AnyAgent:
    """An algorithm, or a class of the user's."""
    kind, rest = fields["type"], {key: value for key, value in fields.items() if key != "type"}
    build = imported(kind, where) if ":" in kind else getattr(agents, kind)
    try:
        built: AnyAgent = build(**rest)
    except ValidationError as error:
        raise ValueError(sentence(error, where)) from error
    except TypeError as error:
        raise ValueError(f"{where}: {kind} cannot be built from {rest}: {error}") from error
    if not callable(getattr(built, "act", None)):
        raise ValueError(f"{where}: {kind} gives {type(built).__name__}, which has not the methods of an agent")
    return built


def _imported_task(path: str) -> AnyWorld:
    """A world, or what a class or function without arguments makes."""
    found = imported(path, "task")
    try:
        world: AnyWorld = found() if callable(found) else found
    except TypeError as error:
        raise ValueError(f"task: {path} cannot be called without arguments: {error}") from error
    if not isinstance(getattr(world, "public", None), Public):
        raise ValueError(f"task: {path} gives {type(world).__name__}, which has not the methods of a world")
    return world


class _Loader(yaml.SafeLoader):
    """YAML in which no key comes twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := [key for i, key in enumerate(keys) if key in keys[:i]]:
            raise yaml.YAMLError(f"the key {twice[0]!r} comes twice, line {node.start_mark.line + 1} and below")
        return super().construct_mapping(node, deep)


def _check_agent(spec: Any, where: str) -> None:
    """Raises ValueError for an agent that cannot be built, before anything is loaded."""
    fields = {"type": spec} if isinstance(spec, str) else spec
    if not isinstance(fields, dict):
        raise ValueError(f"{where}: give a model (model: pocket) or an algorithm (type: UCB), got {spec!r}")
    if "model" in fields:
        check_keys(fields, Served.model_fields, where)
        prompt: Any = fields.get("prompt", {})
        if isinstance(prompt, dict):
            check_keys(prompt, (*inspect.signature(Prompt).parameters, "preset"), f"{where}.prompt")
        checked(Served, fields | {"prompt": _prompt(prompt, f"{where}.prompt")}, where)
        return
    kind = fields.get("type")
    if not isinstance(kind, str):
        raise ValueError(f"{where}: give a model (model: pocket) or an algorithm (type: UCB), got {spec!r}")
    if ":" in kind:
        return
    if kind not in (known := (*ALGORITHMS, *PLAYERS)):
        raise ValueError(f"{where}: unknown algorithm {kind!r}{nearest(kind, known)} Known: {', '.join(known)}")
    check_keys((k for k in fields if k != "type"), inspect.signature(getattr(agents, kind)).parameters, where)
    for inner in PLAYERS.get(kind, ()):
        _check_agent(fields.get(inner), f"{where}.{inner}")
    if kind not in PLAYERS:
        _build(fields, where)


def imported(path: str, where: str) -> Any:
    """The object that an import path `package.module:object` names."""
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: cannot import {path!r}: {error}") from error


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
