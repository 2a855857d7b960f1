"""Whether language models read their prompts, and can answer: what is looked at before anything is played."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from icrl.agents import LLMAgent, Uniform, check_policy
from icrl.agents.base import AnyAgent
from icrl.agents.check_policy import PolicyCheck
from icrl.agents.histories import STEPS, histories, probes
from icrl.agents.hybrid import Hybrid
from icrl.agents.record import identity
from icrl.envs.types import AnyWorld, Choice, Floats, Public

Tell = Callable[[str], None]
"""Called with a line for the user."""

STATES, SAMPLES = 8, 4
WRITTEN = STATES * SAMPLES
"""Answers that are read, of models that write them."""


@dataclass(frozen=True)
class Look:
    """What was found of one model."""

    good: float
    """The mass of the labels, or the share of the written answers that can be read."""
    line: str
    """What a user wants to know before a long run."""
    lack: str
    """What is said of too little."""


def llms_in(agent: AnyAgent) -> list[LLMAgent]:
    """The agents on language models that an agent is, or holds."""
    if isinstance(agent, Hybrid):
        return [found for player in agent.players for found in llms_in(player)]
    return [agent] if isinstance(agent, LLMAgent) else []


def check_models(players: Mapping[str, AnyAgent], task: AnyWorld, least: float, tell: Tell) -> None:
    """Looks at the models of some agents in a few prompts, and tells what was found.

    Where the policy is read from probabilities that is the label mass, else the share of written answers that cannot be
    read. A model that cannot play the task without the agent that holds it is not looked at.

    Args:
        players: The agents by name; several may hold the same model.
        task: What they are to play.
        least: The experiment's `min_mass`.
        tell: Told what was found.

    Raises:
        ValueError: The mass, or the share of readable answers, is below `least`.
    """
    known: dict[str, Look] = {}
    for name, agent in players.items():
        for llm in llms_in(agent):
            if not _alone(llm, task.public):
                continue
            if (who := identity(llm)) not in known:
                known[who] = _look(llm, task)
            found = known[who]
            tell(f"{name}{'' if llm is agent else f' ({llm.model.name} inside)'}: {found.line}")
            if not found.good >= least:  # nor if it is no number
                raise ValueError(
                    f"agents.{name}: {found.lack}, but min_mass is {least:g}: the prompt is malformed, or the model "
                    "does not read it; `icrl prompt` shows what it reads, and min_mass: 0 in the experiment file runs "
                    "nevertheless"
                )


def _alone(llm: LLMAgent, public: Public) -> bool:
    """Whether a model can play the task without the agent that holds it, so that it can be looked at."""
    try:
        llm.check(public)
    except ValueError:
        return False
    return True


def _look(llm: LLMAgent, task: AnyWorld) -> Look:
    """Single arms are scored and written; of pairs the mass is enough; who writes is read."""
    if not llm.scores:
        look = _of_writing(llm.model.name, _unread(llm, task))
        drawn = "" if llm.model.exact else "; its server draws the choices, whose probabilities stay unknown"
        return replace(look, line=look.line + drawn)
    if task.public.slots > 1:
        return _of_mass(llm.model.name, _mass(llm, task), "")
    found = check_policy(llm, task, STATES, samples=SAMPLES, player=Uniform())
    return _of_mass(llm.model.name, found.mass, _beside(found))


def _of_mass(model: str, mass: float, more: str) -> Look:
    lack = f"the labels hold {mass:.2f} of the probabilities of {model} on average"
    return Look(mass, f"label mass {mass:.2f}{more}", lack)


def _of_writing(model: str, unread: float) -> Look:
    lack = f"{unread:.0%} of the answers that {model} writes cannot be read, so {1 - unread:.2f} can"
    return Look(1 - unread, f"{unread:.0%} of the written answers unread", lack)


def _beside(found: PolicyCheck) -> str:
    """What a model writes where it is scored; without a readable answer there is nothing to compare."""
    apart = f"; scored and written policy differ by {found.distance:.2f} (by chance alone {found.floor:.2f})"
    return f"{'' if np.isnan(found.distance) else apart}; {found.unread:.0%} of the written answers unread"


def _mass(llm: LLMAgent, task: AnyWorld) -> float:
    """Mean label mass."""
    masses = [choice.mass for choice in _choices(llm, task, STATES) if choice.mass is not None]
    found: Floats = np.concatenate(masses)
    return float(found.mean())


def _unread(llm: LLMAgent, task: AnyWorld) -> float:
    """Share of the first answers that cannot be read: nobody asks again, or draws an arm."""
    once = replace(llm, prompt=replace(llm.prompt, on_failure="forfeit"))
    return float(np.concatenate([choice.arm[:, 0] < 0 for choice in _choices(once, task, WRITTEN)]).mean())


def _choices(llm: LLMAgent, task: AnyWorld, states: int) -> Iterator[Choice]:
    """One choice in each of a few states after uniform play (or duels of RUCB), from the first step to the last."""
    for state, view in probes(llm, histories(llm, task, states // STEPS, 0)):
        yield llm.act(state, view)[1]
