"""Runs an experiment into a folder, and continues where it stopped."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from icrl.agents.base import AnyAgent
from icrl.agents.record import collect, identity, record, seen
from icrl.agents.rollout import batches, play
from icrl.envs import Episodes
from icrl.envs.spec import placed
from icrl.envs.types import AnyWorld, Ints, Names, Public
from icrl.experiments.cells import SLOTS
from icrl.experiments.config import Experiment, Shared
from icrl.experiments.mass import Tell, check_models, llms_in
from icrl.experiments.players import models_in
from icrl.experiments.prompting import Lessons
from icrl.experiments.store import FILE, Store
from icrl.experiments.tokens import Budget, fed

Watch = Callable[[str, int, int], None]
"""Called with an agent's name, the environment steps just played or found, and the tokens fed to its model."""

_PACKAGES = ("icrl", "numpy", "scipy", "torch", "transformers")


def versions() -> dict[str, str]:
    """What a run depends on."""
    found = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


@dataclass(frozen=True)
class _Run:
    """What the agents of a run share."""

    store: Store
    task: AnyWorld
    plan: Experiment
    budget: Budget
    watch: Watch


def run(
    experiment: Experiment, out: str | Path, watch: Watch | None = None, tell: Tell | None = None
) -> dict[str, Episodes]:
    """Plays all agents of an experiment, skipping what the folder already holds.

    All language models that have not begun are looked at before anything is played; see `Experiment.min_mass`.

    Args:
        experiment: What to play.
        out: The run folder; made if it is not there.
        watch: Told of progress.
        tell: Told, in a line, what was found of each model before anything is played.

    Returns:
        Episodes by agent, read from the store.

    Raises:
        ValueError: An agent cannot play the task, its model gives too little probability to the labels or writes too
            much that cannot be read, or the folder belongs to another experiment or process.
        BudgetSpent: The experiment's `tokens` are spent. The folder keeps what was played.
    """
    task = experiment.build_task()
    _recognisable("task", task)
    players = new = _players(experiment, task)
    opened = partial(Store.create, out, experiment.model_dump(mode="json"), versions(), identity(task))
    if (Path(out) / FILE).is_file():  # a new folder is not made, and so belongs to nobody, before models are looked at
        with opened() as store:
            new = _not_begun(store, players, experiment.tokens)
    if tell is not None or experiment.min_mass > 0:  # else nobody minds what is found
        check_models(new, task, experiment.min_mass, tell or (lambda _: None))
    with opened() as store:
        _register(store, players)
        shared = _Run(store, task, experiment, Budget(store, experiment.tokens), watch or (lambda *_: None))
        for name, agent in players.items():
            _play(shared, name, agent)
        all_of_them = np.arange(experiment.episodes)
        return {name: _stored(store, name, task, experiment.seed, all_of_them) for name in players}


def _players(experiment: Experiment, task: AnyWorld) -> dict[str, AnyAgent]:
    """The agents by name, all of which can play the task; what needs no weights is checked before any are loaded."""
    shared, built = Shared(Lessons(task)), dict[str, AnyAgent]()
    experiment.check_prompts(shared)
    for name in sorted(experiment.agents, key=lambda name: any(models_in(experiment.agents[name], name))):
        built[name] = experiment.build_agent(name, shared)
        with placed(f"agents.{name}"):
            _check(built[name], task.public)
        _recognisable(f"agents.{name}", built[name])
    return {name: built[name] for name in experiment.agents}


def _check(agent: AnyAgent, public: Public) -> None:
    """Raises ValueError for an agent that cannot play a task, or whose play cannot be stored."""
    agent.check(public)
    if agent.block is None and public.slots > SLOTS:
        raise ValueError(
            f"of agents that play no blocks a folder keeps at most {SLOTS} arms per step, the task asks for "
            f"{public.slots}"
        )


def _register(store: Store, players: Mapping[str, AnyAgent]) -> None:
    """Writes down what the agents are, or makes sure that they still are what they were."""
    for name, agent in players.items():
        store.register(name, identity(agent), _facts(agent))


def _not_begun(store: Store, players: Mapping[str, AnyAgent], most: int | None) -> dict[str, AnyAgent]:
    """Agents that are to begin now: none if the tokens of the folder are spent."""
    _register(store, players)
    if Budget(store, most).is_spent:
        return {}
    return {name: agent for name, agent in players.items() if not store.progress(name)}


