"""The story told about a task: its texts, and the words that may name the arms."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal, Self

import numpy as np
import yaml
from pydantic import BeforeValidator, model_validator

from icrl.envs import tape
from icrl.envs.spec import Spec, nearest
from icrl.envs.tape import Stream
from icrl.envs.types import Ints, Names, Public, RewardFamily

REWARDS: dict[RewardFamily, str] = {
    "bernoulli": "A reward is 0 or 1.",
    "gaussian": "A reward is a number and may be negative.",
}
_DECIMALS: dict[RewardFamily, int] = {"bernoulli": 0, "gaussian": 2}

_PLACEHOLDERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "system": (("labels",), ("n", "rewards")),
    "first": ((), ()),
    "feedback": (("reward",), ("label",)),
    "forfeit": ((), ()),
    "log": ((), ()),
    "line": (("label", "reward"), ()),
    "lost": ((), ()),
    "summary": ((), ()),
    "tried": (("label", "mean", "pulls"), ()),
    "untried": (("label",), ()),
    "query": ((), ()),
}
"""Of each text: those that it must have, and those that it may have."""

Words = Annotated[tuple[str, ...], BeforeValidator(lambda v: v.split() if isinstance(v, str) else v)]


class Scenario(Spec):
    """Texts of a scenario; the placeholders are explained in `scenarios.yaml`.

    Raises:
        ValueError: A text lacks a placeholder, has one twice or one that is unknown there; a label is empty, has
            spaces around it or a line break in it; or two labels differ by case only.
    """

    system: str
    first: str
    feedback: str
    forfeit: str
    log: str
    line: str
    lost: str
    summary: str
    tried: str
    untried: str
    query: str
    labels: Words

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        check_labels(self.labels)
        for field, (needed, optional) in _PLACEHOLDERS.items():
            found = re.findall(r"{(\w*)}", getattr(self, field))
            wrong = {*needed} - {*found} or {*found} - {*needed, *optional} or {x for x in found if found.count(x) > 1}
            if wrong:
                allowed = ", ".join(f"{{{name}}}" for name in (*needed, *optional)) or "none"
                raise ValueError(
                    f"{field}: {{{min(wrong)}}} is missing, unknown or there twice in {getattr(self, field)!r}; "
                    f"placeholders of this text: {allowed}"
                )
        return self

    def names(self, n_arms: int, episodes: Ints, seed: int) -> Names:
        """Labels of the arms, drawn anew for each episode without replacement; equal for all agents.

        Raises:
            ValueError: There are fewer labels than arms.
        """
        if len(self.labels) < n_arms:
            raise ValueError(f"labels: the task has {n_arms} arms, but there are only {len(self.labels)} labels")
        luck = tape.uniform(tape.key(seed, Stream.LABELS, episodes[:, None], np.arange(len(self.labels))))
        drawn = np.argsort(luck, axis=1)[:, :n_arms]
        return tuple(tuple(self.labels[i] for i in row) for row in drawn.tolist())

    def instructions(self, public: Public) -> tuple[str, str]:
        """The system text, before and after the list of the labels."""
        before, _, after = self.system.partition("{labels}")
        shown = {"{n}": str(public.n_arms), "{rewards}": REWARDS[public.reward]}
        for placeholder, text in shown.items():
            before, after = before.replace(placeholder, text), after.replace(placeholder, text)
        return before, after


def number(value: float, public: Public) -> str:
    """A reward as text: 0 or 1 for Bernoulli rewards, else two decimals."""
    return f"{value:z.{_DECIMALS[public.reward]}f}"  # z: never "-0.00"


def check_labels(labels: tuple[str, ...]) -> None:
    """Raises ValueError unless labels can be told apart by a fair reader."""
    for label in labels:
        if not label or label != label.strip() or "\n" in label:
            raise ValueError(f"labels: a label must be text without spaces around it or line breaks, got {label!r}")
        if label.encode("utf-8", "ignore").decode() != label:
            raise ValueError(f"labels: {label!r} is no text that can be written: it has half a character")
    twice = [label for label, count in Counter(label.casefold() for label in labels).items() if count > 1]
    if twice:
        raise ValueError(f"labels: labels must differ by more than case, but {twice[0]!r} comes twice")


@cache
def scenarios() -> dict[str, Scenario]:
    """The scenarios that ship with icrl."""
    texts = yaml.safe_load((files("icrl.prompts") / "scenarios.yaml").read_text(encoding="utf-8"))
    return {name: Scenario.model_validate(fields) for name, fields in texts.items()}


def scenario(name: str) -> Scenario:
    """A scenario by name.

    Raises:
        ValueError: There is none of that name.
    """
    known = scenarios()
    if name not in known:
        raise ValueError(f"scenario: unknown scenario {name!r}{nearest(name, known)} Known: {', '.join(known)}")
    return known[name]


Layout = Literal["turns", "log"]
