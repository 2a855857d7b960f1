"""What models read and write: estimated before a run, counted after it, and priced."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import astuple, dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from icrl.agents import rollout
from icrl.agents.record import Step
from icrl.envs import Episodes
from icrl.envs.spec import placed
from icrl.envs.types import AnyWorld
from icrl.experiments.config import Experiment, Prices, Served, Shared, as_served
from icrl.experiments.players import PLAYERS
from icrl.experiments.prompting import Lessons
from icrl.experiments.runner import Watch
from icrl.experiments.tokens import fed
from icrl.models import ServerLost
from icrl.models.transcript import Transcript
from icrl.prompts import Prompt
from icrl.prompts.chat import Chat
from icrl.prompts.lint import lint
from icrl.prompts.parse import shares
from icrl.prompts.pieces import Pieces
from icrl.prompts.scenario import AND
from icrl.prompts.writer import Writer


@dataclass(frozen=True)
class Cost:
    """Tokens of one agent."""

    new: int = 0
    """Read, and unknown to any cache."""
    cached: int = 0
    """Read from a cache."""
    written: int = 0
    """Generated as answers; nothing where the policy is read from probabilities."""
    thinking: int = 0
    """Generated as thoughts."""
    calls: int = 0
    """Steps at which a model was asked."""

    def __add__(self, other: Cost) -> Cost:
        """Of both."""
        return Cost(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def times(self, n: int, of: int = 1) -> Cost:
        """Of n episodes, if this is that of some others."""
        return Cost(*(round(x * n / of) for x in astuple(self)))

    def price(self, prices: Prices) -> float:
        """What it costs, in the currency of the prices."""
        cached = prices.new if prices.cached is None else prices.cached
        return (self.new * prices.new + self.cached * cached + (self.written + self.thinking) * prices.written) / 1e6


def money(price: float) -> str:
    """A price as text: most are fractions."""
    return f"{price:,.2f}" if price >= 1 else f"{price:.2g}"


def measured(runs: Episodes) -> Cost:
    """What was counted at each step; nothing of agents without a model."""
    if runs.usage is None:
        return Cost()
    asked = runs.usage[runs.usage[:, :, 0] >= 0]  # the others hold -1
    new, cached, written, thinking = asked.sum(axis=0).tolist()
    return Cost(new, cached, written, thinking, len(asked))


def assumed(pilot: int) -> str:
    """What an estimate takes for granted, in a sentence."""
    prompts = "the prompts of one episode, played to its end at random, with a cache that keeps all that was read"
    if pilot:
        return f"From {pilot} episodes of each agent that thinks, writes, or holds a model; of others, from {prompts}."
    return (
        f"From {prompts}; as if hybrids asked their models at every step, written answers were bare and read at once, "
        "and thoughts were as long as max_thought allows: --pilot N plays N episodes of such agents to see."
    )


def estimate(experiment: Experiment, pilot: int = 0, watch: Watch | None = None) -> dict[str, Cost]:
    """What the agents of an experiment that hold a model will read and write; see `assumed`.

    Prompts are counted without weights. For a raw history and labels of one token each that is exact, but for what an
    agent finds in a cache that another one has filled.

    Args:
        experiment: What is to be played.
        pilot: So many episodes, none of them the experiment's, are played by each agent whose tokens are known only
            then: those that think, write their answers, or are no model but hold one.
        watch: Told of the progress of these.

    Raises:
        ValueError: The task cannot be told to a model, or has no horizon.
    """
    if pilot > experiment.episodes:
        raise ValueError(f"pilot: at most as many as the experiment has, {experiment.episodes}, got {pilot}")
    common = _Common(experiment, Shared(Lessons(experiment.build_task())))
    each = {name: common.cost(name, pilot, watch or (lambda *_: None)) for name in experiment.agents}
    return {name: cost for name, cost in each.items() if cost is not None}


def expected(experiment: Experiment) -> dict[str, Cost]:
    """The same without a pilot, of those agents only of which it can be told."""
    common, found = _Common(experiment, Shared(Lessons(experiment.build_task()))), dict[str, Cost]()
    for name in experiment.agents:
        with suppress(ValueError, ServerLost):
            if (cost := common.cost(name)) is not None:
                found[name] = cost
    return found


@dataclass(frozen=True)
class _Common:
    """What the estimates of an experiment's agents have in common; tokenizers are loaded once."""

    experiment: Experiment
    shared: Shared
    tokenizers: dict[str, Any] = field(default_factory=dict)

    def cost(self, name: str, pilot: int = 0, watch: Watch = lambda *_: None) -> Cost | None:
        """Of one agent; None if it holds no model."""
        spec, known = self.experiment.agents[name], self.tokenizers
        inside = list(_inside(spec, f"agents.{name}", self.shared.lessons))
        plain = all(told.served.prompt.answer == "direct" and "model" in spec and told.counts(known) for told in inside)
        if pilot and not plain:
            return _piloted(self.experiment, name, pilot, self.shared, watch)
        if not inside:
            return None
        each = [told.cost(self.experiment.seed, known) for told in inside]
        return sum(each, Cost()).times(self.experiment.episodes)


