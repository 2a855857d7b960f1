"""Prompts by the names of published settings. The texts are ours; what varies, and how it is told, is theirs."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Literal

from icrl.envs.spec import nearest
from icrl.prompts.adviser import AnyAdviser
from icrl.prompts.hints import Hints
from icrl.prompts.history import Named
from icrl.prompts.prompt import Answer, Prompt

SCENARIOS = {"B": "buttons", "A": "ads"}
FRAMINGS: dict[str, Literal["bare", "advice"]] = {"N": "bare", "S": "advice"}
HISTORIES: dict[str, Named] = {"R": "raw", "S": "summary"}
ANSWERS: dict[str, Answer] = {
    "N": "direct",
    "ND": "distribution",
    "C": "thought",
    "CD": "thought-distribution",
}
"""By the letters of the reasoning and of what is asked for."""


def krishnamurthy() -> dict[str, Prompt]:
    """The grid of 2^5 prompts of Krishnamurthy et al. 2024 (arXiv 2403.15371, section 2), by their codes.

    Letters: Buttons or Advertisements; Neutral or Suggestive framing; Raw or Summarised history; No reasoning or Chain
    of thought; and D at the end where a distribution over arms is asked for instead of an arm. One message holds the
    history (layout `log`), and the horizon is told. Their temperatures were 0 and 1 (`LLMAgent`). The one setting with
    which their GPT-4 explored, BSSC~0, asks for a chain of thought more insistently than C does; it is not among these.
    """
    return {
        s + f + h + a: Prompt(HISTORIES[h], SCENARIOS[s], "log", ANSWERS[a], instructions=FRAMINGS[f], horizon="told")
        for s, f, h, a in product(SCENARIOS, FRAMINGS, HISTORIES, ANSWERS)
    }


def evolve(guide: AnyAdviser | None = None) -> dict[str, Prompt]:
    """The contexts of EVOLvE (Nie et al. 2025, arXiv 2410.06238): raw and summarised histories, and guided ones.

    One message holds the history, the horizon is never told, the model writes the name of an arm, and where it names
    none an arm is drawn.

    Args:
        guide: The algorithm whose exploitation value and exploration bonus stand beside the history; theirs is UCB
            (beside a summary), or LinUCB for contexts (beside a raw history). None: no guided prompts.
    """
    plain = partial(Prompt, scenario="clothes", layout="log", answer="free", on_failure="resample")
    found = {"raw": plain("raw"), "summary": plain("summary")}
    if guide is None:
        return found
    return found | {f"{name}-guided": plain(name, hints=Hints(guide)) for name in ("raw", "summary")}


def preset(name: str, guide: AnyAdviser | None = None) -> dict[str, Prompt]:
    """A published set of prompts by its name.

    Args:
        name: `krishnamurthy` or `evolve`.
        guide: See `evolve`.

    Raises:
        ValueError: There is none of that name.
    """
    known = {"krishnamurthy": krishnamurthy(), "evolve": evolve(guide)}
    if name not in known:
        raise ValueError(f"prompts: unknown preset {name!r}{nearest(name, known)} Known: {', '.join(known)}")
    return known[name]
