"""The story told about a task: its texts, and the words that may name the arms."""

from __future__ import annotations

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

Words = Annotated[tuple[str, ...], BeforeValidator(lambda v: v.split() if isinstance(v, str) else v)]


class Scenario(Spec):
    """Texts of a scenario; the placeholders are explained in `scenarios.yaml`.

    Raises:
        ValueError: A label is empty, has spaces around it or a line break in it, or two labels differ by case only.
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
    def _labels_are_distinct(self) -> Self:
        check_labels(self.labels)
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

    def instructions(self, names: tuple[str, ...], public: Public) -> str:
        """The system text of one episode."""
        return self.system.format(n=len(names), labels="\n".join(names), rewards=REWARDS[public.reward])


def number(value: float, public: Public) -> str:
    """A reward as text: 0 or 1 for Bernoulli rewards, else two decimals."""
    return f"{value:.{_DECIMALS[public.reward]}f}"


def check_labels(labels: tuple[str, ...]) -> None:
    """Raises ValueError unless labels can be told apart by a fair reader."""
    for label in labels:
        if not label or label != label.strip() or "\n" in label:
            raise ValueError(f"labels: a label must be text without spaces around it or line breaks, got {label!r}")
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
