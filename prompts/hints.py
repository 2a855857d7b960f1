"""Hints: what an algorithm makes of the history that the model has seen, told in the tail of a prompt.

Controls give the same text with other numbers, so that one can tell whether a model reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import ConfigDict, Field, PlainValidator
from pydantic.dataclasses import dataclass

from icrl.envs import tape
from icrl.envs.tape import Stream
from icrl.envs.types import Floats, Ints, View
from icrl.prompts.adviser import AnyAdviser
from icrl.prompts.scenario import Scenario

TITLE = "An algorithm's notes on each {unit}:\n"
UNTRIED = "not tried yet"
NUMBERS = {"value": "value {value}", "bonus": "bonus {bonus}", "best": "best with probability {best}"}
INTERVAL = "between {low} and {high}"
ARM = "It would {act} "
RANKING = "From best to worst: "

Advice = Mapping[str, Sequence[float]]
Part = Literal["numbers", "arm", "ranking"]


def _adviser(given: Any) -> AnyAdviser:
    if isinstance(given, type) or not all(callable(getattr(given, name, None)) for name in ("advise", "act")):
        raise ValueError(f"must be an algorithm that advises, such as UCB(), got {given!r}")
    return given  # type: ignore[no-any-return]


Advising = Annotated[AnyAdviser, PlainValidator(_adviser)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid", arbitrary_types_allowed=True))
class Hints:
    """Which of an algorithm's numbers a prompt shows.

    Args:
        adviser: Any of `icrl.agents.ALGORITHMS`, or anything with the methods of `icrl.prompts.Adviser`.
        show: `numbers` (of each arm: value and bonus, or the 90 % interval, as the algorithm has them), `arm` (the one
            that it would choose), `ranking` (the order of the arms).
        control: `permuted`: the notes of the arms are exchanged at random; `random`: the notes are drawn at random,
            between the lowest and the highest number that there is. Both are keyed by seed, episode and time.
        decimals: Digits behind the point.
    """

    adviser: Advising
    show: Annotated[tuple[Part, ...], Field(min_length=1)] = ("numbers",)
    control: Literal["none", "permuted", "random"] = "none"
    decimals: Annotated[int, Field(ge=0, le=6)] = 2


def as_hints(given: Any) -> Any:
    """An algorithm instead of hints with all its numbers."""
    return given if given is None or isinstance(given, Hints | dict) else Hints(_adviser(given))


def controlled(
    hints: Hints, numbers: Mapping[str, Floats], arm: Ints, view: View, seed: int
) -> tuple[dict[str, Floats], Ints]:
    """What is told: the numbers [R, K] and the arms [R, slots] of the algorithm, or those of a control."""
    found = {name: np.asarray(cells, np.float64) for name, cells in numbers.items()}
    if hints.control == "none":
        return found, arm
    keys = tape.key(seed, Stream.HINT, view.episode[:, None], view.t[:, None], np.arange(view.legal.shape[1]))
    luck = np.where(view.legal, tape.uniform(keys), 2.0)  # arms that are not there come last
    if hints.control == "permuted":
        there = np.argsort(np.where(view.legal, np.arange(luck.shape[1]), luck.shape[1] + 1.0), axis=1)
        source = np.argsort(luck, axis=1)
        rows = np.arange(len(arm))[:, None]
        mixed = {name: _moved(cells, rows, there, source) for name, cells in found.items()}
        return mixed, np.take_along_axis(there, (source[:, None] == arm[:, :, None]).argmax(axis=2), axis=1)
    numbers = {name: _drawn(cells, luck, i) for i, (name, cells) in enumerate(found.items())}
    return numbers, luck.argsort(axis=1)[:, : arm.shape[1]]


def _moved(cells: Floats, rows: Ints, there: Ints, source: Ints) -> Floats:
    moved = np.empty_like(cells)
    moved[rows, there] = cells[rows, source]
    return moved


def _drawn(cells: Floats, luck: Floats, i: int) -> Floats:
    """Numbers between the lowest and the highest of each row; where there is none, between 0 and 1."""
    known = np.isfinite(cells)
    low = np.where(known, cells, np.inf).min(axis=1, keepdims=True)
    high = np.where(known, cells, -np.inf).max(axis=1, keepdims=True)
    none = ~known.any(axis=1, keepdims=True)
    low, high = np.where(none, 0.0, low), np.where(none, 1.0, high)
    return low + (high - low) * ((luck % 1 + 0.382 * i) % 1)


def lines(
    hints: Hints, story: Scenario, names: Sequence[str], there: Sequence[int], numbers: Advice, arms: Sequence[int]
) -> list[str]:
    """One row's hint as the texts that are encoded apart, labels among them.

    Args:
        hints: What is shown.
        story: Gives its words.
        names: [K] labels.
        there: Arms that may be chosen.
        numbers: [K] each.
        arms: [slots] those that the algorithm would choose.
    """
    found: list[str] = []
    if "numbers" in hints.show:
        found += [story.told(TITLE)]
        found += [text for k in there for text in (names[k], f": {_notes(hints, numbers, k)}\n")]
    if "ranking" in hints.show:
        order = sorted(there, key=lambda k: -_index(numbers, k))
        found += [RANKING, *[text for k in order for text in (names[k], ", ")][:-1], "\n"]
    if "arm" in hints.show:
        found += [story.told(ARM), *[text for k in arms for text in (names[k], ", ")][:-1], ".\n"]
    return found


def _notes(hints: Hints, numbers: Advice, k: int) -> str:
    """One arm's numbers in words."""
    known = {name: f"{cells[k]:z.{hints.decimals}f}" for name, cells in numbers.items() if np.isfinite(cells[k])}
    said = [template.format(**known) for name, template in NUMBERS.items() if name in known]
    if {"low", "high"} <= known.keys():
        said.insert(1, INTERVAL.format(**known))
    return ", ".join(said) if "value" in known else UNTRIED


def _index(numbers: Advice, k: int) -> float:
    """What arms are ranked by: value plus bonus; arms without a value come first."""
    value, bonus = numbers["value"][k], numbers["bonus"][k] if "bonus" in numbers else 0.0
    return float(np.inf if np.isnan(value) else value + (0.0 if np.isnan(bonus) else bonus))
