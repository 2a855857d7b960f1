"""The story told about a task: a few words for the texts that all stories share, and the words that may name the arms.

Every text may be replaced. In texts, {unit}, {units}, {tries}, {act} and {acted} are the story's own words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache, cached_property
from importlib.resources import files
from typing import Annotated, Literal, Self
from unicodedata import category, normalize

import numpy as np
import yaml
from pydantic import BeforeValidator, model_validator

from icrl.envs import tape
from icrl.envs.spec import Loader, Spec, nearest
from icrl.envs.tape import Stream
from icrl.envs.types import Ints, Names

Layout = Literal["turns", "log"]

CONTROLS = ("Cc", "Zl", "Zp")
"""Unicode's categories of control marks and line breaks."""
SEPARATOR = ","
"""Between labels in one line."""
AND = f"{SEPARATOR} "
WORDS = ("unit", "units", "tries", "act", "acted")
_PLACEHOLDERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "setting": ((), ("n",)),
    "duel": ((), ("n",)),
    "system": (("labels",), ("setting", "n", "rule", "rewards", "goal", "advice", "horizon", "answer")),
    "goal": ((), ()),
    "first": ((), ()),
    "feedback": (("reward",), ("label",)),
    "forfeit": ((), ()),
    "log": ((), ()),
    "line": (("label", "reward"), ()),
    "lost": ((), ()),
    "summary": ((), ()),
    "tried": (("label", "mean", "pulls"), ()),
    "untried": (("label",), ()),
    "seen": (("seen",), ()),
    "query": ((), ()),
    "pair": ((), ()),
}
"""Of each text: placeholders that it must have, and those that it may have besides the story's words."""

Words = Annotated[tuple[str, ...], BeforeValidator(lambda v: v.split() if isinstance(v, str) else v)]


class Scenario(Spec):
    """A story; the placeholders of its texts are explained in `scenarios.yaml`.

    Attributes:
        setting: Who the player is and what it chooses from; `duel`: the same where two are compared at a time.
        unit: What an arm is called; `units`: several of them.
        tries: What pulls are called.
        act: The verb of a pull; `acted`: what was done.
        labels: Words that may name an arm.

    Raises:
        ValueError: A text lacks a placeholder, has one twice or one that is unknown there; a label is empty, has
            spaces around it or a line break in it; or two labels differ by case only.
    """

    setting: str
    unit: str
    units: str
    tries: str
    act: str
    acted: str
    labels: Words
    system: str = "{setting} {rule} {rewards} {goal}{advice}{horizon}\nThe {units} are:\n{labels}\n{answer}"
    goal: str = "You want the highest total reward over many {tries}, so learn which {unit} is best while you {act}."
    first: str = "Which {unit} do you {act}?"
    feedback: str = "Reward {reward} ({label})"
    forfeit: str = "That is no {unit}, so nothing was {acted}."
    log: str = "Your {tries} so far and their rewards:\n"
    line: str = "Reward {reward} ({label})\n"
    lost: str = "nothing {acted}\n"
    summary: str = "Your {tries} so far, by {unit}:\n"
    tried: str = "Mean reward {mean}, {pulls} {tries} ({label})\n"
    untried: str = "0 {tries} ({label})\n"
    seen: str = "Now: {seen}\n"
    query: str = "Which {unit} do you {act}?"
    duel: str = "There are {n} {units}, and you compare two of them at a time."
    pair: str = "Which two {units} do you compare?"

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        check_labels(self.labels)
        for word in WORDS:
            if not (said := getattr(self, word)).strip() or "{" in said or "\n" in said:
                raise ValueError(f"{word}: must be a word or a few, without braces, got {said!r}")
        for field, (needed, optional) in _PLACEHOLDERS.items():
            found = [x for x in re.findall(r"{([\w\- ]*)}", getattr(self, field)) if x not in WORDS]
            wrong = {*needed} - {*found} or {*found} - {*needed, *optional} or {x for x in found if found.count(x) > 1}
            if wrong:
                allowed = ", ".join(f"{{{name}}}" for name in (*needed, *optional, *WORDS))
                raise ValueError(
                    f"{field}: {{{min(wrong)}}} is missing, unknown or there twice in {getattr(self, field)!r}; "
                    f"placeholders of this text: {allowed}"
                )
        return self

    def told(self, text: str) -> str:
        """A text in this story's words."""
        return re.sub(r"{(unit|units|tries|act|acted)}", lambda found: str(getattr(self, found[1])), text)

    @cached_property
    def texts(self) -> dict[str, str]:
        """The texts by name, in this story's words."""
        return {field: self.told(getattr(self, field)) for field in _PLACEHOLDERS}

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


def check_labels(labels: tuple[str, ...]) -> None:
    """Raises ValueError unless labels can be told apart by a fair reader."""
    for label in labels:
        if not label or label != label.strip() or any(category(letter) in CONTROLS for letter in label):
            raise ValueError(
                f"labels: a label must be text without spaces around it, line breaks or control marks, got {label!r}"
            )
        if label.encode("utf-8", "ignore").decode() != label:
            raise ValueError(f"labels: {label!r} is no text that can be written: it has half a character")
        if all(category(letter) == "Cf" for letter in label):
            raise ValueError(f"labels: {label!r} cannot be seen")
    twice = [label for label, count in Counter(_folded(label) for label in labels).items() if count > 1]
    if twice:
        raise ValueError(f"labels: labels must differ by more than case, but {twice[0]!r} comes twice")


def listed(labels: Sequence[str]) -> list[str]:
    """Labels in one line, as texts that are encoded apart."""
    return [text for label in labels for text in (label, AND)][:-1]


def _folded(label: str) -> str:
    """A label as a reader sees it: whatever its case, and however its accents are put together."""
    return normalize("NFC", label).casefold()


@cache
def scenarios() -> dict[str, Scenario]:
    """The scenarios that ship with icrl."""
    texts = yaml.load((files("icrl.prompts") / "scenarios.yaml").read_text(encoding="utf-8"), Loader)
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