def _facts(agent: AnyAgent) -> dict[str, str]:
    """What is known of an agent's model, or of those inside it."""
    told = {json.dumps(llm.model.facts): llm.model.facts for llm in llms_in(agent)}.values()
    if len(told) == 1:
        return dict(*told)
    return {f"{facts['model']}: {key}": value for facts in told for key, value in facts.items()}


def _recognisable(where: str, value: object) -> None:
    """Raises ValueError for a value whose repr does not tell its settings: a run that continues could not know it."""
    if type(value).__repr__ is object.__repr__:
        raise ValueError(
            f"{where}: {type(value).__name__} has no repr that tells its settings, so a run could not know it again; "
            "make it a dataclass, or write __repr__"
        )


def _play(shared: _Run, name: str, agent: AnyAgent) -> None:
    """One agent: whole blocks for classical algorithms, else batches of episodes that stand at the same step."""
    wanted, plan = np.arange(shared.plan.episodes), shared.plan
    begun = shared.store.progress(name)
    shared.watch(name, sum(n for n, _ in begun.values()), 0)
    if agent.block is not None:
        _play_blocks(shared, name, agent, agent.block, wanted[[e not in begun for e in wanted.tolist()]])
        return
    at = np.array([begun.get(e, (0, False))[0] for e in wanted.tolist()])
    over = np.array([begun.get(e, (0, False))[1] for e in wanted.tolist()])
    for length in np.unique(at[~over])[::-1]:
        for group in batches(wanted[~over & (at == length)], None, plan.batch, shared.task.public):
            _continue(shared, name, agent, group, int(length))


def _play_blocks(shared: _Run, name: str, agent: AnyAgent, block: int, left: Ints) -> None:
    """Plays and stores the episodes that are left, and throws away what else is in their blocks."""
    task, plan = shared.task, shared.plan
    for group in batches(left, block, plan.batch, task.public):
        played = collect(agent, task, group, plan.seed, play(agent, task, group, plan.seed))
        new = played.take(np.isin(played.episode, left))
        shared.store.add_episodes(name, new)
        shared.watch(name, int(new.lengths.sum()), 0)


def _continue(shared: _Run, name: str, agent: AnyAgent, group: Ints, length: int) -> None:
    """Plays a batch on from step `length`, storing each step as it comes."""
    store, task, seed = shared.store, shared.task, shared.plan.seed
    shared.budget.check(name)
    past = None
    names: Names | None = agent.names(task.public, group, seed)
    if length:
        names = store.labels(name, group)
        past = _stored(store, name, task, seed, group)
    else:
        store.add_names(name, group, names)
    for step in play(agent, task, group, seed, names, past):
        store.add_step(name, group, step)
        shared.budget.count(step)
        shared.watch(name, len(step.rows), fed(step))
        if not (step.outcome.terminated | step.outcome.truncated).all():
            shared.budget.check(name)


def _ended(store: Store, name: str) -> set[int]:
    """Episodes of an agent that are over."""
    return {e for e, (_, over) in store.progress(name).items() if over}


def _stored(store: Store, name: str, task: AnyWorld, seed: int, which: Ints) -> Episodes:
    columns = store.columns(name, which, task.public.n_arms, task.public.slots)
    columns |= seen(task, which, seed, columns["arms"], columns["lengths"])
    return record(task, store.identity(name), which, seed, store.labels(name, which), columns)


def load(folder: str | Path) -> tuple[Experiment, dict[str, Episodes], dict[str, str]]:
    """What a run folder holds: the experiment, the episodes by agent, the versions.

    Of a run that was stopped: the episodes that all agents have finished, without those that have finished none.

    Raises:
        ValueError: There is no run in the folder, or nothing is finished.
    """
    with Store.read(folder) as store:
        experiment = Experiment.model_validate(store.meta("experiment"))
        task = experiment.build_task()
        ended = {name: _ended(store, name) for name in experiment.agents}
        common = set.intersection(*([e for e in ended.values() if e] or [set()]))
        if not common:
            raise ValueError(f"run: nothing in {folder} has finished yet; run the experiment again to continue it")
        which = np.array(sorted(common))
        runs = {name: _stored(store, name, task, experiment.seed, which) for name in ended if ended[name]}
        facts = {f"{name}: {key}": value for name, known in store.facts().items() for key, value in known.items()}
        return experiment, runs, store.meta("versions") | facts
