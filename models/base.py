"""The seam to a language model: token ids in, log-probabilities or tokens out. It knows tokens, not bandits.

A model is stateless: an answer is a function of the query alone. `key` only lets a backend find what it computed for
the same conversation before, so resume, retry and failover need nothing from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int32]
Choices = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Query:
    """One prompt and what is wanted of it.

    With `choices`, their probabilities under constrained decoding; without, tokens are generated until one of `until`,
    or until their text holds `stop`, or until there are `limit` of them.
    """

    ids: Tokens
    key: object
    choices: Choices | None = None
    temperature: float = 1.0
    seed: int = 0
    limit: int = 0
    until: tuple[int, ...] = ()
    stop: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        logp: [C] log-probability of each choice: at each node of the trie of choices that branches, the softmax at
            `temperature` over its children.
        mass: Probability, at temperature 1 and before masking, of staying inside the trie at all its branching nodes.
        ids: Generated tokens, without the one of `until` that ended them; those of `stop` stay.
        usage: Tokens fed, reused from a cache, generated.
    """

    usage: tuple[int, int, int]
    logp: NDArray[np.float64] | None = None
    mass: float = float("nan")
    ids: tuple[int, ...] = ()


class Model(Protocol):
    """A served language model."""

    @property
    def name(self) -> str: ...

    @property
    def tokenizer(self) -> Any: ...

    @property
    def window(self) -> int:
        """Most tokens of a prompt and its answer."""
        ...

    @property
    def facts(self) -> dict[str, str]:
        """What a run should record: revision, dtype, hashes of template and tokenizer."""
        ...

    def ask(self, queries: Sequence[Query]) -> list[Answer]: ...
