"""Whether language models read their prompts: what is looked at before they play."""

from __future__ import annotations

from collections.abc import Callable

from icrl.agents import LLMAgent, Uniform, check_policy
from icrl.agents.base import AnyAgent
from icrl.agents.check_policy import PolicyCheck
from icrl.agents.hybrid import Hybrid
from icrl.agents.record import identity
from icrl.envs.types import AnyWorld, Public

Tell = Callable[[str], None]
"""Called with a line for the user."""

STATES, SAMPLES = 8, 4


def served(agent: AnyAgent) -> list[LLMAgent]:
    """The agents on language models that an agent is, or holds."""
    if isinstance(agent, Hybrid):
        return [found for player in agent.players for found in served(player)]
    return [agent] if isinstance(agent, LLMAgent) else []


def check_mass(
    name: str, agent: AnyAgent, task: AnyWorld, least: float, tell: Tell, known: dict[str, PolicyCheck]
) -> None:
    """Looks at the label mass of an agent's models in a few prompts, and tells what was found.

    Written answers and distributions have no such mass, and of pairs of arms it is not looked at.

    Args:
        name: The agent's.
        agent: It.
        task: What it is to play.
        least: The experiment's `min_mass`.
        tell: Told what was found.
        known: What was found before; several agents may hold the same one.

    Raises:
        ValueError: The mass is below `least`.
    """
    scored = [llm for llm in served(agent) if llm.prompt.scored and _alone(llm, task.public)]
    for llm in scored:
        if (who := identity(llm)) not in known:
            known[who] = check_policy(llm, task, STATES, samples=SAMPLES, player=Uniform())
        found = known[who]
        tell(f"{name}{'' if llm is agent else f' ({llm.model.name} inside)'}: {_line(found)}")
        if found.mass < least:
            raise ValueError(
                f"agents.{name}: the labels hold {found.mass:.2f} of the probabilities of {llm.model.name} on average, "
                f"but min_mass is {least:g}: the prompt is malformed, or the model does not read it; `icrl prompt` "
                "shows what it reads, and min_mass: 0 in the experiment file runs nevertheless"
            )


def _alone(llm: LLMAgent, public: Public) -> bool:
    """Whether a model can play the task without the agent that holds it, so that it can be looked at."""
    try:
        llm.check(public)
    except ValueError:
        return False
    return public.slots == 1


def _line(found: PolicyCheck) -> str:
    """What a user wants to know before a long run."""
    apart = f"scored and written policy differ by {found.distance:.2f} (by chance alone {found.floor:.2f})"
    return f"label mass {found.mass:.2f}; {apart}; {found.unread:.0%} of the written answers unread"