def _piloted(experiment: Experiment, name: str, pilot: int, shared: Shared, watch: Watch) -> Cost:
    """Plays episodes behind those of the experiment, so that nothing of them is in a cache later."""
    agent, first = experiment.build_agent(name, shared), experiment.episodes

    def on_step(step: Step) -> None:
        watch(name, len(step.rows), fed(step))

    watch(name, 0, 0)
    which, how = range(first, first + pilot), {"seed": experiment.seed, "batch": experiment.batch}
    with placed(f"agents.{name}"):
        runs = rollout(agent, shared.lessons.task, episodes=which, on_step=on_step, **how)
    return measured(runs).times(experiment.episodes, pilot)


@dataclass(frozen=True)
class _Told:
    """A model that an agent is or holds, and what it is told: a task, or game after game of it."""

    served: Served
    where: str
    task: AnyWorld
    games: int

    def tokenizer(self, known: dict[str, Any]) -> Any:
        """Its tokenizer; each is loaded once."""
        key = self.served.model_dump_json(exclude={"prompt", "temperature"})
        if key not in known:
            known[key] = self.served.tokenizer()
        return known[key]

    def counts(self, known: dict[str, Any]) -> bool:
        """Whether its tokens are those that its server counts; of a server that takes messages they are not known."""
        return not isinstance(self.tokenizer(known), Transcript)

    def cost(self, seed: int, tokenizers: dict[str, Any]) -> Cost:
        """Of one episode."""
        if not self.counts(tokenizers):
            raise ValueError(
                f"{self.where}: its server takes messages, so only a pilot can tell its tokens (--pilot 1)"
            )
        with placed(f"{self.where}.prompt"):
            found = _episode(self.served.prompt, self.task, self.tokenizer(tokenizers), seed)
        return found.times(self.games)


def _inside(spec: Any, where: str, lessons: Lessons, games: int = 1) -> Iterator[_Told]:
    """The models that an agent is or holds."""
    fields = {"type": spec} if isinstance(spec, str) else spec
    if "model" in fields:
        task = lessons.task if games == 1 else _game(lessons.task)
        yield _Told(as_served(fields, where, lessons), where, task, games)
        return
    games = lessons.task.public.trials if fields["type"] == "Restarting" else games
    for inner in PLAYERS.get(fields["type"], ()):
        yield from _inside(fields[inner], f"{where}.{inner}", lessons, games)


def _game(task: AnyWorld) -> Any:
    """One of its games, as an agent is told that forgets the others."""
    public = replace(task.public, horizon=task.public.game, trials=1)
    return SimpleNamespace(public=public, start=task.start, view=task.view)


def _episode(prompt: Prompt, task: AnyWorld, tokenizer: Any, seed: int) -> Cost:
    """One episode of a model that is asked at each step.

    A step asks once, for each arm of a pair that is scored, and before that for the thought, all with the same prompt:
    what stands there is new once. What was thought is read from the cache, and what closes it is new.
    """
    found = lint(prompt, task, tokenizer, seed=seed)
    writer = Writer(prompt, task.public, Pieces(tokenizer), Chat.of(tokenizer, prompt.thinks))
    steps, asks = len(found.tokens), task.public.slots if prompt.scored else 1
    thought = prompt.max_thought if prompt.thinks else 0
    kept = writer.thought_limit - len(writer.closing("")) if writer.keeps else 0  # the lint's are empty
    past = kept * steps * (steps - 1) // 2
    new = found.with_cache + steps * (writer.thought_limit - thought)
    read = (asks + prompt.thinks) * (found.without_cache + past) + asks * steps * thought
    return Cost(new, read - found.with_cache, round(steps * _written(writer, seed)), steps * thought, steps)


def _written(writer: Writer, seed: int) -> float:
    """Tokens of an answer that says what it must, and of its end; on average over the arms."""
    prompt, public = writer.prompt, writer.public
    if prompt.scored:
        return 0
    (names,) = prompt.names(public, np.zeros(1, np.int64), seed)
    if prompt.shares:
        return 1 + sum(len(writer.encode(text)) for text in shares(names, [1 / len(names)] * len(names)))
    label = float(np.mean([len(writer.encode(name)) for name in names]))
    return 1 + public.slots * label + (public.slots - 1) * len(writer.encode(AND))
