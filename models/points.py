"""What vLLM is asked for a policy: the log-probabilities of a few tokens at each node of the trie that branches."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from icrl.models.base import Answer, Query, Tokens
from icrl.models.trie import judged, levels

H = TypeVar("H", bound=Hashable)
MOST = 128
"""Most tokens that a request may name."""
SEEDS = (1 << 63) - 1
"""The highest seed."""
PROMPTS = 64
"""Most prompts of one request."""


@dataclass(frozen=True)
class Point:
    """A branching node of one query's trie, or a part of its children if there are more than MOST."""

    row: int
    level: int
    ids: Tokens
    """The prompt up to the node."""
    tokens: tuple[int, ...]


def points(queries: Sequence[Query]) -> list[Point]:
    """What has to be asked; nothing for a query with a single choice."""
    found = []
    for k, level in enumerate(levels(tuple(q.choices or () for q in queries))):
        for row, (query, path) in enumerate(zip(queries, level.paths, strict=True)):
            children = level.tokens[row, level.live[row]].tolist()
            ids = np.append(query.ids, path).astype(np.int32) if path else query.ids
            parts = (tuple(children[i : i + MOST]) for i in range(0, len(children), MOST))
            found += [Point(row, k, ids, part) for part in parts]
    return found


@dataclass(frozen=True)
class Share(Generic[H]):
    """Points that share a request, which names the tokens of all of them."""

    home: H
    points: tuple[int, ...]
    tokens: tuple[int, ...]


def shares(asked: Sequence[Point], home: Callable[[Point], H]) -> Iterator[Share[H]]:
    """Packs points into requests: of one home each, in their order, with at most MOST tokens and PROMPTS prompts.

    A home is what a request has one of: its server, and how it is steered.
    """
    homes: dict[H, list[int]] = {}
    for i, point in enumerate(asked):
        homes.setdefault(home(point), []).append(i)
    for place, mine in homes.items():
        group, named = list[int](), set[int]()
        for i in mine:
            wider = named | set(asked[i].tokens)
            if group and (len(wider) > MOST or len(group) == PROMPTS):
                yield Share(place, tuple(group), tuple(sorted(named)))
                group, wider = [], set(asked[i].tokens)
            group, named = [*group, i], wider
        yield Share(place, tuple(group), tuple(sorted(named)))


def texting(query: Query) -> dict[str, Any]:
    """How vLLM is to write, by the names of its sampling parameters, which its servers know, too."""
    return {
        "max_tokens": query.limit,
        "temperature": query.temperature,
        "seed": query.seed & SEEDS,
        "stop": [query.stop] if query.stop else None,
        "stop_token_ids": list(query.until),
        "include_stop_str_in_output": True,
        "skip_special_tokens": False,
        "ignore_eos": True,
    }


def answers(
    queries: Sequence[Query],
    asked: Sequence[Point],
    found: Sequence[Mapping[int, float]],
    reused: Sequence[int],
) -> list[Answer]:
    """Puts together what was asked.

    Args:
        queries: [R]
        asked: [P] their points.
        found: [P] log-probabilities among all tokens, by token.
        reused: [P] tokens of each prompt that a cache held.
    """
    batch = tuple(q.choices or () for q in queries)
    told = [np.zeros(level.tokens.shape) for level in levels(batch)]
    spent = np.zeros((len(queries), 2), np.int64)
    for point, logp, cached in zip(asked, found, reused, strict=True):
        at = levels(batch)[point.level].tokens[point.row]
        row = told[point.level][point.row]
        row[:] = [logp[token] if token in point.tokens else old for token, old in zip(at.tolist(), row, strict=True)]
        spent[point.row] += len(point.ids) - cached, cached
    policies = judged(batch, np.array([[q.temperature] for q in queries]), told)
    return [Answer((fed, again, 0), *own) for (fed, again), own in zip(spent.tolist(), policies, strict=True)]
