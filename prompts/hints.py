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
from icrl.prompts.scenario import Scenario, listed

TITLE = "An algorithm's notes on each {unit}:\n"
UNKNOWN = "nothing known yet"
NUMBERS = {"value": "value {value}", "bonus": "bonus {bonus}", "best": "best with probability {best}"}
INTERVAL = "between {low} and {high}"
ARM = "The algorithm would {act} "
RANKING = "The algorithm's order, from best to worst: "

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
        control: `permuted`: the notes of the arms are exchanged at random; `random`: the algorithm sees a random
            player, to whose arms the rewards are credited. Both are keyed by seed, episode and time.
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
    """What is told: the numbers [R, K] and the arms [R, slots] of the algorithm, or the same exchanged among arms."""
    found = {name: np.asarray(cells, np.float64) for name, cells in numbers.items()}
    if hints.control != "permuted":
        return found, arm
    k, rows = view.legal.shape[1], np.arange(len(arm))[:, None]
    there = np.argsort(np.where(view.legal, np.arange(k), k + 1.0), axis=1)
    source = drawn(view, seed)
    mixed = {name: _moved(cells, rows, there, source) for name, cells in found.items()}
    return mixed, np.take_along_axis(there, (source[:, None] == arm[:, :, None]).argmax(axis=2), axis=1)


def drawn(view: View, seed: int) -> Ints:
    """[R, K] the arms of each row in a random order, keyed by seed, episode and time; those not there come last."""
    keys = tape.key(seed, Stream.HINT, view.episode[:, None], view.t[:, None], np.arange(view.legal.shape[1]))
    return np.where(view.legal, tape.uniform(keys), 2.0).argsort(axis=1)


def _moved(cells: Floats, rows: Ints, there: Ints, source: Ints) -> Floats:
    moved = np.empty_like(cells)
    moved[rows, there] = cells[rows, source]
    return moved


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
        order = sorted(there, key=lambda k: (k not in arms, -_rank(numbers, k)))
        found += [RANKING, *listed([names[k] for k in order]), "\n"]
    if "arm" in hints.show:
        found += [story.told(ARM), *listed([names[k] for k in arms]), ".\n"]
    return found


def _notes(hints: Hints, numbers: Advice, k: int) -> str:
    """One arm's numbers in words."""
    known = {name: f"{cells[k]:z.{hints.decimals}f}" for name, cells in numbers.items() if np.isfinite(cells[k])}
    said = [template.format(**known) for name, template in NUMBERS.items() if name in known]
    if {"low", "high"} <= known.keys():
        said.insert(1, INTERVAL.format(**known))
    return ", ".join(said) if "value" in known else UNKNOWN


def _rank(numbers: Advice, k: int) -> float:
    """What arms are ordered by, behind those chosen: `rank`, else value plus bonus; arms without a value come first."""
    if "rank" in numbers:
        return float(numbers["rank"][k])
    value, bonus = numbers["value"][k], numbers["bonus"][k] if "bonus" in numbers else 0.0
    return float(np.inf if np.isnan(value) else value + (0.0 if np.isnan(bonus) else bonus))
